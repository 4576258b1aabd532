"""Versions of suites: which cells each has, what was published, and what supersedes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mecheval.cli import main
from mecheval.errors import UsageError
from mecheval.harness import suite_cells, suite_names, suites
from mecheval.harness.suite_cells import keep, suite_version
from mecheval.harness.suites import load_suite

if TYPE_CHECKING:
    from pathlib import Path

TEXT = "version = {}\n[[grid]]\nmodels = ['gru[layers=1,width={}]']\ntasks = ['parity']\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put another folder of suites in the place of the package's."""
    for module in (suite_names, suites, suite_cells):
        monkeypatch.setattr(module, "FOLDER", tmp_path)
    for module in (suite_names, suite_cells):
        monkeypatch.setattr(module, "PUBLISHED", tmp_path / "published")
    (tmp_path / "own.toml").write_text(TEXT.format(1, 8))
    return tmp_path


def written(folder: Path, version: int, width: int) -> None:
    (folder / "own.toml").write_text(TEXT.format(version, width))


def test_published_cells_stay_whatever_is_planned_later(folder: Path) -> None:
    planned = suite_version("own@1")
    keep(load_suite("own"))
    assert suite_version("own") == planned
    (cell,) = planned.cells.values()
    assert str(cell) == "gru[layers=1,width=8] on parity@1, seed 0"
    written(folder, 2, 16)
    old, new = suite_version("own@1"), suite_version("own")
    assert old.cells == planned.cells
    assert not old.cells.keys() & new.cells.keys()
    assert old.warning == "Suite own@1 is superseded by own@2. Use that one."
    assert (new.title, new.warning) == ("own@2", "")


def test_other_cells_need_another_version(folder: Path) -> None:
    before = keep(load_suite("own")).read_text()
    written(folder, 1, 16)
    with pytest.raises(UsageError, match=r"own@1 was published with other cells\. Raise its vers"):
        keep(load_suite("own"))
    written(folder, 2, 16)
    assert keep(load_suite("own")).name == "own@2.tsv"
    assert (folder / "published" / "own@1.tsv").read_text() == before


def test_an_old_version_has_tables_and_is_not_run(folder: Path) -> None:
    keep(load_suite("own"))
    written(folder, 2, 16)
    with pytest.raises(UsageError, match="has version 2 here, not 1, of which `mecheval leaderb"):
        load_suite("own@1")
    with pytest.raises(UsageError, match=r"has version 2 here, not 3\. Write own@2, or own\."):
        load_suite("own@3")
    with pytest.raises(UsageError, match="has no version behind its @"):
        load_suite("own@x")


def test_a_successor_is_named_where_a_suite_is_used(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (folder / "own.toml").read_text()
    (folder / "own.toml").write_text("superseded_by = 'other@3'\n" + text)
    warning = "Suite own@1 is superseded by other@3. Use that one."
    assert load_suite("own@1").warning == warning
    assert main(["run", "--suite", "own", "--dry-run", "-o", str(folder / "r")]) == 0
    assert f"mecheval: {warning}\n" in capsys.readouterr().err
    assert main(["show", "suite", "own"]) == 0
    assert "version: 1\nsuperseded by: other@3\n" in capsys.readouterr().out
    assert main(["ls", "suites"]) == 0
    assert "(superseded by other@3)" in capsys.readouterr().out


def test_every_suite_of_the_package_says_its_version() -> None:
    for name in suite_names.suite_names():
        assert "\nversion = " in (suite_names.FOLDER / f"{name}.toml").read_text()
