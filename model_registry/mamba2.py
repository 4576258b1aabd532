"""Mamba-2: state-space duality (Dao and Gu 2024, arXiv:2405.21060).

The block of figure 6 around the SSD model of listing 1. With u the mixer's input, all of it per
position t (``*`` is a causal convolution over positions):

    gate, xBC, Delta = W_in u                         ``in_proj``, all at once, unlike Mamba's
    x, B, C      = silu(w * xBC + b)                  ``conv``, of ``d_conv`` taps
    Delta        = softplus(Delta + b_Delta)          ``dt_bias``; one number per head
    h_t          = exp(Delta_t A) h_{t-1} + Delta_t B_t x_t
    z_t          = (C_t h_t + D x_t) silu(gate_t)
    output       = W_out norm(z)                      ``out_proj`` behind ``rms_norm``

The first two lines are :meth:`~DualStateSpace.project`, from softplus to z it is
:meth:`~DualStateSpace.scan`, the last is :meth:`~DualStateSpace.out`.

Glossary (paper -> code): D, the dimension -> ``width``; the expanded one -> ``E`` channels
(``expand * width``) in H heads of P = ``head_dim`` channels; N -> ``d_state``; A -> ``-exp(A_log)``
and D, the skip -> ``D``, one number per head each. From a state the same lines run on: that is the
recurrent form; the scan is also a masked attention, which is how chunks are computed.
Differences from the paper: one group of B and C; neither norm has parameters of its own, but for
the one before the mixer with ``shell=paper``. With ``eigenvalues=[-1,1]`` the decay exp(Delta A)
becomes 2 exp(Delta A) - 1 (Grazzi et al. 2024, arXiv:2411.12537), which can flip the sign of a
state.

Official implementation: https://github.com/state-spaces/mamba, there ``Mamba2.forward`` and
``Mamba2.step`` (mamba2.py), ``causal_conv1d_fn``, and ``ssd_minimal_discrete`` (ssd_minimal.py),
which is :func:`mecheval.models.kernels.ssd.dual_scan` here.

Shape suffixes: ``B`` examples, ``T`` positions, ``D`` width, ``E`` channels, ``H`` heads, ``N``
states, ``X`` channels of the convolution (x, B and C).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from mecheval.models.kernels.ssd import dual_scan
from mecheval.models.layers.linear import projection, some_columns
from mecheval.models.layers.scan_mixer import ScanMixer
from mecheval.models.layers.short_convolution import ShortConvolution
from mecheval.models.layers.step_size import initial_step_bias
from mecheval.models.mixing import Edit, Signals, State, unchanged
from mecheval.models.stack.architecture import model
from mecheval.models.stack.arguments import StateSpaceArchitecture

if TYPE_CHECKING:
    from mecheval.models.kernels.scan import Implementation, Scan

NORM_EPSILON = 1e-5


class DualStateSpace(ScanMixer):
    """Heads of channels that decay alike, so that the scan is also a masked attention."""

    def __init__(self, arguments: Mamba2) -> None:
        """Draw the weights as the official implementation does."""
        super().__init__(kernel=arguments.kernel, signed=arguments.signed, d_conv=arguments.d_conv)
        width, channels, states = arguments.width, arguments.channels, arguments.d_state
        heads = channels // arguments.head_dim
        self.sizes = [channels, channels + 2 * states, heads]
        self.conv_sizes = [channels, states, states]
        self.in_proj = projection(width, sum(self.sizes))
        self.conv = ShortConvolution(sum(self.conv_sizes), arguments.d_conv)
        self.dt_bias = nn.Parameter(initial_step_bias(heads))
        self.A_log = nn.Parameter(torch.empty(heads).uniform_(1, 16).log())
        self.D = nn.Parameter(torch.ones(heads))
        self.out_proj = projection(channels, width, scale=arguments.residual_scale)

    def project(self, normed_BTD: Tensor, state: State, *, edit: Edit = unchanged) -> Signals:
        """Convolve x, B and C."""
        gate_BTE, xBC_BTX, delta_BTH = self.in_proj(normed_BTD).split(self.sizes, -1)  # zxbcdt
        return {**self._steered(xBC_BTX, delta_BTH, state, edit), "gate": gate_BTE}

    def unread(self, normed_BTD: Tensor, state: State) -> Signals:
        """Leave out the gate."""
        gate, *sizes = self.sizes
        columns_BTX = some_columns(self.in_proj, normed_BTD, slice(gate, None))
        xBC_BTX, delta_BTH = columns_BTX.split(sizes, -1)
        return self._steered(xBC_BTX, delta_BTH, state, unchanged)

    def _steered(
        self, xBC_BTX: Tensor, delta_BTH: Tensor, state: State, edit: Edit
    ) -> dict[str, Tensor]:
        x_BTE, B_BTN, C_BTN = self.convolved(xBC_BTX, state, edit).split(self.conv_sizes, -1)
        return {
            "conv_in": xBC_BTX, "x": x_BTE, "delta": delta_BTH, "B": B_BTN, "C": C_BTN,
        }  # fmt: skip

    def scan(
        self, scan: Scan, implementation: Implementation, state_BEN: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Run the states of every head on, read them, and gate: ``ssd_minimal_discrete``."""
        self.kernels = (f"dual_scan:{implementation}",)
        return dual_scan(scan, implementation=implementation, state_BEN=state_BEN)

    def out(self, z_BTE: Tensor) -> Tensor:
        """Norm, and write to the stream."""
        normed_BTE = functional.rms_norm(z_BTE, z_BTE.shape[-1:], eps=NORM_EPSILON)
        return self.out_proj(normed_BTE)


@model(
    name="mamba2",
    reference="Dao and Gu 2024, arXiv:2405.21060",
    architecture="state-space model",
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
