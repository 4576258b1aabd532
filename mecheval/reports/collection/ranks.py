"""Ranks of models by what they score, over the cells that all of them have, with intervals.

A model that has no report of a task is not ranked below others for that: on a task only the seeds
that all its models have count, and over several tasks only models that have all of these.

A rank interval says where else a model could stand. Means over seeds are drawn anew from Student's
t around those that were measured (a parametric bootstrap; with four seeds one that draws seeds
again covers too little, as :mod:`mecheval.stats` says), models independently; where there is one
common seed, its examples are drawn again, the same ones for all models.

Shape suffixes: ``M`` models, ``S`` seeds, ``U`` examples, ``R`` draws.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mecheval import stats
from mecheval.reports.collection.numbers import SEED
from mecheval.reports.comparison.pairing import same_examples
from mecheval.seeding import stream

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mecheval.reports.schema import MetricResult, Report

N_DRAWS = 4000
_Z = 1.959963984540054  # what a normal 95 % interval has of standard errors on either side
ALONE = "one model alone"
NO_COMMON_SEED = "no seed that all models have"
ONE_SEED = "one common seed, whose examples cannot be paired"


@dataclass(frozen=True)
class Rank:
    """Where a model stands.

    Attributes:
        model: What the model is called, with its recipe where there are several.
        score: The mean that it is ranked by; of several tasks the mean rank on them.
        rank: Its rank from 1 on, the mean of those that it shares; None where there is none.
        low: Lower end of the rank's 95 % interval; None where there is none.
        high: Upper end of it.
        reason: Why there is no rank, or no interval.
    """

    model: str
    score: float | None
    rank: float | None
    low: float | None = None
    high: float | None = None
    reason: str = ""


@dataclass(frozen=True)
class Ranking:
    """Models by rank.

    Attributes:
        of: The task; or the tasks, with commas.
        by: What is ranked by, in words.
        seeds: The seeds that all models have; of several tasks none.
        ranks: The models, the first one first.
        left_out: Models that lack a cell which the others have.
        over: What the intervals are over.
    """

    of: str
    by: str
    seeds: tuple[int, ...]
    ranks: Sequence[Rank]
    left_out: Sequence[str] = ()
    over: str = ""


class Scored(NamedTuple):
    """What a model scores on a task.

    Attributes:
        name: What the model is called, with its recipe where there are several.
        by_seed: The report of every seed, with the result that it is ranked by; None without one.
    """

    name: str
    by_seed: Mapping[int, tuple[Report, MetricResult | None]]


class _Drawn(NamedTuple):
    """What a task says: models, their means and ranks, ranks of draws, and what these are of."""

    models: list[str]
    scores_M: np.ndarray
    ranks_M: np.ndarray
    drawn_RM: np.ndarray | None
    by: str
    seeds: tuple[int, ...]
    over: str


def rankings(by_task: Mapping[str, Sequence[Scored]]) -> list[Ranking]:
    """Return a ranking per task, and first of all one over the tasks that most models share.

    Args:
        by_task: What models score, by what the task is called.
    """
    found, drawn = [], {}
    for task, models in sorted(by_task.items()):
        each = _drawn(task, models)
        found.append(_ranking(task, each) if each else _none(task, models))
        if each:
            drawn[task] = each
    return [*_overall(drawn), *found]


def _drawn(task: str, models: Sequence[Scored]) -> _Drawn | None:
    """Rank the models of a task; None where no seed is common to all, or there is no score."""
    seeds = _common(models)
    found = [[model.by_seed[seed] for seed in seeds] for model in models]
    results = [[result for _, result in row] for row in found]
    scored = [[each for each in row if each is not None] for row in results]
    values = [[each.value for each in row if each.value is not None] for row in scored]
    if len(models) < 2 or not seeds or any(len(row) < len(seeds) for row in values):
        return None
    values_MS = np.array(values, float)
    sign = -1.0 if scored[0][0].higher_is_better is not False else 1.0
    rng = stream(0, "ranks", task)
    if len(seeds) > 1:
        drawn_RM, over = _of_seeds(values_MS, scored, rng), SEED
    else:
        reports = [row[0][0] for row in found]
        drawn_RM, over = _of_examples(reports, [row[0] for row in scored], rng)
    scores_M = values_MS.mean(1)
    return _Drawn(
        [model.name for model in models], scores_M, _ranked(sign * scores_M[None])[0],
        None if drawn_RM is None else _ranked(sign * drawn_RM), scored[0][0].title, seeds, over,
    )  # fmt: skip


def _common(models: Sequence[Scored]) -> tuple[int, ...]:
    return tuple(sorted(set.intersection(*(set(model.by_seed) for model in models))))


def _ranked(costs_RM: np.ndarray) -> np.ndarray:
    """Return ranks from 1 on of the least first; equal ones share the mean of theirs."""
    from scipy.stats import rankdata

    return rankdata(np.round(costs_RM, 10), axis=-1)


def _of_seeds(
    values_MS: np.ndarray, results: Sequence[Sequence[MetricResult]], rng: np.random.Generator
) -> np.ndarray:
    """Draw means over seeds, within the bounds of what is measured.

    Where all seeds of a model are equal, they say nothing of how far off their mean may be: the
    hull of their own intervals does, which is over examples.
    """
    n = values_MS.shape[1]
    error_M = values_MS.std(1, ddof=1) / np.sqrt(n)
    t_RM = rng.standard_t(n - 1, size=(N_DRAWS, len(values_MS)))
    for at, (values_S, row) in enumerate(zip(values_MS, results, strict=True)):
        own = [each.uncertainty for each in row if each.uncertainty]
        if own and stats.all_equal(values_S):
            width = max(each.high for each in own) - min(each.low for each in own)
            error_M[at] = width / (2 * _Z)
            t_RM[:, at] = rng.standard_normal(N_DRAWS)
    low, high = results[0][0].bounds
    drawn_RM = values_MS.mean(1) + error_M * t_RM
    return np.clip(drawn_RM, low, high) if (low, high) != (None, None) else drawn_RM


def _of_examples(
    reports: Sequence[Report], results: Sequence[MetricResult], rng: np.random.Generator
) -> tuple[np.ndarray | None, str]:
    """Return means over examples that are drawn again, and what these are; None without pairs."""
    units = [result.units for result in results]
    same = all(same_examples(reports[0], report) for report in reports)
    if not same or not units[0] or len({len(each) for each in units}) > 1:
        return None, ""
    units_MU = np.array(units, float)
    units_MU = units_MU[:, np.isfinite(units_MU).all(0)]
    if units_MU.shape[1] < 2:
        return None, ""
    index_RU = rng.integers(units_MU.shape[1], size=(stats.N_RESAMPLES, units_MU.shape[1]))
    own = results[0].uncertainty
    means_RM = np.stack([units_U[index_RU].mean(-1) for units_U in units_MU], -1)
    return means_RM, own.resampled_unit if own else "example"


def _ranking(task: str, drawn: _Drawn) -> Ranking:
    ranks = _with_intervals(drawn.models, drawn.scores_M, drawn.ranks_M, drawn.drawn_RM)
    return Ranking(task, drawn.by, drawn.seeds, ranks, over=drawn.over)


def _with_intervals(
    models: Sequence[str], scores_M: np.ndarray, ranks_M: np.ndarray, drawn_RM: np.ndarray | None
) -> list[Rank]:
    found = []
    for at, model in enumerate(models):
        ends: tuple[float | None, float | None] = (None, None)
        if drawn_RM is not None:
            tails = [(1 - stats.LEVEL) / 2, (1 + stats.LEVEL) / 2]
            low, high = np.quantile(drawn_RM[:, at], tails, method="inverted_cdf")
            ends = float(min(low, ranks_M[at])), float(max(high, ranks_M[at]))
        reason = "" if drawn_RM is not None else ONE_SEED
        found.append(Rank(model, float(scores_M[at]), float(ranks_M[at]), *ends, reason))
    return sorted(found, key=lambda each: (each.rank or 0.0, each.model))


def _none(task: str, models: Sequence[Scored]) -> Ranking:
    common = _common(models)
    reason = "not all models have a score" if common else NO_COMMON_SEED
    reason = ALONE if len(models) < 2 else reason
    ranks = [Rank(name, None, None, reason=reason) for name in sorted(m.name for m in models)]
    return Ranking(task, "", common, ranks)


def _overall(drawn: Mapping[str, _Drawn]) -> list[Ranking]:
    """Rank by the mean rank over tasks: those that two models or more have all of.

    Of all such choices the one with most cells (models times tasks) is taken; models that lack one
    of its tasks are named, not ranked.
    """
    tasks_of: dict[str, set[str]] = {}
    for task, each in drawn.items():
        for model in each.models:
            tasks_of.setdefault(model, set()).add(task)
    choices = [
        (sorted(tasks), sorted(model for model, theirs in tasks_of.items() if tasks <= theirs))
        for tasks in tasks_of.values()
    ]
    shared = [(tasks, models) for tasks, models in choices if len(tasks) > 1 and len(models) > 1]
    if not shared:
        return []
    tasks, models = max(shared, key=lambda both: (len(both[0]) * len(both[1]), both))
    ranks_M, drawn_RM = _mean_ranks([drawn[task] for task in tasks], models)
    order_M = _ranked(ranks_M[None])[0]
    order_RM = None if drawn_RM is None else _ranked(drawn_RM)
    ranks = _with_intervals(models, ranks_M, order_M, order_RM)
    left_out = sorted(tasks_of.keys() - set(models))
    return [Ranking(", ".join(tasks), "mean rank over the tasks", (), ranks, left_out, SEED)]


def _mean_ranks(
    drawn: Sequence[_Drawn], models: Sequence[str]
) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the mean over tasks of the ranks among some models, as measured and as drawn."""
    measured, again = [], []
    for each in drawn:
        places = [each.models.index(model) for model in models]
        measured.append(_ranked(each.ranks_M[None, places])[0])
        if each.drawn_RM is not None:
            again.append(_ranked(each.drawn_RM[: stats.N_RESAMPLES, places]))
    whole = len(again) == len(drawn)
    return np.mean(measured, 0), np.mean(again, 0) if whole else None
