"""Scores of a model with and without taps, and the shares of its accuracy that are lost.

Shape suffixes: ``B`` sequences, ``T`` positions, ``A`` answers, ``L`` layers, ``C`` lags, ``N``
scored positions, ``R`` resamples.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mecheval.metrics import accuracy, resampling
from mecheval.metrics.circuit.tap_ablation import TapAblation
from mecheval.tasks.batch import UNSCORED

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor

    from mecheval.metrics.circuit.tap_ablation import Ablation
    from mecheval.metrics.subject import Subject
    from mecheval.tasks import Batch


@dataclass(frozen=True)
class Scores:
    """Per sequence: right answers, scored positions, and the answers' probabilities added up."""

    right_B: np.ndarray
    scored_B: np.ndarray
    probability_B: np.ndarray

    @property
    def accuracy(self) -> float:
        """Return the share of right answers over all sequences."""
        return float(self.right_B.sum() / self.scored_B.sum())

    @property
    def probability(self) -> float:
        """Return the mean probability of the right answer among all answers."""
        return float(self.probability_B.sum() / self.scored_B.sum())

    def resampled(self, weight_RB: np.ndarray) -> np.ndarray:
        """Return the accuracy in resamples, ``(R,)``."""
        above_B1, below_B1 = self.right_B[:, None], self.scored_B[:, None]
        return resampling.ratio(weight_RB, above_B1, below_B1)[:, 0]


@dataclass(frozen=True)
class Ablated:
    """Scores of the model as it is, without every tap, and without all lagged taps of a layer."""

    whole: Scores
    taps_LC: Mapping[tuple[int, int], Scores]
    lagged_L: Mapping[int, Scores]

    def without_lagged(self, layer_B: np.ndarray) -> Scores:
        """Return the scores without the lagged taps of one layer, for every sequence its own."""
        by_layer = {layer: np.flatnonzero(layer_B == layer) for layer in np.unique(layer_B)}
        picked_3B = np.zeros((3, len(layer_B)))
        for layer, rows in by_layer.items():
            scores = self.lagged_L[int(layer)]
            fields = (scores.right_B, scores.scored_B, scores.probability_B)
            picked_3B[:, rows] = np.stack(fields)[:, rows]
        return Scores(*picked_3B)


@dataclass(frozen=True)
class Shares:
    """Shares of the accuracy above a floor that are lost.

    Attributes:
        measured: Accuracies with and without taps.
        floor: What no share is taken of.
        explained: Accuracy that is taken off from every loss, because something else explains it.
    """

    measured: Ablated
    floor: float
    explained: float = 0.0

    def lost(self, weight_RB: np.ndarray, scores: Scores) -> np.ndarray:
        """Return (accuracy - accuracy with something less) / (accuracy - floor), ``(R,)``.

        NaN where there is nothing to lose.
        """
        whole_R = self.measured.whole.resampled(weight_RB)
        room_R = np.where(whole_R > self.floor, whole_R - self.floor, np.nan)
        return (whole_R - scores.resampled(weight_RB) - self.explained) / room_R

    def sums(self, scores: Scores) -> tuple[np.ndarray, np.ndarray]:
        """Return above and below of this ratio by sequence: the ratio of their sums is it."""
        whole = self.measured.whole
        lost_B = whole.right_B - scores.right_B - self.explained * whole.scored_B
        return lost_B, whole.right_B - self.floor * whole.scored_B

    def lagged(self, weight_RB: np.ndarray, n_layers: int) -> np.ndarray:
        """Return it without the lagged taps of every layer, ``(R, L)``; NaN without any taps."""
        share_RL = np.full((len(weight_RB), n_layers), np.nan)
        for layer, scores in self.measured.lagged_L.items():
            share_RL[:, layer] = self.lost(weight_RB, scores)
        return share_RL


def ablated(
    subject: Subject,
    batch: Batch,
    weights: Mapping[int, Tensor],
    kind: Ablation,
    *,
    firsts: Sequence[int] = (0,),
) -> list[Ablated]:
    """Answer sequences as the model is, and without taps.

    Args:
        subject: The model on its task.
        batch: The sequences.
        weights: The convolutions, by layer.
        kind: What stays of taps that are taken away.
        firsts: First positions that are scored, with a result for each.
    """
    runs = TapAblation(subject, batch.tokens_BT, batch.targets_BT != UNSCORED, kind)
    targets = [_from(first, batch.targets_BT) for first in firsts]

    def scored(logits_BTA: np.ndarray) -> list[Scores]:
        return [_scores(subject, targets_BT, logits_BTA) for targets_BT in targets]

    taps_LC: dict[tuple[int, int], list[Scores]] = {}
    lagged_L: dict[int, list[Scores]] = {}
    for layer, weight_E1K in weights.items():
        taps = weight_E1K.shape[-1]
        for lag in range(taps):
            taps_LC[layer, lag] = scored(runs.without(layer, weight_E1K, range(lag, lag + 1)))
        lagged_L[layer] = scored(runs.without(layer, weight_E1K, range(1, taps)))
    whole = scored(runs.whole())
    return [
        Ablated(
            whole[i],
            {place: scores[i] for place, scores in taps_LC.items()},
            {layer: scores[i] for layer, scores in lagged_L.items()},
        )
        for i in range(len(firsts))
    ]


def _from(first: int, targets_BT: np.ndarray) -> np.ndarray:
    scored_T = np.arange(targets_BT.shape[1]) >= first
    return np.where(scored_T, targets_BT, UNSCORED)


def _scores(subject: Subject, targets_BT: np.ndarray, logits_BTA: np.ndarray) -> Scores:
    answers_A = subject.answers_A
    right_B, scored_B = accuracy.token_counts(answers_A[logits_BTA.argmax(-1)], targets_BT)
    scored_BT = targets_BT != UNSCORED
    order_A = answers_A.argsort()
    place_N = order_A[np.searchsorted(answers_A, targets_BT[scored_BT], sorter=order_A)]
    logits_NA = logits_BTA[scored_BT].astype(np.float64)
    logits_NA -= logits_NA.max(1, keepdims=True)
    probability_BT = np.zeros(scored_BT.shape)
    probability_BT[scored_BT] = np.exp(logits_NA[np.arange(len(place_N)), place_N]) / np.exp(
        logits_NA
    ).sum(1)
    return Scores(right_B, scored_B, probability_BT.sum(1))
