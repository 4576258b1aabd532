"""The reports of a folder, each with its file, and what is wrong with it as a file."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from mecheval.checks import Check
from mecheval.errors import UsageError
from mecheval.leaderboard.admission import reason_of
from mecheval.paths import is_dir
from mecheval.reports.collection.loading import unfinished
from mecheval.reports.files import find_pairs, find_reports
from mecheval.reports.pair import PairReport
from mecheval.reports.reproduced import SUFFIX, is_about, read_reproduced
from mecheval.reports.schema import Report
from mecheval.reports.validate import validated

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path


COUNTS = "counts on a leaderboard"
SIDES = "both cells of the pair are there, and are as it says"
MARK = "the mark is about the report beside it"


class Checked(NamedTuple):
    """A check and what it is of.

    Attributes:
        subject: A file, a suite, or the folder.
        check: The outcome.
    """

    subject: str
    check: Check


@dataclass(frozen=True)
class Submission:
    """A folder of reports, or a single one.

    Attributes:
        root: The folder or file.
        cells: The valid reports of cells, by their files.
        pairs: Those of pairs.
    """

    root: Path
    cells: Mapping[Path, Report] = field(default_factory=dict)
    pairs: Mapping[Path, PairReport] = field(default_factory=dict)

    @property
    def by_key(self) -> dict[str, tuple[Path, Report]]:
        """Return the reports of cells with their files, by their keys."""
        return {report.key: (path, report) for path, report in self.cells.items()}


def read_submission(root: Path) -> tuple[Submission, list[Checked]]:
    """Read all reports of a folder, and check every file by itself.

    Args:
        root: The folder, or a report.

    Returns:
        The reports that are valid and count, and one outcome per file and property.

    Raises:
        UsageError: There is no such folder, or it holds no reports.
    """
    paths = sorted({*find_reports(root), *find_pairs(root)})
    if not paths:
        raise UsageError(f"The folder {root} holds no reports. Give one that does.")
    checked: list[Checked] = []
    cells: dict[Path, Report] = {}
    pairs: dict[Path, PairReport] = {}
    seen: dict[str, Path] = {}
    for path in paths:
        found, report = validated(path)
        if report is not None:
            reason = unfinished(report) or reason_of(report)
            if report.key in seen:
                reason = f"duplicate: the same as {seen[report.key]}"
            seen.setdefault(report.key, path)
            found.append(Check(COUNTS, reason is None, reason or ""))
            if reason is None and isinstance(report, Report):
                cells[path] = report
            elif reason is None and isinstance(report, PairReport):
                pairs[path] = report
        checked += [Checked(str(path), check) for check in found]
    submission = Submission(root, cells, pairs)
    checked += [*_sides(submission), *_marks(submission)]
    return submission, checked


def _sides(submission: Submission) -> Iterator[Checked]:
    """Check of every pair that the reports of its cells are there and fit what it says of them."""
    known = submission.by_key
    for path, pair in submission.pairs.items():
        problems = []
        for side in pair.sides:
            there = known.get(side.key)
            if there is None:
                problems.append(f"there is no report of {side.title}, seed {side.seed}")
                continue
            cell = there[1]
            task = side.task or pair.task
            ours = (side.model, side.seed, side.learned, side.tracking, task)
            identity = cell.identity
            theirs = (identity.model, identity.seed, cell.learned, cell.tracking, identity.task)
            if ours != theirs:
                problems.append(f"it says of {side.title} what {there[0]} does not")
        yield Checked(str(path), Check.of(SIDES, problems))


def _marks(submission: Submission) -> Iterator[Checked]:
    """Check the records that say that a report was reproduced."""
    for path in _records(submission.root):
        record, problem = read_reproduced(path)
        report = submission.cells.get(path.with_name(path.name.removesuffix(SUFFIX) + ".json"))
        if record is not None and (report is None or not is_about(record, report)):
            problem = "it is of another report than lies beside it. Remove it"
        yield Checked(str(path), Check(MARK, not problem, problem))


def _records(root: Path) -> Iterable[Path]:
    return sorted(root.rglob(f"*{SUFFIX}")) if is_dir(root) else ()
