"""Erasers against exact linear algebra: section 5.3 of the formal-language reference."""

from __future__ import annotations

import numpy as np
import pytest

from mecheval.metrics.bottleneck import erasers
from mecheval.metrics.bottleneck.erasers import ERASERS, Covariance, Eraser, Fit, Probing
from mecheval.metrics.probe.probes import Split, fit_logistic, score_balanced

GRID = [0.001, 0.03, 1.0, 30.0]
PROBING = Probing(GRID)
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
        eraser = ERASERS[name](fit_of(rows, splits["validation"]), PROBING)
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


def test_inlp_removes_as_many_directions_as_it_has_rounds() -> None:
    splits = correlated(2, 32, 1)
    fit = fit_of(splits["fit"], splits["validation"])
    refits = []
    for rounds in (1, 20):
        probing = Probing(GRID, inlp_rows=4000, inlp_rounds=rounds)
        eraser = erasers.inlp(fit, probing)
        assert eraser.rank == rounds
        refits.append(read(splits, eraser)[2])
    assert refits[0] > 0.9
    assert refits[1] < 0.6


def test_what_inlp_removes_depends_on_its_rows_and_its_l2() -> None:
    splits = correlated(3, 32, 2)
    fit = fit_of(splits["fit"], splits["validation"])
    first = erasers.inlp(fit, Probing(GRID, inlp_rounds=3))
    for other in (
        Probing(GRID, inlp_rounds=3, inlp_rows=500),
        Probing(GRID, inlp_rounds=3, inlp_inverse_l2=0.001),
    ):
        assert not np.allclose(first(np.eye(32)), erasers.inlp(fit, other)(np.eye(32)), atol=1e-3)


def test_erasure_is_exact_on_the_cells_it_was_fitted_on() -> None:
    rows = correlated(4, 16, 2)["fit"]
    fit = fit_of(rows, rows)
    for name in ("class_mean", "leace"):
        erased = ERASERS[name](fit, PROBING)(rows.features_ND)
        for value in range(4):
            assert erased[rows.labels_N == value].mean(0) == pytest.approx(fit.mean_D, abs=1e-10)


def test_no_eraser_that_equals_the_means_changes_less_than_leace() -> None:
    """Belrose et al. 2023, theorem 4.3, in the norm that whitens and in the usual one."""
    rows = correlated(3, 16, 2)["fit"]
    fit = fit_of(rows, rows)
    centred = rows.features_ND - fit.mean_D
    leace = erasers.leace(fit, PROBING)
    variance, axes = fit.covariance.spectrum
    norms = {"usual": np.eye(16), "whitening": (axes / np.sqrt(variance)) @ axes.T}
    means_S = fit.class_means_SD - fit.mean_D

    def moved(eraser_DD: np.ndarray, norm: str) -> float:
        return float(((centred @ (eraser_DD.T - np.eye(16)) @ norms[norm]) ** 2).sum(1).mean())

    own_DD = np.eye(16) - leace.left_DK @ leace.right_DK.T
    orthogonal = erasers.class_mean(fit, PROBING)
    assert np.abs(means_S @ own_DD.T).max() < 1e-9
    rng = np.random.default_rng(0)
    for norm in norms:
        least = moved(own_DD, norm)
        assert least < moved(np.eye(16) - orthogonal.left_DK @ orthogonal.right_DK.T, norm)
        for size in (1e-3, 1e-2, 0.1, 1.0):
            # Whatever is added and keeps the means where they are makes the change larger.
            keeps_DD = np.eye(16) - orthogonal.left_DK @ orthogonal.left_DK.T
            other_DD = own_DD + size * rng.standard_normal((16, 16)) @ keeps_DD
            assert np.abs(means_S @ other_DD.T).max() < 1e-9
            assert moved(other_DD, norm) > least


def test_where_nothing_is_to_be_read_class_means_remove_what_varies_and_leace_next_to_nothing() -> (
    None
):
    """The labels are noise, and one of 64 directions holds nearly all variance."""
    rng = np.random.default_rng(0)
    scale_D = np.array([30.0] + [1.0] * 63)
    features = rng.standard_normal((8000, 64)) * scale_D
    lost = {"leace": [], "class_mean": []}
    for _ in range(20):
        rows = Split(features, rng.integers(0, 2, 8000))
        fit = fit_of(rows, rows)
        for name, shares in lost.items():
            erased = ERASERS[name](fit, PROBING)(features)
            shares.append(1 - erased[:, 0].var() / features[:, 0].var())
    assert np.mean(lost["leace"]) < 0.05
    assert np.mean(lost["class_mean"]) > 0.5


def test_nothing_to_erase_removes_nothing() -> None:
    features = np.random.default_rng(0).standard_normal((10, 4))
    flat = Fit(np.zeros((2, 4)), np.ones(2), Covariance(np.eye(4)), None, None)  # type: ignore[arg-type]
    eraser = erasers.class_mean(flat, PROBING)
    assert eraser.rank == 0
    assert eraser(features) == pytest.approx(features)


def test_what_an_eraser_leaves_is_the_variance_of_what_it_returns() -> None:
    rng = np.random.default_rng(0)
    features_ND = rng.normal(size=(500, 6)) @ rng.normal(size=(6, 6))
    covariance = Covariance(np.cov(features_ND.T, bias=True))
    left_DK, right_DK = rng.normal(size=(6, 2)), rng.normal(size=(6, 2))
    eraser = Eraser(features_ND.mean(0), left_DK, right_DK)
    expected = eraser(features_ND).var(0).sum() / features_ND.var(0).sum()
    assert eraser.left(covariance) == pytest.approx(expected)
