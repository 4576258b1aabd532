"""What a report says of where it was made: true, quiet, and independent of the directory."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import mecheval
from mecheval.reports import environment as described
from mecheval.reports.environment import commit_of, environment, files_sha256

GIT = ("git", "-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false")


def git(folder: Path, *args: str) -> None:
    subprocess.run([*GIT, "-C", str(folder), *args], check=True, capture_output=True)


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A package in a git work tree that does not track it yet."""
    folder = tmp_path / "tree" / "package"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("")
    git(folder.parent, "init", "-q")
    return folder


def test_it_is_json_and_says_what_decides_numbers() -> None:
    found = json.loads(json.dumps(environment(), allow_nan=False))
    assert found["mecheval"]["version"] == mecheval.__version__
    assert len(found["mecheval"]["files_sha256"]) == 64
    assert {"torch", "numpy", "transformers"} <= set(found["packages"])
    assert {"python", "os", "cpu", "gpu", "torch", "threads", "hostname_hash"} <= set(found)
    assert found["cpu"]["cores"] == os.cpu_count()


def test_it_is_the_same_twice() -> None:
    assert environment() == environment()


def test_the_name_of_the_machine_is_not_given_away() -> None:
    import socket

    assert socket.gethostname() not in json.dumps(environment())


def test_it_is_quiet_and_ignores_the_current_directory(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    program = (
        "import json, sys; from mecheval.reports.environment import package; "
        "sys.stdout.write(json.dumps(package()))"
    )
    root = str(Path(mecheval.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONPATH": root},
    )  # fmt: skip
    assert done.stderr == ""
    assert json.loads(done.stdout) == described.package()


def test_a_tracked_package_has_a_commit(package: Path) -> None:
    git(package, "add", ".")
    git(package, "commit", "-q", "-m", "first")
    found = commit_of(package)
    assert found is not None
    assert len(found["commit"]) == 40
    assert found["dirty"] is False
    (package / "__init__.py").write_text("changed = 1\n")
    assert commit_of(package) == {**found, "dirty": True}


def test_site_packages_inside_a_work_tree_have_no_commit(package: Path) -> None:
    git(package.parent, "commit", "-q", "--allow-empty", "-m", "of something else")
    assert commit_of(package) is None


def test_a_package_outside_of_git_has_no_commit(tmp_path: Path) -> None:
    (tmp_path / "__init__.py").write_text("")
    assert commit_of(tmp_path) is None


def test_without_git_there_is_no_commit(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(described.shutil, "which", lambda name: None)
    assert commit_of(package) is None


def test_the_hash_sees_names_and_contents_but_not_the_place(tmp_path: Path) -> None:
    for place in ("one", "two"):
        (tmp_path / place / "inner").mkdir(parents=True)
        (tmp_path / place / "inner" / "a.py").write_text("x = 1\n")
        (tmp_path / place / "__pycache__").mkdir()
        (tmp_path / place / "__pycache__" / "a.pyc").write_text(place)
    one, two = tmp_path / "one", tmp_path / "two"
    assert files_sha256([one]) == files_sha256([two])
    (two / "inner" / "a.py").write_text("x = 2\n")
    assert files_sha256([one]) != files_sha256([two])
    (two / "inner" / "a.py").write_text("x = 1\n")
    (two / "inner" / "a.py").rename(two / "inner" / "b.py")
    assert files_sha256([one]) != files_sha256([two])
