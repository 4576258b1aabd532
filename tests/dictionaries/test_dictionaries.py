"""Dictionaries on activations whose features are known, and held against the formulas."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import mecheval
from mecheval.dictionaries import Dictionary, DictionaryRecipe, SparseCodes, train_dictionary
from mecheval.dictionaries.quality import FEWEST
from mecheval.errors import UsageError

sys.path.insert(0, str(Path(__file__).parents[1] / "likeness"))
import sparse_truth

SHORT = DictionaryRecipe(n_rows=4000, batch_size=500)
N, D, K = 2000, 12, 3


def rows(seed: int = 0, n: int = N) -> np.ndarray:
    """Draw sums of few of 24 features, around a mean that is not zero."""
    rng = np.random.default_rng(seed)
    on = (rng.random((n, 24)) < 0.1) * rng.uniform(0.5, 1.5, (n, 24))
    return (on @ np.random.default_rng(99).standard_normal((24, D)) + 3).astype(np.float32)


def trained(X_ND: Any = None, **given: Any) -> Dictionary:
    given = {"width": 3, "k": K, "recipe": SHORT} | given
    return train_dictionary(rows() if X_ND is None else X_ND, **given)


def same(one: Dictionary, other: Dictionary) -> bool:
    return all(
        torch.equal(one_value, getattr(other, name))
        for name, one_value in vars(one).items()
        if isinstance(one_value, torch.Tensor)
    )


@pytest.fixture(scope="module")
def truth() -> sparse_truth.SparseTruth:
    return sparse_truth.pair("same", 120_000)[0]


@pytest.fixture(scope="module")
def of_truth(truth: sparse_truth.SparseTruth) -> list[Dictionary]:
    recipe = DictionaryRecipe(n_rows=500_000, batch_size=1024)
    part = truth.rows_ND[:100_000]
    return [train_dictionary(part, k=5, seed=seed, recipe=recipe) for seed in (0, 1)]


def correlations(one_NF: np.ndarray, other_NM: np.ndarray) -> np.ndarray:
    one, other = (x - x.mean(0) for x in (one_NF.astype(float), other_NM.astype(float)))
    return (one / np.linalg.norm(one, axis=0)).T @ (other / np.linalg.norm(other, axis=0))


def test_known_features_are_found(
    truth: sparse_truth.SparseTruth, of_truth: list[Dictionary]
) -> None:
    held_out, features = truth.rows_ND[100_000:], truth.codes_NF[100_000:]
    cosine_F = (truth.directions_FD @ of_truth[0].decoder_MD.numpy().T).max(1)
    assert np.median(cosine_F) == pytest.approx(0.99, abs=0.01)
    codes = of_truth[0].encode(held_out)
    often = codes.firings() >= FEWEST
    best_F = correlations(features, codes.csr.toarray()[:, often]).max(1)
    assert best_F.mean() == pytest.approx(0.87, abs=0.05)
    quality = of_truth[0].evaluate(held_out)
    assert quality.fve == pytest.approx(0.83, abs=0.03)
    assert 4.9 < quality.l0 <= 5  # less where the fifth largest is below zero


def test_two_seeds_find_most_but_not_all_of_it_in_common(
    truth: sparse_truth.SparseTruth, of_truth: list[Dictionary]
) -> None:
    held_out = truth.rows_ND[100_000:]
    found = [dictionary.encode(held_out) for dictionary in of_truth]
    one, other = (codes.csr.toarray()[:, codes.firings() >= FEWEST] for codes in found)
    assert 0.8 < correlations(one, other).max(1).mean() < 0.97
    permuted = other[np.random.default_rng(0).permutation(len(other))]
    assert correlations(one, permuted).max(1).mean() < 0.05


def test_codes_and_rows_are_those_of_the_formula() -> None:
    dictionary, x = trained(), rows(1)
    before = (x - dictionary.decoder_bias_D.numpy()) @ dictionary.encoder_MD.numpy().T
    before = before + dictionary.encoder_bias_M.numpy()
    least = np.sort(before, axis=1)[:, -K, None]
    expected = np.where(before >= least, before, 0).clip(min=0)
    codes = dictionary.encode(x)
    assert np.allclose(codes.csr.toarray(), expected, atol=1e-5)
    back = expected @ dictionary.decoder_MD.numpy() + dictionary.decoder_bias_D.numpy()
    assert np.allclose(dictionary.decode(codes), back, atol=1e-5)
    assert np.allclose(dictionary.decoder_MD.norm(dim=1), 1, atol=1e-6)


@pytest.mark.parametrize("grouped", [False, True])
def test_quality_is_that_of_all_rows_done_the_long_way(grouped: bool) -> None:
    group = np.arange(N) % 7
    x = rows() + 2 * np.eye(7, D, dtype=np.float32)[group]
    dictionary = trained(x, groups_N=group if grouped else None)
    fresh = (rows(1) + 2 * np.eye(7, D, dtype=np.float32)[group]).astype(np.float64)
    quality = dictionary.evaluate(fresh, group)
    codes = dictionary.encode(fresh, group)
    missed = np.square(fresh - dictionary.decode(codes, group)).sum()
    rest = fresh
    if grouped:
        means = np.stack([x[group == g].mean(0) for g in range(7)])
        rest = fresh - means[group]
    assert quality.fve == pytest.approx(1 - missed / np.square(rest - rest.mean(0)).sum(), abs=1e-5)
    assert quality == dictionary.evaluate(fresh, group, codes=codes)
    assert quality.l0 == codes.l0

    def share(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        means = np.stack([values[group == g].mean(0) for g in range(7)])[group]
        middle = values.mean(0)
        return np.square(means - middle).sum(0), np.square(values - middle).sum(0)

    between, total = share(fresh)
    assert quality.group_share == pytest.approx(between.sum() / total.sum(), abs=1e-9)
    often = codes.firings() >= FEWEST
    between, total = share(codes.csr.toarray()[:, often].astype(np.float64))
    assert quality.latent_group_share == pytest.approx(np.median(between / total), abs=1e-9)
    assert quality.alive == often.mean()


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    group = np.arange(N) % 5
    dictionary = trained(groups_N=group)
    codes, quality = dictionary.encode(rows(1), group), dictionary.evaluate(rows(1), group)
    back = dictionary.decode(codes, group)
    monkeypatch.setattr("mecheval.dictionaries.rows._BLOCK", 36 * 7)
    assert np.allclose(dictionary.encode(rows(1), group).csr.toarray(), codes.csr.toarray(), 1e-4)
    assert np.allclose(dictionary.decode(codes, group), back, atol=1e-5)
    assert dictionary.evaluate(rows(1), group).fve == pytest.approx(quality.fve, abs=1e-6)


def test_rows_far_outside_are_left_out_and_counted() -> None:
    x = rows()
    x[:3] *= 100
    dictionary = trained(x)
    assert dictionary.about["n_left_out"] == 3
    assert np.abs(dictionary.decoder_bias_D.numpy()).max() < 6
    codes = dictionary.encode(x)
    assert codes.select([0, 1, 2]).csr.nnz == 0
    assert codes.select([3]).csr.nnz == K
    quality = dictionary.evaluate(x, codes=codes)
    assert (quality.n_rows, quality.n_left_out) == (N - 3, 3)
    assert quality.fve == pytest.approx(dictionary.evaluate(x[3:]).fve, abs=1e-9)
    assert quality.l0 == dictionary.evaluate(x[3:]).l0
    nothing = dictionary.evaluate(x[:3])
    assert nothing.fve is None
    assert "norms of all 3 rows" in nothing.reasons["fve"]


def test_batch_topk_fires_as_often_as_asked_on_rows_it_was_not_trained_on() -> None:
    recipe = dataclasses.replace(SHORT, selection="batchtopk", n_rows=20_000)
    dictionary = trained(recipe=recipe)
    codes = dictionary.encode(rows(1, 10_000))
    assert codes.l0 == pytest.approx(K, rel=0.1)
    assert np.ptp(np.diff(codes.csr.indptr)) > 1  # not the same in every row
    assert dictionary.evaluate(rows(1)).fve > 0.6


def test_groups_without_training_rows_have_the_mean_of_all() -> None:
    group = np.arange(N) % 5 * 2  # 1, 3, 5 and 7 are missing
    dictionary = trained(groups_N=group)
    expected = dictionary.encode(rows(1, 2), [1, 1]).csr.toarray()
    assert np.array_equal(dictionary.encode(rows(1, 2), [3, 1000]).csr.toarray(), expected)
    means = dictionary.means_GD
    assert means is not None
    assert np.allclose(means[1], rows().mean(0), atol=1e-5)
    assert np.allclose(means[4], rows()[group == 4].mean(0), atol=1e-5)


def test_a_dictionary_of_what_groups_leave_does_not_see_their_means() -> None:
    group = np.arange(N) % 5
    moved = rows() + 10 * np.eye(5, D, dtype=np.float32)[group]
    plain, shifted = trained(groups_N=group, name=""), trained(moved, groups_N=group, name="")
    one, other = plain.encode(rows(), group), shifted.encode(moved, group)
    assert np.abs(one.csr - other.csr).max() < 1e-3


def test_a_dictionary_is_the_same_to_the_bit_however_its_rows_are_held(tmp_path: Path) -> None:
    x = rows()
    np.save(tmp_path / "rows.npy", x)
    mapped = np.load(tmp_path / "rows.npy", mmap_mode="r")
    expected = trained(x)
    for held in (x, mapped, torch.from_numpy(x), x.astype(np.float64), np.asfortranarray(x)):
        assert same(expected, trained(held))
    assert same(expected, trained(x, name=expected.about["name"]))


def test_seeds_names_and_rows_begin_with_other_weights() -> None:
    start = dataclasses.replace(SHORT, n_rows=500, learning_rate=1e-12)
    x = rows()
    first = trained(x, recipe=start)
    turned = trained(x[:, ::-1], recipe=start)
    for other in (trained(x, recipe=start, seed=1), trained(x, recipe=start, name="b"), turned):
        assert (first.decoder_MD @ other.decoder_MD.T).max(1).values.mean() < 0.9
    again = trained(x[:, ::-1], recipe=start, name=first.about["name"])
    assert torch.allclose(first.decoder_MD, again.decoder_MD, atol=1e-6)


def test_groups_are_not_needed_where_no_means_are_taken_off() -> None:
    quality = trained().evaluate(rows(1))
    assert quality.group_share is None
    assert quality.reasons["group_share"] == "no groups are given"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"X_ND": np.zeros(3)}, "shape \\(rows, dimensions\\)"),
        ({"X_ND": np.zeros((3, 0))}, "shape \\(rows, dimensions\\)"),
        ({"X_ND": np.array([["a"]])}, "real numbers"),
        ({"X_ND": np.full((5, 2), np.nan)}, "5 of rows 0 to 4 hold NaN"),
        ({"X_ND": np.ones((50, 3))}, "all equal to their mean"),
        ({"groups_N": np.arange(N)}, "or to that of their group"),
        ({"groups_N": [0.5] * N}, "whole number from 0"),
        ({"groups_N": [-1] * N}, "whole number from 0"),
        ({"groups_N": [0]}, f"each of {N} rows"),
        ({"width": 0}, "latents there are per dimension"),
        ({"k": 37}, "36 latents \\(3 for each of 12"),
        ({"k": 0}, "got 0"),
    ],
)
def test_what_cannot_be_trained_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        trained(**change)


@pytest.mark.parametrize(
    ("field", "message"),
    [
        ({"selection": "top"}, "'topk' or 'batchtopk'"),
        ({"n_rows": 0}, "n_rows .* at least 1"),
        ({"batch_size": 1}, "at least 2"),
        ({"batch_size": 2.5}, "a whole number"),
        ({"aux_weight": float("nan")}, "a number of at least 0"),
        ({"learning_rate": 0}, "above 0"),
    ],
)
def test_wrong_recipes_are_refused(field: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        mecheval.DictionaryRecipe(**field)


def test_what_does_not_fit_a_dictionary_is_refused() -> None:
    dictionary = trained()
    with pytest.raises(UsageError, match="rows of 12 numbers; got 5"):
        dictionary.encode(np.ones((3, 5)))
    with pytest.raises(UsageError, match="groups_N"):
        trained(groups_N=np.arange(N) % 3).encode(rows())
    codes = SparseCodes.from_topk([[1.0]], [[2]], 36)
    with pytest.raises(UsageError, match="shape \\(2000, 36\\)"):
        dictionary.evaluate(rows(), codes=codes)
    with pytest.raises(UsageError, match="36"):
        dictionary.decode(SparseCodes.from_topk([[1.0]], [[2]], 35))


def test_weights_that_do_not_stay_finite_are_refused() -> None:
    with pytest.raises(UsageError, match="lower learning_rate"):
        trained(recipe=dataclasses.replace(SHORT, learning_rate=1e38))


@pytest.mark.gpu
def test_a_gpu_trains_the_same_dictionary() -> None:
    here, there = trained(), trained(device="cuda")
    x = rows(1)
    assert there.encoder_MD.is_cuda
    assert there.evaluate(x).fve == pytest.approx(here.evaluate(x).fve, abs=0.02)
    moved = here.to("cuda").encode(x).csr - here.encode(x).csr
    assert np.abs(moved).max() < 1e-3
    assert same(there, trained(device="cuda"))
