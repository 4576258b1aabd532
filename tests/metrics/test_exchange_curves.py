"""Use, sufficiency and its lateness, on arrays.

Shape suffixes: ``L`` layers, ``B`` sequences, ``R`` resamples.
"""

from __future__ import annotations

import numpy as np
import pytest

from mecheval.metrics.exchange.curves import Curves, inner_mean, lateness

NAN = np.nan


@pytest.mark.parametrize(
    ("sufficiency_L", "wanted"),
    [
        ([NAN, 1, 1, 1, 1], 0.25),
        ([NAN, NAN, 1, 1, 1], 0.5),
        ([NAN, 0, 0, 0, 1], 1.0),
        ([NAN, 0.25, 0.5, 0.75, 1], 0.625),
        ([NAN, 1, NAN, NAN, 1], 0.25),  # where nothing is lost, there is no step
        ([NAN, NAN, NAN, NAN, 1], 1.0),
        ([NAN, 1.2, 0.9, 1.1, 1], (0.25 * 1 + 0.75 * 0.1) / 1.1),  # clipped to 1
        ([NAN, -0.3, 1, 1, 1], 0.5),
        ([NAN, 0, 0, 0.04, 0], NAN),
        ([NAN] * 5, NAN),
    ],
)
def test_lateness_is_the_centre_of_the_rise(sufficiency_L: list[float], wanted: float) -> None:
    np.testing.assert_allclose(lateness(np.array(sufficiency_L)), wanted)
    both = lateness(np.array([sufficiency_L, [NAN, 0, 1, 1, 1]]))
    np.testing.assert_allclose(both, [wanted, 0.5])


def test_the_mean_inside_leaves_out_both_ends_and_what_is_not_defined() -> None:
    found = inner_mean(np.array([[NAN, 0.5, 1, 9.0], [NAN, NAN, 0.8, 9.0], [NAN, NAN, NAN, 9.0]]))
    np.testing.assert_allclose(found, [0.75, 0.8, NAN])
    assert np.isnan(inner_mean(np.array([NAN, 1.0])))


def test_layers_are_defined_by_all_sequences_and_not_by_resamples() -> None:
    rng = np.random.default_rng(0)
    clean_B = np.ones(50)
    free_LB = np.stack([clean_B, 0.93 + 0.1 * (rng.random(50) - 0.5), np.full(50, 0.5)])
    curves = Curves(clean_B, free_LB, np.stack([clean_B] * 3), rng.random((20, 50)), 0.5, 0.05)
    assert curves.loses_L.tolist() == [False, True, True]
    assert np.isnan(curves.sufficiency_RL[:, 0]).all()
    np.testing.assert_allclose(curves.sufficiency_RL[:, 1:], 1.0)
    np.testing.assert_allclose(curves.sufficiency_L, [NAN, 1, 1])
    np.testing.assert_allclose(curves.use_L[[0, 2]], [0, 1])
    np.testing.assert_allclose(curves.kept_share_L, 1)
    np.testing.assert_allclose(curves.use_RL[:, 2], 1)
