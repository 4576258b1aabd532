"""Logistic regressions fitted together, against one after the other, and INLP by the slow way."""

from __future__ import annotations

import numpy as np
import pytest

from mecheval.metrics.bottleneck import erasers
from mecheval.metrics.bottleneck.erasers import Covariance, Fit, Probing
from mecheval.metrics.probe.design import design
from mecheval.metrics.probe.logistic import fit_strengths
from mecheval.metrics.probe.probes import Split, fit_logistic
from mecheval.metrics.probe.together import Rows, fit_together

N_ROWS, WIDTH = 500, 12


def drawn(n_classes: int, n_sets: int) -> tuple[np.ndarray, np.ndarray]:
    """Return rows, and labels of which the first set can nearly be told from them."""
    rng = np.random.default_rng(0)
    mixing = rng.standard_normal((WIDTH, WIDTH)) * np.arange(1, WIDTH + 1)
    labels_JN = rng.integers(n_classes, size=(n_sets, N_ROWS))
    code = 3.0 * rng.standard_normal((n_classes, WIDTH))
    return (rng.standard_normal((N_ROWS, WIDTH)) + code[labels_JN[0]]) @ mixing + 4.0, labels_JN


@pytest.mark.parametrize("n_classes", [2, 4])
@pytest.mark.parametrize("inverse_l2", [0.03, 1.0])
def test_weights_are_those_of_sets_fitted_alone(n_classes: int, inverse_l2: float) -> None:
    rows_ND, labels_JN = drawn(n_classes, 5)
    rng = np.random.default_rng(1)
    left_JDD = np.stack([np.eye(WIDTH)] * 5)
    for j in range(1, 5):  # every set has lost another direction
        axis = rng.standard_normal(WIDTH)
        left_JDD[j] -= np.outer(axis, axis) / (axis @ axis)
    designs = [design(rows_ND @ left_DD) for left_DD in left_JDD]
    maps_JDD = left_JDD * np.stack([one.scaler.inverse_D for one in designs])[:, None]
    centred_ND = (rows_ND - rows_ND.mean(0)).astype(np.float32)
    made_JSD, _ = fit_together(Rows.of(rows_ND), maps_JDD, labels_JN, np.full(5, inverse_l2))
    for one, labels_N, made_SD, map_DD in zip(designs, labels_JN, made_JSD, maps_JDD, strict=True):
        ((weights_SD, _, converged),) = fit_strengths(one, labels_N, [inverse_l2])
        assert converged
        scores = (centred_ND @ weights.T for weights in (made_SD, weights_SD @ map_DD.T))
        made_NS, wanted_NS = (score_NS - score_NS.mean(1, keepdims=True) for score_NS in scores)
        assert np.abs(made_NS - wanted_NS).max() < 0.02 * np.abs(wanted_NS).max()


def test_a_map_that_all_sets_share_is_given_once() -> None:
    rows_ND, labels_JN = drawn(3, 4)
    rows, inverse_l2_J = Rows.of(rows_ND), np.array([0.03, 1.0, 30.0, 1.0])
    map_1DD = rows.standardising(np.eye(WIDTH)[None])
    once, each = (
        fit_together(rows, maps_JDD, labels_JN, inverse_l2_J)
        for maps_JDD in (map_1DD, np.repeat(map_1DD, 4, 0))
    )
    for of_once, of_each in zip(once, each, strict=True):
        np.testing.assert_array_equal(of_once, of_each)


def fits_of(n_classes: int, n_sets: int) -> list[Fit]:
    rows_ND, labels_JN = drawn(n_classes, n_sets)
    rows_ND = rows_ND.astype(np.float32)
    covariance = Covariance(np.cov(rows_ND.T, bias=True))
    cut = int(0.8 * N_ROWS)
    return [
        Fit(
            np.stack([rows_ND[labels_N == s].mean(0) for s in range(n_classes)]),
            np.bincount(labels_N),
            covariance,
            Split(rows_ND[:cut], labels_N[:cut]),
            Split(rows_ND[cut:], labels_N[cut:]),
        )
        for labels_N in labels_JN
    ]


@pytest.mark.parametrize("n_classes", [2, 4])
def test_probes_of_all_label_sets_are_those_of_each(n_classes: int) -> None:
    strengths = (0.001, 0.03, 1.0)
    fits = fits_of(n_classes, 4)
    made = erasers.erasers_of("row_space", fits, Probing(strengths))
    for fit, eraser in zip(fits, made, strict=True):
        probe = fit_logistic(fit.rows, fit.validation, strengths, guarded=False)
        directions_SD = probe.directions_SD - probe.directions_SD.mean(0)
        (found_SD,) = fit.probes.values()
        assert np.abs(found_SD - directions_SD).max() < 0.02 * np.abs(directions_SD).max()
        assert eraser.rank == n_classes - 1
        (alone,) = erasers.erasers_of("row_space", [fit], Probing(strengths))
        np.testing.assert_allclose(alone.left_DK, eraser.left_DK, atol=1e-6)


def slow_inlp(fit: Fit, probing: Probing) -> np.ndarray:
    """Return the projection that is left, probe by probe on rows projected anew."""
    left_DD, rows = np.eye(WIDTH), fit.all_rows
    for _ in range(probing.inlp_rounds):
        seen = Split((rows.features_ND - fit.mean_D) @ left_DD, rows.labels_N)
        scale = fit.covariance.typical
        probe = fit_logistic(seen, seen, [probing.inlp_inverse_l2], scale=scale, guarded=False)
        directions_SD = probe.directions_SD - probe.directions_SD.mean(0)
        _, size_S, axes_SD = np.linalg.svd(directions_SD.astype(np.float64) @ left_DD)
        axes_KD = axes_SD[: len(size_S)][size_S > 1e-6 * size_S[0]]
        left_DD = left_DD - axes_KD.T @ axes_KD
    return left_DD


@pytest.mark.parametrize("n_classes", [2, 4])
def test_inlp_of_all_label_sets_is_that_of_each(n_classes: int) -> None:
    fits, probing = fits_of(n_classes, 4), Probing((), inlp_rounds=3)
    for fit, eraser in zip(fits, erasers.inlp_of_all(fits, probing), strict=True):
        assert eraser.rank == 3 * (n_classes - 1)
        left_DD = np.eye(WIDTH) - eraser.left_DK @ eraser.left_DK.T
        np.testing.assert_allclose(left_DD, slow_inlp(fit, probing), atol=0.02)
        alone = erasers.inlp(fit, probing)
        np.testing.assert_allclose(
            alone.left_DK @ alone.left_DK.T, eraser.left_DK @ eraser.left_DK.T, atol=0.02
        )


def test_inlp_ends_where_nothing_is_left() -> None:
    (eraser,) = erasers.inlp_of_all(fits_of(4, 1), Probing((), inlp_rounds=20))
    assert eraser.rank == WIDTH


def test_label_sets_that_lack_rows_are_fitted_by_themselves() -> None:
    fits, probing = fits_of(2, 3), Probing((), inlp_rounds=2)
    few = Split(*(part[:-7] for part in fits[1].rows))
    fits[1] = Fit(
        fits[1].class_means_SD, fits[1].count_S, fits[1].covariance, few, fits[1].validation
    )
    made = erasers.erasers_of("inlp", fits, probing)
    for fit, eraser in zip(fits, made, strict=True):
        left_DD = np.eye(WIDTH) - eraser.left_DK @ eraser.left_DK.T
        np.testing.assert_allclose(left_DD, slow_inlp(fit, probing), atol=0.02)
