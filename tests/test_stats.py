"""Intervals against published values, their coverage, and their behaviour at the boundary."""

from typing import Any

import numpy as np
import pytest

from mecheval.stats import (
    LEVEL,
    N_RESAMPLES,
    holm,
    percentile_interval,
    proportion_interval,
    rank_correlation,
    resamples,
    t_interval,
    t_test,
    welch_interval,
    welch_test,
    wilson,
)


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [
        # Newcombe 1998, Statistics in Medicine 17, table I, method 3 (score without continuity
        # correction), rounded there to four places.
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
        (29, 29, 1 - 0.1170, 1.0),
    ],
)
def test_wilson_gives_the_published_values(successes: int, n: int, low: float, high: float) -> None:
    interval = wilson(successes, n, unit="sequence")
    assert interval.low == pytest.approx(low, abs=6e-5)
    assert interval.high == pytest.approx(high, abs=6e-5)
    assert (interval.method, interval.unit, interval.level) == ("wilson", "sequence", 0.95)


def test_wilson_is_never_of_width_zero() -> None:
    assert wilson(0, 5, unit="pair").high > 0
    assert wilson(5, 5, unit="pair").low < 1


@pytest.mark.parametrize("n_wrong", [1, 3, 10])
def test_intervals_of_shares_close_to_one_cover_what_they_say(n_wrong: int) -> None:
    """Whether Wilson's, where all are right, or a bootstrap's."""
    rng, n, covered = np.random.default_rng(n_wrong), 256, 0
    for _ in range(300):
        right_U = (rng.random(n) >= n_wrong / n).astype(float)
        interval = proportion_interval(right_U, rng, unit="sequence")
        covered += interval.low <= 1 - n_wrong / n <= interval.high
    assert covered / 300 >= LEVEL - 0.03


def test_bootstrap_covers_the_mean_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(300):
        interval = proportion_interval(rng.beta(2, 1, size=40), rng, unit="sequence")
        covered += interval.low <= 2 / 3 <= interval.high
    assert covered / 300 == pytest.approx(LEVEL, abs=0.04)


def test_bootstrap_has_the_width_of_the_normal_interval() -> None:
    rng = np.random.default_rng(1)
    values_U = rng.random(400)
    interval = proportion_interval(values_U, rng, unit="sequence")
    expected = 2 * 1.96 * values_U.std() / np.sqrt(len(values_U))
    assert interval.high - interval.low == pytest.approx(expected, rel=0.1)
    assert interval.n_resamples == N_RESAMPLES


def test_the_same_stream_gives_the_same_interval() -> None:
    values_U = np.linspace(0, 1, 10)
    first, second = (
        proportion_interval(values_U, np.random.default_rng(3), unit="pair") for _ in range(2)
    )
    assert first == second


def test_percentiles_leave_out_undefined_values() -> None:
    interval = percentile_interval(np.array([np.nan, 1.0, 1.0]), unit="pair")
    assert (interval.low, interval.high) == (1.0, 1.0)


def test_resamples_draw_every_unit_equally_often() -> None:
    rng = np.random.default_rng(2)
    counts = np.zeros(5)
    resamples(lambda index_RU: np.add.at(counts, index_RU.ravel(), 1), 5, rng)  # type: ignore[arg-type]
    assert counts / counts.sum() == pytest.approx(0.2, abs=0.01)


def test_proportions_use_wilson_only_where_all_units_agree() -> None:
    rng = np.random.default_rng(4)
    assert proportion_interval(np.ones(20), rng, unit="sequence").method == "wilson"
    assert proportion_interval(np.zeros(20), rng, unit="sequence").method == "wilson"
    assert proportion_interval(np.array([0.0, 1.0]), rng, unit="sequence").method == "bootstrap"


def coverage(draws: np.ndarray, mean: float, **bounds: Any) -> float:
    """Return how often the t interval of a row of draws holds the mean."""
    intervals = [t_interval(values_U, unit="seed", **bounds) for values_U in draws]
    return float(np.mean([i is not None and i.low <= mean <= i.high for i in intervals]))


@pytest.mark.parametrize("n", [2, 3, 4, 8])
def test_t_intervals_over_few_normal_seeds_cover_what_they_say(n: int) -> None:
    draws = np.random.default_rng(n).normal(0.5, 0.1, size=(2000, n))
    assert 0.93 <= coverage(draws, 0.5) <= 0.97


@pytest.mark.parametrize(
    ("a", "b", "least"),
    [
        (5.0, 1.0, 0.88),  # mean 0.83: coverage 0.90 to 0.92
        (20.0, 1.0, 0.86),  # mean 0.95: 0.88 to 0.92
        (8.0, 0.5, 0.80),  # mean 0.94, most values at 1: 0.82 to 0.86
    ],
)
@pytest.mark.parametrize("n", [2, 3, 4, 8])
def test_t_intervals_of_skewed_bounded_seeds_cover_less(
    n: int, a: float, b: float, least: float
) -> None:
    draws = np.random.default_rng(n).beta(a, b, size=(2000, n))
    found = coverage(draws, a / (a + b), bounds=(0.0, 1.0))
    assert least <= found < 0.95


def test_cutting_an_interval_off_at_its_bounds_costs_no_coverage() -> None:
    draws = np.random.default_rng(0).beta(20, 1, size=(2000, 4))
    assert coverage(draws, 20 / 21, bounds=(0.0, 1.0)) == coverage(draws, 20 / 21)


def test_t_intervals_are_those_of_the_textbook() -> None:
    values = [4.0, 5.0, 6.0, 9.0]  # mean 6, standard error 1.0801, t(3, 0.975) = 3.1824
    interval = t_interval(values, unit="seed")
    assert interval is not None
    assert (interval.low, interval.high) == pytest.approx((2.5625, 9.4375), abs=2e-4)
    assert (interval.method, interval.unit, interval.level) == ("t", "seed", 0.95)
    cut = t_interval(values, unit="seed", bounds=(3.0, 9.0))
    assert cut is not None
    assert (cut.low, cut.high) == (3.0, 9.0)


@pytest.mark.parametrize("values", [[0.7], [1.0, 1.0, 1.0], [0.1 + 0.2, 0.3]])
def test_there_is_no_t_interval_of_one_value_or_of_equal_ones(values: list[float]) -> None:
    assert t_interval(values, unit="seed") is None
    assert t_test(values) is None


def test_an_interval_holds_the_mean_though_bounds_were_wrong() -> None:
    interval = t_interval([1.1, 1.3], unit="seed", bounds=(0.0, 1.0))
    assert interval is not None
    assert interval.low < 1.2 <= interval.high


def test_p_values_and_intervals_agree() -> None:
    from scipy.stats import ttest_1samp

    values = [0.90, 0.92, 0.94, 0.96]
    for against in (0.85, 0.9, 0.93, 0.99):
        expected = ttest_1samp(values, against).pvalue
        assert t_test(values, against=against) == pytest.approx(expected)
    interval = t_interval(values, unit="seed")
    assert interval is not None
    assert t_test(values, against=interval.low) == pytest.approx(0.05)


def test_holm_gives_the_published_values() -> None:
    # Holm 1979 by hand: the k-th smallest of m times m - k + 1, never below the one before.
    assert holm([0.01, 0.04, None, 0.03]) == [
        pytest.approx(0.03), pytest.approx(0.06), None, pytest.approx(0.06)
    ]  # fmt: skip
    assert holm([None]) == [None]
    assert holm([]) == []


def test_holm_is_that_of_statsmodels() -> None:
    from statsmodels.stats.multitest import multipletests

    p_values = [*np.random.default_rng(0).uniform(0, 0.2, 12).tolist(), 0.05, 0.05]
    assert holm(p_values) == multipletests(p_values, method="holm")[1].tolist()


def test_welch_is_that_of_scipy() -> None:
    from scipy.stats import ttest_ind

    rng = np.random.default_rng(3)
    a_U, b_U = rng.normal(1.0, 0.3, 4), rng.normal(0.6, 1.0, 8)
    theirs: Any = ttest_ind(a_U, b_U, equal_var=False)
    interval = welch_interval([a_U, -b_U], unit="seed")
    assert interval is not None
    assert interval[:2] == pytest.approx(theirs.confidence_interval(LEVEL))
    assert (interval.method, interval.unit) == ("welch", "seed")
    assert welch_test([a_U, -b_U]) == pytest.approx(theirs.pvalue)
    assert welch_test([a_U, -b_U], against=interval.high) == pytest.approx(1 - LEVEL)


def test_welch_of_one_sample_is_students() -> None:
    values = [0.1, 0.4, 0.35, 0.2]
    one, student = welch_interval([values], unit="seed"), t_interval(values, unit="seed")
    assert one is not None
    assert student is not None
    assert one[:2] == pytest.approx(student[:2])
    assert welch_test([values], against=0.1) == pytest.approx(t_test(values, against=0.1))


def test_welch_needs_a_spread_somewhere_and_keeps_bounds() -> None:
    assert welch_interval([[0.25] * 4, [-0.5] * 4], unit="seed") is None
    assert welch_test([[0.25] * 4, [-0.5] * 4]) is None
    assert welch_interval([[0.1, 0.2], [0.3]], unit="seed") is None
    mixed = welch_interval([[0.25] * 4, [-0.5, -0.4, -0.6, -0.5]], unit="seed")
    alone = t_interval([-0.5, -0.4, -0.6, -0.5], unit="seed")
    assert mixed is not None
    assert alone is not None
    assert mixed.low == pytest.approx(0.25 + alone.low), "what does not vary only shifts"
    cut = welch_interval([[0.9, 0.2], [-0.1, -0.9]], unit="seed", bounds=(-1.0, 1.0))
    assert cut is not None
    assert cut[:2] == (-1.0, 1.0)


def test_welch_covers_a_difference_of_unequal_samples_as_often_as_it_says() -> None:
    rng, covered, n = np.random.default_rng(5), 0, 2000
    for _ in range(n):
        interval = welch_interval([rng.normal(1, 0.2, 4), -rng.normal(3, 1.0, 8)], unit="seed")
        assert interval is not None
        covered += interval.low <= -2 <= interval.high
    assert covered / n == pytest.approx(LEVEL, abs=0.015)


def test_rank_correlation_is_that_of_scipy_and_needs_two_orders() -> None:
    from scipy.stats import spearmanr

    rng = np.random.default_rng(4)
    a_U, b_U = rng.integers(0, 5, 20), rng.normal(size=20)
    expected: Any = spearmanr(a_U, b_U)
    assert rank_correlation(a_U, b_U) == pytest.approx(expected.statistic)
    assert rank_correlation([1, 2, 3], [9.0, 4.0, 1.0]) == pytest.approx(-1)
    assert rank_correlation([1, 2, 3], [1.0, 1.0, 1.0]) is None
    assert rank_correlation([1], [1.0]) is None
