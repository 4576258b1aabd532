"""The number that decides whether a task was learned, of any behavioural metric."""

from __future__ import annotations

from typing import ClassVar

import pytest
from synthetic_reports import synthetic

import mecheval
from mecheval.errors import ContractError, UsageError
from mecheval.harness.gate import check_behaviour, find_gated, gated, judged
from mecheval.harness.selftest import subject_of
from mecheval.recipe import Recipe
from mecheval.registry import Registry
from mecheval.tasks import task
from mecheval.tasks.words import GroupWords

RESULTS = synthetic().metrics
BRIEF = {"limit": 32, "metrics": ["recovery"], "device": "cpu"}
RECIPE = {"steps": 4, "check_every": 2, "batch": 4}


@pytest.mark.parametrize("on", ["token", "last"])
def test_the_usual_one_is_the_accuracy_that_the_gate_is_on(on: str) -> None:
    assert gated(RESULTS, on).id == f"{on}_accuracy/1x"
    assert gated(RESULTS[::-1], on).id == f"{on}_accuracy/1x"


def test_without_the_last_position_a_gate_on_it_is_refused() -> None:
    other = [result for result in RESULTS if result.id != "last_accuracy/1x"]
    assert gated(other, "token").id == "token_accuracy/1x"
    with pytest.raises(UsageError, match=r"no last_accuracy/1x; it gave token_.*gate_on=token"):
        gated(other, "last")


@pytest.mark.parametrize("on", ["token", "last"])
def test_of_another_metric_it_is_the_first_share(on: str) -> None:
    own = [
        result.model_copy(update={"id": f"perplexity/{i}", "bounds": bounds, "value": i})
        for i, (result, bounds) in enumerate(zip(RESULTS, [(0.0, None), (0.0, 1.0)], strict=False))
    ]
    assert gated(own, on).id == "perplexity/1"
    lower = [result.model_copy(update={"higher_is_better": False}) for result in own]
    assert find_gated(lower, on) is None
    with pytest.raises(UsageError, match=r"it gave perplexity/0, perplexity/1\. Let it return"):
        gated(lower, on)
    with pytest.raises(UsageError, match="it gave nothing"):
        gated([], on)


@pytest.mark.parametrize(
    ("value", "gate", "missed"),
    [
        (0.147, 0.1, "below its floor 0.588 (last4)"),
        (0.147, 0.2, "below the gate 0.2"),
        (0.147, 0.0, ""),
        (0.588, 0.1, ""),
    ],
)
def test_what_is_below_its_floor_is_not_learned(value: float, gate: float, missed: str) -> None:
    subject = subject_of("planted/lstm-parity", "parity")
    floors = {"chance": 0.5, "floor": 0.588, "last1": 0.4, "last4": 0.588}
    first = RESULTS[0].model_copy(update={"value": value, "references": floors})
    found = judged(subject, [first], Recipe(gate=gate, gate_on="token"))
    assert (found.learned, found.missed) == (not missed, missed)
    assert found.gated == "token accuracy"


def test_parameters_of_the_behavioural_metric_do_not_hide_what_is_gated() -> None:
    brief = [r.model_copy(update={"id": r.id.replace("/", "[n=8]/")}) for r in RESULTS]
    assert gated(brief, "last").id == "last_accuracy[n=8]/1x"


def test_a_gate_on_the_loss_needs_one() -> None:
    with pytest.raises(UsageError, match=r"no loss/1x; it gave token_.*gate_on=token"):
        gated(RESULTS, "loss")


def test_only_behaviour_can_be_behaviour() -> None:
    check_behaviour("behaviour", "behaviour", task="t")
    with pytest.raises(UsageError, match="'recovery', which is a metric of the family 'inter"):
        check_behaviour("recovery", "intervention", task="t")


def test_tasks_of_state_tracking_ask_at_the_last_position_and_others_everywhere() -> None:
    last = {"parity", "s3", "z6", "dyck", "group", "flipflop"}
    assert Registry().load("task", "text").gate_on == "loss"
    for name in (*last, "ar", "atr", "induction"):
        declared = Registry().load("task", name).gate_on
        assert declared == ("last" if name in last else "token"), name


def test_a_task_cannot_ask_elsewhere() -> None:
    class Own(GroupWords):
        """Words."""

        gate_on: ClassVar = "middle"

    with pytest.raises(ContractError, match=r"gate_on='middle'; give one of token, last, loss\."):
        task(name="own", version=1, reference="none", mechanisms=())(Own)


def test_what_was_gated_is_named_where_nothing_was_learned() -> None:
    at_last = mecheval.evaluate("gru[layers=1,width=8]", "parity", recipe=RECIPE, **BRIEF)[0]
    by_token = mecheval.evaluate(
        "gru[layers=1,width=8]", "parity", recipe={**RECIPE, "gate_on": "token"}, **BRIEF
    )[0]
    for report, on, called in (
        (at_last, "last", "last-position accuracy"),
        (by_token, "token", "token accuracy"),
    ):
        value = next(r.value for r in report.metrics if r.id == f"{on}_accuracy/1x")
        assert report.learned is False
        assert (
            report.metrics[-1].reason == f"not learned: {called} {value:.3f} is below the gate 0.99"
        )
    assert at_last.identity.recipe["gate_on"] == "last"
    assert at_last.labels is not None
    assert "gate_on" not in at_last.labels.run, "it is the default there"
    assert by_token.labels is not None
    assert by_token.labels.run["gate_on"] == "token"
    assert at_last.key != by_token.key


def test_the_gate_is_passed_by_the_accuracy_that_it_is_on() -> None:
    """Half-way between the two accuracies of the same weights, one passes and one does not."""
    how = {**RECIPE, "steps": 30, "gate": 0.0}
    report = mecheval.evaluate("gru[layers=1,width=8]", "parity", recipe=how, **BRIEF)[0]
    token, last = (report.metrics[i].value for i in (0, 1))
    assert token is not None
    assert last is not None
    assert last < token
    how |= {"gate": (token + last) / 2}
    learned = {
        on: mecheval.evaluate(
            "gru[layers=1,width=8]", "parity", recipe={**how, "gate_on": on}, **BRIEF
        )[0].learned
        for on in ("token", "last")
    }
    assert learned == {"token": True, "last": False}
