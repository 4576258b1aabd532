"""``mecheval report``: where pictures go, and what is refused."""

from pathlib import Path

import pytest
from synthetic_reports import synthetic, write

from mecheval.cli import main
from mecheval.reports import figures
from mecheval.reports.schema import Report


@pytest.fixture
def results(tmp_path: Path) -> Path:
    write(tmp_path / "results", synthetic(), synthetic("lstm"))
    return tmp_path / "results"


def test_a_report_gets_its_picture_beside_it(
    results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = results / "gru" / "parity@1" / "seed0.json"
    assert main(["report", str(path)]) == 0
    assert path.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    assert capsys.readouterr().out == f"Wrote {path.with_suffix('.png')}.\n"


def test_a_folder_gets_a_grid(results: Path) -> None:
    assert main(["report", str(results), "--quiet"]) == 0
    assert (results / "report.png").exists()


def test_several_paths_become_one_picture(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = []

    def render(reports: list[Report], *_: object, **__: object) -> bytes:
        drawn.extend((report.identity.model.name, report.identity.seed) for report in reports)
        return b"<?xml"

    monkeypatch.setattr(figures, "render", render)
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
    ("output", "written"), [("a.svg", "a.svg"), ("out", "out/seed0.png"), ("b/c.png", "b/c.png")]
)
def test_the_picture_goes_where_it_is_wanted(results: Path, output: str, written: str) -> None:
    path = results / "gru" / "parity@1" / "seed0.json"
    assert main(["report", str(path), "-o", str(results.parent / output)]) == 0
    assert (results.parent / written).is_file()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["nowhere"], "There is no file or folder"),
        (["results", "-o", "a.gif"], "Cannot draw a '.gif' picture"),
        (["empty"], "holds no reports"),
        (["results/bad.json"], "is not whole JSON"),
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
    Path("results/bad.json").write_text("{")
    assert main(["report", *arguments]) == 2
    err = capsys.readouterr().err
    assert sentence in err
    assert err.count("\n") == 1


def test_a_place_that_cannot_be_written_is_exit_3(
    results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (results.parent / "file").write_text("in the way")
    assert main(["report", str(results), "-o", str(results.parent / "file" / "a.png")]) == 3
    assert "could not be written" in capsys.readouterr().err
