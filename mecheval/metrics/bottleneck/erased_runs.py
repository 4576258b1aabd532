"""Running a model with something erased at one layer, at all positions.

Shape suffixes: ``B`` sequences, ``T`` positions, ``D`` residual width, ``K`` rank of an eraser,
``J`` erasers, ``R`` rows (an eraser on a sequence), ``N`` some of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

from mecheval.interventions import answer_logits
from mecheval.interventions.stream_edits import StreamEdits
from mecheval.tasks.batch import UNSCORED
from mecheval.tasks.floors import first_position

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mecheval.metrics.bottleneck.erasers import Eraser
    from mecheval.metrics.subject import Subject
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
class Trial:
    """Some erasers of one layer, each with the sequences that it is tried on.

    Attributes:
        erasers: The erasers.
        row_JN: Indices of their sequences.
    """

    erasers: Sequence[Eraser]
    row_JN: np.ndarray


@dataclass(frozen=True)
class ErasedRuns:
    """Test sequences, and how they are answered under erasure.

    Layers count from 0, the embedding, to the number of blocks.

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
        row_B, read_BT = np.arange(len(self.batch)), self.batch.targets_BT != UNSCORED
        read_BT[row_B, self.batch.roles["readout"]] = True
        logits_BTA = answer_logits(
            self.subject.model, self.batch.tokens_BT, self.subject.answers_A,
            read_BT=read_BT, batch_size=self.subject.batch_size,
        )  # fmt: skip
        return self._right(logits_BTA, row_B)

    def answers(self, layer: int, eraser: Eraser) -> Right:
        """Answer all sequences with one eraser at a layer."""
        return self.tried(layer, [self.on_all(eraser)])[0]

    def on_all(self, eraser: Eraser) -> Trial:
        """Return a trial of one eraser on all sequences."""
        return Trial([eraser], np.arange(len(self.batch))[None])

    def on_some(self, erasers: Sequence[Eraser]) -> Trial:
        """Return a trial of each eraser on a share of the sequences, of which all take turns."""
        n, per = len(self.batch), min(self.n_per_random, len(self.batch))
        start_J1 = per * np.arange(len(erasers))[:, None]
        return Trial(erasers, (start_J1 + np.arange(per)) % n)

    def spread(self, trial: Trial, right: Right) -> np.ndarray:
        """Return token shares ``(J, B)``; NaN for sequences that an eraser was not tried on."""
        share_JB = np.full((len(trial.erasers), len(self.batch)), np.nan)
        shares_JN = right.token.reshape(trial.row_JN.shape)
        np.put_along_axis(share_JB, trial.row_JN, shares_JN, axis=1)
        return share_JB

    def tried(self, layer: int, trials: Sequence[Trial]) -> list[Right]:
        """Answer the sequences of all trials at a layer, side by side, eraser by eraser."""
        erasers = [eraser for trial in trials for eraser in trial.erasers]
        sizes = [trial.row_JN.shape[1] for trial in trials for _ in trial.erasers]
        row_R = np.concatenate([trial.row_JN.ravel() for trial in trials])
        change = _RowErasers(erasers, np.repeat(np.arange(len(erasers)), sizes), self.subject)
        right = self._right(self._stream_edits.logits(layer, row_R, change), row_R)
        ends = np.cumsum([trial.row_JN.size for trial in trials])[:-1]
        return [Right(*parts) for parts in zip(*(np.split(x, ends) for x in right), strict=True)]

    @cached_property
    def _stream_edits(self) -> StreamEdits:
        return StreamEdits(
            self.subject.model, self.batch.tokens_BT, self.subject.answers_A,
            batch_size=self.subject.batch_size,
        )  # fmt: skip

    def _right(self, logits_RTA: np.ndarray, row_R: np.ndarray) -> Right:
        targets_RT = self.batch.targets_BT[row_R]
        right_RT = self.subject.answers_A[logits_RTA.argmax(-1)] == targets_RT
        first = first_position(self.subject.length)
        scored_RT = (targets_RT != UNSCORED)[:, first:]
        token_R = (right_RT[:, first:] & scored_RT).sum(1) / scored_RT.sum(1)
        readout_R = self.batch.roles["readout"][row_R]
        return Right(token_R, right_RT[np.arange(len(row_R)), readout_R].astype(np.float64))


def erased_runs(subject: Subject, n: int, n_per_random: int) -> ErasedRuns:
    """Draw the test sequences of an erasure experiment."""
    batch = subject.test(subject.length, n)
    scored_BT = (batch.targets_BT != UNSCORED)[:, first_position(subject.length) :]
    return ErasedRuns(subject, batch.take(scored_BT.any(1)), n_per_random)


class _RowErasers:
    """Applies to every row the eraser that belongs to it."""

    def __init__(self, erasers: Sequence[Eraser], eraser_R: np.ndarray, subject: Subject) -> None:
        most = max(eraser.rank for eraser in erasers)

        def on_device(arrays: list[np.ndarray]) -> Tensor:
            # Directions of zeros remove nothing: all ranks fit into one product.
            filled = [np.pad(x_DK, [(0, 0), (0, most - x_DK.shape[1])]) for x_DK in arrays]
            return torch.as_tensor(np.stack(filled), dtype=torch.float32, device=device)

        device = subject.model.device
        means = np.stack([eraser.mean_D for eraser in erasers])
        self.mean_JD = torch.as_tensor(means, dtype=torch.float32, device=device)
        self.left_JDK = on_device([eraser.left_DK for eraser in erasers])
        self.right_JDK = on_device([eraser.right_DK for eraser in erasers])
        self.eraser_R = torch.as_tensor(eraser_R, device=device)

    def __call__(self, stream_NTD: Tensor, rows: slice) -> Tensor:
        eraser_N = self.eraser_R[rows]
        centred_NTD = stream_NTD.float() - self.mean_JD[eraser_N, None]
        amount_NTK = torch.bmm(centred_NTD, self.right_JDK[eraser_N])
        removed_NTD = torch.bmm(amount_NTK, self.left_JDK[eraser_N].transpose(1, 2))
        return stream_NTD - removed_NTD.to(stream_NTD.dtype)
