"""Intervals against published values, their coverage, and their behaviour at the boundary."""

import numpy as np
import pytest

from mecheval.stats import (
    LEVEL,
    N_RESAMPLES,
    mean_interval,
    percentile_interval,
    proportion_interval,
    resamples,
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


def test_bootstrap_covers_the_mean_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(300):
        interval = mean_interval(rng.normal(size=40), rng, unit="sequence")
        covered += interval.low <= 0 <= interval.high
    assert covered / 300 == pytest.approx(LEVEL, abs=0.04)


def test_bootstrap_has_the_width_of_the_normal_interval() -> None:
    rng = np.random.default_rng(1)
    values_U = rng.normal(size=400)
    interval = mean_interval(values_U, rng, unit="sequence")
    expected = 2 * 1.96 * values_U.std() / np.sqrt(len(values_U))
    assert interval.high - interval.low == pytest.approx(expected, rel=0.1)
    assert interval.n_resamples == N_RESAMPLES


def test_the_same_stream_gives_the_same_interval() -> None:
    values_U = np.arange(10.0)
    first, second = (
        mean_interval(values_U, np.random.default_rng(3), unit="pair") for _ in range(2)
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
