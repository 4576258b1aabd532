"""Wheel, sdist and editable install: registries travel along, and foreign ones do no harm."""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from installing import ROOT, Environment

import mecheval

pytest.importorskip("hatchling", reason="building needs the extra 'test'")
pytest.importorskip("pip", reason="installing needs pip")

GRU = "mecheval.builtin.model_registry.gru"
REGISTRIES = ("task_registry", "model_registry")
FOREIGN = "raise RuntimeError('another distribution owns this name')\n"


def build(target: str, folder: Path) -> Path:
    """Build with hatchling from the checkout, without a network."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", target, "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return next(folder.glob("mecheval-*"))


def sources() -> set[str]:
    """Return what an installed package holds, as paths in a wheel."""
    found = {path.relative_to(ROOT).as_posix() for path in _files(ROOT / "mecheval")}
    for registry in REGISTRIES:
        found |= {f"mecheval/builtin/{p.relative_to(ROOT)}" for p in _files(ROOT / registry)}
    return found


def _files(folder: Path) -> list[Path]:
    return [p for p in folder.rglob("*") if p.is_file() and "__pycache__" not in p.parts]


def assert_works(environment: Environment, elsewhere: Path, home: Path) -> None:
    """Check that the command finds the registries that lie in a folder."""
    elsewhere.mkdir()
    assert environment.run("mecheval", "--version", cwd=elsewhere).strip() == (
        f"mecheval {mecheval.__version__}"
    )
    for kind, folder, some in (("tasks", REGISTRIES[0], "dyck"), ("models", REGISTRIES[1], "gru")):
        out = environment.run("mecheval", "ls", kind, "--json", cwd=elsewhere)
        rows = {row["name"]: row for row in map(json.loads, out.splitlines())}
        assert rows[some]["origin"].startswith(str(home / folder))
    out = environment.run("mecheval", "show", "task", "parity", "--json", cwd=elsewhere)
    assert json.loads(out)["version"] == 1
    # Found, not run: that imports torch, which takes seconds in every environment.
    program = f"from importlib.util import find_spec; print(find_spec('{GRU}').origin)"
    found = environment.run("python", "-c", program, cwd=elsewhere)
    assert Path(found.strip()) == home / "model_registry" / "gru.py"


def add_foreign(environment: Environment) -> None:
    """Let another distribution own the names of the two registries."""
    for name in REGISTRIES:
        folder = environment.site_packages / name
        folder.mkdir()
        (folder / "__init__.py").write_text(FOREIGN)


def test_wheel(tmp_path: Path) -> None:
    wheel = build("wheel", tmp_path / "dist")
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert names == sources()
    environment = Environment.create(tmp_path / "env")
    add_foreign(environment)
    environment.install(str(wheel))
    home = environment.site_packages / "mecheval" / "builtin"
    assert_works(environment, tmp_path / "elsewhere", home)
    program = f"import {GRU} as gru; print(gru.__file__)"
    loaded = environment.run("python", "-c", program, cwd=tmp_path)
    assert Path(loaded.strip()) == home / "model_registry" / "gru.py"


def test_sdist(tmp_path: Path) -> None:
    sdist = build("sdist", tmp_path / "dist")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"README.md", "LICENSE", "pyproject.toml", "task_registry/dyck.py"} <= names
    assert not [name for name in names if name.startswith("leaderboards/results")]
    environment = Environment.create(tmp_path / "env")
    add_foreign(environment)
    environment.install(str(sdist))
    installed = _files(environment.site_packages / "mecheval")
    assert {p.relative_to(environment.site_packages).as_posix() for p in installed} == sources()
    assert_works(
        environment, tmp_path / "elsewhere", environment.site_packages / "mecheval" / "builtin"
    )


def test_editable(tmp_path: Path) -> None:
    environment = Environment.create(tmp_path / "env")
    add_foreign(environment)
    environment.install("--editable", str(ROOT))
    assert_works(environment, tmp_path / "elsewhere", ROOT)


def test_every_public_name_can_be_imported() -> None:
    assert [name for name in mecheval.__all__ if getattr(mecheval, name) is None] == []
    assert set(mecheval.__all__) <= set(dir(mecheval))
