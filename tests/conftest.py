"""Shared fixtures: one thread, a cache of the test's own, no network."""

from __future__ import annotations

import gc
import itertools
import multiprocessing
import os
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["HF_HUB_OFFLINE"] = "1"
for name in [name for name in os.environ if name.startswith("MECHEVAL_")]:
    del os.environ[name]

gc.disable()  # what collecting thousands of tests makes stays: no garbage is among it


def pytest_collection_finish() -> None:
    """Look for garbage from here on, among what tests make."""
    gc.enable()


SHARED = ("kernels", "texts")
"""Folders of the cache whose files are the same whoever makes them, in seconds."""


@pytest.fixture(scope="session")
def _caches(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Yield names for folders, which pytest would find by looking at all that there are."""
    root = tmp_path_factory.mktemp("caches")
    return (root / str(i) for i in itertools.count())


@pytest.fixture(scope="session")
def _shared(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return the folders that all tests share, those of other workers of pytest too."""
    own = tmp_path_factory.getbasetemp()
    root = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own
    for name in SHARED:
        (root / name).mkdir(exist_ok=True)
    return {name: root / name for name in SHARED}


@pytest.fixture(autouse=True)
def _own_cache(
    _caches: Iterator[Path], _shared: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> Path:
    """Give every test a cache with nothing in it but what all share."""
    folder = next(_caches)
    folder.mkdir()
    for name, shared in _shared.items():
        (folder / name).symlink_to(shared)
    monkeypatch.setenv("MECHEVAL_CACHE", str(folder))
    return folder


@pytest.fixture(autouse=True)
def _forked_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let workers start in a tenth of a second; see :mod:`forked`.

    Those of commands in an interpreter of their own start as a user's do.
    """
    import forked

    monkeypatch.setattr(multiprocessing, "get_context", forked.get_context)
