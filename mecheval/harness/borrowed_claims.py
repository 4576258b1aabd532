"""Claims that a suite takes from another one: written once, held against the cells of both.

A ``[[claims_from]]`` table of a suite's file names the other suite, and perhaps which of its claims
are meant (``ids``), and which models and tasks stand in the place of those that they name
(``models``, ``tasks``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from mecheval.errors import unknown
from mecheval.harness.claim_schema import OTHERS, names_in
from mecheval.harness.suite_fields import SpecText, Table, Text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence


class ClaimsFrom(Table):
    """Claims of another suite."""

    suite: Annotated[str, Field(min_length=1, max_length=2000)]
    """The suite: a name, or a file from the folder of this one on. What it takes itself is left."""
    ids: Annotated[list[Text], Field(min_length=1)] = Field(default=[])
    """Which of its claims; by default all."""
    models: dict[SpecText, SpecText] = Field(default={})
    """Models that its claims name, and those that are meant instead."""
    tasks: dict[SpecText, SpecText] = Field(default={})
    """Tasks that its claims name, and those that are meant instead."""


def borrowed(
    table: Mapping[str, Any], claims: Sequence[Mapping[str, Any]]
) -> Iterator[dict[str, Any]]:
    """Yield the claims that a table takes.

    Args:
        table: The table, as a file that was checked has it.
        claims: All claims of the suite that it names.

    Raises:
        UsageError: It names a claim, a model or a task that these do not have.
    """
    suite, ids = table["suite"], table.get("ids", ())
    chosen = [claim for claim in claims if not ids or claim.get("id") in ids]
    known = {"ids": {claim["id"] for claim in claims if claim.get("id")}}
    for field, named in _NAMED.items():
        known[field] = {name for claim in chosen for name in names_in(claim, named)}
    for field, names in known.items():
        for name in table.get(field, ()):
            if name not in names:
                raise unknown(f"{field[:-1]} of a claim", name, names, see=f"the suite {suite}")
    for claim in chosen:
        others = {name: _renamed(claim[name], table) for name in OTHERS if claim.get(name)}
        yield {**_renamed(claim, table), **others}


_NAMED = {"models": "model", "tasks": "task"}
"""What of a claim is renamed by a field."""

_ALSO = {"model": ("model", "partner"), "task": ("task",)}
"""Fields of a claim that hold such a name."""


def _renamed(claim: Mapping[str, Any], table: Mapping[str, Any]) -> dict[str, Any]:
    """Return a claim, or another number of it, with the names that stand for its own."""
    instead = {
        each: table[field][claim[each]]
        for field, named in _NAMED.items()
        for each in _ALSO[named]
        if claim.get(each) in table.get(field, {})
    }
    return {**claim, **instead}
