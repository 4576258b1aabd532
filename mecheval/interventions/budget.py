"""How many rows one pass may have, and where the memory of passes stays between them.

A pass has a number of bytes, which halves when the device has less.

glibc maps every block of more than 32 MB anew and gives it back when it is freed, and likewise the
end of its heap. A grid frees and allocates such tensors in every layer of every pass; that the
system zeroes their pages each time takes 5 to 10 percent of it.
"""

from __future__ import annotations

import ctypes
import os
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mecheval.own_code.explaining import is_out_of_memory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import torch
    from torch import Tensor


_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4  # names of glibc's mallopt(3)
_LARGEST = 32 << 20
"""Where glibc's own adjustment of the threshold for mapped blocks ends."""
_NEVER = 2**31 - 1
_CHOICES = ("MALLOC_MMAP_MAX_", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_")


@dataclass
class Budget:
    """Bytes for the activations of one pass.

    Attributes:
        memory: Bytes that a pass may take.
        halvings: How often the device had less.
        largest: Most rows that were in one pass.
    """

    memory: int
    halvings: int = 0
    largest: int = 0

    def rows(self, row_bytes: int) -> int:
        """Return how many rows of that size fit, at least one."""
        return max(1, self.memory // max(row_bytes, 1))

    def halve(self, failed: int) -> None:
        """Allow half of what a failed pass took, or half of what was allowed if that is less."""
        self.memory = max(1, min(self.memory, failed) // 2)
        self.halvings += 1

    def note(self, n_rows: int) -> None:
        """Take note of a pass that succeeded."""
        self.largest = max(self.largest, n_rows)


def fitting(
    n_rows: int, rows: int, compute: Callable[[slice], Tensor], budget: Budget
) -> Iterator[tuple[slice, Tensor]]:
    """Compute rows in passes of at most ``rows``, and of ever fewer where memory runs out.

    Raises:
        RuntimeError: It runs out with one row.
    """
    first = 0
    while first < n_rows:
        part = slice(first, min(first + rows, n_rows))
        try:
            value = compute(part)
        except (RuntimeError, MemoryError) as error:
            rows = (part.stop - first) // 2
            if rows == 0 or not is_out_of_memory(error):
                raise
            budget.halvings += 1
            continue
        budget.note(part.stop - first)
        yield part, value
        first = part.stop


class _Holders:
    """Counts the blocks of :func:`keeping_freed_memory` that are open, in whatever thread."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.n_open = 0

    def enter(self, libc: ctypes.CDLL) -> None:
        """Let the first one change the settings."""
        with self.lock:
            self.n_open += 1
            if self.n_open == 1:
                libc.mallopt(_MMAP_MAX, 0)
                libc.mallopt(_TRIM_THRESHOLD, _NEVER)

    def leave(self, libc: ctypes.CDLL) -> None:
        """Let the last one change them back."""
        with self.lock:
            self.n_open -= 1
            if self.n_open == 0:
                libc.mallopt(_MMAP_MAX, 65536)
                libc.mallopt(_MMAP_THRESHOLD, _LARGEST)
                libc.mallopt(_TRIM_THRESHOLD, 2 * _LARGEST)
                libc.malloc_trim(0)


_holders = _Holders()


@contextmanager
def keeping_freed_memory(device: torch.device) -> Iterator[None]:
    """Keep what tensors on the CPU free, and return it to the system at the end.

    Does nothing for other devices, for C libraries other than glibc, and where the environment
    says how memory is to be allocated. The settings are those of the process, so they also hold
    for what other threads do meanwhile, and until the last of several blocks that are open at once
    ends; behind it they are where glibc's own adjustment leads.
    """
    libc = _glibc() if device.type == "cpu" else None
    if libc is None:
        yield
        return
    _holders.enter(libc)
    try:
        yield
    finally:
        _holders.leave(libc)


def _glibc() -> ctypes.CDLL | None:
    chosen = any(name in os.environ for name in _CHOICES)
    if os.name != "posix" or chosen or "glibc.malloc" in os.environ.get("GLIBC_TUNABLES", ""):
        return None
    libc = ctypes.CDLL(None)
    return libc if hasattr(libc, "gnu_get_libc_version") else None
