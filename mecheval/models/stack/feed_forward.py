"""What the architectures that recall share: a feed-forward part, and positions if asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from torch import nn

from mecheval.models.stack.architecture import Architecture
from mecheval.models.stack.residual import Mlp, projection

if TYPE_CHECKING:
    from collections.abc import Collection

POSITIONS = ("none", "learned")


@dataclass(frozen=True, kw_only=True)
class FeedForwardArchitecture(Architecture):
    """Arguments of architectures whose blocks are a mixer and a feed-forward part.

    Attributes:
        mlp_ratio: Width of the feed-forward part relative to the stream; 0 is no such part.
        positions: ``none``, or ``learned`` for a table added to the embedding.
        context: Number of learned positions, BOS included; of no effect otherwise.
    """

    embedding_std: ClassVar[float] = 0.02

    mlp_ratio: int = 4
    positions: str = "none"
    context: int = 256

    def __post_init__(self) -> None:
        """Check the arguments."""
        super().__post_init__()
        self.check(self.positions in POSITIONS, f"positions to be one of {', '.join(POSITIONS)}")
        self.check(self.mlp_ratio >= 0 and self.context >= 1, "mlp_ratio from 0, context from 1 on")

    @property
    def context_limit(self) -> int | None:
        """Return the number of learned positions."""
        return self.context if self.positions == "learned" else None

    def mlp(self, layer: int) -> nn.Module | None:
        """Build the feed-forward part of a layer, if there is one."""
        if not self.mlp_ratio:
            return None
        return Mlp(self.width, self.mlp_ratio * self.width, scale=self.residual_scale)

    def kind_of(self, layer: int, pattern: str, kinds: Collection[str]) -> str:
        """Return the kind of a layer's mixer, by a pattern such as ``conv-attention``.

        Args:
            layer: Which layer; a pattern shorter than the stack is repeated.
            pattern: Kinds from the first layer on, joined by ``-``.
            kinds: Those that there are.

        Raises:
            UsageError: The pattern names another kind.
        """
        names = pattern.split("-")
        needs = f"a pattern of {', '.join(kinds)}, joined by -"
        self.check(all(name in kinds for name in names), needs)
        return names[layer % len(names)]


def affine(n_in: int, n_out: int, *, scale: float = 1.0) -> nn.Linear:
    """Return a matrix drawn as by :func:`.residual.projection`, with a bias that starts at 0."""
    linear = projection(n_in, n_out, scale=scale)
    linear.bias = nn.Parameter(linear.weight.new_zeros(n_out))
    return linear
