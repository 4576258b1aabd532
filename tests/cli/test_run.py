"""``mecheval run`` as a user sees it: table, lines, JSON, exit codes, a sentence per error."""

from __future__ import annotations

import json
import os
import pty
import re
import resource
import select
import subprocess
from typing import TYPE_CHECKING, NamedTuple

import pytest
from forked import Command

from mecheval.cli import main

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

BRIEF = ("--limit", "16", "--metrics", "recovery", "--device", "cpu", "-j", "1")
CELL = ("-m", "lstm", "-t", "parity", "--recipe", "steps=10", *BRIEF)

BROKEN = '''
from dataclasses import dataclass
from mecheval.builtin.task_registry.parity import Parity
from mecheval.tasks import Metric, task


@task(name="broken", version=1, reference="none", mechanisms=(Metric("recovery"),))
@dataclass(frozen=True, kw_only=True)
class Broken(Parity):
    """Parity until it is measured at twice the length."""

    def sample(self, rng, n, length):
        if length > 16:
            raise RuntimeError("the generator gave up")
        return super().sample(rng, n, length)
'''


class Done(NamedTuple):
    """How a run ended."""

    code: int
    out: str
    err: str


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., Done]:
    """Run the command from this process, which has imported torch already; its workers are real."""

    def here(*argv: str | Path) -> Done:
        return Done(main(["run", *map(str, argv)]), *capsys.readouterr())

    return here


def test_a_run_prints_lines_and_a_table_and_resumes(run, tmp_path):
    first = run(*CELL, "-s", "0-1", "-o", tmp_path)
    assert first.code == 0, first.err
    lines = first.err.splitlines()
    assert len(lines) == 2
    said = "parity  lstm  seed 0  not learned (last-position gate 0.99)  acc 0."
    assert lines[0].startswith(said)
    lines = [line for line in first.out.splitlines() if line.startswith("|")]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]
    assert rows[0][:4] == ["Model", "Task", "Recipe", "Seeds"]
    assert rows[0][-3:] == ["Floor", "Learned", "Tracking"]
    assert rows[2][:4] == ["lstm", "parity@1", "limit=16", "0-1"]
    assert rows[2][-2:] == ["0 of 2 (last-position gate 0.99)", "0 of 2"]
    assert "not learned" in first.out

    second = run(*CELL, "-s", "0-1", "-o", tmp_path)
    assert second.code == 0
    assert second.out == first.out
    assert second.err == "2 cells are already there, 0 to do\n"

    planned = run(*CELL, "-s", "0-2", "-o", tmp_path, "--dry-run")
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in planned.out.splitlines()]
    assert [row[3] for row in rows] == ["State", "-" * len(rows[1][3]), "cached", "cached", "to do"]
    assert planned.err == "2 cells are already there, 1 to do\n"
    assert rows[2][5] == str(
        tmp_path / "lstm/parity@1/seed0+limit=16,metrics=recovery,steps=10.json"
    )
    key = json.loads((tmp_path / rows[2][5]).read_text())["key"]
    assert rows[2][4] == key[:8]

    quiet = run(*CELL, "-s", "0-1", "-o", tmp_path, "--quiet")
    assert (quiet.code, quiet.out, quiet.err) == (0, "", "")

    lines = run(*CELL, "-s", "0-1", "-o", tmp_path, "--json").out.splitlines()
    cells = [json.loads(line) for line in lines]
    assert [cell["seed"] for cell in cells] == [0, 1]
    assert all(cell["kept"] and cell["status"] == "success" for cell in cells)
    assert cells[0]["key"] == key
    assert 0 < cells[0]["metrics"]["token_accuracy/1x"] < 1


@pytest.fixture
def broken(tmp_path: Path) -> tuple[str | Path, ...]:
    """Give the flags of a grid with one cell that fails and one that does not."""
    (tmp_path / "broken.py").write_text(BROKEN)
    tasks = ("--include-path", tmp_path, "-t", "local/broken,parity", "-o", tmp_path / "results")
    return ("-m", "lstm", *tasks, "--recipe", "steps=10", *BRIEF)


def test_a_failed_cell_is_exit_1_and_the_others_are_written(run, broken, tmp_path):
    done = run(*broken)
    assert done.code == 1
    assert "FAILED in behaviour: RuntimeError: the generator gave up" in done.err
    assert "Traceback (most recent call last)" not in done.err
    assert "failed in behaviour" in done.out
    assert "The traceback is in the field 'error' of" in done.err
    assert len(list((tmp_path / "results").rglob("seed0*.json"))) == 2
    allowed = run(*broken, "--allow-failures", "--quiet")
    assert (allowed.code, allowed.out) == (0, "")
    assert "the generator gave up" in allowed.err, "quiet still names the failure"


def test_fail_fast_ends_at_the_first_failure(run, broken, tmp_path):
    done = run(*broken, "--fail-fast")
    assert done.code == 1
    assert len(list((tmp_path / "results").rglob("seed0*.json"))) == 1


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        (("-m", "lsmt", "-t", "parity"), "Unknown model 'lsmt'. Did you mean 'lstm'?"),
        (("-m", "lstm", "-t", "dick"), "Unknown task 'dick'. Did you mean 'dyck'?"),
        (("-m", "lstm[layers=", "-t", "parity"), "brackets or quotes do not match"),
        (("-m", "lstm[lay=2]", "-t", "parity"), "Unknown argument 'lay' of lstm"),
        (("-m", "lstm", "-t", "parity", "--recipe", "lr=fast"), "must be a finite number"),
        (("-m", "lstm", "-t", "parity", "--size", "huge"), "Unknown size 'huge' of lstm"),
        (("-m", "lstm", "-t", "parity", "--metrics", ""), "--metrics is empty. Give it a value"),
        (("-m", "lstm", "-t", "parity", "--seeds", ""), "--seeds is empty"),
        (("-m", "lstm", "-t", "parity", "-I", "/nowhere"), "There is no file or folder /nowhere"),
    ],
)
def test_a_wrong_request_is_one_sentence_and_exit_2(run, argv, sentence, tmp_path):
    done = run(*argv, "--device", "cpu", "-j", "1", "-o", tmp_path / "results")
    assert (done.code, done.out) == (2, "")
    assert sentence in done.err
    assert done.err.count("\n") == 1
    assert not (tmp_path / "results").exists()


def test_a_sweep_and_snapshots_from_the_command_line(run, tmp_path):
    flags = ("--sweep", "lr=1e-9,1e-2", "optimizer=adamw", "--snapshots", "2", "--ensemble", "2")
    done = run(*CELL, *flags, "-s", "0-1", "-o", tmp_path)
    assert done.code == 0, done.err
    assert re.search(
        r"of 2 recipes, lr=\S+,optimizer=adamw was best on the validation split: lstm", done.out
    )
    reports = [json.loads(path.read_text()) for path in sorted(tmp_path.rglob("seed*.json"))]
    assert [report["identity"]["seed"] for report in reports] == [0, 1]
    for report in reports:
        assert report["identity"]["sweep"] == {"lr": [1e-9, 1e-2], "optimizer": ["adamw"]}
        assert len(report["training"]["sweep"]) == 2
        assert [snapshot["step"] for snapshot in report["snapshots"]] == [0, 10]
    assert run(*CELL, *flags, "-s", "0-1", "-o", tmp_path).err.startswith("2 cells are already")


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (("--sweep", "lrr=1,2"), "Unknown argument 'lrr' of recipe. Did you mean 'lr'?"),
        (("--sweep", "lr="), "The sweep of 'lr' lists no values"),
        (("--sweep", "1e-3"), "'1e-3' belongs to no field"),
        (("--sweep", "steps=1,2"), "'steps' is both set and swept"),
        (("--snapshots", "1"), "give --snapshots at least 2"),
        (("--ensemble", "0"), "give --ensemble a number of at least 1"),
    ],
)
def test_a_wrong_sweep_is_one_sentence_and_exit_2(run, flags, sentence, tmp_path):
    done = run(*CELL, *flags, "-o", tmp_path / "results")
    assert (done.code, done.out) == (2, "")
    assert sentence in done.err
    assert done.err.count("\n") == 1
    assert not (tmp_path / "results").exists()


def test_a_task_file_that_does_not_import_is_exit_2(run, tmp_path):
    (tmp_path / "broken.py").write_text(BROKEN.replace("import dataclass", "import dataklass"))
    done = run("-m", "lstm", "-t", "local/broken", "-I", tmp_path, "--device", "cpu", "-j", "1")
    assert done.code == 2
    assert "broken.py:2 of task 'local/broken' does not import (ImportError" in done.err
    assert done.err.count("\n") == 1


def test_a_folder_that_cannot_be_written_is_exit_3_before_training(run, tmp_path):
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", "/proc/nothing"):
        done = run(*CELL, "-o", folder)
        assert done.code == 3
        assert f"The results could not be written to {folder}" in done.err
        assert done.err.count("\n") == 1
        assert done.out == ""


def small_files() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))


def test_a_report_that_does_not_fit_is_exit_3_and_leaves_nothing(tmp_path):
    cell = ("-m", "lstm", "-t", "parity", "--recipe", "steps=0", *BRIEF)
    command = Command("run", *cell, "-o", str(tmp_path), folder=tmp_path, first=small_files)
    code, _, err = command.finish()
    assert code == 3, err
    assert "seed0" in err
    assert "File too large" in err
    assert err.count("\n") == 1
    assert [path for path in tmp_path.rglob("*seed0*") if path.is_file()] == []


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a disk of 16 kB with nothing left on it."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(folder)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("mounting is not allowed here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("left", [0, 4096])
def test_a_full_disk_is_exit_3(run, tiny_disk, left):
    (tiny_disk / "full").write_bytes(b"0" * (16384 - left))
    done = run(*CELL, "-o", tiny_disk)
    assert done.code == 3, done.err
    assert "No space left on device" in done.err
    assert "Free some space there" in done.err
    assert done.err.count("\n") == 1
    assert [path for path in tiny_disk.rglob("*seed0*") if path.is_file()] == []


def test_a_terminal_shows_the_cell_its_stage_and_its_accuracy(tmp_path, monkeypatch):
    for name, value in {"TERM": "xterm", "COLUMNS": "120", "NO_COLOR": "1"}.items():
        monkeypatch.setenv(name, value)
    ours, theirs = pty.openpty()
    cell = ("-m", "lstm", "-t", "parity", "--recipe", "steps=60,check_every=20,stop_at=1.5")
    command = Command(
        "run", *cell, *BRIEF, "-o", str(tmp_path), folder=tmp_path, terminal=os.ttyname(theirs)
    )
    shown = b""
    while command.code is None or select.select([ours], [], [], 0)[0]:
        if select.select([ours], [], [], 0.1)[0]:
            shown += os.read(ours, 65536)
    code, out, _ = command.finish()
    os.close(ours)
    os.close(theirs)
    text = shown.decode()
    assert code == 0
    assert "parity lstm seed 0" in text
    assert "train" in text
    assert re.search(r"\d+0/60", text)
    assert "acc 0." in text
    assert "\x1b[3" not in text, "NO_COLOR"
    assert "\n\n| Model" in out
