"""Cells of a recovery grid that are 0 or 1 in any model, by construction.

Nothing is learned about a model from such a cell, so it is marked and never becomes a headline. But
it must be what it is known to be: how far it is from that is a check of the sites themselves.

**0** is what does not see the change, or is not seen at the readout. Every activation depends on
some of the last tokens, and is read at some of the next positions: on its own token and at its own
position alone before layer 0 and behind the last one; on a few more for every short convolution
below or above; and on all of them where a layer remembers for long. So it is 0 before the change
and behind the readout; in what layer 0 computes of tokens that are the same in both runs; in the
output of the last layer at other positions than the readout; in the memory after the readout, which
later positions alone read; and in the long-range memory of a mixer that has none.

**1** is what the whole difference has to pass: the stream before layer 0 at a changed token that is
the only one (of a patch of several positions: where it holds them all), unless a layer is given the
tokens beside it; and that behind the last layer at the readout. If a single layer remembers for
long, as in a model of one layer, then also its memory between change and readout (``cache``), and
the long-range part of it once the convolutions have lost sight of the change (``state``); if it is
the first layer, what its mixer reads and writes at the only changed token; and if it is the last
one, what its mixer adds at the readout.

Shape suffixes: ``P`` pairs, ``T`` positions, ``L`` layers.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mecheval.models.decomposition import Refusal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mecheval.models.contract import SequenceModel
    from mecheval.tasks import Pairs

INPUTS = ("block_in", "mixer_in")
"""What a layer reads at a position."""

OUTPUTS = ("z", "mixer_out", "mlp_out", "block_out")
"""What a layer puts out at a position."""

MEMORY = ("state", "cache")
"""The memory after a position."""

ALL = 2**30
"""More tokens than there are."""


class Anatomy(NamedTuple):
    """How a layer is made.

    Attributes:
        reach: Positions whose signals depend on one position's input, its own included.
        recent: Whether its memory keeps recent inputs beside what it remembers for long.
        remembers: Whether it remembers anything for long.
        gated: Whether what a position writes depends on the memory before it.
        parallel: Whether its feed-forward part stands beside the mixer.
        sees_tokens: Whether it is given something of the tokens beside the stream.
    """

    reach: int = 1
    recent: bool = False
    remembers: bool = True
    gated: bool = False
    parallel: bool = False
    sees_tokens: bool = False


UNKNOWN = Anatomy(reach=ALL, recent=True, gated=True)
"""A layer that does not come apart, and may do anything."""


def anatomy_of(model: SequenceModel) -> tuple[Anatomy, ...]:
    """Return how the layers of a model are made, as far as they come apart."""
    decomposition = model.decomposition()
    if isinstance(decomposition, Refusal):
        return (UNKNOWN,) * model.n_layers
    return tuple(
        UNKNOWN._replace(sees_tokens=layer.beside is not None)
        if layer.mixing.opaque
        else Anatomy(
            reach=layer.mixing.reach,
            recent=bool(layer.mixing.n_recent),
            remembers=bool(layer.mixing.writes) or not layer.mixing.n_recent,
            gated=layer.mixing.gated,
            parallel=layer.parallel,
        )
        for layer in decomposition.layers
    )


def by_construction(
    pairs: Pairs,
    component: str,
    anatomy: Sequence[Anatomy],
    *,
    frozen: bool = False,
    span: int = 1,
) -> np.ndarray:
    """Return the recovery of the trivial cells, which is the same whatever the model does.

    Args:
        pairs: The pairs.
        component: The patched component.
        anatomy: How every layer is made.
        frozen: Whether the memory of layers above the patched one is held.
        span: How many positions are patched at once, from each on.

    Returns:
        0 or 1 where it is known, NaN where the model decides, ``(L, T, P)``.
    """
    places, windows = _Places(pairs, span), Windows(tuple(anatomy))
    known_LTP = np.full((len(anatomy), *places.differs_TP.shape), np.nan)
    held_L = frozen & (np.arange(len(anatomy)) < len(anatomy) - 1)
    for layer, known_TP in enumerate(known_LTP):
        if not held_L[layer]:
            known_TP[_passed(places, component, layer, windows)] = 1.0
        past, ahead = windows.of(component, layer)
        known_TP[~places.sees_change_TP(past) | (places.left_TP > ahead)] = 0.0
        if component in MEMORY:  # read by later positions alone
            known_TP[places.left_TP == 0] = 0.0
    known_LTP[:, places.left_TP < 0] = 0.0
    known_LTP = _joined(known_LTP, span)
    for layer in np.flatnonzero(~held_L).tolist():
        entered_TP = _entered(places, component, layer, windows)
        known_LTP[layer][entered_TP & (known_LTP[layer] != 0)] = 1.0
    return known_LTP


def _joined(known_LTP: np.ndarray, span: int) -> np.ndarray:
    """Return what is known of patches of several positions, of which each is known by itself.

    All that differs has passed if it passes one of them; nothing has if none of them carries any.
    """
    n_positions, joined_LTP = known_LTP.shape[1], known_LTP.copy()
    for ahead in range(1, min(span, n_positions)):
        next_LTP = np.zeros_like(known_LTP)
        next_LTP[:, : n_positions - ahead] = known_LTP[:, ahead:]
        passed_LTP = (joined_LTP == 1) | (next_LTP == 1)
        nothing_LTP = (joined_LTP == 0) & (next_LTP == 0)
        joined_LTP = np.where(passed_LTP, 1.0, np.where(nothing_LTP, 0.0, np.nan))
    return joined_LTP


@dataclass(frozen=True)
class Windows:
    """On how many of the last tokens activations depend, and how far ahead they are read."""

    anatomy: tuple[Anatomy, ...]

    @cached_property
    def past(self) -> list[int]:
        """Return on how many tokens the stream depends, before each layer and behind the last."""
        found = [1]
        for layer in self.anatomy:
            found.append(ALL if layer.remembers else min(ALL, found[-1] + layer.reach - 1))
        return found

    @cached_property
    def ahead(self) -> list[int]:
        """Return how far ahead the stream is read, before each layer and behind the last."""
        found = [0]
        for layer in self.anatomy[::-1]:
            found.append(ALL if layer.remembers else min(ALL, found[-1] + layer.reach - 1))
        return found[::-1]

    def of(self, component: str, layer: int) -> tuple[int, int]:
        """Return how many tokens a component depends on, and how far ahead it is read."""
        own = self.anatomy[layer]
        inputs = self.past[layer], self.ahead[layer]
        outputs = self.past[layer + 1], self.ahead[layer + 1]
        near = min(ALL, inputs[0] + own.reach - 1)
        if component in INPUTS:
            return inputs
        if component == "mlp_out" and own.parallel:
            return inputs[0], outputs[1]
        if component in OUTPUTS:
            return outputs
        if component == "cache":
            return outputs[0], inputs[1]
        if component in ("state", "write") and not own.remembers:
            return 0, 0
        if component == "state" or (component == "write" and own.gated):
            return ALL, ALL
        return near, outputs[1] if component == "q" or not own.remembers else ALL

    @property
    def only_memory(self) -> int | None:
        """Return the layer that alone remembers for long; None for none or several."""
        remembering = [i for i, layer in enumerate(self.anatomy) if layer.remembers]
        return remembering[0] if len(remembering) == 1 else None


@dataclass(frozen=True)
class _Places:
    """Where tokens are changed, and where the answer is read."""

    pairs: Pairs
    span: int = 1

    @cached_property
    def differs_TP(self) -> np.ndarray:
        return (self.pairs.clean.tokens_BT != self.pairs.corrupted.tokens_BT).T

    @cached_property
    def changed_alone_TP(self) -> np.ndarray:
        """Say from where on all changed tokens lie within a patch."""
        here_TP, n = np.zeros(self.differs_TP.shape, int), len(self.differs_TP)
        for ahead in range(min(self.span, n)):
            here_TP[: n - ahead] += self.differs_TP[ahead:]
        return (here_TP > 0) & (here_TP == self.differs_TP.sum(0))

    @cached_property
    def left_TP(self) -> np.ndarray:
        """Return how many positions are left up to the readout."""
        return self.pairs.readout_P - np.arange(len(self.differs_TP))[:, None]

    @cached_property
    def last_P(self) -> np.ndarray:
        """Return the position of the last change."""
        return len(self.differs_TP) - 1 - self.differs_TP[::-1].argmax(0)

    @property
    def behind_TP(self) -> np.ndarray:
        """Return how many positions ago the last change was."""
        return np.arange(len(self.differs_TP))[:, None] - self.last_P

    @property
    def left_behind_P(self) -> np.ndarray:
        """Return how many positions are left from the last change up to the readout."""
        return self.pairs.readout_P - self.last_P

    def sees_change_TP(self, n_tokens: int) -> np.ndarray:
        """Say where one of the last tokens, the own one included, is changed."""
        seen_TP = self.differs_TP.cumsum(0)
        earlier_TP = np.zeros_like(seen_TP)
        earlier_TP[n_tokens:] = seen_TP[: max(0, len(seen_TP) - n_tokens)]
        return seen_TP > earlier_TP


def _passed(places: _Places, component: str, layer: int, windows: Windows) -> np.ndarray:
    """Say which cells of a layer the whole difference has to pass, ``(T, P)``."""
    last = len(windows.anatomy) - 1
    if component == "block_out" and layer == last:
        return places.left_TP == 0
    own, none_TP = windows.anatomy[layer], np.zeros(places.differs_TP.shape, bool)
    if layer != windows.only_memory:
        return none_TP
    past, ahead = windows.past[layer], windows.ahead[layer + 1]
    if component in MEMORY:
        near = own.reach - 1 if component == "state" and own.recent else 0
        return (places.behind_TP >= past - 1 + near) & (places.left_TP > ahead)
    if layer == last and component in ("z", "mixer_out"):
        seen = past if component == "mixer_out" else past + own.reach - 1
        return (places.left_TP == 0) & ~places.sees_change_TP(seen)
    return none_TP


def _entered(places: _Places, component: str, layer: int, windows: Windows) -> np.ndarray:
    """Say from where on a patch of a layer holds all that differs, before it goes anywhere."""
    own, none_TP = windows.anatomy[layer], np.zeros(places.differs_TP.shape, bool)
    if layer != 0:
        return none_TP
    if component == "block_in" and not any(a.sees_tokens for a in windows.anatomy):
        return places.changed_alone_TP
    alone = component == "mixer_in" or (component == "write" and _writes_alone(own))
    if alone and windows.only_memory == 0:
        return places.changed_alone_TP & (places.left_behind_P > windows.ahead[1])
    return none_TP


def _writes_alone(layer: Anatomy) -> bool:
    """Say whether no other position writes anything of a token."""
    return layer.reach == 1 and not layer.gated
