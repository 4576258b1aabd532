"""What erasing one variable does at every layer, beside random subspaces and what probes read.

Shape suffixes: ``L`` layers 0 (embedding) to n, ``B`` sequences, ``R`` resamples, ``J`` random
subspaces.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mecheval.metrics import layer_curves, resampling
from mecheval.metrics.bottleneck.cost import Answers, Validity, cost, refit_recovery
from mecheval.metrics.results import profile

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mecheval.metrics.bottleneck.erasure_sweep import Outcome, Sweep
    from mecheval.reports.schema import Profile

PLATEAU = 0.8
"""Layers with at least this share of the largest cost are on its plateau."""


@dataclass(frozen=True)
class Readings:
    """What probes read before erasure: their accuracy, its floor, and chance."""

    accuracy_L: np.ndarray
    floor: float
    chance: float


@dataclass(frozen=True)
class Levels:
    """Accuracy of the answers without the variable.

    Attributes:
        floor: Of the best table over positions or the last symbols.
        chance: Of a uniform guess.
    """

    floor: float
    chance: float


@dataclass(frozen=True)
class Curves:
    """Everything about one variable by layer.

    Attributes:
        outcomes: What erasing it did.
        readings: What probes read before.
        levels: Accuracies that need no variable: the task's floor, and chance.
        answers: Right answers per sequence.
        weight_RB: Weights of resampled sequences.
        refit_L: What a refitted probe reads of what there was.
        random_JL: Accuracy under single random subspaces.
        cost_L: What erasing costs, of what there is to lose above the floor.
        cost_RL: The same in resamples.
        validity: Which layers count.
    """

    outcomes: Sequence[Outcome]
    readings: Readings
    levels: Levels
    answers: Answers
    weight_RB: np.ndarray
    refit_L: np.ndarray
    random_JL: np.ndarray
    cost_L: np.ndarray
    cost_RL: np.ndarray
    validity: Validity

    @property
    def valid_cost_L(self) -> np.ndarray:
        """Return the cost at valid layers, NaN elsewhere."""
        return np.where(self.validity.valid_L, self.cost_L, np.nan)

    def lost(self, level: float) -> np.ndarray:
        """Return the cost at all layers as a share of the accuracy above a level."""
        return cost(self.answers, np.ones((1, len(self.answers.clean_B))), level)[0]


def curves_of(
    sweep: Sweep,
    outcomes: list[Outcome],
    readings: Readings,
    levels: Levels,
    rng: np.random.Generator,
) -> Curves:
    """Compare what erasing cost with random subspaces, and say which layers count.

    Args:
        sweep: The erased runs, with the metric's parameters.
        outcomes: What erasing the variable did, by layer.
        readings: What probes read.
        levels: Accuracies that need no variable.
        rng: Decides the resamples of sequences.
    """
    params = sweep.params
    clean_B = sweep.runs.clean.token
    random_LJB = np.stack([outcome.random_JB for outcome in outcomes])
    answers = Answers(
        clean_B, np.stack([outcome.right.token for outcome in outcomes]), _mean(random_LJB, axis=1)
    )
    weight_RB = resampling.weights(len(clean_B), rng)
    # Each subspace saw a share of the sequences: its cost there, off the accuracy on all of them.
    random_LJ = clean_B.mean() - _mean(clean_B - random_LJB, axis=2)
    refit_accuracy_L = np.array([outcome.refit_accuracy for outcome in outcomes])
    refit_L = refit_recovery(refit_accuracy_L, readings.accuracy_L, readings.chance)
    above_floor_L = layer_curves.corrected(readings.accuracy_L, readings.floor)
    validity = Validity(
        above_floor_L >= params["min_readability"],
        np.nan_to_num(refit_L, nan=np.inf) <= params["max_refit"],
        random_LJ.mean(1) >= params["min_random_kept"] * clean_B.mean(),
        np.arange(len(outcomes)) == len(outcomes) - 1,
    )
    return Curves(
        outcomes,
        readings,
        levels,
        answers,
        weight_RB,
        refit_L,
        random_LJ.T,
        cost(answers, np.ones((1, len(clean_B))), levels.floor)[0],
        cost(answers, weight_RB, levels.floor),
        validity,
    )


def by_layer(curves: Curves) -> Profile:
    """Lay the cost at valid layers out, and everything that it was judged by."""
    outcomes, validity = curves.outcomes, curves.validity
    low_L, high_L = resampling.bounds(curves.cost_RL)
    random_low_L, random_high_L = np.quantile(curves.random_JL, [0.025, 0.975], axis=0)
    counts_L = np.isfinite(curves.valid_cost_L)
    largest = curves.valid_cost_L[counts_L].max(initial=-np.inf)
    return profile(
        {"layer": range(len(outcomes))},
        curves.valid_cost_L,
        (np.where(validity.valid_L, low_L, np.nan), np.where(validity.valid_L, high_L, np.nan)),
        marks={
            "valid": validity.valid_L,
            "readable": validity.readable_L,
            "removed": validity.removed_L,
            "random_kept": validity.kept_L,
            "trivial": validity.trivial_L,
            "plateau": layer_curves.plateau(curves.valid_cost_L, PLATEAU * largest) & counts_L,
        },
        series={
            "cost": curves.cost_L,
            "cost_to_chance": curves.lost(curves.levels.chance),
            "accuracy": np.array([outcome.right.token.mean() for outcome in outcomes]),
            "last_accuracy": np.array([outcome.right.last.mean() for outcome in outcomes]),
            "random": curves.random_JL.mean(0),
            "random_low": random_low_L,
            "random_high": random_high_L,
            "top_components": np.array([outcome.top_components for outcome in outcomes]),
            "probe": curves.readings.accuracy_L,
            "refit": np.array([outcome.refit_accuracy for outcome in outcomes]),
            "refit_recovery": curves.refit_L,
            "rank": np.array([outcome.rank for outcome in outcomes]),
        },
    )


def _mean(values: np.ndarray, *, axis: int) -> np.ndarray:
    """Return means over the cells that are not NaN; NaN where there is none."""
    count = (~np.isnan(values)).sum(axis)
    with np.errstate(invalid="ignore"):
        return np.nansum(values, axis=axis) / np.where(count == 0, np.nan, count)
