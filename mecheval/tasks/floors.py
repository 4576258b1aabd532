"""What needs no model: the accuracy of tables over positions and last symbols.

Half of the sampled sequences fill a table of counts, the other half is scored with it. Two tables
are read from the same counts: the likeliest value (best plain accuracy), and the value that is
most overrepresented (best balanced accuracy, the mean recall over values).

Shape suffixes: ``B`` examples, ``T`` positions, ``N`` scored (example, position) cells,
``X`` contexts of a table, ``K`` values of a target.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from mecheval import seeding
from mecheval.tasks.batch import UNDEFINED, Batch

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mecheval.tasks.contract import Task

N_SEQUENCES = 60_000
WINDOWS = (1, 2, 4)
FLOORS = ("majority", "position", *(f"last{width}" for width in WINDOWS))
"""The floors that a readability is corrected by; ``last4+position`` is reported beside them."""

_DENSE = 1 << 23  # largest table of counts that is held densely


@dataclass(frozen=True)
class Floors:
    """Table accuracies of one target.

    Attributes:
        accuracy: Plain accuracy by floor.
        recalls: Recall of every value by floor, of the tables for balanced accuracy, ``(K,)``;
            NaN for a value that does not occur.
    """

    accuracy: Mapping[str, float]
    recalls: Mapping[str, np.ndarray]

    @property
    def best(self) -> float:
        """Return the largest plain accuracy among :data:`FLOORS`."""
        return max(self.accuracy[name] for name in FLOORS)

    def balanced(self, values: Sequence[int] | None = None) -> dict[str, float]:
        """Return the balanced accuracy by floor.

        Args:
            values: The values over which recalls are averaged; all that occur where None.
        """
        recall_K = self.recalls["majority"]
        chosen = np.flatnonzero(~np.isnan(recall_K)) if values is None else np.asarray(values)
        by_floor = {name: float(recalls[chosen].mean()) for name, recalls in self.recalls.items()}
        return {**by_floor, "majority": 1.0 / len(chosen)}


@dataclass(frozen=True)
class TaskFloors:
    """Floors of a task, at the in-distribution test length and positions from ``first`` on.

    Attributes:
        answer: Floors of the answer.
        variables: Floors of every latent variable.
        first: First scored position; see :func:`first_position`.
    """

    answer: Floors
    variables: Mapping[str, Floors]
    first: int


def first_position(length: int) -> int:
    """Return the first position at which probes and floors are scored.

    A quarter of the length, and behind the widest window: a window that holds the whole sequence
    is the state itself.
    """
    return min(length, max(-(-length // 4), max(WINDOWS) + 1))


@lru_cache(maxsize=32)
def task_floors(task: Task, seed: int, n: int = N_SEQUENCES) -> TaskFloors:
    """Measure a task's floors on freshly drawn sequences, once per process.

    Args:
        task: The task.
        seed: Decides the sequences.
        n: Number of sequences, half for the tables and half for scoring.
    """
    length = task.max_length
    first = first_position(length)
    batch = task.sample(seeding.stream(seed, "floors"), n, length)
    contexts = _contexts(batch, len(task.symbols), first)
    answers_BT = _as_values(batch.targets_BT, task.answers, len(task.symbols))[:, first:]
    variables = {
        name: _floors(contexts, batch.variables[name][:, first:], size)
        for name, size in task.variables.items()
    }
    return TaskFloors(_floors(contexts, answers_BT, len(task.answers)), variables, first)


def _as_values(targets_BT: np.ndarray, answers: Sequence[int], n_symbols: int) -> np.ndarray:
    value_C = np.full(n_symbols, UNDEFINED)
    value_C[list(answers)] = np.arange(len(answers))
    return np.where(targets_BT >= 0, value_C[np.maximum(targets_BT, 0)], UNDEFINED)


def _contexts(batch: Batch, n_symbols: int, first: int) -> dict[str, tuple[np.ndarray, int]]:
    """Return the context of every cell from ``first`` on by floor, and how many there can be."""
    tokens_BT, n_positions = batch.tokens_BT, batch.n_positions
    position_T = np.arange(n_positions)
    contexts = {"majority": (np.zeros_like(tokens_BT), 1)}
    contexts["position"] = (np.broadcast_to(position_T, tokens_BT.shape), n_positions)
    code_BT, size = np.zeros_like(tokens_BT), 1
    for back in range(max(WINDOWS)):
        code_BT = code_BT * n_symbols + tokens_BT[:, np.maximum(position_T - back, 0)]
        size *= n_symbols
        if back + 1 in WINDOWS:
            contexts[f"last{back + 1}"] = (code_BT, size)
    both_BT = code_BT * n_positions + position_T
    contexts[f"last{max(WINDOWS)}+position"] = (both_BT, size * n_positions)
    return {name: (code_BT[:, first:], size) for name, (code_BT, size) in contexts.items()}


def _floors(
    contexts: Mapping[str, tuple[np.ndarray, int]], values_BT: np.ndarray, n_values: int
) -> Floors:
    half = len(values_BT) // 2
    accuracy, recalls = {}, {}
    for name, (context_BT, size) in contexts.items():
        size, context_BT = _compact(size, n_values, context_BT)
        count_XK = _counts(context_BT[:half], values_BT[:half], size, n_values)
        scored_XK = _counts(context_BT[half:], values_BT[half:], size, n_values)
        accuracy[name] = float(_hits(count_XK, scored_XK).sum() / scored_XK.sum())
        share_K = count_XK.sum(0) / count_XK.sum()
        weighed_XK = np.divide(count_XK, share_K, out=np.zeros_like(count_XK), where=share_K > 0)
        total_K = scored_XK.sum(0)
        recall_K = np.full(n_values, np.nan)
        recall_K[total_K > 0] = (_hits(weighed_XK, scored_XK) / np.maximum(total_K, 1))[total_K > 0]
        recalls[name] = recall_K
    return Floors(accuracy, recalls)


def _compact(size: int, n_values: int, context_BT: np.ndarray) -> tuple[int, np.ndarray]:
    if size * n_values <= _DENSE:
        return size, context_BT
    seen, index_BT = np.unique(context_BT, return_inverse=True)
    return len(seen), index_BT.reshape(context_BT.shape)


def _counts(context_BT: np.ndarray, values_BT: np.ndarray, size: int, n_values: int) -> np.ndarray:
    defined_BT = values_BT != UNDEFINED
    cell_N = context_BT[defined_BT] * n_values + values_BT[defined_BT]
    return np.bincount(cell_N, minlength=size * n_values).reshape(size, n_values).astype(float)


def _hits(score_XK: np.ndarray, scored_XK: np.ndarray) -> np.ndarray:
    """Count, by value, the scored cells at which the table says that value.

    A context that the table has not seen gets the value that is best without context.
    """
    guess_X = score_XK.argmax(1)
    guess_X[score_XK.sum(1) == 0] = score_XK.sum(0).argmax()
    row_X = np.arange(len(score_XK))
    return np.bincount(guess_X, scored_XK[row_X, guess_X], minlength=score_XK.shape[1])
