"""Hyena: gates around a long implicit convolution (Poli et al. 2023, arXiv:2302.10866).

Glossary (paper -> code): the projections v, x1, x2 of order 2 -> ``in_proj`` (one matrix), with
``conv``, a short convolution of ``d_conv`` taps, behind it; v * x1 -> the signal ``u``; the long
filter h, its sine network and its window -> ``filter``
(:mod:`mecheval.models.layers.implicit_filter`); the skip D -> ``D``; x2 -> the signal ``gate``;
W_out -> ``out``.
Differences from the paper: the cosine and sine of the lag turn once over ``filter_positions``.
The study of retrieval (arXiv:2505.15105) has ``filter_positions=1024``, ``filter_std=0.02`` and, by
an argument that went astray, ``skip=false``.

Official implementation: https://github.com/HazyResearch/safari

Shape suffixes: ``B`` examples, ``T`` positions (``S`` past ones included), ``D`` width, ``K`` taps,
``X`` channels of the short convolution (v, x1 and x2).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mecheval.models.contract import Tap
from mecheval.models.kernels.long_convolution import long_convolution
from mecheval.models.layers.implicit_filter import SineFilter
from mecheval.models.layers.linear import affine
from mecheval.models.layers.mixer import Mixer
from mecheval.models.layers.short_convolution import ShortConvolution
from mecheval.models.mixing import (
    LAST,
    Edit,
    Mixing,
    Only,
    Signals,
    State,
    Written,
    at,
    cut,
    unchanged,
)
from mecheval.models.stack.architecture import model
from mecheval.models.stack.arguments import ImplicitFilterArchitecture


class HyenaOperator(Mixer):
    """A gate, a sum over all that went through it, weighed by lag, and another gate.

    A filter of any form has no recurrence, so that the memory is all inputs of the sum.
    """

    kernels = ("long_convolution:torch",)
    n_recent = 1
    writes = ("u",)
    output_of_both = Mixing.output_at_once

    def __init__(self, arguments: Hyena) -> None:
        """Draw the weights."""
        super().__init__()
        width = arguments.width
        self.reach = max(arguments.d_conv, 1)
        self.in_proj = affine(width, 3 * width)
        self.conv = ShortConvolution(3 * width, arguments.d_conv)
        self.filter = SineFilter(width, arguments.filter_positions, arguments.filter_std)
        self.D = nn.Parameter(torch.randn(width)) if arguments.skip else None
        self.out = affine(width, width, scale=arguments.residual_scale)

    def project(self, normed_BTD: Tensor, state: State, *, edit: Edit = unchanged) -> Signals:
        """Convolve v, x1 and x2; the first part of the state is their last values."""
        x_BTX = self.in_proj(normed_BTD)
        conv_BTX = self.conv(x_BTX, before_BKE=state[0] if state else None)
        conv_BTX = edit("conv_out", conv_BTX) if self.conv.taps else conv_BTX
        v_BTD, x1_BTD, x2_BTD = conv_BTX.chunk(3, -1)
        return {"x": x_BTX, "u": v_BTD * x1_BTD, "gate": x2_BTD}

    def mix(self, signals: Signals, state: State) -> tuple[Tensor, State]:
        """Convolve and gate; the second part of the state is all that was convolved so far."""
        tail_BKX, past_BSD = self.advance(signals, state)
        return self._gated(signals, past_BSD), (tail_BKX, past_BSD)

    def read_at(self, signals: Signals, state: State, only: Only) -> Tensor:
        """Sum up at the last position alone, where that is all that is wanted."""
        _, past_BSD = self.advance(signals, state)
        if only is LAST:
            signals = cut(signals, slice(-1, None))
        return at(self._gated(signals, past_BSD), only)

    def advance(self, signals: Signals, state: State) -> State:
        """Return the last inputs of the short convolution, and all inputs of the long one."""
        tail_BKX = self.conv.tail(signals["x"], state[0] if state else None)
        return tail_BKX, torch.cat([*state[1:], signals["u"]], 1)

    def reread(self, signals: Signals, written: Written, state: State) -> Tensor:
        """Convolve what was written; the skip and the last gate stay."""
        return self.out(self._gated(signals, torch.cat([*state[1:], *written], 1)))

    def taps(self) -> dict[str, Tap]:
        """Return the output of the short convolution, and what is read from the long one."""
        found = {"z": Tap(self.out, "input", "out", self.out.in_features)}
        if self.conv.taps:
            found["conv_out"] = Tap(self.conv, "output", "conv", self.conv.channels)
        return found

    def _gated(self, signals: Signals, past_BSD: Tensor) -> Tensor:
        u_BTD = signals["u"]
        # A filter for all positions so far, of which the last outputs are wanted: it is one of the
        # lag alone, so that a run from a state weighs the past as the whole run does.
        sum_BTD = long_convolution(past_BSD, self.filter(past_BSD.shape[1]), n_last=u_BTD.shape[1])
        if self.D is not None:
            sum_BTD = sum_BTD + self.D * u_BTD
        return sum_BTD * signals["gate"]


@model(
    name="hyena",
    reference="Poli et al. 2023, arXiv:2302.10866",
    architecture="gated convolution",
)
@dataclass(frozen=True, kw_only=True)
class Hyena(ImplicitFilterArchitecture):
    """Gates around a long convolution whose filter a network makes of the lag.

    Attributes:
        d_conv: Taps of the short convolution; 0 is no convolution.
        skip: Whether what is convolved is also added, times ``D``.
    """

    d_conv: int = 3
    skip: bool = True

    def __post_init__(self) -> None:
        """Check the arguments."""
        super().__post_init__()
        self.check(self.d_conv >= 0, "d_conv of at least 0")

    def mixer(self, layer: int) -> HyenaOperator:
        """Build the operator of a layer."""
        return HyenaOperator(self)
