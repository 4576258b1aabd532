"""Circuits as vectors: depths, correlation with its null, and how far apart writes are."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats as scipy_stats

from mecheval.likeness.circuits import by_depth, likeness, movers_distance

RNG = np.random.default_rng(0)


def test_depths_weigh_layers_by_what_lies_in_them() -> None:
    value_CLR = np.arange(3.0).reshape(1, 3, 1)
    assert by_depth(value_CLR, 3)[0, :, 0].tolist() == [0, 1, 2]
    assert by_depth(value_CLR, 1)[0, :, 0].tolist() == [1]
    assert by_depth(value_CLR, 2)[0, :, 0] == pytest.approx([1 / 3, 5 / 3])
    assert by_depth(value_CLR, 6)[0, :, 0] == pytest.approx([0, 0, 1, 1, 2, 2])


def test_depths_without_a_number_stay_without() -> None:
    value_CLR = np.array([[[np.nan, 1.0], [0.5, np.nan]]])
    share_CDR = by_depth(value_CLR, 2)
    assert np.isnan(share_CDR[0, 0, 0])
    assert np.isnan(share_CDR[0, 1, 1])
    assert by_depth(value_CLR, 1)[0, 0].tolist() == [0.5, 1.0]


def test_the_correlation_is_pearsons_of_clipped_shares_at_common_places() -> None:
    a_N, b_N = RNG.normal(0.5, 0.5, 30), RNG.normal(0.5, 0.5, 30)
    a_N[3], b_N[7] = np.nan, np.nan
    common_N = np.isfinite(a_N + b_N)
    expected, _ = scipy_stats.pearsonr(a_N[common_N].clip(0, 1), b_N[common_N].clip(0, 1))
    found = likeness(a_N, b_N, np.random.default_rng(1))
    assert found.correlation == pytest.approx(expected, abs=1e-12)
    assert found.n == 28
    difference_N = np.abs(a_N.clip(0, 1) - b_N.clip(0, 1))[common_N]
    assert found.closeness == pytest.approx(1 - difference_N.mean())


def test_permuted_places_are_the_null() -> None:
    a_N = np.linspace(0, 1, 40)
    found = likeness(a_N, a_N**2, np.random.default_rng(0), n_permutations=4000)
    assert found.correlation is not None
    assert found.correlation > 0.96
    # A correlation of n independent places has a standard deviation of 1 / sqrt(n - 1).
    null = found.correlation_null
    assert null is not None
    assert null.mean == pytest.approx(0, abs=0.01)
    assert (null.low, null.high) == pytest.approx((-1.96 / 39**0.5, 1.96 / 39**0.5), abs=0.03)
    same = likeness(a_N, a_N**2, np.random.default_rng(0), n_permutations=4000)
    assert same == found


def test_a_null_within_groups_keeps_what_groups_do() -> None:
    """All that two networks share is which component matters: that is the null, and no more."""
    rng = np.random.default_rng(3)
    groups_N = np.repeat([1, 0, 2], 20)
    level_N = np.array([0.2, 0.8, 0.5])[groups_N]
    a_N, b_N = (level_N + 0.1 * rng.uniform(-1, 1, 60) for _ in range(2))
    found = likeness(a_N, b_N, rng, groups_N=groups_N, n_permutations=2000)
    free = likeness(a_N, b_N, rng, n_permutations=2000)
    assert found.correlation_null is not None
    assert free.correlation_null is not None
    assert found.correlation_null.low < found.correlation < found.correlation_null.high
    assert found.correlation > free.correlation_null.high
    a_g, b_g = (np.array([x_N[groups_N == g].mean() for g in range(3)]) for x_N in (a_N, b_N))
    between = (a_g - a_N.mean()) @ (b_g - b_N.mean()) / 3 / a_N.std() / b_N.std()
    assert found.correlation_null.mean == pytest.approx(between, abs=0.005)
    assert found.closeness_null is not None
    difference = [
        np.abs(a_N[groups_N == g, None] - b_N[None, groups_N == g]).mean() for g in range(3)
    ]
    assert found.closeness_null.mean == pytest.approx(1 - np.mean(difference), abs=0.002)


def test_there_is_no_null_where_no_permutation_changes_anything() -> None:
    a_N = np.linspace(0, 1, 8)
    found = likeness(a_N, a_N**2, np.random.default_rng(0), groups_N=np.arange(8))
    assert found.correlation is not None
    assert found.correlation_null is found.closeness_null is None


@pytest.mark.parametrize(
    ("a_N", "b_N", "closeness"),
    [
        ([0.1, 0.2, 0.3], [0.1, 0.2, 0.3], 1.0),  # fewer than four
        ([0.5] * 5, [0.1, 0.2, 0.3, 0.4, 0.5], 0.8),  # the same everywhere
        ([np.nan, 1.0], [1.0, np.nan], None),  # nothing in common
    ],
)
def test_where_there_is_no_correlation(a_N, b_N, closeness) -> None:
    found = likeness(np.array(a_N), np.array(b_N), np.random.default_rng(0))
    assert found.correlation is found.correlation_null is None
    assert found.closeness == (None if closeness is None else pytest.approx(closeness))


def test_movers_distance_is_that_of_scipy() -> None:
    offset_O = np.arange(6)
    for _ in range(5):
        a_O, b_O = RNG.uniform(size=6), RNG.uniform(size=6)
        expected = scipy_stats.wasserstein_distance(offset_O, offset_O, a_O, b_O)
        assert movers_distance(a_O, b_O) == pytest.approx(expected)
        assert movers_distance(3 * a_O, b_O) == pytest.approx(expected)


def test_writes_of_a_position_later_are_one_apart_and_none_have_no_distance() -> None:
    assert movers_distance(np.array([0, 1, 0, 0.0]), np.array([0, 0, 0.4, 0])) == 1
    assert movers_distance(np.array([0, 1, -0.5, 0.0]), np.array([0, 1.0, np.nan, 0])) == 0
    assert movers_distance(np.zeros(3), np.ones(3)) is None
