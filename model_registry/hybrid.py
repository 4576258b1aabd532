"""Hybrid: layers of several architectures in turn, in one residual stack (Lieber et al. 2024).

Glossary (paper -> code): the paper is Jamba, arXiv:2403.19887, which has one attention layer to
seven of Mamba; its ratio a : m -> ``pattern``, the names of registered architectures joined by
``-``, from the first layer on and repeated. Each layer has the mixer and the feed-forward part that
its architecture would give it in a stack of this depth and width; where an architecture has a
pattern of its own, as ``based`` does, it goes on from one of its layers to the next.
Differences from the paper: any architectures, no mixture of experts, no positions unless they are
asked for; ``transformer`` has rotary ones of its own.

Official implementation: none; Jamba's is https://huggingface.co/ai21labs/Jamba-v0.1

Shape suffixes: none; the mixers are those of the other architectures.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from mecheval.models.stack.architecture import Architecture, model
from mecheval.models.stack.hybrid import OF_THE_WHOLE, configure_part, split_pattern
from mecheval.recipe import Recipe

if TYPE_CHECKING:
    from torch import nn

    from mecheval.models.contract import ModelIdentity
    from mecheval.models.layers.mixer import Mixer
    from mecheval.models.stack.shell import Shell


@model(
    name="hybrid",
    reference="Lieber et al. 2024, arXiv:2403.19887",
    architecture="hybrid",
    recipes={
        "tiny": Recipe(lr=3e-3),
        "formal": Recipe(lr=1e-3, warmup=100, steps=5000),
    },
)
@dataclass(frozen=True, kw_only=True)
class Hybrid(Architecture):
    """Layers of several architectures in turn.

    Attributes:
        layers: Number of blocks, at least one for each part of the pattern.
        pattern: Registered architectures from the first layer on, joined by ``-`` and repeated; a
            part can have arguments: ``mamba[d_conv=0]-attention[heads=4]``.
        mlp_ratio: 0, because each part has its own: ``mamba[mlp_ratio=4]-attention``.
    """

    embedding_std: ClassVar[float] = 0.02
    of_parts: ClassVar[bool] = True

    pattern: str = "mamba-attention"

    def __post_init__(self) -> None:
        """Check the pattern and its parts."""
        super().__post_init__()
        parts = split_pattern(self.pattern)
        self.check(all(parts), "a pattern of names joined by -")
        n_parts = len(parts)
        self.check(self.layers >= n_parts, f"layers={n_parts} or more for its pattern")
        needs = "mlp_ratio as an argument of a part: mamba[mlp_ratio=4]-attention"
        self.check(not self.mlp_ratio, needs)
        for layer in range(n_parts):
            self.part(layer)

    def identity(self) -> ModelIdentity:
        """Return the name, the arguments, and those of the parts."""
        whole = super().identity()
        n_parts = len(split_pattern(self.pattern))
        parts = (self.part(layer)[0].identity() for layer in range(n_parts))
        described = [
            {"name": part.name}
            | {key: value for key, value in part.args.items() if key not in OF_THE_WHOLE}
            for part in parts
        ]
        return dataclasses.replace(whole, args={**whole.args, "parts": described})

    def part(self, layer: int) -> tuple[Architecture, int]:
        """Return the architecture of a layer, and how many layers before are of the same part.

        Raises:
            UsageError: The pattern names something that cannot be a part.
        """
        names = split_pattern(self.pattern)
        text = names[layer % len(names)]
        before = sum(names[i % len(names)] == text for i in range(layer))
        whole = {"layers": self.layers, "width": self.width, "shell": self.shell}
        return configure_part(text, **whole), before

    def mixer(self, layer: int) -> Mixer:
        """Build the mixer that the layer's architecture would."""
        part, its_layer = self.part(layer)
        return part.mixer(its_layer)

    def mlp(self, layer: int) -> nn.Module | None:
        """Build the feed-forward part that the layer's architecture would, if any."""
        part, its_layer = self.part(layer)
        return part.mlp(its_layer)

    def shell_of(self, layer: int) -> Shell:
        """Return what the layer's architecture has around it."""
        part, its_layer = self.part(layer)
        return part.shell_of(its_layer)
