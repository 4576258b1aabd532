"""Rows, gaps, levels, and the texts that are made of them."""

from __future__ import annotations

import csv
import io
import json

import pytest
from headline_reports import report, result
from synthetic_reports import synthetic

from mecheval.leaderboard.board import Board, Table, build
from mecheval.leaderboard.tables import FIELDS, as_csv, as_json, markdown
from mecheval.reports.collection import Collection, Refused, collect
from mecheval.reports.labels import Name
from mecheval.reports.schema import Headline, Labels, MetricIdentity, Report

PARTIAL = "partial: measured with --limit 4"


def refusal(path: str, reason: str, model: str = "mamba", task: str = "parity@1") -> Refused:
    return Refused(path, reason, None, Name(model, task, ""))


def board(*reports: Report, refused: tuple[Refused, ...] = ()) -> Board:
    return build(Collection(collect(reports).groups, refused))


def rows(table: Table) -> dict[str, tuple[int, ...]]:
    return {row.model: row.group.seeds if row.group else () for row in table.rows}


def test_one_table_per_task_and_one_row_per_model() -> None:
    built = board(
        synthetic("lstm", seed=1), synthetic("gru"), synthetic("lstm"), synthetic("gru", "dyck")
    )
    assert [table.task for table in built.tables] == ["dyck@1", "parity@1"]
    assert rows(built.tables[1]) == {"gru": (0,), "lstm": (0, 1)}


def test_versions_of_a_task_are_never_mixed() -> None:
    built = board(synthetic(), synthetic(version=2))
    assert [table.task for table in built.tables] == ["parity@1", "parity@2"]


def test_models_are_called_what_was_asked_for() -> None:
    one = synthetic("lstm", labels=Labels(model={"layers": 2}), model_args={"layers": 2})
    assert rows(board(one).tables[0]) == {"lstm[layers=2]": (0,)}


def test_recipes_of_one_model_have_rows_of_their_own() -> None:
    built = board(
        synthetic("lstm"), synthetic("lstm", recipe={"optimizer": "muon", "lr": 0.003}),
        synthetic("lstm", "dyck", recipe={"optimizer": "muon", "lr": 0.003}),
    )  # fmt: skip
    dyck, parity = built.tables
    assert [(row.model, row.recipe) for row in parity.rows] == [
        ("lstm", "optimizer=adamw"), ("lstm", "optimizer=muon")
    ]  # fmt: skip
    assert [row.recipe for row in dyck.rows] == [""]
    assert "| lstm  | optimizer=muon  |" in markdown(built)


def test_seeds_that_did_not_learn_are_counted_and_leave_mechanisms_out() -> None:
    (table,) = board(synthetic(seed=0), synthetic(seed=1, learned=False)).tables
    (row,) = table.rows
    assert row.group is not None
    assert (row.group.n_learned, row.group.seeds) == (1, (0, 1))
    assert row.scores["readability/parity"].n == 1
    assert row.scores["token_accuracy/1x"].n == 2


def test_gaps_say_why() -> None:
    refused = refusal("a", PARTIAL), Refused("b", "invalid: is not whole JSON")
    built = board(synthetic("gru"), synthetic("lstm", "dyck"), refused=refused)
    gaps = {(table.task, row.model): row.gap for table in built.tables for row in table.rows}
    assert gaps == {
        ("parity@1", "gru"): None, ("parity@1", "lstm"): "no report",
        ("parity@1", "mamba"): "partial",
        ("dyck@1", "gru"): "no report", ("dyck@1", "lstm"): None, ("dyck@1", "mamba"): "no report",
    }  # fmt: skip


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
    assert table.rows[0].scores["recovery/block_in"].n == 1


def test_what_needs_no_model_stands_beneath() -> None:
    (table,) = board(synthetic()).tables
    assert table.levels["chance"]["token_accuracy/1x"] == 0.5
    assert "readability/parity" not in table.levels["floor"]


def test_columns_are_headlines() -> None:
    layer = Headline(title="At layer", at="layer", kind="layer")
    mine = result("mine/a", 0.5, "Mine", layer, scalars={"layer": 2.0})
    built = board(report(result("token_accuracy/1x", 0.9, "Right"), mine))
    assert [column.key for column in built.tables[0].columns] == [
        "token_accuracy/1x", "mine/a", "mine/a layer"
    ]  # fmt: skip
    text = markdown(built)
    assert "| Mine                  | At layer |" in text
    assert "| 0.500 [0.450, 0.550]\u00b9 | 2        |" in text


@pytest.fixture
def built() -> Board:
    return board(
        synthetic(seed=0), synthetic(seed=1, learned=False), synthetic("lstm"),
        refused=(refusal("x/y.json", PARTIAL),),
    )  # fmt: skip


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
    behaviour = text.split("\n\n")[5]
    single = next(line for line in behaviour.splitlines() if line.startswith("| lstm "))
    assert single.count("\u00b9") == 3
    assert "(partial)" in text
    assert f"- `x/y.json`: {PARTIAL}" in text
    assert "| *floor*  |" in text
    assert len({len(line) for line in behaviour.splitlines()}) == 1, "the columns line up"


def test_why_values_are_missing_stands_at_the_end() -> None:
    text = markdown(board(report(result("mine/a", None, "Mine"))))
    assert "## Remarks\n\n- no gap: 0.01 (Mine): gru on parity@1\n" in text


def test_csv_has_one_line_per_number(built: Board) -> None:
    lines = list(csv.DictReader(io.StringIO(as_csv(built))))
    by = {(line["model"], line["result"]): line for line in lines}
    (table,) = built.tables
    assert tuple(lines[0]) == FIELDS
    assert len(lines) == 2 * len(table.columns) + 1
    assert by["mamba", ""]["gap"] == "partial"
    got, expected = by["gru", "token_accuracy/1x"], table.rows[0].scores["token_accuracy/1x"]
    assert float(got["mean"]) == pytest.approx(expected.mean)
    assert (got["interval_over"], got["method"], got["n_values"]) == ("seed", "t", "2")
    assert "not learned" in by["gru", "readability/parity"]["gap"]


def test_json_holds_everything(built: Board) -> None:
    content = json.loads(as_json(built))
    assert content["schema"] == "mecheval.leaderboard/2"
    (table,) = content["tables"]
    assert [row["model"] for row in table["rows"]] == ["gru", "lstm", "mamba"]
    assert content["refused"][0]["reason"].startswith("partial")
    assert table["rows"][0]["scores"]["token_accuracy/1x"]["n_values"] == 2
    assert table["columns"][0]["key"] == "token_accuracy/1x"
    assert table["rows"][0]["training"] == "adamw, learning rate 0.003"


def test_text_of_reports_is_neither_markup_nor_a_formula() -> None:
    evil = board(report(result("mine/a", 0.5, "=<img onerror=1>")))
    assert "<img" not in markdown(evil)
    assert ",'=<img onerror=1>," in as_csv(evil)


def test_results_of_several_variables_are_rows_with_their_own_levels() -> None:
    made = [
        result(
            f"own/{of}", value, f"{of}: cost", metric="own", name="own", family="behaviour",
            width=0, references=levels,
        )
        for of, value, levels in (("depth", 0.5, {"floor": 0.25}), ("top", 0.75, {"floor": 0.125}))
    ]  # fmt: skip
    text = markdown(board(report(*made)))
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines()]
    shown = [
        (row[0], row[1], row[-1]) for row in rows if len(row) > 2 and row[1] in ("depth", "top")
    ]
    assert [row[1:] for row in shown] == [
        ("depth", "0.500"), ("top", "0.750"), ("depth", "0.250"), ("top", "0.125"),
    ]  # fmt: skip
    assert [row[0] for row in shown[2:]] == ["*floor*"] * 2
    assert "| Of " in text
