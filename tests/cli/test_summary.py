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


def verdict(word: str | None, agreement: float | None, **scalars: float) -> MetricResult:
    return MetricResult(
        id="mechanism", name="mechanism", version=1, family="intervention", title="mechanism",
        value=agreement, verdict=word, reason=None if word else "no gap: 0.01", n_expected=9,
        n_scored=9, scalars=scalars,
    )  # fmt: skip


def tables(*outcomes: Any) -> list[list[list[str]]]:
    """Return the rows of every table, headers first."""
    parts = [part.splitlines() for part in summary(outcomes).split("\n\n")]
    return [
        [[cell.strip() for cell in line.split("|")[1:-1]] for line in (lines[0], *lines[2:])]
        for lines in parts
        if lines[0].startswith("|")
    ]


CELL = ["lstm[width=48]", "parity@2"]


def test_one_seed_has_the_interval_of_its_report():
    behaviour, measures = tables(outcome(3, accuracy(0.75), recovery(None)))
    assert behaviour == [
        ["Model", "Task", "Seeds", "Token accuracy", "Last position", "At twice the length",
         "Floor", "Learned"],
        [*CELL, "3", "0.750 [0.650, 0.800]", "", "", "0.500", "yes"],
    ]  # fmt: skip
    assert measures == [
        ["Model", "Task", "Seeds", "Recovery"],
        [*CELL, "3", "block_in not learned"],
    ]


def test_several_seeds_become_a_mean_and_an_interval_over_seeds():
    _, row = tables(*(outcome(seed, accuracy(0.5 + 0.1 * seed)) for seed in range(4)))[0]
    value, low, high = row[3].replace("[", "").replace("]", "").replace(",", "").split()
    assert row[2] == "0,1,2,3"
    assert row[-1] == "4 of 4"
    assert value == "0.650"
    assert 0.5 <= float(low) < 0.65 < float(high) <= 0.8


def test_seeds_without_a_value_are_counted():
    runs = outcome(0, recovery(0.5)), outcome(1, recovery(None)), outcome(2, recovery(0.75))
    cell = tables(*runs)[1][1][3]
    assert cell.startswith("block_in 0.625 [")
    assert cell.endswith("(2 of 3 seeds)")


def test_why_a_value_is_undefined_stands_below_the_tables():
    undefined = [recovery(None, reason="no gap"), recovery(None, reason="no gap"), recovery(0.5)]
    shown = summary([outcome(seed, result) for seed, result in enumerate(undefined)])
    assert shown.split("\n\n")[2:] == [
        "lstm[width=48], parity@2: recovery/block_in is undefined: no gap"
    ]


def test_verdicts_have_a_table_of_their_own_in_place_of_other_measures():
    decided = verdict("induction", 0.98, retrieving_layer=1, enough_block_in_value=0.999)
    _, verdicts = tables(outcome(0, accuracy(1.0), recovery(0.5), decided))
    assert verdicts[1] == [*CELL, "0", "induction", "0.98", "1", "", "1.00", ""]
    _, verdicts = tables(
        *(outcome(seed, decided) for seed in range(3)), outcome(3, verdict(None, None))
    )
    assert verdicts[1][3] == "induction (3 of 4)"
    shown = summary([outcome(0, verdict(None, None))])
    assert shown.endswith("lstm[width=48], parity@2: mechanism is undefined: no gap: 0.01")


def test_only_the_first_result_of_a_mechanism_is_shown():
    results = accuracy(1.0), recovery(0.5), recovery(0.6, "recovery/mixer_out")
    assert tables(outcome(0, *results))[1][1][3] == "block_in 0.500"


def test_a_failed_cell_has_a_row_of_its_own():
    error = Failure(type="E", message="m", stage="train", traceback="")
    behaviour = tables(outcome(0, accuracy(1.0)), outcome(1, error=error))[0]
    assert [row[2:4] for row in behaviour[1:]] == [
        ["1", "failed in train"], ["0", "1.000 [0.900, 1.050]"]
    ]  # fmt: skip


def test_a_table_lines_up_and_escapes_bars():
    assert table(["a", "long"], [["x|y", "1"]]) == (
        "| a    | long |\n| ---- | ---- |\n| x\\|y | 1    |"
    )
