"""Entries from three places, found without importing, and what is said when one is wrong."""

import sys
from pathlib import Path

import pytest

from mecheval.errors import ContractError, UsageError
from mecheval.registry import Registry

TASK = '''
from dataclasses import dataclass
from mecheval.tasks import Metric, task
from mecheval.tasks.words import GroupWords

@task(name="flip", version=3, reference="none", mechanisms=(Metric("recovery"),))
@dataclass(frozen=True, kw_only=True)
class Flip(GroupWords):
    """A task of one file."""
'''


@pytest.fixture
def flip(tmp_path: Path) -> Path:
    path = tmp_path / "flip.py"
    path.write_text(TASK)
    return path


def test_built_in_tasks_are_listed_with_origin_and_version() -> None:
    entries = {entry.name: entry for entry in Registry().entries("task")}
    assert {"dyck", "parity", "s3", "z6"} <= set(entries)
    parity = entries["parity"]
    assert parity.version == 1
    assert parity.summary.startswith("Running XOR")
    assert parity.origin.endswith(f"task_registry/parity.py:{parity.line}")
    source = parity.path.read_text().splitlines()
    assert "class Parity" in "".join(source[parity.line - 1 : parity.line + 20])


def test_listing_imports_no_entry(flip: Path) -> None:
    flip.write_text(TASK + "\nraise RuntimeError('must not run')\n")
    before = set(sys.modules)
    registry = Registry((flip,))
    assert registry.get("task", "local/flip").version == 3
    assert set(sys.modules) == before


@pytest.mark.parametrize("given", ["file", "folder"])
def test_include_path_takes_files_and_folders(flip: Path, given: str) -> None:
    registry = Registry((flip if given == "file" else flip.parent,))
    declared = registry.load("task", "local/flip")
    assert declared.card.name == "flip"
    assert declared.__name__ == "Flip"


def test_two_files_of_the_same_name_do_not_mix(tmp_path: Path) -> None:
    for folder, version in (("one", 3), ("two", 4)):
        (tmp_path / folder / "same").mkdir(parents=True)
        text = TASK.replace("version=3", f"version={version}")
        (tmp_path / folder / "same" / "flip.py").write_text(text)
    versions = [
        Registry((tmp_path / folder / "same",)).load("task", "local/flip").card.version
        for folder in ("one", "two")
    ]
    assert versions == [3, 4]


def test_unknown_names_suggest_and_point_to_the_list() -> None:
    with pytest.raises(UsageError) as caught:
        Registry().get("task", "dick")
    assert str(caught.value) == "Unknown task 'dick'. Did you mean 'dyck'? See `mecheval ls tasks`."


def test_a_name_is_declared_once(flip: Path) -> None:
    (flip.parent / "again.py").write_text(TASK)
    with pytest.raises(ContractError, match=r"declared twice: .*again\.py.* and .*flip\.py"):
        Registry((flip.parent,))


def test_a_missing_include_path_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no file or folder"):
        Registry((tmp_path / "nowhere",))


def test_a_file_that_does_not_parse_is_a_broken_entry(flip: Path) -> None:
    flip.write_text("def broken(:\n")
    registry = Registry((flip,))
    broken = [entry for entry in registry.entries("task") if entry.broken]
    assert [entry.name for entry in broken] == ["local/flip"]
    with pytest.raises(UsageError, match=r"local/flip' cannot be used: .*flip\.py"):
        registry.load("task", "local/flip")


def test_a_file_that_does_not_import_says_so(flip: Path) -> None:
    flip.write_text(TASK + "\nraise RuntimeError('no luck')\n")
    with pytest.raises(ContractError, match=r"does not import \(RuntimeError: no luck") as caught:
        Registry((flip,)).load("task", "local/flip")
    assert caught.value.exit_code == 2
    flip.write_text(TASK)
    assert Registry((flip,)).load("task", "local/flip").card.version == 3


def test_siblings_are_found_by_relative_import(flip: Path) -> None:
    (flip.parent / "shared.py").write_text("REFERENCE = 'a paper'\n")
    text = TASK.replace('reference="none"', "reference=REFERENCE")
    flip.write_text("from .shared import REFERENCE\n" + text)
    assert Registry((flip,)).load("task", "local/flip").card.reference == "a paper"
