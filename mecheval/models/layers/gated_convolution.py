"""BaseConv: a causal convolution times a gate, with a short or a long filter (arXiv:2312.04927).

    y = conv(u) * (W u + b) + u

Shape suffixes: ``B`` examples, ``T`` positions (``S`` past ones included), ``D`` width of the
stream, ``K`` taps.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mecheval.models.contract import Tap
from mecheval.models.kernels.long_convolution import long_convolution
from mecheval.models.layers.implicit_filter import ReluFilter
from mecheval.models.layers.linear import affine
from mecheval.models.layers.mixer import Mixer
from mecheval.models.layers.short_convolution import ShortConvolution
from mecheval.models.mixing import LAST, Edit, Mixing, Only, Signals, State, Written, at, unchanged


class ShortGatedConvolution(Mixer):
    """Every channel's last few values, times a gate of the present; it remembers nothing else."""

    n_recent = 1
    writes = ()

    def __init__(self, width: int, d_conv: int) -> None:
        """Draw the weights."""
        super().__init__()
        self.reach = d_conv
        self.gate = affine(width, width)
        self.conv = ShortConvolution(width, d_conv)

    def project(self, normed_BTD: Tensor, state: State, *, edit: Edit = unchanged) -> Signals:
        """Convolve the inputs; the state is the last of them."""
        conv_BTD = self.conv(normed_BTD, before_BKE=state[0] if state else None)
        return {"normed": normed_BTD, "conv": edit("conv_out", conv_BTD)}

    def mix(self, signals: Signals, state: State) -> tuple[Tensor, State]:
        """Gate every position alone."""
        tail_BKD = self.conv.tail(signals["normed"], state[0] if state else None)
        return self.read_at(signals, state, None), (tail_BKD,)

    def read_at(self, signals: Signals, state: State, only: Only) -> Tensor:
        """Make the gates that are wanted."""
        normed_BTD, conv_BTD = at(signals["normed"], only), at(signals["conv"], only)
        return conv_BTD * self.gate(normed_BTD) + normed_BTD

    def taps(self) -> dict[str, Tap]:
        """Return the output of the convolution."""
        return {"conv_out": Tap(self.conv, "output", "conv", self.conv.channels)}


class LongGatedConvolution(Mixer):
    """A sum over all past inputs, weighed by a filter over lags, times a gate of the present."""

    kernels = ("long_convolution:torch",)
    writes = ("u",)
    output_of_both = Mixing.output_at_once

    def __init__(self, width: int, positions: int, std: float) -> None:
        """Draw the weights; for the filter's see :class:`ReluFilter`."""
        super().__init__()
        self.gate = affine(width, width)
        self.filter = ReluFilter(width, positions, std)

    def mix(self, signals: Signals, state: State) -> tuple[Tensor, State]:
        """Convolve and gate; the state is all inputs so far."""
        return self.read_at(signals, state, None), self.advance(signals, state)

    def read_at(self, signals: Signals, state: State, only: Only) -> Tensor:
        """Make the gates that are wanted."""
        (past_BSD,) = self.advance(signals, state)
        if only is LAST:
            return self._gated(signals["normed"][:, -1:], past_BSD, None)
        return self._gated(signals["normed"], past_BSD, only)

    def advance(self, signals: Signals, state: State) -> State:
        """Return all inputs."""
        return (torch.cat([*state, signals["normed"]], 1),)

    def written(self, signals: Signals, state: State) -> Written:
        """Return the inputs of the convolution."""
        return (signals["normed"],)

    def reread(self, signals: Signals, written: Written, state: State) -> Tensor:
        """Convolve what was written; the gate and what is added to the sum stay."""
        return self._gated(signals["normed"], torch.cat([*state, *written], 1), None)

    def _gated(self, normed_BTD: Tensor, past_BSD: Tensor, only: Only) -> Tensor:
        n_last = normed_BTD.shape[1]
        sum_BTD = long_convolution(past_BSD, self.filter(past_BSD.shape[1]), n_last=n_last)
        sum_BTD, normed_BTD = at(sum_BTD, only), at(normed_BTD, only)
        return (sum_BTD + normed_BTD) * self.gate(normed_BTD) + normed_BTD
