"""The workflow that checks submitted results: what it may do, and what its script does."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from mecheval.cli import build_parser, options

ROOT = Path(__file__).parents[1]
WORKFLOW = yaml.safe_load((ROOT / ".github" / "workflows" / "results.yml").read_text())
STEPS: list[dict[str, Any]] = WORKFLOW["jobs"]["check"]["steps"]
SCRIPT = STEPS[-1]["run"]
RESULTS = "leaderboards/results"


def test_it_may_read_and_nothing_else() -> None:
    assert WORKFLOW["permissions"] == {"contents": "read"}
    assert [*WORKFLOW[True]] == ["pull_request"]  # YAML reads `on` as true
    used = {step["uses"] for step in STEPS if "uses" in step}
    assert used == {"actions/checkout@v4", "actions/setup-python@v5"}
    checkouts = [step["with"] for step in STEPS if "checkout" in step.get("uses", "")]
    assert all(given["persist-credentials"] is False for given in checkouts)
    assert "${{" not in SCRIPT, "what others write is no part of a script"


def test_the_command_has_the_flags_that_it_gives() -> None:
    words = ("leaderboard", "check")
    flags = options.chosen_command(build_parser(["leaderboard"]), words)[0].flags
    assert {word for word in SCRIPT.split() if word in ("--rerun", "--salt")} <= set(flags)


@pytest.fixture
def submitted(tmp_path: Path) -> Path:
    """Make a work tree with a commit of published reports, and a command that says what it got."""
    bin = tmp_path / "bin"
    bin.mkdir()
    (bin / "mecheval").write_text('#!/bin/sh\necho "$@"\ncase "$3" in *bad*) exit 1;; esac\n')
    (bin / "mecheval").chmod(0o755)
    tree = tmp_path / "submitted"
    put(tree, "gru/parity@1/seed0.json", "pairs/parity@1/a~b.json")
    git(tree, "init", "-q")
    commit(tree)
    git(tree, "branch", "base")
    return tmp_path


def put(tree: Path, *names: str, text: str = "{}") -> None:
    for name in names:
        path = tree / RESULTS / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def git(tree: Path, *words: str) -> None:
    who = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *who, *words], cwd=tree, check=True, capture_output=True)


def commit(tree: Path) -> None:
    git(tree, "add", "-A")
    git(tree, "commit", "-qm", "x")


def run(folder: Path) -> subprocess.CompletedProcess[str]:
    commit(folder / "submitted")
    path = f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "BASE": "base", "SALT": "17",
                   "RUNNER_TEMP": str(folder)}  # fmt: skip
    return subprocess.run(
        ["bash", "-c", SCRIPT], cwd=folder, env=environment, text=True, capture_output=True,
        check=False,
    )  # fmt: skip


def test_the_folders_that_changed_are_checked(submitted: Path) -> None:
    put(submitted / "submitted", "lstm+width=8/parity@1/seed0.json", "lstm+width=8/s3@1/seed0.json")
    put(submitted / "submitted", "pairs/parity@1/c~d.json")
    done = run(submitted)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        f"leaderboard check {RESULTS}/lstm+width=8 --rerun 3 --salt 17",
        f"leaderboard check {RESULTS}",
    ]


def test_one_folder_that_fails_fails_all_and_hides_none(submitted: Path) -> None:
    put(submitted / "submitted", "bad/parity@1/seed0.json", "mamba/parity@1/seed0.json")
    done = run(submitted)
    assert done.returncode == 1
    assert len(done.stdout.splitlines()) == 2


def test_what_was_published_is_not_removed(submitted: Path) -> None:
    (submitted / "submitted" / RESULTS / "gru" / "parity@1" / "seed0.json").unlink()
    put(submitted / "submitted", "gru/parity@1/seed1.json")
    done = run(submitted)
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1] == f"{RESULTS}/gru/parity@1/seed0.json"
