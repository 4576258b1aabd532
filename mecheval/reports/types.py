"""The types of fields of a report: what text and numbers from outside may be."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, PlainSerializer

from mecheval import naming

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
