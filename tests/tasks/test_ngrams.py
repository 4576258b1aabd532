"""Tables of one to three tokens: known values, and that probabilities are some."""

from __future__ import annotations

import numpy as np
import pytest

from mecheval.errors import UsageError
from mecheval.tasks.ngrams import NAMES, NGrams

N_SYMBOLS = 7


def _text(seed: int, n: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, N_SYMBOLS, n)


@pytest.mark.parametrize("before", [[1, 2], [0, 3], [6, 6], []])
def test_probabilities_behind_any_context_sum_to_one(before: list[int]) -> None:
    tables = NGrams(_text(0, 60), N_SYMBOLS, separator=0)
    total = dict.fromkeys(NAMES, 0.0)
    for token in range(1, N_SYMBOLS):
        losses = tables.nats(np.array([*before, token]))
        total = {name: total[name] + np.exp(-losses[name][-1]) for name in NAMES}
    assert list(total.values()) == pytest.approx([1.0] * len(NAMES), abs=1e-12)


def test_values_by_hand() -> None:
    # Text 1 2 1 2 1 3: unigram counts 3, 2, 1, so D = 2 / (2 + 4) and three tokens were seen.
    tables = NGrams(np.array([1, 2, 1, 2, 1, 3]), 4, separator=0)
    unigram_2 = (2 - 1 / 3) / 6 + (1 / 3) * 3 / 6 * (1 / 3)
    # Of two tokens: 01 once, 12 twice, 21 twice, 13 once, so D = 3 / (3 + 6); behind 1: 2, 2, 3.
    bigram_12 = (2 - 1 / 3) / 3 + (1 / 3) * 2 / 3 * unigram_2
    losses = tables.nats(np.array([1, 2]))
    assert losses["unigram"][1] == pytest.approx(-np.log(unigram_2))
    assert losses["bigram"][1] == pytest.approx(-np.log(bigram_12))


def test_a_text_of_pairs_is_known_from_two_tokens() -> None:
    first_N = np.random.default_rng(1).integers(1, 4, 4000)
    text_X = np.stack([first_N, first_N + 3], axis=1).ravel()
    tables = NGrams(text_X[:6000], N_SYMBOLS, separator=0)
    mean = {name: loss_X.mean() for name, loss_X in tables.nats(text_X[6000:]).items()}
    assert mean["unigram"] == pytest.approx(np.log(6), abs=0.01)
    assert mean["bigram"] == pytest.approx(np.log(3) / 2, abs=0.01)


def test_separators_are_context_and_never_scored() -> None:
    tables = NGrams(np.array([0, 1, 2, 0, 1, 3]), 4, separator=0)
    assert all(len(loss_X) == 2 for loss_X in tables.nats(np.array([0, 1, 2])).values())


def test_what_was_never_seen_is_still_possible() -> None:
    tables = NGrams(np.tile([1, 2], 50), 4, separator=0)
    assert all(np.isfinite(loss_X).all() for loss_X in tables.nats(np.array([3, 3, 1])).values())


def test_what_cannot_be_counted_is_refused() -> None:
    with pytest.raises(UsageError, match="no token to count"):
        NGrams(np.zeros(3, int), 4, separator=0)
    with pytest.raises(UsageError, match="smaller vocabulary"):
        NGrams(np.ones(3, int), 1 << 22, separator=0)
