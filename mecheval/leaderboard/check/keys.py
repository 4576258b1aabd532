"""Whether the keys of reports are those that their cells have today, and which suites they fill."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mecheval.checks import Check
from mecheval.errors import UsageError
from mecheval.harness.measures import identity_of
from mecheval.harness.pair_plan import built_pair_metric
from mecheval.harness.suite_cells import known_versions
from mecheval.leaderboard.check.submission import Checked
from mecheval.registry import Registry
from mecheval.spec import Spec

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from mecheval.harness.planned_again import PlannedAgain
    from mecheval.harness.request import Settings
    from mecheval.harness.suite_cells import SuiteVersion
    from mecheval.leaderboard.check.submission import Submission
    from mecheval.reports.pair import PairReport

PLANNED = "planned again today it has the same key"
COMPLETE = "all its cells are there"
_MOST_NAMED = 3


def check_keys(
    submission: Submission, planned: Mapping[str, PlannedAgain], settings: Settings
) -> Iterator[Checked]:
    """Hold keys against those of the cells as they are planned today.

    A cell of a published version of a suite stays one, however it is planned today.
    """
    published = {key: version for version in known_versions() for key in version.cells}
    for path, report in submission.cells.items():
        found = planned[report.key]
        passed: bool | None = found.cell is not None
        detail = found.problem
        if not passed and report.key in published:
            passed, detail = None, f"of {published[report.key].title}; {detail}"
        elif not passed and not found.is_here:
            passed, detail = None, f"not planned here: {detail}"
        yield Checked(str(path), Check(PLANNED, passed, detail))
    registry = Registry(settings.include_paths)
    for path, pair in submission.pairs.items():
        yield Checked(str(path), Check.of(PLANNED, _metric_problems(pair, registry)))


def _metric_problems(pair: PairReport, registry: Registry) -> list[str]:
    """Say which metrics of a pair are not what they are today."""
    problems = []
    for metric in pair.identity.metrics:
        try:
            built = built_pair_metric(Spec(metric.name, dict(metric.params)), registry)
        except UsageError as error:
            problems.append(str(error))
            continue
        if identity_of(built) != metric:
            now = f"version {built.card.version} here, with other parameters or of another file"
            problems.append(f"metric {metric.name} is {now}")
    return problems


def check_suites(submission: Submission, asked: SuiteVersion | None) -> Iterator[Checked]:
    """Say of every version of a suite that reports are of whether all its cells are there.

    Args:
        submission: The reports.
        asked: The version that has to be whole; others may have gaps.
    """
    there = submission.by_key.keys()
    others = [each for each in known_versions() if asked is None or each.title != asked.title]
    for version in [*([asked] if asked else []), *others]:
        missing = [cell for key, cell in version.cells.items() if key not in there]
        n_all, n_there = len(version.cells), len(version.cells) - len(missing)
        if version is not asked and not n_there:
            continue
        detail = f"{n_there} of {n_all} cells" + _named(missing)
        detail += f". {version.warning.rstrip('.')}" if version.warning else ""
        passed = not missing or (False if version is asked else None)
        yield Checked(f"suite {version.title}", Check(COMPLETE, passed, detail))


def _named(missing: Sequence[object]) -> str:
    if not missing:
        return ""
    more = f" and {len(missing) - _MOST_NAMED} more" if len(missing) > _MOST_NAMED else ""
    return f"; missing: {'; '.join(map(str, missing[:_MOST_NAMED]))}{more}"
