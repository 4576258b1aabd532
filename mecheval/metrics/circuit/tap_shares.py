"""The layer whose lagged taps matter most, and the shares of all layers.

Shape suffixes: ``B`` sequences, ``L`` layers, ``R`` resamples.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mecheval import stats
from mecheval.metrics import resampling
from mecheval.metrics.results import Estimate, profile

if TYPE_CHECKING:
    from mecheval.metrics.circuit.tap_scores import Shares
    from mecheval.reports.schema import Profile

SIGNIFICANT = 3.0
"""Standard errors by which an accuracy must exceed what shares are taken above."""


def largest(
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


def lagged_profile(shares: Shares, weight_RB: np.ndarray, n_layers: int) -> Profile:
    """Lay out the conv share of every layer, with the accuracy and probability that are left.

    Args:
        shares: What is lost.
        weight_RB: Weights of resampled sequences.
        n_layers: Number of layers; NaN stands at those without a convolution.
    """
    left = {name: np.full(n_layers, np.nan) for name in ("accuracy", "probability")}
    for layer, scores in shares.measured.lagged_L.items():
        left["accuracy"][layer] = scores.accuracy
        left["probability"][layer] = scores.probability
    share_L = shares.lagged(np.ones((1, weight_RB.shape[1])), n_layers)[0]
    bounds = resampling.bounds(shares.lagged(weight_RB, n_layers))
    return profile({"layer": range(n_layers)}, share_L, bounds, series=left)
