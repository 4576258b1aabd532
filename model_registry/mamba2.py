"""Mamba-2: state-space duality (Dao and Gu 2024, arXiv:2405.21060).

Glossary (paper -> code): D -> ``width``; the expanded width -> ``E`` channels (``expand * width``)
in H heads of P = ``head_dim`` channels; N -> ``d_state``; the projections of X, B, C, Delta and the
gate -> ``in_proj`` (all at once, unlike Mamba's); A -> ``-exp(A_log)``, one number per head; the
skip D -> ``D``, one number per head; the convolution over X, B, C -> ``conv`` of ``d_conv`` taps;
the norm before the output -> ``rms_norm`` of the gated output. With ``eigenvalues=[-1,1]`` the
decay exp(Delta A) becomes 2 exp(Delta A) - 1 (Grazzi et al. 2024, arXiv:2411.12537), which can flip
the sign of a state.
Differences from the paper: one group of B and C; neither norm has parameters of its own, but
for the one before the mixer with ``shell=paper``.

Official implementation: https://github.com/state-spaces/mamba

Shape suffixes: ``B`` examples, ``T`` positions, ``D`` width, ``E`` channels, ``H`` heads, ``N``
states, ``K`` taps, ``X`` channels of the convolution (X, B and C).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from mecheval.models.contract import Tap
from mecheval.models.kernels.scan import Implementation, Kernel, Scan, choose, repeated
from mecheval.models.kernels.ssd import dual_scan
from mecheval.models.layers.linear import projection
from mecheval.models.layers.mixer import Mixer
from mecheval.models.layers.short_convolution import ShortConvolution
from mecheval.models.layers.step_size import initial_step_bias
from mecheval.models.mixing import Edit, Signals, State, Written, at, unchanged
from mecheval.models.stack.architecture import model
from mecheval.models.stack.arguments import StateSpaceArchitecture
from mecheval.recipe import Recipe

NORM_EPSILON = 1e-5


class DualStateSpace(Mixer):
    """Heads of channels that decay alike, so that the scan is also a masked attention."""

    n_recent = 1
    writes = ("delta", "x", "B")

    def __init__(self, arguments: Mamba2) -> None:
        """Draw the weights as the official implementation does."""
        super().__init__()
        width, channels, states = arguments.width, arguments.channels, arguments.d_state
        heads = channels // arguments.head_dim
        self.signed, self.channels = arguments.signed, channels
        self.reach = max(arguments.d_conv, 1)
        self.inner = ("conv_out",) if arguments.d_conv else ()
        self.kernel: Kernel = arguments.kernel
        self.sizes = [channels, channels + 2 * states, heads]
        self.conv_sizes = [channels, states, states]
        self.in_proj = projection(width, sum(self.sizes))
        self.conv = ShortConvolution(sum(self.conv_sizes), arguments.d_conv)
        self.dt_bias = nn.Parameter(initial_step_bias(heads))
        self.A_log = nn.Parameter(torch.empty(heads).uniform_(1, 16).log())
        self.D = nn.Parameter(torch.ones(heads))
        self.out_proj = projection(channels, width, scale=arguments.residual_scale)

    def project(self, normed_BTD: Tensor, state: State, *, edit: Edit = unchanged) -> Signals:
        """Convolve X, B and C; the first part of the state is their last values."""
        z_BTE, xBC_BTX, delta_BTH = self.in_proj(normed_BTD).split(self.sizes, -1)
        conv_BTX = self.conv(xBC_BTX, self._choose(xBC_BTX), state[0] if state else None)
        conv_BTX = edit("conv_out", conv_BTX) if self.conv.taps else conv_BTX
        u_BTE, B_BTN, C_BTN = functional.silu(conv_BTX).split(self.conv_sizes, -1)
        return {"xBC": xBC_BTX, "u": u_BTE, "delta": delta_BTH, "z": z_BTE, "B": B_BTN, "C": C_BTN}

    def mix(self, signals: Signals, state: State) -> tuple[Tensor, State]:
        """Scan and gate; the second part of the state is that of the scan, ``(B, E, N)``."""
        y_BTE, last_BEN = self._run(signals, state)
        recent_BKX = self.conv.tail(signals["xBC"], state[0] if state else None)
        return y_BTE, (recent_BKX, last_BEN)

    def read_at(self, signals: Signals, state: State, only_B: Tensor | None) -> Tensor:
        """Scan and gate, without the last state."""
        return at(self._run(signals, state, going_on=False)[0], only_B)

    def out(self, y_BTE: Tensor) -> Tensor:
        """Norm, and write to the stream."""
        return self.out_proj(functional.rms_norm(y_BTE, (self.channels,), eps=NORM_EPSILON))

    def written(self, signals: Signals, state: State) -> Written:
        """Return step size, input and direction, which make up Abar and Bbar x."""
        return signals["delta"], signals["u"], signals["B"]

    def reread(self, signals: Signals, written: Written, state: State) -> Tensor:
        """Scan what was written; gate, skip connection and C stay."""
        delta_BTH, u_BTE, B_BTN = written
        written_signals = {**signals, "delta": delta_BTH, "u": u_BTE, "B": B_BTN}
        y_BTE, _ = self._run(written_signals, state, going_on=False)
        skipped_BTE = repeated(self.D, self.channels) * (signals["u"] - u_BTE)
        return self.out(y_BTE + skipped_BTE * functional.silu(signals["z"]))

    def taps(self) -> dict[str, Tap]:
        """Return the output of the convolution, if there is one."""
        if not self.conv.taps:
            return {}
        return {"conv_out": Tap(self.conv, "output", "conv", self.conv.channels)}

    def _choose(self, x_BTX: Tensor) -> Implementation:
        return choose(self.kernel, x_BTX, signed=self.signed)

    def _run(
        self, signals: Signals, state: State, *, going_on: bool = True
    ) -> tuple[Tensor, Tensor]:
        u, delta, z, B, C = (signals[name] for name in ("u", "delta", "z", "B", "C"))
        chosen = self._choose(u)
        self.kernels = (f"dual_scan:{chosen}",)
        scan = Scan(u, delta, z, B, C, -self.A_log.exp(), self.D, self.dt_bias)
        return dual_scan(
            scan, signed=self.signed, implementation=chosen,
            state_BEN=state[1] if state else None, going_on=going_on,
        )  # fmt: skip


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
