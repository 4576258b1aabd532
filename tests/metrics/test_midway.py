"""Which layer is named, and where a difference is handed over; on arrays.

Shape suffixes: ``P`` pairs, ``L`` layers, ``G`` roles, ``R`` resamples.
"""

from __future__ import annotations

import numpy as np
import pytest

from mecheval.metrics import resampling
from mecheval.metrics.intervention.midway import handover, midway
from mecheval.metrics.intervention.recovered import Recovered


def part_of(
    changed: list[float], middle: list[float], readout: list[float], *, noise: float = 0.0,
    trivial: tuple[int, ...] = (), n_pairs: int = 40,
) -> tuple[Recovered, np.ndarray]:  # fmt: skip
    """Return recoveries with these means by layer, and their means in 500 resamples."""
    mean_LG = np.stack([changed, middle, readout], 1)
    noise_LGP = noise * np.random.default_rng(1).normal(size=(*mean_LG.shape, n_pairs))
    noise_LGP -= noise_LGP.mean(-1, keepdims=True)
    known_LGP = np.full(noise_LGP.shape, np.nan)
    known_LGP[list(trivial), 1, 0] = 0.0
    part = Recovered(mean_LG[..., None] + noise_LGP, known_LGP, None, known_LGP)
    return part, part.means(resampling.weights(n_pairs, np.random.default_rng(2)))


@pytest.mark.parametrize(
    ("middle", "layer"),
    [
        ([0.9, 0.05, 0.05], 0),
        ([0.0, 0.4, 0.6], 2),
        ([0.3, 0.3, 0.4], 1),  # neither the first nor the largest
        ([-0.5, 0.2, 0.1], 1),  # what takes away does not count
        ([0.01, 0.01, 0.01], None),  # nothing that could be named
    ],
)
def test_the_layer_up_to_which_half_is_brought_back(middle: list[float], layer: int) -> None:
    found = midway(*part_of([1, 1, 1], middle, [0, 0, 0]), "state")
    assert found is not None
    assert found.scalars["layer"] == layer
    assert found.scalars["all_layers"] == pytest.approx(sum(middle))
    if layer is not None:
        assert found.value == pytest.approx(middle[layer])
        assert found.unit_P.mean() == pytest.approx(middle[layer])
        assert found.scalars["layer_agreement"] == 1


def test_the_stream_is_the_mean_over_layers_that_the_model_decides() -> None:
    found = midway(*part_of([1] * 3, [0.0, 0.2, 0.4], [0] * 3, trivial=(0,)), "block_in")
    assert found is not None
    assert found.value == pytest.approx(0.3)
    assert found.scalars == {}
    assert midway(*part_of([1], [1], [0], trivial=(0,)), "state") is None


def test_a_layer_that_is_named_is_not_the_one_that_noise_favours() -> None:
    """Of many layers that bring back nothing, a maximum would find the luckiest."""
    values, maxima = [], []
    for seed in range(60):
        noise_LGP = np.random.default_rng(seed).normal(size=(12, 3, 40))
        nothing_LGP = np.full(noise_LGP.shape, np.nan)
        part = Recovered(noise_LGP, nothing_LGP, None, nothing_LGP)
        found = midway(part, part.means(np.ones((2, 40))), "block_in")
        assert found is not None
        values.append(found.value)
        maxima.append(part.means()[0, :, 1].max())
    assert abs(np.mean(values)) < 0.02 < 0.15 < np.mean(maxima)


def test_where_the_difference_is_handed_over() -> None:
    found = handover(*part_of([1, 0.9, 0.2, 0.0], [0] * 4, [0, 0.1, 0.4, 0.9]))
    assert (found["left_changed_at"], found["reached_readout_at"]) == (2, 3)
    assert (found["left_changed_at_low"], found["left_changed_at_high"]) == (2, 2)
    assert found["left_changed_at_agreement"] == found["reached_readout_at_agreement"] == 1
    # In the last layer, where nothing shows it: behind all of them.
    found = handover(*part_of([1, 1], [0, 0], [0, 0]))
    assert (found["left_changed_at"], found["reached_readout_at"]) == (2, 2)


def test_a_hand_over_that_pairs_disagree_about_has_a_wide_interval() -> None:
    found = handover(*part_of([1, 0.51, 0.45], [0] * 3, [0] * 3, noise=0.4))
    assert found["left_changed_at"] == 2
    assert (found["left_changed_at_low"], found["left_changed_at_high"]) == (1, 3)
    assert 0.3 < found["left_changed_at_agreement"] < 0.8
