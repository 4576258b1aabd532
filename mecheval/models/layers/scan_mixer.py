"""Mixers that scan: what Mamba and Mamba-2 have in common, our own and those of transformers.

    x_t = silu(conv(input)_t)                                  a short convolution
    h_t = exp(Delta_t A) h_{t-1} + Delta_t x_t B_t             a memory of N states per channel
    z_t = (C_t . h_t + D x_t) silu(gate_t)                     what is read, and given to ``out``

Shape suffixes: ``B`` examples, ``T`` positions, ``E`` channels, ``N`` states, ``K`` taps, ``X``
channels of the convolution.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from mecheval.models.contract import Tap
from mecheval.models.kernels.convolution import last_inputs
from mecheval.models.kernels.scan import Implementation, Kernel, Scan, choose, repeated
from mecheval.models.layers.mixer import Mixer
from mecheval.models.mixing import LAST, Edit, Mixing, Only, Signals, State, Written, at

if TYPE_CHECKING:
    from torch import Tensor, nn

    from mecheval.models.layers.short_convolution import ShortConvolution
    from mecheval.models.stack.arguments import StateSpaceArchitecture

SCANNED = ("x", "delta", "gate", "B", "C")
"""Signals that are scanned, in the order in which a scan is given them."""


class ScanMixing(Mixing):
    """A short convolution, then a scan; the state is the last inputs of the one, and the other's.

    A subclass projects to :data:`SCANNED` and ``conv_in``, the inputs of the convolution.

    Attributes:
        kernel: See :func:`mecheval.models.kernels.scan.choose`.
        signed: Whether the eigenvalues lie in [-1, 1] instead of [0, 1].
    """

    n_recent = 1
    inner = ("conv_out",)
    writes = ("delta", "x", "B")
    kernel: Kernel = "auto"
    signed: bool = False

    @abstractmethod
    def unread(self, normed_BTD: Tensor, state: State) -> Signals:
        """Return the signals of positions that are not read, without ``gate``."""

    @abstractmethod
    def constants(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return A, D and the bias of the step size, which all positions share."""

    @abstractmethod
    def scan(
        self, scan: Scan, implementation: Implementation, state_BEN: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Return the gated output ``(B, T, E)``, and the states after the last position."""

    @abstractmethod
    def convolve(self, x_BTX: Tensor, before_BKX: Tensor | None) -> Tensor:
        """Return the output of the convolution, given the inputs before the first position."""

    def convolved(self, x_BTX: Tensor, state: State, edit: Edit) -> Tensor:
        """Convolve from a state on, and apply SiLU."""
        conv_BTX = self.convolve(x_BTX, state[0] if state else None)
        return functional.silu(edit("conv_out", conv_BTX) if self.inner else conv_BTX)

    def mix(self, signals: Signals, state: State) -> tuple[Tensor, State]:
        """Scan and gate; the second part of the state is that of the scan, ``(B, E, N)``."""
        y_BTE, last_BEN = self._scanned(signals, state)
        before_BKX = state[0] if state else None
        return y_BTE, (last_inputs(signals["conv_in"], self.reach, before_BKX), last_BEN)

    def advance(self, signals: Signals, state: State) -> State:
        """Scan without reading."""
        before_BKX = state[0] if state else None
        _, last_BEN = self._scanned(signals, state, reading=False)
        return last_inputs(signals["conv_in"], self.reach, before_BKX), last_BEN

    def output_from(self, normed_BTD: Tensor, state: State, *, only: Only = None) -> Tensor:
        """Make no gates of positions before the last, if that alone is read, without gradients."""
        n_before = normed_BTD.shape[1] - 1
        if only is not LAST or n_before == 0 or torch.is_grad_enabled():
            return super().output_from(normed_BTD, state, only=only)
        after = self.advance(self.unread(normed_BTD[:, :n_before], state), state)
        return self.output(self.project(normed_BTD[:, n_before:], after), after)

    def read_at(self, signals: Signals, state: State, only: Only) -> Tensor:
        """Scan and gate, without a state that nobody goes on from."""
        if only is LAST:
            return super().read_at(signals, state, only)
        return at(self._scanned(signals, state, going_on=False)[0], only)

    def reread(self, signals: Signals, written: Written, state: State) -> Tensor:
        """Scan what was written; gate, skip connection and C stay."""
        others = {**signals, **dict(zip(self._writes(), written, strict=True))}
        y_BTE, _ = self._scanned(others, state, going_on=False)
        _, D, _ = self.constants()
        skip_BTE = repeated(D, y_BTE.shape[-1]) * (signals["x"] - others["x"])
        return self._out(y_BTE + (skip_BTE * functional.silu(signals["gate"])).to(y_BTE.dtype))

    def choose(self, x_BTX: Tensor) -> Implementation:
        """Return what convolves and scans a tensor where it lies."""
        return choose(self.kernel, x_BTX, signed=self.signed)

    def _scanned(
        self, signals: Signals, state: State, *, going_on: bool = True, reading: bool = True
    ) -> tuple[Tensor, Tensor]:
        if not reading:  # others of the same shape stand for what is not looked at
            signals = {**signals, "gate": signals["x"], "C": signals["B"]}
        columns = (signals[name] for name in SCANNED)
        scan = Scan._make((*columns, *self.constants(), self.signed, going_on, reading))
        return self.scan(scan, self.choose(scan.x_BTE), state[1] if state else None)


class ScanMixer(ScanMixing, Mixer):
    """The same with weights of our own; a subclass makes the parts that are named here."""

    conv: ShortConvolution
    A_log: nn.Parameter
    D: nn.Parameter
    dt_bias: nn.Parameter

    def __init__(self, arguments: StateSpaceArchitecture) -> None:
        """Take what decides how it runs."""
        super().__init__()
        self.kernel, self.signed = arguments.kernel, arguments.signed
        self.reach = max(arguments.d_conv, 1)

    def constants(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return A, D and the bias of the step size."""
        return -self.A_log.exp(), self.D, self.dt_bias

    def convolve(self, x_BTX: Tensor, before_BKX: Tensor | None) -> Tensor:
        """Run the convolution, which is passed by where it has no taps."""
        return self.conv(x_BTX, self.choose(x_BTX), before_BKX)

    def taps(self) -> dict[str, Tap]:
        """Return the output of the convolution, if there is one."""
        found = {"conv_out": Tap(self.conv, "output", "conv", self.conv.channels)}
        return found if self.conv.taps else {}
