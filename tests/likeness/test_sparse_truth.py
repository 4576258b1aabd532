"""What the sparse ground truth says of itself."""

from __future__ import annotations

import numpy as np
import pytest
import sparse_truth


def test_features_are_as_rare_and_as_even_as_they_are_said_to_be() -> None:
    codes_NF = sparse_truth.codes(np.random.default_rng(0), 20_000)
    assert (codes_NF > 0).sum(1).mean() == pytest.approx(sparse_truth.FIRING, abs=0.05)
    variance_F = codes_NF.var(0)
    assert variance_F.sum() ** 2 / (variance_F**2).sum() == pytest.approx(174, abs=3)


@pytest.mark.parametrize("kind", sparse_truth.PAIRS)
def test_pairs_share_what_they_are_said_to_share(kind: str) -> None:
    one, other = sparse_truth.pair(kind, 500)
    for side in (one, other):
        assert side.rows_ND.shape == (500, sparse_truth.WIDTH)
        assert np.allclose(np.linalg.norm(side.directions_FD, axis=1), 1.0, atol=1e-5)
        assert np.allclose(side.codes_NF @ side.directions_FD, side.rows_ND)
    shared = (one.codes_NF == other.codes_NF).all(0).mean()
    assert shared == {"half_shared": 0.5, "independent": 0.0}.get(kind, 1.0)
    assert (one.directions_FD == other.directions_FD).all() == (kind == "same")
