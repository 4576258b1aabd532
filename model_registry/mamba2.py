"""Mamba-2: state-space duality (Dao and Gu 2024, arXiv:2405.21060).

Glossary (paper -> code): D -> ``width``; the expanded width -> ``E`` channels (``expand * width``)
in H heads of P = ``head_dim`` channels; N -> ``d_state``; the projections of X, B, C, Delta and the
gate -> ``in_proj`` (all at once, unlike Mamba's); A -> ``-exp(A_log)``, one number per head; the
skip D -> ``D``, one number per head; the convolution over X, B, C -> ``conv`` of ``d_conv`` taps;
the norm before the output -> ``rms_norm`` of the gated output. With ``eigenvalues=[-1,1]`` the
decay exp(Delta A) becomes 2 exp(Delta A) - 1 (Grazzi et al. 2024, arXiv:2411.12537), which can flip
the sign of a state.
Differences from the paper: one group of B and C; neither norm has parameters of its own.

Official implementation: https://github.com/state-spaces/mamba

Shape suffixes: ``B`` examples, ``T`` positions, ``D`` width, ``E`` channels, ``H`` heads, ``N``
states, ``K`` taps, ``X`` channels of the convolution (X, B and C).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from mecheval.models.kernels.dual import dual_scan
from mecheval.models.kernels.scan import Kernel, Scan, choose
from mecheval.models.kernels.selective import scan_step
from mecheval.models.stack.architecture import model
from mecheval.models.stack.residual import Mixer, projection
from mecheval.models.stack.short_convolution import ShortConvolution
from mecheval.models.stack.state_space import StateSpaceArchitecture, initial_step_bias
from mecheval.training.recipe import Recipe

NORM_EPSILON = 1e-5

State = tuple[Tensor, Tensor]
"""The last inputs of the convolution ``(B, K - 1, X)`` and the state of the scan ``(B, E, N)``."""


class DualStateSpace(Mixer):
    """Heads of channels that decay alike, so that the scan is also a masked attention."""

    def __init__(self, arguments: Mamba2) -> None:
        """Draw the weights as the official implementation does."""
        super().__init__()
        width, channels, states = arguments.width, arguments.channels, arguments.d_state
        heads = channels // arguments.head_dim
        self.signed, self.channels = arguments.signed, channels
        self.kernel: Kernel = arguments.kernel
        self.sizes = [channels, channels + 2 * states, heads]
        self.conv_sizes = [channels, states, states]
        self.in_proj = projection(width, sum(self.sizes))
        self.conv = ShortConvolution(sum(self.conv_sizes), arguments.d_conv)
        self.dt_bias = nn.Parameter(initial_step_bias(heads))
        self.A_log = nn.Parameter(torch.empty(heads).uniform_(1, 16).log())
        self.D = nn.Parameter(torch.ones(heads))
        self.out_proj = projection(channels, width, scale=arguments.residual_scale)

    def mix(self, normed_BTD: Tensor) -> tuple[Tensor, State]:
        """Convolve, scan, gate and norm."""
        z_BTE, xBC_BTX, delta_BTH = self.in_proj(normed_BTD).split(self.sizes, -1)
        chosen = choose(self.kernel, xBC_BTX, signed=self.signed)
        self.kernels = (f"dual_scan:{chosen}",)
        scan = self._scan(functional.silu(self.conv(xBC_BTX, chosen)), delta_BTH, z_BTE)
        y_BTE, last_BEN = dual_scan(scan, signed=self.signed, implementation=chosen)
        return self._write(y_BTE), (self.conv.tail(xBC_BTX), last_BEN)

    def start(self, batch_size: int) -> State:
        """Return zeros."""
        state_BEN = self.D.new_zeros(batch_size, self.channels, self.conv_sizes[-1])
        return self.conv.start(batch_size, self.D), state_BEN

    def step(self, normed_BD: Tensor, state: State) -> tuple[Tensor, State]:
        """Convolve, scan, gate and norm one position."""
        z_BE, xBC_BX, delta_BH = self.in_proj(normed_BD).split(self.sizes, -1)
        xBC_BX, tail_BKX = self.conv.step(xBC_BX, state[0])
        scan = self._scan(functional.silu(xBC_BX), delta_BH, z_BE).per_channel()
        y_BE, state_BEN = scan_step(scan, state[1], signed=self.signed)
        return self._write(y_BE), (tail_BKX, state_BEN)

    def _scan(self, xBC: Tensor, delta: Tensor, z: Tensor) -> Scan:
        x, B, C = xBC.split(self.conv_sizes, -1)
        return Scan(x, delta, z, B, C, -self.A_log.exp(), self.D, self.dt_bias)

    def _write(self, gated: Tensor) -> Tensor:
        return self.out_proj(functional.rms_norm(gated, (self.channels,), eps=NORM_EPSILON))


@model(
    name="mamba2",
    reference="Dao and Gu 2024, arXiv:2405.21060",
    architecture="state-space model",
    sizes={"tiny": {"layers": 4, "width": 32}, "formal": {"layers": 4, "width": 128}},
    recipes={
        "tiny": Recipe(lr=1e-2),
        "formal": Recipe(lr=3e-3, warmup=100, steps=5000),
    },
)
@dataclass(frozen=True, kw_only=True)
class Mamba2(StateSpaceArchitecture):
    """State spaces that decay alike within a head, behind a short convolution.

    Attributes:
        head_dim: Channels P of a head.
    """

    head_dim: int = 32

    def __post_init__(self) -> None:
        """Check the width of a head."""
        super().__post_init__()
        self.check(
            self.head_dim >= 1 and self.channels % self.head_dim == 0,
            "a head_dim that divides expand * width",
        )

    def mixer(self, layer: int) -> DualStateSpace:
        """Build the state-space model of a layer."""
        return DualStateSpace(self)
