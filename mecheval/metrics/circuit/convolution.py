"""Short-convolution attribution: what a model's answers owe to each tap of its convolutions.

    share(l) = (accuracy - accuracy without the lagged taps of layer l) / (accuracy - floor)

with lagged taps those that look at earlier positions (lag 1 and more). Mamba was seen to bind a key
to its value in the short convolution of its first layer, and to recall nothing without one (Arora
et al. 2025, arXiv:2505.15105); which lag carries which token is asked as in Wang et al. 2025
(arXiv:2410.06672), with one lag at a time.

Shape suffixes: ``B`` sequences, ``T`` positions, ``A`` answers, ``L`` layers, ``C`` lags, ``O``
offsets, ``P`` pairs, ``R`` resamples.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mecheval import stats
from mecheval.interventions import answer_logits
from mecheval.metrics import accuracy, resampling
from mecheval.metrics.circuit.gap import gap_of
from mecheval.metrics.circuit.taps import convolutions, rewritten, tap_effects, without
from mecheval.metrics.contract import Column, Metric, metric
from mecheval.metrics.needs import ShortConvolution
from mecheval.metrics.parameters import Count
from mecheval.metrics.results import Estimate, Layout, profile
from mecheval.tasks.batch import UNSCORED
from mecheval.tasks.floors import task_floors

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from mecheval.metrics.subject import Subject
    from mecheval.reports.schema import MetricResult, Profile
    from mecheval.tasks import Batch

SIGNIFICANT = 3.0  # standard errors by which the accuracy must exceed the floor


@metric(
    name="convolution",
    version=1,
    family="intervention",
    needs=(ShortConvolution(),),
    headline=(
        Column("accuracy lost without earlier taps"),
        Column("in layer", at="layer", kind="layer"),
    ),
)
@dataclass(frozen=True, kw_only=True)
class Convolution(Metric):
    """What the answers owe to each tap of the short convolutions, by layer and lag.

    The value is the largest conv share over layers: of the accuracy above the task's best floor,
    the part that is lost when all lagged taps of that layer are set to zero. It is not clipped: a
    model that falls below the floor has lost more than 1. The interval resamples sequences and
    takes the largest anew, which is biased upwards; ``profiles["share"]`` shows every layer.

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
    """

    n: Count = 128
    n_pairs: Count = 64
    max_offset: Count = 3

    def outline(self, subject: Subject) -> list[Layout]:
        """Return the one result."""
        return [Layout("", "largest conv share over layers", subject.cut(self.n))]

    def measure(self, subject: Subject) -> list[MetricResult]:
        """Answer the test without taps, and follow single lags."""
        weights = convolutions(subject.model)
        batch = subject.test(subject.length, self.n)
        measured = _ablated(subject, batch, weights)
        return [_result(self, self.outline(subject)[0], subject, measured, weights)]


@dataclass(frozen=True)
class _Scores:
    """Per sequence: right answers, scored positions, and the answers' probabilities added up."""

    right_B: np.ndarray
    scored_B: np.ndarray
    probability_B: np.ndarray


@dataclass(frozen=True)
class _Ablated:
    """Scores of the model as it is, without every tap, and without all lagged taps of a layer."""

    whole: _Scores
    taps_LC: Mapping[tuple[int, int], _Scores]
    lagged_L: Mapping[int, _Scores]


def _scores(subject: Subject, batch: Batch) -> _Scores:
    answers_A = subject.answers_A
    logits_BTA = answer_logits(
        subject.model, batch.tokens_BT, answers_A, batch_size=subject.batch_size
    )
    right_B, scored_B = accuracy.token_counts(answers_A[logits_BTA.argmax(-1)], batch.targets_BT)
    scored_BT = batch.targets_BT != UNSCORED
    order_A = answers_A.argsort()
    place_N = order_A[np.searchsorted(answers_A, batch.targets_BT[scored_BT], sorter=order_A)]
    logits_NA = logits_BTA[scored_BT].astype(np.float64)
    logits_NA -= logits_NA.max(1, keepdims=True)
    probability_BT = np.zeros(scored_BT.shape)
    probability_BT[scored_BT] = np.exp(logits_NA[np.arange(len(place_N)), place_N]) / np.exp(
        logits_NA
    ).sum(1)
    return _Scores(right_B, scored_B, probability_BT.sum(1))


def _ablated(subject: Subject, batch: Batch, weights: Mapping[int, Tensor]) -> _Ablated:
    def scored_without(weight_E1K: Tensor, lags: range) -> _Scores:
        with rewritten(weight_E1K, without(weight_E1K, lags)):
            return _scores(subject, batch)

    taps_LC: dict[tuple[int, int], _Scores] = {}
    lagged_L: dict[int, _Scores] = {}
    for layer, weight_E1K in weights.items():
        taps = weight_E1K.shape[-1]
        for lag in range(taps):
            taps_LC[layer, lag] = scored_without(weight_E1K, range(lag, lag + 1))
        lagged_L[layer] = scored_without(weight_E1K, range(1, taps))
    return _Ablated(_scores(subject, batch), taps_LC, lagged_L)


def _result(
    metric: Convolution,
    layout: Layout,
    subject: Subject,
    measured: _Ablated,
    weights: Mapping[int, Tensor],
) -> MetricResult:
    n_scored, n_layers = len(measured.whole.right_B), subject.model.n_layers
    shares = _Shares(measured, task_floors(subject.task, subject.seed).answer.best)
    once_1B = np.ones((1, n_scored))
    weight_RB = resampling.weights(n_scored, subject.stream("bootstrap", "convolution"))
    share_L = shares.lagged(once_1B, n_layers)[0]
    share_RL = shares.lagged(weight_RB, n_layers)
    whole, floor = float(_accuracy(once_1B, measured.whole)[0]), shares.floor
    if whole - floor > SIGNIFICANT * _accuracy(weight_RB, measured.whole).std():
        layers = list(measured.lagged_L)
        layer = layers[int(share_L[layers].argmax())]
        interval = stats.percentile_interval(share_RL[:, layers].max(1), unit="sequence")
        estimate, scalars = Estimate(float(share_L[layer]), interval), {"layer": layer}
    else:
        reason = f"no gap: the accuracy {whole:.3f} is not above the floor {floor:.3f}"
        estimate, scalars = Estimate(None, reason=reason), {}
    profiles, warnings = _carried(metric, subject, weights)
    profiles["share"] = _lagged_profile(measured, share_L, share_RL)
    return metric.result(
        layout, estimate, n_scored,
        references={
            "clean": whole, "clean_probability": _probability(measured.whole), "floor": floor,
            "chance": subject.task.chance,
        },
        scalars=scalars,
        profile=_tap_profile(shares, n_layers, once_1B),
        profiles=profiles,
        warnings=warnings,
    )  # fmt: skip


@dataclass(frozen=True)
class _Shares:
    """Shares of the accuracy above a floor that are lost."""

    measured: _Ablated
    floor: float

    def lost(self, weight_RB: np.ndarray, scores: _Scores) -> np.ndarray:
        """Return (accuracy - accuracy with something less) / (accuracy - floor), ``(R,)``.

        NaN where there is nothing to lose.
        """
        whole_R = _accuracy(weight_RB, self.measured.whole)
        room_R = np.where(whole_R > self.floor, whole_R - self.floor, np.nan)
        return (whole_R - _accuracy(weight_RB, scores)) / room_R

    def lagged(self, weight_RB: np.ndarray, n_layers: int) -> np.ndarray:
        """Return it without the lagged taps of every layer, ``(R, L)``; NaN without any taps."""
        share_RL = np.full((len(weight_RB), n_layers), np.nan)
        for layer, scores in self.measured.lagged_L.items():
            share_RL[:, layer] = self.lost(weight_RB, scores)
        return share_RL


def _accuracy(weight_RB: np.ndarray, scores: _Scores) -> np.ndarray:
    return resampling.ratio(weight_RB, scores.right_B[:, None], scores.scored_B[:, None])[:, 0]


def _probability(scores: _Scores) -> float:
    return float(scores.probability_B.sum() / scores.scored_B.sum())


def _tap_profile(shares: _Shares, n_layers: int, once_1B: np.ndarray) -> Profile:
    """Lay out accuracy, probability and lost share without every single tap."""
    taps_LC = shares.measured.taps_LC
    n_lags = 1 + max(lag for _, lag in taps_LC)
    accuracy_LC, probability_LC, lost_LC = (np.full((n_layers, n_lags), np.nan) for _ in range(3))
    for place, scores in taps_LC.items():
        accuracy_LC[place] = _accuracy(once_1B, scores)[0]
        probability_LC[place] = _probability(scores)
        lost_LC[place] = shares.lost(once_1B, scores)[0]
    index = {"layer": range(n_layers), "lag": range(n_lags)}
    series = {"probability": probability_LC, "lost": lost_LC}
    return profile(index, accuracy_LC, series=series)


def _lagged_profile(measured: _Ablated, share_L: np.ndarray, share_RL: np.ndarray) -> Profile:
    """Lay out the conv share of every layer, with the accuracy and probability that are left."""
    left = {name: np.full(len(share_L), np.nan) for name in ("accuracy", "probability")}
    for layer, scores in measured.lagged_L.items():
        left["accuracy"][layer] = scores.right_B.sum() / scores.scored_B.sum()
        left["probability"][layer] = _probability(scores)
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
