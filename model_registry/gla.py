"""Gated linear attention: key channels decay one by one (Yang et al. 2023, arXiv:2312.06635).

Glossary (paper -> code): S -> the state ``(B, H, K, V)``; d_k = d / 2 -> ``d_key``, by default half
the width; W_Q, W_K, W_V -> ``qkv`` (one matrix); W_alpha1, W_alpha2 -> ``decay_in``, ``decay_out``
of rank ``rank``; tau = 16 -> ``TEMPERATURE``; W_r -> ``gate``, behind SiLU; W_O -> ``out``, behind
a norm of what each head reads.
Differences from the paper: queries, keys and values have a short convolution of ``d_conv`` taps and
SiLU, as those of its successors (``d_conv=0`` is the paper's form, without either); norms have no
parameters; the gate and the feed-forward part, GELU between two matrices, have no biases.

Official implementation: https://github.com/fla-org/flash-linear-attention

Shape suffixes: ``B`` examples, ``T`` positions, ``D`` width, ``H`` heads, ``K`` width of a key,
``V`` width of a value.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch.nn import functional

from mecheval.models.kernels.fla import choose_linear
from mecheval.models.kernels.linear import linear_attention
from mecheval.models.layers.linear import affine, projection
from mecheval.models.layers.matrix_memory import MatrixMemory
from mecheval.models.stack.architecture import model
from mecheval.models.stack.arguments import LinearAttentionArchitecture

if TYPE_CHECKING:
    from torch import Tensor

    from mecheval.models.mixing import Signals

TEMPERATURE = 16.0


class GatedLinearAttention(MatrixMemory):
    """A matrix per head, whose rows decay each on its own."""

    writes = ("log_decay", "k", "v")

    def __init__(self, arguments: GLA) -> None:
        """Draw the weights."""
        width, d_key = arguments.width, arguments.all_keys
        super().__init__(arguments, (d_key, d_key, width), d_conv=arguments.d_conv)
        self.decay_in = projection(width, arguments.rank)
        self.decay_out = affine(arguments.rank, d_key)
        self.gate = projection(width, width)

    def signal(
        self, normed_BTD: Tensor, q_BTHK: Tensor, k_BTHK: Tensor, v_BTHV: Tensor
    ) -> dict[str, Tensor]:
        """Return queries, keys, values, the decay of every channel of a key, and a gate."""
        if self.conv.taps:
            q_BTHK, k_BTHK, v_BTHV = map(functional.silu, (q_BTHK, k_BTHK, v_BTHV))
        decay_BTHK = self.decay_out(self.decay_in(normed_BTD)).unflatten(-1, (self.heads, -1))
        return {
            "q": q_BTHK * q_BTHK.shape[-1] ** -0.5,
            "k": k_BTHK,
            "v": v_BTHV,
            "log_decay": functional.logsigmoid(decay_BTHK) / TEMPERATURE,
            "gate": functional.silu(self.gate(normed_BTD)),
        }

    def remember(self, signals: Signals, state_BHKV: Tensor | None) -> tuple[Tensor, Tensor]:
        """Run linear attention on."""
        chosen = choose_linear(self.kernel, signals["v"])
        self.kernels = (f"linear_attention:{chosen}",)
        return linear_attention(
            signals.get("q"), signals["k"], signals["v"], log_decay=signals["log_decay"],
            state_BHKV=state_BHKV, implementation=chosen,
        )  # fmt: skip


@model(
    name="gla",
    reference="Yang et al. 2023, arXiv:2312.06635",
    architecture="linear attention",
)
@dataclass(frozen=True, kw_only=True)
class GLA(LinearAttentionArchitecture):
    """Linear attention with a decay per channel of the keys, behind a short convolution.

    Attributes:
        d_key: Width of the keys of all heads together; half the width of the stream where 0.
        d_conv: Taps of the convolution of queries, keys and values; 0 is the paper's form, without
            a convolution.
        rank: Rank of the matrix that the decays come from.
    """

    d_key: int = 0
    d_conv: int = 4
    rank: int = 16

    def __post_init__(self) -> None:
        """Check the arguments."""
        super().__post_init__()
        divides = self.d_key >= 0 and self.all_keys >= 1 and self.all_keys % self.heads == 0
        self.check(divides, "a d_key that heads divide")
        self.check(self.d_conv >= 0 and self.rank >= 1, "d_conv from 0 and rank from 1 on")

    @property
    def all_keys(self) -> int:
        """Return the width of the keys of all heads together."""
        return self.d_key or self.width // 2

    def mixer(self, layer: int) -> GatedLinearAttention:
        """Build the memory of a layer."""
        return GatedLinearAttention(self)
