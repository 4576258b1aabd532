"""Checkpoints in the hub's format on disk, and a hub on this machine."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest
from fake_hub import Fault, serving
from hf_families import build
from hf_tokenizers import character_tokenizer

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


class LocalHub:
    """Puts a hub on this machine in the place of the real one."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, stack: ExitStack) -> None:
        self.monkeypatch, self.stack = monkeypatch, stack

    def __call__(
        self, repositories: dict[str, dict[str, Path]], faults: dict[str, Fault] | None = None
    ) -> None:
        """Serve folders as revisions of repositories, some of them at fault."""
        from huggingface_hub import constants, file_download

        self.stack.close()
        address = self.stack.enter_context(serving(repositories, faults))
        template = address + "/{repo_id}/resolve/{revision}/{filename}"
        self.monkeypatch.setattr(constants, "ENDPOINT", address)
        for module in (constants, file_download):  # some versions copy it
            name = "HUGGINGFACE_CO_URL_TEMPLATE"
            self.monkeypatch.setattr(module, name, template, raising=False)

    def cut_off(self) -> None:
        """Leave nothing that answers."""
        self.stack.close()


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalHub]:
    """Give a switchable hub and an empty cache; offline mode is back on afterwards."""
    from huggingface_hub import constants

    def forget_sessions() -> None:
        from huggingface_hub.utils import _http

        reset = getattr(_http, "reset_sessions", None) or _http.close_session
        reset()

    forget_sessions()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    with ExitStack() as stack:
        yield LocalHub(monkeypatch, stack)
    forget_sessions()
