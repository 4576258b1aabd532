"""Why every sequence begins with BOS: the exact ceiling of Parity without it, and its lifting."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

import mecheval

LENGTH = 8


def all_words() -> np.ndarray:
    """Return every bit string of the length as symbol indices (1 and 2), without BOS."""
    return 1 + np.array(list(itertools.product((0, 1), repeat=LENGTH)))


def best_accuracy(logits_BTC: np.ndarray, targets_BT: np.ndarray) -> float:
    """Return the accuracy of the best rule from a position's logits to an answer.

    Positions with the same logits must get the same answer, whatever the weights behind them.
    """
    classes: dict[bytes, list[int]] = {}
    rounded_BTC = np.round(logits_BTC, 6) + 0.0
    for logits_C, target in zip(
        rounded_BTC.reshape(-1, rounded_BTC.shape[-1]), targets_BT.ravel(), strict=True
    ):
        classes.setdefault(logits_C.tobytes(), []).append(int(target))
    return sum(max(np.bincount(found)) for found in classes.values()) / targets_BT.size


@pytest.mark.parametrize("positions", ["rope", "none"])
def test_without_bos_attention_has_an_exact_ceiling_on_parity(positions: str) -> None:
    model = mecheval.load_model(f"transformer[positions={positions}]", vocab_size=3).double()
    words_BT = all_words()
    targets_BT = (words_BT - 1).cumsum(1) % 2
    with_bos_BT = np.concatenate([np.zeros((len(words_BT), 1), int), words_BT], 1)
    with torch.inference_mode():
        without = model(torch.as_tensor(words_BT)).numpy()
        lifted = model(torch.as_tensor(with_bos_BT)).numpy()[:, 1:]

    # In a prefix of ones all values are equal, so positions 1, 2, 3, ... have the same logits;
    # a constant answer loses the even ones: 1/4 + 1/16 + ... = 1/3 of a position per sequence.
    lost = sum(2.0**-t for t in range(2, LENGTH + 1, 2))
    ceiling = best_accuracy(without, targets_BT)
    assert ceiling == pytest.approx(1 - lost / LENGTH)
    assert ceiling == pytest.approx(1 - 1 / (3 * LENGTH), abs=1e-3)
    assert best_accuracy(lifted, targets_BT) == 1.0


def test_a_recurrent_model_has_no_such_ceiling() -> None:
    model = mecheval.load_model("gru", vocab_size=3).double()
    words_BT = all_words()
    with torch.inference_mode():
        logits = model(torch.as_tensor(words_BT)).numpy()
    assert best_accuracy(logits, (words_BT - 1).cumsum(1) % 2) == 1.0


@pytest.mark.parametrize("name", ["parity", "dyck", "s3", "z6"])
def test_every_task_begins_with_bos_and_has_it_nowhere_else(name: str) -> None:
    task = mecheval.load_task(name)
    batch = task.sample(np.random.default_rng(0), 64, task.max_length)
    assert (batch.tokens_BT[:, 0] == 0).all()
    assert (batch.tokens_BT[:, 1:] != 0).all()
    assert (batch.targets_BT[:, 0] == -100).all()
