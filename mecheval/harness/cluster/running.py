"""From a request to outcomes by way of a cluster: plan, submit what is missing, follow it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mecheval.harness import store
from mecheval.harness.execute import kept, note_of_locks, planned_cells
from mecheval.harness.plan import check

if TYPE_CHECKING:
    from mecheval.harness.cluster.executor import Cluster
    from mecheval.harness.cluster.submissions import Submission
    from mecheval.harness.events import Listener, Outcome
    from mecheval.harness.request import Cell


def execute_on(cluster: Cluster, listener: Listener, *, fail_fast: bool = False) -> list[Outcome]:
    """Compute what a cluster is for, and wait for it.

    Args:
        cluster: What runs the cells, with the requests.
        listener: Is told what happens.
        fail_fast: Whether to end at the first cell that fails; jobs go on.

    Returns:
        The outcomes in the order of the grids.

    Raises:
        UsageError: A request cannot be met, or the cluster refuses the jobs.
        StorageError: A report could not be written.
    """
    cells, found = _begun(cluster, listener)
    todo = [cell for cell in cells if cell.key not in found]
    for outcome in cluster.run(todo, listener) if todo else ():
        found[outcome.cell.key] = outcome
        if fail_fast and outcome.report.status == "error":
            break
    return [found[cell.key] for cell in cells if cell.key in found]


def submit_to(cluster: Cluster, listener: Listener) -> Submission | None:
    """Submit what a cluster is for and what no job is at work on, and wait for nothing.

    Args:
        cluster: What runs the cells, with the requests.
        listener: Is told what happens.

    Returns:
        What was submitted; None where everything is finished or on its way.

    Raises:
        UsageError: A request cannot be met, or the cluster refuses the jobs.
        StorageError: The record could not be written.
    """
    cells, found = _begun(cluster, listener)
    todo = [cell for cell in cells if cell.key not in found]
    before = cluster.in_flight(todo)
    if before:
        listener.noted(f"{len(before)} cells are with jobs that were submitted before")
    missing = [cell for cell in todo if cell.key not in before]
    return cluster.submit(missing, cells) if missing else None


def _begun(cluster: Cluster, listener: Listener) -> tuple[list[Cell], dict[str, Outcome]]:
    """Plan; return the cells, and the outcomes of those that are finished."""
    for request in cluster.requests:
        check(request)
    store.open_folder(cluster.root)
    note_of_locks(cluster.root, cluster.requests[0].settings, listener)
    here = cluster.options.plan == "here"
    cells = planned_cells(cluster.requests) if here else cluster.planned(listener.noted)
    found = kept(cells, listener)
    todo = [cell for cell in cells if cell.key not in found]
    listener.planned(len(todo), len(found))
    for note in dict.fromkeys(note for cell in todo for note in cell.notes):
        listener.noted(note)
    for outcome in found.values():
        listener.finished(outcome)
    return cells, found
