"""What a suite's file may hold, as pydantic models; :mod:`mecheval.harness.suites` reads it.

A suite is data from outside: whatever is in it, what is wrong is said in one sentence with the
file, the table and the field.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from mecheval.errors import UsageError, did_you_mean
from mecheval.escape import quoted
from mecheval.spec import parse_spec
from mecheval.text.allowed import refused
from mecheval.training import Recipe, sweeps

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def _spec(text: str) -> str:
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
SpecText = Annotated[str, Field(min_length=1, max_length=2000), AfterValidator(_spec)]
"""A name with arguments, as on the command line."""
OptionalSpec = Annotated[str, Field(max_length=2000), AfterValidator(_spec)]
SpecTexts = Annotated[list[SpecText], Field(min_length=1)]
Plain = bool | int | float | str
Value = Plain | list[Plain]
Fields = Annotated[dict[str, Value], AfterValidator(_recipe)]
Sweep = Annotated[
    dict[str, Annotated[list[Value], Field(min_length=1)]], AfterValidator(_sweep)
]  # fmt: skip


class _Table(BaseModel):
    """Base of all tables: unknown fields are refused, and nothing is taken for something else."""

    model_config = ConfigDict(extra="forbid", strict=True, use_attribute_docstrings=True)


class Grid(_Table):
    """One grid: all its models on all its tasks."""

    models: SpecTexts
    """Models with arguments."""
    tasks: SpecTexts
    """Tasks with parameters."""
    seeds: Annotated[list[Annotated[int, Field(ge=0, lt=2**63)]], Field(min_length=1)] = []
    """The seeds; by default those of the size."""
    size: Annotated[str, Field(min_length=1, max_length=100)] = ""
    """Size of the models that come in sizes."""
    recipe: Fields = {}
    """Fields of the training recipe to replace."""
    metrics: SpecTexts = []
    """Metrics to measure; by default those of the task."""
    sweep: Sweep = {}
    """Values of fields of the recipe to try."""
    snapshots: Annotated[int, Field(ge=2, le=10_000)] = 2
    """At how many points along training the metrics are measured as well."""


class ClaimTable(_Table):
    """What others claim about a number, and how it is held against reports."""

    says: Text = ""
    """The claim in words."""
    source: Text = ""
    """Where it is made."""
    paper: Text = ""
    """The number given there, as text."""
    task: OptionalSpec = ""
    """The task, as in a grid."""
    model: OptionalSpec = ""
    """The model, as in a grid."""
    minus: OptionalSpec = ""
    """Another model, whose number is subtracted seed by seed."""
    recipe: Fields = {}
    """Fields of the recipe that tell the reports meant from others of the same model and task."""
    result: Text = ""
    """The id of the result in the reports."""
    at: Text = ""
    """The number in it, as :mod:`mecheval.reports.lookup` reads it; its value by default."""
    least: float = -math.inf
    """What the number must be at least for the claim to hold; by default nothing bounds it."""
    most: float = math.inf
    """What it must be at most."""
    verdicts: list[Text] = []
    """The verdicts under which the claim holds, in place of numbers."""
    untestable: Text = ""
    """Why it cannot be tested here."""

    @model_validator(mode="after")
    def _is_whole(self) -> ClaimTable:
        """Check that there is all that it takes to test the claim.

        Raises:
            ValueError: Something is missing, or a bound is no number.
        """
        if not self.untestable:
            for name in ("says", "task", "model", "result"):
                if not getattr(self, name):
                    raise ValueError(f"it has no {name}. Write {name} = {_example(name)}")
            if not self.model_fields_set & {"least", "most", "verdicts"}:
                raise ValueError(
                    "it has neither least, most nor verdicts, so nothing could contradict it. "
                    "Write one of them"
                )
        if not self.least <= self.most or self.least == math.inf or self.most == -math.inf:
            raise ValueError(
                f"its bounds {self.least} and {self.most} leave no number between them. Write "
                "finite ones, of which least is the smaller, and leave out what bounds nothing"
            )
        return self


class SuiteFile(_Table):
    """A suite's whole file."""

    summary: Annotated[str, Field(max_length=500)] = ""
    """What it is for, in one line."""
    grid: Annotated[list[Grid], Field(min_length=1)]
    """Grids of models and tasks."""
    claim: list[ClaimTable] = []
    """Claims about its cells."""


def validated(content: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Check what a suite's file holds.

    Args:
        content: The file, as TOML gives it.
        path: The file, for messages.

    Returns:
        The same: ``summary``, and as lists of tables ``grid`` and ``claim``, with the fields that
        are given.

    Raises:
        UsageError: Something is missing, unknown or of the wrong kind.
    """
    try:
        suite = SuiteFile.model_validate(content)
    except ValidationError as error:
        raise UsageError(_sentence(error, path)) from None
    return suite.model_dump(exclude_unset=True)


_EXAMPLES = {
    "models": '["mamba[layers=2]"]', "tasks": '["parity"]', "metrics": '["recovery"]',
    "seeds": "[0, 1]", "recipe": "{ lr = 1e-3 }", "sweep": "{ lr = [1e-3, 3e-3] }",
    "size": '"formal"', "snapshots": "8", "summary": '"two grids"', "verdicts": '["induction"]',
    "least": "0.9", "most": "0.1", "grid": '[{ models = ["gru"], tasks = ["parity"] }]',
    "claim": "[{ ... }]",
}  # fmt: skip


def _example(field: str) -> str:
    return _EXAMPLES.get(field, '"..."')


def _sentence(error: ValidationError, path: Path) -> str:
    """Say what is wrong: ``own.toml, grid 2: recipe is 3; ... Write recipe = { lr = 1e-3 }.``."""
    found = refused(error)
    where, place, fields = list(found.where), str(path), SuiteFile.model_fields
    if len(where) > 1 and isinstance(where[1], int):
        place += f", {where[0]} {where[1] + 1}"
        fields = Grid.model_fields if where[0] == "grid" else ClaimTable.model_fields
        where = where[2:]
    said = found.said.rstrip(".")
    if not where:
        advice = "" if found.is_ours else f" Write a table with {', '.join(fields)}."
        return f"{place}: {said}.{advice}"
    field, kind = str(where[0]), found.problem["type"]
    if kind == "extra_forbidden":
        hint = did_you_mean(field, fields)
        return f"{place}: there is no field {quoted(field)}.{hint} Known are {', '.join(fields)}."
    example = _example(field)
    if kind == "missing":
        return f"{place}: it has no {field}. Write {field} = {example}."
    inner = "".join(f" {part + 1}" if isinstance(part, int) else "" for part in where[1:2])
    value = quoted(found.problem["input"])
    return f"{place}: {field}{inner} is {value}; {said}. Write {field} = {example}."
