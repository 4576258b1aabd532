"""Circuit similarity: whether two models use the same places of a network for the same thing.

Both reports hold what every place does for the answer (``interchange``): by exchanged token,
component, layer and role. Layers meet at shares of the depth, places that are trivial in one of the
models are left out, and the two vectors are correlated (:mod:`mecheval.likeness.circuits`). Where
both reports hold ``write_offset``, the earth mover's distance between what positions write says how
many positions apart the two take a token up: Wang et al. 2025 (arXiv:2410.06672) found Mamba to be
off by one, which no similarity of activations shows.

Shape suffixes: ``C`` components, ``L`` layers, ``R`` roles, ``D`` depths, ``W`` places, ``O``
offsets.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from mecheval.likeness import circuits
from mecheval.metrics.contract import Column, metric
from mecheval.metrics.needs import Counterfactual
from mecheval.metrics.pairs.contract import PairMetric
from mecheval.metrics.parameters import Count
from mecheval.metrics.results import Estimate, Layout, profile

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mecheval.metrics.pairs.subject import PairSubject, Side
    from mecheval.reports.schema import MetricResult, Profile

Shares = dict[tuple[str, str, str], np.ndarray]
"""What every part of the depth does, ``(D,)``, by exchanged token, component and role."""

PLACES = "interchange"
"""The metric whose profiles are compared."""

WRITES = "write_offset"
"""The metric that says what positions write."""


@metric(
    name="circuit_similarity",
    version=2,
    reference="Wang et al. 2025, arXiv:2410.06672",
    family="circuit",
    scope="pair",
    needs=(Counterfactual("value", "key"),),
    caption="how alike two models are in which component, at which depth and token, moves the "
    "answer when it is exchanged: 1 for the same places, 0 for places that have nothing to do with "
    "each other. Positions apart: how many positions later one of them takes a token into its "
    "memory than the other.",
    headline=(
        Column("correlation of circuits"),
        Column("closeness of circuits", at="closeness", bounds=(0.0, 1.0)),
        Column(
            "positions apart, value", at="positions_apart_value", bounds=(0.0, None),
            otherwise="write_offset was not measured in both, or found nothing",
        ),
    ),
)  # fmt: skip
@dataclass(frozen=True, kw_only=True)
class CircuitSimilarity(PairMetric):
    """Whether two models use the same places of a network for the same thing.

    The value is Pearson's correlation of the shares of the answer that move with each place
    (sufficiency under ``interchange``, clipped to 0 to 1), over all exchanged tokens, components,
    parts of the depth and roles that both models have and that are trivial in neither. It does not
    see how strong effects are on the whole; ``closeness``, 1 minus the mean absolute difference,
    does. The ``null`` of both is their mean over permutations of one model's places, with where
    95 % of them lie: every layer and role of a component takes those of another one, so that how
    much a component does for the answer, all in all, stays what it is. For positions apart there is
    no null: profiles of few offsets have a distance, however they are permuted.

    Null where one of the two did not learn the task or has no ``interchange`` profile, where they
    share fewer than four places, or where one has the same share at all of them. Verdicts of
    ``mechanism`` come from the same interventions: that pairs of one verdict are alike shows that
    the two agree, and is no independent evidence.

    Attributes:
        depths: Most parts of the depth at which layers are compared; there are no more of them than
            the deeper model has layers.
        n_permutations: Permutations of the places.
    """

    depths: Count = 4
    n_permutations: Count = 1000

    def outline(self, subject: PairSubject) -> list[Layout]:  # type: ignore[override]
        """Return the one result; its units are places."""
        a, b, n_depths = self._shares(subject)
        n_places = len(a.keys() & b.keys()) * n_depths
        return [Layout("", "correlation of circuits", n_places, (-1.0, 1.0))]

    def measure(self, subject: PairSubject) -> list[MetricResult]:  # type: ignore[override]
        """Correlate what every place does."""
        (layout,) = self.outline(subject)
        a, b, _ = self._shares(subject)
        lacking = [side.title for side, of in zip(subject.sides, (a, b), strict=True) if not of]
        if lacking:
            reason = f"no {PLACES} profile of {' and '.join(lacking)}: not measured, or no gap"
            return [self.result(layout, Estimate(None, reason=reason), 0)]
        places = sorted(a.keys() & b.keys())
        pair_2WD = np.array([[of[place] for place in places] for of in (a, b)])
        found = circuits.likeness(
            pair_2WD[0].ravel(), pair_2WD[1].ravel(), subject.stream("permutations"),
            groups_N=_groups(places, pair_2WD.shape[-1]), n_permutations=self.n_permutations,
        )  # fmt: skip
        estimate = Estimate(found.correlation)
        if found.correlation is None:
            estimate = Estimate(None, reason=_why_none(found.n))
        return [
            self.result(
                layout,
                estimate,
                found.n,
                scalars={"closeness": found.closeness, **_apart(subject)},
                references={
                    **_null("null", found.correlation_null),
                    **_null("closeness_null", found.closeness_null),
                },
                profile=_profile(places, pair_2WD),
            )
        ]

    def _shares(self, subject: PairSubject) -> tuple[Shares, Shares, int]:
        """Return what every place of either does, and the parts of the depth: no more than layers.

        More would say the same place several times, and the null would be too narrow.
        """
        layers = [
            len(result.profile.index["layer"])
            for side in subject.sides
            for result in side.results(PLACES).values()
            if result.profile is not None
        ]
        n_depths = min(self.depths, max(layers, default=1))
        a, b = (_shares(side, n_depths) for side in subject.sides)
        return a, b, n_depths


def _groups(places: Sequence[tuple[str, str, str]], n_depths: int) -> np.ndarray:
    """Return a number per place and depth that those of one exchanged token and component share."""
    number: dict[tuple[str, str], int] = {}
    of_places = [number.setdefault(place[:2], len(number)) for place in places]
    return np.repeat(of_places, n_depths)


def _null(name: str, null: circuits.Null | None) -> dict[str, float | None]:
    """Return a null as references: its mean, and the ends of 95 %."""
    mean, low, high = null or (None, None, None)
    return {name: mean, f"{name}_low": low, f"{name}_high": high}


def _why_none(n_places: int) -> str:
    if n_places < circuits.FEWEST:
        return (
            f"{n_places} places are in both models and trivial in neither, and a correlation takes "
            f"{circuits.FEWEST}"
        )
    return "one of the models has the same share of the answer at all places"


def _shares(side: Side, n_depths: int) -> Shares:
    """Return the share of the answer that moves with every place."""
    found = {}
    for token, result in side.results(PLACES).items():
        if result.profile is None:
            continue
        index = result.profile.index
        value_CLR = np.array(result.profile.value, float)
        value_CLR[np.array(result.profile.marks["trivial"], bool)] = np.nan
        share_CDR = circuits.by_depth(np.clip(value_CLR, 0, 1), n_depths)
        for c, component in enumerate(index["component"]):
            for r, role in enumerate(index["role"]):
                found[token, str(component), str(role)] = share_CDR[c, :, r]
    return found


def _profile(places: Sequence[tuple[str, str, str]], pair_2WD: np.ndarray) -> Profile:
    """Lay out by how much the shares of the two differ, with the shares themselves."""
    n_depths = pair_2WD.shape[-1]
    edges = [depth / n_depths for depth in range(n_depths + 1)]
    index = {
        "place": [f"{component}@{role}, {token} exchanged" for token, component, role in places],
        "depth": [f"{low:.2g} to {high:.2g}" for low, high in pairwise(edges)],
    }
    return profile(
        index, np.abs(pair_2WD[0] - pair_2WD[1]), series={"a": pair_2WD[0], "b": pair_2WD[1]}
    )


def _apart(subject: PairSubject) -> dict[str, float | None]:
    """Return how many positions apart the two take up each exchanged token."""
    a, b = (side.results(WRITES) for side in subject.sides)
    found = {}
    for token in sorted(a.keys() & b.keys()):
        of_a, of_b = a[token].profile, b[token].profile
        if of_a is not None and of_b is not None and of_a.index["offset"] == of_b.index["offset"]:
            written = [np.clip(np.array(of.value, float), 0, None).sum(0) for of in (of_a, of_b)]
            found[f"positions_apart_{token or 'source'}"] = circuits.movers_distance(*written)
    return found
