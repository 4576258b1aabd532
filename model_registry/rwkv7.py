"""RWKV-7 "Goose": decays and removals channel by channel (Peng et al. 2025, arXiv:2503.14456).

Glossary (paper -> code): the token shift and its six mixtures mu -> ``shift``; r, k, v ->
``receptance``, ``key``, ``value``; w = exp(-e^(-1/2) sigmoid(d)) -> ``exp(log_decay)``, with d from
``decay_in``, tanh, ``decay_out`` and ``decay_bias``; the in-context learning rate a -> ``rate``,
from ``rate_in``, ``rate_out`` and ``rate_bias``; the removal key kappa, scaled to length 1 ->
``kappa``, which is the key times xi -> ``removal``; the replacement key, k (1 + (a - 1) alpha) with
alpha -> ``replacement``; wkv -> the state ``(B, H, K, V)``, transposed here, which
:func:`.dplr_delta_rule` runs on; the gate g -> ``gate_in``, sigmoid, ``gate_out``; the bonus
rho -> ``bonus``; W_o -> ``out``, behind a norm of what each head reads.
Differences from the paper: no value residual, which mixes the first layer's values into those of
later layers (a mixer sees its own input only); the feed-forward part is the package's, GELU without
token shift, in the place of squared ReLU with one; the norm of a head has no parameters; one rank
for all low-rank matrices, which do not start at 0; ``bonus`` starts at 0.

Official implementation: https://github.com/BlinkDL/RWKV-LM

Shape suffixes: ``B`` examples, ``T`` positions, ``D`` width, ``H`` heads, ``K`` width of a key,
``V`` width of a value, ``X`` six mixtures of the width each.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from mecheval import exact
from mecheval.models.contract import Tap
from mecheval.models.kernels.dplr_delta_rule import Writes, dplr_delta_rule
from mecheval.models.kernels.fla import choose_linear
from mecheval.models.layers.linear import projection
from mecheval.models.layers.mixer import Mixer
from mecheval.models.mixing import Edit, Signals, State, Written, unchanged
from mecheval.models.stack.architecture import model
from mecheval.models.stack.arguments import LinearAttentionArchitecture

if TYPE_CHECKING:
    from mecheval.models.kernels.scan import Kernel

STRONGEST_DECAY = math.exp(-0.5)
NORM_EPSILON = 64e-5
MIXED = {"r": 0.2, "k": 0.7, "v": 0.7, "w": 0.9, "a": 0.9, "g": 0.2}
"""What there is a mixture for, and how steeply its share of the past falls over the channels."""


class TokenShift(nn.Module):
    """Six mixtures of an input with the one before, each with shares of its own per channel."""

    def __init__(self, width: int, share: float) -> None:
        """Start from shares of the past that fall over the channels, from all to almost none.

        Args:
            width: Width D of the input.
            share: How steeply they fall: 1 in the first layer, towards 0 in the last.
        """
        super().__init__()
        place_D = np.arange(width) / width
        shares = [1 - exact.power(place_D, power * share) for power in MIXED.values()]
        self.past = nn.Parameter(torch.from_numpy(np.stack(shares)).float())

    def forward(self, normed_BTD: Tensor, before_B1D: Tensor | None) -> Tensor:
        """Return the mixtures side by side, ``(B, T, X)``."""
        if before_B1D is None:
            before_B1D = torch.zeros_like(normed_BTD[:, :1])
        back_BTD = torch.cat([before_B1D, normed_BTD[:, :-1]], 1) - normed_BTD
        return torch.addcmul(normed_BTD[..., None, :], back_BTD[..., None, :], self.past).flatten(2)


class TimeMixing(Mixer):
    """A matrix per head, whose channels decay, and forget what a key held, each at its own rate."""

    reach, n_recent = 2, 1
    writes = ("log_decay", "kappa", "a", "k", "v")

    def __init__(self, arguments: RWKV7, layer: int) -> None:
        """Draw the weights."""
        super().__init__()
        width, rank = arguments.width, arguments.rank
        self.heads = arguments.heads
        self.kernel: Kernel = arguments.kernel
        self.shift = TokenShift(width, 1 - layer / arguments.layers)
        self.receptance, self.key, self.value = (projection(width, width) for _ in range(3))
        self.decay_in, self.decay_out = projection(width, rank), projection(rank, width, scale=0.1)
        depth = layer / max(arguments.layers - 1, 1)
        spread_D = exact.power(np.arange(width) / max(width - 1, 1), 0.85 + math.sqrt(depth))
        self.decay_bias = nn.Parameter(torch.from_numpy(5 * spread_D - 6.5).float())
        self.rate_in, self.rate_out = projection(width, rank), projection(rank, width, scale=0.1)
        self.rate_bias = nn.Parameter(torch.zeros(width))
        self.gate_in, self.gate_out = projection(width, rank), projection(rank, width)
        self.removal = nn.Parameter(torch.full((width,), 0.85))
        self.replacement = nn.Parameter(torch.ones(width))
        self.bonus = nn.Parameter(torch.zeros(width))
        self.out = projection(width, width, scale=arguments.residual_scale)

    def project(self, normed_BTD: Tensor, state: State, *, edit: Edit = unchanged) -> Signals:
        """Mix with the input before, which is the first part of the state, and project."""
        mixed_BTX = edit("conv_out", self.shift(normed_BTD, state[0] if state else None))
        mixed = dict(zip(MIXED, mixed_BTX.chunk(len(MIXED), -1), strict=True))
        q_BTHK = self._heads(edit("q", self.receptance(mixed["r"])))
        k_BTD = edit("k", self.key(mixed["k"]))
        decay_BTD = self.decay_bias + self.decay_out(self.decay_in(mixed["w"]).tanh())
        rate_BTD = (self.rate_bias + self.rate_out(self.rate_in(mixed["a"]))).sigmoid()
        return {
            "normed": normed_BTD,
            "q": q_BTHK,
            "log_decay": self._heads(-STRONGEST_DECAY * decay_BTD.sigmoid()),
            "kappa": functional.normalize(self._heads(k_BTD * self.removal), dim=-1),
            "a": self._heads(rate_BTD),
            "k": self._heads(k_BTD * (1 + (rate_BTD - 1) * self.replacement)),
            "v": self._heads(edit("v", self.value(mixed["v"]))),
            "gate": self.gate_out(self.gate_in(mixed["g"]).sigmoid()),
        }

    def mix(self, signals: Signals, state: State) -> tuple[Tensor, State]:
        """Run the matrices on, and read them; they are the last part of the state."""
        y_BTHV, last_BHKV = self._remember(signals["q"], self.written(signals, state), state)
        recent_B1D = signals["normed"][:, -1:].clone()  # a view would keep all positions
        return self._answer(signals, y_BTHV), (recent_B1D, last_BHKV)

    def advance(self, signals: Signals, state: State) -> State:
        """Run the matrices on without reading them."""
        written = self.written(signals, state)
        _, last_BHKV = self._remember(None, written, state)
        return signals["normed"][:, -1:].clone(), last_BHKV

    def reread(self, signals: Signals, written: Written, state: State) -> Tensor:
        """Run the matrices on with what was written; receptance, bonus and gate stay."""
        return self.out(self._answer(signals, self._remember(signals["q"], written, state)[0]))

    def taps(self) -> dict[str, Tap]:
        """Return the mixtures, receptance, keys and values, and what the heads read."""
        width, holds = self.out.in_features, f"token-shift mixtures {' '.join(MIXED)}"
        return {
            "conv_out": Tap(self.shift, "output", "shift", len(MIXED) * width, holds=holds),
            "q": Tap(self.receptance, "output", "receptance", width),
            "k": Tap(self.key, "output", "key", width),
            "v": Tap(self.value, "output", "value", width),
            "z": Tap(self.out, "input", "out", width),
        }

    def _heads(self, value_BTD: Tensor) -> Tensor:
        return value_BTD.unflatten(-1, (self.heads, -1))

    def _remember(
        self, q_BTHK: Tensor | None, written: Written, state: State
    ) -> tuple[Tensor, Tensor]:
        log_decay_BTHK, kappa_BTHK, a_BTHK, k_BTHK, v_BTHV = written
        chosen = choose_linear(self.kernel, v_BTHV)
        self.kernels = (f"generalised_delta_rule:{chosen}",)
        return dplr_delta_rule(
            q_BTHK, Writes(log_decay_BTHK, kappa_BTHK, a_BTHK * kappa_BTHK, k_BTHK, v_BTHV),
            state_BHKV=state[1] if state else None, implementation=chosen,
        )  # fmt: skip

    def _answer(self, signals: Signals, y_BTHV: Tensor) -> Tensor:
        q_BTHK, k_BTHK, v_BTHV = (signals[name] for name in ("q", "k", "v"))
        y_BTHV = functional.layer_norm(y_BTHV, y_BTHV.shape[-1:], eps=NORM_EPSILON)
        own_BTH1 = (q_BTHK * k_BTHK * self.bonus.unflatten(0, (self.heads, -1))).sum(-1, True)
        return (y_BTHV + own_BTH1 * v_BTHV).flatten(2) * signals["gate"]


@model(
    name="rwkv7",
    reference="Peng et al. 2025, arXiv:2503.14456",
    architecture="linear attention",
)
@dataclass(frozen=True, kw_only=True)
class RWKV7(LinearAttentionArchitecture):
    """A matrix memory with decays and removals per channel, behind a token shift.

    Attributes:
        rank: Rank of the matrices that decays, rates and gates come from.
    """

    rank: int = 32

    def __post_init__(self) -> None:
        """Check the arguments."""
        super().__post_init__()
        self.check(self.width > self.heads, "heads of more than one channel")
        self.check(self.rank >= 1, "rank of at least 1")

    def mixer(self, layer: int) -> TimeMixing:
        """Build the time mixing of a layer."""
        return TimeMixing(self, layer)
