"""Gated DeltaNet: the delta rule with a decay (Yang et al. 2024, arXiv:2412.06464).

Glossary (paper -> code): alpha -> ``exp(log_decay)``, one number per head, made as in Mamba-2 from
a step size (``step``, ``dt_bias``) and a rate (``A_log``); beta -> ``beta``; the output gate ->
``gate``, behind SiLU; all else as in ``deltanet``, with values ``expand`` times as wide as keys.
Differences from the paper: those of ``deltanet``.

Official implementation: https://github.com/NVlabs/GatedDeltaNet

Shape suffixes: ``B`` examples, ``T`` positions, ``D`` width, ``H`` heads, ``K`` width of a key,
``V`` width of a value.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from mecheval.models.layers.linear import projection
from mecheval.models.layers.step_size import initial_step_bias
from mecheval.models.stack.architecture import model

from .deltanet import DeltaMemory, DeltaRuleArchitecture


class GatedDeltaMemory(DeltaMemory):
    """The matrices of DeltaNet, which decay from position to position."""

    writes = ("log_decay", "beta", "k", "v")

    def __init__(self, arguments: GatedDeltaNet) -> None:
        """Draw the weights."""
        width, heads = arguments.width, arguments.heads
        d_value = arguments.expand * width
        super().__init__(arguments, (width, width, d_value))
        self.step = projection(width, heads)
        self.gate = projection(width, d_value)
        self.dt_bias = nn.Parameter(initial_step_bias(heads))
        self.A_log = nn.Parameter(torch.empty(heads).uniform_(1, 16).log())

    def signal(
        self, normed_BTD: Tensor, q_BTHK: Tensor, k_BTHK: Tensor, v_BTHV: Tensor
    ) -> dict[str, Tensor]:
        """Add the decay ``(B, T, H)`` and the output gate."""
        step_BTH = functional.softplus(self.step(normed_BTD) + self.dt_bias)
        return {
            **super().signal(normed_BTD, q_BTHK, k_BTHK, v_BTHV),
            "log_decay": -self.A_log.exp() * step_BTH,
            "gate": functional.silu(self.gate(normed_BTD)),
        }


@model(
    name="gated_deltanet",
    reference="Yang et al. 2024, arXiv:2412.06464",
    architecture="linear attention",
)
@dataclass(frozen=True, kw_only=True)
class GatedDeltaNet(DeltaRuleArchitecture):
    """DeltaNet with a decay per head and an output gate.

    Attributes:
        expand: Width of the values relative to the stream.
    """

    expand: int = 2

    def __post_init__(self) -> None:
        """Check the width of the values."""
        super().__post_init__()
        self.check(self.expand >= 1, "expand of at least 1")

    def mixer(self, layer: int) -> GatedDeltaMemory:
        """Build the memory of a layer."""
        return GatedDeltaMemory(self)
