"""The checkpoint cache: atomic, keyed by content, forgiving towards spoilt files."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
import torch
from torch import nn

import mecheval
from mecheval.errors import StorageError, UsageError
from mecheval.models.load import resolve
from mecheval.registry import Registry
from mecheval.spec import parse_spec
from mecheval.training import Recipe, prepare
from mecheval.training.checkpoints import Checkpoint, content_key, state_sha256

if TYPE_CHECKING:
    from pathlib import Path

TENSORS = {"a": torch.arange(3.0), "b": torch.ones(2, 2, dtype=torch.float64)}


def test_a_finished_training_is_read_back(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path / "new" / "folder")
    assert checkpoint.load_finished() is None
    checkpoint.save_progress(TENSORS, {"step": 3})
    checkpoint.save_finished(TENSORS, {"steps": 7}, {"seed": 0})
    found = checkpoint.load_finished()
    assert found is not None
    assert found[1] == {"steps": 7}
    assert all(torch.equal(found[0][name], TENSORS[name]) for name in TENSORS)
    assert checkpoint.load_progress() is None
    written = json.loads((checkpoint.folder / "recipe.json").read_text())
    assert written == {"seed": 0, "training": {"steps": 7}}
    assert sorted(p.name for p in checkpoint.folder.iterdir()) == [
        "recipe.json",
        "weights.safetensors",
    ]


@pytest.mark.parametrize("keep", [0, 5, 100])
def test_a_spoilt_file_counts_as_missing(tmp_path: Path, keep: int) -> None:
    checkpoint = Checkpoint(tmp_path)
    checkpoint.save_progress(TENSORS, {"step": 3})
    path = tmp_path / "progress.safetensors"
    path.write_bytes(path.read_bytes()[:keep])
    assert checkpoint.load_progress() is None


def test_tied_weights_are_stored(tmp_path: Path) -> None:
    shared = torch.ones(3)
    Checkpoint(tmp_path).save_progress({"a": shared, "b": shared}, {})
    found = Checkpoint(tmp_path).load_progress()
    assert found is not None
    assert torch.equal(found[0]["b"], shared)


def test_a_folder_that_cannot_be_written_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="MECHEVAL_CACHE"):
        Checkpoint(tmp_path / "file" / "below").save_progress(TENSORS, {})


def test_a_full_disk_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint = Checkpoint(tmp_path)
    checkpoint.save_progress(TENSORS, {"step": 1})

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(StorageError, match="No space left"):
        checkpoint.save_progress(TENSORS, {"step": 2})
    found = checkpoint.load_progress()
    assert found is not None
    assert found[1] == {"step": 1}
    assert len(list(tmp_path.iterdir())) == 1


def test_the_weights_hash_sees_values_names_and_types() -> None:
    first = nn.Linear(2, 2)
    same = nn.Linear(2, 2)
    same.load_state_dict(first.state_dict())
    assert state_sha256(first) == state_sha256(same)
    with torch.no_grad():
        same.bias[0] += 1e-6
    assert state_sha256(first) != state_sha256(same)
    assert state_sha256(first) != state_sha256(first.double())


def test_content_keys_ignore_the_order_of_fields() -> None:
    assert content_key({"a": 1, "b": [1]}) == content_key({"b": [1], "a": 1})
    assert content_key({"a": 1}) != content_key({"a": 2})


def test_preparing_twice_trains_once(tmp_path: Path) -> None:
    source = resolve(parse_spec("gru[layers=1,width=16]"), Registry())
    task = mecheval.load_task("parity[min_length=4,max_length=8]")
    recipe = Recipe(steps=12, check_every=4, batch=4)
    events: list[tuple] = []

    def run(seed: int):
        return prepare(
            source,
            task,
            source.encode(task),
            recipe,
            seed=seed,
            cache=tmp_path,
            device="cpu",
            emit=lambda *event: events.append(event),
        )

    first = run(0)
    assert events
    events.clear()
    second = run(0)
    assert not events
    assert first.record == second.record
    assert state_sha256(first.model) == state_sha256(second.model) == first.record.weights_sha256
    assert run(1).record.weights_sha256 != first.record.weights_sha256


def test_recipes_refuse_what_they_do_not_know() -> None:
    with pytest.raises(UsageError, match="Did you mean 'steps'"):
        Recipe().replace({"step": 3})
    with pytest.raises(UsageError, match="choose one of adamw, muon"):
        Recipe().replace({"optimizer": "adam"})
    with pytest.raises(UsageError, match="above 0"):
        Recipe().replace({"lr": 0})
    assert Recipe().replace({"lr": 1}).sha256 == Recipe().replace({"lr": 1.0}).sha256
