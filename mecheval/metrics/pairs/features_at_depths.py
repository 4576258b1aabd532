"""Two networks at every depth at which they meet: dictionaries side by side, null and skyline.

Shape suffixes: ``N`` places, ``D`` residual width.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mecheval.metrics.pairs.matches import frequent, matched, matched_arrays, ranked, simple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mecheval.metrics.pairs.coding import Coded
    from mecheval.metrics.pairs.depths import Depth
    from mecheval.metrics.pairs.feature_metric import AtHand
    from mecheval.metrics.pairs.matches import Matched
    from mecheval.metrics.pairs.shared import Shared

PER_SEQUENCE = 8
"""Most places of a sequence at which dimensions of the stream are held side by side, of which a few
thousand say enough: they are always on."""


class AtDepth(NamedTuple):
    """What is found at one depth; numbers are NaN where undefined.

    Attributes:
        both: The dictionaries of the two.
        untrained: Those of either network with those of the other one untrained.
        same_network: Two dictionaries of either network.
        own: The dictionaries of either.
        simple_first: Rank correlation of being simple with being matched.
        simple_first_twin: The same where both dictionaries are of one network.
        frequent_first: Rank correlation of firing often with being matched.
    """

    both: Matched
    untrained: tuple[Matched, Matched]
    same_network: tuple[Matched, Matched]
    own: tuple[Coded, Coded]
    simple_first: float
    simple_first_twin: float
    frequent_first: float


def compared(at_hand: AtHand, depths: Sequence[Depth]) -> Iterator[AtDepth]:
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
        yield AtDepth(
            both,
            (score(none_a, own_b), score(own_a, none_b)),
            twins,
            (own_a, own_b),
            ranked([of_a[0], of_b[0]], both),
            float(
                np.mean([ranked(of, twin) for of, twin in zip((of_a, of_b), twins, strict=True)])
            ),
            ranked([frequent(own_a), frequent(own_b)], both),
        )


def basis_of(at_hand: AtHand, places: Shared, depths: Sequence[Depth]) -> float | None:
    """Return the score of the single dimensions of the two streams at places."""
    a, b = at_hand.networks
    streams_a = a.streams(places.a, [depth.layer_a for depth in depths])
    streams_b = b.streams(places.b, [depth.layer_b for depth in depths])
    return mean(
        [
            matched_arrays(x_ND, y_ND, places, beyond=True).held_out
            for x_ND, y_ND in zip(streams_a, streams_b, strict=True)
        ]
    )


def mean(values: Sequence[float]) -> float | None:
    """Return the mean, None where one is undefined."""
    return float(np.mean(values)) if np.isfinite(values).all() else None
