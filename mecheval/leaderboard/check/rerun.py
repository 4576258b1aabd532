"""Cells of a submission measured again, chosen by hash, and held against what was reported."""

from __future__ import annotations

import hashlib
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from mecheval.harness.events import Silence
from mecheval.harness.execute import execute
from mecheval.harness.planned_again import with_settings
from mecheval.harness.request import Request
from mecheval.reports.collection.groups import group_key
from mecheval.reports.comparison.again import held_against
from mecheval.reports.files import as_stored
from mecheval.reports.reproduced import Execution, add_execution

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from mecheval.harness.devices import Devices
    from mecheval.harness.events import Listener, Outcome, Progress
    from mecheval.harness.pair_plan import PairCell
    from mecheval.harness.planned_again import PlannedAgain
    from mecheval.harness.request import Cell, Settings
    from mecheval.leaderboard.check.submission import Submission
    from mecheval.reports.comparison.again import Again
    from mecheval.reports.schema import Report

MOST_BATCH, MOST_THREADS = 4096, 64
"""What a report may ask for at most: it is data from outside."""


class Chosen(NamedTuple):
    """A report whose cell is measured again."""

    path: Path
    report: Report
    cell: Cell


class MeasuredAgain(NamedTuple):
    """What came of it.

    Attributes:
        chosen: The report.
        again: How what came out compares with it; None where nothing did.
        problem: Why nothing did.
        mark: The file that says so, where one was written.
    """

    chosen: Chosen
    again: Again | None
    problem: str = ""
    mark: Path | None = None


def chosen_by_hash(
    submission: Submission,
    planned: Mapping[str, PlannedAgain],
    n: int | None,
    *,
    salt: str = "",
) -> list[Chosen]:
    """Choose cells that can be measured again here, so that nobody else can choose them.

    The order is that of hashes of key, digest and salt, and of the digests of all others: whoever
    changes a number anywhere is dealt other cells. A salt that is not known when results are
    submitted, such as the number of the check's run, leaves nothing to try out beforehand.

    Args:
        submission: The reports.
        planned: Their cells as they are planned today.
        n: How many; None for all.
        salt: Any text.
    """
    reports = [(path, report) for path, report in submission.cells.items()]
    marks = sorted(f"{report.key}:{report.digest}" for _, report in reports)
    drawn = hashlib.sha256("\n".join([salt, *marks]).encode()).hexdigest()

    def place(item: tuple[Path, Report]) -> str:
        return hashlib.sha256(f"{drawn}:{item[1].key}:{item[1].digest}".encode()).hexdigest()

    found = [
        Chosen(path, report, cell)
        for path, report in sorted(reports, key=place)
        if (cell := planned[report.key].cell) is not None
    ]
    return found[:n]


@dataclass(frozen=True)
class Way:
    """How cells are measured again.

    Attributes:
        settings: How they are computed; batch size and threads are those of the report.
        devices: Where.
        jobs: How many at a time; None for this process.
        by: Who answers for it; nothing is written without.
    """

    settings: Settings
    devices: Devices
    jobs: int | None
    by: str = ""


def measure_again(
    chosen: Sequence[Chosen],
    submission: Submission,
    way: Way,
    *,
    listener: Listener,
    heard: Callable[[MeasuredAgain], None],
) -> None:
    """Measure cells again from nothing: weights that a cache holds are not taken.

    Args:
        chosen: The reports.
        submission: All reports, whose seeds say how far another one may be.
        way: How.
        listener: Is told what goes on.
        heard: Is told what came of each as soon as it is there.

    Raises:
        StorageError: A mark could not be written; those before it are.
    """
    rows: dict[str, list[Report]] = {}
    for report in submission.cells.values():
        rows.setdefault(group_key(report.identity), []).append(report)
    by_key = {each.report.key: each for each in chosen}

    def finished(outcome: Outcome) -> None:
        one = by_key[outcome.cell.key]
        heard(_judged(one, outcome.report, rows[group_key(one.report.identity)], way.by))

    with _empty_cache() as cache:
        for settings, same in _by_settings(chosen, replace(way.settings, cache=cache)):
            cells = [with_settings(each.cell, settings) for each in same]
            execute(
                [_request(cell, settings) for cell in cells],
                _Hearing(listener, finished),
                devices=way.devices,
                jobs=way.jobs,
                planned=cells,
            )


def _judged(one: Chosen, made: Report, row: Sequence[Report], by: str) -> MeasuredAgain:
    if made.error is not None:
        said = f"{made.error.type} in {made.error.stage}: {made.error.message}"
        return MeasuredAgain(one, None, said)
    made = as_stored(made)
    again, mark = held_against(one.report, made, row), None
    if again.passed and by and one.report.digest:  # reports of old had none
        execution = Execution(
            by=by, when=made.finished, rule=again.rule, why=again.why[:2000],
            n_numbers=again.n_numbers, n_equal=again.n_equal, environment=made.environment,
            digest=str(made.digest),
        )  # fmt: skip
        mark = add_execution(one.report, one.path, execution)
    return MeasuredAgain(one, again, mark=mark)


def _by_settings(
    chosen: Sequence[Chosen], settings: Settings
) -> Iterator[tuple[Settings, list[Chosen]]]:
    """Share out reports by what decides the last digits and is no part of a cell."""
    found: dict[tuple[int, int], list[Chosen]] = {}
    for each in chosen:
        threads = each.report.environment.get("threads")
        batch = each.report.resources.get("batch_size")
        of_report = threads.get("torch") if isinstance(threads, dict) else None
        key = (_count(batch, settings.batch_size, MOST_BATCH), _count(of_report, 1, MOST_THREADS))
        found.setdefault(key, []).append(each)
    for (batch_size, n_threads), same in found.items():
        yield replace(settings, batch_size=batch_size, threads=n_threads), same


def _count(value: object, otherwise: int, most: int) -> int:
    return value if isinstance(value, int) and 1 <= value <= most else otherwise


@contextmanager
def _empty_cache() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="mecheval-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def _request(cell: Cell, settings: Settings) -> Request:
    seeds = (cell.identity.seed,)
    return Request(models=(cell.model,), tasks=(cell.task,), seeds=seeds, settings=settings)


class _Hearing(Silence):
    """Tells a listener what goes on, and somebody else what comes out."""

    def __init__(self, listener: Listener, heard: Callable[[Outcome], None]) -> None:
        """Keep both."""
        self._listener, self._heard = listener, heard

    def planned(self, todo: int, kept: int) -> None:
        """Pass it on."""
        self._listener.planned(todo, kept)

    def started(self, cell: Cell | PairCell) -> None:
        """Pass it on."""
        self._listener.started(cell)

    def progressed(self, cell: Cell | PairCell, progress: Progress) -> None:
        """Pass it on."""
        self._listener.progressed(cell, progress)

    def finished(self, outcome: Outcome) -> None:
        """Pass it on, and the outcome."""
        self._listener.finished(outcome)
        self._heard(outcome)
