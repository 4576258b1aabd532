"""The runs that activations are put into, and what is read from them.

Shape suffixes: ``P`` runs, ``T`` positions, ``R`` rows (patched runs), ``C`` vocabulary, ``A``
tokens that decide the readout.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, cast

import numpy as np
import torch
from torch import Tensor

from mecheval.errors import UsageError
from mecheval.models import logits
from mecheval.models.admission import keeps_whole
from mecheval.models.wrapping import as_model

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import ArrayLike
    from torch import nn

    from mecheval.models.contract import SequenceModel

Readout = Literal["logit_difference", "log_prob"]


@dataclass(frozen=True)
class BaseRuns:
    """Runs of a model, and for each of them which logits are read where.

    Attributes:
        model: The model, in evaluation mode.
        tokens_PT: Token ids, cut behind the last readout unless the model needs them whole.
        answers_P: Token id whose logit counts.
        foils_P: Token id that it is compared with.
        readout_P: Position at which both are read.
        kind: ``logit_difference`` of answer and foil, or ``log_prob`` of the answer.
        read_last: Whether these and all that they were taken from are read at their last position:
            of other positions it then matters only what they write in the last layer.
    """

    model: SequenceModel
    tokens_PT: Tensor
    answers_P: Tensor
    foils_P: Tensor
    readout_P: Tensor
    kind: Readout
    read_last: bool = False

    @property
    def n_runs(self) -> int:
        """Return the number of runs P."""
        return len(self.tokens_PT)

    @property
    def n_positions(self) -> int:
        """Return the number of positions T."""
        return self.tokens_PT.shape[1]

    @property
    def logits_bytes(self) -> int:
        """Return what all logits of one row take while :meth:`value` reads them."""
        size = next(self.model.parameters()).element_size()
        return self.model.vocab_size * (size + (16 if self.kind == "log_prob" else 0))

    @property
    def row_bytes(self) -> int:
        """Return roughly what one row takes in a whole forward pass, with logits at one position.

        Of the positions that is what a block holds at a time: the stream, a feed-forward part of
        four times its width, keys, queries and values, and copies of them.
        """
        size = next(self.model.parameters()).element_size()
        return 16 * self.model.d_model * size * self.n_positions + self.logits_bytes

    @property
    def n_read(self) -> int:
        """Return the number of positions up to the last readout; no later one changes it."""
        return int(self.readout_P.max()) + 1

    def of(self, tokens_PT: Tensor) -> BaseRuns:
        """Ask the same of other tokens."""
        return replace(self, tokens_PT=tokens_PT)

    def take(self, runs: slice | Sequence[int]) -> BaseRuns:
        """Return some of the runs."""
        fields = ("tokens_PT", "answers_P", "foils_P", "readout_P")
        return replace(self, **{name: getattr(self, name)[runs] for name in fields})

    def value(self, logits_RC: Tensor, run_R: Tensor) -> Tensor:
        """Return the readout ``(R,)`` in float64 from all logits at the readout position.

        Args:
            logits_RC: Logits of some rows.
            run_R: Which run each of them is.
        """
        columns_RA = self.columns(run_R)
        if self.kind == "logit_difference":
            return self.from_columns(logits_RC.gather(1, columns_RA))

        def log_probs(logits_RC: Tensor, rows: slice) -> Tensor:
            return logits_RC.double().log_softmax(-1).gather(1, columns_RA[rows])

        return self.from_columns(logits.read(logits_RC, logits_RC.shape[1], log_probs))

    def read(self, readout: Callable[[Tensor], Tensor], stream_RD: Tensor, run_R: Tensor) -> Tensor:
        """Return the readout ``(R,)`` in float64 from streams after the last block.

        Args:
            readout: Maps streams ``(R, D)`` to all logits ``(R, C)``.
            stream_RD: Streams at the readout position of some rows.
            run_R: Which run each of them is.
        """

        def values(stream_RD: Tensor, rows: slice) -> Tensor:
            return self.value(readout(stream_RD), run_R[rows])

        return logits.read(stream_RD, self.model.vocab_size, values)

    def columns(self, run_R: Tensor) -> Tensor:
        """Return the tokens whose logits decide the readout, ``(R, A)``."""
        tokens = (self.answers_P, self.foils_P)[: 1 if self.kind == "log_prob" else 2]
        return torch.stack([tokens_P[run_R] for tokens_P in tokens], 1)

    def from_columns(self, logits_RA: Tensor) -> Tensor:
        """Return the readout from the logits (or log probabilities) of :meth:`columns`."""
        logits_RA = logits_RA.double()
        return logits_RA[:, 0] if self.kind == "log_prob" else logits_RA[:, 0] - logits_RA[:, 1]


def checked_runs(
    model: SequenceModel | nn.Module,
    tokens: Sequence[ArrayLike | Tensor],
    answers_P: ArrayLike | Tensor,
    foils_P: ArrayLike | Tensor,
    readout_P: ArrayLike | Tensor,
    *,
    kind: Readout,
) -> list[BaseRuns]:
    """Check what the user gave, move it to the model's device, and put it into evaluation mode.

    Args:
        model: The model, or a module that :func:`mecheval.wrap` makes one of.
        tokens: Token ids of equal shape ``(P, T)``: the base runs, and those that donate.
        answers_P: Token id whose logit counts.
        foils_P: Token id that it is compared with.
        readout_P: Position at which both are read.
        kind: What is read.

    Raises:
        UsageError: It is no model, shapes do not agree, a readout lies outside, or a token id does
            not exist.
    """
    model = as_model(model).eval()
    try:
        runs = [_integers(model, given) for given in tokens]
    except ValueError as error:
        raise UsageError(
            "A grid needs token ids in a rectangle (pair, position): every pair of one length. "
            f"Pad nothing; draw pairs of equal length, or make one grid per length ({error})."
        ) from error
    vectors = [_integers(model, given) for given in (answers_P, foils_P, readout_P)]
    shape = runs[0].shape
    agree = len(shape) == 2 and all(run.shape == shape for run in runs)
    if not agree or any(vector.shape != shape[:1] for vector in vectors):
        raise UsageError(
            "A grid needs clean and corrupted tokens of one shape (B, T), and answers, foils and "
            f"readouts of shape (B,); got {[tuple(run.shape) for run in runs]} and "
            f"{[tuple(vector.shape) for vector in vectors]}."
        )
    readout = vectors[2]
    if not len(readout) or not 0 <= int(readout.min()) <= int(readout.max()) < shape[1]:
        raise UsageError(f"A grid needs at least one pair and readouts from 0 to {shape[1] - 1}.")
    for ids in [*runs, *vectors[:2]]:
        check_ids(model, ids)
    answers, foils, _ = vectors
    # Nothing behind the last readout is read, and in most models it decides nothing either.
    end = int(readout.max()) + 1
    if keeps_whole(model, runs[0], end):
        end = shape[1]
    read_last = int(readout.min()) == runs[0][:, :end].shape[1] - 1
    return [BaseRuns(model, run[:, :end], answers, foils, readout, kind, read_last) for run in runs]


def check_ids(model: SequenceModel, ids: Tensor) -> None:
    """Check that a model has all of some token ids.

    Raises:
        UsageError: It has not.
    """
    if int(ids.min()) < 0 or int(ids.max()) >= model.vocab_size:
        raise UsageError(
            f"Token ids of this model go from 0 to {model.vocab_size - 1}; "
            f"got {int(ids.min())} to {int(ids.max())}."
        )


def _integers(model: SequenceModel, values: ArrayLike | Tensor) -> Tensor:
    given = values if isinstance(values, Tensor) else torch.as_tensor(np.asarray(values))
    return cast("Tensor", given).to(model.device).long()
