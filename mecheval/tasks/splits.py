"""Train, validation and test examples that share no sequence, and pairs from the test split.

A sequence's hash decides its split, so a test sequence cannot occur in training however many
sequences are drawn. Shape suffixes: ``B`` examples, ``T`` positions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from mecheval.errors import ContractError, UsageError
from mecheval.tasks.batch import Batch, Pairs, concatenate

if TYPE_CHECKING:
    from mecheval.tasks.contract import Task

Split = Literal["train", "validation", "test"]

BUCKETS: dict[Split, tuple[int, ...]] = {
    "test": (0, 1),
    "validation": (2,),
    "train": tuple(range(3, 16)),
}
"""The parts of sixteen that a split has, by the hash of a sequence or of a file."""
_MAX_ROUNDS = 1000
_MAX_BARREN = 20  # rounds without a single find, after which there is nothing to find


def sequence_hash(tokens_BT: np.ndarray) -> np.ndarray:
    """Hash every sequence to 64 bits (FNV-1a over tokens, then a splitmix64 finish)."""
    hash_B = np.full(len(tokens_BT), 0xCBF29CE484222325, np.uint64)
    for token_B in tokens_BT.T.astype(np.uint64):
        hash_B = (hash_B ^ (token_B + np.uint64(1))) * np.uint64(0x100000001B3)
    hash_B = (hash_B ^ (hash_B >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    hash_B = (hash_B ^ (hash_B >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return hash_B ^ (hash_B >> np.uint64(31))


def in_split(tokens_BT: np.ndarray, split: Split) -> np.ndarray:
    """Say of every sequence whether it belongs to a split, shape ``(B,)``."""
    return np.isin(sequence_hash(tokens_BT) % np.uint64(16), BUCKETS[split])


def draw(task: Task, rng: np.random.Generator, n: int, *, length: int, split: Split) -> Batch:
    """Draw ``n`` examples of one split.

    Raises:
        UsageError: The task has no sequence of this length.
        ContractError: It has none in the split.
    """
    if length < task.shortest:
        raise UsageError(
            f"Task '{task.card.name}' has no sequences of {length} symbols: the shortest have "
            f"{task.shortest}. Ask for longer ones."
        )
    share = 1.0 if task.separate else len(BUCKETS[split]) / 16
    batches, found = [], 0
    for round_ in range(_MAX_ROUNDS):
        batch = task.sample_split(rng, int(1.1 * (n - found) / share) + 16, length, split)
        if not task.separate:
            batch = batch.take(in_split(task.split_key(batch.tokens_BT), split))
        batches.append(batch)
        found += len(batch)
        if found >= n:
            return concatenate(batches).take(slice(n))
        if not found and round_ >= _MAX_BARREN:
            break
    longer = "min_length" if length < task.max_length else "max_length"
    raise ContractError(
        f"Task '{task.card.name}' has too few sequences of {length} symbols for its {split} "
        f"split. Raise {longer}."
    )


def draw_pairs(
    task: Task, rng: np.random.Generator, n: int, *, length: int, kind: str | None = None
) -> Pairs:
    """Draw ``n`` pairs whose two members are both outside the training split.

    A pair is kept if its answers at the readout differ and its first changed position lies before
    the readout.

    Args:
        task: The task.
        rng: Decides the pairs.
        n: Number of pairs.
        length: Number of symbols.
        kind: One of the task's kinds of counterfactual; the first where None.

    Raises:
        UsageError: The task has no such kind.
        ContractError: The task yields too few such pairs of this length.
    """
    kind = kind or task.counterfactuals[0]
    if kind not in task.counterfactuals:
        name = task.card.name
        kinds = ", ".join(task.counterfactuals)
        raise UsageError(f"Task '{name}' has no counterfactual '{kind}'. Choose one of {kinds}.")
    clean, corrupted, found = [], [], 0
    for round_ in range(_MAX_ROUNDS):
        batch = draw(task, rng, 8 * n, length=length, split="test")
        pairs = Pairs(batch, task.counterfactual_of(kind, batch, rng))
        keep = (pairs.answers_P != pairs.foils_P) & (pairs.changed_P < pairs.readout_P)
        if not task.separate:
            keep &= ~in_split(task.split_key(pairs.corrupted.tokens_BT), "train")
        clean.append(pairs.clean.take(keep))
        corrupted.append(pairs.corrupted.take(keep))
        found += int(keep.sum())
        if found >= n:
            return Pairs(concatenate(clean).take(slice(n)), concatenate(corrupted).take(slice(n)))
        if not found and round_ >= _MAX_BARREN:
            break
    raise ContractError(
        f"Task '{task.card.name}' yields too few pairs of {length} symbols. Raise max_length."
    )
