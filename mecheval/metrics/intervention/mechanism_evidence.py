"""What is measured for the two questions of a mechanism: shares where key and value meet.

Shape suffixes: ``P`` pairs, ``L`` layers, ``G`` roles, ``R`` resamples, ``S`` places.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mecheval.errors import UsageError
from mecheval.metrics import resampling
from mecheval.metrics.intervention.mechanism_rule import PLACES, Evidence
from mecheval.metrics.intervention.roles import ROLES
from mecheval.metrics.intervention.shares import DIRECTIONS, exchanged_at, known_cells, restored
from mecheval.metrics.results import profile

if TYPE_CHECKING:
    from mecheval.metrics.intervention.shares import Direction, Restored
    from mecheval.metrics.subject import Subject
    from mecheval.reports.schema import Profile
    from mecheval.tasks import Pairs

KIND = "key"
COMPONENTS = ("block_in", "mixer_out", "conv_out")
MEMORY = "state"

_KEY, _VALUE, _NEXT, _QUERY = (ROLES.index(role) for role in ("key", "value", "next_key", "query"))
_BEHIND = PLACES.index("value+1")
_ROLE_OF = {"between": "next_key"}
_AT = [ROLES.index(_ROLE_OF.get(place, place)) for place in PLACES]


@dataclass(frozen=True)
class Measured:
    """Shares with the key exchanged, of pairs whose key stands before its value.

    Attributes:
        found: Of :data:`COMPONENTS` at all roles; of none where only the ends were asked for.
        memory: Of the mixer's memory after the last position before the value, its only role; None
            where the memory cannot be exchanged, or was not asked for.
        no_memory: Why it cannot.
    """

    found: Restored
    memory: Restored | None = None
    no_memory: str | None = None

    def evidence(self, weight_RP: np.ndarray, direction: Direction = "denoising") -> Evidence:
        """Return the shares that the rules are about.

        Args:
            weight_RP: How often each resample holds each pair.
            direction: ``denoising`` for sufficiency, ``noising`` for necessity.
        """
        position_GP = self.found.position_GP
        told_apart_GP = np.ones(position_GP.shape, bool)
        told_apart_GP[_NEXT] = position_GP[_NEXT] < position_GP[_VALUE]
        at_places = self.found.only(told_apart_GP)
        block_in_RLS, mixer_out_RLS, conv_out_RLS = (
            at_places.share(weight_RP, name, direction)[..., _AT] for name in COMPONENTS
        )
        if self.found.spans_G[_KEY] > 1:
            other: Direction = "noising" if direction == "denoising" else "denoising"
            block_in_RLS[..., _BEHIND] = behind(
                at_places.share(weight_RP, "block_in", direction),
                at_places.share(weight_RP, "block_in", other),
            )
        memory_RL = np.full(block_in_RLS.shape[:2], np.nan)
        if self.memory is not None:
            memory_RL = self.memory.share(weight_RP, MEMORY, direction)[..., 0]
        return Evidence(block_in_RLS, mixer_out_RLS, conv_out_RLS, memory_RL)

    def weighed(self, weight_RP: np.ndarray) -> Weighed:
        """Return the shares of all pairs once, and of resamples."""
        once_1P = np.ones((1, len(self.found.clean_P)))
        return Weighed(
            self.evidence(once_1P), self.evidence(once_1P, "noising"), self.evidence(weight_RP),
            self.no_memory,
        )  # fmt: skip

    def memory_profile(self, weight_RP: np.ndarray) -> Profile:
        """Lay out what the memory before the value brings back, and what is lost without it.

        A cell is ``trivial`` if it is the same in any model.

        Raises:
            ValueError: The memory was not exchanged.
        """
        if self.memory is None:
            raise ValueError("the memory was not exchanged")
        once_1P, memory = np.ones((1, len(self.found.clean_P))), self.memory
        value, drawn = (
            np.stack([memory.share(weights, MEMORY, d)[..., 0] for d in DIRECTIONS], 1)
            for weights in (once_1P, weight_RP)
        )
        known_L = (~np.isnan(known_cells(memory, MEMORY)[:, 0])).all(-1)
        return profile(
            {"direction": ["sufficiency", "necessity"], "layer": range(memory.n_layers)},
            value[0],
            resampling.bounds(drawn),
            marks={"trivial": np.broadcast_to(known_L, value[0].shape)},
        )


def behind(share_RLG: np.ndarray, other_RLG: np.ndarray) -> np.ndarray:
    """Return what all from the value on brings back beside value and query alone, ``(R, L)``.

    Two runs that differ from the key on are the same run, the one with the other's stream at the
    key, and the other with the first one's from the value on. So what is brought back there is what
    is not lost without the key.

    Args:
        share_RLG: Of block_in at the roles, in one direction.
        other_RLG: In the other one.
    """
    alone_RL = np.maximum(np.nan_to_num(share_RLG[..., [_VALUE, _QUERY]]), 0.0).sum(-1)
    return 1.0 - other_RLG[..., _KEY] - alone_RL


@dataclass(frozen=True)
class Weighed:
    """Shares as the rules read them.

    Attributes:
        enough: Sufficiency, of every pair once.
        needed: Necessity, likewise.
        drawn: Sufficiency in resamples of pairs.
        no_memory: Why the memory could not be exchanged.
    """

    enough: Evidence
    needed: Evidence
    drawn: Evidence
    no_memory: str | None = None


def ends(subject: Subject, pairs: Pairs) -> Measured:
    """Return the runs as they are, which say whether there is a gap at all."""
    found = restored(subject, pairs, (), kind=KIND)
    return Measured(found.take(in_order(found)))


def measured(subject: Subject, pairs: Pairs) -> Measured:
    """Exchange everything that the rules look at, in both directions.

    The memory is exchanged at a single role, so that it costs a seventh of another component.
    """
    found = restored(subject, pairs, COMPONENTS, kind=KIND)
    in_order_P = in_order(found)
    key = ("memory before the value", pairs.clean.tokens_BT.shape)
    if key not in subject.memo:
        before_P = np.where(in_order_P, found.position_GP[_VALUE] - 1, 0)
        try:
            subject.memo[key] = exchanged_at(subject, found, MEMORY, before_P), None
        except UsageError as error:  # no engine for this model: it cannot be seen, and that is said
            subject.memo[key] = None, str(error)
    memory, no_memory = subject.memo[key]
    return Measured(
        found.take(in_order_P), None if memory is None else memory.take(in_order_P), no_memory
    )


def in_order(found: Restored) -> np.ndarray:
    """Say which pairs have a key before their value, ``(P,)``."""
    key_P, value_P = found.position_GP[_KEY], found.position_GP[_VALUE]
    return (key_P >= 0) & (key_P < value_P)
