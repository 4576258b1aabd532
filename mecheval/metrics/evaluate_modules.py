"""The accuracies as modules of Hugging Face's ``evaluate``; they need no network.

Importing this takes seconds, because it imports ``evaluate`` and ``datasets``; no run of the
harness does.

    accuracies = evaluate.combine([load("token_accuracy"), load("sequence_accuracy")])
    accuracies.compute(predictions=[[1, 0], [1, 1]], references=[[1, 0], [-100, 0]])
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import datasets
import evaluate
import numpy as np

from mecheval.errors import UsageError, unknown
from mecheval.metrics import accuracy
from mecheval.tasks.batch import UNSCORED

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_INPUTS = """
Args:
    predictions: one list of predicted token ids per sequence.
    references: one list of right token ids per sequence, -100 where none is asked.
Returns:
    a dictionary with one number between 0 and 1, named as the metric.
"""


class _SequenceMetric(evaluate.Metric):
    score: Callable[[np.ndarray, np.ndarray], float]

    def __init__(self, **options: Any) -> None:
        # Kept in memory, an instance leaves no file behind and needs no lock.
        super().__init__(**{"keep_in_memory": options.get("num_process", 1) == 1, **options})

    def _info(self) -> evaluate.MetricInfo:
        tokens = datasets.Sequence(datasets.Value("int64"))
        return evaluate.MetricInfo(
            description=(type(self).__doc__ or "").strip(),
            citation="",
            inputs_description=_INPUTS,
            features=datasets.Features({"predictions": tokens, "references": tokens}),
        )

    def _compute(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, *, predictions: Sequence[Sequence[int]], references: Sequence[Sequence[int]]
    ) -> dict[str, float]:
        if [len(row) for row in predictions] != [len(row) for row in references]:
            raise UsageError(
                "Predictions and references differ in length. Give one prediction per position, "
                f"and {UNSCORED} as the reference where no answer is asked."
            )
        score = type(self).score(_padded(predictions), _padded(references))
        return {self.name: score}


class TokenAccuracy(_SequenceMetric):
    """Share of scored positions that are right."""

    score = staticmethod(accuracy.token_accuracy)


class LastAccuracy(_SequenceMetric):
    """Share of sequences whose last scored position is right."""

    score = staticmethod(accuracy.last_accuracy)


class SequenceAccuracy(_SequenceMetric):
    """Share of sequences whose scored positions are all right."""

    score = staticmethod(accuracy.sequence_accuracy)


MODULES: dict[str, type[_SequenceMetric]] = {
    "token_accuracy": TokenAccuracy,
    "last_accuracy": LastAccuracy,
    "sequence_accuracy": SequenceAccuracy,
}


def load(name: str, **options: Any) -> evaluate.Metric:
    """Return a module, as ``evaluate.load`` would, without the hub.

    Args:
        name: One of :data:`MODULES`.
        options: Options of ``evaluate.Metric``, such as ``experiment_id``.

    Raises:
        UsageError: The name is unknown.
    """
    if name not in MODULES:
        raise unknown("module", name, MODULES, see="mecheval.metrics.evaluate_modules.MODULES")
    return MODULES[name](**options)


def _padded(rows: Sequence[Sequence[int]]) -> np.ndarray:
    padded_BT = np.full((len(rows), max(map(len, rows), default=0)), UNSCORED)
    for row, padded_T in zip(rows, padded_BT, strict=True):
        padded_T[: len(row)] = row
    return padded_BT
