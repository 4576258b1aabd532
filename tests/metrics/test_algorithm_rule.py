"""The rule of the state algorithm, on arrays: its verdicts, and why there is none.

Shape suffixes: ``P`` pairs, ``L`` inner layers.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from mecheval.metrics.state_algorithm.algorithm_rule import (
    CASES,
    PARITY_FIRST,
    SCAN,
    SEQUENTIAL,
    Evidence,
    Thresholds,
    judge,
)
from mecheval.metrics.state_algorithm.arrivals import Arrivals
from mecheval.metrics.state_algorithm.distant_pairs import n_octaves, octave

LEAST = Thresholds(flat=0.2, grows=0.4, enough=0.8, handed_on=0.5)


def evidence(**fields: Any) -> Evidence:
    """Return a model that is sequential in everything, sign and within it, but for some fields."""
    whole = {
        "slope_RC": [0.0, 0.0], "doubles_RC": [False, False], "handed_RC": [0.0, 0.0],
        "near_RC": [1.0, 1.0], "far_RC": [1.0, 1.0], "carried_RC": [1.0, 1.0],
        "state_R": 1.0, "quotient_RQ": [1.0],
    }  # fmt: skip
    return Evidence(**{name: np.array([value]) for name, value in {**whole, **fields}.items()})


SCANNED: dict[str, Any] = {
    "slope_RC": [1.0, 1.0], "doubles_RC": [True, True], "handed_RC": [0.8, 0.8],
    "far_RC": [4.0, 4.0], "carried_RC": [0.0, 0.0], "state_R": 0.0, "quotient_RQ": [0.0],
}  # fmt: skip
FIRST: dict[str, Any] = {
    **SCANNED, "slope_RC": [0.0, 1.0], "handed_RC": [0.0, 0.8], "far_RC": [1.0, 5.0],
    "quotient_RQ": [1.0],
}  # fmt: skip


def said(found: Evidence) -> tuple[str | None, str]:
    (case,) = judge(found, LEAST).case_R
    return CASES[case].verdict, CASES[case].why


def test_the_three_algorithms() -> None:
    assert said(evidence())[0] == SEQUENTIAL
    assert said(evidence(**SCANNED))[0] == SCAN
    assert said(evidence(**FIRST))[0] == PARITY_FIRST
    assert judge(evidence(**FIRST), LEAST).first_R.tolist() == [0]
    assert judge(evidence(**SCANNED), LEAST).first_R.tolist() == [-1]


def test_a_sign_that_arrives_a_layer_before_is_sequential_all_the_same() -> None:
    assert said(evidence(near_RC=[1.0, 2.0], far_RC=[1.0, 2.0]))[0] == SEQUENTIAL


def test_nothing_but_letters_before_the_last_block_is_a_state() -> None:
    assert said(evidence(state_R=np.nan, quotient_RQ=[np.nan]))[0] == SEQUENTIAL


def test_a_group_without_a_quotient_has_one_curve() -> None:
    alone = {name: SCANNED[name][1:] for name in SCANNED if name.endswith("C")}
    alone["state_R"] = SCANNED["state_R"]
    one = {"near_RC": [1.0], "quotient_RQ": np.zeros(0)}
    assert said(evidence(**{**alone, **one}))[0] == SCAN
    flat = {"slope_RC": [0.0], "doubles_RC": [False], "handed_RC": [0.0], "far_RC": [1.0]}
    assert said(evidence(**{**flat, **one, "carried_RC": [1.0]}))[0] == SEQUENTIAL


def test_a_curve_that_cannot_be_asked_for_decides_nothing() -> None:
    missing = {name: [value[0], np.nan] for name, value in SCANNED.items() if name.endswith("C")}
    missing["doubles_RC"] = [True, False]
    assert said(evidence(**{**SCANNED, **missing}))[0] == SCAN
    assert said(evidence(slope_RC=[0.0, np.nan], far_RC=[1.0, np.nan]))[0] == SEQUENTIAL


UNFIT: list[tuple[dict[str, Any], str]] = [
    ({"carried_RC": [1.0, 0.0]}, "all at once"),
    ({"state_R": 0.3}, "is not the state"),
    ({"carried_RC": [0.0, 0.0], "state_R": 0.3}, "is not the state"),
    ({**SCANNED, "doubles_RC": [True, False]}, "grows by as much in every layer"),
    ({**SCANNED, "handed_RC": [0.8, 0.2]}, "nothing is handed on"),
    ({**SCANNED, "state_R": 0.9}, "contradict each other"),
    ({**FIRST, "state_R": 0.9}, "contradict each other"),
    ({**SCANNED, "slope_RC": [1.0, 0.3]}, "neither independent of the distance nor doubles"),
    ({**FIRST, "quotient_RQ": [0.5]}, "no quotient comes first"),
    ({**FIRST, "far_RC": [4.8, 5.0]}, "no quotient comes first"),
    ({**FIRST, "slope_RC": [1.0, 0.0]}, "no quotient comes first"),
]


@pytest.mark.parametrize(("fields", "why"), UNFIT)
def test_what_fits_no_algorithm_has_no_verdict(fields: dict[str, Any], why: str) -> None:
    verdict, reason = said(evidence(**fields))
    assert verdict is None
    assert why in reason


def test_every_case_can_be_reached() -> None:
    fitting = [{}, FIRST, SCANNED]
    tried = [evidence(**fields) for fields in (*fitting, *(fields for fields, _ in UNFIT))]
    assert {int(judge(found, LEAST).case_R[0]) for found in tried} == set(range(len(CASES)))


def test_resamples_are_judged_alone() -> None:
    both = evidence()
    scanned = evidence(**SCANNED)
    joined = Evidence(
        *(np.concatenate([getattr(x, name) for x in (both, scanned)]) for name in vars(both))
    )
    assert judge(joined, LEAST).verdict_R.tolist() == [0, 2]


def curve(layer_of_distance: Any, length: int = 16, n_layers: int = 6) -> Arrivals:
    """Return arrivals of one letter at every distance, at the layer that it has."""
    distance_P = np.arange(1, length)
    layer_P = np.array([layer_of_distance(d) for d in distance_P])
    here_LP = np.arange(1, n_layers)[:, None] >= layer_P
    return Arrivals(distance_P, here_LP, ~here_LP, len(distance_P), n_octaves(length))


@pytest.mark.parametrize(
    ("layer_of_distance", "slope", "doubles"),
    [
        (lambda d: 2, 0.0, True),
        (lambda d: 1 + int(np.log2(d)), 1.0, True),
        (lambda d: 1 + int(np.log2(d)) // 2, 0.4, True),  # windows of 4 and 16
        (lambda d: 1 + d // 4, 0.85, False),  # four more per layer
        (lambda d: min(d, 5), 1.425, None),
    ],
)
def test_slopes_of_curves(layer_of_distance: Any, slope: float, doubles: bool | None) -> None:
    found = curve(layer_of_distance)
    once_1P = np.ones((1, len(found.distance_P)))
    assert found.slope(once_1P)[0] == pytest.approx(slope, abs=0.06)
    if doubles is not None:
        assert found.doubles(once_1P)[0] == doubles
    by_octave = [found.layer_P[found.octave_P == k].mean() for k in range(4)]
    assert found.slope(once_1P)[0] == pytest.approx(np.polyfit(range(4), by_octave, 1)[0])


def test_octaves() -> None:
    assert octave(np.array([1, 2, 3, 4, 7, 8, 15, 16])).tolist() == [0, 1, 1, 2, 2, 3, 3, 4]
    assert [n_octaves(length) for length in (1, 2, 3, 5, 16, 17)] == [0, 1, 2, 3, 4, 5]


def test_a_resample_counts_pairs_as_often_as_it_holds_them() -> None:
    found = curve(lambda d: 1 + int(np.log2(d)))
    twice = replace(
        found, distance_P=np.tile(found.distance_P, 2), here_LP=np.tile(found.here_LP, 2)
    )
    weight_2P = np.ones((2, len(twice.distance_P)))
    weight_2P[1, : len(found.distance_P)] = 0.0
    assert twice.slope(weight_2P).tolist() == pytest.approx([1.0, 1.0])
