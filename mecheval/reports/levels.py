"""What the numbers of a pair are to be read against: a null, and how alike seeds of one model are.

The null is what a metric of pairs says itself, among its references (:data:`NULLS`). The skyline is
another seed of the same model: the mean over all pairs of networks of the one model, and over those
of the other, on the same task by the same metric. It comes from other reports, which are named by
their keys.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from mecheval import stats
from mecheval.reports.canonical import sha256_of
from mecheval.reports.collection.numbers import Number, number_of, weighted
from mecheval.reports.collection.over_pairs import over_pairs
from mecheval.reports.labels import model_key
from mecheval.reports.pair import Level
from mecheval.reports.types import rounded

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from mecheval.reports.collection.over_pairs import OverPairs
    from mecheval.reports.pair import PairReport, PairSide
    from mecheval.reports.results import Headline, MetricResult

NULLS = ("null", "untrained")
"""References that are a null, the first of them that a result has: what a metric calls so, or the
score of either network with freshly drawn weights. Those of a scalar have its name before them:
``closeness_null``."""

NO_NULL = "the metric has no null for it"
ITSELF = "it is a pair of seeds of one model: a skyline itself"
FEW_SEEDS = "there are fewer than three seeds of one of the two models"
NOT_APART = "seeds of one model are not beyond the null"


def number_in(report: PairReport, result: MetricResult | None, line: Headline) -> Number:
    """Return a number of a report, or why it is not there."""
    if report.error is not None:
        return Number(reason=report.error.message)
    number = number_of(result, line.at)
    if number.value is None and line.otherwise and result and result.value is not None:
        return Number(reason=line.otherwise)
    return number._replace(bounds=line.bounds if line.at else number.bounds)


def null_of(result: MetricResult, line: Headline) -> Number:
    """Return the null of a number, with where 95 % of it lie; or why there is none."""
    names = [f"{line.at}_{name}" if line.at else name for name in NULLS]
    name = next((name for name in names if name in result.references), None)
    if result.value is None:
        return Number(reason=result.reason)
    return Number(reason=NO_NULL) if name is None else number_of(result, name)


def model_of(side: PairSide) -> str:
    """Return what tells models apart, recipes and own tokens included: all but the seed."""
    task = side.task and side.task.model_dump(mode="json")
    return sha256_of([model_key(side.model), run_of(side), task])


def run_of(side: PairSide) -> dict[str, Any]:
    """Return how a side's run differs from the usual one, but for what was measured."""
    return {key: value for key, value in side.labels.run.items() if key != "metrics"}


class _Asked(NamedTuple):
    """A number of pairs on a task, by one metric with its parameters."""

    task: str
    measured: str
    id: str
    at: str


class _Skyline(NamedTuple):
    """How alike the networks of a model are, and which reports say so."""

    over: OverPairs
    keys: Sequence[str]


def with_levels(reports: Iterable[PairReport]) -> list[PairReport]:
    """Return the reports, each with what its numbers are to be read against.

    Args:
        reports: All reports of pairs that there are, of any tasks: skylines are found among them.
    """
    reports = list(reports)
    skylines = _skylines(reports)
    return [report.model_copy(update={"levels": _levels(report, skylines)}) for report in reports]


def _levels(report: PairReport, skylines: Mapping[tuple[str, _Asked], _Skyline]) -> list[Level]:
    models = [model_of(side) for side in report.sides]
    found = []
    for result, line, asked in _numbers(report):
        value, null = number_in(report, result, line), _as_written(null_of(result, line))
        of_models = {model: skylines.get((model, asked)) for model in models}
        lacking = [
            side.title
            for side, model in zip(report.sides, models, strict=True)
            if of_models[model] is None
        ]
        there = [each for each in of_models.values() if each is not None]
        why = ITSELF if len(of_models) == 1 else without_seeds(lacking)
        why = of_fresh([side.title for side in report.sides if side.untrained]) or why
        skyline = Number(reason=why) if why else skyline_of([each.over for each in there])
        skyline = _as_written(skyline)
        place = _as_written(place_of(value, null, skyline))
        found.append(
            Level(
                id=result.id, at=line.at, null=null.value, null_low=null.low, null_high=null.high,
                no_null=null.reason, skyline=skyline.value, skyline_low=skyline.low,
                skyline_high=skyline.high, no_skyline=skyline.reason, place=place.value,
                no_place=place.reason,
                skyline_of=[] if why else sorted(key for each in there for key in each.keys),
            )
        )  # fmt: skip
    return found


def _as_written(number: Number) -> Number:
    """Return a number as it is read back from a report, so that what is there can be compared."""
    ends = (number.value, number.low, number.high)
    value, low, high = (None if end is None else rounded(end) for end in ends)
    return number._replace(value=value, low=low, high=high)


def of_fresh(titles: Sequence[str]) -> str:
    """Say of which models the weights are freshly drawn; nothing where they are of none."""
    if not titles:
        return ""
    return f"{' and '.join(titles)}: freshly drawn weights, whose seeds are no skyline"


def without_seeds(titles: Sequence[str]) -> str:
    """Say of which models there are no two seeds; nothing where there are of all."""
    return f"no two seeds of {' and of '.join(titles)} with a value" if titles else ""


def skyline_of(parts: Sequence[OverPairs]) -> Number:
    """Return how alike the seeds of two models are, with the mean of their intervals' ends."""
    return weighted([(1 / len(parts), _with_ends(part)) for part in parts])


def _with_ends(part: OverPairs) -> Number:
    """Return a mean with its interval, which is a point where all pairs of three seeds agree."""
    if part.low is None and _n_seeds(part) > 2 and stats.all_equal([*part.values.values()]):
        return Number(part.mean, part.mean, part.mean)
    return Number(part.mean, part.low, part.high)


def _n_seeds(part: OverPairs) -> int:
    return len({seed for seeds in part.values for seed in seeds})


def place_of(value: Number, null: Number, skyline: Number) -> Number:
    """Return where a number lies: 0 at the null, 1 at the skyline; or why that cannot be said."""
    if value.value is None or null.value is None or skyline.value is None:
        return Number(reason=value.reason or null.reason or skyline.reason)
    if skyline.low is None or skyline.high is None:
        return Number(reason=FEW_SEEDS)
    if skyline.low <= null.value <= skyline.high:
        return Number(reason=NOT_APART)
    return Number((value.value - null.value) / (skyline.value - null.value))


def _skylines(reports: Sequence[PairReport]) -> dict[tuple[str, _Asked], _Skyline]:
    """Return how alike the networks of every model are, by number."""
    numbers: dict[tuple[str, _Asked], dict[tuple[int, int], Number]] = {}
    keys: dict[tuple[str, _Asked], list[str]] = {}
    for report in sorted(reports, key=lambda report: report.key):
        one, other = map(model_of, report.sides)
        if one != other:
            continue
        a, b = sorted(side.seed for side in report.sides)
        for result, line, asked in _numbers(report):
            number = number_in(report, result, line)
            numbers.setdefault((one, asked), {})[a, b] = number
            if number.value is not None:
                keys.setdefault((one, asked), []).append(report.key)
    return {of: _Skyline(over_pairs(numbers[of], same=True), found) for of, found in keys.items()}


def _numbers(report: PairReport) -> list[tuple[MetricResult, Headline, _Asked]]:
    """Return the numbers of a report that become columns, with what they may be compared with."""
    task = comparable(report)
    return [
        (result, line, _Asked(task, measured(result), result.id, line.at))
        for result in report.metrics
        for line in result.headline
    ]


def comparable(report: PairReport) -> str:
    """Return what pairs in one matrix share: the task, and the loss that is asked for if one is."""
    return sha256_of([report.task.model_dump(mode="json"), report.identity.at_loss])


def measured(result: MetricResult) -> str:
    """Return what results that may be compared share: metric, version, parameters."""
    return sha256_of([result.name, result.version, result.config])
