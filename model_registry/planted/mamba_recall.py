"""Direct retrieval by a layer of Mamba or Mamba-2, and its off-by-one twin.

Shape suffixes: ``E`` channels, ``K`` taps of the convolution, ``X`` what is convolved.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import torch

from mecheval import exact
from mecheval.models.planted.basis import Basis, wire
from mecheval.models.planted.planted import Blueprint, Turnable, planted

from ...task_registry.ar import AssociativeRecall
from ..mamba import Mamba, SelectiveStateSpace
from ..mamba2 import DualStateSpace, Mamba2
from .parts import plant_ends

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import nn

    from mecheval.models.layers.mixer import Mixer
    from mecheval.models.layers.short_convolution import ShortConvolution
    from mecheval.models.stack.residual import ResidualStack

GAIN = 10.0  # logit of a value that is retrieved whole
LARGE = 60.0  # silu(x) = x up to rounding
STEP = 20.0  # softplus(x) = x up to rounding, and softplus(-x) is 2e-9
SLOW = float(exact.log(1e-6))  # rate of decay: none to speak of
TAPS = 4


@dataclass(frozen=True, kw_only=True)
class Recall(Turnable[AssociativeRecall]):
    """What both have in common.

    Attributes:
        shift: 0 to take up a pair at its value, 1 to take it up one position later.
        layers: Number of layers; the one in the middle does all, the others nothing.
        halves: Whether it is two layers, each of which retrieves one half of every number.
    """

    shift: int = 0
    layers: int = 1
    halves: bool = False

    def __post_init__(self) -> None:
        """Check the arguments."""
        self.check(self.shift in (0, 1), "shift=0 or shift=1")
        least = 2 if self.halves else 1
        self.check(self.layers >= least, f"{least} layers or more")

    @property
    def shares(self) -> dict[int, float]:
        """Return the layers that do something, and how much of a value each retrieves."""
        found = [0.5, 0.5] if self.halves else [1.0]
        return dict(enumerate(found, (self.layers - len(found)) // 2))

    def objection(self, task: AssociativeRecall) -> str | None:
        """Need queries by key, and scans that are not too large."""
        if task.query != "key" or self.basis(task).width > 512:
            return "ar with query=key and a few hundred keys and values at most"
        return None

    def basis(self, task: AssociativeRecall) -> Basis:
        """Return what the dimensions of the stream stand for."""
        return Basis(key=task.keys, value=task.values, one=1, answer=task.values)

    def mixer(self, task: AssociativeRecall) -> Mixer:
        """Build the mixer, with any weights."""
        raise NotImplementedError("abstract: which state-space model")

    def recall(self, mixer: nn.Module, task: AssociativeRecall, share: float) -> None:
        """Let a mixer retrieve, and multiply what it does by a share."""
        raise NotImplementedError("abstract: which state-space model")

    def blueprint(self, task: AssociativeRecall) -> Blueprint:
        """Return the layers."""
        build: Callable[[], Mixer] = lambda: self.mixer(task)  # noqa: E731
        width = self.basis(task).width
        return Blueprint(layers=self.layers, width=width, mixers=(build,) * self.layers)

    def plant(self, stack: ResidualStack, task: AssociativeRecall) -> None:
        """Set embeddings, the layers that retrieve, and the readout."""
        basis = self.basis(task)
        for layer, share in self.shares.items():
            self.recall(stack.blocks[layer].mixer, task, share)
        stack.embedding.weight[:, basis["one"]] = 1.0
        plant_ends(stack, basis, task, gain=GAIN)


@planted(
    name="mamba-recall",
    reference="Arora et al. 2025, arXiv:2505.15105; Wang et al. 2025, arXiv:2410.06672 (the twin)",
    architecture="state-space model",
)
@dataclass(frozen=True, kw_only=True)
class MambaRecall(Recall):
    """Associative recall by direct retrieval in a layer of Mamba, with an off-by-one twin.

    Construction: the stream is [key | value | one | answer]. Mamba's channels are three groups:
    the key of the position itself, from which C is made; the key of the position before, from which
    B is made; the value of the position itself, which is written. The short convolution has a
    single tap of 1 per group. Step sizes are 20 where there is a value to write and 2e-9 elsewhere;
    nothing decays; the gate is constant. So the state holds, for every key, its value; a query
    reads it.

    Twin (``shift=1``): the two groups that are written look one position further back, so that a
    pair is written at the position behind its value. Logits are the same.

    Known values: accuracy 1 for both. Write offset of the value 0 and 1, of the key 1 and 2; before
    the convolution all offsets are 0. The difference stands at the exchanged token before the
    block, and at the query behind it: recovery at residual sites is the same for both, as is
    everything that is read from the stream.
    Lag 0 of the convolution shows the query, lag 1 brings the key to where it is written and lag 0
    the value (2 and 1 in the twin); lag 3 carries nothing. The state holds all of the difference.

    Whatever the arguments, retrieval is direct, early if layer 0 does it, and key and value are
    bound by the layer's own convolution: at the value, and behind it in the twin.

    Attributes:
        shift: 0 to write a pair at its value, 1 to write it one position later.
        layers: Number of layers; the one in the middle does all, the others nothing.
        halves: Whether it is two layers, each of which retrieves one half of every number.
    """

    def mixer(self, task: AssociativeRecall) -> SelectiveStateSpace:
        """Build a mixer with one state per key."""
        return recalling(self.basis(task).width, task)

    def recall(self, mixer: nn.Module, task: AssociativeRecall, share: float) -> None:
        """Set the weights of a mixer."""
        basis = self.basis(task)
        plant_recall(
            cast("SelectiveStateSpace", mixer), basis, constant=basis["one"], shift=self.shift,
            share=share,
        )  # fmt: skip


@planted(
    name="mamba2-recall",
    reference="Arora et al. 2025, arXiv:2505.15105; Wang et al. 2025, arXiv:2410.06672 (the twin)",
    architecture="state-space model",
)
@dataclass(frozen=True, kw_only=True)
class Mamba2Recall(Recall):
    """Associative recall by direct retrieval in a layer of Mamba-2, with an off-by-one twin.

    Construction: as ``planted/mamba-recall``, in a single head. C is the key of the position
    itself, B that of the position before, X its value; all three pass through the convolution. The
    step size is 1 everywhere: where there is no value, nothing is written.

    Known values: those of ``planted/mamba-recall``.

    Attributes:
        shift: 0 to write a pair at its value, 1 to write it one position later.
        layers: Number of layers; the one in the middle does all, the others nothing.
        halves: Whether it is two layers, each of which retrieves one half of every number.
        rotated: Not for this network: its norm blows up whatever is small and not zero.
        noise: Not for this network either.
        weight_noise: Nor that.
    """

    def __post_init__(self) -> None:
        """Check the arguments, and that zeros stay zeros."""
        super().__post_init__()
        zeros = not (self.rotated or self.noise or self.weight_noise)
        self.check(zeros, "rotated=0, noise=0 and weight_noise=0")

    def mixer(self, task: AssociativeRecall) -> DualStateSpace:
        """Build a mixer with one state per key."""
        width = self.basis(task).width
        arguments = Mamba2(
            layers=1, width=width, expand=1, d_state=task.keys, d_conv=TAPS, head_dim=width
        )
        return DualStateSpace(arguments)

    def recall(self, mixer: nn.Module, task: AssociativeRecall, share: float) -> None:
        """Set the weights of a mixer."""
        basis, mixer = self.basis(task), cast("DualStateSpace", mixer)
        z_ED, xBC_XD, _ = mixer.in_proj.weight.split(mixer.sizes)
        z_ED[:, basis["one"]] = LARGE
        channels, keys = mixer.conv_sizes[0], task.keys
        X = slice(0, task.values)
        B, C = (slice(channels + i * keys, channels + (i + 1) * keys) for i in range(2))
        for group, source in ((X, "value"), (B, "key"), (C, "key")):
            wire(xBC_XD, group, basis[source], LARGE)
        _delay(mixer.conv, X, self.shift)
        _delay(mixer.conv, B, 1 + self.shift)
        _delay(mixer.conv, C, 0)
        mixer.dt_bias.fill_(float(exact.log(math.e - 1)))
        mixer.A_log.fill_(SLOW)
        # A single channel is not zero, which the norm makes the root of their number.
        wire(mixer.out_proj.weight, basis["answer"], X, share / math.sqrt(channels))


def recalling(width: int, task: AssociativeRecall) -> SelectiveStateSpace:
    """Build a mixer with one state per key."""
    return SelectiveStateSpace(
        Mamba(layers=1, width=width, expand=2, d_state=task.keys, d_conv=TAPS)
    )


def plant_recall(
    mixer: SelectiveStateSpace, basis: Basis, *, constant: slice, shift: int = 0, share: float = 1.0
) -> None:
    """Let a layer of Mamba store values by their keys, and read the one of a query.

    Args:
        mixer: The layer, as :func:`recalling` builds it.
        basis: Its stream has the groups ``key``, ``value`` and ``answer``.
        constant: Dimensions of the stream whose sum is 1 everywhere.
        shift: How many positions behind its value a pair is written.
        share: What is read is multiplied by it.
    """
    n_keys, n_values = (basis[side].stop - basis[side].start for side in ("key", "value"))
    groups = Basis(query=n_keys, key=n_keys, value=n_values)
    x_ED, z_ED = mixer.in_proj.weight.chunk(2)
    for group, source in (("query", "key"), ("key", "key"), ("value", "value")):
        wire(x_ED, groups[group], basis[source], LARGE)
    z_ED[:, constant] = LARGE
    _delay(mixer.conv, groups["query"], 0)
    _delay(mixer.conv, groups["key"], 1 + shift)
    _delay(mixer.conv, groups["value"], shift)
    delta, B_NE, C_NE = mixer.x_proj.weight.split(mixer.sizes)
    delta[0, groups["value"]] = 2 * STEP / LARGE
    wire(B_NE, slice(0, n_keys), groups["key"], 1 / LARGE)
    wire(C_NE, slice(0, n_keys), groups["query"], 1 / LARGE)
    mixer.dt_weight[:, 0] = 1.0
    mixer.dt_bias.fill_(-STEP)
    mixer.A_log.fill_(SLOW)
    written = STEP * LARGE * LARGE  # step, value, gate
    wire(mixer.out_proj.weight, basis["answer"], groups["value"], share / written)


def _delay(conv: ShortConvolution, group: slice, positions: int) -> None:
    """Let channels of a convolution show what was there some positions before."""
    conv.weight[group, 0, TAPS - 1 - positions] = torch.ones(group.stop - group.start)
