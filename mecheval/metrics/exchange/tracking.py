"""Whether a model will be right at longer words, by what suffices inside it, and whether it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mecheval.metrics.exchange.whole_state import decides
from mecheval.metrics.longer_words import borne_out, last_at
from mecheval.tasks.batch import UNDEFINED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mecheval.metrics.subject import Subject
    from mecheval.tasks import Batch

FACTOR = 4
"""How many times as long as the longest of training the words are at which tracking is told."""

PREDICTED, NOT_PREDICTED = "tracking predicted", "tracking not predicted"


@dataclass(frozen=True)
class Prediction:
    """A verdict, and what came of it.

    Attributes:
        verdict: :data:`PREDICTED`, :data:`NOT_PREDICTED`, or None.
        longer: Last-position accuracy at longer words; None where it is not known.
        objection: Why there is no verdict, None where there is one.
        notes: Why nothing can be held against it.
    """

    verdict: str | None = None
    longer: float | None = None
    objection: str | None = None
    notes: tuple[str, ...] = ()

    @property
    def agrees(self) -> float | None:
        """Return 1 where the verdict is borne out, 0 where not, None where nobody can say."""
        return None if self.verdict is None else borne_out(self.verdict == PREDICTED, self.longer)


def predicted(
    subject: Subject, pool: Batch, variables: Sequence[str], inner: float, *, least: float
) -> Prediction:
    """Say whether a model is predicted to track the state of its task.

    Args:
        subject: The model on its task.
        pool: Sequences by which it is judged whether the variables are the whole state.
        variables: The variables that donors agreed in.
        inner: Mean sufficiency over inner layers; NaN where it is defined at none.
        least: Least one that predicts it.
    """
    objection = _objection(subject, pool, variables, inner)
    verdict = None if objection else PREDICTED if inner >= least else NOT_PREDICTED
    longer, why = last_at(subject, FACTOR)
    notes = (f"the verdict is held against nothing: {why}",) if why and verdict else ()
    return Prediction(verdict, longer, objection, notes)


def _objection(subject: Subject, pool: Batch, variables: Sequence[str], inner: float) -> str | None:
    if subject.length > subject.task.max_length:
        return "tracking is predicted from words of the training length alone"
    others = [name for name in subject.task.variables if name not in variables]
    if not _goes_on(pool, variables):
        return "the task asks for what stands in a text, and has no state that goes on"
    if not decides(pool, variables, others):
        are = "are" if len(variables) > 1 else "is"
        return f"{' and '.join(variables)} {are} not the whole state"
    if np.isnan(inner):
        return (
            "between the first and the last layer nothing is lost by donors of any state"
            if subject.model.n_layers > 1
            else "there is no layer between the first and the last one"
        )
    return None


def _goes_on(pool: Batch, variables: Sequence[str]) -> bool:
    """Say whether all variables have a value at every position behind BOS."""
    return all((pool.variables[name][:, 1:] != UNDEFINED).all() for name in variables)
