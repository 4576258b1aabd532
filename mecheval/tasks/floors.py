"""What needs no model: the accuracy of tables over positions and last symbols.

Half of the sampled sequences fill a table of counts, the other half is scored with it. Two tables
are read from the same counts: the likeliest value (best plain accuracy), and the value that is
most overrepresented (best balanced accuracy, the mean recall over values). A task can add rules of
thumb of its own: :meth:`mecheval.tasks.Task.guesses`.

Shape suffixes: ``B`` examples, ``T`` positions, ``N`` scored (example, position) cells,
``X`` contexts of a table, ``R`` those that were seen, ``K`` values of a target, ``C`` pairs of
both that were seen, ``Y`` the best of these.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from mecheval import seeding
from mecheval.tasks.batch import UNDEFINED, Batch, concatenate
from mecheval.tasks.order_free import ORDER_FREE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mecheval.tasks.contract import Task

N_SEQUENCES = 60_000
WINDOWS = (1, 2, 4)
FLOORS = ("majority", "position", *(f"last{width}" for width in WINDOWS))
"""The floors of every task; together with its own rules of thumb they correct a readability."""

BESIDE = f"last{max(WINDOWS)}+position"
"""A table that is reported beside the floors, and corrects nothing; so is ``order_free``."""

_DENSE = 1 << 23  # largest table of counts that is held densely


@dataclass(frozen=True)
class Floors:
    """Table accuracies of one target; none of a target that is not scored anywhere.

    Attributes:
        accuracy: Plain accuracy by floor.
        recalls: Recall of every value by floor, of the tables for balanced accuracy, ``(K,)``;
            NaN for a value that does not occur.
    """

    accuracy: Mapping[str, float]
    recalls: Mapping[str, np.ndarray]

    @property
    def best(self) -> float:
        """Return the largest plain accuracy of a floor."""
        return max(counting(self.accuracy).values())

    def balanced(self, values: Sequence[int] | None = None) -> dict[str, float]:
        """Return the balanced accuracy by floor.

        Args:
            values: The values over which recalls are averaged; all that occur where None.
        """
        recall_K = self.recalls["majority"]
        chosen = np.flatnonzero(~np.isnan(recall_K)) if values is None else np.asarray(values)
        by_floor = {name: float(recalls[chosen].mean()) for name, recalls in self.recalls.items()}
        return {**by_floor, "majority": 1.0 / len(chosen)}


def counting(by_floor: Mapping[str, float]) -> dict[str, float]:
    """Leave out what is only reported beside the floors."""
    return {name: v for name, v in by_floor.items() if name not in (BESIDE, ORDER_FREE)}


@dataclass(frozen=True)
class TaskFloors:
    """Floors of a task at one length, at positions from ``first`` on.

    Attributes:
        answer: Floors of the answer; at all positions where it is asked for at queries.
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


def task_floors(task: Task, seed: int, n: int = N_SEQUENCES, *, factor: int = 1) -> TaskFloors:
    """Measure a task's floors on freshly drawn sequences, once per process.

    Args:
        task: The task.
        seed: Decides the sequences.
        n: Number of sequences at the training length, half for the tables and half for scoring;
            longer ones are as many fewer as they are longer.
        factor: Multiple of the training length; 1 is the in-distribution test.
    """
    return _measured(task, seed, -(-n // factor), factor)


@lru_cache(maxsize=256)
def _measured(task: Task, seed: int, n: int, factor: int) -> TaskFloors:
    length = factor * task.max_length
    first = first_position(length)
    further = [] if factor == 1 else [factor]
    batch = _sequences(task, seeding.stream(seed, "floors", *further), n, length)
    first_answer = 0 if task.queried else first
    n_values = max(len(task.answers), *task.variables.values(), 0)
    contexts = {
        at: _numbered(_contexts(batch, len(task.symbols), at), n_values)
        for at in {first, first_answer}
    }
    rules = task.guesses(batch)

    def floors(target: str, values_BT: np.ndarray, n_values: int) -> Floors:
        at = first_answer if target == "answer" else first
        guesses = {name: by[target][:, at:] for name, by in rules.items() if target in by}
        return _floors(contexts[at], guesses, values_BT[:, at:], n_values)

    answers_BT = _as_values(batch.targets_BT, task.answers, len(task.symbols))
    variables = {
        name: floors(name, batch.variables[name], size) for name, size in task.variables.items()
    }
    return TaskFloors(floors("answer", answers_BT, len(task.answers)), variables, first)


def _sequences(task: Task, rng: np.random.Generator, n: int, length: int) -> Batch:
    """Draw sequences; of a task that takes them from files, the second half from other files.

    A table that had met the same files would know what stands behind what.
    """
    if not task.separate:
        return task.sample(rng, n, length)
    halves = (task.sample_split(rng, n // 2, length, split) for split in ("train", "test"))
    return concatenate(list(halves))


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
    contexts[BESIDE] = (both_BT, size * n_positions)
    return {name: (code_BT[:, first:], size) for name, (code_BT, size) in contexts.items()}


def _numbered(
    contexts: Mapping[str, tuple[np.ndarray, int]], n_values: int
) -> dict[str, tuple[np.ndarray, int]]:
    """Number those that occur, in their order, of floors whose table would not fit.

    Args:
        contexts: Contexts of every cell by floor, and how many there can be.
        n_values: Most values that a target has; all targets share the numbers.
    """
    found = {}
    for name, (code_BT, size) in contexts.items():
        if size * n_values > _DENSE:
            code_BT = np.unique(code_BT, return_inverse=True)[1].reshape(code_BT.shape)
        found[name] = code_BT, size
    return found


def _floors(
    contexts: Mapping[str, tuple[np.ndarray, int]],
    guesses: Mapping[str, np.ndarray],
    values_BT: np.ndarray,
    n_values: int,
) -> Floors:
    """Score tables and rules on the second half of the sequences."""
    half = len(values_BT) // 2
    known = [values_BT[:half] != UNDEFINED, values_BT[half:] != UNDEFINED]

    def at_known(of_BT: np.ndarray) -> list[np.ndarray]:
        """Return what belongs to known values, of either half; all of them are taken faster."""
        parts = zip((of_BT[:half], of_BT[half:]), known, strict=True)
        return [part.ravel() if known_BT.all() else part[known_BT] for part, known_BT in parts]

    value_N, value_M = at_known(values_BT)
    if not (len(value_N) and len(value_M)):  # defined nowhere behind the first position
        return Floors({}, {})
    share_K = np.bincount(value_N, minlength=n_values) / len(value_N)
    total_K = np.bincount(value_M, minlength=n_values)
    accuracy, recalls = {}, {}

    def score(name: str, plain_K: np.ndarray, balanced_K: np.ndarray) -> None:
        """Take how many cells of every value the plain and the balanced guesses tell."""
        accuracy[name] = float(plain_K.sum() / len(value_M))
        recalls[name] = np.where(total_K > 0, balanced_K / np.maximum(total_K, 1), np.nan)

    for name, (context_BT, size) in contexts.items():
        context_N, context_M = at_known(context_BT)
        if size * n_values <= _DENSE:
            table_XK, count_XK = (
                _counts(context, value, (size, n_values))
                for context, value in ((context_N, value_N), (context_M, value_M))
            )
            score(name, *(_told(guess_X, count_XK) for guess_X in _look_up(table_XK, share_K)))
        else:
            found = _look_up_sparse(context_N, value_N, context_M, share_K)
            score(name, *(_right(guess_M, value_M, n_values) for guess_M in found))
    for name, guess_BT in guesses.items():
        right_K = _right(at_known(guess_BT)[1], value_M, n_values)
        score(name, right_K, right_K)
    return Floors(accuracy, recalls)


def _counts(context_N: np.ndarray, value_N: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Return how often every value stands in every context, ``(X, K)``."""
    cells = np.bincount(context_N * shape[1] + value_N, minlength=shape[0] * shape[1])
    return cells.reshape(shape)


def _told(guess_X: np.ndarray, count_XK: np.ndarray) -> np.ndarray:
    """Return how many cells of every value are told by a guess for every context, ``(K,)``."""
    right_X = count_XK[np.arange(len(guess_X)), guess_X]
    return np.bincount(guess_X, right_X, minlength=count_XK.shape[1])


def _right(guess_M: np.ndarray, value_M: np.ndarray, n_values: int) -> np.ndarray:
    """Return the same by a guess for every cell."""
    return np.bincount(value_M[guess_M == value_M], minlength=n_values)


def _look_up(count_XK: np.ndarray, share_K: np.ndarray) -> list[np.ndarray]:
    """Return the likeliest and the most overrepresented value of every context, ``(X,)`` each.

    A context that is not in the table gets the value that is best without context.

    Args:
        count_XK: Counts of the cells that fill the table.
        share_K: Share of every value; what is overrepresented is so beyond it.
    """
    known_X, best = count_XK.any(1), []
    for score_XK in (count_XK.astype(float), count_XK * _weights(share_K)):
        best.append(np.where(known_X, score_XK.argmax(1), score_XK.sum(0).argmax()))
    return best


def _look_up_sparse(
    context_N: np.ndarray, value_N: np.ndarray, context_M: np.ndarray, share_K: np.ndarray
) -> list[np.ndarray]:
    """Do the same with counts of the cells that occur, where a table of all would not fit.

    Args:
        context_N: Contexts that fill the table, numbered by those that occur.
        value_N: Their values.
        context_M: Contexts that are looked up.
        share_K: Share of every value.

    Returns:
        Two values per looked-up context, ``(M,)`` each.
    """
    n_values, n_contexts = len(share_K), 1 + max(context_N.max(), context_M.max(initial=0))
    cell_C, count_C = np.unique(context_N * n_values + value_N, return_counts=True)
    row_C, column_C = np.divmod(cell_C, n_values)
    start_R = np.flatnonzero(np.diff(row_C, prepend=-1))
    size_R = np.diff(start_R, append=len(row_C))
    best = []
    for score_C in (count_C.astype(float), count_C * _weights(share_K)[column_C]):
        largest_C = np.repeat(np.maximum.reduceat(score_C, start_R), size_R)
        chosen_Y = np.flatnonzero(score_C == largest_C)
        _, first_R = np.unique(row_C[chosen_Y], return_index=True)  # the smallest of equals
        default = np.bincount(column_C, score_C, minlength=n_values).argmax()
        guess_X = np.full(n_contexts, default)
        guess_X[row_C[start_R]] = column_C[chosen_Y[first_R]]
        best.append(guess_X[context_M])
    return best


def _weights(share_K: np.ndarray) -> np.ndarray:
    return np.divide(1.0, share_K, out=np.zeros_like(share_K), where=share_K > 0)
