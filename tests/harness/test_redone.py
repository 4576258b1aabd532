"""A report that cannot be relied on is measured again, and that is said, also under --quiet."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from synthetic_reports import synthetic, write

import mecheval
from mecheval.cli import main
from mecheval.reports.files import find_reports, read_report

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MODEL = "lstm[layers=1,width=8]"
BRIEF = {"recipe": {"steps": 2}, "limit": 8, "metrics": ["recovery"], "device": "cpu"}
CELL = ("run", "-m", MODEL, "-t", "parity", "--recipe", "steps=2", "--limit", "8",
        "--metrics", "recovery", "--device", "cpu", "-j", "1")  # fmt: skip


def truncated(path: Path) -> None:
    path.write_text(path.read_text()[:200])


def edited(path: Path) -> None:
    content = json.loads(path.read_text())
    assert content["metrics"][0]["id"] == "token_accuracy/1x"
    content["metrics"][0]["value"] = 0.9999
    path.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("spoil", "flag", "why"),
    [
        (truncated, "--quiet", "is not whole JSON"),
        (edited, "--json", "was changed after it was written"),
    ],
)
def test_it_is_said(
    spoil: Callable[[Path], None],
    flag: str,
    why: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (before,) = mecheval.evaluate(MODEL, "parity", output=tmp_path, **BRIEF)
    (path,) = find_reports(tmp_path)
    spoil(path)
    assert main([*CELL, "-o", str(tmp_path), flag]) == 0
    err = capsys.readouterr().err
    assert f"Warning: {path} {why}" in err
    assert "its cell measured again" in err
    assert err.count("\n") == 1
    assert read_report(path, verify=True).metrics == before.metrics
    assert len(list(path.parent.glob("*.stale-*"))) == 1


def test_it_is_said_in_python_too(tmp_path: Path) -> None:
    (first,) = mecheval.evaluate(MODEL, "parity", output=tmp_path, **BRIEF)
    (path,) = find_reports(tmp_path)
    edited(path)
    with pytest.warns(UserWarning, match="changed after it was written"):
        (again,) = mecheval.evaluate(MODEL, "parity", output=tmp_path, **BRIEF)
    assert again.metrics == first.metrics
    assert again.digest == first.digest, "the same measurement has the same digest"


def test_what_is_left_of_an_interrupted_run_is_said_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from mecheval.harness import execute
    from mecheval.training.stopping import Stopped

    def interrupted(*_: object, **__: object) -> None:
        raise Stopped(2)

    monkeypatch.setattr(execute, "execute", interrupted)
    assert main([*CELL, "-o", str(tmp_path / "nothing")]) == 130
    nothing = "Interrupted. No cell was finished; the same command begins again.\n"
    assert capsys.readouterr().err == nothing
    write(tmp_path, synthetic())
    assert main([*CELL, "-o", str(tmp_path)]) == 130
    assert f"Finished cells are kept in {tmp_path}; the same" in capsys.readouterr().err


def test_a_dry_run_prints_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*CELL, "-s", "0-1", "-o", str(tmp_path), "--dry-run", "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(row["seed"], row["state"]) for row in rows] == [(0, "to do"), (1, "to do")]
    assert all(len(row["key"]) == 64 for row in rows)
    assert not list(tmp_path.iterdir())
