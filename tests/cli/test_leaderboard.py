"""``mecheval leaderboard build``: files, refusals by name, exit codes."""

import json
from pathlib import Path

import pytest
from synthetic_reports import synthetic, write

from mecheval.cli import main


@pytest.fixture
def results(tmp_path: Path) -> Path:
    write(tmp_path / "results", synthetic(), synthetic("lstm"), synthetic("mamba", limit=8))
    return tmp_path / "results"


def build(results: Path, *flags: str) -> int:
    return main(["leaderboard", "build", str(results), "-o", str(results.parent / "out"), *flags])


def test_three_files_and_the_table_on_screen(
    results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert build(results) == 0
    out, err = capsys.readouterr()
    written = {path.name: path.read_text() for path in (results.parent / "out").iterdir()}
    tables = {"leaderboard.md", "leaderboard.csv", "leaderboard.json"}
    assert set(written) == {*tables, "versions.txt"}
    assert written["leaderboard.md"] == out
    assert err == (
        f"mecheval: refused {results}/mamba/parity@1/seed0+limit=8.json: "
        "partial: measured with --limit 8\n"
        "Wrote leaderboard.md, leaderboard.csv, leaderboard.json, versions.txt to "
        f"{results.parent}/out.\n"
    )


def test_without_a_place_they_are_written_where_the_help_says(
    results: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(results.parent)
    assert main(["leaderboard", "build", "results"]) == 0
    assert "to leaderboards/tables.\n" in capsys.readouterr().err
    assert Path("leaderboards/tables/leaderboard.md").read_text() != ""


def test_tables_among_the_reports_are_no_reports(
    results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["leaderboard", "build", str(results), "-o", str(results / "t")]) == 0
    first = capsys.readouterr().out
    assert main(["leaderboard", "build", str(results), "-o", str(results / "t")]) == 0
    assert capsys.readouterr().out == first
    assert main(["validate", str(results)]) == 0


def test_building_twice_changes_nothing(results: Path) -> None:
    build(results)
    before = {path: path.read_bytes() for path in (results.parent / "out").iterdir()}
    build(results)
    assert before == {path: path.read_bytes() for path in (results.parent / "out").iterdir()}


def test_json_owns_stdout(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert build(results, "--json") == 0
    assert json.loads(capsys.readouterr().out)["refused"]


def test_quiet(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert build(results, "--quiet") == 0
    out, err = capsys.readouterr()
    assert out == ""
    assert "Wrote" not in err


def test_no_report_that_counts_is_exit_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "results", synthetic(limit=8))
    assert build(tmp_path / "results") == 1
    assert "No report in" in capsys.readouterr().err


@pytest.mark.parametrize("exists", [True, False])
def test_no_reports_are_a_usage_error(
    tmp_path: Path, exists: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    if exists:
        (tmp_path / "results").mkdir()
    assert build(tmp_path / "results") == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_tables_that_cannot_be_written_are_exit_3(
    results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (results.parent / "out").write_text("in the way")
    assert build(results) == 3
    assert "could not be written" in capsys.readouterr().err


def test_a_subcommand_is_needed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["leaderboard"]) == 2
    assert "mecheval leaderboard --help" in capsys.readouterr().err


def show(results: Path, *flags: str) -> int:
    return main(["leaderboard", "page", str(results), "-o", str(results.parent / "site"), *flags])


def test_a_page_is_one_file(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert show(results, "--title", "Ours & theirs") == 0
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines()[0].endswith("partial: measured with --limit 8")
    assert f" MB, to {results.parent}/site." in err
    (page,) = (results.parent / "site").iterdir()
    text = page.read_text()
    assert "<title>Ours &amp; theirs</title>" in text
    assert text.count("<tr data-id") == 2
    assert 'href="../results/gru/parity%401/seed0.json"' in text
    assert "Reports that do not count" in text
    assert show(results, "--quiet") == 0
    assert "<title>mecheval leaderboards</title>" in page.read_text()


def test_a_page_of_others_is_left_as_it_is(
    results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    index = results.parent / "site" / "index.html"
    index.parent.mkdir()
    index.write_text("<h1>mine</h1>")
    assert show(results) == 2
    assert "was not made by this command" in capsys.readouterr().err
    assert index.read_text() == "<h1>mine</h1>"


def test_a_page_needs_reports_and_a_folder(
    results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert show(tmp_path / "nowhere") == 2
    (tmp_path / "empty").mkdir()
    assert show(tmp_path / "empty") == 2
    (tmp_path / "site").write_text("in the way")
    assert show(results) == 2
    assert "is a file. Give a folder" in capsys.readouterr().err
