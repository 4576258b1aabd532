"""Locks are freed however a process ends; what killed runs left is removed when it is safe."""

from __future__ import annotations

import multiprocessing
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mecheval.errors import StorageError
from mecheval.harness import store

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

KEY = "0123456789abcdef" * 4


def hold(root: Path, told: Connection) -> None:
    with store.claimed(root, KEY, wait=True):
        told.send("held")
        signal.pause()


def test_a_lock_is_freed_by_kill_9(tmp_path):
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=hold, args=(tmp_path, theirs))
    process.start()
    assert ours.recv() == "held"
    with store.claimed(tmp_path, KEY, wait=False) as held:
        assert not held
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    with store.claimed(tmp_path, KEY, wait=False) as held:
        assert held


def test_other_cells_are_free(tmp_path):
    with (
        store.claimed(tmp_path, KEY, wait=False) as first,
        store.claimed(tmp_path, KEY[::-1], wait=False) as second,
    ):
        assert first
        assert second


def test_leftovers_are_removed_unless_someone_is_at_work(tmp_path):
    leftover = tmp_path / "lstm" / f".seed0.json.{KEY[:16]}.tmp"
    leftover.parent.mkdir()
    leftover.write_text("{")
    with store.claimed(tmp_path, KEY, wait=False):
        store.open_folder(tmp_path)
        assert leftover.exists()
    store.open_folder(tmp_path)
    assert not leftover.exists()


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"file/results.*Give another folder with --output"):
        store.open_folder(tmp_path / "file" / "results")
    with pytest.raises(StorageError, match="/proc/nothing"):
        store.open_folder(Path("/proc/nothing"))
