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
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mecheval.errors import UnvariedError
from mecheval.likeness.features.match import place_between
from mecheval.metrics.contract import Column, metric
from mecheval.metrics.pairs.contract import PairMetric
from mecheval.metrics.pairs.depths import depths_of
from mecheval.metrics.pairs.places import NOTHING_LEFT, Component, Of
from mecheval.metrics.parameters import Count
from mecheval.metrics.results import Estimate, Layout, profile

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mecheval.metrics.pairs.coding import Coded, Coding
    from mecheval.metrics.pairs.depths import Depth
    from mecheval.metrics.pairs.network import Network
    from mecheval.metrics.pairs.places import Places
    from mecheval.metrics.pairs.shared import Shared
    from mecheval.metrics.pairs.subject import PairSubject
    from mecheval.reports.schema import MetricResult

MOST_APART = 0.05
"""Fractions of variance explained that differ by more make two dictionaries hard to compare."""


@metric(
    name="feature_similarity",
    version=1,
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
class FeatureSimilarity(PairMetric):
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
    indicator. ``place`` is the value's between the first two; it has none where these are not
    apart, or where the two dictionaries' fractions of variance explained differ by more than 0.05
    (``fve_apart``), or where they have not as many latents, the best among more of which correlates
    better. Seeds of one model, which are pairs as well, are the other skyline.

    There is no interval: over sequences it would say nothing of other dictionaries or seeds.

    ``component=write`` is of what a position writes into the memory of the mixers, and
    ``component=state`` of that memory after a position; see the metric ``dictionary``.

    Null where one of the two did not learn the task, where a layer has no such memory or a site
    holds the current symbol alone, or where a score is undefined at some depth.

    Attributes:
        of: What dictionaries are of.
        n: Test sequences, the same ones for all pairs of a task.
        n_train: Training sequences that dictionaries are trained on.
        per_sequence: Most positions in each.
        n_rows: Rows that a dictionary is trained on; the same ones again where there are fewer.
        width: Latents for every number of a row.
        k: Latents that fire at a position.
        depths: Most depths at which layers are compared; no more than the shallower model has
            layers.
        component: The site: ``block_out`` is the residual stream.
    """

    of: Of = "context"
    n: Count = 2048
    n_train: Count = 8192
    per_sequence: Count = 64
    n_rows: Count = 500_000
    width: Count = 8
    k: Count = 16
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
        places = subject.places(self.n, self.per_sequence)
        training = subject.training_places(self.n_train, self.per_sequence)
        a, b = (side.network for side in subject.sides)
        if places is None or training is None or a is None or b is None:
            none = Estimate(None, reason="only the reports of the two are at hand, no activations")
            return [self.result(layout, none, 0)]
        codings = [_coding(self, of) for of in training]
        depths = depths_of(a.n_layers, b.n_layers, self.depths)
        sides = zip(
            (a, b), zip(*((d.layer_a, d.layer_b) for d in depths), strict=True), strict=True
        )
        refused, warnings = codings[0].looked_at([*sides])
        if refused:
            return [self.result(layout, Estimate(None, reason=refused), 0)]
        try:
            found = _compared(a, b, depths, codings, places)
        except UnvariedError:
            return [self.result(layout, Estimate(None, reason=NOTHING_LEFT), 0)]
        return [_result(self, layout, depths, found, warnings)]


class _AtDepth(NamedTuple):
    """What is found at one depth; NaN where undefined.

    Attributes:
        matched: Held-out score of both directions.
        plain: The same of partners that are chosen and read on all sequences.
        untrained: Scores of either network with the other one untrained.
        same_network: Scores of two dictionaries of either network.
        symbol: Best correlations with one symbol's indicator, of either network's latents.
        fve: Fractions of variance explained, of either dictionary.
        n_latents: Latents of either dictionary.
        reason: Why the first is undefined.
    """

    matched: float
    plain: float
    untrained: tuple[float, float]
    same_network: tuple[float, float]
    symbol: tuple[float, float]
    fve: tuple[float, float]
    n_latents: tuple[int, int]
    reason: str


class _Score(NamedTuple):
    """Two dictionaries side by side: held out, on all sequences, floors of both, why undefined."""

    held_out: float
    plain: float
    symbol: tuple[float, float]
    reason: str


def _compared(
    a: Network, b: Network, depths: Sequence[Depth], codings: Sequence[Coding], places: Shared
) -> list[_AtDepth]:
    """Compare two networks at every depth, whose dictionaries are trained once for all pairs."""
    layers_a, layers_b = zip(*((depth.layer_a, depth.layer_b) for depth in depths), strict=True)
    sides = [*zip((a, b), codings, (places.a, places.b), (layers_a, layers_b), strict=True)]
    trained = [network.coded(*given, seeds=(0, 1)) for network, *given in sides]
    untrained = [network.coded(*given, trained=False) for network, *given in sides]
    # Dictionaries of either's own token know nothing of the other's, which both may tell of.
    beyond = codings[0].of == "stream" or places.aligned

    def score(x: Coded, y: Coded) -> _Score:
        return _scored(x, y, places, beyond=beyond)

    found = []
    for (own_a, twin_a), (own_b, twin_b), (none_a,), (none_b,) in zip(
        *trained, *untrained, strict=True
    ):
        both = score(own_a, own_b)
        found.append(
            _AtDepth(
                both.held_out,
                both.plain,
                (score(none_a, own_b).held_out, score(own_a, none_b).held_out),
                (score(own_a, twin_a).held_out, score(own_b, twin_b).held_out),
                both.symbol,
                (_number(own_a.fve), _number(own_b.fve)),
                (own_a.codes.shape[1], own_b.codes.shape[1]),
                both.reason,
            )
        )
    return found


def _scored(x: Coded, y: Coded, places: Shared, *, beyond: bool) -> _Score:
    """Compare two dictionaries, as they are or beyond the symbol."""
    from mecheval.likeness.features import compare_features

    found = compare_features(x.codes, y.codes, places.group_N, places.row_N, n_blocks=2)
    ways = (found.beyond_a_to_b, found.beyond_b_to_a) if beyond else (found.a_to_b, found.b_to_a)
    matches = [match for match in ways if match is not None]
    return _Score(
        float(np.mean([_number(match.held_out) for match in matches])),
        float(np.mean([_number(match.value) for match in (found.a_to_b, found.b_to_a)])),
        (_number(found.floors_a["group"]), _number(found.floors_b["group"])),
        next((match.reason for match in matches if match.held_out is None), ""),
    )


def _number(value: float | None) -> float:
    return np.nan if value is None else value


def _result(
    asked: FeatureSimilarity,
    layout: Layout,
    depths: Sequence[Depth],
    found: Sequence[_AtDepth],
    warnings: list[str],
) -> MetricResult:
    """Average over depths, and put the value between its null and its skyline."""
    value = _mean([at.matched for at in found])
    untrained = [_mean([at.untrained[side] for at in found]) for side in (0, 1)]
    known = [mean for mean in untrained if mean is not None]
    null = max(known) if len(known) == len(untrained) else None
    skyline = _mean([each for at in found for each in at.same_network])
    fve_apart = _mean([abs(at.fve[0] - at.fve[1]) for at in found])
    place, why = place_between(value, null, skyline)
    if place is not None and (fve_apart is None or fve_apart > MOST_APART):
        place = None
        why = f"the dictionaries explain fractions of variance that are {fve_apart:.3f} apart"
    unequal = next((at.n_latents for at in found if len(set(at.n_latents)) > 1), None)
    if place is not None and unequal:
        place, why = None, f"the dictionaries have {unequal[0]} and {unequal[1]} latents"
    series = {
        "plain": [at.plain for at in found],
        "untrained_a": [at.untrained[0] for at in found],
        "untrained_b": [at.untrained[1] for at in found],
        "same_network_a": [at.same_network[0] for at in found],
        "same_network_b": [at.same_network[1] for at in found],
        "fve_a": [at.fve[0] for at in found],
        "fve_b": [at.fve[1] for at in found],
    }
    reason = next((at.reason for at in found if at.reason), None)
    return asked.result(
        layout,
        Estimate(value, reason=None if value is not None else reason or "it is undefined"),
        len(found) if value is not None else 0,
        scalars={"plain": _mean(series["plain"]), "place": place, "fve_apart": fve_apart},
        references={
            "untrained": null,
            "same_network": skyline,
            "symbol": _mean([each for at in found for each in at.symbol]),
        },
        profile=profile(
            {"depth": list(map(str, depths))}, [at.matched for at in found], series=series
        ),
        missing={"place": why} if value is not None and place is None else {},
        warnings=warnings,
    )


def _mean(values: Sequence[float]) -> float | None:
    """Return the mean, None where one is undefined."""
    return float(np.mean(values)) if np.isfinite(values).all() else None


def _coding(asked: FeatureSimilarity, training: Places) -> Coding:
    from mecheval.metrics.pairs.coding import Coding  # imports torch

    return Coding(asked.of, training, asked.width, asked.k, asked.n_rows, asked.component)
