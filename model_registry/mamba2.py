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
becomes 2 exp(Delta A) - 1 (Grazzi et al. 2025, arXiv:2411.12537), which can flip the sign of a
state.

With ``rotation=true`` the states turn as well, pair by pair, as those of Mamba-3 (Lahoti et al.
2026, arXiv:2603.15569), whose real form of a complex state-space model this is:

    theta        = pi tanh(PACE W_theta u)            ``turn``; N / 2 angles
    h_t          = exp(Delta_t A) R(theta_t) h_{t-1} + Delta_t B_t x_t

where R turns states n and n + N / 2 by the n-th angle. Seen from a frame that turns with them they
do not turn, and B and C turn back: the scan is the same (rotary embedding that depends on the data,
:meth:`~DualStateSpace._scanned`). What is kept, and stands at the site ``state``, is h_t itself.
Differences from Mamba-3: one set of angles for all heads, scaled by ``PACE`` where Mamba-3 has
Delta, which decides here how fast states are forgotten; no trapezoidal rule, no norms and biases of
B and C, one input and output per channel; the convolution stays.

Official implementation: https://github.com/state-spaces/mamba, there ``Mamba2.forward`` and
``Mamba2.step`` (mamba2.py), ``causal_conv1d_fn``, and ``ssd_minimal_discrete`` (ssd_minimal.py),
which is :func:`mecheval.models.kernels.ssd.dual_scan` here.

Shape suffixes: ``B`` examples, ``T`` positions, ``D`` width, ``E`` channels, ``H`` heads, ``N``
states, ``M`` pairs of states, ``X`` channels of the convolution (x, B and C).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

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

PACE, FIRST_TURN = 0.01, 0.3
"""How slowly the angles change in training, and their size at the start as a share of pi.

Angles add up over a text, so that steps which suit other matrices would throw the states about;
0.01 is the middle of what Delta is at the start of training.
"""


class DualStateSpace(ScanMixer):
    """Heads of channels that decay alike, so that the scan is also a masked attention."""

    def __init__(self, arguments: Mamba2) -> None:
        """Draw the weights as the official implementation does."""
        super().__init__(arguments)
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
        self.turn = None
        if arguments.rotation:
            self.writes = (*self._writes(), "theta")
            self.turn = projection(width, states // 2, scale=FIRST_TURN / PACE)

    def project(self, normed_BTD: Tensor, state: State, *, edit: Edit = unchanged) -> Signals:
        """Convolve x, B and C."""
        gate_BTE, xBC_BTX, delta_BTH = self.in_proj(normed_BTD).split(self.sizes, -1)  # zxbcdt
        signals = self._steered(xBC_BTX, delta_BTH, state, edit)
        return {**signals, **self._turning(normed_BTD), "gate": gate_BTE}

    def unread(self, normed_BTD: Tensor, state: State) -> Signals:
        """Leave out the gate."""
        gate, *sizes = self.sizes
        columns_BTX = some_columns(self.in_proj, normed_BTD, slice(gate, None))
        xBC_BTX, delta_BTH = columns_BTX.split(sizes, -1)
        steered = self._steered(xBC_BTX, delta_BTH, state, unchanged)
        return {**steered, **self._turning(normed_BTD)}

    def _steered(
        self, xBC_BTX: Tensor, delta_BTH: Tensor, state: State, edit: Edit
    ) -> dict[str, Tensor]:
        x_BTE, B_BTN, C_BTN = self.convolved(xBC_BTX, state, edit).split(self.conv_sizes, -1)
        return {
            "conv_in": xBC_BTX, "x": x_BTE, "delta": delta_BTH, "B": B_BTN, "C": C_BTN,
        }  # fmt: skip

    def _turning(self, normed_BTD: Tensor) -> dict[str, Tensor]:
        if self.turn is None:
            return {}
        return {"theta": math.pi * (PACE * self.turn(normed_BTD)).tanh()}

    def _scanned(
        self, signals: Signals, state: State, *, going_on: bool = True, reading: bool = True
    ) -> tuple[Tensor, Tensor]:
        """Scan, in a frame that turns with the states from where this part of the text begins."""
        if "theta" not in signals:
            return super()._scanned(signals, state, going_on=going_on, reading=reading)
        turn_BTM = signals["theta"].double().cumsum(1)  # in full: turns add up, and are periodic
        B_BTN, C_BTN = (turned(signals[name], -turn_BTM) for name in ("B", "C"))
        seen = {**signals, "B": B_BTN, "C": C_BTN}
        y_BTE, last_BEN = super()._scanned(seen, state, going_on=going_on, reading=reading)
        return y_BTE, turned(last_BEN, turn_BTM[:, -1:]) if going_on else last_BEN

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


def turned(value_BTN: Tensor, angle_BTM: Tensor) -> Tensor:
    """Turn each of the first M = N / 2 states with the one M further on by an angle."""
    cos_BTM, sin_BTM = angle_BTM.cos().to(value_BTN), angle_BTM.sin().to(value_BTN)
    first_BTM, second_BTM = value_BTN.chunk(2, -1)
    return torch.cat([
        first_BTM * cos_BTM - second_BTM * sin_BTM, first_BTM * sin_BTM + second_BTM * cos_BTM,
    ], -1)  # fmt: skip


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
        rotation: Whether pairs of states turn by angles that the input says (arXiv:2603.15569).
    """

    later: ClassVar[frozenset[str]] = StateSpaceArchitecture.later | {"rotation"}

    head_dim: int = 32
    rotation: bool = False

    def __post_init__(self) -> None:
        """Check the width of a head."""
        super().__post_init__()
        self.check(
            self.head_dim >= 1 and self.channels % self.head_dim == 0,
            "a head_dim that divides expand * width",
        )
        self.check(not self.rotation or self.d_state % 2 == 0, "an even d_state for rotation=true")

    def mixer(self, layer: int) -> DualStateSpace:
        """Build the state-space model of a layer."""
        return DualStateSpace(self)
