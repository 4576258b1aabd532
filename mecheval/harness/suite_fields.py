"""Fields that the tables of a suite's file share: names with arguments, recipes, text."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from mecheval.errors import UsageError
from mecheval.spec import parse_spec
from mecheval.training import Recipe, sweeps


def spec(text: str) -> str:
    """Return a name with arguments as it is.

    Raises:
        ValueError: It is malformed.
    """
    try:
        if text:
            parse_spec(text)
    except UsageError as error:
        raise ValueError(str(error)) from None
    return text


def _recipe(fields: dict[str, Any]) -> dict[str, Any]:
    try:
        Recipe().replace(fields)
    except UsageError as error:
        raise ValueError(str(error)) from None
    return fields


def _sweep(values: dict[str, list[Any]]) -> dict[str, list[Any]]:
    try:
        sweeps.checked(Recipe(), values)
    except UsageError as error:
        raise ValueError(str(error)) from None
    return values


Text = Annotated[str, Field(max_length=2000)]
SpecText = Annotated[str, Field(min_length=1, max_length=2000), AfterValidator(spec)]
"""A name with arguments, as on the command line."""
OptionalSpec = Annotated[str, Field(max_length=2000), AfterValidator(spec)]
SpecTexts = Annotated[list[SpecText], Field(min_length=1)]
Seeds = Annotated[list[Annotated[int, Field(ge=0, lt=2**63)]], Field(min_length=1)]
Plain = bool | int | float | str
Value = Plain | list[Plain]
Fields = Annotated[dict[str, Value], AfterValidator(_recipe)]
Sweep = Annotated[
    dict[str, Annotated[list[Value], Field(min_length=1)]], AfterValidator(_sweep)
]  # fmt: skip


class Table(BaseModel):
    """Base of all tables: unknown fields are refused, and nothing is taken for something else."""

    model_config = ConfigDict(extra="forbid", strict=True, use_attribute_docstrings=True)
