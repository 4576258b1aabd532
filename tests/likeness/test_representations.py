"""Scores of likeness on pairs whose likeness is known, and what is said where there is none."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
import sparse_truth
import torch

import mecheval
from mecheval.errors import MechevalError
from mecheval.likeness.representations import NAMES, WITHOUT_MEANS, Score

LINEAR = NAMES[:4]
N, D = 600, 16


def drawn(seed: int, shape: tuple[int, ...] = (N, D)) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


def values(x: Any, y: Any, *given: Any, **more: Any) -> dict[str, float | None]:
    found = mecheval.compare_representations(x, y, *given, **({"n_permutations": 0} | more))
    return {name: score.value for name, score in found.items()}


X_ND = drawn(0) * np.linspace(0.5, 2, D)
TURNED_ND = X_ND @ np.linalg.qr(drawn(1, (D, D)))[0]


@pytest.mark.parametrize(
    ("other_ND", "exact"),
    [
        (X_ND, NAMES),
        (X_ND[:, ::-1], NAMES),
        (X_ND * 7e150, NAMES),
        (TURNED_ND * 1e-200, tuple(name for name in NAMES if name != "rsa")),
        (X_ND + 3.0 * np.arange(D), LINEAR),  # angles between rows are no longer the same
    ],
    ids=["identical", "permuted", "scaled", "rotated", "moved"],
)
def test_what_is_the_same_but_for_its_frame_is_alike(
    other_ND: np.ndarray, exact: tuple[str, ...]
) -> None:
    found = values(X_ND, other_ND)
    assert {name: found[name] for name in exact} == pytest.approx(dict.fromkeys(exact, 1.0))
    assert all(found[name] < 0.999 for name in set(NAMES) - set(exact))


def test_invertible_maps_keep_canonical_correlations_and_nothing_else() -> None:
    found = values(X_ND, X_ND @ (np.eye(D) + 0.5 * drawn(2, (D, D)) / math.sqrt(D)))
    assert found["svcca"] == pytest.approx(1.0, abs=0.03)  # 1 % of the variance is left out
    assert all(0.3 < found[name] < 0.99 for name in set(NAMES) - {"svcca"})


def test_unrelated_rows_score_what_their_number_alone_gives() -> None:
    """Nuclear norms of normal matrices are 8 / (3 pi) d^1.5; CKA of white rows tends to d / n."""
    x_ND, y_ND = drawn(3, (2000, 64)), drawn(4, (2000, 64))
    found = mecheval.compare_representations(x_ND, y_ND)
    by_chance = 8 / (3 * math.pi) * math.sqrt(64 / 2000)
    expected = {
        "cka": 64 / 2000 / (1 + 64 / 2000), "debiased_cka": 0.0, "procrustes": by_chance,
        "svcca": by_chance, "rsa": 0.0, "mutual_knn": 10 / 1999,
    }  # fmt: skip
    for name, value in expected.items():
        score = found[name]
        assert score.value == pytest.approx(value, abs=0.006)
        assert score.null == pytest.approx(value, abs=0.004)
        assert score.calibrated == pytest.approx(0.0, abs=0.006)
        assert score.calibrated == (score.value - score.null) / (1 - score.null)


def test_one_outlying_column_rules_cka() -> None:
    """With variances 1, and a column of variance s^2 of its own: CKA is about d / (sqrt d s^2)."""
    outlier_N = 100 * drawn(6, (N, 1))
    found = values(drawn(5), np.concatenate([drawn(5), outlier_N], 1))
    assert found["cka"] < 0.02
    assert found["debiased_cka"] < 0.02
    noise = 100**2 * D / N  # what the column has in common with the others, squared
    nuclear = D - 1 + math.sqrt(1 + noise)
    assert found["procrustes"] == pytest.approx(nuclear / math.sqrt(D * (D + 100**2)), abs=0.01)
    assert found["mutual_knn"] < 0.3
    without = values(drawn(5), np.concatenate([drawn(5), outlier_N / 100], 1))
    assert without["cka"] > 0.9


SPARSE = {
    "same": (1.0, 1.0, 1.0, 1.0, 1.0),
    "rotated": (1.0, 1.0, 1.0, 1.0, 1.0),
    "another_dictionary": (0.28, 0.27, 0.48, 0.48, 0.43),
    "half_shared": (0.14, 0.13, 0.32, 0.33, 0.10),
    "independent": (0.01, 0.00, 0.10, 0.11, 0.01),
}
"""CKA, debiased CKA, Procrustes, SVCCA and mutual neighbours, measured with other code."""


@pytest.mark.parametrize("kind", SPARSE)
def test_sparse_features_that_are_shared_are_seen_as_far_as_they_are(kind: str) -> None:
    one, other = sparse_truth.pair(kind, 4000)
    found = values(one.rows_ND, other.rows_ND)
    *linear, neighbours = SPARSE[kind]
    assert [found[name] for name in LINEAR] == pytest.approx(linear, abs=0.025)
    # Neighbours depend on how strong features are, of which the source says nothing.
    assert found["mutual_knn"] == pytest.approx(neighbours, abs=0.06)


def test_rows_without_a_direction_are_left_out_and_counted() -> None:
    one, other = sparse_truth.pair("same", 2000)
    empty = int((~one.rows_ND.any(1)).sum())
    found = mecheval.compare_representations(one.rows_ND, other.rows_ND)
    assert empty > 5
    assert [found[name].n_left_out for name in NAMES] == [0] * 4 + [empty] * 2
    assert found["rsa"].value == pytest.approx(1.0)


def test_means_of_groups_are_taken_off() -> None:
    """Two networks know the same token, and besides it things that are unrelated."""
    group_N = np.random.default_rng(7).integers(20, size=2000)
    x_ND = 3 * drawn(8, (20, D))[group_N] + drawn(9, (2000, D))
    y_ND = 3 * drawn(10, (20, D))[group_N] + drawn(11, (2000, D))
    found = mecheval.compare_representations(x_ND, y_ND, group_N)
    assert list(found) == [*NAMES, *(f"{name}{WITHOUT_MEANS}" for name in NAMES)]
    assert found["cka"].calibrated > 0.3
    assert all(abs(found[f"{name}{WITHOUT_MEANS}"].calibrated) < 0.02 for name in NAMES)
    words = np.array([f"token {group}" for group in group_N])
    assert mecheval.compare_representations(x_ND, y_ND, words) == found


def test_a_row_alone_in_its_group_is_left_out() -> None:
    group_N = np.r_[np.arange(100) // 2, np.arange(100, 130)]
    found = mecheval.compare_representations(drawn(12, (130, 4)), drawn(13, (130, 5)), group_N)
    assert found["cka"].n_left_out == 0
    assert found["cka_without_means"].n == 100
    assert found["cka_without_means"].n_left_out == 30


def undefined(score: Score) -> str:
    """Return why a score and all that goes with it is undefined."""
    assert (score.value, score.null, score.calibrated, score.interval) == (None,) * 4
    (reason,) = set(score.reasons.values())
    assert set(score.reasons) == {"value", "null", "calibrated", "interval"}
    return reason


@pytest.mark.parametrize(
    ("x_ND", "groups_N", "names", "reason"),
    [
        (drawn(0, (9, 3)), None, NAMES, "9 rows are too few"),
        (np.full((N, D), 0.1), None, LINEAR, "X has no variance"),
        (np.full((N, D), 0.1), None, ["rsa"], "600 of 600 rows are the same in all columns"),
        (np.zeros((N, D)), None, ["mutual_knn"], "600 of 600 rows are zero in X or Y"),
        (drawn(0), range(N), [f"{n}{WITHOUT_MEANS}" for n in NAMES], "0 of 600 rows have another"),
        (np.eye(5)[np.arange(N) % 5] + 0.1, np.arange(N) % 5, ["svcca_without_means"],
         "X has no variance beyond the means of its groups"),
        (np.eye(5)[np.arange(N) % 5] + 0.1, np.arange(N) % 5, ["mutual_knn_without_means"],
         "rows are zero in X or Y"),
        (drawn(0, (30, 20)), None, ["svcca"], "30 rows are too few: "),
        (drawn(0, (30, 20)), None, ["mutual_knn"], "29 rows of other documents"),
        (np.eye(N), None, ["rsa"], "all pairs of rows of X are equally far apart"),
    ],
)  # fmt: skip
def test_what_is_undefined_says_why(
    x_ND: np.ndarray, groups_N: Any, names: list[str], reason: str
) -> None:
    found = mecheval.compare_representations(x_ND, drawn(14, (len(x_ND), 20)), groups_N)
    for name in names:
        assert reason in undefined(found[name])


def test_without_a_bias_of_its_own_a_side_may_be_undefined() -> None:
    """Rows that are orthogonal in twos are no more alike to themselves than to chance."""
    found = mecheval.compare_representations(np.eye(12), drawn(0, (12, 3)))["debiased_cka"]
    assert "not above 0" in undefined(found)


def test_neighbours_that_are_equally_near_are_shared_in_parts() -> None:
    """Rows that differ only by token: the order in which they stand has no say."""
    token_N = np.random.default_rng(15).integers(8, size=400)
    x_ND, y_ND = drawn(16, (8, D))[token_N], drawn(17, (8, D))[token_N]
    assert values(x_ND, y_ND)["mutual_knn"] == pytest.approx(1.0)
    order_N = np.random.default_rng(18).permutation(400)
    noisy_ND = drawn(19, (400, D))
    one = values(x_ND, noisy_ND)["mutual_knn"]
    other = values(x_ND[order_N], noisy_ND[order_N])["mutual_knn"]
    assert one == pytest.approx(other, abs=1e-12)
    assert one < 0.1


@pytest.mark.parametrize("kind", ["float16", "bfloat16", "float32", "float64", "int64"])
def test_any_type_of_number_is_taken(kind: str) -> None:
    x_ND = torch.from_numpy(4 * X_ND).to(getattr(torch, kind)).requires_grad_(kind[0] != "i")
    before = x_ND.detach().clone()
    expected = values(before.double().numpy(), drawn(1))
    assert values(x_ND, torch.from_numpy(drawn(1))) == expected
    assert torch.equal(x_ND, before)
    if kind != "bfloat16":
        assert values(before.numpy(), drawn(1)) == expected
        assert values(before.numpy()[::-1], drawn(1)[::-1])["cka"] == pytest.approx(expected["cka"])


def test_arrays_of_other_makes_are_taken() -> None:
    expected = values(X_ND, drawn(1))
    fixed_ND = X_ND.copy()
    fixed_ND.flags.writeable = False
    for given in (fixed_ND, X_ND.tolist(), np.asfortranarray(X_ND), X_ND.astype(">f8"),
                  X_ND.astype(np.longdouble)):  # fmt: skip
        assert values(given, drawn(1)) == expected


BAD_ND = X_ND.copy()
BAD_ND[3, 2], BAD_ND[8, 0] = np.nan, np.inf


@pytest.mark.parametrize(
    ("x", "y", "given", "said"),
    [
        (X_ND, drawn(0, (N - 1, D)), {}, "X has 600 rows and Y has 599; row i of both"),
        (X_ND, BAD_ND, {}, "Y holds NaN or infinity in 2 of 600 rows"),
        (X_ND.reshape(20, 30, D), X_ND, {}, "two dimensions"),
        (X_ND[0], X_ND, {}, "two dimensions"),
        (X_ND[:, :0], X_ND, {}, "none of them empty"),
        (X_ND + 1j, X_ND, {}, "real numbers"),
        (torch.tensor(X_ND + 1j), X_ND, {}, "real numbers"),
        (torch.tensor(X_ND).to_sparse(), X_ND, {}, "dense"),
        ([[1.0], [2.0, 3.0]], X_ND, {}, "array of real numbers"),
        ([["a"]], X_ND, {}, "array of real numbers"),
        (None, X_ND, {}, "array of real numbers"),
        (X_ND, X_ND, {"groups_N": range(5)}, "groups_N needs one label per row, of shape (600,)"),
        (X_ND, X_ND, {"documents_N": X_ND}, "documents_N needs one label per row"),
        (X_ND, X_ND, {"groups_N": [None, *range(N - 1)]}, "cannot be ordered"),
        (X_ND, X_ND, {"n_permutations": -1}, "n_permutations is 0 or more; got -1"),
    ],
)
def test_what_cannot_be_compared_is_refused_in_one_sentence(
    x: Any, y: Any, given: dict[str, Any], said: str
) -> None:
    with pytest.raises(MechevalError) as refused:
        mecheval.compare_representations(x, y, **given)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_the_same_seed_gives_the_same_scores_and_another_another_null() -> None:
    document_N = np.arange(N) // 20
    found = [
        mecheval.compare_representations(X_ND, drawn(1), None, document_N, seed=seed)
        for seed in (0, 0, 1)
    ]
    assert found[0] == found[1]
    for name in NAMES:
        assert found[0][name].null != found[2][name].null
        assert found[0][name].value == found[2][name].value


def test_a_score_is_never_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Score(1.0).value = 0.0  # pyright: ignore[reportAttributeAccessIssue]
