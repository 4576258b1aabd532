"""Long filters that a small network makes of the lag (Poli et al. 2023, arXiv:2302.10866).

The network sees the lag as a share of ``positions``, and its cosine and sine, one turn over
``positions``. It is defined at any lag; but over a few of very many positions its input is almost
constant, and so is the filter (the study of retrieval, arXiv:2505.15105, has 1024 positions for 37
tokens, and draws all weights with a standard deviation of 0.02).

Shape suffixes: ``S`` lags, ``D`` channels, ``H`` hidden units.
"""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from mecheval.models.layers.linear import affine, projection

FEATURES = 3
RELU_UNITS = 16
SINE_UNITS = 64
FAST, SLOW, TARGET = 0.3, 1.5, 1e-2


class ReluFilter(nn.Module):
    """One hidden layer of 16 units: the filter of BaseConv."""

    draws_itself = True  # by filter_std, whatever the shell does

    def __init__(self, width: int, positions: int, std: float) -> None:
        """Draw the weights: see :class:`.stack.arguments.ImplicitFilterArchitecture`."""
        super().__init__()
        self.positions = positions
        self.up = affine(FEATURES, RELU_UNITS)
        self.down = affine(RELU_UNITS, width, scale=1 / math.sqrt(positions))
        _redraw(self, std)

    def forward(self, n_lags: int) -> Tensor:
        """Return the filter ``(S, D)``, from lag 0 on."""
        features_S3 = lag_features(n_lags, self.positions, self.up.weight)
        return self.down(functional.relu(self.up(features_S3)))


class SineFilter(nn.Module):
    """Three hidden layers of 64 sines and a window that decays: the filter of Hyena."""

    draws_itself = True  # by filter_std, whatever the shell does

    def __init__(self, width: int, positions: int, std: float) -> None:
        """Draw the weights: see :class:`.stack.arguments.ImplicitFilterArchitecture`."""
        super().__init__()
        self.positions = positions
        sizes = (FEATURES, SINE_UNITS, SINE_UNITS, SINE_UNITS)
        self.hidden = nn.ModuleList(
            affine(n_in, n_out) for n_in, n_out in itertools.pairwise(sizes)
        )
        self.down = projection(SINE_UNITS, width, scale=1 / math.sqrt(positions))
        self.frequency = nn.Parameter(torch.ones(SINE_UNITS))
        _redraw(self, std)

    def forward(self, n_lags: int) -> Tensor:
        """Return the filter ``(S, D)``, from lag 0 on."""
        features_S3 = lag_features(n_lags, self.positions, self.down.weight)
        hidden_SH = features_S3
        for layer in self.hidden:
            hidden_SH = torch.sin(self.frequency * layer(hidden_SH))
        return self.down(hidden_SH) * self._window(features_S3[:, :1])

    def _window(self, share_S1: Tensor) -> Tensor:
        """Return how much of each lag is left, in every channel at a rate of its own."""
        slow, fast = (-math.log(TARGET) / share for share in (SLOW, FAST))
        rates_D = torch.linspace(slow, fast, self.down.out_features).to(share_S1)
        return torch.exp(-share_S1 * rates_D)


def lag_features(n_lags: int, positions: int, like: Tensor) -> Tensor:
    """Return lags as shares of ``positions``, and their cosines and sines ``(S, 3)``."""
    share_S = torch.arange(n_lags, device=like.device, dtype=torch.float64) / positions
    turn_S = 2 * math.pi * share_S
    return torch.stack([share_S, turn_S.cos(), turn_S.sin()], 1).to(like.dtype)


def _redraw(network: nn.Module, std: float) -> None:
    """Draw all matrices from N(0, std^2), where it is not 0."""
    for parameter in network.parameters():
        if std and parameter.ndim == 2:
            nn.init.normal_(parameter, std=std)
