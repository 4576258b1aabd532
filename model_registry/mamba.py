"""Mamba: a selective state-space model (Gu and Dao 2023, arXiv:2312.00752).

The block of figure 3 around Algorithm 2. With u the mixer's input, all of it per position t (``*``
is a causal convolution over positions):

    x, gate      = W_in u                             ``in_proj``
    x            = silu(w * x + b)                    ``conv``, of ``d_conv`` taps
    Delta, B, C  = W_x x                              ``x_proj``; Delta of rank ceil(width / 16)
    Delta        = softplus(W_Delta Delta + b_Delta)  ``dt_weight``, ``dt_bias``
    h_t          = exp(Delta_t A) h_{t-1} + Delta_t B_t x_t
    z_t          = (C_t h_t + D x_t) silu(gate_t)
    output       = W_out z                            ``out_proj``

Up to W_Delta Delta this is :meth:`~SelectiveStateSpace.project`; from softplus to z it is one step
of :func:`mecheval.models.kernels.selective.scan_step`, which :meth:`~SelectiveStateSpace.scan`
takes for every position; the last line is :meth:`~SelectiveStateSpace.out`. Delta, B and C depend
on the input, which is what makes the model selective; A and D do not. A is discretised by
zero-order hold (equation 4), B by an Euler step in its place, Delta B, as in the official
implementation. From a state the same lines run on: that is the recurrent form.

Glossary (paper -> code): D, the dimension -> ``width``; E D, the expanded one -> ``E`` channels
(``expand * width``); N -> ``d_state``; R, the rank of Delta (section 3.6) -> ``R``; A ->
``-exp(A_log)``, N rates per channel; D, the skip -> ``D``; sigma (SiLU) -> ``silu``.
Difference from the paper: the norm before the mixer is LayerNorm without parameters of its own;
RMSNorm with ``shell=paper``. With ``eigenvalues=[-1,1]`` the decay exp(Delta A) becomes
2 exp(Delta A) - 1 (Grazzi et al. 2025, arXiv:2411.12537), which can flip the sign of a state.

Official implementation: https://github.com/state-spaces/mamba, there ``Mamba.forward`` and
``Mamba.step`` (mamba_simple.py), ``causal_conv1d_fn``, and ``selective_scan_ref``, whose loop is
``scan_step`` here. Published weights, ``mamba-130m`` and larger, are in :mod:`.pretrained`.

Shape suffixes: ``B`` examples, ``T`` positions, ``D`` width, ``E`` channels, ``N`` states, ``R``
rank of the step size.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from mecheval.models.kernels.selective import selective_scan
from mecheval.models.layers.linear import projection, some_columns
from mecheval.models.layers.scan_mixer import ScanMixer
from mecheval.models.layers.short_convolution import ShortConvolution
from mecheval.models.layers.step_size import initial_step_bias
from mecheval.models.mixing import Edit, Signals, State, unchanged
from mecheval.models.stack.architecture import model
from mecheval.models.stack.arguments import StateSpaceArchitecture

if TYPE_CHECKING:
    from mecheval.models.kernels.scan import Implementation, Scan


class SelectiveStateSpace(ScanMixer):
    """Every channel writes into N decaying states and reads their sum, all steered by the input."""

    def __init__(self, arguments: Mamba) -> None:
        """Draw the weights as the official implementation does."""
        super().__init__(arguments)
        width, channels, states = arguments.width, arguments.channels, arguments.d_state
        rank = math.ceil(width / 16)  # dt_rank="auto"
        self.sizes = [rank, states, states]
        self.in_proj = projection(width, 2 * channels)
        self.conv = ShortConvolution(channels, arguments.d_conv)
        self.x_proj = projection(channels, sum(self.sizes))
        bound = 1 / math.sqrt(rank)  # keeps the variance of Delta: dt_init="random"
        self.dt_weight = nn.Parameter(torch.empty(channels, rank).uniform_(-bound, bound))
        self.dt_bias = nn.Parameter(initial_step_bias(channels))
        # S4D-Real: every channel has rates 1 to N. A logarithm keeps them negative in training.
        self.A_log = nn.Parameter(torch.arange(1.0, states + 1).log().repeat(channels, 1))
        self.D = nn.Parameter(torch.ones(channels))
        self.out_proj = projection(channels, width, scale=arguments.residual_scale)

    def project(self, normed_BTD: Tensor, state: State, *, edit: Edit = unchanged) -> Signals:
        """Convolve the inputs, and let them steer the scan."""
        conv_in_BTE, gate_BTE = self.in_proj(normed_BTD).chunk(2, -1)  # x, z of Mamba.forward
        return {**self._steered(conv_in_BTE, state, edit), "gate": gate_BTE}

    def unread(self, normed_BTD: Tensor, state: State) -> Signals:
        """Leave out the gate."""
        channels = slice(self.conv.channels)
        return self._steered(some_columns(self.in_proj, normed_BTD, channels), state, unchanged)

    def _steered(self, conv_in_BTE: Tensor, state: State, edit: Edit) -> dict[str, Tensor]:
        x_BTE = self.convolved(conv_in_BTE, state, edit)  # causal_conv1d_fn, with SiLU
        delta_BTR, B_BTN, C_BTN = self.x_proj(x_BTE).split(self.sizes, -1)  # x_dbl
        delta_BTE = functional.linear(delta_BTR, self.dt_weight)  # its bias belongs to the scan
        return {
            "conv_in": conv_in_BTE, "x": x_BTE, "delta": delta_BTE, "B": B_BTN, "C": C_BTN,
        }  # fmt: skip

    def scan(
        self, scan: Scan, implementation: Implementation, state_BEN: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Run the states of every channel on, read them, and gate: ``selective_scan_ref``."""
        self.kernels = (f"selective_scan:{implementation}",)
        return selective_scan(scan, implementation=implementation, state_BEN=state_BEN)

    def out(self, z_BTE: Tensor) -> Tensor:
        """Write to the stream."""
        return self.out_proj(z_BTE)


@model(
    name="mamba",
    reference="Gu and Dao 2023, arXiv:2312.00752",
    architecture="state-space model",
)
@dataclass(frozen=True, kw_only=True)
class Mamba(StateSpaceArchitecture):
    """Selective state spaces, one per channel, behind a short convolution."""

    def mixer(self, layer: int) -> SelectiveStateSpace:
        """Build the state-space model of a layer."""
        return SelectiveStateSpace(self)
