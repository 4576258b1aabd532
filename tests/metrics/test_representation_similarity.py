"""Likeness of streams: where networks meet, what stands beside the value, why there is none."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest

import mecheval
from mecheval.metrics.pairs import PairSubject, Side
from mecheval.metrics.pairs.measuring import measure_pair
from mecheval.metrics.pairs.network import Loaded
from mecheval.metrics.pairs.places import draw_places
from mecheval.metrics.pairs.representation_similarity import RepresentationSimilarity
from mecheval.models.load import resolve
from mecheval.registry import Registry
from mecheval.spec import parse_spec

TASK = mecheval.load_task("parity[max_length=12,min_length=12]")
BRIEF = {"n": 32, "per_sequence": 4}


@dataclass(frozen=True)
class Given:
    """A network whose streams are given: those of the trained one, and of the untrained one."""

    trained: list[np.ndarray]
    untrained: list[np.ndarray]

    @property
    def n_layers(self) -> int:
        return len(self.trained)

    def streams(self, places, layers, *, trained=True):
        streams = self.trained if trained else self.untrained
        return [streams[layer - 1][: len(places.row_N)] for layer in layers]


def noise(seed: int, n_layers: int = 2, width: int = 6) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.normal(size=(128, width)).astype(np.float32) for _ in range(n_layers)]


def side(network, *, learned: bool = True) -> Side:
    return Side("net", 0, learned, (), network)


def subject(a, b, **fields) -> PairSubject:
    return PairSubject(**{"a": side(a), "b": side(b), "seed": 0, "task": TASK, **fields})


def measured(a, b, **params):
    results = measure_pair(RepresentationSimilarity(**BRIEF, **params), subject(a, b))
    return {result.id.partition("/")[2]: result for result in results}


def loaded(spec: str, seed: int) -> Loaded:
    source = resolve(parse_spec(spec), Registry())
    encoding = source.encode(TASK)
    model = source.untrained(encoding, seed=seed).eval()
    return Loaded(model, lambda: source.untrained(encoding, seed=9).eval(), encoding.code_C, 8)


def test_values_are_means_over_depths_of_what_the_public_function_says() -> None:
    a, b = loaded("lstm[layers=2,width=8]", 0), loaded("transformer[layers=4,width=16]", 1)
    places = draw_places(TASK, 32, 4)
    streams = a.streams(places, [1, 2]), b.streams(places, [2, 4])
    by_hand = [
        mecheval.compare_representations(x_ND, y_ND, places.symbol_N, places.row_N)
        for x_ND, y_ND in zip(*streams, strict=True)
    ]
    found = measured(a, b)
    assert set(found) == {"cka", "debiased_cka", "procrustes", "svcca", "rsa", "mutual_knn"}
    for name in ("cka", "debiased_cka", "procrustes", "svcca"):
        result, beyond = found[name], [scores[f"{name}_without_means"] for scores in by_hand]
        assert result.value == pytest.approx(np.mean([score.value for score in beyond]))
        assert result.scalars["raw"] == pytest.approx(np.mean([s[name].value for s in by_hand]))
        assert result.uncertainty.low == pytest.approx(np.mean([s.interval.low for s in beyond]))
        assert result.uncertainty.resampled_unit == "document"
        assert result.profile.index["depth"] == [
            "0.5 (behind block 1 and 2)", "1 (behind block 2 and 4)",
        ]  # fmt: skip


def test_a_stream_is_recorded_position_by_position_whatever_the_batch() -> None:
    network, places = loaded("lstm[layers=2,width=8]", 0), draw_places(TASK, 21, 3)
    (stream_ND,) = network.streams(places, [2])
    (other_ND,) = replace(network, batch_size=5).streams(places, [2])
    np.testing.assert_allclose(stream_ND, other_ND, atol=1e-6)
    tokens_BT = network.code_C[places.symbols_BT]
    sites = mecheval.trace(network.model, tokens_BT, ["layers.1"])
    np.testing.assert_allclose(
        stream_ND, sites["layers.1"][places.row_N, places.position_N], atol=1e-6
    )


def test_the_null_is_the_larger_one_of_both_untrained_networks() -> None:
    own, other = noise(0), noise(1)
    found = measured(Given(own, noise(2)), Given(own, other))["cka"]
    assert found.value == pytest.approx(1)
    assert found.references["untrained"] < 0.5
    found = measured(Given(own, noise(2)), Given(own, own))["cka"]  # training changed nothing
    assert found.references["untrained"] == pytest.approx(1)
    assert found.scalars["above_untrained"] == pytest.approx(0)


def test_what_the_symbol_alone_makes_alike_does_not_count() -> None:
    symbol_N = draw_places(TASK, 32, 4).symbol_N
    mean_VD = np.random.default_rng(5).normal(size=(len(TASK.symbols), 6)) * 20
    streams = [
        [(x_ND + mean_VD[symbol_N]).astype(np.float32) for x_ND in noise(seed)] for seed in (0, 1)
    ]
    found = measured(Given(streams[0], noise(2)), Given(streams[1], noise(3)))["debiased_cka"]
    assert found.scalars["raw"] > 0.95
    assert found.value < 0.2


def test_places_are_the_same_for_all_pairs_and_never_the_first_position() -> None:
    places = draw_places(TASK, 32, 4)
    assert draw_places(TASK, 32, 4).sha256 == places.sha256 != draw_places(TASK, 32, 5).sha256
    assert len(places.row_N) == 128
    assert places.position_N.min() >= 1
    assert len({*zip(places.row_N.tolist(), places.position_N.tolist(), strict=True)}) == 128
    assert len(draw_places(TASK, 2, 100).row_N) == 2 * TASK.max_length


def test_without_activations_there_is_no_value() -> None:
    for lacking in (subject(None, Given(noise(0), noise(1))), subject(None, None, task=None)):
        for result in measure_pair(RepresentationSimilarity(**BRIEF), lacking):
            assert result.value is None
            assert result.reason == "only the reports of the two are at hand, no activations"


def test_what_is_constant_has_no_likeness() -> None:
    still = [np.ones((128, 6), np.float32)] * 2
    found = measured(Given(still, noise(1)), Given(noise(2), noise(3)))
    assert all(result.value is None and result.reason for result in found.values())


def test_a_limit_takes_fewer_sequences() -> None:
    pair = subject(Given(noise(0), noise(1)), Given(noise(0), noise(1)), limit=8)
    results = measure_pair(RepresentationSimilarity(**BRIEF), pair)
    assert {result.n_expected for result in results} == {32}
