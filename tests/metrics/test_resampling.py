from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score

from mecheval.metrics import resampling


def test_weights_are_counts_of_resamples() -> None:
    weight_RU = resampling.weights(7, np.random.default_rng(0))
    assert (weight_RU.sum(1) == 7).all()
    assert weight_RU.mean(0) == pytest.approx(np.ones(7), abs=0.1)


def test_balanced_accuracy_is_that_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 50)
    predicted = rng.integers(0, 3, (50, 2))
    weight_RU = rng.integers(0, 4, (5, 50)).astype(float)
    weight_RU[0] = 1
    found = resampling.balanced_accuracy(weight_RU, predicted == labels[:, None], labels)
    for r, weights in enumerate(weight_RU):
        for v in range(2):
            expected = balanced_accuracy_score(labels, predicted[:, v], sample_weight=weights)
            assert found[r, v] == pytest.approx(expected)


def test_balanced_accuracy_without_a_class_is_the_mean_of_the_others() -> None:
    correct = np.array([[1], [0], [0]])
    found = resampling.balanced_accuracy(np.array([[1.0, 1.0, 0.0]]), correct, np.array([0, 0, 1]))
    assert found[0, 0] == 0.5


def test_ratio_interval_covers_and_has_width_at_the_boundary() -> None:
    rng = np.random.default_rng(0)
    scored = np.full(400, 10.0)
    right = rng.binomial(10, 0.7, 400).astype(float)
    interval = resampling.ratio_interval(right, scored, rng, unit="sequence")
    assert interval.method == "bootstrap"
    assert interval.low < right.sum() / 4000 < interval.high
    assert interval.high - interval.low == pytest.approx(2 * 1.96 * (0.21 / 4000) ** 0.5, rel=0.2)
    perfect = resampling.ratio_interval(scored, scored, rng, unit="sequence")
    assert (perfect.method, perfect.high) == ("wilson", pytest.approx(1.0))
    assert 0.98 < perfect.low < 1.0


def test_bounds_of_values_that_are_nowhere_defined_are_nan() -> None:
    values_RV = np.stack([np.arange(101.0), np.full(101, np.nan)], 1)
    low, high = resampling.bounds(values_RV)
    assert (low[0], high[0]) == pytest.approx((2.5, 97.5))
    assert np.isnan([low[1], high[1]]).all()
    assert np.isnan(resampling.bounds(np.full((9, 1), np.nan))).all()


def test_the_largest_of_two_is_not_too_large_where_it_was_chosen_elsewhere() -> None:
    """Two statistics of mean 0.5: their maximum is above it, by noise."""
    rng = np.random.default_rng(0)
    found, largest = [], []
    for _ in range(2000):
        values_UV = 0.5 + rng.standard_normal((40, 3))
        values_UV[:, 2] = np.nan
        chosen_U = resampling.largest_elsewhere(
            lambda weight_RU, at=values_UV: weight_RU @ at / weight_RU.sum(1, keepdims=True), 40
        )
        assert set(chosen_U.tolist()) <= {0, 1}
        found.append(values_UV[np.arange(40), chosen_U].mean())
        largest.append(values_UV[:, :2].mean(0).max())
    assert np.mean(found) == pytest.approx(0.5, abs=0.012)
    assert np.mean(largest) > 0.57


def test_what_is_largest_is_chosen_on_the_other_half() -> None:
    values_UV = np.zeros((6, 2))
    values_UV[::2, 0] = values_UV[1::2, 1] = 1.0
    chosen_U = resampling.largest_elsewhere(lambda weight_RU: weight_RU @ values_UV, 6)
    assert chosen_U.tolist() == [1, 0, 1, 0, 1, 0]
    values_UV[:, 1] += 2.0
    clear_U = resampling.largest_elsewhere(lambda weight_RU: weight_RU @ values_UV, 6)
    assert clear_U.tolist() == [1] * 6


def test_contributions_to_a_ratio() -> None:
    """Their mean is the ratio, and the spread of their mean that of the ratio over samples."""
    rng = np.random.default_rng(0)

    def sample() -> tuple[np.ndarray, np.ndarray]:
        below_U = 1.0 + 0.3 * rng.standard_normal(100)
        above_U = 0.4 * below_U + 0.1 * rng.standard_normal(100)
        above_U[:20] = below_U[:20] = 0.0  # units that do not count
        return above_U, below_U

    above_U, below_U = sample()
    units_U = resampling.contributions(above_U, below_U)
    assert units_U.mean() == pytest.approx(above_U.sum() / below_U.sum())
    assert units_U[:20] == pytest.approx([units_U.mean()] * 20)
    ratios = [above.sum() / below.sum() for above, below in (sample() for _ in range(2000))]
    assert units_U.std() / 100**0.5 == pytest.approx(np.std(ratios), rel=0.2)
