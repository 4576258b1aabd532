"""Behaviour: how often the model answers right, at the training length and at multiples of it.

The prediction is the likeliest of the task's answer tokens. Shape suffixes: ``B`` sequences,
``T`` positions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mecheval import stats
from mecheval.metrics import accuracy, resampling
from mecheval.metrics.contract import Column, Metric, metric
from mecheval.metrics.longer_words import N_WORDS
from mecheval.metrics.parameters import Count
from mecheval.metrics.results import Estimate, Layout, profile
from mecheval.tasks.batch import UNSCORED
from mecheval.tasks.floors import counting, task_floors

if TYPE_CHECKING:
    from mecheval.metrics.subject import Subject
    from mecheval.reports.schema import MetricResult, Profile
    from mecheval.tasks import Batch

TITLES = {
    "token_accuracy": "token accuracy",
    "last_accuracy": "last-position accuracy",
    "sequence_accuracy": "sequence accuracy",
}


@metric(
    name="behaviour",
    version=1,
    family="behaviour",
    caption="the share of answers that are right, at the training length and at multiples of it.",
    part="factor",
    headline=(
        Column("accuracy", of="token_accuracy/1x"),
        Column("accuracy at the last position", of="last_accuracy/1x"),
        Column("accuracy at {part} the length", of="token_accuracy/[!1]*x"),
    ),
)
@dataclass(frozen=True, kw_only=True)
class Behaviour(Metric):
    """Share of right answers at the training length and beyond: by token, last position, sequence.

    Floors are those of the answer at the training length, from a quarter of it on; they stand
    beside token and last-position accuracy. A sequence has no floor but chance, which is the
    uniform guess at every scored position.

    It says that a task is solved, and nothing of how: all planted twins are alike to it.

    Attributes:
        n: Test sequences at the training length.
        n_longer: Test sequences at each longer length.
    """

    n: Count = 1024
    n_longer: Count = N_WORDS

    def measure(self, subject: Subject) -> list[MetricResult]:
        """Measure all three at every test length."""
        results = []
        for factor, length in subject.task.test_lengths.items():
            n = self.n if factor == "1x" else self.n_longer
            results += _at_length(self, subject, factor, length, n)
        return results


def _at_length(
    metric: Behaviour, subject: Subject, factor: str, length: int, n: int
) -> list[MetricResult]:
    layouts = {
        kind: Layout(factor, f"{title} at {factor}", subject.cut(n), (0.0, 1.0), True, stem=kind)
        for kind, title in TITLES.items()
    }
    config, reason = {"length": length}, subject.too_long(length)
    if reason:
        missing = Estimate(None, reason=reason)
        return [metric.result(layout, missing, 0, config=config) for layout in layouts.values()]
    batch, predictions_BT = subject.answered(length, n)
    estimates = _estimates(predictions_BT, batch.targets_BT, subject, factor)
    units = _units(predictions_BT, batch.targets_BT)
    further = _references(subject, batch)
    by_position = _by_position(predictions_BT, batch.targets_BT) if factor == "1x" else None
    return [
        metric.result(
            layouts[kind],
            estimate,
            len(batch),
            config=config,
            references=further[kind],
            units=units[kind],
            profile=by_position if kind == "token_accuracy" else None,
        )
        for kind, estimate in estimates.items()
    ]


def _estimates(
    predictions_BT: np.ndarray, targets_BT: np.ndarray, subject: Subject, factor: str
) -> dict[str, Estimate]:
    right_B, scored_B = accuracy.token_counts(predictions_BT, targets_BT)
    rng = subject.stream("bootstrap", "token_accuracy", factor)
    interval = resampling.ratio_interval(right_B, scored_B, rng, unit="sequence")
    estimates = {"token_accuracy": Estimate(float(right_B.sum() / scored_B.sum()), interval)}
    per_sequence = {
        "last_accuracy": accuracy.last_right(predictions_BT, targets_BT),
        "sequence_accuracy": accuracy.sequence_right(predictions_BT, targets_BT),
    }
    for kind, value_B in per_sequence.items():
        rng = subject.stream("bootstrap", kind, factor)
        interval = stats.proportion_interval(value_B, rng, unit="sequence")
        estimates[kind] = Estimate(float(value_B.mean()), interval)
    return estimates


def _units(predictions_BT: np.ndarray, targets_BT: np.ndarray) -> dict[str, np.ndarray]:
    """Return what every sequence contributes to each value, which is the mean of these."""
    right_B, scored_B = accuracy.token_counts(predictions_BT, targets_BT)
    return {
        "token_accuracy": right_B / scored_B.mean(),
        "last_accuracy": accuracy.last_right(predictions_BT, targets_BT),
        "sequence_accuracy": accuracy.sequence_right(predictions_BT, targets_BT),
    }


def _references(subject: Subject, batch: Batch) -> dict[str, dict[str, Any]]:
    floors, chance = task_floors(subject.task, subject.seed).answer, subject.task.chance
    at_token = {
        "chance": chance,
        "floor": floors.best,
        **counting(floors.accuracy),
    }
    n_scored_B = (batch.targets_BT != UNSCORED).sum(1)
    all_right = float((chance**n_scored_B).mean())
    return {
        "token_accuracy": at_token,
        "last_accuracy": at_token,
        "sequence_accuracy": {"chance": all_right},
    }


def _by_position(predictions_BT: np.ndarray, targets_BT: np.ndarray) -> Profile:
    scored_BT = targets_BT != UNSCORED
    positions = np.flatnonzero(scored_BT.any(0))
    right_T = ((predictions_BT == targets_BT) & scored_BT).sum(0)[positions]
    count_T = scored_BT.sum(0)[positions]
    intervals = [
        stats.wilson(float(right), int(count), unit="sequence")
        for right, count in zip(right_T, count_T, strict=True)
    ]
    low, high = (np.array([getattr(i, end) for i in intervals]) for end in ("low", "high"))
    return profile({"position": positions.tolist()}, right_T / count_T, (low, high))
