"""What is around the mixers of a stack: norms, biases, the head, and how weights are drawn.

Our own shell has norms without parameters, no biases, and a head of its own. The shell of the study
of retrieval (arXiv:2505.15105) has norms and feed-forward parts with parameters and biases, ties
the head to the embedding, and draws all matrices and embeddings from N(0, 0.02^2), those that write
to the stream from N(0, (0.02 / sqrt(2 layers))^2). Its Mamba has RMSNorm before the mixer, and
matrices drawn as ``nn.Linear`` draws them, those that write to the stream over sqrt(layers).

Shape suffixes: ``B`` examples, ``T`` positions, ``D`` residual width, ``C`` vocabulary.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from torch import Tensor, nn
from torch.nn import functional

from mecheval.models.layers.linear import WRITING, projection

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

STD = 0.02
SHELLS = ("own", "paper")


@dataclass(frozen=True)
class Shell:
    """What is around the mixers.

    Attributes:
        norm: Makes the norm of a width that comes before mixers and feed-forward parts.
        last_norm: Makes the norm before the head.
        biases: Whether feed-forward parts and the output of attention have biases.
        tied: Whether the head is the embedding.
        embedding_std: Standard deviation of embeddings; None leaves it to the architecture.
        redraw: Draws the weights of a block anew, which is given with the number of layers.
    """

    norm: Callable[[int], nn.Module]
    last_norm: Callable[[int], nn.Module]
    biases: bool = False
    tied: bool = False
    embedding_std: float | None = None
    redraw: Callable[[nn.Module, int], None] | None = None

    def head(self, embedding: nn.Embedding) -> nn.Linear | TiedHead:
        """Return the head that belongs to an embedding."""
        if self.tied:
            return TiedHead(embedding)
        return projection(embedding.embedding_dim, embedding.num_embeddings)


class TiedHead(nn.Module):
    """A head whose weights are those of the embedding; it has none of its own."""

    def __init__(self, embedding: nn.Embedding) -> None:
        """Keep the embedding, which is a part of the stack and not of its head."""
        super().__init__()
        self._embedding = (embedding,)  # in a tuple, or its weights would be saved twice

    @property
    def weight(self) -> Tensor:
        """Return the embedding's weights ``(C, D)``."""
        return self._embedding[0].weight

    def forward(self, normed_BTD: Tensor) -> Tensor:
        """Return the logits ``(B, T, C)``."""
        return functional.linear(normed_BTD, self.weight)


def _plain_norm(width: int) -> nn.Module:
    return nn.LayerNorm(width, elementwise_affine=False)


def _no_norm(width: int) -> nn.Module:
    return nn.Identity()


def _draw_small(block: nn.Module, layers: int) -> None:
    """Draw all matrices from N(0, 0.02^2), with biases of 0."""
    for name, linear in _matrices(block):
        depth = 2 * layers if name in WRITING else 1
        nn.init.normal_(linear.weight, std=STD / math.sqrt(depth))
        if linear.bias is not None:
            nn.init.zeros_(linear.bias)


def _draw_by_inputs(block: nn.Module, layers: int) -> None:
    """Draw all matrices from U(-n^-1/2, n^-1/2) with n inputs, with biases of 0."""
    for name, linear in _matrices(block):
        bound = 1 / math.sqrt(linear.in_features * (layers if name in WRITING else 1))
        nn.init.uniform_(linear.weight, -bound, bound)
        if linear.bias is not None:
            nn.init.zeros_(linear.bias)


def _matrices(module: nn.Module) -> Iterator[tuple[str, nn.Linear]]:
    """Yield the matrices with their names, but not those of a part with ``draws_itself``."""
    for name, child in module.named_children():
        if isinstance(child, nn.Linear):
            yield name, child
        elif not getattr(child, "draws_itself", False):
            yield from _matrices(child)


OWN = Shell(_plain_norm, _plain_norm)
BARE = Shell(_no_norm, _no_norm)
"""For networks with weights set by hand."""

PAPER = Shell(
    nn.LayerNorm, nn.LayerNorm, biases=True, tied=True, embedding_std=STD, redraw=_draw_small
)
PAPER_STATE_SPACE = replace(
    PAPER, norm=functools.partial(nn.RMSNorm, eps=1e-5), redraw=_draw_by_inputs
)
