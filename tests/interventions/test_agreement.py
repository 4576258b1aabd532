"""Half of the pairs predicts the other half: against a plain loop, and where the truth is known."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch

import mecheval
from mecheval import seeding
from mecheval.interventions import Interchange, ablation_grid, recovery_grid, split_half


def noisy(n_cells: int, n_pairs: int, *, noise: float, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n_cells, 1)) + noise * rng.normal(size=(n_cells, n_pairs))


@pytest.mark.parametrize("n_pairs", [6, 7])
def test_it_is_the_mean_of_plain_correlations(n_pairs: int) -> None:
    effect = noisy(9, n_pairs, noise=2.0)
    effect[3, :3] = np.nan
    effect[4, 2:] = np.nan  # two pairs alone
    found = split_half(effect, n_splits=30, seed=5)
    dealt = np.tile(np.arange(n_pairs) < n_pairs // 2, (30, 1))
    by_hand = []
    for own in seeding.stream(5, "split_half").permuted(dealt, axis=1).astype(bool):
        kept = [v for v in range(9) if np.isfinite(effect[v]).sum() >= 4]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # a half without any pair of a cell
            halves = [np.nanmean(effect[kept][:, half], 1) for half in (own, ~own)]
        there = np.isfinite(sum(halves))
        by_hand.append(np.corrcoef(halves[0][there], halves[1][there])[0, 1])
    assert found.correlation == pytest.approx(np.mean(by_hand), abs=1e-12)
    assert found.corrected == pytest.approx(2 * np.mean(by_hand) / (1 + np.mean(by_hand)))
    assert found.n_cells == 8 - (n_pairs - 3 < 4)
    assert (found.n_pairs, found.n_splits, found.reason) == (n_pairs, 30, None)


def test_a_factor_and_another_shape_change_nothing() -> None:
    effect = noisy(24, 10, noise=1.0)
    plain = split_half(effect)
    assert split_half(-7.0 * effect.reshape(2, 3, 4, 10) + 4.0).correlation == pytest.approx(
        plain.correlation, abs=1e-12
    )


def test_pairs_that_are_alike_agree_and_noise_does_not() -> None:
    alike = split_half(noisy(50, 12, noise=0.0))
    assert alike.correlation == pytest.approx(1.0)
    assert alike.corrected == pytest.approx(1.0)
    noise = np.random.default_rng(1).normal(size=(4000, 12))
    found = split_half(noise - noise.mean(1, keepdims=True))  # halves are each other's opposite
    assert found.correlation == pytest.approx(-1.0)
    assert found.corrected is None


def test_the_correction_is_what_twice_the_pairs_give() -> None:
    """With a true picture of variance 1 and noise s, k pairs correlate by 1 / (1 + s^2 / k)."""
    found = split_half(noisy(5000, 16, noise=4.0))
    assert found.correlation == pytest.approx(1 / (1 + 16 / 8), abs=0.03)
    assert found.corrected == pytest.approx(1 / (1 + 16 / 16), abs=0.03)


@pytest.mark.parametrize(
    ("effect", "reason"),
    [
        (noisy(9, 3, noise=1.0), "3 pairs, and 4 are needed"),
        (noisy(2, 8, noise=1.0), "2 cells count, and 3 are needed"),
        (np.ones((9, 1)) * np.arange(8), "do not vary from cell to cell"),
        (np.full((9, 8), np.nan), "0 pairs, and 4 are needed"),
        (np.full((9, 8), np.inf), "0 pairs, and 4 are needed"),
    ],
)
def test_it_is_undefined_with_a_reason(effect: np.ndarray, reason: str) -> None:
    found = split_half(effect)
    assert found.correlation is found.corrected is None
    assert reason in found.reason
    assert str(found) == f"undefined: {found.reason}"


def test_cells_that_no_pair_can_change_are_left_out() -> None:
    model = mecheval.load_model("lstm[layers=2,width=32]", vocab_size=7).double()
    rng = np.random.default_rng(0)
    clean = rng.integers(0, 7, (8, 9))
    corrupted = clean.copy()
    corrupted[:, 3] = (clean[:, 3] + 1) % 7
    ends = np.zeros(8, int), np.ones(8, int), np.full(8, 8)
    grid = recovery_grid(model, clean, corrupted, *ends)
    found = grid.split_half()
    # Nothing differs before the change, and the embedding behind it; at it all is the clean run's.
    assert found.n_cells == grid.patched[..., 0].size - 2 * 3 - 5 - 1
    open_ = (grid.patched - grid.corrupted)[0, 1, 3:]
    assert found == split_half(open_)
    ablated = ablation_grid(model, corrupted, *ends, donor=Interchange(torch.as_tensor(clean)))
    np.testing.assert_array_equal(ablated.patched, grid.patched)
    assert ablated.split_half().n_cells == found.n_cells + 1  # which has no second run to be of
    assert "halves of the pairs correlate by" in str(found)
