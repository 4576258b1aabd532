"""CITATION.cff: of its form, and about this version."""

from __future__ import annotations

import tomllib
from pathlib import Path

import yaml

from mecheval.version import __version__

ROOT = Path(__file__).parents[1]
CITATION = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))


def test_it_has_what_its_schema_asks_for() -> None:
    assert CITATION["cff-version"] == "1.2.0"
    assert {"message", "title", "authors"} <= CITATION.keys()
    assert CITATION["authors"] == [{"name": "The mecheval authors"}]


def test_it_is_about_this_version_and_licence() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert CITATION["version"] == __version__
    assert CITATION["license"] == project["license"]
