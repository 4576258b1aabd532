"""Spread over distance and its trend, on arrays: closed forms, and a slow second computation.

Shape suffixes: ``N`` sequences, ``D`` features, ``T`` positions, ``K`` classes, ``R`` resamples.
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm, ortho_group
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from mecheval.metrics.horizon.spread import SHRINKAGE, along, nearest, over_distance, threshold
from mecheval.metrics.horizon.trend import LEAST, MOST, ends_of, fitted


def drawn(n: int, *, seed: int = 0, n_classes: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """Return classes of unequal size in correlated noise, and a feature that never varies."""
    rng = np.random.default_rng(seed)
    shape = np.random.default_rng(7)
    mean_KD, mixing_DD = 2 * shape.normal(size=(n_classes, 5)), shape.normal(size=(5, 5))
    label_N = rng.choice(n_classes, size=n, p=np.arange(1, n_classes + 1) / 10)
    features_ND = mean_KD[label_N] + rng.normal(size=(n, 5)) @ mixing_DD
    return np.hstack([features_ND, np.full((n, 1), 3.0)]), label_N


def measured(fit: tuple, held: tuple, classes: list[int]) -> float:
    """Return the spread over distance where there is one position."""
    line = nearest(fit[0][:, None], fit[1][:, None], classes)
    places_N1, of_2N1 = along(line, held[0][:, None], held[1][:, None])
    return float(over_distance(places_N1, of_2N1, np.ones((1, len(places_N1))))[0, 0])


def slowly(fit: tuple, held: tuple, classes: list[int]) -> float:
    """All pairs, each with scikit-learn's discriminant of all classes; then means and spreads."""
    (fit_ND, fit_N), (held_ND, held_N) = fit, held
    kept_N = np.isin(fit_N, classes)
    model = LinearDiscriminantAnalysis("lsqr", shrinkage=SHRINKAGE / (1 + SHRINKAGE))
    model.fit(fit_ND[kept_N], fit_N[kept_N])
    worst, found = 0.0, np.nan
    for a in range(len(classes)):
        for b in range(a):
            line_D = (
                model.coef_[a] - model.coef_[b]
                if len(classes) > 2
                else model.coef_[0]  # from the first to the second
            )
            inside = [(fit_ND[fit_N == classes[k]] @ line_D) for k in range(len(classes))]
            left = sum(((x - x.mean()) ** 2).sum() for x in inside) / sum(map(len, inside))
            blur = left / (inside[a].mean() - inside[b].mean()) ** 2
            if blur > worst:
                x, y = (held_ND[held_N == classes[k]] @ line_D for k in (a, b))
                pooled = ((len(x) - 1) * x.var(ddof=1) + (len(y) - 1) * y.var(ddof=1)) / (
                    len(x) + len(y) - 2
                )
                worst, found = blur, np.sqrt(pooled) / (x.mean() - y.mean())
    return found


@pytest.mark.parametrize("classes", [[0, 1, 2, 3], [1, 3], [0, 2, 3]])
def test_scikit_learn_finds_the_same(classes: list[int]) -> None:
    fit, held = drawn(800), drawn(500, seed=1)
    assert measured(fit, held, classes) == pytest.approx(slowly(fit, held, classes), rel=1e-6)


def test_neither_a_basis_nor_a_scale_nor_an_offset_is_of_matter() -> None:
    (fit_ND, fit_N), (held_ND, held_N) = drawn(800), drawn(500, seed=1)
    turn_DD = 40 * ortho_group.rvs(6, random_state=3)
    turned = ((fit_ND @ turn_DD + 500, fit_N), (held_ND @ turn_DD + 500, held_N))
    plain = measured((fit_ND, fit_N), (held_ND, held_N), [0, 1, 2, 3])
    assert measured(*turned, [0, 1, 2, 3]) == pytest.approx(plain, rel=1e-6)


def test_it_is_the_inverse_distance_of_mahalanobis() -> None:
    rng = np.random.default_rng(0)
    scale_D = np.array([0.3, 4.0, 1.0])  # the wide feature tells most by itself

    def words(n: int) -> tuple[np.ndarray, np.ndarray]:
        label_N = rng.integers(2, size=n)
        return label_N[:, None] * [0.5, 4.0, 0.0] + rng.normal(size=(n, 3)) * scale_D, label_N

    exact = 1 / np.hypot(0.5 / 0.3, 4.0 / 4.0)
    assert measured(words(20_000), words(20_000), [0, 1]) == pytest.approx(exact, rel=0.02)


def test_few_words_to_fit_on_do_not_make_it_small() -> None:
    """Where nothing is there, 60 words in 50 dimensions are told apart, and others are not."""
    rng = np.random.default_rng(0)
    fit, held = ((rng.normal(size=(60, 50)), np.arange(60) % 2) for _ in range(2))
    assert measured(fit, fit, [0, 1]) < 0.4
    assert measured(fit, held, [0, 1]) > 1.5


def test_points_have_no_spread_and_what_is_the_same_has_no_distance() -> None:
    label_N = np.arange(60) % 3
    points_ND = np.eye(3)[label_N]
    assert measured((points_ND, label_N), (points_ND, label_N), [0, 1, 2]) == 0
    alike_ND = points_ND[:, :1]  # the second and the third class are at one point
    noisy_ND = alike_ND + 0.1 * np.random.default_rng(0).normal(size=alike_ND.shape)
    for features_ND in (alike_ND, noisy_ND):
        line = nearest(features_ND[:, None], label_N[:, None], [0, 1, 2])
        assert {line.first, line.second} == {1, 2}
    assert measured((alike_ND, label_N), (alike_ND, label_N), [0, 1, 2]) == np.inf


def of_positions(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return 3000 words of three positions, whose noise grows and whose states move together."""
    rng = np.random.default_rng(seed)
    label_NT = rng.integers(3, size=(3000, 3))
    place_K2 = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 3.0]])
    noise_NT2 = rng.normal(size=(3000, 3, 2)) * np.array([0.1, 0.2, 0.4])[:, None]
    return place_K2[label_NT] + noise_NT2 + np.array([0.0, 0.0, 0.1])[:, None], label_NT


def test_positions_share_a_line_and_have_means_of_their_own() -> None:
    fit, held = of_positions(0), of_positions(1)
    line = nearest(*fit, [0, 1, 2])
    cells = [array.reshape(9000, *array.shape[2:]) for array in fit]
    alone = nearest(cells[0][:, None], cells[1][:, None], [0, 1, 2])
    assert (line.first, line.second) == (alone.first, alone.second) == (0, 1)
    np.testing.assert_allclose(line.direction_D, alone.direction_D)
    places = along(line, *held)
    ratio_T = over_distance(*places, np.ones((1, 3000)))[0]
    np.testing.assert_allclose(ratio_T, [0.1, 0.2, 0.4], rtol=0.06)


def test_resamples_are_weights() -> None:
    stream_NTD, label_NT = of_positions(0)
    line = nearest(stream_NTD, label_NT, [0, 1, 2])
    chosen_N = np.random.default_rng(0).integers(3000, size=3000)
    weight_1N = np.bincount(chosen_N, minlength=3000)[None].astype(float)
    weighted = over_distance(*along(line, stream_NTD, label_NT), weight_1N)
    plain = over_distance(
        *along(line, stream_NTD[chosen_N], label_NT[chosen_N]), np.ones((1, 3000))
    )
    np.testing.assert_allclose(weighted, plain)


@pytest.mark.parametrize(("n_classes", "known"), [(2, 0.375), (3, 0.2806), (6, 0.217)])
def test_the_threshold_is_that_of_states_that_are_wrong_in_one_of_ten_words(
    n_classes: int, known: float
) -> None:
    assert threshold(0.9, n_classes) == pytest.approx(known, abs=5e-4)
    rng, n = np.random.default_rng(0), 40_000
    label_N = rng.integers(n_classes, size=n)
    other_N = (label_N + rng.integers(1, n_classes, size=n)) % n_classes
    state_N = np.where(rng.random(n) < 0.9, label_N, other_N)
    words = np.eye(n_classes)[state_N], label_N
    assert measured(words, words, list(range(n_classes))) == pytest.approx(known, rel=0.05)


def test_blurred_states_are_as_often_right_at_the_threshold_of_two() -> None:
    assert norm.cdf(0.5 / threshold(0.9, 2)) == pytest.approx(0.909, abs=1e-3)


POSITION_T = np.arange(8, 17)


@pytest.mark.parametrize(("growth", "horizon"), [(0.5, 4.0), (1.0, 2.0), (2.0, 2**0.5)])
def test_a_power_of_the_position_is_found_and_followed(growth: float, horizon: float) -> None:
    ratio_RT = 0.1 * (POSITION_T / 16)[None] ** growth
    trend = fitted(ratio_RT, POSITION_T, 16)
    np.testing.assert_allclose([trend.level_R[0], trend.growth_R[0]], [0.1, growth])
    assert trend.horizon(0.2)[0] == pytest.approx(horizon)
    assert trend.at(horizon)[0] == pytest.approx(0.2)


def test_the_line_is_that_of_least_squares() -> None:
    ratio_RT = np.random.default_rng(0).uniform(0.05, 0.2, size=(3, len(POSITION_T)))
    trend = fitted(ratio_RT, POSITION_T, 16)
    for r, ratio_T in enumerate(ratio_RT):
        slope, offset = np.polyfit(np.log(POSITION_T), np.log(ratio_T), 1)
        assert trend.growth_R[r] == pytest.approx(slope)
        assert trend.level_R[r] == pytest.approx(np.exp(offset + slope * np.log(16)))


def test_what_does_not_grow_has_no_end_and_what_is_lost_has_none_left() -> None:
    level_RT = np.array([[0.0], [0.1], [0.5], [np.inf]])
    trend = fitted(np.tile(level_RT, len(POSITION_T)), POSITION_T, 16)
    np.testing.assert_allclose(trend.level_R, [LEAST, 0.1, 0.5, MOST])
    np.testing.assert_array_equal(trend.growth_R, 0)
    np.testing.assert_array_equal(trend.horizon(0.375), [np.inf, np.inf, 0, 0])
    falling = fitted(0.1 * (16 / POSITION_T)[None], POSITION_T, 16)
    assert falling.horizon(0.375)[0] == np.inf


def test_an_end_of_an_interval_is_a_number_or_infinite() -> None:
    value_R = np.array([1.0] * 50 + [np.inf] * 50)
    assert [float(end) for end in ends_of(value_R)] == [1.0, np.inf]
