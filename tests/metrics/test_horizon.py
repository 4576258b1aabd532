"""Horizon: a drift whose closed form is known, planted leaks, verdicts, and why there is no number.

Shape suffixes: ``B`` sequences, ``T`` positions, ``D`` residual width.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from hand_built import (
    ONE,
    STATE,
    WIDTH,
    HandBuilt,
    Mixer,
    always,
    load_task,
    never,
    results_of,
    subject_of,
)
from scipy.stats import binom

from mecheval.errors import ContractError
from mecheval.harness import selftest
from mecheval.metrics import longer_words
from mecheval.metrics.horizon import followed, places
from mecheval.metrics.horizon.horizon import KEPT, LOST
from mecheval.metrics.horizon.places import Words
from mecheval.metrics.horizon.spread import threshold
from mecheval.metrics.horizon.trend import Trend

if TYPE_CHECKING:
    from mecheval.metrics import Subject
    from mecheval.reports.schema import MetricResult

SMALL = {"n_fit": 800, "n_test": 800}


def horizon_of(subject: Subject, part: str = "parity", **params: Any) -> MetricResult:
    return results_of(subject, "horizon", **{**SMALL, **params})[f"horizon/{part}"]


def planted(model: str, task: str = "parity", part: str = "parity") -> MetricResult:
    return horizon_of(selftest.subject_of(f"planted/{model}", task), part)


class Affine(Mixer):
    """h_t = a(x_t) h_(t-1) + e, with a = -1 at a one and 1 at a zero: parity, and a drift.

    With the sign s_t of the state, h_t = s_t (1 + e (s_1 + ... + s_t)). The signs are fair and
    independent, so that the distance of the two classes is 2 and the variance in each e^2 (t - 1).
    """

    def __init__(self, drift: float) -> None:
        super().__init__(always)
        self.drift = drift

    def forward(self, stream_BTD: torch.Tensor) -> torch.Tensor:
        bit_BT = (stream_BTD[..., ONE] > 0.5).long()
        sign_BT = 1.0 - 2.0 * (bit_BT.cumsum(1) % 2)
        sum_BT = sign_BT.cumsum(1) - sign_BT[:, :1]
        held_BT = sign_BT * (1 + self.drift * sum_BT)
        out_BTD = torch.zeros(*bit_BT.shape, WIDTH)
        out_BTD[..., STATE], out_BTD[..., STATE + 1] = held_BT, -held_BT
        return out_BTD


def drifting(drift: float, **params: Any) -> Subject:
    return subject_of(HandBuilt([Affine(drift), Mixer(never)]), load_task("parity", **params))


def share_right(drift: float, length: int) -> float:
    """Return how often 1 + e (s_1 + ... + s_t) is above 0."""
    n_odd = np.arange(length + 1)
    right = 1 + drift * (length - 2 * n_odd) > 0
    return float(binom.pmf(n_odd, length, 0.5)[right].sum())


@pytest.mark.parametrize("drift", [0.05, 0.12])
def test_the_spread_of_an_affine_recurrence_is_its_closed_form(drift: float) -> None:
    result = horizon_of(drifting(drift))
    assert result.profile is not None
    position_T = np.array(result.profile.index["position"], float)
    np.testing.assert_array_equal(position_T, np.arange(1, 17))
    exact_T = drift * np.sqrt(position_T - 1) / 2
    measured_T = np.array(result.profile.value, float)
    # Before the second half words are few, and what makes them drift can be told from the rest.
    assert (measured_T[1:7] < exact_T[1:7]).all()
    np.testing.assert_allclose(measured_T[7:], exact_T[7:], rtol=0.1)
    for layer in np.array(result.profiles["layers"].value, float):  # nothing is added by block 2
        np.testing.assert_allclose(layer, measured_T, rtol=1e-3, atol=1e-6)
    low_T, high_T = (np.array(end, float) for end in (result.profile.low, result.profile.high))
    assert ((low_T <= measured_T) & (measured_T <= high_T))[2:].all()
    assert ((low_T <= exact_T) & (exact_T <= high_T))[10:].all()
    assert result.scalars["growth"] == pytest.approx(0.5 * 12 / 11, abs=0.1)


def test_its_horizon_is_where_it_is_right_in_nine_of_ten_words() -> None:
    drift = 0.12
    result = horizon_of(drifting(drift))
    assert result.value is not None
    assert result.uncertainty is not None
    exact = (1 + (2 * threshold(0.9, 2) / drift) ** 2) / 16
    assert result.value == pytest.approx(exact, rel=0.2)
    assert result.uncertainty.low <= exact <= result.uncertainty.high
    assert share_right(drift, round(16 * exact)) == pytest.approx(0.9, abs=0.03)
    for factor in (2, 4, 8):
        known = pytest.approx(share_right(drift, 16 * factor), abs=0.06)
        assert result.scalars[f"last_accuracy_{factor}x"] == known
        assert result.scalars[f"agrees_{factor}x"] == 1
    assert result.verdict == LOST


def test_beyond_eight_lengths_there_is_no_number() -> None:
    """It is 14 lengths by the closed form."""
    result = horizon_of(drifting(0.05))
    assert result.value is result.scalars["horizon_high"] is None
    assert str(result.reason).startswith("no horizon within 8 training lengths: by its trend the ")
    assert result.verdict == KEPT
    assert [result.scalars[f"agrees_{factor}x"] for factor in (2, 4, 8)] == [1, 1, 1]


@pytest.mark.parametrize(
    ("sharpness", "least", "most"),
    [(4.5, 0.9, 1.3), (5, 2, 3.9), (5.5, None, None), (7, None, None)],
)
def test_a_leak_is_foreseen(sharpness: float, least: float | None, most: float | None) -> None:
    result = planted(f"lstm-parity[sharpness={sharpness}]")
    assert result.verdict == (KEPT if least is None else LOST)
    if least is None or most is None:
        assert result.value is None
    else:
        assert result.value is not None
        assert least < result.value < most
    assert [result.scalars[f"agrees_{factor}x"] for factor in (2, 4, 8)] == [1, 1, 1]


@pytest.mark.parametrize("model", ["lstm-parity", "lstm-votes", "parity-at-block"])
def test_an_exact_state_has_no_horizon(model: str) -> None:
    result = planted(model)
    assert (result.value, result.verdict) == (None, KEPT)
    assert result.scalars["growth"] == 0
    assert result.scalars["spread"] == pytest.approx(0.005)  # the least that counts


def test_a_turned_stream_changes_nothing() -> None:
    plain = planted("parity-at-block[noise=0.2]")
    turned = planted("parity-at-block[noise=0.2,rotated=5]")
    assert plain.scalars["spread"] == pytest.approx(0.0616, abs=0.005)
    for name in ("spread", "growth"):
        assert turned.scalars[name] == pytest.approx(plain.scalars[name], abs=1e-3)


def test_before_the_block_that_writes_the_state_nothing_is_told_apart() -> None:
    result = planted("parity-at-block[block=2]")
    before_T, *behind = np.array(result.profiles["layers"].value, float)[:, 4:]
    assert not (before_T < 1).any()  # infinite ones are null
    np.testing.assert_allclose(behind, 0, atol=1e-3)


def test_what_fails_without_a_drift_is_not_foreseen() -> None:
    """A limit that the documentation names: right up to the training length, and never beyond."""

    def as_far_as_trained(position_T: torch.Tensor) -> torch.Tensor:
        return (position_T <= 16).float()

    result = horizon_of(subject_of(HandBuilt([Mixer(as_far_as_trained)]), load_task("parity")))
    assert result.verdict == KEPT
    assert result.scalars["last_accuracy_2x"] == pytest.approx(0.5, abs=0.1)
    assert [result.scalars[f"agrees_{factor}x"] for factor in (2, 4, 8)] == [0, 0, 0]


class Listening(HandBuilt):
    """Remembers how long the words were that it has read."""

    def forward(self, tokens_BT: torch.Tensor) -> torch.Tensor:
        self.__dict__.setdefault("lengths", set()).add(tokens_BT.shape[1] - 1)
        return super().forward(tokens_BT)


def test_no_word_beyond_the_training_length_has_a_part_in_the_prediction() -> None:
    model = Listening([Affine(0.12)])
    alone = horizon_of(subject_of(model, load_task("parity", longer=())))
    assert model.lengths == {16}
    with_longer = horizon_of(subject_of(model, load_task("parity")))
    assert model.lengths == {16, 32, 64, 128}
    assert alone.value == with_longer.value
    assert alone.verdict == with_longer.verdict
    assert alone.scalars["last_accuracy_4x"] is alone.scalars["agrees_4x"] is None
    assert (
        "held against nothing at 4x: task 'parity' has no test at 4 times its length"
        in alone.warnings
    )


def test_a_length_that_cannot_be_had_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    result = planted("parity-at-block")
    assert result.scalars["agrees_4x"] == 1
    assert result.scalars["agrees_8x"] is None
    assert "held against nothing at 8x: the model takes at most 65" in " ".join(result.warnings)

    def refusing(*_: Any) -> float:
        raise ContractError("There is no such word.")

    monkeypatch.setattr(longer_words, "_last", refusing)
    subject = drifting(0.12, longer=(2,))
    assert longer_words.last_at(subject, 8, n_beyond=9) == (None, "There is no such word.")
    untested = "task 'parity' has no test at 8 times its length"
    assert longer_words.last_at(subject, 8) == (None, untested)
    with pytest.raises(ContractError):  # what the task says it has must be there
        longer_words.last_at(subject, 2)


def test_states_that_are_not_there_have_no_horizon() -> None:
    result = horizon_of(subject_of(HandBuilt([Mixer(never)]), load_task("parity")))
    assert (result.value, result.verdict) == (None, None)
    assert str(result.reason).startswith("the states are not told apart behind the last layer")
    assert result.scalars.get("agrees_4x") is None


def test_a_spread_that_falls_from_where_states_are_not_told_apart_predicts_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    falling = Trend(np.array([0.3]), np.array([-1.0]))  # 0.6 in the middle, 0.3 at the end
    monkeypatch.setattr(followed, "fitted", lambda *_: falling)
    result = horizon_of(subject_of(HandBuilt([Affine(0.1)]), load_task("parity")))
    assert (result.value, result.verdict) == (None, None)
    assert str(result.reason).startswith("the states are not told apart behind the last layer")
    assert result.scalars.get("agrees_4x") is None


def test_too_few_sequences_are_a_reason() -> None:
    subject = subject_of(HandBuilt([Affine(0.1)]), load_task("parity"), limit=15)
    result = horizon_of(subject)
    assert result.value is None
    assert result.reason == (
        "fewer than two values of parity have 10 sequences at every position of the second half: "
        "a higher limit on examples gives more"
    )


def test_words_can_be_too_short_for_a_trend() -> None:
    task = load_task("parity", min_length=3, max_length=3)
    result = horizon_of(subject_of(HandBuilt([Affine(0.1)]), task))
    assert result.reason == "words of 3 symbols are too short for a trend"


def test_what_is_asked_for_in_places_is_no_state_that_goes_on() -> None:
    result = planted("induction", "ar[keys=12,values=12,pairs=6]", "bound")
    assert result.reason == "bound has no value at some positions: it is no state that goes on"


def test_there_is_a_verdict_where_the_variable_decides_the_answer() -> None:
    subject = selftest.subject_of("planted/transformer-count", "z6[longer=[]]")
    found = results_of(subject, "horizon", n_fit=600, n_test=400)
    assert list(found) == ["horizon/element", "horizon/mod2", "horizon/mod3"]
    assert found["horizon/element"].verdict == KEPT
    assert found["horizon/element"].scalars["n_values"] == 6
    for part in ("mod2", "mod3"):
        assert found[f"horizon/{part}"].verdict is None
        assert f"{part} does not decide the answer" in found[f"horizon/{part}"].warnings[0]


def test_values_that_are_rare_are_named() -> None:
    task = "dyck[longer=[],max_length=16,min_length=16]"
    subject = selftest.subject_of("planted/transformer-dyck", task)
    (result,) = results_of(subject, "horizon", variables=("depth",), n_fit=300, n_test=120).values()
    assert result.scalars["n_values"] == 4
    assert result.warnings[0] == "values [4] are too rare to be told apart and are left out"


def test_wide_models_are_read_layer_by_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    together = planted("lstm-parity[sharpness=5]")
    monkeypatch.setattr("mecheval.metrics.horizon.places._TOGETHER", 1)
    assert planted("lstm-parity[sharpness=5]").model_dump() == together.model_dump()


def test_lines_are_found_on_other_words_than_they_are_measured_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found, whole = [], places.nearest

    def listening(stream_NTD: np.ndarray, *given: Any) -> Any:
        found.append(stream_NTD.shape)
        return whole(stream_NTD, *given)

    monkeypatch.setattr(places, "nearest", listening)
    result = horizon_of(drifting(0.12), n_fit=120, n_test=90)
    assert found == [(120, 9, WIDTH)] * 2  # the second half of the words, behind either block
    assert (result.n_scored, result.n_expected) == (90, 90)


def test_an_answer_is_decided_by_what_leaves_one() -> None:
    subject = drifting(0.1)
    words = Words(*(subject, *(subject.examples(s, 50, purpose="x") for s in ("train", "test"))))
    assert words.decides("parity")
    words.held.variables["parity"][3, 7] = 1 - words.held.variables["parity"][3, 7]
    assert not words.decides("parity")
