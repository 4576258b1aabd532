"""What the answers cost when a site holds something else at all positions.

Shape suffixes: ``U`` sequences, ``B`` some of them, ``T`` positions, ``V`` some of these, ``X``
numbers of a row that are replaced, ``W`` all of them, ``M`` places (a position of a sequence),
``G`` groups, ``A`` answer tokens.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.special import logsumexp

from mecheval.interventions.replaced_sites import ReplacedSites
from mecheval.tasks.batch import UNSCORED
from mecheval.tasks.splits import draw

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from mecheval.dictionaries import Dictionary
    from mecheval.interventions.replaced_sites import Component
    from mecheval.metrics.subject import Subject
    from mecheval.tasks import Batch

    Put = Callable[[Tensor, Tensor], Tensor]
    """Maps rows ``(M, X)`` and their symbols ``(M,)`` to what is put in their place."""

CLEAN, MEAN, ZERO, SYMBOL = "clean", "mean", "zero", "symbol"
"""The site as it is; and with the mean of all rows, zeros, or the means of symbols in its place."""

_LOGITS = 1 << 24  # that are kept at once


@dataclass(frozen=True)
class Replaced:
    """What is put into a site of a layer.

    Attributes:
        layer: The layer, from 0.
        component: The site.
        numbers: Which numbers of a row are replaced; None for all.
        norm_limit: Rows of a larger norm stay as they are.
        puts: What is put in the place of the others, by name.
    """

    layer: int
    component: Component
    numbers: np.ndarray | None
    norm_limit: float
    puts: dict[str, Put]


@dataclass(frozen=True)
class Losses:
    """What sequences cost.

    Attributes:
        nats: Of every sequence the sum over its answers, ``(U,)``, by what was put in place.
        answers_U: How many answers are asked for.
        n_kept: Rows that stayed as they are since their norm is too large, over all that was put.
        n_rows: Rows that were looked at.
    """

    nats: dict[str, np.ndarray]
    answers_U: np.ndarray
    n_kept: int
    n_rows: int

    def mean(self, name: str) -> float:
        """Return what an answer costs on average; NaN where none is asked for."""
        n_answers = float(self.answers_U.sum())
        return float(self.nats[name].sum()) / n_answers if n_answers else np.nan


def losses(subject: Subject, n: int, replaced: Sequence[Replaced]) -> list[Losses]:
    """Measure what test sequences cost, with other things in the place of what a site holds.

    The row of the first position of a sequence, where many networks hold what is no token of the
    text, stays as it is. The loss is ``-log p`` of the right answer among all answers, where one is
    asked for.

    Args:
        subject: The model on its task.
        n: Number of sequences.
        replaced: What is put where; the layers of one component best in order.
    """
    rng = subject.stream("replaced", subject.length)
    batch = draw(subject.task, rng, subject.cut(n), length=subject.length, split="test")
    found = [_Sums() for _ in replaced]
    answers_A = subject.answers_A
    size = max(1, min(subject.batch_size, _LOGITS // (batch.n_positions * len(answers_A))))
    for first in range(0, len(batch), size):
        part = batch.take(slice(first, first + size))
        recoded = part.recoded(subject.encoding.code_C)
        sites = ReplacedSites(subject.model, recoded.tokens_BT, answers_A, batch_size=size)
        symbols_BT = torch.as_tensor(part.tokens_BT, device=subject.model.device)
        for sums, what in zip(found, replaced, strict=True):
            logits_BTA = sites.logits(what.layer, what.component)
            sums.add(CLEAN, logits_BTA, recoded, answers_A)
            for name, put in what.puts.items():
                put_in = _Putting(what, put, symbols_BT)
                logits_BTA = sites.logits(what.layer, what.component, put_in)
                sums.add(name, logits_BTA, recoded, answers_A)
                sums.count(put_in)
    return [sums.finished() for sums in found]


def ablations(of_context: Dictionary) -> dict[str, Put]:
    """Return what stands at the lower end of a loss, with the means of a ``context`` dictionary."""
    means_GX = of_context.means_GD
    if means_GX is None:
        raise ValueError("A dictionary of what is left without means of symbols has these means.")
    means_GX = means_GX.cpu()

    def symbol(row_MX: Tensor, symbol_M: Tensor) -> Tensor:
        return means_GX[symbol_M.cpu().clamp(max=len(means_GX) - 1)].to(row_MX.device)

    return {
        MEAN: lambda row_MX, _: means_GX[-1].to(row_MX.device).expand_as(row_MX),
        ZERO: lambda row_MX, _: torch.zeros_like(row_MX),
        SYMBOL: symbol,
    }


def reconstruction(dictionary: Dictionary) -> Put:
    """Return what a dictionary makes of rows."""

    def put(row_MX: Tensor, symbol_M: Tensor) -> Tensor:
        group_M = symbol_M.cpu().numpy()
        made_MX = dictionary.decode(dictionary.encode(row_MX, group_M), group_M)
        return torch.from_numpy(made_MX).to(row_MX.device)

    return put


class _Putting:
    """Puts something into the rows of some sequences, and counts those that stay."""

    def __init__(self, what: Replaced, put: Put, symbols_BT: Tensor) -> None:
        self._what, self._put, self._symbols_BT = what, put, symbols_BT
        self.n_kept = self.n_rows = 0

    def __call__(self, runs: slice, first: int, row_BVW: Tensor) -> Tensor:
        """Return other rows; those of position 0, and of too large a norm, as they are."""
        begin = int(first == 0)  # of the first position
        rest_BVW = row_BVW[:, begin:]
        if not rest_BVW.shape[1]:
            return row_BVW
        numbers = self._what.numbers
        at_X = slice(None) if numbers is None else torch.from_numpy(numbers).to(row_BVW.device)
        row_MX = rest_BVW[..., at_X].flatten(0, 1).float()
        last = first + row_BVW.shape[1]
        symbol_M = self._symbols_BT[runs, first + begin : last].flatten()
        kept_M1 = row_MX.norm(dim=1, keepdim=True) > self._what.norm_limit
        made_MX = torch.where(kept_M1, row_MX, self._put(row_MX, symbol_M))
        self.n_kept += int(kept_M1.sum())
        self.n_rows += len(kept_M1)
        changed_BVW = row_BVW.clone()
        changed_BVW[:, begin:, at_X] = made_MX.view(*rest_BVW.shape[:2], -1).to(row_BVW.dtype)
        return changed_BVW


class _Sums:
    """Adds up what sequences cost, batch by batch."""

    def __init__(self) -> None:
        self._nats: dict[str, list[np.ndarray]] = {}
        self._answers: list[np.ndarray] = []
        self._n_kept = self._n_rows = 0

    def add(self, name: str, logits_BTA: np.ndarray, batch: Batch, answers_A: np.ndarray) -> None:
        """Add what the answers of a batch cost."""
        asked_BT = batch.targets_BT != UNSCORED
        place_C = np.zeros(1 + answers_A.max(), np.int64)
        place_C[answers_A] = np.arange(len(answers_A))
        logits_NA = logits_BTA[asked_BT].astype(np.float64)
        right_N1 = place_C[batch.targets_BT[asked_BT]][:, None]
        right_N = np.take_along_axis(logits_NA, right_N1, axis=1)[:, 0]
        nats_BT = np.zeros(asked_BT.shape)
        nats_BT[asked_BT] = logsumexp(logits_NA, axis=1) - right_N
        self._nats.setdefault(name, []).append(nats_BT.sum(1))
        if name == CLEAN:
            self._answers.append(asked_BT.sum(1).astype(np.float64))

    def count(self, put_in: _Putting) -> None:
        """Add how many rows stayed as they are."""
        self._n_kept += put_in.n_kept
        self._n_rows += put_in.n_rows

    def finished(self) -> Losses:
        """Return all of it."""
        nats = {name: np.concatenate(parts) for name, parts in self._nats.items()}
        return Losses(nats, np.concatenate(self._answers), self._n_kept, self._n_rows)
