"""A hub on this machine in the place of the real one, for this process."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from fake_hub import Fault, serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import pytest


class LocalHub:
    """Puts a hub on this machine in the place of the real one."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, stack: ExitStack) -> None:
        self.monkeypatch, self.stack = monkeypatch, stack

    def __call__(
        self, repositories: dict[str, dict[str, Path]], faults: dict[str, Fault] | None = None
    ) -> None:
        """Serve folders as revisions of repositories, some of them at fault."""
        self._serve(repositories, faults, None)

    def accepting(self, pushed: dict[str, str]) -> dict[str, str]:
        """Take whatever is pushed, and return where its files, in base64, are put by name."""
        self._serve({}, None, pushed)
        self.monkeypatch.setenv("HF_TOKEN", "hf_test")
        return pushed

    def _serve(
        self,
        repositories: dict[str, dict[str, Path]],
        faults: dict[str, Fault] | None,
        pushed: dict[str, str] | None,
    ) -> None:
        from huggingface_hub import constants, file_download

        self.stack.close()
        address = self.stack.enter_context(serving(repositories, faults, pushed))
        template = address + "/{repo_id}/resolve/{revision}/{filename}"
        self.monkeypatch.setattr(constants, "ENDPOINT", address)
        for module in (constants, file_download):  # some versions copy it
            name = "HUGGINGFACE_CO_URL_TEMPLATE"
            self.monkeypatch.setattr(module, name, template, raising=False)

    def cut_off(self) -> None:
        """Leave nothing that answers."""
        self.stack.close()


@contextmanager
def local_hub(cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalHub]:
    """Give a switchable hub and an empty cache; offline mode is back on afterwards."""
    from huggingface_hub import constants

    def forget_sessions() -> None:
        from huggingface_hub.utils import _http

        reset = getattr(_http, "reset_sessions", None) or _http.close_session
        reset()

    forget_sessions()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    with ExitStack() as stack:
        yield LocalHub(monkeypatch, stack)
    forget_sessions()
