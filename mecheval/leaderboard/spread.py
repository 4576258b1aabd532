"""Claims about the numbers of many cells, parts of results and layers at once, seed by seed.

Shape suffix: ``U`` numbers of one seed.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mecheval import stats
from mecheval.harness.claim_schema import ALL, LAYERS
from mecheval.reports.collection.contrasts import Estimate, summed
from mecheval.reports.collection.numbers import Number, one_of
from mecheval.reports.lookup import labels_at

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from mecheval.leaderboard.claim import Claim, Named
    from mecheval.reports.collection import Group

LEAST_NUMBERS = 5
"""A rank correlation of fewer numbers is hardly one."""


_APART = "/"  # what stands behind it, such as an eraser, is no part of a task


class Spread(NamedTuple):
    """A number over seeds, and from how many numbers it was made in each of them, in words."""

    number: Estimate
    counts: str


class _Place(NamedTuple):
    """Where a number stands: part of a result and layer; empty where the claim names them."""

    part: str
    layer: str


def spread(claim: Claim, groups: Sequence[Group]) -> Spread:
    """Return what a claim asks of the numbers of several cells and layers.

    Only the seeds that all cells have count, so that none differs from another in its cells;
    numbers that are missing, as where a task was not learned, are left out.

    Args:
        claim: It has ``which`` or ``ranks_with``.
        groups: The reports of the cells.
    """
    places = [(group, place) for group in groups for place in _places(claim.own, group)]
    columns = [
        [_numbers(named, group, place) for group, place in places] for named in claim.numbers
    ]
    seeds = sorted(set.intersection(*(set(group.seeds) for group in groups)))
    counts, found = [], {}
    for seed in seeds:
        rows = [[numbers[seed].value for numbers in column] for column in columns]
        whole_U = [units for units in zip(*rows, strict=True) if None not in units]
        counts.append(len(whole_U))
        said = [n.reason for column in columns for each in column if (n := each[seed]).reason]
        found[seed] = _summary(claim, [*zip(*whole_U, strict=True)], said)
    return Spread(summed([found]), " to ".join(map(str, sorted({min(counts), max(counts)})))
                  if counts else "0")  # fmt: skip


def _summary(claim: Claim, columns: Sequence[Sequence[float]], reasons: Sequence[str]) -> Number:
    """Return what is asked of the numbers of a seed; if there are none, why most are missing."""
    if not columns:
        most = "".join(f": {reason}" for reason, _ in Counter(reasons).most_common(1))
        return Number(reason=f"no cell has a number{most}")
    if claim.which:
        values_U = np.array(claim.weights_KN[0]) @ np.array(columns)
        return Number(one_of(values_U, claim.which))
    if len(columns[0]) < LEAST_NUMBERS:
        return Number(reason=f"fewer than {LEAST_NUMBERS} numbers to rank")
    correlation = stats.rank_correlation(*columns)
    if correlation is None:
        return Number(reason="all numbers of a side are equal")
    return Number(correlation, bounds=(-1.0, 1.0))


def _places(named: Named, group: Group) -> Iterator[_Place]:
    """Yield where a group has the number: parts in the order of its results, layers from below."""
    stem, several, tail = named.result.partition(ALL)
    ids = dict.fromkeys(metric.id for report in group.reports for metric in report.metrics)
    for id in ids:
        part = id.removeprefix(stem).removesuffix(tail) if several else ""
        if id != named.result.replace(ALL, part) or _APART in part:
            continue
        for layer in _layers(named, group, id):
            yield _Place(part, layer)


def _layers(named: Named, group: Group, id: str) -> Sequence[str]:
    path = named.at.split()
    if LAYERS not in path:
        return [""]
    labels = [labels_at(each, path, "layer") for each in group.results(id).values() if each]
    longest = max(labels, key=len, default=[])
    return longest[1:-1]


def _numbers(named: Named, group: Group, place: _Place) -> Mapping[int, Number]:
    at = " ".join(
        step.replace(ALL, place.layer) if step == LAYERS else step for step in named.at.split()
    )
    return group.numbers(named.result.replace(ALL, place.part), at)
