"""From a request to pairs: the cells that are missing first, then the pairs of them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from mecheval.harness.execute import execute, kept, planned_cells, worker_environment
from mecheval.harness.executor import Pool, run_here
from mecheval.harness.matched_loss import with_snapshots
from mecheval.harness.pair_plan import plan_pairs
from mecheval.paths import is_dir
from mecheval.reports.collection.loading import read_pairs
from mecheval.reports.files import write_report
from mecheval.reports.levels import with_levels
from mecheval.spec import Spec

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mecheval.harness.devices import Devices
    from mecheval.harness.events import Listener, Outcome
    from mecheval.harness.pair_plan import Asked, PairCell
    from mecheval.harness.request import Cell, Request
    from mecheval.harness.shards import Shard


def execute_pairs(
    requests: Sequence[Request],
    asked: Asked,
    listener: Listener,
    *,
    devices: Devices,
    jobs: int | None,
    fail_fast: bool = False,
    shard: Shard | None = None,
) -> list[Outcome]:
    """Compute the cells that are asked for, and then how alike they are two by two.

    Args:
        requests: At least one grid, all with the same output and settings.
        asked: What is asked of their pairs.
        listener: Is told what happens.
        devices: Where cells run.
        jobs: Number of worker processes; None runs everything in this process.
        fail_fast: Whether to end at the first cell or pair that fails.
        shard: Which part of the pairs to compute, with their cells; None for all.

    Returns:
        The outcomes of the pairs; with ``fail_fast`` those up to the failure, and those of the
        cells where one of these failed. Under ``accelerate launch`` all of them in the main
        process, none in the others.

    Raises:
        UsageError: A request cannot be met; nothing has been computed.
        StorageError: A report could not be written; those before it are.
    """
    requests, cells, pairs = planned_pairs(requests, asked)
    if shard is not None:
        n_all, pairs = len(pairs), shard.of_pairs(pairs)
        listener.noted(f"shard {shard}: {len(pairs)} of {n_all} pairs")
        needed = {cell.key for pair in pairs for cell in (pair.a, pair.b)}
        cells = [cell for cell in cells if cell.key in needed]
    measured = execute(
        requests, listener, devices=devices, jobs=jobs, fail_fast=fail_fast, planned=cells
    )
    of_cell = {outcome.cell.key: outcome.report for outcome in measured}
    if len(of_cell) < len(cells):  # one failed, or it is another process that measures
        return measured
    found, known = kept(pairs, listener), _known(pairs)
    todo = [
        replace(
            pair,
            reports=tuple(of_cell[cell.key] for cell in pair.cells),
            known={key: sha for cell in pair.cells for key, sha in known.get(cell.key, {}).items()},
        )
        for pair in pairs
        if pair.key not in found
    ]
    listener.planned(len(todo), len(found))
    for outcome in found.values():
        listener.finished(outcome)
    for outcome in _outcomes(todo, listener, devices, jobs):
        found[outcome.cell.key] = outcome
        if fail_fast and outcome.report.status == "error":
            break
    return _read_against([found[pair.key] for pair in pairs if pair.key in found])


def _known(pairs: Sequence[PairCell]) -> dict[str, dict[str, str]]:
    """Return the hashes of artefacts that the reports of an output folder hold, by cell and key."""
    root, overwrite = pairs[0].output, pairs[0].settings.overwrite
    if root is None or overwrite or not is_dir(root):
        return {}
    known: dict[str, dict[str, str]] = {}
    for report in (each.report for each in read_pairs(root)[0]):
        made = report.artefacts
        for side, used in zip(report.sides, (made.a, made.b), strict=True) if made else ():
            known.setdefault(side.key, {}).update({each.key: each.sha256 for each in used})
    return known


def planned_pairs(
    requests: Sequence[Request], asked: Asked
) -> tuple[list[Request], list[Cell], list[PairCell]]:
    """Return the grids as they are computed, their cells, and the pairs of them.

    Raises:
        UsageError: A request cannot be met.
    """
    requests = with_snapshots(requests, asked.at_losses)
    cells = planned_cells(requests)
    at_losses = asked.at_losses or (None,)
    return requests, cells, plan_pairs(cells, asked.metrics, at_losses, across=asked.across)


def _read_against(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """Write beside the numbers of pairs what they are to be read against.

    Skylines are from all pairs of the output folder, so that a call for fewer seeds takes nothing
    away; the folder's other pairs get what is new for them as well.

    Raises:
        StorageError: A report could not be written.
    """
    root = next((outcome.cell.output for outcome in outcomes), None)
    if root is None:
        reports = with_levels(outcome.report for outcome in outcomes)
    else:
        found, _ = read_pairs(root)
        before = [each.report for each in found]
        reports = with_levels(before)
        for old, new, at in zip(before, reports, found, strict=True):
            if new.levels != old.levels:
                write_report(new, root / at.path)
    by_key = {report.key: report for report in reports}
    return [
        replace(outcome, report=by_key.get(outcome.cell.key, outcome.report))
        for outcome in outcomes
    ]


def _outcomes(
    todo: Sequence[PairCell], listener: Listener, devices: Devices, jobs: int | None
) -> Iterator[Outcome]:
    # Objects stay in this process: a worker could not import what a script or notebook declares.
    here = [pair for pair in todo if jobs is None or not _is_named(pair)]
    there = [pair for pair in todo if jobs is not None and _is_named(pair)]
    if jobs is not None and there:
        environment = worker_environment(there[0].settings)
        with Pool(min(jobs, len(there)), environment, devices=devices.visible) as pool:
            yield from pool.run(there, listener)
    yield from run_here(here, listener)


def _is_named(pair: PairCell) -> bool:
    return all(isinstance(metric, Spec) for metric in pair.metrics)
