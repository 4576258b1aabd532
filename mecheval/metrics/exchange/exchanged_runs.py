"""Test sequences, those that give to them, and what is answered when they have.

Shape suffixes: ``B`` test sequences, ``T`` positions, ``J`` draws of donors, ``G`` groups of draws,
``R`` rows (a draw on a sequence), ``A`` answers, ``L`` layers 0 to n.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from mecheval.metrics.exchange.donors import donors_by
from mecheval.tasks.floors import first_position

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mecheval.metrics.subject import Subject
    from mecheval.tasks import Batch


_HELPS = 0.9
"""Twice as many sequences must leave at most this part of the positions without a donor so."""

_FEW, _HARDLY_ANY = 750, 0.005
"""So many sequences are enough where they leave at most this share of positions without a donor."""


class Exchanging(Protocol):
    """Runs that get something at a layer from others."""

    def logits(self, layer: int, donor_RT: np.ndarray, row_R: np.ndarray) -> np.ndarray:
        """Return the logits of the answers ``(R, T, A)``, given the donor of every position."""
        ...

    def unchanged(self, layer: int, donor_RT: np.ndarray, row_R: np.ndarray) -> bool:
        """Say whether what every row gets there is its own."""
        ...


@dataclass(frozen=True)
class ExchangedRuns:
    """Test sequences and the pool of donors.

    Attributes:
        subject: The model on its task.
        batch: The test sequences; each has a scored position behind ``first_position``.
        pool: Sequences of the training split: none of them is one of the test's.
    """

    subject: Subject
    batch: Batch
    pool: Batch

    @property
    def first(self) -> int:
        """Return the first position at which answers count.

        Before it the last symbols tell the state: the donors of a position of the same symbol are
        then of the same state, and there is nothing to exchange.
        """
        return first_position(self.subject.length)

    def too_few(self, missing: float, **sizes: int) -> str:
        """Say that positions have no donor, and what gives more of them.

        Args:
            missing: Their share.
            **sizes: As for :meth:`Subject.gives_more`.
        """
        return (
            f"{missing:.1%} of the positions have no donor among {len(self.pool)} sequences: "
            f"{self.subject.gives_more(**sizes)}"
        )

    @cached_property
    def scored_BT(self) -> np.ndarray:
        """Say which answers count."""
        return self.subject.counting(self.batch)

    @cached_property
    def clean_B(self) -> np.ndarray:
        """Return the share of right answers per sequence, as the model is."""
        return self.shares(self.subject.predict(self.batch)[None])[0]

    def shares(self, predictions_JBT: np.ndarray) -> np.ndarray:
        """Return the share of right answers of every draw on every sequence, ``(J, B)``."""
        right_JBT = (predictions_JBT == self.batch.targets_BT) & self.scored_BT
        return right_JBT.sum(-1) / self.scored_BT.sum(-1)

    def answered(
        self, exchanging: Exchanging, layer: int, donors: Sequence[np.ndarray]
    ) -> list[np.ndarray]:
        """Return the share of right answers ``(J, B)`` of several groups of draws at a layer.

        They go through the later layers side by side. Where no row gets anything but its own, as
        at the embedding, all are answered alike, and once.

        Args:
            exchanging: Who exchanges.
            layer: Where.
            donors: The donor of every position ``(J, B, T)`` in every draw, of each group.
        """
        n, ends = len(self.batch), np.cumsum([len(donor_JBT) for donor_JBT in donors])
        donor_RT = np.concatenate(donors).reshape(-1, self.batch.n_positions)
        row_R = np.tile(np.arange(n), ends[-1])
        if layer == 0 and exchanging.unchanged(layer, donor_RT, row_R):
            own_1B = self._right(exchanging, layer, donor_RT[:n], row_R[:n])
            return [np.repeat(own_1B, len(donor_JBT), 0) for donor_JBT in donors]
        return np.split(self._right(exchanging, layer, donor_RT, row_R), ends[:-1])

    def _right(
        self, exchanging: Exchanging, layer: int, donor_RT: np.ndarray, row_R: np.ndarray
    ) -> np.ndarray:
        logits_RTA = exchanging.logits(layer, donor_RT, row_R)
        predictions_RT = self.subject.answers_A[logits_RTA.argmax(-1)]
        return self.shares(predictions_RT.reshape(-1, *self.batch.tokens_BT.shape))


def exchanged_runs(
    subject: Subject, tuples: Sequence[Sequence[str]], params: Mapping[str, Any]
) -> ExchangedRuns:
    """Draw the sequences of an exchange.

    Args:
        subject: The model on its task.
        tuples: Names of the variables that donors will agree in, of every tuple.
        params: Parameters of the metric.
    """
    batch = subject.asked(params["n_sequences"])
    return ExchangedRuns(subject, batch, _pool(subject, batch, tuples, params))


def _pool(
    subject: Subject, batch: Batch, tuples: Sequence[Sequence[str]], params: Mapping[str, Any]
) -> Batch:
    """Draw sequences that give: few, if hardly a position is without a donor then.

    Otherwise as many as are asked for, or twice as many as long as this brings donors, if it brings
    enough. Where states are many, few sequences hold one of the same state and token at a position.
    """

    def drawn(n: int) -> tuple[Batch, float]:
        pool = subject.examples("train", n, purpose="exchange")
        return pool, max(donors_by(pool, batch, names).missing for names in ((), *tuples))

    n, before = params["n_pool"], 1 / _HELPS
    few, missing = drawn(min(n, _FEW))
    if missing <= _HARDLY_ANY:
        return few
    asked, missing = drawn(n)
    pool = asked
    while missing > params["max_missing"]:
        n *= 2
        more = n <= params["n_pool_most"] and subject.cut(n) > len(pool)
        if not more or missing > _HELPS * before:
            return asked
        before = missing
        pool, missing = drawn(n)
    return pool
