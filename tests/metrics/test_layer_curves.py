"""COM, Cmax and C_H against curves whose values are known."""

from __future__ import annotations

import numpy as np
import pytest

from mecheval.metrics.layer_curves import (
    concentration,
    corrected,
    over_blocks,
    plateau,
    shape,
)


@pytest.mark.parametrize("n_layers", [2, 4, 12])
def test_a_single_step_at_layer_j(n_layers: int) -> None:
    for j in range(1, n_layers + 1):
        found = shape(np.where(np.arange(n_layers + 1) >= j, 0.9, 0.0))
        assert found["com"] == pytest.approx(j / n_layers)
        assert found["l50"] == pytest.approx(j / n_layers)
        assert found["cmax"] == pytest.approx(1.0)
        assert found["ch"] == pytest.approx(1.0)
        assert found["last_share"] == (1.0 if j == n_layers else 0.0)


@pytest.mark.parametrize("n_layers", [2, 4, 12])
def test_equal_steps_are_not_concentrated(n_layers: int) -> None:
    found = shape(np.arange(n_layers + 1) / n_layers)
    assert found["ch"] == pytest.approx(0.0)
    assert found["cmax"] == pytest.approx(1 / n_layers)
    assert found["com"] == pytest.approx((n_layers + 1) / (2 * n_layers))


@pytest.mark.parametrize(
    ("curve", "expected"),
    [
        ([0.0, 0.0, 0.04, 0.2, 1.0], (0.94, 0.80, 0.57, 1.0)),
        ([0.0, 0.9, 0.95, 1.0, 1.0], (0.29, 0.90, 0.72, 0.25)),
    ],
)
def test_the_late_and_early_steps_of_the_reference(curve, expected) -> None:
    found = shape(np.array(curve))
    names = ("com", "cmax", "ch", "l50")
    assert tuple(round(float(found[name]), 2) for name in names) == expected


def test_falling_layers_add_nothing_and_noise_has_no_shape() -> None:
    assert shape(np.array([0.0, 1.0, 0.4, 0.4]))["com"] == pytest.approx(1 / 3)
    assert np.isnan(shape(np.array([0.0, 0.03, 0.01]))["com"])
    assert np.isnan(shape(np.array([0.0, 1.0]))["ch"])


def test_shapes_of_many_curves_at_once() -> None:
    curves = np.random.default_rng(0).random((6, 5))
    together = shape(curves)
    for i, curve in enumerate(curves):
        for name, value in shape(curve).items():
            assert together[name][i] == pytest.approx(float(value))


def test_correction_by_the_floor() -> None:
    assert corrected(np.array([0.4, 0.5, 0.75, 1.0]), 0.5).tolist() == [0.0, 0.0, 0.5, 1.0]


def test_concentration_of_weights_ignores_what_is_missing_or_negative() -> None:
    found = concentration(np.array([np.nan, 0.8, -0.3, 0.0]))
    assert (found["cmax"], found["ch"]) == (1.0, 1.0)
    assert concentration(np.ones(4))["ch"] == pytest.approx(0.0)


def test_plateau() -> None:
    assert plateau(np.array([np.nan, 0.7, 0.9]), 0.8).tolist() == [False, False, True]


def test_blocks_are_as_late_as_the_stream_behind_them() -> None:
    found = over_blocks(np.array([[0.0, 0.0, 0.0, 0.5], [0.3, 0.3, 0.3, 0.3]]))
    assert found["com"] == pytest.approx([1.0, 0.625])
    assert found["cmax"] == pytest.approx([1.0, 0.25])
    assert found["ch"] == pytest.approx([1.0, 0.0])
    nothing = over_blocks(np.array([0.01, -0.4, np.nan, 0.02]))
    assert all(np.isnan(value) for value in nothing.values())
    one = over_blocks(np.array([0.4, -0.2, np.nan, 0.0]))
    assert (one["com"], one["cmax"]) == (0.25, 1.0)
