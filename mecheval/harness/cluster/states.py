"""How far cells are: done, running, queued, failed or missing, as the store and the jobs say."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mecheval import locking
from mecheval.harness import store
from mecheval.harness.cluster import scheduler, submissions

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from mecheval.harness.cluster.submissions import CellRow, Sighting, Submission

STATES = ("done", "running", "queued", "failed", "missing")

_HEAD = 1024
_KEY = re.compile(rb'^ "key": ?"([0-9a-f]{64})"', re.MULTILINE)
_STATUS = re.compile(rb'^ "status": ?"(\w+)"', re.MULTILINE)


@dataclass(frozen=True)
class CellState:
    """How far a cell is.

    Attributes:
        cell: The cell.
        state: One of :data:`STATES`.
        job: The job that it went to last; empty where it went to none.
        at: Where it was seen last, while it runs.
    """

    cell: CellRow
    state: str
    job: str = ""
    at: Sighting | None = None


def states_of(rows: Iterable[CellRow], root: Path) -> list[CellState]:
    """Return how far cells are.

    Args:
        rows: The cells.
        root: The output folder.

    Raises:
        UsageError: The record of a submission cannot be read.
    """
    rows = list(rows)
    status = {row.key: _status(root / row.path, row.key) for row in rows}
    records = list(submissions.read_submissions(root).values())
    jobs = submissions.jobs_of(records)
    unfinished = {key for key, found in status.items() if found not in store.FINISHED}
    alive = _alive(records, {jobs[key] for key in unfinished if key in jobs})
    seen = submissions.sightings(root)
    found = []
    for row in rows:
        job = jobs.get(row.key, "")
        at = seen.get(row.key)
        if row.key not in unfinished:
            state = "done"
        elif _runs(root, row, at, alive):
            state = "running"
        elif status[row.key] == "error":
            state = "failed"
        else:
            state = "queued" if job in alive else "missing"
        found.append(CellState(row, state, job, at if state == "running" else None))
    return found


def all_rows(root: Path) -> list[CellRow]:
    """Return the cells of all submissions to an output folder, each once.

    Raises:
        UsageError: The record of a submission cannot be read.
    """
    records = submissions.read_submissions(root).values()
    return list({row.key: row for each in records for row in each.cells}.values())


def _status(path: Path, key: str) -> str | None:
    """Return the status of a report from its first lines; None where there is none of this key."""
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD)
    except OSError:
        return None
    found, status = _KEY.search(head), _STATUS.search(head)
    ours = found is not None and status is not None and found[1].decode() == key
    return status[1].decode() if ours and status else None


def _alive(records: Iterable[Submission], jobs: set[str]) -> Mapping[str, str]:
    """Return the states of the jobs that are not over; of all, where nobody knows."""
    found: dict[str, str] = {}
    for record in records:
        asked = jobs & record.jobs.keys()
        states = scheduler.states(record.cluster, asked) if asked else {}
        found |= dict.fromkeys(asked, scheduler.PENDING) if states is None else states
    return found


def _runs(root: Path, row: CellRow, at: Sighting | None, alive: Mapping[str, str]) -> bool:
    """Say whether a process is at work on a cell: it holds its lock, or its job was seen at it."""
    if locking.is_held(root / store.LOCKS / f"{row.key[:16]}.lock"):
        return True
    return at is not None and alive.get(at.job) == scheduler.RUNNING
