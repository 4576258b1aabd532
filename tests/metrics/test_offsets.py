"""Mean offsets of writes: their arithmetic, and that noise does not draw them anywhere.

Shape suffixes: ``P`` pairs, ``L`` layers, ``O`` offsets.
"""

from __future__ import annotations

import numpy as np
import pytest

from mecheval.metrics.intervention.offsets import FIRST, Offsets, offsets_of, pair_shares

N_PAIRS = 64
ONCE = np.ones((1, N_PAIRS))


def alike(effect_LO: list[list[float]]) -> np.ndarray:
    """Return changes ``(L, O, P)`` that are the same in all pairs."""
    return np.repeat(np.array(effect_LO)[..., None], N_PAIRS, axis=2)


def test_arithmetic() -> None:
    """The study's own numbers at the offsets 0 to 3 of one layer, with nothing before it."""
    change_LOP = alike([[0.0, 0.001, 0.99, -0.05, -0.02], [0.0, 0.0, 0.0, 0.0, 0.5]])
    found = offsets_of(change_LOP, np.ones(N_PAIRS), ONCE)
    weight = 0.99 / 0.991
    np.testing.assert_allclose(found.carried_RL, [[0.991, 0.5]])
    np.testing.assert_allclose(found.mean_RL, [[weight, 3.0]])
    np.testing.assert_allclose(found.off_by_one_RL, [[weight - 0.001 / 0.991, 0.0]])
    assert FIRST == -1
    np.testing.assert_allclose(pair_shares(change_LOP).sum(2) / N_PAIRS, found.share_RLO[0])


def test_what_does_not_exist_carries_nothing() -> None:
    change_LOP = alike([[np.nan, 0.0, 1.0], [np.nan] * 3])
    found = offsets_of(change_LOP, np.ones(N_PAIRS), ONCE)
    assert found.carried_RL.tolist() == [[1.0, 0.0]]
    assert np.isnan(found.mean_RL[0, 1])


@pytest.mark.parametrize("truth", [0, 1])
def test_noise_does_not_draw_the_mean_offset_to_the_middle(truth: int) -> None:
    """Clipping at zero is off by 0.2 here, and calls a fifth of the gap carried that is noise."""
    rng = np.random.default_rng(0)
    found, clipped = [], []
    for _ in range(1000):
        gap_P = 1.0 + 0.5 * rng.standard_normal(N_PAIRS)
        change_LOP = 0.5 * rng.standard_normal((2, 6, N_PAIRS))
        change_LOP[:, 0] = 0.0
        change_LOP[0, truth - FIRST] += gap_P
        offsets = offsets_of(change_LOP, gap_P, ONCE)
        found.append([*offsets.mean_RL[0, :1], *offsets.carried_RL[0]])
        positive_LO = np.maximum(change_LOP.mean(2), 0) / gap_P.mean()
        mean = positive_LO[0] @ (FIRST + np.arange(6)) / positive_LO[0].sum()
        clipped.append([mean, *positive_LO.sum(1)])
    error = np.std(found, axis=0) / np.sqrt(len(found))
    off = np.abs(np.mean(found, axis=0) - [truth, 1.0, 0.0])
    assert (off < 3 * error).all()
    assert (error < [0.006, 0.004, 0.002]).all()
    assert np.mean(clipped, axis=0)[0] > truth + 0.07
    assert np.mean(clipped, axis=0)[2] > 0.1


def test_resamples_have_what_each_of_them_counts() -> None:
    rng = np.random.default_rng(0)
    change_LOP, gap_P = rng.standard_normal((3, 5, N_PAIRS)), rng.random(N_PAIRS)
    weight_RP = rng.integers(0, 3, (4, N_PAIRS)).astype(float)
    together = offsets_of(change_LOP, gap_P, weight_RP).share_RLO
    for weight_P, share_LO in zip(weight_RP, together, strict=True):
        alone = offsets_of(change_LOP, gap_P, weight_P[None]).share_RLO[0]
        np.testing.assert_allclose(alone, share_LO)
    assert 0 < (together == 0).mean() < 1


def test_pairs_of_both_halves_count() -> None:
    rng = np.random.default_rng(0)
    change_LOP, gap_P = 0.2 + rng.standard_normal((3, 5, N_PAIRS)), rng.random(N_PAIRS)
    shares = pair_shares(change_LOP).sum(2) / gap_P.sum()
    np.testing.assert_allclose(shares, offsets_of(change_LOP, gap_P, ONCE).share_RLO[0])
    assert 0 < (shares == 0).mean() < 1


@pytest.mark.parametrize(
    ("effect_LO", "stores", "mean", "apart"),
    [
        # One storage; two in a row, of which the last one counts.
        ([[0, 1, 0], [0, 0, 0]], [0], 0.0, False),
        ([[0, 1, 0], [0, 0, 1]], [1], 1.0, False),
        ([[0, 1, 0], [0, 0, 0.8]], [1], 1.0, False),
        # One that is spread over layers, behind another one.
        ([[0, 1, 0], [0, 0, 0.5], [0, 0, 0.5]], [1, 2], 1.0, False),
        ([[0, 0.5, 0], [0, 0.5, 0], [0, 0, 0.5], [0, 0, 0.5]], [2, 3], 1.0, False),
        ([[0, 0.5, 0.5], [0, 0.2, 0.2]], [0, 1], 0.5, False),
        ([[0, 0, 0.1]] * 10, [2, 3, 4, 5, 6, 7, 8, 9], 1.0, False),
        # Layers with offsets that have no common mean; one of little weight is none.
        ([[0, 1, 0], [0, 0, 0.5]], [0, 1], 1 / 3, True),
        ([[0, 0.6, 0], [0, 0, 0.4]], [0, 1], 0.4, True),
        ([[0, 1, 0], [0, 0, 0.05]], [0], 0.0, False),
        # Less than the gap in all; nothing.
        ([[0, 0, 0.3], [0, 0.02, 0]], [0], 1.0, False),
        ([[0, 0, 0.05], [0, 0.02, 0]], [], np.nan, False),
    ],
)
def test_storage(effect_LO: list, stores: list[int], mean: float, apart: bool) -> None:
    storage = Offsets(np.array(effect_LO, float)[None]).storage
    assert np.flatnonzero(storage.stores_RL[0]).tolist() == stores
    assert storage.mean_R[0] == pytest.approx(mean, nan_ok=True)
    assert storage.apart_R.tolist() == [apart]
    carried = np.array(effect_LO, float)[stores].sum()
    assert storage.carried_R[0] == pytest.approx(carried)
