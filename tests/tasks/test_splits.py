"""Splits share no sequence; pairs keep their promises; hashes spread evenly."""

import numpy as np
import pytest

from mecheval.errors import ContractError
from mecheval.registry import Registry
from mecheval.tasks import Task
from mecheval.tasks.contract import configure
from mecheval.tasks.splits import Split, draw, draw_pairs, in_split, sequence_hash


def _task(name: str, **args: object) -> Task:
    return configure(Registry().load("task", name), args, name=name)


def test_every_sequence_is_in_exactly_one_split() -> None:
    tokens_BT = np.random.default_rng(0).integers(7, size=(5000, 20))
    member = [in_split(tokens_BT, split) for split in ("train", "validation", "test")]
    assert np.array_equal(np.sum(member, axis=0), np.ones(5000))
    shares = [m.mean() for m in member]
    assert shares == pytest.approx([13 / 16, 1 / 16, 2 / 16], abs=0.02)


def test_hashes_depend_on_every_position_and_on_length() -> None:
    base = np.zeros((1, 12), np.int64)
    changed = np.repeat(base, 12, 0) + np.eye(12, dtype=np.int64)
    hashes = {int(h) for h in sequence_hash(np.concatenate([base, changed]))}
    hashes.add(int(sequence_hash(base[:, :-1])[0]))
    assert len(hashes) == 14


def test_the_hash_never_changes() -> None:
    # Every published split rests on these numbers.
    tokens_BT = np.array([[0, 1, 2, 1], [0, 2, 2, 1]])
    assert [int(h) for h in sequence_hash(tokens_BT)] == [
        _reference_hash(row) for row in tokens_BT.tolist()
    ]


def _reference_hash(row: list[int]) -> int:
    mask = 2**64 - 1
    value = 0xCBF29CE484222325
    for token in row:
        value = ((value ^ (token + 1)) * 0x100000001B3) & mask
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & mask
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & mask
    return value ^ (value >> 31)


def test_draws_have_the_size_that_was_asked_for() -> None:
    task = _task("parity")
    for split in ("train", "validation", "test"):
        batch = draw(task, np.random.default_rng(0), 100, length=16, split=split)
        assert len(batch) == 100
        assert in_split(batch.tokens_BT, split).all()


def test_a_task_without_enough_sequences_says_so() -> None:
    task = _task("parity", min_length=1, max_length=1)
    words = task.sample(np.random.default_rng(0), 64, 1).tokens_BT
    splits: tuple[Split, ...] = ("validation", "test")
    empty: Split = next(split for split in splits if not in_split(words, split).any())
    with pytest.raises(ContractError, match=rf"too few sequences of 1 symbols for its {empty} "):
        draw(task, np.random.default_rng(0), 4, length=1, split=empty)


def test_pairs_that_cannot_be_made_are_reported() -> None:
    task = _task("parity", min_length=1, max_length=1)
    with pytest.raises(ContractError, match="too few"):
        draw_pairs(task, np.random.default_rng(0), 4, length=1)
