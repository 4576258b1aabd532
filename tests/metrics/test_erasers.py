"""Erasers against exact linear algebra: section 5.3 of the formal-language reference."""

from __future__ import annotations

import numpy as np
import pytest

from mecheval.metrics.bottleneck import erasers
from mecheval.metrics.bottleneck.erasers import ERASERS, Covariance, Fit
from mecheval.metrics.probe.probes import Split, fit_logistic, score_balanced

GRID = [0.001, 0.03, 1.0, 30.0]
SIZES = {"fit": 12000, "train": 2000, "validation": 600, "test": 2000}


def correlated(n_classes: int, width: int, copies: int) -> dict[str, Split]:
    """Activations with correlated features and a code that is written several times over."""
    rng = np.random.default_rng(0)
    mixing = rng.standard_normal((width, width)) / np.sqrt(width)
    code = rng.standard_normal((copies, n_classes, width)) / np.sqrt(copies)
    code -= code.mean(1, keepdims=True)
    splits = {}
    for name, n in SIZES.items():
        labels = rng.integers(0, n_classes, n)
        features = rng.standard_normal((n, width)) @ mixing + code[:, labels].sum(0)
        splits[name] = Split(features, labels)
    return splits


def fit_of(rows: Split, validation: Split) -> Fit:
    n_classes = rows.labels_N.max() + 1
    onehot = np.eye(n_classes)[rows.labels_N]
    count = onehot.sum(0)
    return Fit(
        (onehot / count).T @ rows.features_ND,
        count,
        Covariance(np.cov(rows.features_ND.T, bias=True)),
        rows,
        validation,
    )


def read(splits: dict[str, Split], erase) -> tuple[float, float, float]:
    """Return the accuracy of the probe before, of the old probe after, and of a refitted one."""
    before = fit_logistic(splits["train"], splits["validation"], GRID)
    after = {name: Split(erase(s.features_ND), s.labels_N) for name, s in splits.items()}
    refit = fit_logistic(after["train"], after["validation"], GRID, scale=1.0)
    labels = splits["test"].labels_N

    def score(probe, features) -> float:
        return score_balanced(probe.predict(features) == labels, labels)

    return (
        score(before, splits["test"].features_ND),
        score(before, after["test"].features_ND),
        score(refit, after["test"].features_ND),
    )


@pytest.mark.parametrize(("n_classes", "copies"), [(2, 1), (2, 6), (6, 6)])
def test_means_are_erased_for_good_and_probe_directions_are_not(n_classes, copies) -> None:
    splits = correlated(n_classes, 64, copies)
    for name in ("class_mean", "leace", "direction", "row_space"):
        # A probe's own directions are those of the probe that is asked again afterwards.
        rows = splits["fit" if name in ("class_mean", "leace") else "train"]
        eraser = ERASERS[name](fit_of(rows, splits["validation"]), GRID)
        before, old, refit = read(splits, eraser)
        assert before > 0.98
        if name in ("class_mean", "leace"):
            assert eraser.rank == n_classes - 1
            assert refit <= 1 / n_classes + 0.03
        else:
            assert eraser.rank == (1 if name == "direction" else n_classes - 1)
            assert refit > 0.9
        if name != "direction" or n_classes == 2:
            assert old < 1 / n_classes + 0.05


def test_inlp_needs_more_directions_than_classes() -> None:
    splits = correlated(2, 32, 1)
    eraser = erasers.inlp(fit_of(splits["fit"], splits["validation"]), GRID)
    _, _, refit = read(splits, eraser)
    assert 2 <= eraser.rank <= erasers.INLP_ROUNDS
    assert refit < 0.6


def test_erasure_is_exact_on_the_cells_it_was_fitted_on() -> None:
    rows = correlated(4, 16, 2)["fit"]
    fit = fit_of(rows, rows)
    for name in ("class_mean", "leace"):
        erased = ERASERS[name](fit, GRID)(rows.features_ND)
        for value in range(4):
            assert erased[rows.labels_N == value].mean(0) == pytest.approx(fit.mean_D, abs=1e-10)


def test_leace_changes_less_than_the_orthogonal_projection() -> None:
    rows = correlated(2, 32, 1)["fit"]
    fit = fit_of(rows, rows)
    moved = {
        name: ((ERASERS[name](fit, GRID)(rows.features_ND) - rows.features_ND) ** 2).sum()
        for name in ("class_mean", "leace")
    }
    assert moved["leace"] < moved["class_mean"]


def test_controls_remove_their_rank() -> None:
    rows = correlated(3, 16, 1)["fit"]
    fit = fit_of(rows, rows)
    drawn = erasers.random_subspaces(fit.mean_D, 2, 3, np.random.default_rng(0))
    top = erasers.top_components(fit, 2)
    for eraser in (*drawn, top):
        left = eraser(rows.features_ND[:100]) - fit.mean_D
        assert np.linalg.matrix_rank(left, tol=1e-6) == 14
        np.testing.assert_allclose(eraser(left + fit.mean_D), left + fit.mean_D)
    spread = [np.trace(np.cov(e(rows.features_ND).T)) for e in (*drawn, top)]
    assert spread[-1] == min(spread)


def test_nothing_to_erase_removes_nothing() -> None:
    features = np.random.default_rng(0).standard_normal((10, 4))
    flat = Fit(np.zeros((2, 4)), np.ones(2), Covariance(np.eye(4)), None, None)  # type: ignore[arg-type]
    eraser = erasers.class_mean(flat, GRID)
    assert eraser.rank == 0
    assert eraser(features) == pytest.approx(features)
