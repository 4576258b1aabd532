"""Feature similarity: whether two networks have the same features, by dictionaries of each.

Of every latent of a dictionary the best partner among those of the other network's is sought on one
half of the test sequences, and their correlation read on the other half; the mean over latents is
MPPC (Wang et al. 2025, arXiv:2410.06672). A raw value says little: most of what a dictionary of a
stream finds is the current token, which an untrained network has as well, and two dictionaries of
one network reach about half. So dictionaries are of what the stream holds beyond the current symbol
by default, and beside the value stand its null, of either network with freshly drawn weights and a
dictionary of its own, and its skyline, of two dictionaries of the same network.

Shape suffixes: ``K`` depths, ``N`` places, ``D`` residual width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mecheval.likeness.features.match import place_between
from mecheval.metrics.contract import Column, metric
from mecheval.metrics.pairs.feature_metric import NO_ACTIVATIONS, FeatureMetric
from mecheval.metrics.pairs.matches import (
    bins,
    frequent,
    matched,
    matched_arrays,
    or_nan,
    ranked,
    simple,
    spread,
)
from mecheval.metrics.parameters import Count
from mecheval.metrics.results import Estimate, Layout, profile

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mecheval.metrics.pairs.coding import Coded
    from mecheval.metrics.pairs.depths import Depth
    from mecheval.metrics.pairs.feature_metric import AtHand
    from mecheval.metrics.pairs.matches import Matched
    from mecheval.metrics.pairs.subject import PairSubject
    from mecheval.reports.schema import MetricResult, Profile

MOST_APART = 0.05
"""Fractions of variance explained that differ by more make two dictionaries hard to compare."""

PER_SEQUENCE = 8
"""Most places of a sequence at which dimensions of the stream are held side by side, of which a few
thousand say enough: they are always on."""


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
    has none where these are not apart, or where the two dictionaries' fractions of variance
    explained differ by more than 0.05 (``fve_apart``). Seeds of one model, which are pairs as well,
    are the other skyline.

    Which features are matched best: ``simple_first`` is the rank correlation, over latents, of how
    well each is matched with which share of it the last two symbols explain (of ``stream``: the
    current one alone), held out; ``frequent_first`` the same with how often it fires. The first
    could be so because a dictionary finds simple features again and others not:
    ``simple_first_same_network`` is what it is where both dictionaries are of one network.

    ``profiles["matches"]`` is how the correlations are spread over latents, of the pair and of its
    null and skyline.

    There is no interval: over sequences it would say nothing of other dictionaries or seeds.

    Null where one of the two did not learn the task, or where a score is undefined at some depth.

    Attributes:
        of: What dictionaries are of.
        n: Test sequences, the same ones for all pairs of a task.
        n_train: Most training sequences that dictionaries are trained on, at all positions but the
            first; no more than ``n_rows`` takes.
        per_sequence: Most positions in each test sequence.
        n_rows: Rows that a dictionary is trained on; the same ones again where there are fewer.
        width: Latents for every dimension of the stream.
        k: Latents that fire at a position.
        depths: Most depths at which layers are compared; no more than the shallower model has
            layers.
    """

    depths: Count = 2

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
        at_hand = self.at_hand(subject)
        if at_hand is None:
            return [self.result(layout, Estimate(None, reason=NO_ACTIVATIONS), 0)]
        depths = at_hand.depths(self.depths)
        found = list(_compared(at_hand, depths))
        basis = _basis(at_hand, subject, depths, self)
        return [_result(self, layout, depths, found, basis)]


class _AtDepth(NamedTuple):
    """What is found at one depth; numbers are NaN where undefined.

    Attributes:
        both: The dictionaries of the two.
        untrained: Those of either network with those of the other one untrained.
        same_network: Two dictionaries of either network.
        fve: Fractions of variance explained, of either dictionary.
        simple_first: Rank correlation of being simple with being matched.
        simple_first_twin: The same where both dictionaries are of one network.
        frequent_first: Rank correlation of firing often with being matched.
    """

    both: Matched
    untrained: tuple[Matched, Matched]
    same_network: tuple[Matched, Matched]
    fve: tuple[float, float]
    simple_first: float
    simple_first_twin: float
    frequent_first: float


def _compared(at_hand: AtHand, depths: Sequence[Depth]) -> Iterator[_AtDepth]:
    """Compare two networks at every depth, whose dictionaries are trained once for all pairs."""
    places, of = at_hand.places, at_hand.codings[0].of
    trained, untrained = at_hand.coded(depths, seeds=(0, 1)), at_hand.coded(depths, trained=False)

    def score(x: Coded, y: Coded, *, with_floors: bool = False) -> Matched:
        return matched(x, y, places, beyond=at_hand.beyond, with_floors=with_floors)

    for (own_a, twin_a), (own_b, twin_b), (none_a,), (none_b,) in zip(
        *trained, *untrained, strict=True
    ):
        both = score(own_a, own_b, with_floors=True)
        twins = score(own_a, twin_a), score(own_b, twin_b)
        of_a, of_b = (
            [simple(each, at, of) for each in coded]
            for at, coded in ((places.a, (own_a, twin_a)), (places.b, (own_b, twin_b)))
        )
        yield _AtDepth(
            both,
            (score(none_a, own_b), score(own_a, none_b)),
            twins,
            (or_nan(own_a.fve), or_nan(own_b.fve)),
            ranked([of_a[0], of_b[0]], both),
            float(
                np.mean([ranked(of, twin) for of, twin in zip((of_a, of_b), twins, strict=True)])
            ),
            ranked([frequent(own_a), frequent(own_b)], both),
        )


def _basis(
    at_hand: AtHand, subject: PairSubject, depths: Sequence[Depth], asked: FeatureSimilarity
) -> float | None:
    """Return the score of the single dimensions of the two streams."""
    places = subject.places(asked.n, min(asked.per_sequence, PER_SEQUENCE))
    if places is None:
        return None
    a, b = at_hand.networks
    streams_a = a.streams(places.a, [depth.layer_a for depth in depths])
    streams_b = b.streams(places.b, [depth.layer_b for depth in depths])
    return _mean(
        [
            matched_arrays(x_ND, y_ND, places, beyond=True).held_out
            for x_ND, y_ND in zip(streams_a, streams_b, strict=True)
        ]
    )


def _result(
    asked: FeatureSimilarity,
    layout: Layout,
    depths: Sequence[Depth],
    found: Sequence[_AtDepth],
    basis: float | None,
) -> MetricResult:
    """Average over depths, and put the value between its null and its skyline."""
    series = _series(found)
    value = _mean(series["value"])
    untrained = [_mean(series[f"untrained_{side}"]) for side in "ab"]
    known = [mean for mean in untrained if mean is not None]
    null = max(known) if len(known) == len(untrained) else None
    skyline = _mean([*series["same_network_a"], *series["same_network_b"]])
    fve_apart = _mean([abs(at.fve[0] - at.fve[1]) for at in found])
    place, why = place_between(value, null, skyline)
    if place is not None and (fve_apart is None or fve_apart > MOST_APART):
        place = None
        why = f"the dictionaries explain fractions of variance that are {fve_apart:.3f} apart"
    reason = next((at.both.reason for at in found if at.both.reason), None)
    return asked.result(
        layout,
        Estimate(value, reason=None if value is not None else reason or "it is undefined"),
        len(found) if value is not None else 0,
        scalars={
            "plain": _mean(series["plain"]),
            "place": place,
            "fve_apart": fve_apart,
            "simple_first": _mean([at.simple_first for at in found]),
            "simple_first_same_network": _mean([at.simple_first_twin for at in found]),
            "frequent_first": _mean([at.frequent_first for at in found]),
        },
        references={
            "untrained": null,
            "same_network": skyline,
            "symbol": _mean([each for at in found for each in at.both.symbol]),
            "basis": basis,
        },
        profile=profile({"depth": list(map(str, depths))}, series.pop("value"), series=series),
        profiles={"matches": _matches(found)},
        missing={"place": why} if value is not None and place is None else {},
    )


def _series(found: Sequence[_AtDepth]) -> dict[str, list[float]]:
    """Return what the profile holds, by depth."""
    sides = dict(enumerate("ab"))
    return {
        "value": [at.both.held_out for at in found],
        "plain": [at.both.plain for at in found],
        **{f"untrained_{s}": [at.untrained[i].held_out for at in found] for i, s in sides.items()},
        **{f"same_network_{s}": [at.same_network[i].held_out for at in found]
           for i, s in sides.items()},
        **{f"fve_{s}": [at.fve[i] for at in found] for i, s in sides.items()},
    }  # fmt: skip


def _matches(found: Sequence[_AtDepth]) -> Profile:
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


def _mean(values: Sequence[float]) -> float | None:
    """Return the mean, None where one is undefined."""
    return float(np.mean(values)) if np.isfinite(values).all() else None
