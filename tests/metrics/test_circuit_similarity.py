"""Circuit similarity of reports: what is compared, what is left out, and why there is no value."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mecheval.metrics.pairs import PairSubject, Side
from mecheval.metrics.pairs.circuit_similarity import CircuitSimilarity
from mecheval.metrics.pairs.measuring import measure_pair
from mecheval.metrics.results import profile
from mecheval.reports.schema import MetricResult

COMPONENTS, ROLES = ["block_in", "mixer_out"], ["key", "value", "query"]


def interchange(value_CLR, token: str = "value", *, trivial_CLR=None, **changes) -> MetricResult:
    value_CLR = np.asarray(value_CLR, float)
    trivial_CLR = np.zeros(value_CLR.shape, bool) if trivial_CLR is None else trivial_CLR
    index = {"component": COMPONENTS, "layer": range(value_CLR.shape[1]), "role": ROLES}
    given = {
        "id": f"interchange/{token}", "title": "t", "value": 0.5, "name": "interchange",
        "metric": "interchange", "version": 2, "family": "intervention", "n_expected": 8,
        "n_scored": 8, "profile": profile(index, value_CLR, marks={"trivial": trivial_CLR}),
    }  # fmt: skip
    return MetricResult(**{**given, **changes})


def side(*results: MetricResult, learned: bool = True, title: str = "net") -> Side:
    return Side(title, 0, learned, results)


def found(a: Side, b: Side, **params) -> MetricResult:
    (result,) = measure_pair(CircuitSimilarity(**params), PairSubject(a, b, seed=0))
    return result


def shares(n_layers: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).uniform(size=(2, n_layers, 3))


def test_the_same_circuit_at_another_strength_correlates() -> None:
    value_CLR = shares(2, 0)
    result = found(side(interchange(value_CLR)), side(interchange(value_CLR / 2)))
    assert result.value == pytest.approx(1)
    assert result.n_scored == result.n_expected == 12
    assert result.scalars["closeness"] == pytest.approx(1 - value_CLR.mean() / 2)
    references = result.references
    assert references["null_low"] < references["null"] < references["null_high"] < 0.95
    assert references["closeness_null"] < result.scalars["closeness"]


def test_networks_of_other_depths_meet_at_shares_of_the_depth() -> None:
    value_CLR = shares(2, 1)
    deeper = side(interchange(np.repeat(value_CLR, 2, axis=1)))
    result = found(side(interchange(value_CLR)), deeper)
    assert result.value == pytest.approx(1)
    assert result.profile is not None
    assert result.profile.index["depth"] == ["0 to 0.25", "0.25 to 0.5", "0.5 to 0.75", "0.75 to 1"]
    assert found(side(interchange(value_CLR)), deeper, depths=2).n_scored == 12


def test_no_place_counts_twice_where_both_are_shallow() -> None:
    assert found(side(interchange(shares(1, 0))), side(interchange(shares(1, 1)))).n_scored == 6


def test_trivial_places_of_either_are_left_out() -> None:
    value_CLR, other_CLR = shares(2, 2), shares(2, 2)
    other_CLR[0, 0, 0] = 1 - other_CLR[0, 0, 0]
    trivial_CLR = np.zeros((2, 2, 3), bool)
    trivial_CLR[0, 0, 0] = True
    ours, theirs = side(interchange(value_CLR, trivial_CLR=trivial_CLR)), interchange(other_CLR)
    result = found(ours, side(theirs))
    assert result.value == pytest.approx(1)
    assert result.n_scored == 11
    assert found(side(interchange(value_CLR)), side(theirs)).value < 1


def test_both_exchanged_tokens_count_where_both_have_them() -> None:
    a = side(interchange(shares(2, 0)), interchange(shares(2, 1), "key"))
    assert found(a, a).n_scored == 24
    assert found(a, side(interchange(shares(2, 0)))).n_scored == 12


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        (side(title="bare"), "no interchange profile of bare: not measured, or no gap"),
        (
            side(interchange(shares(2, 0), profile=None, value=None, reason="-"), title="flat"),
            "no interchange profile of flat: not measured, or no gap",
        ),
        (side(learned=False, title="lost"), "not learned by lost (seed 0)"),
        (
            side(interchange(np.full((2, 2, 3), 0.5))),
            "one of the models has the same share of the answer at all places",
        ),
        (
            side(interchange(shares(2, 0), trivial_CLR=np.ones((2, 2, 3), bool))),
            "0 places are in both models and trivial in neither, and a correlation takes 4",
        ),
    ],
)  # fmt: skip
def test_a_missing_value_has_its_reason(other: Side, reason: str) -> None:
    result = found(side(interchange(shares(2, 0))), other)
    assert result.value is None
    assert result.reason == reason


def test_positions_apart_take_writes_of_both() -> None:
    def written(offset: int) -> MetricResult:
        value_LO = np.zeros((2, 6))
        value_LO[1, offset + 1] = 0.9
        index = {"layer": range(2), "offset": range(-1, 5)}
        result = interchange(shares(2, 0), profile=profile(index, value_LO))
        named = {"id": "write_offset/value", "name": "write_offset", "metric": "write_offset"}
        return result.model_copy(update=named)

    places = interchange(shares(2, 0))
    result = found(side(places, written(0)), side(places, written(1)))
    assert result.scalars["positions_apart_value"] == 1
    assert "positions_apart_value" not in found(side(places, written(0)), side(places)).scalars


def test_several_variants_of_a_metric_give_the_usual_one() -> None:
    usual = interchange(shares(2, 0))
    other = interchange(
        shares(2, 1), id="interchange[n_pairs=8]/value", metric="interchange[n_pairs=8]"
    )
    assert side(other, usual).results("interchange") == {"value": usual}
    assert side(other).results("interchange") == {"value": other}
    assert replace(side(other), measured=()).results("interchange") == {}
