"""The package in ``plugin_pkg/``, installed: what it registers is found, checked and run."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from installing import ROOT

from mecheval.registry import Registry

pytest.importorskip("hatchling", reason="building needs the extra 'test'")
pytest.importorskip("pip", reason="installing needs pip")

PACKAGE = Path(__file__).parent / "plugin_pkg"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the package into a folder of its own."""
    folder = tmp_path_factory.mktemp("site")
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index",
         "--no-build-isolation", "--disable-pip-version-check", "--target", str(folder),
         str(PACKAGE)],
        check=True, capture_output=True,
    )  # fmt: skip
    return folder


def mecheval(site: Path, cwd: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(site), str(ROOT)])
    return subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "mecheval", *arguments],
        cwd=cwd, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": path},
    )  # fmt: skip


def listed(site: Path, cwd: Path, kind: str) -> dict[str, dict[str, object]]:
    done = mecheval(site, cwd, "ls", kind, "--json")
    assert done.returncode == 0, done.stderr
    return {row["name"]: row for row in map(json.loads, done.stdout.splitlines())}


def test_it_is_listed_under_its_prefix(site: Path, tmp_path: Path) -> None:
    task = listed(site, tmp_path, "tasks")["acme/flipflop"]
    assert (task["version"], task["from"], task["status"]) == (2, "acme-mech", "ok")
    assert str(task["origin"]).startswith(str(site))
    assert listed(site, tmp_path, "models")["acme/average"]["from"] == "acme-mech"
    assert listed(site, tmp_path, "metrics")["acme/surprise"]["family"] == "likelihood"


def test_listing_does_not_import_it(site: Path, tmp_path: Path) -> None:
    assert "acme_mech" not in mecheval(site, tmp_path, "ls", "tasks").stderr


def test_it_keeps_the_contracts(site: Path, tmp_path: Path) -> None:
    names = ("acme/flipflop", "acme/average", "acme/surprise")
    done = mecheval(site, tmp_path, "validate", *names, "--quiet")
    assert (done.returncode, done.stdout) == (0, "")


def test_its_metric_measures_its_model_on_its_task(site: Path, tmp_path: Path) -> None:
    done = mecheval(
        site, tmp_path, "run", "--models", "acme/average", "--tasks",
        "acme/flipflop[min_length=8,max_length=8]", "--recipe", "steps=2,gate=0.0", "--limit",
        "16", "--metrics", "recovery,readability,acme/surprise[n=8]", "--jobs", "1",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    (path,) = (tmp_path / "results").rglob("seed0*.json")
    report = json.loads(path.read_text())
    assert report["identity"]["model"]["name"] == "acme/average"
    assert report["identity"]["task"]["name"] == "acme/flipflop"
    assert report["plugin"] == {
        "task": "acme-mech 0.3.0", "model": "acme-mech 0.3.0",
        "metric acme/surprise": "acme-mech 0.3.0",
    }  # fmt: skip
    assert [metric["name"] for metric in report["identity"]["metrics"]] == [
        "behaviour", "recovery", "readability", "acme/surprise"
    ]  # fmt: skip
    assert "surprise at twice the length, in bits" in done.stdout
    (own,) = (result for result in report["metrics"] if result["name"] == "acme/surprise")
    assert own["id"] == own["metric"] == "acme/surprise[n=8]"
    assert len(own["units"]) == own["n_scored"] == 8


def declare(site: Path, name: str, entry_points: str) -> None:
    """Put a distribution into a folder by hand."""
    folder = site / f"{name}-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (folder / "entry_points.txt").write_text(entry_points)


@pytest.mark.parametrize(
    ("files", "value", "reason"),
    [
        ({}, "gone.tasks", "names the module 'gone.tasks', which is not there"),
        ({"gone.py": ""}, "gone.tasks", "which is not there"),
        ({"gone.py": "def f(:\n"}, "gone", "cannot be read"),
    ],
)
def test_a_broken_plugin_is_a_row_and_breaks_nothing_else(
    tmp_path: Path, files: dict[str, str], value: str, reason: str
) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    declare(tmp_path, "gone", f"[mecheval.tasks]\ngone = {value}\n")
    rows = listed(tmp_path, tmp_path, "tasks")
    assert rows["dyck"]["status"] == "ok"
    (broken,) = (row for row in rows.values() if row["status"] == "broken")
    assert str(broken["summary"]).startswith("broken: ")
    assert reason in str(broken["summary"])
    done = mecheval(tmp_path, tmp_path, "show", "task", str(broken["name"]))
    assert done.returncode == 2
    assert "cannot be used" in done.stderr


def test_a_plugin_that_does_not_import_fails_only_when_named(tmp_path: Path) -> None:
    package = tmp_path / "sad"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('no luck')\n")
    (package / "tasks.py").write_text((PACKAGE / "acme_mech" / "tasks.py").read_text())
    declare(tmp_path, "sad", "[mecheval.tasks]\nsad = sad.tasks\n")
    assert listed(tmp_path, tmp_path, "tasks")["sad/flipflop"]["status"] == "ok"
    done = mecheval(tmp_path, tmp_path, "show", "task", "sad/flipflop")
    assert done.returncode == 2
    assert "does not import (RuntimeError: no luck)" in done.stderr


def test_the_same_name_twice_is_a_broken_row(tmp_path: Path) -> None:
    text = (PACKAGE / "acme_mech" / "tasks.py").read_text()
    for name in ("one", "two"):
        (tmp_path / f"{name}.py").write_text(text)
        declare(tmp_path, name, f"[mecheval.tasks]\nsame = {name}\n")
    rows = listed(tmp_path, tmp_path, "tasks")
    assert "declared twice" in str(rows["same/flipflop"]["summary"])


def test_what_is_installed_meanwhile_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def has_it() -> bool:
        return any(entry.name == "late/flipflop" for entry in Registry().entries("task"))

    assert not has_it()
    monkeypatch.syspath_prepend(tmp_path)
    assert not has_it()
    (tmp_path / "late.py").write_text((PACKAGE / "acme_mech" / "tasks.py").read_text())
    declare(tmp_path, "late", "[mecheval.tasks]\nlate = late\n")
    assert has_it()
    shutil.rmtree(tmp_path / "late-1.0.dist-info")
    assert not has_it()
