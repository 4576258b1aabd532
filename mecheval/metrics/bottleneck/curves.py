"""What erasing one variable does at every layer, beside its null and what probes read.

Shape suffixes: ``L`` layers 0 (embedding) to n, ``B`` sequences, ``T`` positions, ``R`` resamples,
``J`` draws of the null.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from mecheval.metrics import layer_curves, resampling
from mecheval.metrics.bottleneck.cost import REMOVED, AtLayer, Costs, Layers, refit_recovery
from mecheval.metrics.bottleneck.information import NOT_ASKED, informed
from mecheval.metrics.bottleneck.refit import nonlinear
from mecheval.metrics.results import profile

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from mecheval.metrics.bottleneck.erasure_sweep import Outcome, Sweep
    from mecheval.metrics.probe.probe_data import ProbeData
    from mecheval.metrics.subject import Subject
    from mecheval.reports.schema import Profile

PLATEAU = 0.8
"""Layers with at least this share of the largest cost are on its plateau."""


MLP = ("mlp_probe", "mlp_refit")
"""Series of what networks with a hidden layer read before and after erasure."""


@dataclass(frozen=True)
class Readings:
    """What probes read before erasure: their accuracy, its floor, and chance."""

    accuracy_L: np.ndarray
    floor: float
    chance: float

    def readable(self, least: float) -> np.ndarray:
        """Say where they read at least this share of what there is above the floor, ``(L,)``."""
        return layer_curves.corrected(self.accuracy_L, self.floor) >= least


@dataclass(frozen=True)
class Curves:
    """Everything about one variable and one eraser by layer; NaN at layer 0 where none is.

    Attributes:
        outcomes: What erasing it did, at the layers from 1 on.
        readings: What probes read before.
        costs: What erasing costs beyond the null.
        cost_L: The same on all sequences.
        layers: Which layers count.
        refit_L: Accuracy of a probe that is fitted afresh.
        recovery_L: What it reads of what there was.
        removed_L: Whether that is next to nothing, as evidence has it.
        null_accuracy_L: Mean token accuracy under the null.
        further: Further series ``(L,)`` by name: what was asked for beside.
    """

    outcomes: Sequence[Outcome]
    readings: Readings
    costs: Costs
    cost_L: np.ndarray
    layers: Layers
    refit_L: np.ndarray
    recovery_L: np.ndarray
    removed_L: np.ndarray
    null_accuracy_L: np.ndarray
    further: Mapping[str, np.ndarray] = field(default_factory=dict)

    @property
    def counting_cost_L(self) -> np.ndarray:
        """Return the cost at layers that count, NaN elsewhere."""
        return np.where(self.layers.counts_L, self.cost_L, np.nan)

    @property
    def accuracy_L(self) -> np.ndarray:
        """Return the token accuracy under erasure."""
        return padded(outcome.answered.token.mean() for outcome in self.outcomes)


def curves_of(
    sweep: Sweep, outcomes: Sequence[Outcome], readings: Readings, rng: np.random.Generator
) -> Curves:
    """Compare what erasing cost with its null, and say which layers count.

    Args:
        sweep: The erased runs, with the metric's parameters.
        outcomes: What erasing the variable did, by layer from 1 on.
        readings: What probes read before.
        rng: Decides the resamples of sequences and of the null.
    """
    target_BT, clean_BT = sweep.runs.target_BT, sweep.runs.clean.given
    answers = [
        AtLayer.of(target_BT, clean_BT, erased_BT=outcome.answered.given, null_JBT=outcome.null_JBT)
        for outcome in outcomes
    ]
    costs = Costs.of([None, *answers], len(target_BT), rng)
    once_1B, last = np.ones((1, len(target_BT))), len(outcomes)
    cost_L, layer_L = costs.beyond(once_1B)[0], np.arange(last + 1)
    above_null_L = costs.cost(once_1B)[0] > costs.null_ends[1]
    layers = Layers(
        readings.readable(sweep.params["min_readability"]),
        layer_L == 0,
        layer_L == last,
        above_null_L & (cost_L >= sweep.params["min_cost"]),
    )
    refit_L = padded(o.refit.accuracy if o.refit else np.nan for o in outcomes)
    recovery_L = refit_recovery(refit_L, readings.accuracy_L, readings.chance)
    found_L = padded(bool(o.refit and o.refit.finds and o.refit.log_loss > 0) for o in outcomes)
    return Curves(
        outcomes,
        readings,
        costs,
        cost_L,
        layers,
        refit_L,
        recovery_L,
        ~np.isnan(refit_L) & ((found_L == 0) | (recovery_L <= REMOVED)),
        padded(_null_accuracy(outcome, target_BT) for outcome in outcomes),
    )


def read_nonlinearly(
    subject: Subject, variable: str, data: ProbeData, curves: Curves
) -> dict[str, np.ndarray]:
    """Return what networks with a hidden layer read where the variable is asked about, as series.

    All start from the same weights, so that what they read without erasure is the same beside every
    eraser, and is remembered by the subject.

    Args:
        subject: The model on its task.
        variable: The variable.
        data: Its examples.
        curves: The layers, and what was erased there.
    """
    layers = np.flatnonzero(curves.layers.asked_L).tolist()
    sizes = [len(examples.values_N) for examples in data.splits.values()]
    key = ("mlp_refit", variable, subject.length, *sizes, *layers)
    if key not in subject.memo:
        rng = subject.stream("probe_data", "mlp_refit", variable)
        subject.memo[key] = nonlinear(data, layers, rng)
    erasers = {layer: curves.outcomes[layer - 1].eraser for layer in layers}
    rng = subject.stream("probe_data", "mlp_refit", variable)
    after_L = nonlinear(data, layers, rng, erasers)
    return dict(zip(MLP, (subject.memo[key], after_L), strict=True))


def by_layer(curves: Curves) -> Profile:
    """Lay the cost where the variable is asked about out, and everything that it was judged by."""
    outcomes, layers, costs = curves.outcomes, curves.layers, curves.costs
    low_L, high_L = resampling.bounds(costs.resampled_RL)
    null_low_L, null_high_L = costs.null_ends
    counts_L = layers.counts_L
    largest = curves.counting_cost_L[counts_L].max(initial=-np.inf)
    return profile(
        {"layer": range(len(outcomes) + 1)},
        np.where(layers.asked_L, curves.cost_L, np.nan),
        (np.where(layers.asked_L, low_L, np.nan), np.where(layers.asked_L, high_L, np.nan)),
        marks={
            "valid": counts_L,
            "readable": layers.readable_L,
            "beyond_null": layers.beyond_null_L,
            "token": layers.token_L,
            "trivial": layers.trivial_L,
            "removed_linearly": curves.removed_L,
            "plateau": layer_curves.plateau(curves.counting_cost_L, PLATEAU * largest) & counts_L,
        },
        series={
            "cost": curves.cost_L,
            "null": costs.null_L,
            "null_low": null_low_L,
            "null_high": null_high_L,
            "information": _information(costs),
            "accuracy": curves.accuracy_L,
            "last_accuracy": padded(outcome.answered.last.mean() for outcome in outcomes),
            "null_accuracy": curves.null_accuracy_L,
            "probe": curves.readings.accuracy_L,
            "refit": curves.refit_L,
            "refit_log_loss": padded(o.refit.log_loss if o.refit else np.nan for o in outcomes),
            "refit_recovery": curves.recovery_L,
            "rank": padded(outcome.eraser.rank for outcome in outcomes),
            **curves.further,
        },
    )


def padded(values: Iterable[float]) -> np.ndarray:
    """Return values of the layers from 1 on with NaN for layer 0, where nothing is erased."""
    return np.array([np.nan, *values], np.float64)


def _information(costs: Costs) -> np.ndarray:
    once_1B = np.ones((1, costs.weight_RB.shape[1]))
    return np.array([informed(at.erased, once_1B)[0] if at else np.nan for at in costs.by_layer])


def _null_accuracy(outcome: Outcome, target_BT: np.ndarray) -> float:
    tried_JBT = outcome.null_JBT != NOT_ASKED
    return float((outcome.null_JBT == target_BT)[tried_JBT].mean())
