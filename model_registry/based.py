"""Based: short convolutions and linear attention in turn (Arora et al. 2024, arXiv:2402.18668).

Glossary (paper -> code): d' -> ``d_key``; the Taylor feature map phi -> :func:`taylor_features`,
1 + d' + d'^2 entries, so that phi(q) . phi(k) = 1 + x + x^2 / 2 with x = q . k / sqrt(d'); the
state and its normaliser -> one matrix ``(B, H, F, V + 1)``, whose last column sums phi(k); the
short convolution -> BaseConv, a convolution of ``d_conv`` taps times a gate
(:mod:`mecheval.models.layers.gated_convolution`). Which layer is which -> ``pattern``; in the study
of retrieval (arXiv:2505.15105) convolution and attention alternate, and one layer has no attention.
Differences from the paper: no sliding-window attention; norms without parameters, no biases in the
feed-forward part and a head of its own, but for ``shell=paper``, the form of the study.

Official implementation: https://github.com/HazyResearch/based

Shape suffixes: ``B`` examples, ``T`` positions, ``D`` width, ``H`` heads, ``K`` width of a key,
``V`` width of a value, ``F`` features.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mecheval.models.kernels.linear import linear_attention
from mecheval.models.layers.gated_convolution import ShortGatedConvolution
from mecheval.models.layers.matrix_memory import MatrixMemory
from mecheval.models.stack.architecture import model
from mecheval.models.stack.arguments import LinearAttentionArchitecture

if TYPE_CHECKING:
    from mecheval.models.layers.mixer import Mixer
    from mecheval.models.mixing import Signals

KINDS = ("conv", "attention")
SMALLEST = 1e-12


class TaylorAttention(MatrixMemory):
    """Linear attention with weights 1 + x + x^2 / 2 in the place of exp(x)."""

    output_norm = False
    writes = ("k", "v")

    def __init__(self, arguments: Based) -> None:
        """Draw the weights."""
        width, d_keys = arguments.width, arguments.heads * arguments.d_key
        super().__init__(arguments, (d_keys, d_keys, width))

    def signal(
        self, normed_BTD: Tensor, q_BTHK: Tensor, k_BTHK: Tensor, v_BTHV: Tensor
    ) -> dict[str, Tensor]:
        """Return queries, keys and values as they are."""
        return {"q": q_BTHK, "k": k_BTHK, "v": v_BTHV}

    def remember(self, signals: Signals, state_BHKV: Tensor | None) -> tuple[Tensor, Tensor]:
        """Sum up values and weights, and divide by the weights."""
        chosen = "reference" if self.kernel == "reference" else "torch"
        self.kernels = (f"linear_attention:{chosen}",)
        q_BTHK, v_BTHV = signals.get("q"), signals["v"]
        sums_BTHV, last_BHFV = linear_attention(
            None if q_BTHK is None else taylor_features(q_BTHK), taylor_features(signals["k"]),
            torch.cat([v_BTHV, torch.ones_like(v_BTHV[..., :1])], -1),
            state_BHKV=state_BHKV, implementation=chosen,
        )  # fmt: skip
        return sums_BTHV[..., :-1] / (sums_BTHV[..., -1:] + SMALLEST), last_BHFV


def taylor_features(x_BTHK: Tensor) -> Tensor:
    """Return 1, x / K^(1/4), and all products of two entries over sqrt(2 K), ``(B, T, H, F)``."""
    d_key = x_BTHK.shape[-1]
    products_BTHF = (x_BTHK[..., :, None] * x_BTHK[..., None, :]).flatten(-2)
    ones_BTH1 = torch.ones_like(x_BTHK[..., :1])
    return torch.cat([ones_BTH1, x_BTHK * d_key**-0.25, products_BTHF * (2 * d_key) ** -0.5], -1)


@model(
    name="based",
    reference="Arora et al. 2024, arXiv:2402.18668",
    architecture="linear attention",
)
@dataclass(frozen=True, kw_only=True)
class Based(LinearAttentionArchitecture):
    """Short gated convolutions and linear attention with a Taylor feature map, in turn.

    Attributes:
        pattern: Kinds of the layers, joined by ``-`` and repeated: ``conv`` and ``attention``.
        d_key: Width of the queries and keys of a head.
        d_conv: Taps of the convolutions.
        kernel: ``auto`` works in chunks; ``reference`` is the definition, one position at a time.
    """

    pattern: str = "conv-attention"
    d_key: int = 8
    d_conv: int = 3

    def __post_init__(self) -> None:
        """Check the arguments."""
        self.check(self.kernel in ("auto", "reference"), "kernel=auto or kernel=reference")
        super().__post_init__()
        self.check(self.d_key >= 1 and self.d_conv >= 1, "d_key and d_conv of at least 1")
        self.kind_of(0, self.pattern, KINDS)

    def mixer(self, layer: int) -> Mixer:
        """Build the convolution or the attention of a layer."""
        if self.kind_of(layer, self.pattern, KINDS) == "conv":
            return ShortGatedConvolution(self.width, self.d_conv)
        return TaylorAttention(self)
