"""Which metrics a cell measures: any that fits, as often as asked for, and anew when edited."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest

import mecheval
from mecheval.errors import UsageError
from mecheval.harness.measures import lacking, metrics_on
from mecheval.harness.plan import plan
from mecheval.harness.request import Request, Settings
from mecheval.metrics import Metric, metric
from mecheval.metrics.needs import Bounds
from mecheval.registry import Registry
from mecheval.spec import Spec, parse_spec, split_list

if TYPE_CHECKING:
    from pathlib import Path

OWN = """\
from dataclasses import dataclass
from mecheval.metrics import Column, Estimate, Layout, Metric, metric

@metric(name="own", version=1, family="count", headline=(Column("own number"),))
@dataclass(frozen=True, kw_only=True)
class Own(Metric):
    \"\"\"A number.\"\"\"

    def measure(self, subject):
        return [self.result(self.outline(subject)[0], Estimate(NUMBER), 1)]
"""
FAST = {"recipe": {"steps": 2, "gate": 0.0}, "limit": 16, "device": "cpu"}


def ids(task: str, metrics: str | None = None) -> list[str]:
    chosen = None if metrics is None else list(map(parse_spec, split_list(metrics)))
    return [m.id for m in metrics_on(mecheval.load_task(task), chosen, Registry())]


def test_a_tasks_own_metrics_are_the_defaults() -> None:
    assert ids("parity") == ["behaviour", "recovery", "readability", "bottleneck", "exchange"]
    assert ids("atr")[4] == "convolution"  # with fewer pairs, which is usual there


def test_any_metric_as_often_as_it_differs() -> None:
    asked = "write_offset,bottleneck,bottleneck[eraser=inlp],bottleneck,convolution"
    found = ["behaviour", "bottleneck", "bottleneck[eraser=inlp]", "convolution", "write_offset"]
    assert ids("parity", asked) == found
    assert ids("parity", "recovery,behaviour[n=64]") == ["behaviour[n=64]", "recovery"]
    assert ids("atr", "convolution[n_pairs=32]") == ["behaviour", "convolution"]


def test_what_is_lacking_is_known_beforehand() -> None:
    task = mecheval.load_task("parity")
    metrics = metrics_on(task, [Spec("interchange"), Spec("convolution")], Registry())
    with_, without = (mecheval.load_model(name, task=task) for name in ("mamba", "lstm"))
    no_key = "task 'parity' has no counterfactual key or value"
    bounds = Bounds()
    assert lacking(metrics, task, with_, bounds) == {no_key: ["interchange"]}
    found = lacking(metrics, task, without, bounds)
    assert list(found.values()) == [["convolution"], ["interchange"]]


def test_a_variable_that_is_not_there_is_known_beforehand() -> None:
    with pytest.raises(UsageError, match="Unknown variable 'party' of parity"):
        ids("parity", "readability[variables=['party']]")


def test_an_edited_metric_is_another_cell(tmp_path: Path) -> None:
    def key(number: str) -> str:
        (tmp_path / "own.py").write_text(OWN.replace("NUMBER", number))
        settings = Settings(include_paths=(tmp_path / "own.py",))
        request = Request(
            models=(Spec("lstm"),), tasks=(Spec("parity"),), metrics=(Spec("local/own"),),
            settings=settings,
        )  # fmt: skip
        (cell,) = plan(request)
        return cell.key

    assert key("1.0") == key("1.0") != key("2.0")


def test_a_metric_of_ones_own_is_reported_under_its_name(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(OWN.replace("NUMBER", "7.0"))
    (report,) = mecheval.evaluate(
        "lstm", "parity", metrics=["local/own"], include_path=[tmp_path], **FAST
    )
    result = report.metrics[-1]
    assert (result.id, result.value, result.headline[0].title) == ("local/own", 7.0, "own number")
    assert report.plugin == {"metric local/own": f"{tmp_path / 'own.py'}:6"}


def test_a_metric_that_is_an_object() -> None:
    from dataclasses import dataclass

    from mecheval.metrics import Estimate

    @metric(name="half", version=1, family="count")
    @dataclass(frozen=True, kw_only=True)
    class Half(Metric):
        """One half."""

        def measure(self, subject):
            return [self.result(self.outline(subject)[0], Estimate(0.5), 1)]

    (report,) = mecheval.evaluate("lstm", "parity", metrics=[Half()], **FAST)
    assert (report.metrics[-1].id, report.metrics[-1].value) == ("half", 0.5)
    assert report.identity.metrics[-1].file_sha256


def test_the_units_of_a_value_have_it_as_their_mean() -> None:
    (report,) = mecheval.evaluate("lstm", "dyck", metrics=["recovery"], **FAST)
    found = [result for result in report.metrics if result.units]
    assert [result.id for result in found] == [
        "token_accuracy/1x", "last_accuracy/1x", "token_accuracy/2x", "token_accuracy/4x",
    ], "sequence accuracy is no column, and this model has not learned the task"  # fmt: skip
    for result in found:
        counted = [unit for unit in result.units if unit is not None]
        assert len(counted) == result.n_scored
        assert math.isclose(sum(counted) / len(counted), result.value, abs_tol=1e-6)
