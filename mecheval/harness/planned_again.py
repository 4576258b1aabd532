"""Cells planned again from the identities in reports, to see whether these would be made today.

What an identity says is asked for as a user would ask; a report whose key comes out again can be
measured again.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from mecheval.errors import MechevalError
from mecheval.escape import quoted
from mecheval.harness.plan import plan
from mecheval.harness.request import Request
from mecheval.models.hub.refusals import Unavailable
from mecheval.recipe import whole
from mecheval.spec import Spec

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from mecheval.harness.request import Cell, Settings
    from mecheval.reports.schema import Identity, Report


_OTHER_TEXT = "the text that the task takes its examples from is another one here"


@dataclass(frozen=True)
class PlannedAgain:
    """What became of a report's cell.

    Attributes:
        cell: The cell with the same key; None where there is none.
        problem: Why there is none: what cannot be planned here, or what is planned otherwise.
        is_here: Whether it could be planned at all; weights, for one, may not be here.
    """

    cell: Cell | None = None
    problem: str = ""
    is_here: bool = True


def planned_again(reports: Iterable[Report], settings: Settings) -> dict[str, PlannedAgain]:
    """Plan the cells of reports, those that differ in the seed alone at once.

    Args:
        reports: The reports.
        settings: How cells would be computed.

    Returns:
        What became of each, by the key of the report.
    """
    alike: dict[str, list[Report]] = {}
    for report in reports:
        shared = report.identity.model_copy(update={"seed": 0}).model_dump(mode="json")
        alike.setdefault(json.dumps(shared, sort_keys=True), []).append(report)
    found: dict[str, PlannedAgain] = {}
    for same in alike.values():
        found |= _planned(same, settings)
    return found


def _planned(reports: Sequence[Report], settings: Settings) -> dict[str, PlannedAgain]:
    """Plan cells that are alike but for the seed, by their arguments or else by their labels."""
    first, problem, is_here = reports[0], "", True
    labels = first.labels.model if first.labels else {}
    for args in (first.identity.model.args, labels):
        try:
            cells = plan(request_of(reports, args, settings))
        except MechevalError as error:
            if not problem:
                problem, is_here = str(error), not isinstance(error, Unavailable)
            continue
        by_seed = {cell.identity.seed: cell for cell in cells}
        if all(by_seed[report.identity.seed].key == report.key for report in reports):
            return {r.key: PlannedAgain(by_seed[r.identity.seed]) for r in reports}
        other = _other(first.identity, cells[0].identity)
        is_here = set(other) != {"task.sample_sha256"} or "/" in first.identity.task.name
        problem = _otherwise(other) if is_here else _OTHER_TEXT
    return {report.key: PlannedAgain(None, problem, is_here) for report in reports}


def request_of(reports: Sequence[Report], args: Mapping[str, Any], settings: Settings) -> Request:
    """Return what asks for the cells of reports that differ in the seed alone.

    Args:
        reports: The reports.
        args: The arguments of the model.
        settings: How cells would be computed.
    """
    identity = reports[0].identity
    model, task, sweep = identity.model, identity.task, identity.sweep or {}
    recipe = {name: v for name, v in whole(identity.recipe).items() if name not in sweep}
    revision = None if model.commit and model.commit == model.revision else model.revision
    return Request(
        models=(Spec(model.name, dict(args), revision),),
        tasks=(Spec(task.name, dict(task.params)),),
        seeds=tuple(report.identity.seed for report in reports),
        recipe=recipe,
        sweep=identity.sweep,
        snapshots=identity.snapshots,
        metrics=tuple(Spec(metric.name, dict(metric.params)) for metric in identity.metrics),
        limit=identity.limit,
        dtype=identity.dtype,
        settings=settings,
    )


def _other(reported: Identity, planned: Identity) -> dict[str, tuple[Any, Any]]:
    """Return the parts of two identities that are not the same, with both values."""
    ours, theirs = (identity.model_dump(mode="json") for identity in (reported, planned))
    ours["metrics"], theirs["metrics"] = (
        {metric["name"]: metric for metric in found["metrics"]} for found in (ours, theirs)
    )
    unequal = _unequal(ours | {"seed": 0}, theirs | {"seed": 0}, "")
    return {place: (one, other) for place, one, other in unequal}


def _otherwise(other: Mapping[str, tuple[Any, Any]]) -> str:
    """Say how a cell is planned that is not the one of the report."""
    named = [
        f"{place} is {quoted(one)} in the report and {quoted(here)} here"
        for place, (one, here) in other.items()
    ]
    return f"planned otherwise today: {'; '.join(named[:3]) or 'its metrics have another order'}"


def _unequal(one: Any, other: Any, place: str) -> Iterable[tuple[str, Any, Any]]:
    if isinstance(one, dict) and isinstance(other, dict):
        for name in dict.fromkeys([*one, *other]):
            inner = f"{place}.{name}" if place else str(name)
            yield from _unequal(one.get(name), other.get(name), inner)
    elif one != other:
        yield place, one, other


def with_settings(cell: Cell, settings: Settings) -> Cell:
    """Return a cell to be computed otherwise, with its report kept in memory."""
    return replace(cell, settings=settings, output=None, path=None)
