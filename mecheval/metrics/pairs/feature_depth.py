"""Depth against depth: whether the features of a layer are found at the same depth elsewhere.

Of every latent at every depth of one network the best partner is sought among those of all depths
of the other, on one half of the test sequences; its correlation is read on the other half. Wang et
al. 2025 (arXiv:2410.06672) take the largest correlation over all layers, which is larger the more
layers there are to choose from, and find that the best layer's depth grows with the latent's own.

Shape suffixes: ``M`` latents at one depth, ``L`` latents at all depths, ``K`` depths of the network
whose latents look for partners, ``J`` depths of the other, ``H`` halves of the sequences.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mecheval import stats
from mecheval.metrics.contract import Column, metric
from mecheval.metrics.pairs.feature_metric import NO_ACTIVATIONS, FeatureMetric
from mecheval.metrics.pairs.matches import matched, or_nan
from mecheval.metrics.parameters import Count
from mecheval.metrics.results import Estimate, Layout, profile

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mecheval.likeness.features import Match
    from mecheval.metrics.pairs.depths import Depth
    from mecheval.metrics.pairs.feature_metric import AtHand
    from mecheval.metrics.pairs.matches import Matched
    from mecheval.metrics.pairs.subject import PairSubject
    from mecheval.reports.schema import MetricResult


@metric(
    name="feature_depth",
    version=1,
    family="feature",
    scope="pair",
    caption="whether what one network finds at some depth is found at the same depth of the other: "
    "rank correlation, over features, of their own depth with that of their best partner; 0 where "
    "depths have nothing to do with each other. Matched at any depth: mean correlation with the "
    "best partners of all depths, held out.",
    headline=(
        Column("{part}: depth with depth"),
        Column("{part}: features matched at any depth", at="matched", bounds=(-1.0, 1.0)),
    ),
    part="kind",
)  # fmt: skip
@dataclass(frozen=True, kw_only=True)
class FeatureDepth(FeatureMetric):
    """Rank correlation of the depth of features with the depth of their best partners.

    Dictionaries are those of ``feature_similarity``, at more depths. The partner of a latent is
    that of the depth where its best correlation is largest, chosen on one half of the test
    sequences; ``matched`` is the mean of what it has on the other half, over all latents of both
    networks. The value is the mean over both directions and both halves. Where best partners are at
    any depth by chance, whatever that of the latent, it is 0: that is its null.

    The profile is the mean correlation of best partners, held out, of every depth of the one
    network with every depth of the other. Its series ``a_to_b`` is which share of the latents at a
    depth of the one has its partner at a depth of the other, and ``b_to_a`` the reverse.

    There is no interval: over sequences it would say nothing of other dictionaries or seeds.

    Null where one of the two did not learn the task, where a network has one layer, or where a
    comparison of two depths is undefined.

    Attributes:
        depths: Most depths of either network, all of which are compared with all of the other's.
    """

    depths: Count = 4

    def outline(self, subject: PairSubject) -> list[Layout]:  # type: ignore[override]
        """Return the one result; its units are depths of the one with depths of the other."""
        layers = [side.network.n_layers for side in subject.sides if side.network is not None]
        n_depths = min([self.depths, *layers])
        return [Layout(self.of, f"{self.of}: depth with depth", n_depths**2, (-1.0, 1.0))]

    def measure(self, subject: PairSubject) -> list[MetricResult]:  # type: ignore[override]
        """Compare the dictionaries of all depths of both."""
        (layout,) = self.outline(subject)
        at_hand = self.at_hand(subject)
        if at_hand is None:
            return [self.result(layout, Estimate(None, reason=NO_ACTIVATIONS), 0)]
        depths = at_hand.depths(self.depths)
        if len(depths) < 2:
            reason = "one of the networks has a single layer: there are no depths to be compared"
            return [self.result(layout, Estimate(None, reason=reason), 0)]
        found = _compared(at_hand, depths)
        reason = next((each.reason for row in found for each in row if each.reason), "")
        if reason:
            return [self.result(layout, Estimate(None, reason=reason), 0)]
        return [_result(self, layout, depths, found)]


class _Way(NamedTuple):
    """Latents of all depths of one network, and their partners at any depth of the other.

    Attributes:
        correlation: Rank correlation of own depth with the partner's, the mean of both halves.
        held_L: Correlation with the partner, held out.
        share_KJ: Which share of the latents of a depth has its partner at a depth of the other.
    """

    correlation: float
    held_L: np.ndarray
    share_KJ: np.ndarray


def _compared(at_hand: AtHand, depths: Sequence[Depth]) -> list[list[Matched]]:
    """Compare dictionaries of all depths of A with those of all depths of B."""
    codes_a, codes_b = ([own for (own,) in of] for of in at_hand.coded(depths))
    return [
        [matched(x, y, at_hand.places, beyond=at_hand.beyond) for y in codes_b] for x in codes_a
    ]


def _way(matches: Sequence[Sequence[Match]]) -> _Way:
    """Find the depth of every latent's partner.

    Args:
        matches: For each depth of the latents, their matches at all depths of the other network.
    """
    own_L, depth_HL, held_HL = [], [], []
    for depth, row in enumerate(matches):
        chosen_JHM, held_JHM = (
            np.stack([np.asarray(of) for match in row for of in [getattr(match, name)]])
            for name in ("chosen_HM", "held_HM")
        )
        best_HM = np.nan_to_num(chosen_JHM, nan=-np.inf).argmax(0)
        read_HM = np.take_along_axis(held_JHM, best_HM[None], 0)[0]
        there_M = np.isfinite(chosen_JHM).any(0).all(0) & np.isfinite(read_HM).all(0)
        own_L.append(np.full(int(there_M.sum()), depth))
        depth_HL.append(best_HM[:, there_M])
        held_HL.append(read_HM[:, there_M])
    own, best_HL = np.concatenate(own_L), np.concatenate(depth_HL, 1)
    n = len(matches[0])
    share_KJ = [
        np.bincount(best_HM.ravel(), minlength=n) / max(best_HM.size, 1) for best_HM in depth_HL
    ]
    found = [or_nan(stats.rank_correlation(own, best_L)) for best_L in best_HL]
    return _Way(
        float(np.mean(found)), np.concatenate(held_HL, 1).mean(0), np.array(share_KJ)
    )  # fmt: skip


def _result(
    asked: FeatureDepth,
    layout: Layout,
    depths: Sequence[Depth],
    found: Sequence[Sequence[Matched]],
) -> MetricResult:
    """Average over both directions."""
    a_to_b = _way([[each.ways[0] for each in row] for row in found])
    b_to_a = _way([[each.ways[1] for each in column] for column in zip(*found, strict=True)])
    value = float(np.mean([a_to_b.correlation, b_to_a.correlation]))
    defined = bool(np.isfinite(value))
    axis = [f"{depth.share:.2g}" for depth in depths]
    return asked.result(
        layout,
        Estimate(
            value if defined else None,
            reason=None if defined else "all best partners of a side are at one depth",
        ),
        layout.n_expected if defined else 0,
        scalars={"matched": float(np.mean([*a_to_b.held_L, *b_to_a.held_L]))},
        references={"null": 0.0},
        profile=profile(
            {"depth_a": axis, "depth_b": axis},
            [[each.held_out for each in row] for row in found],
            series={"a_to_b": a_to_b.share_KJ, "b_to_a": b_to_a.share_KJ.T},
        ),
    )
