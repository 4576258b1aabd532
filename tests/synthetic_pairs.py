"""Reports of pairs with invented numbers, for tests of what reads them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mecheval.reports.files import pair_key, pair_path, place_of, write_report
from mecheval.reports.pair import PairIdentity, PairReport, PairSide
from mecheval.reports.schema import Headline, Labels, MetricIdentity, MetricResult, Report

if TYPE_CHECKING:
    from pathlib import Path

HEADLINES = [
    Headline(title="how alike"),
    Headline(title="positions apart", at="apart", bounds=(0.0, None), otherwise="not asked for"),
]
CAPTION = "how alike two models are."


def synthetic_pair(one: Report, other: Report, value: float = 0.5, **changes: Any) -> PairReport:
    """Build the report of a pair of cells; further arguments replace its fields."""
    first, second = sorted((one, other), key=lambda report: report.key)
    learned = bool(one.learned and other.learned)
    result = MetricResult(
        id="likeness", title="how alike they are", name="likeness", metric="likeness", version=1,
        family="circuit", value=value if learned else None, n_expected=9,
        reason=None if learned else "not learned by one of the two", n_scored=9 if learned else 0,
        headline=HEADLINES, bounds=(-1.0, 1.0), scalars={"apart": 1.0} if learned else {},
    )  # fmt: skip
    metrics = [MetricIdentity(name="likeness", version=1, params={})]
    identity = PairIdentity(protocol=4, a=first.key, b=second.key, metrics=metrics)
    fields: dict[str, Any] = {
        "status": "success", "partial": first.partial or second.partial, "identity": identity,
        "key": pair_key(identity), "task": first.identity.task,
        "task_title": first.identity.task.name, "sides": [side_of(first), side_of(second)],
        "created": "2026-01-01T00:00:00Z", "finished": "2026-01-01T00:00:01Z",
        "captions": {"likeness": CAPTION}, "metrics": [result],
    }  # fmt: skip
    return PairReport(**{**fields, **changes})


def side_of(report: Report) -> PairSide:
    model, limit = report.identity.model, report.identity.limit
    return PairSide(
        key=report.key, model=model, seed=report.identity.seed, title=model.name,
        labels=Labels(run={} if limit is None else {"limit": limit}), learned=report.learned,
        tracking=None,
    )  # fmt: skip


def write_pairs(root: Path, *pairs: PairReport) -> list[Path]:
    """Write reports of pairs to their places under a folder of results."""
    paths = []
    for pair in pairs:
        cells = [place_of(root, s.model, pair.task, s.seed, s.labels) for s in pair.sides]
        paths.append(pair_path(cells[0], cells[1], root, pair.key))
        write_report(pair, paths[-1])
    return paths
