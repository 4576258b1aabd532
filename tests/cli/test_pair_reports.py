"""Commands on folders that hold reports of cells and of pairs, and on the report of a pair."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from synthetic_pairs import CAPTION, synthetic_pair, write_pairs
from synthetic_reports import synthetic, write

from mecheval.cli import main

if TYPE_CHECKING:
    from pathlib import Path

CELLS = [synthetic(model, seed=seed) for model in ("gru", "lstm") for seed in (0, 1)]
PAIRS = [
    synthetic_pair(CELLS[0], CELLS[1], 0.9),
    synthetic_pair(CELLS[2], CELLS[3], 0.8),
    synthetic_pair(CELLS[0], CELLS[3], 0.4),
    synthetic_pair(CELLS[1], CELLS[2], 0.3),
]


@pytest.fixture
def both(tmp_path: Path) -> Path:
    write(tmp_path / "results", *CELLS)
    write_pairs(tmp_path / "results", *PAIRS)
    return tmp_path / "results"


@pytest.fixture
def pair(both: Path) -> Path:
    return sorted((both / "pairs").rglob("*.json"))[0]


def run(capsys: pytest.CaptureFixture[str], *argv: object) -> tuple[int, str, str]:
    code = main([*map(str, argv)])
    return code, *capsys.readouterr()


def test_validate_checks_both(both: Path, pair: Path, capsys) -> None:
    code, out, _ = run(capsys, "validate", both, "--json")
    rows = [json.loads(line) for line in out.splitlines()]
    assert code == 0
    assert len({row["subject"] for row in rows}) == len(CELLS) + len(PAIRS)
    assert [row["name"] for row in rows if row["name"].startswith("follows")].count(
        "follows mecheval.pair/1"
    ) == len(PAIRS)
    pair.write_text(pair.read_text().replace('"apart": 1.0', '"apart": 2.0'))
    code, out, _ = run(capsys, "validate", both, "-q")
    assert (code, out.count("FAILED")) == (1, 1)
    assert "digest is that of the values: FAILED" in out
    assert run(capsys, "validate", both / "pairs")[0] == 1


def test_show_prints_the_numbers_of_a_pair(pair: Path, capsys) -> None:
    code, out, _ = run(capsys, "show", pair)
    assert code == 0
    assert "learned" in out.splitlines()[0]
    assert "task: parity[max_length=16] version 1" in out
    assert "| how alike " in out
    assert "| positions apart | 1 " in out
    assert run(capsys, "show", "report", pair)[1] == out
    code, out, _ = run(capsys, "show", pair, "--json")
    assert json.loads(out) == json.loads(pair.read_text())


@pytest.mark.parametrize("text", ["{", "[]", '{"schema": "mecheval.pair/1"}', '{"schema": 3}'])
def test_what_is_no_report_gets_a_sentence(pair: Path, text: str, capsys) -> None:
    pair.write_text(text)
    code, out, err = run(capsys, "show", pair)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert str(pair) in err


def test_show_a_folder_prints_tables_and_matrices(both: Path, capsys) -> None:
    _, out, err = run(capsys, "show", both)
    assert err == ""
    assert "Token accuracy" in out or "token accuracy" in out
    assert CAPTION in out
    assert "| 1. gru  | 0.900 | 0.350" in out
    _, alone, _ = run(capsys, "show", both / "pairs")
    assert "oken accuracy" not in alone
    assert alone.strip() in out
    rows = [json.loads(line) for line in run(capsys, "show", both, "--json")[1].splitlines()]
    assert {row["number"] for row in rows if "a" in row} == {"how alike", "positions apart"}
    assert any(row.get("model") == "gru" for row in rows)


def test_commands_for_cells_look_past_pairs(both: Path, tmp_path: Path, capsys) -> None:
    _, with_pairs, err = run(capsys, "compare", "gru", "lstm", "--results", both)
    assert err == ""
    alone = tmp_path / "alone"
    write(alone, *CELLS)
    assert run(capsys, "compare", "gru", "lstm", "--results", alone)[1] == with_pairs


@pytest.mark.parametrize("argv", [("compare", "PAIR", "PAIR")])
def test_a_pair_where_a_cell_is_asked_for_is_refused_in_a_sentence(
    pair: Path, argv: tuple[str, ...], capsys
) -> None:
    words = [str(pair) if word == "PAIR" else word for word in argv]
    code, out, err = run(capsys, *words)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "is of a pair of models, and what is asked takes a report of a single model" in err


def test_a_leaderboard_has_matrices_and_pictures(both: Path, tmp_path: Path, capsys) -> None:
    code, out, err = run(capsys, "leaderboard", "build", both, "-o", tmp_path / "t")
    assert code == 0
    written = {path.name: path for path in (tmp_path / "t").iterdir()}
    pictures = {"similarity-parity-how-alike.png", "similarity-parity-positions-apart.png"}
    assert pictures | {"similarity.md", "similarity.csv", "similarity.json"} <= set(written)
    assert all(name in err for name in written)
    text = written["similarity.md"].read_text()
    assert out == written["leaderboard.md"].read_text() + text
    assert "| 1. gru  | 0.900 | 0.350" in text
    assert "](similarity-parity-how-alike.png)" in text
    content = json.loads(written["similarity.json"].read_text())
    pair = next(p for p in content["matrices"][0]["pairs"] if (p["a"], p["b"]) == ("gru", "lstm"))
    assert (pair["mean"], pair["skyline"]) == (0.35, 0.85)
    assert pair["no_null"] == "the metric has no null for it"
    assert "parity,likeness,how alike,gru,lstm,0.35," in written["similarity.csv"].read_text()
    before = {name: path.read_bytes() for name, path in written.items()}
    run(capsys, "leaderboard", "build", both, "-o", tmp_path / "t")
    assert before == {name: path.read_bytes() for name, path in written.items()}


def test_pairs_that_do_not_count_are_refused_by_name(both: Path, tmp_path: Path, capsys) -> None:
    partial = synthetic_pair(synthetic("gru", limit=4), synthetic("lstm", limit=4))
    planted = synthetic_pair(synthetic("p", source="planted"), CELLS[0])
    paths = write_pairs(both, partial, planted)
    code, _, err = run(capsys, "leaderboard", "build", both, "-o", tmp_path / "t")
    assert code == 0
    assert f"refused {paths[0]}: partial: one of the cells was measured with --limit" in err
    assert f"refused {paths[1]}: planted weights" in err
    text = (tmp_path / "t" / "similarity.md").read_text()
    assert "## Refused" in text
    assert text.count("planted weights") == 1


def test_without_pairs_nothing_is_said_of_them(tmp_path: Path, capsys) -> None:
    write(tmp_path / "results", *CELLS)
    _, out, err = run(capsys, "leaderboard", "build", tmp_path / "results", "-o", tmp_path / "t")
    assert "similarity" not in out + err
    assert not list((tmp_path / "t").glob("similarity*"))


def test_pairs_alone_are_a_leaderboard_too(both: Path, tmp_path: Path, capsys) -> None:
    code, out, _ = run(capsys, "leaderboard", "build", both / "pairs", "-o", tmp_path / "t")
    assert code == 0
    assert "# How alike models are" in out


def test_report_draws_pairs_and_writes_them_on_a_page(both: Path, tmp_path: Path, capsys) -> None:
    page = tmp_path / "page.md"
    code, out, _ = run(capsys, "report", both, "-o", page, "-f", "similarity")
    assert code == 0
    assert "page-parity-similarity-how-alike.png" in out
    text = page.read_text()
    assert "| 1. gru  | 0.900 | 0.350" in text
    assert "](page-parity-similarity-how-alike.png)" in text
    pair = sorted((both / "pairs").rglob("*.json"))[0]
    code, out, _ = run(capsys, "report", pair, "-o", tmp_path / "one")
    assert (code, out.count("Wrote")) == (0, 2)
