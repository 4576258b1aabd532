"""Pairs of words that differ in one letter, at every distance from the readout alike.

A distance d is that from the changed letter to the last one; octave k holds the distances from 2^k
to 2^(k+1) - 1. Shape suffixes: ``B`` words, ``P`` pairs, ``G`` elements, ``K`` octaves.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np

from mecheval.tasks.batch import Pairs, concatenate
from mecheval.tasks.splits import draw, in_split

if TYPE_CHECKING:
    from mecheval.metrics.subject import Subject
    from mecheval.tasks import Batch
    from mecheval.tasks.words import GroupWords

_MAX_ROUNDS = 100


@dataclass(frozen=True)
class DistantPairs:
    """Words and the same with one other letter, in the model's token ids.

    Attributes:
        pairs: Both members; all later states differ.
        distance_P: How far the letter is from the readout, which is the last position.
    """

    pairs: Pairs
    distance_P: np.ndarray

    def __len__(self) -> int:
        """Return the number of pairs."""
        return len(self.distance_P)

    @property
    def octave_P(self) -> np.ndarray:
        """Return the octave of every distance."""
        return octave(self.distance_P)


def octave(distance_P: np.ndarray) -> np.ndarray:
    """Return how often a distance can be halved until it is 1."""
    return np.log2(distance_P).astype(np.int64)


def n_octaves(length: int) -> int:
    """Return the number of octaves of the distances that words of a length have."""
    return (length - 1).bit_length() if length > 1 else 0


def distant_pairs(
    subject: Subject, allowed_GG: np.ndarray, n: int, *, purpose: str
) -> DistantPairs | None:
    """Draw pairs, as many of every octave, whose members are both outside the training split.

    Args:
        subject: A task on a group, at the length that is measured.
        allowed_GG: Which element may come in the place of which one.
        n: Number of pairs; fewer where there are not so many.
        purpose: What they are for, which decides the draw.

    Returns:
        None where no letter of the task's words may take the place of another one.
    """
    task, length = cast("GroupWords", subject.task), subject.length
    used_GG = np.zeros_like(allowed_GG)
    used_GG[np.ix_(task.drawn_A, task.drawn_A)] = True
    allowed_GG = allowed_GG & used_GG & ~np.eye(len(allowed_GG), dtype=bool)
    if not allowed_GG.any():
        return None
    rng = subject.stream("pairs", "distances", length, purpose)
    open_K = np.full(n_octaves(length), n // n_octaves(length))
    open_K[: n % len(open_K)] += 1
    found: list[tuple[Batch, Batch, np.ndarray]] = []
    for _ in range(_MAX_ROUNDS):
        if not open_K.any():
            break
        batch = draw(task, rng, 8 * n, length=length, split="test")
        clean, corrupted, distance_P = _changed(task, batch, allowed_GG, rng)
        if not task.separate:
            outside_P = ~in_split(task.split_key(corrupted.tokens_BT), "train")
            clean, corrupted = clean.take(outside_P), corrupted.take(outside_P)
            distance_P = distance_P[outside_P]
        kept_P = _first_of_each(octave(distance_P), open_K)
        open_K = open_K - np.bincount(octave(distance_P[kept_P]), minlength=len(open_K))
        found.append((clean.take(kept_P), corrupted.take(kept_P), distance_P[kept_P]))
    clean_parts, corrupted_parts, distances = zip(*found, strict=True)
    code_C = subject.encoding.code_C
    clean, corrupted = (concatenate(list(parts)) for parts in (clean_parts, corrupted_parts))
    pairs = Pairs(clean.recoded(code_C), corrupted.recoded(code_C))
    return DistantPairs(pairs, np.concatenate(distances))


def _changed(
    task: GroupWords, batch: Batch, allowed_GG: np.ndarray, rng: np.random.Generator
) -> tuple[Batch, Batch, np.ndarray]:
    """Change a letter of every word that has an allowed one where it is drawn."""
    length = batch.n_positions - 1
    low_B = 1 << rng.integers(n_octaves(length), size=len(batch))
    distance_B = rng.integers(low_B, np.minimum(2 * low_B, length))
    old_B = batch.tokens_BT[np.arange(len(batch)), length - distance_B] - 1
    chance_BG = np.where(allowed_GG[old_B], rng.random((len(batch), len(allowed_GG))), 0.0)
    kept_B, new_B = np.asarray(chance_BG.any(1)), chance_BG.argmax(1)
    clean = batch.take(kept_B)
    corrupted = task.replaced(clean, (length - distance_B - 1)[kept_B], new_B[kept_B])
    return clean, corrupted, distance_B[kept_B]


def _first_of_each(octave_P: np.ndarray, open_K: np.ndarray) -> np.ndarray:
    """Return the indices of the first so many pairs of every octave."""
    firsts = [np.flatnonzero(octave_P == k)[:n] for k, n in enumerate(open_K.tolist())]
    return np.sort(np.concatenate(firsts))
