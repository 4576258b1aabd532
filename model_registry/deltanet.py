"""DeltaNet: linear attention that replaces what a key held (Yang et al. 2024, arXiv:2406.06484).

Glossary (paper -> code): S -> the state ``(B, H, K, V)``; W_Q, W_K, W_V -> ``qkv`` (one matrix),
behind ``conv``, a short convolution of ``d_conv`` taps, and SiLU; q and k are scaled to length 1;
beta -> ``beta``, a sigmoid; W_O -> ``out``, behind a norm of what each head reads. With
``eigenvalues=[-1,1]`` beta is twice the sigmoid, so that a write can turn a state's sign (Grazzi et
al. 2025, arXiv:2411.12537).
Differences from the paper: norms have no parameters of their own; the feed-forward part is a GELU
between two matrices; the convolution has a bias; queries are not divided by sqrt(K), which the norm
behind would undo. ``shell=paper`` has what is around the mixer as in the study of retrieval
(arXiv:2505.15105); the norm of what heads read has no parameters there either.

Official implementation: https://github.com/fla-org/flash-linear-attention

Shape suffixes: ``B`` examples, ``T`` positions, ``D`` width, ``H`` heads, ``K`` width of a key,
``V`` width of a value.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch.nn import functional

from mecheval.models.kernels.delta import delta_rule
from mecheval.models.kernels.fla import choose_linear
from mecheval.models.layers.linear import projection
from mecheval.models.layers.matrix_memory import MatrixMemory
from mecheval.models.stack.architecture import model
from mecheval.models.stack.arguments import EIGENVALUES, LinearAttentionArchitecture

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from mecheval.models.mixing import Signals


class DeltaMemory(MatrixMemory):
    """A matrix per head, in which a write replaces the part beta of what its key held."""

    writes = ("beta", "k", "v")

    def __init__(self, arguments: DeltaRuleArchitecture, sizes: Sequence[int]) -> None:
        """Draw the weights; ``sizes`` are the widths of a query, a key and a value."""
        super().__init__(arguments, sizes, d_conv=arguments.d_conv, n_writes=arguments.n_writes)
        self.n_writes, self.largest_beta = arguments.n_writes, 1 - arguments.eigenvalues[0]
        self.beta = projection(arguments.width, arguments.heads * arguments.n_writes)

    def signal(
        self, normed_BTD: Tensor, q_BTHK: Tensor, k_BTHK: Tensor, v_BTHV: Tensor
    ) -> dict[str, Tensor]:
        """Return queries and keys of length 1, values, and beta ``(B, T, H)``."""
        return {
            "q": functional.normalize(functional.silu(q_BTHK), dim=-1),
            "k": functional.normalize(functional.silu(k_BTHK), dim=-1),
            "v": functional.silu(v_BTHV),
            "beta": self.largest_beta * self.beta(normed_BTD).sigmoid(),
        }

    def remember(self, signals: Signals, state_BHKV: Tensor | None) -> tuple[Tensor, Tensor]:
        """Run the delta rule on."""
        k_BTHK, v_BTHV, beta_BTH = (signals[name] for name in ("k", "v", "beta"))
        chosen = choose_linear(self.kernel, v_BTHV)
        self.kernels = (f"delta_rule:{chosen}",)
        return delta_rule(
            signals.get("q"), k_BTHK, v_BTHV, beta_BTH, log_decay_BTH=signals.get("log_decay"),
            state_BHKV=state_BHKV, implementation=chosen,
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class DeltaRuleArchitecture(LinearAttentionArchitecture):
    """Arguments of DeltaNet, gated DeltaNet and their products.

    Attributes:
        d_conv: Taps of the convolution of queries, keys and values, the present included; 0 is no
            convolution.
        eigenvalues: Range of the eigenvalues of a write: ``[0,1]``, or ``[-1,1]`` with beta
            in (0, 2).
    """

    d_conv: int = 4
    eigenvalues: tuple[int, int] = (0, 1)

    def __post_init__(self) -> None:
        """Check the arguments."""
        super().__post_init__()
        self.check(self.d_conv >= 0, "d_conv of at least 0")
        self.check(self.eigenvalues in EIGENVALUES, "eigenvalues=[0,1] or eigenvalues=[-1,1]")
        object.__setattr__(self, "eigenvalues", (int(self.eigenvalues[0]), 1))

    @property
    def n_writes(self) -> int:
        """Return how often a position writes into each head, one write after the other."""
        return 1


@model(
    name="deltanet",
    reference="Yang et al. 2024, arXiv:2406.06484",
    architecture="linear attention",
)
@dataclass(frozen=True, kw_only=True)
class DeltaNet(DeltaRuleArchitecture):
    """Linear attention whose writes replace what their key held, behind a short convolution."""

    def mixer(self, layer: int) -> DeltaMemory:
        """Build the memory of a layer."""
        return DeltaMemory(self, (self.width,) * 3)
