"""Feature similarity: whether two networks have the same features, by dictionaries of each.

Of every latent of a dictionary the best partner among those of the other network's is sought on one
half of the test sequences, and their correlation read on the other half; the mean over latents is
MPPC (Wang et al. 2025, arXiv:2410.06672). A raw value says little: most of what a dictionary of a
stream finds is the current token, which an untrained network has as well, and two dictionaries of
one network reach about half. So dictionaries are of what the stream holds beyond the current symbol
by default, and beside the value stand its null, of either network with freshly drawn weights and a
dictionary of its own, and its skyline, of two dictionaries of the same network.

Shape suffixes: ``K`` depths.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mecheval.errors import UnvariedError
from mecheval.likeness.features.match import place_between
from mecheval.metrics.contract import Column, metric
from mecheval.metrics.pairs.comparable import fve_apart, l0_apart, why_no_place
from mecheval.metrics.pairs.feature_metric import NO_ACTIVATIONS, FeatureMetric
from mecheval.metrics.pairs.features_at_depths import PER_SEQUENCE, basis_of, compared, mean
from mecheval.metrics.pairs.matches import bins, or_nan, spread
from mecheval.metrics.pairs.places import NOTHING_LEFT, Component
from mecheval.metrics.parameters import Count
from mecheval.metrics.results import Estimate, Layout, profile

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mecheval.metrics.pairs.depths import Depth
    from mecheval.metrics.pairs.features_at_depths import AtDepth
    from mecheval.metrics.pairs.subject import PairSubject
    from mecheval.reports.schema import MetricResult, Profile


@metric(
    name="feature_similarity",
    version=2,
    reference="Wang et al. 2025, arXiv:2410.06672",
    family="feature",
    scope="pair",
    caption="how well the features of one network are matched by their best partners in the other "
    "(MPPC: mean correlation, partners held out), by dictionaries of what the stream holds beyond "
    "the current symbol. Place: 0 where either network is untrained, 1 for two dictionaries of the "
    "same network.",
    headline=(
        Column("{part}: features matched"),
        Column(
            "{part}: place", at="place", bounds=(None, None),
            otherwise="the null, the skyline or the dictionaries do not allow it",
        ),
    ),
    part="kind",
    later=("component",),
)  # fmt: skip
@dataclass(frozen=True, kw_only=True)
class FeatureSimilarity(FeatureMetric):
    """Mean correlation of the features of two networks with their best partners, held out.

    For each network and depth a TopK dictionary is trained on the residual stream at training
    sequences, the same ones for all networks, and the stream at test sequences is encoded. The
    value is the mean, over depths and both directions, of the best partners' correlations, each
    partner chosen on one half of the test sequences and its correlation read on the other
    (:func:`mecheval.compare_features`). Latents that fire at fewer than 25 places are left out.

    ``of=context`` (default) is of what is left of the stream without the mean of the current
    symbol; ``of=stream`` of the stream as it is, and the correlations are read beyond the symbol.

    ``references``: ``untrained``, the larger one of the scores of either network against the other
    with freshly drawn weights; ``same_network``, the mean over both networks of the score of two
    dictionaries of it; ``symbol``, the mean of the latents' best correlations with one symbol's
    indicator; ``basis``, the score of the single dimensions of the two streams, beyond the symbol:
    what there is to share without a dictionary. ``place`` is the value's between the first two; it
    has none where these are not apart, where the two dictionaries' fractions of variance explained
    differ by more than 0.05 (``fve_apart``) or their latents that fire at a place by more than that
    share (``l0_apart``), where they have not as many latents, the best among more of which
    correlates better, and where one of the two has freshly drawn weights. Seeds of one model, which
    are pairs as well, are the other skyline. Where networks read one text in tokens of their own,
    dictionaries are of what is beyond either's token, and correlations are read beyond both tokens
    together.

    Which features are matched best: ``simple_first`` is the rank correlation, over latents, of how
    well each is matched with which share of it the last two symbols explain (of ``stream``: the
    current one alone), held out; ``frequent_first`` the same with how often it fires. The first
    could be so because a dictionary finds simple features again and others not:
    ``simple_first_same_network`` is what it is where both dictionaries are of one network.

    ``profiles["matches"]`` is how the correlations are spread over latents, of the pair and of its
    null and skyline.

    There is no interval: over sequences it would say nothing of other dictionaries or seeds.

    ``component=write`` is of what a position writes into the memory of the mixers, and
    ``component=state`` of that memory after a position; see the metric ``dictionary``.

    Null where one of the two did not learn the task, where a layer has no such memory or a site
    holds the current symbol alone, or where a score is undefined at some depth.

    Attributes:
        depths: Most depths at which layers are compared; no more than the shallower model has
            layers.
        component: The site: ``block_out`` is the residual stream.
    """

    depths: Count = 2
    component: Component = "block_out"

    def outline(self, subject: PairSubject) -> list[Layout]:  # type: ignore[override]
        """Return the one result; its units are depths."""
        return [
            Layout(self.of, f"{self.of}: features matched", self._n_depths(subject), (-1.0, 1.0))
        ]

    def _n_depths(self, subject: PairSubject) -> int:
        layers = [side.network.n_layers for side in subject.sides if side.network is not None]
        return min([self.depths, *layers])

    def measure(self, subject: PairSubject) -> list[MetricResult]:  # type: ignore[override]
        """Compare the dictionaries of both, and each with those of the other one untrained."""
        (layout,) = self.outline(subject)
        at_hand = self.at_hand(subject, self.component)
        if at_hand is None:
            return [self.result(layout, Estimate(None, reason=NO_ACTIVATIONS), 0)]
        depths = at_hand.depths(self.depths)
        refused, warnings = at_hand.looked_at(depths)
        if refused:
            return [self.result(layout, Estimate(None, reason=refused), 0)]
        try:
            found = list(compared(at_hand, depths))
        except UnvariedError:
            return [self.result(layout, Estimate(None, reason=NOTHING_LEFT), 0)]
        basis, fewer = None, subject.places(self.n, min(self.per_sequence, PER_SEQUENCE))
        if self.component == "block_out" and fewer is not None:
            basis = basis_of(at_hand, fewer, depths)
        refused = why_no_place(subject, [at.own for at in found])
        return [_result(self, layout, depths, found, (basis, refused, warnings))]


def _result(
    asked: FeatureSimilarity,
    layout: Layout,
    depths: Sequence[Depth],
    found: Sequence[AtDepth],
    beside: tuple[float | None, str, list[str]],
) -> MetricResult:
    """Average over depths, and put the value between its null and its skyline.

    Args:
        asked: The metric.
        layout: Of the result.
        depths: Where the two meet.
        found: What is found there.
        beside: The score of single dimensions, why there is no place, and what to know of rows.
    """
    basis, refused, warnings = beside
    series = _series(found)
    value = mean(series["value"])
    untrained = [mean(series[f"untrained_{side}"]) for side in "ab"]
    known = [each for each in untrained if each is not None]
    null = max(known) if len(known) == len(untrained) else None
    skyline = mean([*series["same_network_a"], *series["same_network_b"]])
    place, why = place_between(value, null, skyline)
    if place is not None and refused:
        place, why = None, refused
    reason = next((at.both.reason for at in found if at.both.reason), None)
    return asked.result(
        layout,
        Estimate(value, reason=None if value is not None else reason or "it is undefined"),
        len(found) if value is not None else 0,
        scalars={
            "plain": mean(series["plain"]),
            "place": place,
            "fve_apart": fve_apart([at.own for at in found]),
            "l0_apart": l0_apart([at.own for at in found]),
            "simple_first": mean([at.simple_first for at in found]),
            "simple_first_same_network": mean([at.simple_first_twin for at in found]),
            "frequent_first": mean([at.frequent_first for at in found]),
        },
        references={
            "untrained": null,
            "same_network": skyline,
            "symbol": mean([each for at in found for each in at.both.symbol]),
            "basis": basis,
        },
        profile=profile({"depth": list(map(str, depths))}, series.pop("value"), series=series),
        profiles={"matches": _matches(found)},
        missing={"place": why} if value is not None and place is None else {},
        warnings=warnings,
    )


def _series(found: Sequence[AtDepth]) -> dict[str, list[float]]:
    """Return what the profile holds, by depth."""
    sides = dict(enumerate("ab"))
    return {
        "value": [at.both.held_out for at in found],
        "plain": [at.both.plain for at in found],
        **{f"untrained_{s}": [at.untrained[i].held_out for at in found] for i, s in sides.items()},
        **{f"same_network_{s}": [at.same_network[i].held_out for at in found]
           for i, s in sides.items()},
        **{f"fve_{s}": [or_nan(at.own[i].fve) for at in found] for i, s in sides.items()},
        **{f"l0_{s}": [or_nan(at.own[i].l0) for at in found] for i, s in sides.items()},
    }  # fmt: skip


def _matches(found: Sequence[AtDepth]) -> Profile:
    """Lay out how the correlations are spread, over the latents of all depths."""
    others = {
        "untrained": [each for at in found for each in at.untrained],
        "same_network": [each for at in found for each in at.same_network],
    }
    return profile(
        {"correlation": bins()},
        spread([at.both for at in found]),
        series={name: spread(of) for name, of in others.items()},
    )
