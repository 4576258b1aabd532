"""What metrics of pairs share that hold dictionaries side by side: which, and at which places."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from mecheval.metrics.pairs.contract import PairMetric
from mecheval.metrics.pairs.depths import depths_of
from mecheval.metrics.pairs.places import Component, Of  # noqa: TC001 - read with the types of the fields
from mecheval.metrics.parameters import Count  # noqa: TC001 - likewise

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mecheval.metrics.pairs.coding import Coded, Coding
    from mecheval.metrics.pairs.depths import Depth
    from mecheval.metrics.pairs.network import Network
    from mecheval.metrics.pairs.shared import Shared
    from mecheval.metrics.pairs.subject import PairSubject

NO_ACTIVATIONS = "only the reports of the two are at hand, no activations"


class AtHand(NamedTuple):
    """Two networks, the dictionaries of either, and where these are read.

    Attributes:
        networks: The two.
        codings: What the dictionaries of either are.
        places: Where they are compared.
    """

    networks: tuple[Network, Network]
    codings: tuple[Coding, Coding]
    places: Shared

    @property
    def beyond(self) -> bool:
        """Say whether dictionaries are compared beyond the symbol.

        Those of either's own token know nothing of the other's, which both may tell of.
        """
        return self.codings[0].of == "stream" or self.places.aligned

    def depths(self, most: int) -> list[Depth]:
        """Return where the two meet."""
        a, b = self.networks
        return depths_of(a.n_layers, b.n_layers, most)

    def looked_at(self, depths: Sequence[Depth]) -> tuple[str | None, list[str]]:
        """Return why the networks have no such rows, and what to know of those they have."""
        layers = zip(*((each.layer_a, each.layer_b) for each in depths), strict=True)
        return self.codings[0].looked_at([*zip(self.networks, layers, strict=True)])

    def coded(self, depths: Sequence[Depth], **which: Any) -> list[list[list[Coded]]]:
        """Return codes of both: by network, depth and seed.

        Args:
            depths: Where the two meet.
            which: Whose dictionaries, as :meth:`Network.coded` takes them.
        """
        layers_a, layers_b = zip(*((each.layer_a, each.layer_b) for each in depths), strict=True)
        sides = zip(
            self.networks, self.codings, (self.places.a, self.places.b), (layers_a, layers_b),
            strict=True,
        )  # fmt: skip
        return [network.coded(coding, at, layers, **which) for network, coding, at, layers in sides]


@dataclass(frozen=True, kw_only=True)
class FeatureMetric(PairMetric):
    """A measurement of two networks by dictionaries of what they hold.

    Attributes:
        of: What dictionaries are of.
        n: Test sequences, the same ones for all pairs of a task.
        n_train: Most training sequences that dictionaries are trained on, at all positions but the
            first; no more than ``n_rows`` takes.
        per_sequence: Most positions in each test sequence.
        n_rows: Rows that a dictionary is trained on; the same ones again where there are fewer.
        width: Latents for every number in a row: of the stream, for every dimension.
        k: Latents that fire at a position.
    """

    of: Of = "context"
    n: Count = 2048
    n_train: Count = 8192
    per_sequence: Count = 64
    n_rows: Count = 500_000
    width: Count = 8
    k: Count = 16

    def at_hand(self, subject: PairSubject, component: Component = "block_out") -> AtHand | None:
        """Return what is compared at a site; None where only reports are at hand."""
        from mecheval.metrics.pairs.coding import Coding  # imports torch

        a, b = (side.network for side in subject.sides)
        places = subject.places(self.n, self.per_sequence)
        if subject.task is None or places is None or a is None or b is None:
            return None
        per_sequence = subject.task.max_length
        n_train = min(self.n_train, math.ceil(self.n_rows / per_sequence))
        training = subject.training_places(n_train, per_sequence)
        if training is None:
            return None
        of_a, of_b = (
            Coding(self.of, at, self.width, self.k, self.n_rows, component) for at in training
        )
        return AtHand((a, b), (of_a, of_b), places)
