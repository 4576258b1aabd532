"""Depth against depth: where the partners of a layer's features are, and what is read of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from scipy import sparse

import mecheval
from mecheval.dictionaries import SparseCodes
from mecheval.metrics.pairs import PairSubject, Side
from mecheval.metrics.pairs.coding import Coded
from mecheval.metrics.pairs.feature_depth import FeatureDepth
from mecheval.metrics.pairs.measuring import measure_pair

TASK = mecheval.load_task("parity[max_length=12,min_length=12]")
N, PER, M = 64, 12, 8
RNG = np.random.default_rng(0)
TRUTH = [RNG.exponential(size=(N * PER, M)) * (RNG.random((N * PER, M)) < 0.3) for _ in range(4)]


@dataclass
class Given:
    """A network whose features at each layer are given, but for noise."""

    layers: list[np.ndarray]
    seed: int = 0

    @property
    def n_layers(self) -> int:
        return len(self.layers)

    def coded(self, coding, places, layers, *, trained=True, seeds=(0,)):
        rng = np.random.default_rng(self.seed)
        found = []
        for layer in layers:
            kept = self.layers[layer - 1]
            noisy = np.where(rng.random(kept.shape) < 0.2, rng.permutation(kept), kept)
            held = SparseCodes.of(sparse.csr_array(noisy))
            found.append([Coded(held, 0.8, 3.0, 1.0) for _ in seeds])
        return found


def measured(a: Given | None, b: Given | None, **params):
    sides = [Side("net", n, True, (), each) for n, each in enumerate((a, b))]  # type: ignore[arg-type]
    given = {"n": N, "n_train": N, "per_sequence": PER, **params}
    (result,) = measure_pair(FeatureDepth(**given), PairSubject(*sides, seed=0, task=TASK))
    return result


@pytest.mark.parametrize(("order", "value"), [((0, 1, 2, 3), 1.0), ((3, 2, 1, 0), -1.0)])
def test_the_depth_of_partners_rises_or_falls_with_that_of_features(order, value) -> None:
    result = measured(Given(TRUTH), Given([TRUTH[i] for i in order], seed=1))
    assert result.value == pytest.approx(value)
    assert result.references["null"] == 0
    best = np.array(result.profile.value).argmax(1)
    assert best.tolist() == list(order)
    for way in ("a_to_b", "b_to_a"):
        share = np.array(result.profile.series[way])
        assert share.argmax(1).tolist() == list(order)
    assert result.scalars["matched"] == pytest.approx(
        np.mean([np.array(result.profile.value)[k, j] for k, j in enumerate(order)]), abs=0.01
    )


def test_the_shares_of_either_way_are_of_their_own_latents() -> None:
    # All that the one has at any depth is at the first one of the other, and nothing else is.
    rng = np.random.default_rng(5)
    noise = [rng.exponential(size=(N * PER, M)) * (rng.random((N * PER, M)) < 0.3) for _ in "ab"]
    result = measured(Given([TRUTH[0], TRUTH[0]]), Given([TRUTH[0], noise[0]], seed=1))
    a_to_b, b_to_a = (np.array(result.profile.series[way]) for way in ("a_to_b", "b_to_a"))
    assert a_to_b.sum(1) == pytest.approx([1, 1])
    assert b_to_a.sum(0) == pytest.approx([1, 1])
    assert a_to_b[:, 0] == pytest.approx([1, 1])
    assert result.value is None or abs(result.value) < 0.6


def test_the_partner_at_any_depth_is_read_where_it_was_not_chosen() -> None:
    rng = np.random.default_rng(6)
    layers = [
        [rng.exponential(size=(N * PER, 40)) * (rng.random((N * PER, 40)) < 0.1) for _ in range(4)]
        for _ in range(2)
    ]
    result = measured(*(Given(of, seed=n) for n, of in enumerate(layers)))
    assert abs(result.scalars["matched"]) < 0.02, "the largest of many chance correlations is not"
    assert abs(result.value) < 0.2


def test_networks_meet_at_shares_of_their_own_depth() -> None:
    result = measured(Given(TRUTH[:2]), Given(TRUTH, seed=1))
    assert result.profile.index["depth_a"] == ["0.5", "1"]
    assert (result.n_expected, result.n_scored) == (4, 4)


def test_why_there_is_no_value() -> None:
    assert "single layer" in measured(Given(TRUTH[:1]), Given(TRUTH)).reason
    assert "no activations" in measured(None, Given(TRUTH)).reason
    empty = Given([np.zeros_like(TRUTH[0])] * 2)
    assert "fires in 25 rows" in measured(empty, Given(TRUTH[:2])).reason
