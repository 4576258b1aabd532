"""Where networks of different depths meet."""

from __future__ import annotations

from typing import NamedTuple


class Depth(NamedTuple):
    """A share of the depth.

    Attributes:
        layer_a: Behind how many blocks of the one network it is.
        layer_b: Behind how many of the other.
        share: The share.
    """

    layer_a: int
    layer_b: int
    share: float

    def __str__(self) -> str:
        """Return it as a label of an axis: ``0.5 (behind block 1 and 2)``."""
        same = self.layer_a == self.layer_b
        layers = f"{self.layer_a}" if same else f"{self.layer_a} and {self.layer_b}"
        return f"{self.share:.2g} (behind block {layers})"


def depths_of(n_a: int, n_b: int, most: int) -> list[Depth]:
    """Return where networks of so many blocks meet: at equal shares of the depth, the last too.

    Args:
        n_a: Blocks of the one.
        n_b: Blocks of the other.
        most: Most depths; there are no more than the shallower one has blocks.
    """
    n_depths = min(most, n_a, n_b)
    shares = [(k + 1) / n_depths for k in range(n_depths)]
    return [Depth(round(share * n_a), round(share * n_b), share) for share in shares]
