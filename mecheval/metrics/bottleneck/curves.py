"""What erasing one variable does at every layer, beside random subspaces and what probes read.

Shape suffixes: ``L`` layers 0 (embedding) to n, ``B`` sequences, ``R`` resamples, ``J`` random
subspaces.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mecheval.metrics import layer_curves, resampling
from mecheval.metrics.bottleneck.necessity import Answers, Validity, necessity, refit_recovery
from mecheval.metrics.results import profile

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mecheval.metrics.bottleneck.erasure_sweep import Outcome, Sweep
    from mecheval.reports.schema import Profile

PLATEAU = 0.8
"""Layers with at least this share of the largest necessity are on its plateau."""


@dataclass(frozen=True)
class Readings:
    """What probes read before erasure: their accuracy, its floor, and chance."""

    accuracy_L: np.ndarray
    floor: float
    chance: float


@dataclass(frozen=True)
class Curves:
    """Everything about one variable by layer."""

    outcomes: Sequence[Outcome]
    readings: Readings
    clean_B: np.ndarray
    refit_L: np.ndarray
    random_JL: np.ndarray
    necessity_L: np.ndarray
    necessity_RL: np.ndarray
    validity: Validity

    @property
    def valid_necessity_L(self) -> np.ndarray:
        """Return the necessity of valid layers, NaN elsewhere."""
        return np.where(self.validity.valid_L, self.necessity_L, np.nan)


def curves_of(
    sweep: Sweep, outcomes: list[Outcome], readings: Readings, rng: np.random.Generator
) -> Curves:
    """Compare what erasing cost with random subspaces, and say which layers count.

    Args:
        sweep: The erased runs, with the metric's parameters.
        outcomes: What erasing the variable did, by layer.
        readings: What probes read.
        rng: Decides the resamples of sequences.
    """
    params = sweep.params
    clean_B = sweep.runs.clean.token
    random_LJB = np.stack([outcome.random_JB for outcome in outcomes])
    answers = Answers(
        clean_B, np.stack([outcome.right.token for outcome in outcomes]), _mean(random_LJB, axis=1)
    )
    chance = sweep.subject.task.chance
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
        clean_B,
        refit_L,
        random_LJ.T,
        necessity(answers, np.ones((1, len(clean_B))), chance)[0],
        necessity(answers, weight_RB, chance),
        validity,
    )


def by_layer(curves: Curves) -> Profile:
    """Lay the necessity of valid layers out, and everything that it was judged by."""
    outcomes, validity = curves.outcomes, curves.validity
    low_L, high_L = resampling.bounds(curves.necessity_RL)
    random_low_L, random_high_L = np.quantile(curves.random_JL, [0.025, 0.975], axis=0)
    largest = np.nanmax(curves.valid_necessity_L) if validity.valid_L.any() else np.inf
    return profile(
        {"layer": range(len(outcomes))},
        curves.valid_necessity_L,
        (np.where(validity.valid_L, low_L, np.nan), np.where(validity.valid_L, high_L, np.nan)),
        marks={
            "valid": validity.valid_L,
            "readable": validity.readable_L,
            "removed": validity.removed_L,
            "random_kept": validity.kept_L,
            "trivial": validity.trivial_L,
            "plateau": layer_curves.plateau(curves.valid_necessity_L, PLATEAU * largest),
        },
        series={
            "necessity": curves.necessity_L,
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
