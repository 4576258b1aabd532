"""Running a model with something erased at one layer, at all positions.

Shape suffixes: ``B`` sequences, ``T`` positions, ``A`` answers, ``D`` residual width, ``K`` rank of
an eraser, ``J`` erasers, ``R`` rows (an eraser on a sequence), ``N`` some of them.
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
from mecheval.metrics.bottleneck.information import NOT_ASKED
from mecheval.tasks.batch import UNSCORED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mecheval.metrics.bottleneck.erasers import Eraser
    from mecheval.metrics.subject import Subject
    from mecheval.tasks import Batch


class Answered(NamedTuple):
    """What some sequences are answered.

    Attributes:
        token: Share of right answers over the scored positions at which erasure is checked, one
            per sequence.
        last: The same at the readout.
        given: Which of the task's answers is given at these positions, by its index, ``(B, T)``;
            :data:`mecheval.metrics.bottleneck.information.NOT_ASKED` elsewhere.
    """

    token: np.ndarray
    last: np.ndarray
    given: np.ndarray


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
        n_per_null: Sequences per eraser of a null.
    """

    subject: Subject
    batch: Batch
    n_per_null: int

    @cached_property
    def target_BT(self) -> np.ndarray:
        """Return the index of the right answer at every position at which erasure is checked."""
        targets_BT, answers_A = self.batch.targets_BT, self.subject.answers_A
        order_A = np.argsort(answers_A)
        place_BT = np.searchsorted(answers_A[order_A], targets_BT).clip(max=len(answers_A) - 1)
        return np.where(self.subject.counting(self.batch), order_A[place_BT], NOT_ASKED)

    @cached_property
    def clean(self) -> Answered:
        """Answer all sequences without erasure."""
        row_B, read_BT = np.arange(len(self.batch)), self.batch.targets_BT != UNSCORED
        read_BT[row_B, self.batch.roles["readout"]] = True
        logits_BTA = answer_logits(
            self.subject.model, self.batch.tokens_BT, self.subject.answers_A,
            read_BT=read_BT, batch_size=self.subject.batch_size,
        )  # fmt: skip
        return self.answered(logits_BTA, row_B)

    def answers(self, layer: int, eraser: Eraser) -> Answered:
        """Answer all sequences with one eraser at a layer."""
        return self.tried(layer, [self.on_all(eraser)])[0]

    def on_all(self, eraser: Eraser) -> Trial:
        """Return a trial of one eraser on all sequences."""
        return Trial([eraser], np.arange(len(self.batch))[None])

    def on_some(self, erasers: Sequence[Eraser]) -> Trial:
        """Return a trial of each eraser on a share of the sequences, of which all take turns."""
        n, per = len(self.batch), min(self.n_per_null, len(self.batch))
        start_J1 = per * np.arange(len(erasers))[:, None]
        return Trial(erasers, (start_J1 + np.arange(per)) % n)

    def spread(self, trial: Trial, answered: Answered) -> np.ndarray:
        """Return the answers ``(J, B, T)``; not asked of sequences that an eraser did not try."""
        n_erasers, per = trial.row_JN.shape
        given_JBT = np.full((n_erasers, *self.target_BT.shape), NOT_ASKED)
        given_JNT = answered.given.reshape(n_erasers, per, -1)
        given_JBT[np.arange(n_erasers)[:, None], trial.row_JN] = given_JNT
        return given_JBT

    def tried(self, layer: int, trials: Sequence[Trial]) -> list[Answered]:
        """Answer the sequences of all trials at a layer, side by side, eraser by eraser."""
        row_R = np.concatenate([trial.row_JN.ravel() for trial in trials])
        change = row_erasers(trials, self.subject)
        answered = self.answered(self.stream_edits.logits(layer, row_R, change), row_R)
        return split(answered, trials)

    @cached_property
    def stream_edits(self) -> StreamEdits:
        """Return the base runs, which are taken up at a layer."""
        return StreamEdits(
            self.subject.model, self.batch.tokens_BT, self.subject.answers_A,
            batch_size=self.subject.batch_size,
        )  # fmt: skip

    def answered(self, logits_RTA: np.ndarray, row_R: np.ndarray) -> Answered:
        """Hold the likeliest answers of rows, each of a sequence, against the targets."""
        given_RT, target_RT = logits_RTA.argmax(-1), self.target_BT[row_R]
        checked_RT = target_RT != NOT_ASKED
        token_R = ((given_RT == target_RT) & checked_RT).sum(1) / checked_RT.sum(1)
        every_R, readout_R = np.arange(len(row_R)), self.batch.roles["readout"][row_R]
        last_R = self.subject.answers_A[given_RT[every_R, readout_R]]
        right_R = last_R == self.batch.target_at("readout")[row_R]
        given_RT = np.where(checked_RT, given_RT, NOT_ASKED)
        return Answered(token_R, right_R.astype(np.float64), given_RT)


def erased_runs(subject: Subject, n: int, n_per_null: int) -> ErasedRuns:
    """Draw the test sequences of an erasure experiment."""
    return ErasedRuns(subject, subject.asked(n), n_per_null)


def split(answered: Answered, trials: Sequence[Trial]) -> list[Answered]:
    """Return what belongs to each trial, whose rows stand one behind the other."""
    ends = np.cumsum([trial.row_JN.size for trial in trials])[:-1]
    return [Answered(*parts) for parts in zip(*(np.split(x, ends) for x in answered), strict=True)]


def row_erasers(trials: Sequence[Trial], subject: Subject) -> RowErasers:
    """Return what applies to every row of trials the eraser that belongs to it."""
    erasers = [eraser for trial in trials for eraser in trial.erasers]
    sizes = [trial.row_JN.shape[1] for trial in trials for _ in trial.erasers]
    return RowErasers(erasers, np.repeat(np.arange(len(erasers)), sizes), subject)


class RowErasers:
    """Applies to every row the eraser that belongs to it."""

    def __init__(self, erasers: Sequence[Eraser], eraser_R: np.ndarray, subject: Subject) -> None:
        """Put the erasers on the subject's device; ``eraser_R`` says which belongs to each row."""
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
        """Return the streams of some rows without what is erased."""
        eraser_N = self.eraser_R[rows]
        centred_NTD = stream_NTD.float() - self.mean_JD[eraser_N, None]
        amount_NTK = torch.bmm(centred_NTD, self.right_JDK[eraser_N])
        removed_NTD = torch.bmm(amount_NTK, self.left_JDK[eraser_N].transpose(1, 2))
        return stream_NTD - removed_NTD.to(stream_NTD.dtype)
