"""Locks of files; and file systems that have none, where all goes on without."""

from __future__ import annotations

import errno
import fcntl
from typing import TYPE_CHECKING

import pytest

from mecheval import locking
from mecheval.errors import StorageError
from mecheval.harness import store
from mecheval.training.checkpoints import cache_lock

if TYPE_CHECKING:
    from pathlib import Path

KEY = "0123456789abcdef" * 4


def refusing(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, "no such thing")

    monkeypatch.setattr(fcntl, "flock", refuse)
    locking.supported.cache_clear()


@pytest.fixture(autouse=True)
def _asked_anew():
    yield
    locking.supported.cache_clear()


def test_a_lock_is_held_once_and_given_back(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.lock"
    held = locking.acquired(path, wait=False)
    assert held is not None
    assert locking.acquired(path, wait=False) is None
    held.release()
    assert locking.acquired(path, wait=False) is not None


@pytest.mark.parametrize("number", [95, 38, errno.ENOLCK])
def test_where_there_are_no_locks_everything_is_free(tmp_path, monkeypatch, number) -> None:
    refusing(monkeypatch, number)
    for wait in (True, False):
        with (
            store.claimed(tmp_path, KEY, wait=wait) as claimed,
            store.claimed(tmp_path, KEY, wait=wait) as again,
            cache_lock(tmp_path, KEY, wait=wait) as held,
        ):
            assert claimed
            assert again
            assert held
    assert not store.can_be_claimed(tmp_path)


def test_other_troubles_are_said(tmp_path, monkeypatch) -> None:
    refusing(monkeypatch, errno.EIO)
    with pytest.raises(StorageError), store.claimed(tmp_path, KEY, wait=True):
        pass
    with pytest.raises(StorageError, match="MECHEVAL_CACHE"), cache_lock(tmp_path, KEY):
        pass


def test_what_somebody_may_be_writing_stays_where_nothing_can_be_claimed(
    tmp_path, monkeypatch
) -> None:
    refusing(monkeypatch, 95)
    left = tmp_path / f".seed0.json.00.{KEY[:16]}.tmp"
    left.write_text("{")
    store.open_folder(tmp_path)
    assert left.exists()
    monkeypatch.setattr(store, "_SECONDS_OF_WRITING", -1)
    store.open_folder(tmp_path)
    assert not left.exists()
