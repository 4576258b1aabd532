"""Attention with one head and learned positions, as in Arora et al. 2025, arXiv:2505.15105.

Glossary (paper -> code): Wqkv, without bias -> ``qkv``; out_proj, with a bias in the paper's shell
-> ``out``; the softmax over products of queries and keys, divided by the square root of the width
of a head -> :class:`.transformer.Attention`; n_positions -> ``context``.
Differences from the paper: ``shell=own``, the default, has norms without parameters, no biases, a
head of its own, and other draws. ``attention[shell=paper]`` is the paper's form.

Official implementation: https://github.com/HazyResearch/zoology

Shape suffixes: none; the mixer is in :mod:`.transformer`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from mecheval.models.stack.architecture import model
from mecheval.models.stack.arguments import FeedForwardArchitecture
from mecheval.recipe import Recipe

from .transformer import Attention


@model(
    name="attention",
    reference="Arora et al. 2025, arXiv:2505.15105",
    architecture="attention",
    recipes={
        "tiny": Recipe(optimizer="muon", lr=3e-3),
        "formal": Recipe(optimizer="muon", lr=3e-3, warmup=100, steps=5000),
    },
)
@dataclass(frozen=True, kw_only=True)
class LearnedPositions(FeedForwardArchitecture):
    """Causal softmax attention with one head and learned positions.

    Attributes:
        heads: Number of attention heads.
    """

    embedding_std: ClassVar[float] = 1.0

    heads: int = 1
    positions: str = "learned"
    context: int = 1024

    def __post_init__(self) -> None:
        """Check the number of heads."""
        super().__post_init__()
        self.check_heads(self.heads)

    def mixer(self, layer: int) -> Attention:
        """Build the attention of a layer."""
        return Attention(
            self.width, self.heads, rotary=False, scale=self.residual_scale,
            bias=self.shell_of(layer).biases,
        )  # fmt: skip
