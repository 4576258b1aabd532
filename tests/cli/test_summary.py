"""The table of a run: one row per result, means over seeds, reasons instead of numbers."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from mecheval.cli.summary import summary
from mecheval.reports.markdown import table
from mecheval.reports.schema import (
    Failure,
    Identity,
    MetricResult,
    ModelPart,
    Report,
    TaskIdentity,
    Uncertainty,
)


def outcome(seed: int, *metrics: MetricResult, error: Failure | None = None) -> Any:
    identity = Identity(
        protocol=1,
        task=TaskIdentity(name="parity", version=2, params={}),
        model=ModelPart(name="lstm", args={}, source="scratch"),
        recipe={},
        metrics=[],
        seed=seed,
        dtype="float32",
    )
    report = Report(
        key="0" * 64,
        status="error" if error else "success",
        partial=False,
        learned=True,
        created="",
        finished="",
        identity=identity,
        metrics=list(metrics),
        error=error,
    )
    cell = SimpleNamespace(model_title="lstm[width=48]", task_title="parity")
    return SimpleNamespace(report=report, cell=cell)


def accuracy(value: float) -> MetricResult:
    return MetricResult(
        id="token_accuracy/1x", name="behaviour", version=1, family="behaviour",
        title="token accuracy 1x", value=value, n_expected=9, n_scored=9,
        references={"floor": 0.5},
        uncertainty=Uncertainty(
            method="bootstrap", level=0.95, low=value - 0.1, high=value + 0.05,
            resampled_unit="sequence",
        ),
    )  # fmt: skip


def recovery(
    value: float | None, id: str = "recovery/block_in", reason: str = "not learned: 0.5 < 0.99"
) -> MetricResult:
    return MetricResult(
        id=id, name="recovery", version=1, family="intervention", title=id, value=value,
        reason=None if value is not None else reason, n_expected=9, n_scored=9,
    )  # fmt: skip


def rows(*outcomes: Any) -> list[list[str]]:
    lines = summary(outcomes).splitlines()
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines[2:]]


def test_one_seed_has_the_interval_of_its_report():
    assert rows(outcome(3, accuracy(0.75), recovery(None))) == [
        [
            "lstm[width=48]",
            "parity@2",
            "3",
            "token accuracy 1x",
            "0.750",
            "[0.650, 0.800]",
            "0.500",
        ],
        ["lstm[width=48]", "parity@2", "3", "recovery/block_in", "not learned", "", ""],
    ]


def test_several_seeds_become_a_mean_and_an_interval_over_seeds():
    row = rows(*(outcome(seed, accuracy(0.5 + 0.1 * seed)) for seed in range(4)))[0]
    assert row[2:5] == ["0,1,2,3", "token accuracy 1x", "0.650"]
    low, high = (float(end) for end in row[5].strip("[]").split(", "))
    assert 0.5 <= low < 0.65 < high <= 0.8


def test_seeds_without_a_value_are_counted():
    row = rows(outcome(0, recovery(0.5)), outcome(1, recovery(None)), outcome(2, recovery(0.75)))[0]
    assert row[4] == "0.625 (2 of 3 seeds)"


def test_why_a_value_is_undefined_stands_below_the_table():
    undefined = [recovery(None, reason="no gap"), recovery(None, reason="no gap"), recovery(0.5)]
    shown = summary([outcome(seed, result) for seed, result in enumerate(undefined)])
    assert "0.500 (1 of 3 seeds)" in shown
    assert shown.splitlines()[3:] == [
        "",
        "lstm[width=48], parity@2: recovery/block_in is undefined: no gap",
    ]


def test_only_the_first_result_of_a_mechanism_is_shown():
    shown = rows(outcome(0, accuracy(1.0), recovery(0.5), recovery(0.6, "recovery/mixer_out")))
    assert [row[3] for row in shown] == ["token accuracy 1x", "recovery/block_in"]


def test_a_failed_cell_has_a_row_of_its_own():
    error = Failure(type="E", message="m", stage="train", traceback="")
    shown = rows(outcome(0, accuracy(1.0)), outcome(1, error=error))
    assert [row[2:4] for row in shown] == [["1", "failed in train"], ["0", "token accuracy 1x"]]


def test_a_table_lines_up_and_escapes_bars():
    assert table(["a", "long"], [["x|y", "1"]]) == (
        "| a    | long |\n| ---- | ---- |\n| x\\|y | 1    |"
    )
