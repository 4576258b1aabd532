"""Checkpoints in the hub's format on disk, and a hub on this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hf_families import build
from hf_tokenizers import character_tokenizer
from local_hub import LocalHub, local_hub

from mecheval.registry import Registry
from mecheval.tasks.contract import configure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from mecheval.tasks import Task


@pytest.fixture(scope="session")
def registry() -> Registry:
    return Registry()


@pytest.fixture(scope="session")
def dyck(registry: Registry) -> Task:
    return configure(registry.load("task", "dyck"), {}, name="dyck")


@pytest.fixture(scope="session")
def make_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Write a tiny checkpoint with the library's own save_pretrained; give its directory."""

    def make(
        family: str = "gpt_neox",
        *,
        tokenizer: Any = "characters",
        shard_size: str = "5GB",
        folder: str = "checkpoint",
        half: bool = False,
        **changes: Any,
    ) -> Path:
        directory = tmp_path_factory.mktemp(family) / folder
        module: Any = build(family, **changes)
        (module.half() if half else module).save_pretrained(directory, max_shard_size=shard_size)
        if tokenizer == "characters":
            tokenizer = character_tokenizer()
        if tokenizer is not None:
            tokenizer.save_pretrained(directory)
        return directory

    return make


@pytest.fixture
def checkpoint(make_checkpoint: Callable[..., Path]) -> Path:
    """Give a fresh tiny GPT-NeoX with a tokenizer, which a test may damage."""
    return make_checkpoint()


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalHub]:
    """Give a switchable hub and an empty cache; offline mode is back on afterwards."""
    with local_hub(tmp_path / "hub", monkeypatch) as switchable:
        yield switchable
