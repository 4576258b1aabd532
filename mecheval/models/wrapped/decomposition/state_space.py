"""The Mamba and Mamba-2 of transformers on the kernels of this package, with their own weights.

They are recognised by their parameters, and their own modules project and norm. transformers' own
scan cannot be taken up in the middle: it starts again from zeros, without an error.

Shape suffixes: ``B`` examples, ``T`` positions, ``D`` width, ``E`` channels, ``H`` heads, ``N``
states, ``K`` taps, ``R`` rank of the step size, ``X`` channels of the convolution.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from mecheval.models.kernels.convolution import causal_convolution
from mecheval.models.kernels.scan import Implementation, Scan
from mecheval.models.kernels.selective import selective_scan
from mecheval.models.kernels.ssd import dual_scan
from mecheval.models.layers.linear import some_columns
from mecheval.models.layers.scan_mixer import ScanMixing
from mecheval.models.mixing import Edit, Mixing, Signals, State, unchanged
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


class _StateSpace(ScanMixing):
    """The module's own weights, and the package's convolution and scan."""

    def __init__(self, mixer: Any) -> None:
        self.mixer = mixer
        self.reach = mixer.conv1d.weight.shape[2]

    def convolve(self, x_BTX: Tensor, before_BKX: Tensor | None) -> Tensor:
        """Convolve with the weights of the module's own convolution."""
        conv = self.mixer.conv1d
        return causal_convolution(
            x_BTX, conv.weight[:, 0], conv.bias, implementation=self.choose(x_BTX),
            before_BKE=before_BKX,
        )  # fmt: skip


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
        conv_in_BTE, gate_BTE = self.mixer.in_proj(normed_BTD).chunk(2, -1)
        return {**self._steered(conv_in_BTE, state, edit), "gate": gate_BTE}

    def unread(self, normed_BTD: Tensor, state: State) -> Signals:
        """Leave out the gate, which is the second half."""
        channels = slice(len(self.mixer.A_log))
        conv_in_BTE = some_columns(self.mixer.in_proj, normed_BTD, channels)
        return self._steered(conv_in_BTE, state, unchanged)

    def _steered(self, conv_in_BTE: Tensor, state: State, edit: Edit) -> dict[str, Tensor]:
        mixer = self.mixer
        x_BTE = self.convolved(conv_in_BTE, state, edit)
        steering = mixer.x_proj(x_BTE).split(self.sizes, -1)
        delta_BTR, B_BTN, C_BTN = (
            norm(part) for norm, part in zip(self.norms, steering, strict=True)
        )
        delta_BTE = functional.linear(delta_BTR, mixer.dt_proj.weight)
        return {
            "conv_in": conv_in_BTE, "x": x_BTE, "delta": delta_BTE, "B": B_BTN, "C": C_BTN,
        }  # fmt: skip

    def constants(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return A, D and the bias of the step size, 0 where the module has none."""
        skip_E, bias_E = self.mixer.D, self.mixer.dt_proj.bias
        return (
            -self.mixer.A_log.exp(),
            skip_E,
            torch.zeros_like(skip_E) if bias_E is None else bias_E,
        )

    def scan(
        self, scan: Scan, implementation: Implementation, state_BEN: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Scan channel by channel."""
        return selective_scan(scan, implementation=implementation, state_BEN=state_BEN)

    def out(self, z_BTE: Tensor) -> Tensor:
        """Write to the stream."""
        return self.mixer.out_proj(z_BTE)


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
        """Convolve x, B and C; the first part of the state is their last values."""
        gate_BTE, conv_in_BTX, delta_BTH = self.mixer.in_proj(normed_BTD).split(self.sizes, -1)
        return {**self._steered(conv_in_BTX, delta_BTH, state, edit), "gate": gate_BTE}

    def unread(self, normed_BTD: Tensor, state: State) -> Signals:
        """Leave out the gate, which comes first."""
        gate, *sizes = self.sizes
        columns_BTX = some_columns(self.mixer.in_proj, normed_BTD, slice(gate, None))
        conv_in_BTX, delta_BTH = columns_BTX.split(sizes, -1)
        return self._steered(conv_in_BTX, delta_BTH, state, unchanged)

    def _steered(
        self, conv_in_BTX: Tensor, delta_BTH: Tensor, state: State, edit: Edit
    ) -> dict[str, Tensor]:
        x_BTE, B_BTN, C_BTN = self.convolved(conv_in_BTX, state, edit).split(self.conv_sizes, -1)
        return {
            "conv_in": conv_in_BTX, "x": x_BTE, "delta": self._limited(delta_BTH), "B": B_BTN,
            "C": C_BTN,
        }  # fmt: skip

    def _limited(self, delta_BTH: Tensor) -> Tensor:
        """Keep the step size between the module's limits, before its bias and softplus."""
        low, high = getattr(self.mixer, "time_step_limit", (0.0, torch.inf))
        if low <= 0 and high == torch.inf:
            return delta_BTH
        ends = delta_BTH.new_tensor([low, high])
        low_, high_ = (ends + torch.log(-torch.expm1(-ends))).unbind()  # softplus backwards
        return (delta_BTH + self.mixer.dt_bias).clamp(low_, high_) - self.mixer.dt_bias

    def constants(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return A, D and the bias of the step size."""
        return -self.mixer.A_log.exp(), self.mixer.D, self.mixer.dt_bias

    def scan(
        self, scan: Scan, implementation: Implementation, state_BEN: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Scan group by group: a scan has one B and one C."""
        if self.groups == 1:
            return dual_scan(scan, implementation=implementation, state_BEN=state_BEN)
        tensors = (value.chunk(self.groups, -1) for value in (*scan.columns, *scan.parameters))
        states = (None,) * self.groups if state_BEN is None else state_BEN.chunk(self.groups, 1)
        runs = [
            dual_scan(Scan._make((*part, *scan[8:])), implementation=implementation, state_BEN=own)
            for part, own in zip(zip(*tensors, strict=True), states, strict=True)
        ]
        y_BTE, last_BEN = zip(*runs, strict=True)
        return torch.cat(y_BTE, -1), torch.cat(last_BEN, 1)

    def out(self, z_BTE: Tensor) -> Tensor:
        """Norm where the module does, and write to the stream."""
        norm = getattr(self.mixer, "norm", None)
        return self.mixer.out_proj(z_BTE if norm is None else norm(z_BTE))


def _norms(mixer: Any, call: Call) -> tuple[Norm, Norm, Norm]:
    """Find what a Mamba's step size, B and C pass through: modules, a plain norm, or nothing."""
    rank, states = mixer.dt_proj.weight.shape[1], mixer.A_log.shape[1]
    steering = [part for part in call.children if part.module is mixer.x_proj]
    if len(steering) != 1 or not isinstance(steering[0].output, Tensor):
        return as_it_is, as_it_is, as_it_is
    parts = steering[0].output.split([rank, states, states], -1)
    epsilon = getattr(mixer, "rms_eps", None)
    plain = as_it_is if epsilon is None else _RootMeanSquare(epsilon)
    delta, B, C = (
        next((child.module for child in call.children if _norms_part(child, part)), plain)
        for part in parts
    )
    return delta, B, C


def _norms_part(call: Call, part: Tensor) -> bool:
    keeps_shape = isinstance(call.output, Tensor) and call.output.shape == part.shape
    return keeps_shape and bool(call.given) and same(part, call.given[0])


def as_it_is(value: Tensor) -> Tensor:
    """Return a value as it is."""
    return value


class _RootMeanSquare:
    """A norm without parameters, in float32 as the modules that have one do it."""

    def __init__(self, epsilon: float) -> None:
        self.epsilon = epsilon

    def __call__(self, value: Tensor) -> Tensor:
        exact = value.float()
        exact = functional.rms_norm(exact, exact.shape[-1:], eps=self.epsilon)
        return exact.to(value.dtype)
