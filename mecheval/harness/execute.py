"""From a request to outcomes: plan, leave out what is finished, run the rest."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

from mecheval import locking
from mecheval.garbage import kept_all
from mecheval.harness import store
from mecheval.harness.companions import with_companions
from mecheval.harness.events import Outcome
from mecheval.harness.executor import Pool, run_here
from mecheval.harness.plan import check, expected_cost, plan
from mecheval.paths import cache_folder, is_dir
from mecheval.reports.environment import THREAD_VARIABLES
from mecheval.spec import Spec
from mecheval.training import processes

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from mecheval.harness.devices import Devices
    from mecheval.harness.events import Listener
    from mecheval.harness.pair_plan import PairCell
    from mecheval.harness.request import Cell, Request, Settings
    from mecheval.harness.shards import Shard


def execute(
    requests: Sequence[Request],
    listener: Listener,
    *,
    devices: Devices,
    jobs: int | None,
    fail_fast: bool = False,
    planned: Sequence[Cell] | None = None,
    shard: Shard | None = None,
) -> list[Outcome]:
    """Compute what is asked for.

    Args:
        requests: What is asked for: at least one grid, all with the same output and settings.
        listener: Is told what happens.
        devices: Where cells run.
        jobs: Number of worker processes; None runs all cells in this process.
        fail_fast: Whether to end at the first cell that fails.
        planned: The cells that the requests come to, where they are planned already.
        shard: Which part of the cells to compute; None for all.

    Returns:
        The outcomes in the order of the grids; with ``fail_fast`` those up to the failure. Under
        ``accelerate launch`` all of them in the main process, none in the others.

    Raises:
        UsageError: A request cannot be met; nothing has been computed.
        StorageError: A report could not be written; those before it are.
    """
    output, settings = requests[0].output, requests[0].settings
    for request in requests if planned is None else ():
        check(request)
    if processes.count() > 1:
        jobs = None  # the processes of one launch train every cell together
    with ExitStack() as stack:

        def started(n_cells: int) -> Pool:
            environment = worker_environment(settings)
            pool = Pool(min(jobs or 1, n_cells), environment, devices=devices.visible)
            return stack.enter_context(pool)

        pool, most = None, -(-sum(map(_most_cells, requests)) // (shard.count if shard else 1))
        most = most if planned is None else len(planned)
        if jobs is not None and most > _n_reports(requests[0]):
            pool = started(most)  # they import torch while this process plans
        cells = planned_cells(requests) if planned is None else planned
        if shard is not None:
            n_all, cells = len(cells), shard.of(cells)
            listener.noted(f"shard {shard}: {len(cells)} of {n_all} cells")
        found = kept(cells, listener)
        todo = [cell for cell in cells if cell.key not in found]
        listener.planned(len(todo), len(found))
        for note in dict.fromkeys(note for cell in todo for note in cell.notes):
            listener.noted(note)
        for outcome in found.values():
            listener.finished(outcome)
        if not processes.is_main():
            _train_along(todo)
            return []
        if todo and output is not None:
            store.open_folder(output)
            note_of_locks(output, settings, listener)
        if jobs is not None and pool is None and (n_named := sum(map(_is_named, todo))):
            pool = started(n_named)
        for outcome in _outcomes(todo, listener, pool):
            found[outcome.cell.key] = outcome
            if fail_fast and outcome.report.status == "error":
                break
    return [found[cell.key] for cell in cells if cell.key in found]


def planned_cells(requests: Sequence[Request]) -> list[Cell]:
    """Return the cells that requests come to, each once.

    Raises:
        UsageError: A request cannot be met.
    """
    with kept_all():
        return list({cell.key: cell for request in requests for cell in plan(request)}.values())


def note_of_locks(output: Path, settings: Settings, listener: Listener) -> None:
    """Say that cells are not claimed, where reports or checkpoints lie where there are no locks.

    Args:
        output: The output folder, which is there.
        settings: Say where checkpoints are.
        listener: Is told, once.
    """
    cache = settings.cache or cache_folder()
    without = [] if store.can_be_claimed(output) else [str(output)]
    if is_dir(cache) and not locking.supported(cache):
        without.append(str(cache))
    if without:
        listener.noted(
            f"files in {' and '.join(without)} cannot be locked, so cells are not claimed: several "
            "runs at once may do the same work, with the same results; --shard shares it out."
        )


def worker_environment(settings: Settings) -> dict[str, str]:
    """Return the variables that libraries read when a worker starts."""
    environment = {name: str(settings.threads) for name in THREAD_VARIABLES}
    if settings.cache is not None:
        environment["MECHEVAL_CACHE"] = str(settings.cache)
    return environment


def _outcomes(todo: Sequence[Cell], listener: Listener, pool: Pool | None) -> Iterator[Outcome]:
    ordered = with_companions(_longest_first(todo), workers=pool.size if pool else 1)
    # Objects stay in this process: a worker could not import what a script or notebook declares.
    here = [cell for cell in ordered if pool is None or not _is_named(cell)]
    there = [cell for cell in ordered if pool is not None and _is_named(cell)]
    if pool is not None:
        yield from pool.run(there, listener)
    yield from run_here(here, listener)


def _longest_first(cells: Sequence[Cell]) -> list[Cell]:
    return sorted(cells, key=expected_cost, reverse=True)


def _train_along(todo: Sequence[Cell]) -> None:
    from mecheval.harness.cell import train_along

    for cell in _longest_first(todo):
        train_along(cell)


def _is_named(cell: Cell) -> bool:
    named = isinstance(cell.model, Spec) and isinstance(cell.task, Spec)
    return named and all(isinstance(metric, Spec) for metric in cell.metrics or ())


@kept_all()
def kept(cells: Sequence[Cell | PairCell], listener: Listener) -> dict[str, Outcome]:
    """Return the outcomes of cells or pairs whose reports are there, by their keys.

    Args:
        cells: The cells, or the pairs.
        listener: Is told of reports that are there and cannot be kept.
    """
    found = {}
    for cell in cells:
        if cell.settings.overwrite:
            continue
        report = store.finished_report(cell)
        if report is not None:
            found[cell.key] = Outcome(cell, report, kept=True)
        elif processes.is_main() and cell.path and (problem := store.problem_of(cell)):
            listener.redone(cell.path, problem)
    return found


def _most_cells(request: Request) -> int:
    named_models = sum(isinstance(model, Spec) for model in request.models)
    named_tasks = sum(isinstance(task, Spec) for task in request.tasks)
    return named_models * named_tasks * len(request.chosen_seeds)


def _n_reports(request: Request) -> int:
    """Return how many reports are there: with fewer than cells, workers start before the plan."""
    if request.output is None or request.settings.overwrite or not is_dir(request.output):
        return 0
    return sum(1 for _ in request.output.rglob("seed*.json"))
