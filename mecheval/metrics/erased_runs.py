"""Running a model with something erased at one layer, at all positions.

Shape suffixes: ``B`` sequences, ``T`` positions, ``D`` residual width, ``K`` rank of an eraser,
``J`` erasers, ``N`` rows of a batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

from mecheval.interventions import answer_logits
from mecheval.tasks.batch import UNSCORED
from mecheval.tasks.floors import first_position

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mecheval.metrics.erasers import Eraser
    from mecheval.metrics.subject import Subject
    from mecheval.models.sites import Site
    from mecheval.tasks import Batch


class Right(NamedTuple):
    """Share of right answers per sequence, shape ``(B,)`` each.

    Attributes:
        token: Over the scored positions at which erasure is checked.
        last: At the readout.
    """

    token: np.ndarray
    last: np.ndarray


@dataclass(frozen=True)
class ErasedRuns:
    """Test sequences, and how they are answered under erasure.

    Attributes:
        subject: The model on its task.
        batch: The sequences; each has a scored position behind ``first_position``.
        n_per_random: Sequences per random subspace.
    """

    subject: Subject
    batch: Batch
    n_per_random: int

    @cached_property
    def clean(self) -> Right:
        """Answer all sequences without erasure."""
        return self._right(self.batch, {})

    def answers(self, site: Site, eraser: Eraser) -> Right:
        """Answer all sequences with one eraser at a site."""
        edit = _RowErasers([eraser], np.zeros(len(self.batch), np.int64), self.subject)
        return self._right(self.batch, {site: edit})

    def random_answers(self, site: Site, erasers: Sequence[Eraser]) -> np.ndarray:
        """Answer a share of the sequences with each eraser, all in one batch of rows.

        Returns:
            Token shares ``(J, B)``; NaN for sequences that an eraser was not tried on. Every
            sequence is tried with about the same number of erasers.
        """
        n, per = len(self.batch), min(self.n_per_random, len(self.batch))
        start_J1 = per * np.arange(len(erasers))[:, None]
        row_JN = (start_J1 + np.arange(per)) % n
        eraser_of_row = np.repeat(np.arange(len(erasers)), per)
        edit = _RowErasers(erasers, eraser_of_row, self.subject)
        right = self._right(self.batch.take(row_JN.ravel()), {site: edit})
        share_JB = np.full((len(erasers), n), np.nan)
        np.put_along_axis(share_JB, row_JN, right.token.reshape(row_JN.shape), axis=1)
        return share_JB

    def _right(self, batch: Batch, edits: dict) -> Right:
        answers_A = self.subject.answers_A
        logits_BTA = answer_logits(
            self.subject.model,
            batch.tokens_BT,
            answers_A,
            edits=edits,
            batch_size=self.subject.batch_size,
        )
        right_BT = answers_A[logits_BTA.argmax(-1)] == batch.targets_BT
        first = first_position(self.subject.length)
        scored_BT = (batch.targets_BT != UNSCORED)[:, first:]
        token_B = (right_BT[:, first:] & scored_BT).sum(1) / scored_BT.sum(1)
        readout_B = batch.roles["readout"]
        return Right(token_B, right_BT[np.arange(len(batch)), readout_B].astype(np.float64))


def erased_runs(subject: Subject, n: int, n_per_random: int) -> ErasedRuns:
    """Draw the test sequences of an erasure experiment."""
    batch = subject.test(subject.length, n)
    scored_BT = (batch.targets_BT != UNSCORED)[:, first_position(subject.length) :]
    return ErasedRuns(subject, batch.take(scored_BT.any(1)), n_per_random)


class _RowErasers:
    """An edit that applies to every row of the tokens the eraser that belongs to it.

    The engine passes the rows in order, some at a time.
    """

    def __init__(
        self, erasers: Sequence[Eraser], eraser_of_row: np.ndarray, subject: Subject
    ) -> None:
        def on_device(name: str) -> Tensor:
            stacked = np.stack([getattr(eraser, name) for eraser in erasers])
            return torch.as_tensor(stacked, dtype=torch.float32, device=subject.model.device)

        self.mean_JD, self.left_JDK = on_device("mean_D"), on_device("left_DK")
        self.right_JDK = on_device("right_DK")
        self.eraser_of_row = torch.as_tensor(eraser_of_row, device=subject.model.device)
        self.done = 0

    def __call__(self, stream_NTD: Tensor) -> Tensor:
        eraser_N = self.eraser_of_row[self.done : self.done + len(stream_NTD)]
        self.done += len(stream_NTD)
        centred_NTD = stream_NTD.float() - self.mean_JD[eraser_N, None]
        amount_NTK = torch.bmm(centred_NTD, self.right_JDK[eraser_N])
        removed_NTD = torch.bmm(amount_NTK, self.left_JDK[eraser_N].transpose(1, 2))
        return stream_NTD - removed_NTD.to(stream_NTD.dtype)
