"""Locks on files that processes share, freed by the operating system however their holder ends.

Some shared file systems have none (NFS without its lock daemon, Lustre mounted without flock, some
FUSE). There everything goes on without: what two processes do twice is equal, and is written
atomically, so that a lock saves work and decides nothing.
"""

from __future__ import annotations

import errno
import os
import tempfile
from functools import lru_cache
from typing import TYPE_CHECKING, Protocol

import filelock

if TYPE_CHECKING:
    from pathlib import Path

UNSUPPORTED = frozenset({errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.ENOLCK})
"""What a file system without locks answers."""


class Held(Protocol):
    """What was acquired."""

    def release(self) -> None:
        """Give it back."""


class Unlocked:
    """Stands for a lock where the file system has none."""

    def release(self) -> None:
        """Do nothing."""


def acquired(path: Path, *, wait: bool) -> Held | None:
    """Acquire a lock.

    Args:
        path: Its file; the folder is made.
        wait: Whether to wait for another process that holds it.

    Returns:
        What is to be released; None if another process holds it, never so with ``wait``.

    Raises:
        OSError: The file or its folder cannot be made.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if not supported(path.parent):
        return Unlocked()
    lock = filelock.FileLock(path, timeout=-1 if wait else 0)
    try:
        lock.acquire()
    except filelock.Timeout:
        return None
    return lock


def is_held(path: Path) -> bool:
    """Say whether a process holds a lock; False where its file is not there, or has no locks."""
    if not path.exists():
        return False
    lock = acquired(path, wait=False)
    if lock is not None:
        lock.release()
    return lock is None


@lru_cache
def supported(folder: Path) -> bool:
    """Say whether files of a folder can be locked, by locking one.

    Raises:
        OSError: No file can be made there.
    """
    try:
        import fcntl
    except ImportError:  # Windows, whose locks are of another kind and always there
        return True
    with tempfile.NamedTemporaryFile(dir=folder, prefix=f".lock-{os.getpid()}-") as file:
        try:
            fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in UNSUPPORTED:
                return False
            raise
    return True
