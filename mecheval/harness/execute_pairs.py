"""From a request to pairs: the cells that are missing first, then the pairs of them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from mecheval.harness.execute import execute, kept, worker_environment
from mecheval.harness.executor import Pool, run_here
from mecheval.harness.pair_plan import plan_pairs
from mecheval.harness.plan import check, plan

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mecheval.harness.devices import Devices
    from mecheval.harness.events import Listener, Outcome
    from mecheval.harness.pair_plan import PairCell
    from mecheval.harness.request import Cell, Request
    from mecheval.spec import Spec


def execute_pairs(
    requests: Sequence[Request],
    metrics: Sequence[Spec] | None,
    listener: Listener,
    *,
    devices: Devices,
    jobs: int | None,
) -> list[Outcome]:
    """Compute the cells that are asked for, and then how alike they are two by two.

    Args:
        requests: At least one grid, all with the same output and settings.
        metrics: The metrics of pairs; None for all that fit.
        listener: Is told what happens.
        devices: Where cells run.
        jobs: Number of worker processes; None runs everything in this process.

    Returns:
        The outcomes of the pairs.

    Raises:
        UsageError: A request cannot be met; nothing has been computed.
        StorageError: A report could not be written; those before it are.
    """
    pairs = planned_pairs(requests, metrics)
    measured = execute(requests, listener, devices=devices, jobs=jobs)
    if requests[0].output is None:
        of_cell = {outcome.cell.key: outcome.report for outcome in measured}
        pairs = [replace(p, reports=(of_cell[p.a.key], of_cell[p.b.key])) for p in pairs]
    found = kept(pairs, listener)
    todo = [pair for pair in pairs if pair.key not in found]
    listener.planned(len(todo), len(found))
    for outcome in found.values():
        listener.finished(outcome)
    for outcome in _outcomes(todo, listener, devices, jobs):
        found[outcome.cell.key] = outcome
    return [found[pair.key] for pair in pairs]


def planned_pairs(requests: Sequence[Request], metrics: Sequence[Spec] | None) -> list[PairCell]:
    """Return the pairs that requests come to; see :func:`execute_pairs`.

    Raises:
        UsageError: A request cannot be met.
    """
    cells: dict[str, Cell] = {}
    for request in requests:
        check(request)
        cells |= {cell.key: cell for cell in plan(request)}
    return plan_pairs(list(cells.values()), metrics)


def _outcomes(
    todo: Sequence[PairCell], listener: Listener, devices: Devices, jobs: int | None
) -> Iterator[Outcome]:
    if jobs is None or jobs == 1 or len(todo) < 2 or todo[0].output is None:
        yield from run_here(todo, listener)
        return
    environment = worker_environment(todo[0].settings)
    with Pool(min(jobs, len(todo)), environment, devices=devices.visible) as pool:
        yield from pool.run(todo, listener)
