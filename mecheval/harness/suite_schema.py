"""What a suite's file may hold, as pydantic models; :mod:`mecheval.harness.suites` reads it.

A suite is data from outside: whatever is in it, what is wrong is said in one sentence with the
file, the table and the field.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, ValidationError

from mecheval.errors import UsageError, did_you_mean
from mecheval.escape import quoted
from mecheval.harness.borrowed_claims import ClaimsFrom
from mecheval.harness.claim_schema import EXAMPLES as CLAIM_EXAMPLES
from mecheval.harness.claim_schema import OTHERS, ClaimTable, OtherNumber
from mecheval.harness.suite_fields import Fields, Seeds, SpecTexts, Sweep, Table
from mecheval.text.allowed import refused

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


class Named(Table):
    """What a grid alone says."""

    models: SpecTexts
    """Models with arguments."""
    tasks: SpecTexts
    """Tasks with parameters."""


class Shared(Table):
    """What a grid may say, and the file for all its grids."""

    seeds: Seeds = Field(default=[])
    """The seeds; by default those of the size."""
    size: Annotated[str, Field(min_length=1, max_length=100)] = ""
    """Size of the models that come in sizes."""
    recipe: Fields = Field(default={})
    """Fields of the training recipe to replace."""
    metrics: SpecTexts = Field(default=[])
    """Metrics to measure; by default those of the task."""
    sweep: Sweep = Field(default={})
    """Values of fields of the recipe to try."""
    snapshots: Annotated[int, Field(ge=2, le=10_000)] = 2
    """At how many points along training the metrics are measured as well."""


class Grid(Shared, Named):
    """One grid: all its models on all its tasks; those are shown before what it shares."""


class SuiteFile(Shared):
    """A suite's whole file; what a grid says itself takes precedence over what the file says."""

    summary: Annotated[str, Field(max_length=500)] = ""
    """What it is for, in one line."""
    version: Annotated[int, Field(ge=1, le=10_000)] = 1
    """Raised when its cells are others than before."""
    superseded_by: Annotated[str, Field(max_length=100, pattern=r"^([\w.-]+(@[0-9]+)?)?$")] = ""
    """The suite that is to be used in its place."""
    grid: Annotated[list[Grid], Field(min_length=1)]
    """Grids of models and tasks."""
    claim: list[ClaimTable] = Field(default=[])
    """Claims about its cells."""
    claims_from: list[ClaimsFrom] = Field(default=[])
    """Further ones, which another suite has."""


TABLES: Mapping[str, type[Table]] = {
    "grid": Grid, "claim": ClaimTable, "claims_from": ClaimsFrom,
}  # fmt: skip
"""What a file has several of, by the field."""


def validated(content: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Check what a suite's file holds.

    Args:
        content: The file, as TOML gives it.
        path: The file, for messages.

    Returns:
        The same: ``summary``, and as lists of tables ``grid``, ``claim`` and ``claims_from``, with
        the fields that are given; every grid with those that the file gives for all, too.

    Raises:
        UsageError: Something is missing, unknown or of the wrong kind.
    """
    try:
        suite = SuiteFile.model_validate(content)
    except ValidationError as error:
        raise UsageError(_sentence(error, path)) from None
    checked = suite.model_dump(exclude_unset=True)
    shared = {name: checked.pop(name) for name in Shared.model_fields if name in checked}
    return {**checked, "grid": [merged(shared, grid) for grid in checked["grid"]]}


def merged(usual: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Return a grid's own fields, and the usual ones where it has none; of a recipe field by field.

    They are in the order of :class:`Grid`.
    """
    recipe = {**usual.get("recipe", {}), **own.get("recipe", {})}
    given = {**usual, **own, **({"recipe": recipe} if recipe else {})}
    return {name: given[name] for name in [*Grid.model_fields, *given] if name in given}


_EXAMPLES = {
    "models": '["mamba[layers=2]"]', "tasks": '["parity"]', "metrics": '["recovery"]',
    "seeds": "[0, 1]", "sweep": "{ lr = [1e-3, 3e-3] }", "size": '"formal"', "snapshots": "8",
    "summary": '"two grids"', "version": "2", "superseded_by": '"formal@2"',
    "grid": '[{ models = ["gru"], tasks = ["parity"] }]',
    "claim": "[{ ... }]", "claims_from": '[{ suite = "formal-small" }]', "ids": '["F1"]',
    **CLAIM_EXAMPLES,
}  # fmt: skip


def _example(field: str) -> str:
    return _EXAMPLES.get(field, '"..."')


def _sentence(error: ValidationError, path: Path) -> str:
    """Say what is wrong: ``own.toml, grid 2: recipe is 3; ... Write recipe = { lr = 1e-3 }.``."""
    found = refused(error)
    where, place, fields = list(found.where), str(path), SuiteFile.model_fields
    if len(where) > 1 and isinstance(where[1], int) and where[0] in TABLES:
        place += f", {where[0]} {where[1] + 1}"
        fields = TABLES[str(where[0])].model_fields
        where = where[2:]
    if len(where) > 1 and where[0] in OTHERS:
        place, fields, where = f"{place}, {where[0]}", OtherNumber.model_fields, where[1:]
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
