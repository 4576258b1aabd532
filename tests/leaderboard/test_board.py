"""Rows, means and intervals over seeds, gaps, and labels that tell rows apart."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
from synthetic_reports import synthetic

from mecheval.leaderboard.admission import Admitted, Refusal
from mecheval.leaderboard.board import Board, Table, build, score
from mecheval.leaderboard.tables import as_csv, as_json, markdown
from mecheval.reports.labels import Entry, labels, model_labels
from mecheval.reports.schema import MetricIdentity

if TYPE_CHECKING:
    from mecheval.reports.schema import MetricResult, Report


def board(*reports: Report, refused: tuple[Refusal, ...] = ()) -> Board:
    return build([Admitted(f"{i}.json", report) for i, report in enumerate(reports)], refused)


def result(value: float | None, report: Report | None = None) -> MetricResult:
    metric = (report or synthetic()).metrics[0]
    reason = None if value is not None else "not learned: no"
    return metric.model_copy(update={"value": value, "reason": reason})


def rows(table: Table) -> dict[str, tuple[int, ...]]:
    return {row.model: row.seeds for row in table.rows}


def test_one_table_per_task_and_one_row_per_model() -> None:
    built = board(
        synthetic("lstm", seed=1), synthetic("gru"), synthetic("lstm"), synthetic("gru", "dyck")
    )
    assert [table.task for table in built.tables] == ["dyck@1", "parity@1"]
    assert rows(built.tables[1]) == {"gru": (0,), "lstm": (0, 1)}


def test_versions_of_a_task_are_never_mixed() -> None:
    built = board(synthetic(), synthetic(version=2))
    assert [table.task for table in built.tables] == ["parity@1", "parity@2"]


def test_the_mean_is_over_seeds_and_so_is_the_interval() -> None:
    values = [0.90, 0.94, 0.98, 0.99]
    got = score([result(value) for value in values], names=("a",))
    assert got.mean == pytest.approx(np.mean(values))
    assert got.unit == "seed"
    assert got.low is not None
    assert got.high is not None
    assert 0.90 <= got.low < np.mean(values) < got.high <= 0.99
    assert score([result(value) for value in values], names=("a",)) == got


def test_a_single_seed_keeps_the_interval_of_its_report() -> None:
    own = result(0.9).uncertainty
    got = score([result(0.9)], names=("a",))
    assert own is not None
    assert (got.low, got.high, got.unit) == (own.low, own.high, "sequence")


def test_equal_values_do_not_give_an_interval_of_width_zero() -> None:
    got = score([result(1.0), result(1.0)], names=("a",))
    assert got.low is not None
    assert got.high is not None
    assert got.high > got.low
    assert got.unit == "sequence"


def test_missing_values_are_counted_with_their_reasons() -> None:
    got = score([result(0.9), result(None), None], names=("a",))
    assert (got.mean, got.n_values, got.n_seeds) == (0.9, 1, 3)
    assert got.reasons == ("not learned: no", "not measured")
    assert score([result(None)], names=("a",)).mean is None


def test_seeds_that_did_not_learn_are_counted_and_leave_mechanisms_out() -> None:
    (table,) = board(synthetic(seed=0), synthetic(seed=1, learned=False)).tables
    (row,) = table.rows
    assert (row.n_learned, row.seeds) == (1, (0, 1))
    assert row.scores["readability/parity"].n_values == 1
    assert row.scores["token_accuracy/1x"].n_values == 2


def test_gaps_say_why() -> None:
    refused = (
        Refusal("a", "partial: measured with --limit 4", "mamba", "parity@1"),
        Refusal("b", "invalid: is not whole JSON"),
    )
    built = board(synthetic("gru"), synthetic("lstm", "dyck"), refused=refused)
    gaps = {(table.task, row.model): row.gap for table in built.tables for row in table.rows}
    assert gaps == {
        ("parity@1", "gru"): None, ("parity@1", "lstm"): "no report",
        ("parity@1", "mamba"): "partial",
        ("dyck@1", "gru"): "no report", ("dyck@1", "lstm"): None, ("dyck@1", "mamba"): "no report",
    }  # fmt: skip


def test_models_that_differ_in_anything_have_rows_of_their_own() -> None:
    built = board(
        synthetic(model_args={"layers": 2, "width": 8}),
        synthetic(model_args={"layers": 4, "width": 8}),
        synthetic("lstm"),
        synthetic("lstm", recipe={"optimizer": "muon", "lr": 0.003}),
    )
    assert list(rows(built.tables[0])) == [
        "gru[layers=2]", "gru[layers=4]",
        "lstm[recipe.optimizer=adamw]", "lstm[recipe.optimizer=muon]",
    ]  # fmt: skip


def test_labels_ignore_what_only_some_entries_have() -> None:
    entries = [
        Entry("a", {"x": 1}, {"m.n": 1}),
        Entry("a", {"x": 1}, {}),
        Entry("b", {"x": 1}, {"m.n": 1}),
        Entry("b", {"x": None}, {"m.n": 2}),
    ]
    assert labels(entries) == ["a", "a", "b[x=1,m.n=1]", "b[x=null,m.n=2]"]


def test_reports_of_one_seed_with_different_metrics_make_one_row() -> None:
    full = synthetic()
    metrics = [*full.identity.metrics, MetricIdentity(name="recovery", version=1, params={})]
    some = full.model_copy(
        update={
            "key": "f" * 64,
            "identity": full.identity.model_copy(update={"metrics": metrics}),
            "metrics": full.metrics[:3],
        }
    )
    (table,) = board(full, some).tables
    assert rows(table) == {"gru": (0,)}
    assert table.rows[0].scores["recovery/block_in"].n_values == 1


def test_what_needs_no_model_stands_beneath() -> None:
    (table,) = board(synthetic()).tables
    assert table.levels["chance"]["token_accuracy/1x"] == 0.5
    assert "readability/parity" not in table.levels["floor"]


@pytest.fixture
def built() -> Board:
    refused = (Refusal("x/y.json", "partial: measured with --limit 4", "mamba", "parity@1"),)
    return board(
        synthetic(seed=0), synthetic(seed=1, learned=False), synthetic("lstm"), refused=refused
    )


def test_texts_do_not_depend_on_the_order_of_reports(built: Board) -> None:
    again = board(
        synthetic("lstm"), synthetic(seed=1, learned=False), synthetic(seed=0),
        refused=tuple(built.refused),
    )  # fmt: skip
    assert [f(again) for f in (markdown, as_csv, as_json)] == [
        f(built) for f in (markdown, as_csv, as_json)
    ]


def test_markdown_has_gaps_counts_and_refusals(built: Board) -> None:
    text = markdown(built)
    assert "| gru      | 2     | 1 of 2  |" in text
    assert "(1 of 2 seeds)" in text
    single = next(line for line in text.splitlines() if line.startswith("| lstm "))
    assert single.count("\u00b9") == 3
    assert "(partial)" in text
    assert "- `x/y.json`: partial: measured with --limit 4" in text
    assert "*floor*" in text
    widths = {len(line) for line in text.split("## ")[1].splitlines() if line.startswith("|")}
    assert len(widths) == 2  # one width per table: the columns line up


def test_csv_has_one_line_per_number(built: Board) -> None:
    lines = list(csv.DictReader(io.StringIO(as_csv(built))))
    by = {(line["model"], line["metric"]): line for line in lines}
    (table,) = built.tables
    assert len(lines) == 2 * len(table.columns) + 1
    assert by["mamba", ""]["gap"] == "partial"
    got, expected = by["gru", "token_accuracy/1x"], table.rows[0].scores["token_accuracy/1x"]
    assert float(got["mean"]) == pytest.approx(expected.mean)
    assert (got["interval_over"], got["n_values"]) == ("seed", "2")
    assert "not learned" in by["gru", "readability/parity"]["gap"]


def test_json_holds_everything(built: Board) -> None:
    content = json.loads(as_json(built))
    assert content["schema"] == "mecheval.leaderboard/1"
    (table,) = content["tables"]
    assert [row["model"] for row in table["rows"]] == ["gru", "lstm", "mamba"]
    assert content["refused"][0]["reason"].startswith("partial")
    assert table["rows"][0]["scores"]["token_accuracy/1x"]["n_values"] == 2


def test_recipes_that_differ_by_task_alone_are_left_out_of_names() -> None:
    slow, fast = {"optimizer": "adamw", "lr": 0.001}, {"optimizer": "adamw", "lr": 0.01}
    apart = [synthetic("lstm", recipe=slow), synthetic("lstm", "dyck", recipe=fast)]
    assert model_labels(apart) == ["lstm", "lstm"]
    both = [*apart, synthetic("lstm", seed=1, recipe=fast)]
    assert model_labels(both) == [
        "lstm[recipe.lr=0.001]", "lstm[recipe.lr=0.01]", "lstm[recipe.lr=0.01]"
    ]  # fmt: skip
