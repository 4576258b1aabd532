"""Mamba: a selective state-space model (Gu and Dao 2023, arXiv:2312.00752).

Glossary (paper -> code): D -> ``width``; the expanded width -> ``E`` channels (``expand * width``);
N -> ``d_state``; Delta -> ``delta``, through ``x_proj`` and ``dt_weight`` with the low rank
``ceil(width / 16)``; B, C -> the rest of ``x_proj``; A -> ``-exp(A_log)``; the skip D -> ``D``; the
convolution -> ``conv`` of ``d_conv`` taps; sigma (SiLU) -> ``silu``. With ``eigenvalues=[-1,1]``
the decay exp(Delta A) becomes 2 exp(Delta A) - 1 (Grazzi et al. 2024, arXiv:2411.12537), which can
flip the sign of a state.
Difference from the paper: the norm before the mixer is LayerNorm without parameters of its own.

Official implementation: https://github.com/state-spaces/mamba

Shape suffixes: ``B`` examples, ``T`` positions, ``D`` width, ``E`` channels, ``N`` states, ``K``
taps, ``R`` rank of the step size.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from mecheval.models.kernels.scan import Kernel, Scan, choose
from mecheval.models.kernels.selective import scan_step, selective_scan
from mecheval.models.stack.architecture import model
from mecheval.models.stack.residual import Mixer, projection
from mecheval.models.stack.short_convolution import ShortConvolution
from mecheval.models.stack.state_space import StateSpaceArchitecture, initial_step_bias
from mecheval.training.recipe import Recipe

State = tuple[Tensor, Tensor]
"""The last inputs of the convolution ``(B, K - 1, E)`` and the state of the scan ``(B, E, N)``."""


class SelectiveStateSpace(Mixer):
    """Every channel writes into N decaying states and reads their sum, all steered by the input."""

    def __init__(self, arguments: Mamba) -> None:
        """Draw the weights as the official implementation does."""
        super().__init__()
        width, channels = arguments.width, arguments.channels
        rank = math.ceil(width / 16)
        self.signed = arguments.signed
        self.kernel: Kernel = arguments.kernel
        self.sizes = [rank, arguments.d_state, arguments.d_state]
        self.in_proj = projection(width, 2 * channels)
        self.conv = ShortConvolution(channels, arguments.d_conv)
        self.x_proj = projection(channels, sum(self.sizes))
        self.dt_weight = nn.Parameter(torch.empty(channels, rank).uniform_(-1, 1) * rank**-0.5)
        self.dt_bias = nn.Parameter(initial_step_bias(channels))
        rates_N = torch.arange(1.0, arguments.d_state + 1)
        self.A_log = nn.Parameter(rates_N.log().repeat(channels, 1))
        self.D = nn.Parameter(torch.ones(channels))
        self.out_proj = projection(channels, width, scale=arguments.residual_scale)

    def mix(self, normed_BTD: Tensor) -> tuple[Tensor, State]:
        """Convolve, scan and gate."""
        x_BTE, z_BTE = self.in_proj(normed_BTD).chunk(2, -1)
        chosen = choose(self.kernel, x_BTE, signed=self.signed)
        self.kernels = (f"selective_scan:{chosen}",)
        u_BTE = functional.silu(self.conv(x_BTE, chosen))
        y_BTE, last_BEN = selective_scan(
            self._scan(u_BTE, z_BTE), signed=self.signed, implementation=chosen
        )
        return self.out_proj(y_BTE), (self.conv.tail(x_BTE), last_BEN)

    def start(self, batch_size: int) -> State:
        """Return zeros."""
        state_BEN = self.A_log.new_zeros(batch_size, *self.A_log.shape)
        return self.conv.start(batch_size, self.A_log), state_BEN

    def step(self, normed_BD: Tensor, state: State) -> tuple[Tensor, State]:
        """Convolve, scan and gate one position."""
        x_BE, z_BE = self.in_proj(normed_BD).chunk(2, -1)
        u_BE, tail_BKE = self.conv.step(x_BE, state[0])
        scan = self._scan(functional.silu(u_BE), z_BE)
        y_BE, state_BEN = scan_step(scan, state[1], signed=self.signed)
        return self.out_proj(y_BE), (tail_BKE, state_BEN)

    def _scan(self, u: Tensor, z: Tensor) -> Scan:
        delta_R, B, C = self.x_proj(u).split(self.sizes, -1)
        delta = functional.linear(delta_R, self.dt_weight)
        return Scan(u, delta, z, B, C, -self.A_log.exp(), self.D, self.dt_bias)


@model(
    name="mamba",
    reference="Gu and Dao 2023, arXiv:2312.00752",
    architecture="state-space model",
    sizes={"tiny": {"layers": 4, "width": 32}, "formal": {"layers": 4, "width": 128}},
    recipes={
        "tiny": Recipe(lr=1e-2),
        "formal": Recipe(lr=3e-3, warmup=100, steps=5000),
    },
)
@dataclass(frozen=True, kw_only=True)
class Mamba(StateSpaceArchitecture):
    """Selective state spaces, one per channel, behind a short convolution."""

    def mixer(self, layer: int) -> SelectiveStateSpace:
        """Build the state-space model of a layer."""
        return SelectiveStateSpace(self)
