"""A checkpoint in a folder is what its files are, wherever it lies and however it is called."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest
from hf_families import build
from hf_tokenizers import character_tokenizer
from synthetic_reports import synthetic

from mecheval.harness.plan import plan
from mecheval.harness.request import Cell, Request
from mecheval.reports.labels import names_of
from mecheval.spec import parse_spec

if TYPE_CHECKING:
    from pathlib import Path

FIRST, SECOND = {"hidden_size": 16}, {"hidden_size": 32}


def checkpoint(folder: Path, **changes: int) -> Path:
    build("gpt_neox", **changes).save_pretrained(folder)  # type: ignore[attr-defined]
    character_tokenizer().save_pretrained(folder)
    return folder


def planned(name: str, output: Path) -> Cell:
    (cell,) = plan(
        Request(models=(parse_spec(name),), tasks=(parse_spec("parity"),), output=output)
    )
    return cell


@pytest.fixture
def places(tmp_path: Path) -> Path:
    """Give two working folders that hold different checkpoints of one name."""
    checkpoint(tmp_path / "one" / "ckpt", **FIRST)
    checkpoint(tmp_path / "two" / "ckpt", **SECOND)
    return tmp_path


def test_one_name_in_two_working_folders_is_two_models(
    places: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells = []
    for folder in ("one", "two"):
        monkeypatch.chdir(places / folder)
        cells.append(planned("hf:ckpt", places / "results"))
    first, second = cells
    assert first.key != second.key
    assert first.path != second.path
    assert first.model_title != second.model_title
    assert first.identity.model.name == second.identity.model.name == "hf:ckpt"
    reports = [synthetic().model_copy(update={"identity": cell.identity}) for cell in cells]
    labels = [name.row for name in names_of(reports)]
    assert len(set(labels)) == 2
    assert all(label.startswith("hf:ckpt[content=") for label in labels)


def test_one_model_reached_in_many_ways_is_one(
    places: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(places / "one")
    folder = places / "one" / "ckpt"
    (places / "link").symlink_to(folder)
    shutil.copytree(folder, places / "elsewhere" / "renamed")
    names = [
        "hf:ckpt", "hf:./ckpt", "hf:ckpt/", "hf:../one/ckpt", f"hf:{folder}", f"hf:{folder}/",
        f"hf:{places}/./one/ckpt", f"hf:{places}//one/ckpt", f"hf:{places / 'link'}",
        f"hf:'{folder}'", f"hf:{places / 'elsewhere' / 'renamed'}",
    ]  # fmt: skip
    cells = [planned(name, places / "results") for name in names]
    assert len({cell.key for cell in cells}) == 1
    assert len({cell.path for cell in cells}) == 1
    reports = [synthetic().model_copy(update={"identity": cell.identity}) for cell in cells]
    assert len({name.row for name in names_of(reports)}) == 1


def test_a_change_of_any_file_is_another_model(places: Path) -> None:
    name = f"hf:{places / 'one' / 'ckpt'}"
    before = planned(name, places / "results")
    weights = places / "one" / "ckpt" / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(bytes(data))
    after = planned(name, places / "results")
    assert (after.key, after.path) != (before.key, before.path)
    assert after.path != before.path


def test_workers_find_it_from_anywhere(places: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mecheval.harness.building import build_source
    from mecheval.registry import Registry

    monkeypatch.chdir(places / "one")
    cell = planned("hf:ckpt", places / "results")
    os.chdir(places)
    found = build_source(cell.model, Registry(), cell.settings).identity()
    assert found.weights_sha256 == cell.identity.model.weights_sha256
    assert found.name == cell.identity.model.name
