"""Mamba: a selective state-space model (Gu and Dao 2023, arXiv:2312.00752).

Glossary (paper -> code): D -> ``width``; the expanded width -> ``E`` channels (``expand * width``);
N -> ``d_state``; Delta -> ``delta``, through ``x_proj`` and ``dt_weight`` with the low rank
``ceil(width / 16)``; B, C -> the rest of ``x_proj``; A -> ``-exp(A_log)``; the skip D -> ``D``; the
convolution -> ``conv`` of ``d_conv`` taps; sigma (SiLU) -> ``silu``. With ``eigenvalues=[-1,1]``
the decay exp(Delta A) becomes 2 exp(Delta A) - 1 (Grazzi et al. 2024, arXiv:2411.12537), which can
flip the sign of a state.
Difference from the paper: the norm before the mixer is LayerNorm without parameters of its own;
RMSNorm with ``shell=paper``.

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

from mecheval.models.contract import Tap
from mecheval.models.kernels.scan import Implementation, Kernel, Scan, choose
from mecheval.models.kernels.selective import selective_scan
from mecheval.models.layers.linear import projection
from mecheval.models.layers.mixer import Mixer
from mecheval.models.layers.short_convolution import ShortConvolution
from mecheval.models.layers.step_size import initial_step_bias
from mecheval.models.mixing import Edit, Signals, State, Written, at, unchanged
from mecheval.models.stack.architecture import model
from mecheval.models.stack.arguments import StateSpaceArchitecture
from mecheval.recipe import Recipe


class SelectiveStateSpace(Mixer):
    """Every channel writes into N decaying states and reads their sum, all steered by the input."""

    n_recent = 1
    writes = ("delta", "x", "B")

    def __init__(self, arguments: Mamba) -> None:
        """Draw the weights as the official implementation does."""
        super().__init__()
        width, channels = arguments.width, arguments.channels
        rank = math.ceil(width / 16)
        self.signed = arguments.signed
        self.reach = max(arguments.d_conv, 1)
        self.inner = ("conv_out",) if arguments.d_conv else ()
        self.kernel: Kernel = arguments.kernel
        self.sizes = [rank, arguments.d_state, arguments.d_state]
        self.in_proj = projection(width, 2 * channels)
        self.conv = ShortConvolution(channels, arguments.d_conv)
        self.x_proj = projection(channels, sum(self.sizes))
        bound = 1 / math.sqrt(rank)
        self.dt_weight = nn.Parameter(torch.empty(channels, rank).uniform_(-bound, bound))
        self.dt_bias = nn.Parameter(initial_step_bias(channels))
        rates_N = torch.arange(1.0, arguments.d_state + 1)
        self.A_log = nn.Parameter(rates_N.log().repeat(channels, 1))
        self.D = nn.Parameter(torch.ones(channels))
        self.out_proj = projection(channels, width, scale=arguments.residual_scale)

    def project(self, normed_BTD: Tensor, state: State, *, edit: Edit = unchanged) -> Signals:
        """Convolve, and steer the scan; the first part of the state is the last inputs."""
        x_BTE, z_BTE = self.in_proj(normed_BTD).chunk(2, -1)
        before_BKE = state[0] if state else None
        conv_BTE = self.conv(x_BTE, self._choose(x_BTE), before_BKE)
        u_BTE = functional.silu(edit("conv_out", conv_BTE) if self.conv.taps else conv_BTE)
        delta_BTR, B_BTN, C_BTN = self.x_proj(u_BTE).split(self.sizes, -1)
        delta_BTE = functional.linear(delta_BTR, self.dt_weight)
        return {"x": x_BTE, "u": u_BTE, "delta": delta_BTE, "z": z_BTE, "B": B_BTN, "C": C_BTN}

    def mix(self, signals: Signals, state: State) -> tuple[Tensor, State]:
        """Scan and gate; the second part of the state is that of the scan, ``(B, E, N)``."""
        y_BTE, last_BEN = self._run(signals, state)
        recent_BKE = self.conv.tail(signals["x"], state[0] if state else None)
        return y_BTE, (recent_BKE, last_BEN)

    def read_at(self, signals: Signals, state: State, only_B: Tensor | None) -> Tensor:
        """Scan and gate, without the last state."""
        return at(self._run(signals, state, going_on=False)[0], only_B)

    def out(self, y_BTE: Tensor) -> Tensor:
        """Write to the stream."""
        return self.out_proj(y_BTE)

    def written(self, signals: Signals, state: State) -> Written:
        """Return step size, input and direction, which make up Abar and Bbar x."""
        return signals["delta"], signals["u"], signals["B"]

    def reread(self, signals: Signals, written: Written, state: State) -> Tensor:
        """Scan what was written; gate, skip connection and C stay."""
        delta_BTE, u_BTE, B_BTN = written
        written_signals = {**signals, "delta": delta_BTE, "u": u_BTE, "B": B_BTN}
        y_BTE, _ = self._run(written_signals, state, going_on=False)
        skipped_BTE = self.D * (signals["u"] - u_BTE) * functional.silu(signals["z"])
        return self.out(y_BTE + skipped_BTE)

    def taps(self) -> dict[str, Tap]:
        """Return the output of the convolution, if there is one."""
        if not self.conv.taps:
            return {}
        return {"conv_out": Tap(self.conv, "output", "conv", self.conv.channels)}

    def _choose(self, x_BTE: Tensor) -> Implementation:
        return choose(self.kernel, x_BTE, signed=self.signed)

    def _run(
        self, signals: Signals, state: State, *, going_on: bool = True
    ) -> tuple[Tensor, Tensor]:
        u, delta, z, B, C = (signals[name] for name in ("u", "delta", "z", "B", "C"))
        chosen = self._choose(u)
        self.kernels = (f"selective_scan:{chosen}",)
        scan = Scan(u, delta, z, B, C, -self.A_log.exp(), self.D, self.dt_bias)
        return selective_scan(
            scan, signed=self.signed, implementation=chosen,
            state_BEN=state[1] if state else None, going_on=going_on,
        )  # fmt: skip


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
