"""The Mamba and Mamba-2 of transformers on the kernels of this package, with their own weights.

They are recognised by their parameters, and their own modules project and norm. transformers' own
scan cannot be taken up in the middle: it starts again from zeros, without an error.

Shape suffixes: ``B`` examples, ``T`` positions, ``D`` width, ``E`` channels, ``H`` heads, ``N``
states, ``K`` taps, ``R`` rank of the step size, ``X`` channels of the convolution.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from mecheval.models.kernels.convolution import causal_convolution
from mecheval.models.kernels.scan import Scan, choose, repeated
from mecheval.models.kernels.selective import selective_scan
from mecheval.models.kernels.ssd import dual_scan
from mecheval.models.mixing import Edit, Mixing, Signals, State, Written, at, unchanged
from mecheval.models.wrapped.recording.chains import same

if TYPE_CHECKING:
    from mecheval.models.wrapped.recording.calls import Call

Norm = Callable[[Tensor], Tensor]


def find_state_space(call: Call) -> Mixing | None:
    """Return the mixer behind a recorded call taken apart, if its parameters are a Mamba's."""
    mixer: Any = call.module
    parts = ("in_proj", "conv1d", "out_proj", "A_log", "D")
    if not all(hasattr(mixer, name) for name in parts):
        return None
    channels, conv_channels = mixer.out_proj.weight.shape[1], mixer.conv1d.weight.shape[0]
    heads, projected = len(mixer.A_log), mixer.in_proj.weight.shape[0]
    if mixer.A_log.dim() == 2 and hasattr(mixer, "x_proj") and hasattr(mixer, "dt_proj"):
        fits = (heads, conv_channels, projected) == (channels, channels, 2 * channels)
        return Selective(mixer, _norms(mixer, call)) if fits else None
    if mixer.A_log.dim() == 1 and hasattr(mixer, "dt_bias"):
        fits = projected == channels + conv_channels + heads and channels % heads == 0
        return Dual(mixer) if fits else None
    return None


class _StateSpace(Mixing):
    """What both have: a short convolution, then a scan; the state is both's."""

    n_recent = 1
    inner = ("conv_out",)
    writes = ("delta", "x", "B")

    def __init__(self, mixer: Any) -> None:
        self.mixer = mixer
        self.reach = mixer.conv1d.weight.shape[2]

    def mix(self, signals: Signals, state: State) -> tuple[Tensor, State]:
        """Scan and gate; the second part of the state is that of the scan, ``(B, E, N)``."""
        y_BTE, last_BEN = self._run(signals, state)
        return y_BTE, (self._recent(signals, state), last_BEN)

    def read_at(self, signals: Signals, state: State, only_B: Tensor | None) -> Tensor:
        """Scan and gate, without the last state."""
        return at(self._run(signals, state, going_on=False)[0], only_B)

    def advance(self, signals: Signals, state: State) -> State:
        """Scan."""
        return self._recent(signals, state), self._run(signals, state)[1]

    def written(self, signals: Signals, state: State) -> Written:
        """Return step size, input and direction, which make up Abar and Bbar x."""
        return signals["delta"], signals["u"], signals["B"]

    def reread(self, signals: Signals, written: Written, state: State) -> Tensor:
        """Scan what was written; gate, skip connection and C stay."""
        delta_BTE, u_BTE, B_BTN = written
        written_signals = {**signals, "delta": delta_BTE, "u": u_BTE, "B": B_BTN}
        y_BTE, _ = self._run(written_signals, state, going_on=False)
        skip_E = repeated(self.mixer.D, u_BTE.shape[-1])
        skipped_BTE = skip_E * (signals["u"] - u_BTE) * functional.silu(signals["z"])
        return self.out(y_BTE + skipped_BTE.to(y_BTE.dtype))

    def _convolved(self, x_BTX: Tensor, state: State, edit: Edit) -> Tensor:
        conv = self.mixer.conv1d
        conv_BTX = causal_convolution(
            x_BTX, conv.weight[:, 0], conv.bias, implementation=choose("auto", x_BTX, signed=False),
            before_BKE=state[0] if state else None,
        )  # fmt: skip
        return functional.silu(edit("conv_out", conv_BTX))

    def _recent(self, signals: Signals, state: State) -> Tensor:
        x_BTX, kept = signals["x"], self.reach - 1
        if x_BTX.shape[1] >= kept:
            # A copy, because a view would keep the inputs at all positions in memory.
            return x_BTX[:, x_BTX.shape[1] - kept :].clone()
        before_BKX = state[0] if state else x_BTX.new_zeros(len(x_BTX), kept, x_BTX.shape[2])
        return torch.cat([before_BKX[:, x_BTX.shape[1] :], x_BTX], 1)

    @abstractmethod
    def _run(
        self, signals: Signals, state: State, *, going_on: bool = True
    ) -> tuple[Tensor, Tensor]:
        """Return the gated output of the scan ``(B, T, E)`` and its last state, if wanted."""

    @abstractmethod
    def out(self, y_BTE: Tensor) -> Tensor:
        """Return the mixer's output."""


class Selective(_StateSpace):
    """Mamba: every channel decays on its own."""

    def __init__(self, mixer: nn.Module, norms: tuple[Norm, Norm, Norm]) -> None:
        """Take the mixer and what step size, B and C pass through."""
        super().__init__(mixer)
        self.norms = norms
        rank, states = self.mixer.dt_proj.weight.shape[1], self.mixer.A_log.shape[1]
        self.sizes = [rank, states, states]

    def project(self, normed_BTD: Tensor, state: State, *, edit: Edit = unchanged) -> Signals:
        """Convolve, and steer the scan; the first part of the state is the last inputs."""
        mixer = self.mixer
        x_BTE, z_BTE = mixer.in_proj(normed_BTD).chunk(2, -1)
        u_BTE = self._convolved(x_BTE, state, edit)
        steering = mixer.x_proj(u_BTE).split(self.sizes, -1)
        delta_BTR, B_BTN, C_BTN = (
            norm(part) for norm, part in zip(self.norms, steering, strict=True)
        )
        delta_BTE = functional.linear(delta_BTR, mixer.dt_proj.weight)
        return {"x": x_BTE, "u": u_BTE, "delta": delta_BTE, "z": z_BTE, "B": B_BTN, "C": C_BTN}

    def _run(
        self, signals: Signals, state: State, *, going_on: bool = True
    ) -> tuple[Tensor, Tensor]:
        mixer, u_BTE = self.mixer, signals["u"]
        bias_E = mixer.dt_proj.bias
        bias_E = u_BTE.new_zeros(u_BTE.shape[-1]) if bias_E is None else bias_E
        given = [signals[name] for name in ("u", "delta", "z", "B", "C")]
        scan = Scan._make([*given, -mixer.A_log.exp(), mixer.D, bias_E])
        return selective_scan(
            scan, signed=False,
            implementation=choose("auto", u_BTE, signed=False),
            state_BEN=state[1] if state else None, going_on=going_on,
        )  # fmt: skip

    def out(self, y_BTE: Tensor) -> Tensor:
        """Write to the stream."""
        return self.mixer.out_proj(y_BTE)


class Dual(_StateSpace):
    """Mamba-2: the channels of a head decay alike, and groups of heads share B and C."""

    def __init__(self, mixer: nn.Module) -> None:
        """Take the mixer."""
        super().__init__(mixer)
        channels, conv_channels = self.mixer.out_proj.weight.shape[1], len(self.mixer.conv1d.weight)
        self.groups = getattr(self.mixer, "n_groups", 1)
        self.sizes = [channels, conv_channels, len(self.mixer.A_log)]
        self.conv_sizes = [channels, *[(conv_channels - channels) // 2] * 2]

    def project(self, normed_BTD: Tensor, state: State, *, edit: Edit = unchanged) -> Signals:
        """Convolve X, B and C; the first part of the state is their last values."""
        z_BTE, x_BTX, delta_BTH = self.mixer.in_proj(normed_BTD).split(self.sizes, -1)
        conv_BTX = self._convolved(x_BTX, state, edit)
        u_BTE, B_BTN, C_BTN = conv_BTX.split(self.conv_sizes, -1)
        delta_BTH = self._limited(delta_BTH)
        return {"x": x_BTX, "u": u_BTE, "delta": delta_BTH, "z": z_BTE, "B": B_BTN, "C": C_BTN}

    def _limited(self, delta_BTH: Tensor) -> Tensor:
        """Keep the step size between the module's limits, before its bias and softplus."""
        low, high = getattr(self.mixer, "time_step_limit", (0.0, torch.inf))
        if low <= 0 and high == torch.inf:
            return delta_BTH
        ends = delta_BTH.new_tensor([low, high])
        low_, high_ = (ends + torch.log(-torch.expm1(-ends))).unbind()  # softplus backwards
        return (delta_BTH + self.mixer.dt_bias).clamp(low_, high_) - self.mixer.dt_bias

    def _run(
        self, signals: Signals, state: State, *, going_on: bool = True
    ) -> tuple[Tensor, Tensor]:
        mixer = self.mixer
        given = [signals[name] for name in ("u", "delta", "z", "B", "C")]
        given += [-mixer.A_log.exp(), mixer.D, mixer.dt_bias]
        parts = zip(*(value.chunk(self.groups, -1) for value in given), strict=True)
        states = state[1].chunk(self.groups, 1) if state else (None,) * self.groups
        runs = [
            dual_scan(
                Scan._make(part), signed=False, state_BEN=state_BEN, going_on=going_on,
                implementation=choose("auto", signals["u"], signed=False),
            )
            for part, state_BEN in zip(parts, states, strict=True)
        ]  # fmt: skip
        y_BTE, last_BEN = zip(*runs, strict=True)
        if self.groups == 1:
            return y_BTE[0], last_BEN[0]
        return torch.cat(y_BTE, -1), torch.cat(last_BEN, 1)

    def out(self, y_BTE: Tensor) -> Tensor:
        """Norm where the module does, and write to the stream."""
        norm = getattr(self.mixer, "norm", None)
        return self.mixer.out_proj(y_BTE if norm is None else norm(y_BTE))


def _norms(mixer: Any, call: Call) -> tuple[Norm, Norm, Norm]:
    """Find what a Mamba's step size, B and C pass through: modules, a plain norm, or nothing."""
    rank, states = mixer.dt_proj.weight.shape[1], mixer.A_log.shape[1]
    steering = [part for part in call.children if part.module is mixer.x_proj]
    if len(steering) != 1 or not isinstance(steering[0].output, Tensor):
        return _as_it_is, _as_it_is, _as_it_is
    parts = steering[0].output.split([rank, states, states], -1)
    epsilon = getattr(mixer, "rms_eps", None)
    plain = _as_it_is if epsilon is None else _RootMeanSquare(epsilon)
    delta, B, C = (
        next((child.module for child in call.children if _norms_part(child, part)), plain)
        for part in parts
    )
    return delta, B, C


def _norms_part(call: Call, part: Tensor) -> bool:
    keeps_shape = isinstance(call.output, Tensor) and call.output.shape == part.shape
    return keeps_shape and bool(call.given) and same(part, call.given[0])


def _as_it_is(value: Tensor) -> Tensor:
    return value


class _RootMeanSquare:
    """A norm without parameters, in float32 as the modules that have one do it."""

    def __init__(self, epsilon: float) -> None:
        self.epsilon = epsilon

    def __call__(self, value: Tensor) -> Tensor:
        exact = value.float()
        exact = functional.rms_norm(exact, exact.shape[-1:], eps=self.epsilon)
        return exact.to(value.dtype)
