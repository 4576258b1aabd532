"""What lies where a checkpoint was looked for is named, with the way on from there."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from mecheval.errors import UsageError
from mecheval.models.load import resolve
from mecheval.spec import parse_spec

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mecheval.registry import Registry
    from mecheval.tasks import Task


def _of_a_training(folder: Path, checkpoint: Path) -> None:
    for step in (5, 10):
        shutil.copytree(checkpoint, folder / f"checkpoint-{step}")
    (folder / "runs").mkdir()


def _one_deeper(folder: Path, checkpoint: Path) -> None:
    shutil.copytree(checkpoint, folder / "model")


def _pickled_shards(folder: Path, checkpoint: Path) -> None:
    shutil.copytree(checkpoint, folder, dirs_exist_ok=True)
    (folder / "model.safetensors").rename(folder / "pytorch_model-00001-of-00001.bin")
    (folder / "training_args.bin").write_bytes(b"")


def _of_flax(folder: Path, checkpoint: Path) -> None:
    shutil.copytree(checkpoint, folder, dirs_exist_ok=True)
    (folder / "model.safetensors").rename(folder / "flax_model.msgpack")


def _index_that_leads_away(folder: Path, checkpoint: Path) -> None:
    shutil.copytree(checkpoint, folder, dirs_exist_ok=True)
    (folder / "model.safetensors").unlink()
    index = '{"weight_map": {"a": "../elsewhere.safetensors"}}'
    (folder / "model.safetensors.index.json").write_text(index)


@pytest.mark.parametrize(
    ("fill", "sentence"),
    [
        (_of_a_training, r"2 checkpoints inside. Give one of them: hf:.*/it/checkpoint-10\."),
        (_one_deeper, r"model in it has one. Give hf:.*/it/model\."),
        (_pickled_shards, r"only pytorch_model-00001-of-00001.bin; pickled .* save_pretrained"),
        (_of_flax, r"only flax_model.msgpack\. .* save_pretrained"),
        (_index_that_leads_away, "lists no weight files beside it"),
    ],
)
@pytest.mark.parametrize("written", ["{}", "{}/"])
def test_a_folder_of_another_kind(
    checkpoint: Path,
    tmp_path: Path,
    registry: Registry,
    fill: Callable[[Path, Path], None],
    sentence: str,
    written: str,
) -> None:
    folder = tmp_path / "it"
    folder.mkdir()
    fill(folder, checkpoint)
    with pytest.raises(UsageError, match=sentence):
        resolve(parse_spec("hf:" + written.format(folder)), registry).identity()


def test_a_training_that_saved_its_last_model_is_a_checkpoint(
    checkpoint: Path, registry: Registry, dyck: Task
) -> None:
    shutil.copytree(checkpoint, checkpoint / "checkpoint-5")
    source = resolve(parse_spec(f"hf:{checkpoint}"), registry)
    assert source.build(source.encode(dyck), seed=0).n_layers == 2


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_a_file_of_a_checkpoint(checkpoint: Path, registry: Registry, name: str) -> None:
    with pytest.raises(UsageError, match=f"is a file. Give the directory .* hf:{checkpoint}, or"):
        resolve(parse_spec(f"hf:{checkpoint / name}"), registry)
