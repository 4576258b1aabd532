"""Probes on synthetic features whose information is known."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from mecheval.metrics.probe import probes
from mecheval.metrics.probe.design import design
from mecheval.metrics.probe.probes import (
    RidgeTargets,
    Split,
    fit_logistic,
    ridge_predictions,
    score_balanced,
)

GRID = [0.001, 0.03, 1.0, 30.0]


def classes(n: int, rng: np.random.Generator, *, strength: float, n_classes: int = 3) -> Split:
    labels = rng.choice(n_classes, n, p=np.arange(1, n_classes + 1) / sum(range(n_classes + 1)))
    means = np.random.default_rng(9).standard_normal((n_classes, 12))
    features = strength * means[labels] + rng.standard_normal((n, 12))
    return Split(features.astype(np.float32), labels)


def ridge_labels(train: Split, labels_JN: np.ndarray, test: Split, n_classes: int) -> np.ndarray:
    of_train = design(train.features_ND)
    test_ME = of_train.scaler.with_ones(test.features_ND)
    return ridge_predictions(of_train, RidgeTargets.of(labels_JN, n_classes), test_ME)


def test_logistic_reads_what_is_there_and_nothing_else() -> None:
    rng = np.random.default_rng(0)
    for strength, low, high in ((3.0, 0.97, 1.0), (0.0, 1 / 3, 1 / 3)):
        train, validation, test = (classes(n, rng, strength=strength) for n in (600, 300, 600))
        probe = fit_logistic(train, validation, GRID)
        found = score_balanced(probe.predict(test.features_ND) == test.labels_N, test.labels_N)
        assert low <= found <= high
        assert probe.converged
        assert (probe.inverse_l2 == 0) == (strength == 0)


def test_two_classes_give_opposite_directions() -> None:
    rng = np.random.default_rng(0)
    train, validation = (classes(400, rng, strength=2.0, n_classes=2) for _ in range(2))
    probe = fit_logistic(train, validation, GRID)
    assert probe.directions_SD.shape == (2, 12)
    assert probe.directions_SD[0] == pytest.approx(-probe.directions_SD[1])


def test_equal_means_of_unequal_spread_are_not_read() -> None:
    """An argmax of vanishing weights would be right in more than a third of the cases."""
    rng = np.random.default_rng(0)

    def draw(n: int) -> Split:
        labels = rng.integers(0, 3, n)
        sign = rng.choice([-1.0, 1.0], n)
        features = 0.1 * rng.standard_normal((n, 6))
        features[:, 0] += np.where(labels == 0, 0.0, sign)
        return Split(features, labels)

    probe = fit_logistic(draw(1500), draw(500), GRID)
    test = draw(1000)
    assert score_balanced(probe.predict(test.features_ND) == test.labels_N, test.labels_N) == (
        pytest.approx(1 / 3)
    )


def test_log_loss_and_evidence_of_a_sure_and_of_a_constant_probe() -> None:
    labels = np.array([0, 0, 0, 1] * 5)
    constant, sure = np.zeros((20, 2)), 50.0 * np.eye(2)[labels]
    assert probes.log_loss_gain(constant, labels) == pytest.approx(0.0)
    assert probes.evidence(constant, labels) == 0.0
    assert probes.log_loss_gain(sure, labels) == pytest.approx(np.log(2))
    assert probes.evidence(sure, labels) > 5
    assert probes.evidence(-sure, labels) < -5
    # Overconfidence costs nothing: the best temperature is taken.
    wrong_once = np.where(np.arange(20)[:, None] == 0, -sure, sure)
    assert probes.log_loss_gain(wrong_once, labels) > 0.2


def test_a_weak_code_among_many_features_is_read() -> None:
    rng = np.random.default_rng(0)
    mixing = rng.standard_normal((300, 300)) / np.sqrt(300)
    code = rng.standard_normal((4, 300))

    def draw(n: int) -> Split:
        labels = rng.integers(0, 4, n)
        return Split(rng.standard_normal((n, 300)) @ mixing + 0.04 * code[labels], labels)

    train, validation, test = draw(1000), draw(500), draw(1000)
    probe = fit_logistic(train, validation, GRID)
    found = score_balanced(probe.predict(test.features_ND) == test.labels_N, test.labels_N)
    ridge = ridge_labels(train, train.labels_N[None], test, 4)
    assert found > score_balanced(ridge[0] == test.labels_N, test.labels_N) - 0.05
    assert found > 0.5


def test_features_that_vary_by_rounding_only_are_left_out() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 500)
    erased = np.stack([np.ones(500) + 1e-9 * labels, rng.standard_normal(500)], 1)
    assert design(erased, scale=1.0).scaler.inverse_D[0] == 0.0
    for dtype in (np.float32, np.float64):
        constant = np.full((50, 2), 1000.1, dtype)
        assert design(constant, scale=1.0).scaler.inverse_D.tolist() == [0.0, 0.0]


def test_many_ridge_probes_equal_one_at_a_time() -> None:
    rng = np.random.default_rng(0)
    train, test = classes(300, rng, strength=1.0), classes(100, rng, strength=1.0)
    labels_JN = np.stack([train.labels_N, rng.permutation(train.labels_N)])
    scaled = design(train.features_ND).scaler
    train_ND, test_MD = scaled(train.features_ND), scaled(test.features_ND)
    together = ridge_labels(train, labels_JN, test, 3)
    for labels_N, predicted in zip(labels_JN, together, strict=True):
        target = np.eye(3)[labels_N] / np.bincount(labels_N) * len(labels_N)
        ridge = Ridge(alpha=probes.RIDGE * 300).fit(train_ND, target)
        assert (ridge.predict(test_MD).argmax(1) == predicted).mean() > 0.99


def test_a_class_that_a_label_set_lacks_is_not_predicted() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(1, 3, (1, 50))
    train = Split(rng.standard_normal((50, 4)).astype(np.float32), labels[0])
    assert set(ridge_labels(train, labels, train, 3)[0]) == {1, 2}
