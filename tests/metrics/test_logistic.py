"""Logistic regression against scikit-learn's, run until it has converged."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from scipy.linalg import cho_solve
from sklearn.linear_model import LogisticRegression

from mecheval.metrics.probe import logistic
from mecheval.metrics.probe.design import design, factor
from mecheval.metrics.probe.logistic import fit_strengths

STRENGTHS = (0.001, 0.03, 1.0, 30.0)


def correlated(n_classes: int, *, n: int = 600, width: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """Features most of whose variance lies in few directions, with classes of unequal size."""
    rng = np.random.default_rng(0)
    mixing = np.linalg.qr(rng.standard_normal((width, width)))[0] / np.arange(1, width + 1)[:, None]
    labels_N = np.minimum(rng.geometric(0.5, n) - 1, n_classes - 1)
    means = rng.standard_normal((n_classes, width))
    features_ND = (rng.standard_normal((n, width)) + 0.5 * means[labels_N]) @ mixing + 3.0
    return features_ND.astype(np.float32), labels_N


@pytest.mark.parametrize("n_classes", [2, 5])
def test_the_minimum_is_that_of_scikit_learn(n_classes: int) -> None:
    features_ND, labels_N = correlated(n_classes)
    of_train = design(features_ND)
    rows_ND = of_train.rows_NE[:, :-1].astype(np.float64)
    found = fit_strengths(of_train, labels_N, STRENGTHS)
    for strength, solution in zip(STRENGTHS, found, strict=True):
        model = LogisticRegression(C=strength, class_weight="balanced", tol=1e-8, max_iter=10_000)
        model.fit(rows_ND, labels_N)
        assert solution.converged
        logits_NS = rows_ND @ solution.weights_SD.T + solution.bias_S
        expected_NS = model.decision_function(rows_ND)
        if n_classes == 2:
            logits_NS = logits_NS[:, 1] - logits_NS[:, 0]
        assert np.corrcoef(logits_NS.ravel(), expected_NS.ravel())[0, 1] > 0.999
        assert np.abs(logits_NS - expected_NS).max() < 0.05 * np.abs(expected_NS).max()


def test_strengths_do_not_disturb_each_other() -> None:
    features_ND, labels_N = correlated(3)
    of_train = design(features_ND)
    together = fit_strengths(of_train, labels_N, STRENGTHS)
    for strength, solution in zip(STRENGTHS, together, strict=True):
        (alone,) = fit_strengths(of_train, labels_N, [strength])
        largest = np.abs(alone.weights_SD).max()
        assert np.abs(solution.weights_SD - alone.weights_SD).max() < 0.05 * largest
    sizes = [float(np.square(solution.weights_SD).sum()) for solution in together]
    assert all(weak > strong for strong, weak in pairwise(sizes))


def test_gradient_and_preconditioned_gradient() -> None:
    features_ND, labels_N = correlated(3)
    of_train = design(features_ND)
    problem = logistic._Problem(of_train, labels_N, np.array([0.1, 1.0]))
    rng = np.random.default_rng(1)
    weights_ASE = 0.1 * rng.standard_normal((2, 3, 41)).astype(np.float32)
    along_ASE = rng.standard_normal(weights_ASE.shape).astype(np.float32)
    active = np.arange(2)
    ahead, behind = (
        problem.evaluate(weights_ASE + step * along_ASE, active) for step in (2e-3, -2e-3)
    )
    for k, point in enumerate(problem.evaluate(weights_ASE, active)):
        slope = (ahead[k].loss - behind[k].loss) / 4e-3
        assert np.vdot(point.gradient_SE, along_ASE[k]) == pytest.approx(slope, rel=1e-3)
        solved_ES = cho_solve(problem.factor, point.gradient_SE.T)
        assert point.scaled_SE == pytest.approx(3 * solved_ES.T, rel=1e-4, abs=1e-6)


def test_a_search_that_runs_out_of_evaluations_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logistic, "MAX_EVALUATIONS", 3)
    features_ND, labels_N = correlated(3)
    solutions = fit_strengths(design(features_ND), labels_N, [30.0])
    assert [solution.converged for solution in solutions] == [False]


def test_the_factor_leaves_the_intercept_alone() -> None:
    features_ND, _ = correlated(2)
    of_train = design(features_ND)
    rows_NE = of_train.rows_NE.astype(np.float64)
    ridge_E = np.append(np.full(40, 0.3), 0.0)
    expected = np.linalg.inv(rows_NE.T @ rows_NE / len(rows_NE) + np.diag(ridge_E))
    found = cho_solve(factor(of_train.gram_EE, 0.3), np.eye(41, dtype=np.float32))
    assert found == pytest.approx(expected, abs=1e-4)
    assert np.triu(of_train.gram_EE) == pytest.approx(np.triu(rows_NE.T @ rows_NE) / 600, abs=1e-4)
