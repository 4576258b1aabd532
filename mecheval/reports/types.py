"""The types of fields of a report: what text and numbers from outside may be."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, Field, PlainSerializer

from mecheval.escape import quoted
from mecheval.text import naming

GREATEST = 1e100
"""Largest number in a report; sums and squares of such numbers are still finite."""


def rounded(value: float) -> float:
    """Round to the 10 significant digits that are written."""
    return float(f"{value:.10g}")


def _all_rounded(values: Any) -> Any:
    if isinstance(values, list):
        return [_all_rounded(value) for value in values]
    return rounded(values) if isinstance(values, float) else values


Number = Annotated[
    float,
    Field(allow_inf_nan=False, ge=-GREATEST, le=GREATEST),
    PlainSerializer(rounded),
]
"""A finite number, written with 10 significant digits so that diffs stay readable."""

Numbers = Annotated[list[Any], PlainSerializer(_all_rounded)]
"""Nested lists of numbers and nulls, written with 10 significant digits."""

Count = Annotated[int, Field(ge=0, le=2**53)]
"""A whole number that any reader of JSON keeps exactly."""

Seed = Annotated[int, Field(ge=0, lt=2**64)]

Name = Annotated[str, Field(pattern=naming.REGISTERED, max_length=naming.MOST_OF_NAME)]
"""A registered name."""

ModelName = Annotated[str, Field(pattern=naming.MODEL, max_length=naming.MOST_OF_TITLE)]
"""A registered name, or that of a checkpoint."""

Title = Annotated[str, Field(pattern=naming.SEEN, max_length=naming.MOST_OF_TITLE)]
"""One line of visible text: ids, titles, labels."""

Sha256 = Annotated[str, Field(pattern=naming.SHA256)]

_SEEN = re.compile(naming.SEEN.removesuffix("$"))


def _visible(value: Any) -> Any:
    """Refuse texts that a line cannot show, however deep they lie within lists and objects.

    Raises:
        ValueError: One has characters that cannot be seen, or too many.
    """
    level = [value]
    while level:
        each = level.pop()
        if isinstance(each, Mapping):
            for key in each:
                _check_text(key, naming.MOST_OF_TITLE)
            level += each.values()
        elif isinstance(each, list | tuple):
            level += each
        elif isinstance(each, str):
            _check_text(each, naming.MOST_OF_VALUE)
    return value


def _check_text(text: Any, most: int) -> None:
    if not isinstance(text, str) or len(text) > most:
        raise ValueError(f"{quoted(text)} is no text of at most {most} characters")
    if not _SEEN.fullmatch(text):
        raise ValueError(f"{quoted(text)} is no line of what can be seen")


def _texts(most: int) -> dict[str, Any]:
    return {"pattern": naming.SEEN, "maxLength": most}  # which JSON Schema asks of texts alone


Arguments = Annotated[
    dict[str, Any],
    AfterValidator(_visible),
    Field(
        json_schema_extra={
            "propertyNames": _texts(naming.MOST_OF_TITLE),
            "additionalProperties": _texts(naming.MOST_OF_VALUE),
        }
    ),
]
"""Arguments, parameters, fields of a recipe: by name, with values that a line can show."""

Sweep = Annotated[
    dict[str, list[Any]],
    AfterValidator(_visible),
    Field(
        json_schema_extra={
            "propertyNames": _texts(naming.MOST_OF_TITLE),
            "additionalProperties": {"type": "array", "items": _texts(naming.MOST_OF_VALUE)},
        }
    ),
]
"""Lists of such values by name."""
