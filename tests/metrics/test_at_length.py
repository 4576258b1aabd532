"""Metrics at a multiple of the training length."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from hand_built import HandBuilt, Mixer, load_task, never, subject_of, written_at_block
from measured import measured

from mecheval.metrics import Column, Estimate, Layout, Metric, measure, metric
from mecheval.metrics.needs import AtLength, Variable
from mecheval.metrics.parameters import Lengths

if TYPE_CHECKING:
    import pytest

    from mecheval.metrics import Subject
    from mecheval.models.contract import SequenceModel
    from mecheval.reports.schema import MetricResult


@metric(
    name="width_of_examples",
    version=1,
    family="counting",
    needs=(Variable(), AtLength()),
    headline=(Column("positions"),),
)
@dataclass(frozen=True, kw_only=True)
class WidthOfExamples(Metric):
    """Number of positions of what a metric is handed."""

    length: Lengths = 1

    def measure(self, subject: Subject) -> list[MetricResult]:
        """Count them in examples, tests and pairs."""
        shapes = {
            subject.examples("train", 4, purpose="probe").tokens_BT.shape,
            subject.test(subject.length, 4).tokens_BT.shape,
            subject.pairs(4, subject.length).clean.tokens_BT.shape,
        }
        ((_, width),) = shapes
        return [self.result(Layout("", self.card.summary, 1), Estimate(float(width)), 1)]


def answered(model: SequenceModel, length: int, **params: Any) -> MetricResult:
    task = load_task("parity", **params)
    (result,) = measure(WidthOfExamples(length=length), subject_of(model, task))  # type: ignore
    return result


def test_a_metric_is_handed_sequences_of_the_length_that_it_asks_for() -> None:
    tracking = written_at_block(1)
    assert [answered(tracking, factor).value for factor in (1, 2, 4)] == [17, 33, 65]
    assert answered(tracking, 2).metric == "width_of_examples[length=2]"


def test_at_the_training_length_nothing_is_drawn_anew() -> None:
    subject = subject_of(HandBuilt([Mixer(never)]), load_task("parity"))
    once = subject.examples("train", 8, purpose="probe").tokens_BT
    longer = subject.at(2).examples("train", 8, purpose="probe").tokens_BT
    assert np.array_equal(subject.at(1).examples("train", 8, purpose="probe").tokens_BT, once)
    assert longer.shape == (8, 33)
    assert not np.array_equal(longer[:, 1:17], once[:, 1:])


def test_where_the_model_guesses_there_is_nothing_to_take_apart() -> None:
    guessing = HandBuilt([Mixer(never)])
    assert answered(guessing, 1).value == 17  # the gate has said that it was learned
    result = answered(guessing, 2)
    assert result.value is None
    assert result.reason is not None
    assert result.reason.startswith("at 2 times the training length the last answer is right in ")
    assert "no more than by guessing (0.500)" in result.reason


def test_a_task_without_such_a_test_is_not_measured() -> None:
    result = answered(written_at_block(1), 4, longer=(2,))
    assert result.reason == "not applicable: task 'parity' has no test at 4 times its length"


def test_a_model_that_takes_no_more_positions_is_not_measured() -> None:
    model = written_at_block(1)
    model.context_limit = 40
    assert answered(model, 2).value == 33
    assert answered(model, 4).reason == (
        "the model takes at most 40 positions and this length needs 65"
    )


def test_few_sequences_may_have_no_answer_that_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    subject = subject_of(written_at_block(1), load_task("parity"))
    nothing = subject.test(subject.length, 4).take(slice(0, 0))
    monkeypatch.setattr(type(subject), "asked", lambda self, n: nothing)
    for name, size in (("exchange", "n_sequences"), ("bottleneck", "n_erase")):
        for limit, more in ((4, "a higher limit on examples gives more"), (None, f"{size} gives")):
            (result,) = measured(name, replace(subject, limit=limit), **{size: 32})
            said = f"none of {limit or 32} test sequences has an answer that counts: {more}"
            assert result.value is None
            assert result.reason.startswith(said)
