"""Short convolutions: what a model's answers owe to each tap.

    share(l) = (accuracy - accuracy without the lagged taps of layer l) / (accuracy - floor)

with lagged taps those that look at earlier positions (lag 1 and more); what is left in their place
stands in :mod:`mecheval.metrics.circuit.tap_ablation`. Mamba was seen to bind a key
to its value in the short convolution of its first layer, and to recall nothing without one (Arora
et al. 2025, arXiv:2505.15105); which lag carries which token is asked as in Wang et al. 2025
(arXiv:2410.06672), with one lag at a time.

Shape suffixes: ``B`` sequences, ``L`` layers, ``C`` lags, ``O`` offsets, ``P`` pairs, ``R``
resamples.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mecheval import stats
from mecheval.metrics import resampling
from mecheval.metrics.circuit.gap import gap_of
from mecheval.metrics.circuit.tap_ablation import Ablation
from mecheval.metrics.circuit.tap_scores import Shares, ablated
from mecheval.metrics.circuit.taps import tap_effects
from mecheval.metrics.contract import Column, Metric, metric
from mecheval.metrics.needs import ShortConvolution
from mecheval.metrics.parameters import Count
from mecheval.metrics.results import Estimate, Layout, profile
from mecheval.models.short_convolutions import short_convolutions
from mecheval.tasks.floors import task_floors

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from mecheval.metrics.circuit.tap_scores import Ablated
    from mecheval.metrics.subject import Subject
    from mecheval.reports.schema import MetricResult, Profile

NOTHING = "hardly anything is lost"
SIGNIFICANT = 3.0  # standard errors by which the accuracy must exceed the floor


@metric(
    name="convolution",
    version=2,
    family="intervention",
    caption="what the answers lose when the earlier taps of a layer's short convolution tell of "
    "other sequences, at the layer where that is most: 1 is all accuracy above the floor, 0 none.",
    needs=(ShortConvolution(),),
    headline=(
        Column("share of the accuracy lost without earlier taps"),
        Column("accuracy left", at="accuracy_without", bounds=(0.0, 1.0), otherwise=NOTHING),
        Column("in layer", at="layer", kind="layer", otherwise=NOTHING),
    ),
)
@dataclass(frozen=True, kw_only=True)
class Convolution(Metric):
    """What the answers owe to each tap of the short convolutions, by layer and lag.

    The value is the conv share of the layer where it is largest: of the accuracy above the task's
    best floor, the part that is lost when what all lagged taps of the layer contribute is replaced
    by what they contribute to other sequences. For either half of the sequences the layer is the
    best one of the other half, so that the largest of several is not too large by noise; beside it
    stand the accuracy that is left and the layer, null where hardly anything is lost. The share is
    not clipped: a model that falls below the floor has lost more than 1. The interval resamples
    sequences; ``profiles["share"]`` shows every layer.

    The profile shows, for every layer and lag, the accuracy without that tap alone; its series the
    probability of the answer among all answers, and the share that is lost. Weights are put back
    exactly.

    ``profiles["key"]`` and ``profiles["value"]`` say which lag carries which token: the share of
    the clean-corrupted gap that is lost when one tap at one position behind the exchanged token
    sees the corrupted run (:func:`mecheval.metrics.circuit.taps.tap_effects`). At the value (offset
    1 of the key) and at the next key (offset 2) such a lag does what a previous-token head does.

    A model that was trained with its convolution may break without it and still not need one: train
    it without (``mamba[d_conv=0]``), which is a matter of the model's arguments. Null for models
    without short convolutions and where the accuracy is within 3 standard errors of the floor.

    Attributes:
        n: Test sequences that are answered without taps.
        n_pairs: Pairs per exchanged token, for what lags carry.
        max_offset: The largest offset behind the exchanged token.
        ablation: What stays of taps that are taken away, at every position: their mean
            contribution over other test sequences, that to one of these, or zero.
    """

    n: Count = 128
    n_pairs: Count = 64
    max_offset: Count = 3
    ablation: Ablation = "mean"

    def outline(self, subject: Subject) -> list[Layout]:
        """Return the one result."""
        return [Layout("", "conv share of the layer where it is largest", subject.cut(self.n))]

    def measure(self, subject: Subject) -> list[MetricResult]:
        """Answer the test without taps, and follow single lags."""
        weights = short_convolutions(subject.model)
        batch = subject.test(subject.length, self.n)
        measured = ablated(subject, batch, weights, self.ablation)
        return [_result(self, self.outline(subject)[0], subject, measured, weights)]


def _result(
    metric: Convolution,
    layout: Layout,
    subject: Subject,
    measured: Ablated,
    weights: Mapping[int, Tensor],
) -> MetricResult:
    n_scored, n_layers = len(measured.whole.right_B), subject.model.n_layers
    shares = Shares(measured, task_floors(subject.task, subject.seed).answer.best)
    once_1B = np.ones((1, n_scored))
    weight_RB = resampling.weights(n_scored, subject.stream("bootstrap", "convolution"))
    share_L = shares.lagged(once_1B, n_layers)[0]
    share_RL = shares.lagged(weight_RB, n_layers)
    whole, floor = measured.whole.accuracy, shares.floor
    profiles, warnings = _carried(metric, subject, weights)
    profiles["share"] = _lagged_profile(measured, share_L, share_RL)
    if whole - floor > SIGNIFICANT * measured.whole.resampled(weight_RB).std():
        estimate, fields = _largest(shares, share_L, weight_RB)
    else:
        reason = f"no gap: the accuracy {whole:.3f} is not above the floor {floor:.3f}"
        estimate, fields = Estimate(None, reason=reason), {"scalars": {"layer": None}}
    warnings += fields.pop("warnings", [])
    return metric.result(
        layout, estimate, n_scored,
        references={
            "clean": whole, "clean_probability": measured.whole.probability, "floor": floor,
            "chance": subject.task.chance,
        },
        profile=_tap_profile(shares, n_layers, once_1B),
        profiles=profiles,
        warnings=warnings,
        **fields,
    )  # fmt: skip


def _largest(
    shares: Shares, share_L: np.ndarray, weight_RB: np.ndarray
) -> tuple[Estimate, dict[str, Any]]:
    """Return the share where it is largest, chosen on other sequences, and what stands beside it.

    Args:
        shares: What is lost.
        share_L: Shares of all layers.
        weight_RB: Weights of resampled sequences.
    """
    layers = np.array(list(shares.measured.lagged_L))

    def by_layer(weight_RB: np.ndarray) -> np.ndarray:
        return shares.lagged(weight_RB, len(share_L))[:, layers]

    best_B = layers[resampling.largest_elsewhere(by_layer, weight_RB.shape[1])]
    held_out = shares.measured.without_lagged(best_B)
    lost_B, room_B = shares.sums(held_out)
    interval = stats.percentile_interval(shares.lost(weight_RB, held_out), unit="sequence")
    layer = int(layers[share_L[layers].argmax()])
    some = interval.low > 0
    tied = sorted({layer, *best_B.tolist()})
    note = (
        f"layers {' and '.join(map(str, tied))} cannot be told apart: the halves of the sequences "
        "differ in which of them loses most"
    )
    return Estimate(float(lost_B.sum() / room_B.sum()), interval), {
        "scalars": {
            "layer": layer if some else None,
            "accuracy_without": shares.measured.lagged_L[layer].accuracy,
        },
        "units": resampling.contributions(lost_B, room_B),
        "warnings": [note] if some and len(tied) > 1 else [],
    }


def _tap_profile(shares: Shares, n_layers: int, once_1B: np.ndarray) -> Profile:
    """Lay out accuracy, probability and lost share without every single tap."""
    taps_LC = shares.measured.taps_LC
    n_lags = 1 + max(lag for _, lag in taps_LC)
    accuracy_LC, probability_LC, lost_LC = (np.full((n_layers, n_lags), np.nan) for _ in range(3))
    for place, scores in taps_LC.items():
        accuracy_LC[place] = scores.accuracy
        probability_LC[place] = scores.probability
        lost_LC[place] = shares.lost(once_1B, scores)[0]
    index = {"layer": range(n_layers), "lag": range(n_lags)}
    series = {"probability": probability_LC, "lost": lost_LC}
    return profile(index, accuracy_LC, series=series)


def _lagged_profile(measured: Ablated, share_L: np.ndarray, share_RL: np.ndarray) -> Profile:
    """Lay out the conv share of every layer, with the accuracy and probability that are left."""
    left = {name: np.full(len(share_L), np.nan) for name in ("accuracy", "probability")}
    for layer, scores in measured.lagged_L.items():
        left["accuracy"][layer] = scores.accuracy
        left["probability"][layer] = scores.probability
    index = {"layer": range(len(share_L))}
    return profile(index, share_L, resampling.bounds(share_RL), series=left)


def _carried(
    metric: Convolution, subject: Subject, weights: Mapping[int, Tensor]
) -> tuple[dict[str, Profile], list[str]]:
    """Return what every lag carries of every token that the task can exchange alone."""
    found, warnings = {}, []
    kinds = [kind for kind in ("key", "value") if kind in subject.task.counterfactuals]
    for kind in kinds or subject.task.counterfactuals[:1]:
        pairs = subject.pairs(metric.n_pairs, subject.length, kind=kind)
        gap = gap_of(subject, pairs)
        if gap.objection is not None:
            warnings.append(f"what lags carry of the {kind} is not known: {gap.objection}")
            continue
        max_offset = metric.max_offset
        patched_LOCP = tap_effects(subject, pairs, weights, max_offset=max_offset)
        n_layers, n_offsets, n_lags, _ = patched_LOCP.shape
        index = {"layer": range(n_layers), "offset": range(n_offsets), "lag": range(n_lags)}
        draws_RLOC = gap.lost(patched_LOCP, gap.weights(subject.stream("bootstrap", "taps", kind)))
        found[kind] = profile(index, gap.lost(patched_LOCP), resampling.bounds(draws_RLOC))
    return found, warnings
