"""BaseConv: a gated convolution, short and long in turn (Arora et al. 2023, arXiv:2312.04927).

Glossary (paper -> code): u * h -> a short convolution of ``d_conv`` taps or a long one, whose
filter a network makes of the lag (:mod:`mecheval.models.layers.implicit_filter`); the linear
projection and Hadamard product -> ``gate``; which layer has which -> ``pattern``. The long
convolution adds its own input, as in the study of retrieval (arXiv:2505.15105); the study has
``filter_positions=1024`` and ``filter_std=0.02``.
Differences from the paper, but for ``shell=paper``: norms have no parameters of their own, the head
is not tied to the embedding, and the feed-forward part has no biases.

Official implementation: https://github.com/HazyResearch/zoology

Shape suffixes: none; the mixers are in :mod:`mecheval.models.layers.gated_convolution`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mecheval.models.layers.gated_convolution import LongGatedConvolution, ShortGatedConvolution
from mecheval.models.stack.architecture import model
from mecheval.models.stack.arguments import ImplicitFilterArchitecture

if TYPE_CHECKING:
    from mecheval.models.layers.mixer import Mixer

KINDS = ("short", "long")


@model(
    name="base_conv",
    reference="Arora et al. 2023, arXiv:2312.04927",
    architecture="gated convolution",
)
@dataclass(frozen=True, kw_only=True)
class BaseConv(ImplicitFilterArchitecture):
    """A convolution times a gate, with short and long filters in turn.

    Attributes:
        pattern: Kinds of the layers, joined by ``-`` and repeated: ``short`` and ``long``.
        d_conv: Taps of the short convolutions.
    """

    pattern: str = "short-long"
    d_conv: int = 3

    def __post_init__(self) -> None:
        """Check the arguments."""
        super().__post_init__()
        self.check(self.d_conv >= 1, "d_conv of at least 1")
        self.kind_of(0, self.pattern, KINDS)

    def mixer(self, layer: int) -> Mixer:
        """Build the convolution of a layer."""
        if self.kind_of(layer, self.pattern, KINDS) == "short":
            return ShortGatedConvolution(self.width, self.d_conv)
        return LongGatedConvolution(self.width, self.filter_positions, self.filter_std)
