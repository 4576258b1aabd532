"""DeltaProduct: writes of the delta rule, several per position (Siems et al., arXiv:2502.10297).

    S_t = (I - b_n k_n k_n^T) ... (I - b_1 k_1 k_1^T) S_{t-1} + what the n writes add

The n = ``n_h`` keys, values and betas of a position are its own; the j-th write sees what the one
before has left. With ``eigenvalues=[-1,1]`` each factor can be a reflection, and two of them a
rotation, which no symmetric matrix is: one layer can follow the permutations of n_h + 1 things,
where DeltaNet, whose factors are symmetric, takes more layers for three of them.

Glossary (paper -> code): n_h -> ``n_h`` (``N`` in shapes); k_{i,j}, v_{i,j}, beta_{i,j} -> ``k``,
``v``, ``beta``, of which each head has ``n_h`` side by side; the sequence that is n_h times as
long, read at every n_h-th place -> ``DeltaProductMemory.remember``; the forget gate of Gated
DeltaProduct, once per position and before its first write -> ``log_decay``; all else as in
``deltanet`` and ``gated_deltanet``, which these models are where ``n_h=1``, from the same seed with
the same weights.
Differences from the paper: those of ``deltanet``.

Official implementation: https://github.com/fla-org/flash-linear-attention, there
``GatedDeltaProduct``, which with ``use_forget_gate=False`` and ``use_output_gate=False`` is
``deltaproduct``.

Shape suffixes: ``B`` examples, ``T`` positions, ``D`` width, ``H`` heads, ``N`` writes of a
position, ``K`` width of a key, ``V`` width of a value, ``M = T N`` writes of all positions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch.nn import functional

from mecheval.models.stack.architecture import model

from .deltanet import DeltaMemory, DeltaRuleArchitecture
from .gated_deltanet import GatedDeltaMemory, GatedDeltaNet

if TYPE_CHECKING:
    from torch import Tensor

    from mecheval.models.mixing import Signals


class DeltaProductMemory(DeltaMemory):
    """A matrix per head, into which a position writes several times before it is read."""

    def signal(
        self, normed_BTD: Tensor, q_BTHK: Tensor, k_BTHK: Tensor, v_BTHV: Tensor
    ) -> dict[str, Tensor]:
        """Tell the writes of a head apart, which come side by side: ``(B, T, H, N, ...)``."""
        k_BTHNK, v_BTHNV = (part.unflatten(-1, (self.n_writes, -1)) for part in (k_BTHK, v_BTHV))
        signals = super().signal(normed_BTD, q_BTHK, k_BTHNK, v_BTHNV)
        return {**signals, "beta": signals["beta"].unflatten(-1, (self.heads, self.n_writes))}

    def remember(self, signals: Signals, state_BHKV: Tensor | None) -> tuple[Tensor, Tensor]:
        """Run the delta rule on over all writes, and keep what is read behind a position's last."""
        each = {name: signals[name].transpose(2, 3).flatten(1, 2) for name in ("k", "v", "beta")}
        n_others = self.n_writes - 1
        if "q" in signals:
            q_BTNHK = functional.pad(signals["q"][:, :, None], (0, 0, 0, 0, n_others, 0))
            each["q"] = q_BTNHK.flatten(1, 2)
        if "log_decay" in signals:
            log_decay_BTNH = functional.pad(signals["log_decay"][:, :, None], (0, 0, 0, n_others))
            each["log_decay"] = log_decay_BTNH.flatten(1, 2)
        y_BMHV, last_BHKV = super().remember(each, state_BHKV)
        return y_BMHV[:, n_others :: self.n_writes], last_BHKV


class GatedDeltaProductMemory(DeltaProductMemory, GatedDeltaMemory):
    """The same, which decays from position to position."""


@dataclass(frozen=True, kw_only=True)
class ProductArchitecture(DeltaRuleArchitecture):
    """Arguments of DeltaProduct and its gated form.

    Attributes:
        n_h: Writes of a position into each head, one after the other.
    """

    n_h: int = 2

    def __post_init__(self) -> None:
        """Check the number of writes."""
        super().__post_init__()
        self.check(self.n_h >= 1, "n_h of at least 1")

    @property
    def n_writes(self) -> int:
        """Return how often a position writes into each head."""
        return self.n_h


@model(
    name="deltaproduct",
    reference="Siems et al. 2025, arXiv:2502.10297",
    architecture="linear attention",
)
@dataclass(frozen=True, kw_only=True)
class DeltaProduct(ProductArchitecture):
    """Linear attention that writes several times per position, behind a short convolution."""

    def mixer(self, layer: int) -> DeltaProductMemory:
        """Build the memory of a layer."""
        return DeltaProductMemory(self, (self.width,) * 3)


@model(
    name="gated_deltaproduct",
    reference="Siems et al. 2025, arXiv:2502.10297",
    architecture="linear attention",
)
@dataclass(frozen=True, kw_only=True)
class GatedDeltaProduct(ProductArchitecture, GatedDeltaNet):
    """DeltaProduct with a decay per head and an output gate."""

    def mixer(self, layer: int) -> GatedDeltaProductMemory:
        """Build the memory of a layer."""
        return GatedDeltaProductMemory(self)
