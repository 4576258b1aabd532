"""``mecheval report``: where pictures and pages go, and what is refused."""

import re
from pathlib import Path
from urllib.parse import unquote

import pytest
from synthetic_reports import retrieval, synthetic, write

from mecheval.cli import main
from mecheval.reports import figures
from mecheval.reports.schema import Headline, Report


@pytest.fixture
def results(tmp_path: Path) -> Path:
    write(tmp_path / "results", synthetic(), synthetic("lstm"))
    return tmp_path / "results"


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if path.suffix in (".png", ".svg", ".md")}


def test_a_report_gets_its_pictures_beside_it(
    results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = results / "gru" / "parity@1" / "seed0.json"
    assert main(["report", str(path)]) == 0
    assert names(path.parent) == {
        "seed0-layers-bottleneck.png", "seed0-layers-readability.png",
        "seed0-recovery-block_in.png",
    }  # fmt: skip
    assert all((path.parent / name).read_bytes()[:4] == b"\x89PNG" for name in names(path.parent))
    said = capsys.readouterr().out.splitlines()
    assert sorted(said) == sorted(f"Wrote {path.parent / name}." for name in names(path.parent))


def test_a_folder_gets_a_picture_per_task_and_figure(results: Path) -> None:
    write(results, synthetic("lstm", "dyck"))
    assert main(["report", str(results), "--quiet", "--figure", "recovery,layers"]) == 0
    kinds = ("layers-bottleneck", "layers-readability", "recovery-block_in")
    assert names(results) == {
        f"report-{task}@1-{kind}.png" for task in ("parity", "dyck") for kind in kinds
    }


def test_without_a_path_it_is_the_folder_that_a_run_writes(
    results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(results.parent)
    assert main(["report", "-q", "-f", "recovery"]) == 0
    assert names(results) == {"report-parity@1-recovery-block_in.png"}


def test_tables_among_the_reports_are_passed_over(results: Path) -> None:
    assert main(["leaderboard", "build", str(results), "-o", str(results / "t"), "-q"]) == 0
    assert main(["report", str(results), "-q", "-f", "recovery"]) == 0


def test_several_paths_become_one_set_of_pictures(
    results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = []

    def draw(reports: list[Report], *_: object, **__: object) -> list[object]:
        drawn.extend((report.identity.model.name, report.identity.seed) for report in reports)
        return []

    monkeypatch.setattr(figures, "draw", draw)
    folders = sorted(folder for folder in results.iterdir() if folder.is_dir())
    assert len(folders) > 1
    main(["report", *map(str, folders), "-o", str(results.parent / "all.svg")])
    several, drawn[:] = list(drawn), []
    main(["report", str(results), "-o", str(results.parent / "all.svg")])
    assert sorted(several) == sorted(drawn)
    several, drawn[:] = list(drawn), []
    main(["report", str(results), str(folders[0]), "-o", str(results.parent / "all.svg")])
    assert drawn == several


@pytest.mark.parametrize(
    ("output", "figure", "written"),
    [
        ("a.svg", "recovery", {"a.svg"}),
        ("a.png", "layers", {"a-layers-bottleneck.png", "a-layers-readability.png"}),
        ("out", "recovery", {"out/seed0-recovery-block_in.png"}),
        ("b/c.png", "recovery", {"b/c.png"}),
        ("b/c.md", "recovery", {"b/c.md", "b/c-recovery-block_in.png"}),
    ],
)
def test_pictures_go_where_they_are_wanted(
    results: Path, output: str, figure: str, written: set[str]
) -> None:
    path = results / "gru" / "parity@1" / "seed0.json"
    given = results.parent / output
    assert main(["report", str(path), "-f", figure, "-o", str(given)]) == 0
    found = [file for file in results.parent.rglob("*") if file.suffix in (".png", ".svg", ".md")]
    assert {str(file.relative_to(results.parent)) for file in found} == written


def test_a_page_has_tables_pictures_and_their_captions(results: Path) -> None:
    write(results, retrieval(seed=1, verdict="induction"), synthetic("hf:[a](b)|x"))
    page = results.parent / "page.md"
    assert main(["report", str(results), "-o", str(page), "-q"]) == 0
    text = page.read_text()
    pictures = re.findall(r"!\[.*?\]\((\S+)\)", text)
    assert len(pictures) == 7
    for name in pictures:
        assert (page.parent / unquote(name)).read_bytes().startswith(b"\x89PNG")
    assert "## parity@1" in text
    assert "| token accuracy at 1x" in text
    assert "Not drawn, not measured: " in text
    assert "[a](b)" not in text
    assert "- token accuracy at 1x" not in text  # what a heading says is not said again


def test_a_column_is_told_in_words_where_its_heading_does_not(results: Path) -> None:
    report = synthetic("named")
    metrics = [
        metric.model_copy(
            update={
                "headline": [Headline(title="Midway"), Headline(title="Left at", at="layer")]
                if metric.id == "recovery/block_in"
                else []
            }
        )
        for metric in report.metrics
    ]
    write(results, report.model_copy(update={"metrics": metrics}))
    page = results.parent / "page.md"
    assert main(["report", str(results / "named"), "-o", str(page), "-q"]) == 0
    text = page.read_text()
    assert "- Midway: recovery at the middle position, block_in\n" in text
    assert "- Left at: recovery at the middle position, block_in, layer\n" in text


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["nowhere"], "There is no file or folder"),
        (["results", "-o", "a.gif"], "Cannot draw a '.gif' picture"),
        (["empty"], "holds no reports"),
        (["results", "-f", "bars"], "Unknown figure 'bars'"),
        (["results", "-f", "mechanism"], "be drawn of the reports: mechanism"),
        (["gru"], "'gru' is a model: see `mecheval show gru`."),
        (["bad.json"], "is not whole JSON"),
    ],
)
def test_what_cannot_be_drawn_is_one_sentence(
    results: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    sentence: str,
) -> None:
    monkeypatch.chdir(results.parent)
    Path("empty").mkdir()
    Path("bad.json").write_text("{")
    assert main(["report", *arguments]) == 2
    err = capsys.readouterr().err
    assert sentence in err
    assert err.count("\n") == 1


def test_what_cannot_be_read_in_a_folder_is_left_out_and_said(
    results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (results / "bad.json").write_text("{")
    assert main(["report", str(results), "-f", "recovery"]) == 0
    out, err = capsys.readouterr()
    assert "bad.json is not whole JSON" in err
    assert out.count("Wrote") == 1
    for path in results.rglob("seed*.json"):
        path.unlink()
    assert main(["report", str(results)]) == 2
    assert "holds no reports" in capsys.readouterr().err


def test_a_place_that_cannot_be_written_is_exit_3(
    results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (results.parent / "file").write_text("in the way")
    assert main(["report", str(results), "-o", str(results.parent / "file" / "a.png")]) == 3
    assert "could not be written" in capsys.readouterr().err
