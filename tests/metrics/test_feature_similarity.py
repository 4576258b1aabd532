"""Features of two networks: what is averaged, what stands beside it, and why it has no place."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest
from scipy import sparse

import mecheval
from mecheval.dictionaries import SparseCodes
from mecheval.metrics.pairs import PairSubject, Side
from mecheval.metrics.pairs.coding import Coded
from mecheval.metrics.pairs.feature_similarity import FeatureSimilarity
from mecheval.metrics.pairs.measuring import measure_pair
from mecheval.metrics.pairs.network import Loaded

TASK = mecheval.load_task("parity[max_length=12,min_length=12]")
N, PER = 64, 12


def codes(seed: int, like: np.ndarray | None = None, share: float = 0.0) -> np.ndarray:
    """Draw codes, of which a share is that of others."""
    rng = np.random.default_rng(seed)
    own = rng.exponential(size=(N * PER, 10)) * (rng.random((N * PER, 10)) < 0.3)
    return own if like is None else np.where(rng.random(own.shape) < share, like, own)


@dataclass
class Given:
    """A network whose codes are given: of two dictionaries, and of it untrained."""

    own: np.ndarray
    twin: np.ndarray
    untrained: np.ndarray
    fve: float = 0.8
    l0: float = 3.0
    n_layers: int = 1
    stream: np.ndarray | None = None
    asked: list = field(default_factory=list)

    def streams(self, places, layers, *, trained=True):
        stream_ND = self.own if self.stream is None else self.stream
        return [stream_ND[: len(places.row_N)] for _ in layers]

    def coded(self, coding, places, layers, *, trained=True, seeds=(0,)):
        self.asked += [(coding.of, layer, trained, seed) for layer in layers for seed in seeds]
        all_codes = (self.own, self.twin) if trained else (self.untrained,)
        held = [
            Coded(SparseCodes.of(sparse.csr_array(found)), self.fve, self.l0, 1.0)
            for found in all_codes
        ]
        return [[held[seed] for seed in seeds] for _ in layers]


TRUTH = codes(0)


def network(seed: int, share: float = 0.8, **fields) -> Given:
    drawn = [codes(10 * seed + n, TRUTH, share) for n in range(2)]
    return Given(*drawn, codes(10 * seed + 2), **fields)


def measured(a, b, **params):
    sides = [Side("net", n, True, (), each) for n, each in enumerate((a, b))]
    given = {"n": N, "n_train": N, "per_sequence": PER, **params}
    subject = PairSubject(*sides, seed=0, task=TASK)
    (result,) = measure_pair(FeatureSimilarity(**given), subject)
    return result


def held_out(x: np.ndarray, y: np.ndarray, *, beyond: bool = False) -> float:
    row_N = np.repeat(np.arange(N), PER)
    symbol_N = PairSubject(
        Side("", 0, True, ()), Side("", 1, True, ()), 0, TASK
    ).places(N, PER).group_N  # fmt: skip
    found = mecheval.compare_features(x, y, symbol_N, row_N, n_blocks=2)
    ways = (found.beyond_a_to_b, found.beyond_b_to_a) if beyond else (found.a_to_b, found.b_to_a)
    return float(np.mean([way.held_out for way in ways]))


@pytest.mark.parametrize("of", ["context", "stream"])
def test_the_score_between_its_null_and_its_skyline(of) -> None:
    a, b, beyond = network(1), network(2), of == "stream"
    result = measured(a, b, of=of)
    assert result.id.endswith(f"/{of}")
    assert result.value == pytest.approx(held_out(a.own, b.own, beyond=beyond))
    null = [
        held_out(a.untrained, b.own, beyond=beyond),
        held_out(a.own, b.untrained, beyond=beyond),
    ]
    skyline = np.mean([held_out(each.own, each.twin, beyond=beyond) for each in (a, b)])
    assert result.references["untrained"] == pytest.approx(max(null))
    assert result.references["same_network"] == pytest.approx(skyline)
    assert result.scalars["place"] == pytest.approx(
        (result.value - max(null)) / (skyline - max(null))
    )
    assert {(asked[0], asked[2], asked[3]) for asked in a.asked} == {
        (of, True, 0), (of, True, 1), (of, False, 0),
    }  # fmt: skip


def test_networks_of_two_depths_meet_at_equal_shares() -> None:
    a, b = network(1, n_layers=2), network(2, n_layers=4)
    result = measured(a, b, depths=2)
    assert {asked[1] for asked in a.asked} == {1, 2}
    assert {asked[1] for asked in b.asked} == {2, 4}
    assert result.n_expected == result.n_scored == 2
    assert result.profile.index["depth"][0] == "0.5 (behind block 1 and 2)"


def test_dictionaries_that_explain_unlike_much_have_no_place() -> None:
    result = measured(network(1), network(2, fve=0.7))
    assert result.value is not None
    assert result.scalars["place"] is None
    assert "0.100 apart" in next(h.otherwise for h in result.headline if h.at == "place")


def test_dictionaries_that_fire_unlike_often_have_no_place() -> None:
    result = measured(network(1), network(2, l0=3.3))
    assert result.value is not None
    assert result.scalars["place"] is None
    assert result.scalars["l0_apart"] == pytest.approx(0.3 / 3.3)
    assert "0.091 of the larger number" in next(
        h.otherwise for h in result.headline if h.at == "place"
    )
    assert measured(network(1), network(2, l0=3.1)).scalars["place"] is not None


def test_untrained_networks_are_no_skyline() -> None:
    sides = [Side("net", n, True, (), network(n), untrained=n == 2) for n in (1, 2)]
    subject = PairSubject(*sides, seed=0, task=TASK)
    (result,) = measure_pair(FeatureSimilarity(n=N, n_train=N, per_sequence=PER), subject)
    assert result.value is not None
    assert result.scalars["place"] is None
    why = next(h.otherwise for h in result.headline if h.at == "place")
    assert "net: freshly drawn weights" in why


def test_without_a_gap_between_null_and_skyline_there_is_no_place() -> None:
    a, b = (Given(codes(n), codes(n + 2), codes(n + 4)) for n in (1, 2))
    a.untrained = b.own  # as alike as can be
    result = measured(a, b)
    assert result.scalars["place"] is None
    assert "standard errors apart" in next(h.otherwise for h in result.headline if h.at == "place")


def test_single_dimensions_are_held_side_by_side_beyond_the_symbol() -> None:
    rng = np.random.default_rng(3)
    stream_ND = rng.normal(size=(N * PER, 6))
    turned_ND = stream_ND @ np.linalg.qr(rng.normal(size=(6, 6)))[0]
    same, turned = (
        measured(network(1, stream=stream_ND), network(2, stream=other)).references["basis"]
        for other in (stream_ND, turned_ND)
    )
    assert same == pytest.approx(1)
    assert turned is not None
    assert turned < 0.95, "the same space in another basis"
    symbols = PairSubject(
        Side("", 0, True, ()), Side("", 1, True, ()), 0, TASK
    ).places(N, 8).a.symbol_N  # fmt: skip
    one_hot = np.pad(np.eye(symbols.max() + 1)[symbols], ((0, N * PER - len(symbols)), (0, 0)))
    only_symbols = measured(network(1, stream=one_hot), network(2, stream=one_hot))
    assert only_symbols.references["basis"] is None, "nothing is left beyond the symbol"


def test_how_correlations_are_spread_over_latents() -> None:
    a, b = network(1), network(2)
    result = measured(a, b)
    matches = result.profiles["matches"]
    labels = matches.index["correlation"]
    assert labels[:2] == ["below 0", "0.00 to 0.05"]
    middle = np.array([-0.02, *(np.arange(20) + 0.5) / 20])
    for spread, mean in (
        (matches.value, result.value),
        (matches.series["untrained"], np.mean([held_out(a.untrained, b.own),
                                               held_out(a.own, b.untrained)])),
        (matches.series["same_network"], result.references["same_network"]),
    ):  # fmt: skip
        assert sum(spread) == pytest.approx(1)
        assert middle @ np.array(spread) == pytest.approx(mean, abs=0.03)


def by_pairs_of_symbols(share_M: np.ndarray, seed: int) -> np.ndarray:
    """Draw codes of which a share is what the last two symbols are, the same for all seeds."""
    places = PairSubject(
        Side("", 0, True, ()), Side("", 1, True, ()), 0, TASK
    ).places(N, PER).a  # fmt: skip
    pair_N = 3 * places.symbol_N + places.symbols_BT[places.row_N, places.position_N - 1]
    table = np.random.default_rng(0).random((pair_N.max() + 1, len(share_M))) > 0.5
    noise = np.random.default_rng(seed).random((N * PER, len(share_M))) < 0.5
    return (
        np.where(np.random.default_rng(9).random(noise.shape) < share_M, table[pair_N], noise) + 0.0
    )


def test_features_that_few_symbols_explain_are_matched_first_where_they_are_shared() -> None:
    share_M = np.linspace(0.1, 0.95, 10)
    drawn = [by_pairs_of_symbols(share_M, seed) for seed in range(4)]
    a, b = Given(drawn[0], drawn[1], codes(7)), Given(drawn[2], drawn[3], codes(8))
    scalars = measured(a, b).scalars
    assert scalars["simple_first"] is not None
    assert scalars["simple_first"] > 0.6
    assert scalars["simple_first_same_network"] == pytest.approx(
        scalars["simple_first"], abs=0.2
    ), "the second dictionary shares no more than the other network does"


def test_features_that_fire_often_may_be_matched_first() -> None:
    rate_M = np.linspace(0.1, 0.9, 10)
    rng = np.random.default_rng(0)
    truth = rng.random((N * PER, 10)) < rate_M
    drawn = [np.where(rng.random(truth.shape) < rate_M, truth, rng.random(truth.shape) < rate_M)
             for _ in range(4)]  # fmt: skip
    often = [each.astype(float) for each in drawn]
    found = measured(Given(*often[:2], codes(7)), Given(*often[2:], codes(8)))
    assert found.scalars["frequent_first"] is not None
    assert found.scalars["frequent_first"] > 0.8


def test_codes_that_never_fire_have_no_score() -> None:
    empty = np.zeros_like(TRUTH)
    result = measured(Given(empty, empty, empty), network(2))
    assert result.value is None
    assert "fires in 25 rows" in result.reason


def test_without_activations_there_is_no_value() -> None:
    assert "no activations" in measured(None, network(1)).reason


def test_dictionaries_with_unlike_many_latents_have_no_place() -> None:
    a, b = network(1), network(2)
    b.own, b.twin = (np.pad(each, ((0, 0), (0, 2))) for each in (b.own, b.twin))
    b.untrained = np.pad(b.untrained, ((0, 0), (0, 2)))
    result = measured(a, b)
    assert result.value is not None
    assert result.scalars["place"] is None
    assert "have 10 and 12 latents" in next(h.otherwise for h in result.headline if h.at == "place")


def test_features_of_memory_and_what_has_none() -> None:
    def loaded(name: str) -> Loaded:
        model = mecheval.load_model(f"{name}[layers=1,width=8]", vocab_size=3)
        return Loaded(model, lambda: model, np.arange(3), 32)

    given = {"n_rows": 300, "width": 1, "k": 2, "depths": 1}
    result = measured(loaded("lstm"), loaded("gru"), component="state", **given)
    assert result.value is not None
    assert result.references["same_network"] is not None
    with_attention = loaded("attention")
    refused = measured(loaded("lstm"), with_attention, component="state", **given)
    assert refused.value is None
    assert "grows with every position" in refused.reason


def test_the_site_came_later_and_has_no_say_at_its_default() -> None:
    assert "component" not in FeatureSimilarity().deciding
    assert FeatureSimilarity(component="write").deciding["component"] == "write"
