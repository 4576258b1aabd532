"""What answers tell of the right ones, against values by hand and against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import mutual_info_score

from mecheval.metrics.bottleneck.information import NOT_ASKED, Cells, informed, lost


def drawn(n: int, *, values: int = 3, sequences: int = 40, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, values, (sequences, n))


def told(target_BT: np.ndarray, answer_BT: np.ndarray) -> float:
    return informed(Cells.of(target_BT, answer_BT), np.ones((1, len(target_BT))))[0]


def test_right_answers_tell_all_and_so_do_those_that_are_turned_round() -> None:
    target_BT = drawn(12)
    assert told(target_BT, target_BT) == 1.0
    assert told(target_BT, 2 - target_BT) == 1.0
    assert told(target_BT, (target_BT + 1) % 3) == 1.0


def test_a_constant_answer_tells_nothing_and_a_guess_next_to_nothing() -> None:
    target_BT = drawn(12)
    assert told(target_BT, np.zeros_like(target_BT)) == 0.0
    assert told(target_BT, drawn(12, seed=1)) < 0.02


def test_answers_that_are_right_at_a_known_rate() -> None:
    """A symmetric channel of two values loses the entropy of its error rate."""
    rng = np.random.default_rng(0)
    target_BT = drawn(500, values=2, sequences=400)
    for rate in (0.05, 0.25, 0.4, 0.6):
        wrong_BT = rng.random(target_BT.shape) < rate
        expected = 1 + rate * np.log2(rate) + (1 - rate) * np.log2(1 - rate)
        assert told(target_BT, target_BT ^ wrong_BT) == pytest.approx(expected, abs=0.01)


def test_only_cells_that_are_asked_count() -> None:
    target_BT = drawn(12)
    answer_BT = np.where(np.arange(12) < 6, target_BT, 0)
    hidden_BT = target_BT.copy()
    hidden_BT[:, 6:] = NOT_ASKED
    assert told(hidden_BT, answer_BT) == 1.0
    unanswered_BT = np.where(np.arange(12) < 6, answer_BT, NOT_ASKED)
    assert told(target_BT, unanswered_BT) == 1.0


def test_the_information_is_that_of_scikit_learn_up_to_the_correction() -> None:
    target_BT, noise_BT = drawn(9, values=4), drawn(9, values=4, seed=1)
    answer_BT = np.where(drawn(9, values=2, seed=2) == 0, target_BT, noise_BT)
    n = target_BT.size
    entropy = mutual_info_score(target_BT.ravel(), target_BT.ravel()) + 3 / (2 * n)
    information = mutual_info_score(target_BT.ravel(), answer_BT.ravel()) + (4 + 4 - 16 - 1) / (
        2 * n
    )
    assert told(target_BT, answer_BT) == pytest.approx(information / entropy)


def test_the_correction_takes_the_bias_away() -> None:
    """Independent answers in few cells: uncorrected they would seem to tell 6 % on average."""
    rng = np.random.default_rng(0)
    plain, corrected = [], []
    for _ in range(300):
        target_BT, answer_BT = (rng.integers(0, 5, (8, 12)) for _ in range(2))
        plain.append(mutual_info_score(target_BT.ravel(), answer_BT.ravel()) / np.log(5))
        of_P = Cells.of(target_BT, answer_BT)
        counts = of_P.count_BP.sum(0)
        shift = (5 + 5 - len(counts) - 1) / (2 * target_BT.size)
        corrected.append(plain[-1] + shift / np.log(5))
    assert np.mean(plain) > 0.04
    assert abs(np.mean(corrected)) < 0.01


def test_weights_are_copies_of_sequences() -> None:
    target_BT, answer_BT = drawn(5, sequences=6), drawn(5, sequences=6, seed=1)
    weight_B = np.array([0, 2, 1, 0, 3, 1])
    row = np.repeat(np.arange(6), weight_B)
    found = informed(Cells.of(target_BT, answer_BT), weight_B[None].astype(float))[0]
    assert found == pytest.approx(told(target_BT[row], answer_BT[row]))


def test_what_is_lost_is_a_share_of_what_was_told() -> None:
    target_BT = drawn(400, values=2, sequences=100)
    half_BT = np.where(np.arange(400) < 200, target_BT, 0)
    clean, erased = Cells.of(target_BT, target_BT), Cells.of(target_BT, half_BT)
    once = np.ones((1, 100))
    assert lost(clean, erased, once)[0] == pytest.approx(1 - told(target_BT, half_BT))
    assert lost(clean, Cells.of(target_BT, 1 - target_BT), once)[0] == 0.0
    constant = Cells.of(target_BT, np.zeros_like(target_BT))
    assert lost(clean, constant, once)[0] == 1.0
    assert np.isnan(lost(constant, erased, once)[0])
    assert np.isnan(informed(Cells.of(np.zeros_like(target_BT), target_BT), once)[0])
