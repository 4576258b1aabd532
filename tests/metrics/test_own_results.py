"""Results that cannot be right are refused where a metric gives them, in one sentence."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from hand_built import HandBuilt, Mixer, load_task, never, subject_of

import mecheval
from mecheval.errors import ContractError
from mecheval.metrics import Column, Estimate, Layout, Metric, checked, measure, metric
from mecheval.reports.results import MetricResult
from mecheval.reports.sense import problems
from mecheval.stats import Interval

if TYPE_CHECKING:
    from collections.abc import Callable

SHARE = Layout("", "a share", 8, (0.0, 1.0), True)


@metric(name="own", version=1, family="counting")
@dataclass(frozen=True, kw_only=True)
class Own(Metric):
    """What a test lets it return."""

    n: int = 8

    made: Any = field(init=False, default=None, compare=False)

    def measure(self, subject: object) -> list[MetricResult]:
        """Return it."""
        return self.made(self)


def results(made: Callable[[Metric], Any]) -> list[MetricResult]:
    own = Own()
    object.__setattr__(own, "made", made)
    return measure(own, subject_of(HandBuilt([Mixer(never)]), load_task("parity"), learned=True))


def share(value: Any, n: int = 8, **fields: Any) -> Callable[[Metric], list[MetricResult]]:
    estimate = Estimate(value, fields.pop("interval", None), fields.pop("reason", None))
    layout = fields.pop("layout", SHARE)
    return lambda own: [own.result(layout, estimate, n, **fields)]


def changed(**update: Any) -> Callable[[Metric], list[MetricResult]]:
    return lambda own: [result.model_copy(update=update) for result in share(0.5)(own)]


WRONG = {
    "above its bounds": (share(7.0), "own is 7.0, outside its bounds 0.0 to 1.0"),
    "below its bounds": (share(-0.01), "outside its bounds"),
    "from no unit": (share(0.5, n=0), "own has a value from no unit"),
    "more units than asked": (share(0.5, n=9), "own has scored 9 of 8 units"),
    "null without a reason": (share(None), "own is null without a reason"),
    "an interval from above": (
        share(0.5, interval=Interval(0.6, 0.4, "bootstrap", "pair")),
        "own has an interval from 0.6 to 0.4",
    ),
    "one id twice": (lambda own: share(0.5)(own) * 2, "own occurs twice"),
    "another id": (changed(id="theirs/x"), "theirs/x is no id of it"),
    "another id that begins alike": (changed(id="owner"), "owner is no id of it"),
    "another metric": (changed(name="theirs"), "own is no id of it"),
    "other parameters": (changed(metric="own[n=3]"), "own is no id of it"),
    "another stem": (share(0.5, layout=SHARE._replace(stem="token_accuracy")),
                     "token_accuracy is no id of it"),
    "nothing": (lambda _: None, "they are None, not a list of results"),
    "no list": (lambda own: share(0.5)(own)[0], "not a list of results"),
    "a list of numbers": (lambda _: [0.5], "they are [0.5], not a list"),
    "an empty list": (lambda _: [], "there are none"),
}  # fmt: skip
MALFORMED = {
    "nan": (share(float("nan")), "Metric 'own' gives a MetricResult 'own' that has a wrong field "
            "'value': it should be a finite number, not nan."),
    "infinity": (share(float("-inf")), "a finite number, not -inf"),
    "text": (share("much"), "'value'"),
    "bound": (share(0.5, layout=SHARE._replace(bounds=(0.0, float("inf")))), "finite number"),
    "title": (share(0.5, layout=SHARE._replace(title="two\nlines")), "'title'"),
    "units": (share(0.5, n=-1), "'n_scored'"),
    "by hand": (
        lambda _: [MetricResult(id="own", title="", value=float("nan"), n_expected=1, n_scored=1,
                                name="own", version=1, family="counting")],
        "Metric 'own' gives a MetricResult that has a wrong field 'value'",
    ),
    "unknown": (share(0.5, colour="red"), "has an unknown field 'colour'"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_be_right_is_refused(name: str) -> None:
    made, sentence = WRONG[name]
    with pytest.raises(ContractError) as caught:
        results(made)
    said = str(caught.value)
    assert said.startswith("Metric 'own' gives results that cannot be right: ")
    assert sentence in said


@pytest.mark.parametrize("name", MALFORMED)
def test_what_no_report_can_hold_is_one_sentence(name: str) -> None:
    made, sentence = MALFORMED[name]
    with pytest.raises(ContractError) as caught:
        results(made)
    said = str(caught.value)
    assert sentence in said
    assert "pydantic" not in said
    assert "\n" not in said


@metric(name="own", version=1, family="counting", headline=(Column("a share"),))
@dataclass(frozen=True, kw_only=True)
class Compared(Own):
    """One that keeps its units."""


@pytest.mark.parametrize(
    ("units", "problem"),
    [
        (np.zeros((3, 2)), "have the shape (3, 2)"),
        ([[1.0], [2.0]], "have the shape (2, 1)"),
        (0.5, "have the shape ()"),
        ([[1.0], [1.0, 2.0]], "cannot be numbers ("),
        (["a"], "cannot be numbers (could not convert"),
        (torch.ones(2, requires_grad=True), "cannot be numbers (Can't call numpy()"),
    ],
)
def test_units_are_one_number_each(units: Any, problem: str) -> None:
    with pytest.raises(ContractError) as caught:
        Compared(n=7).result(SHARE, Estimate(0.5), 8, units=units)
    said = str(caught.value)
    assert said.startswith(f"Metric 'own[n=7]' gives a result 'own[n=7]' whose units {problem}")
    assert "Give one number per unit, an array of shape (n,): " in said


def test_units_that_are_left_out_are_null() -> None:
    kept = Compared().result(SHARE, Estimate(0.5), 1, units=np.array([0.5, np.nan])).units
    assert kept == [0.5, None]


@pytest.mark.parametrize("value", [0.0, 1.0, 1.0 + 1e-7, -1e-7, float(np.float32(1.0000001)), None])
def test_rounding_at_the_bounds_is_none_of_it(value: float | None) -> None:
    (result,) = results(share(value, reason="why not" if value is None else None))
    assert result.value == value
    assert not list(problems([result]))


def test_parts_and_outlined_stems_are_ids_of_it() -> None:
    (result,) = results(share(0.5, layout=SHARE._replace(part="x/1")))
    assert result.id == "own/x/1"


def test_two_metrics_of_a_cell_cannot_give_one_id() -> None:
    one, other = (results(share(0.5))[0] for _ in range(2))
    with pytest.raises(ContractError, match="'own' and 'own' both give a result 'own'"):
        checked([one, other])


def test_a_run_ends_with_the_sentence() -> None:
    own = Own()
    object.__setattr__(own, "made", share(float("nan")))
    (report,) = mecheval.evaluate(
        "lstm", "parity", metrics=[own], recipe={"steps": 0, "gate": 0}, limit=8, device="cpu"
    )
    assert report.error is not None
    assert (report.error.stage, report.error.type) == ("own", "ContractError")
    assert "a finite number, not nan" in report.error.message
    assert [result.name for result in report.metrics] == ["behaviour"] * len(report.metrics)
