"""A data frame with a row per number: of a result its value, references and scalars."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

from mecheval.reports.lookup import interval_at, number_at

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    import pandas as pd

    from mecheval.reports.collection.groups import Group
    from mecheval.reports.schema import MetricResult, Report

COLUMNS = (
    "model", "task", "recipe", "seed", "metric", "result", "path", "value", "low", "high", "n",
    "verdict", "reason", "learned", "gate", "gate_on", "tracking",
    "reproduced",
)  # fmt: skip


def frame(groups: Iterable[Group], *, profiles: bool = False) -> pd.DataFrame:
    """Return the numbers of all reports, as :meth:`Collection.to_frame` says."""
    import pandas as pd

    table = pd.DataFrame(list(rows(groups, profiles=profiles)), columns=list(COLUMNS))
    return table.astype(dict.fromkeys(("value", "low", "high", "gate"), float))


def rows(groups: Iterable[Group], *, profiles: bool = False) -> Iterator[dict[str, Any]]:
    """Yield a row per number."""
    for group in groups:
        for report in group.reports:
            for result in report.metrics:
                for path in _paths(result, profiles=profiles):
                    yield _row(group, report, result, path)


def _row(group: Group, report: Report, result: MetricResult, path: str) -> dict[str, Any]:
    steps = path.split()
    found = number_at(result, steps)
    missing = found is None or isinstance(found, str)
    low, high = interval_at(result, steps) or (None, None)
    values = (
        group.name.model, group.name.task, _recipe(group), report.identity.seed,
        result.metric or result.name, result.id, path, None if missing else found, low, high,
        result.n_scored, None if path else result.verdict, found if missing else None,
        report.learned, group.gate, group.gate_on, report.tracking, report.key in group.marks,
    )  # fmt: skip
    return dict(zip(COLUMNS, values, strict=True))


def _recipe(group: Group) -> str:
    """Return the recipe in words, with what tells it apart where a model has several on a task."""
    apart = group.name.recipe
    return f"{group.recipe} ({apart})" if apart else group.recipe


def _paths(result: MetricResult, *, profiles: bool) -> Iterator[str]:
    yield ""
    yield from dict.fromkeys([*result.references, *result.scalars])
    if not profiles:
        return
    named = {"": result.profile, **result.profiles}
    for name, profile in named.items():
        if profile is not None:
            start = [f"profile={name}"] if name else []
            labels: Sequence[Any] = [profile.index[axis] for axis in profile.axes]
            for at in itertools.product(*labels):
                cell = [f"{axis}={label}" for axis, label in zip(profile.axes, at, strict=True)]
                yield " ".join([*start, *cell])
