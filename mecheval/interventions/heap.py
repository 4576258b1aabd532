"""Freed memory that stays with the process while a grid is computed on a CPU.

glibc maps every block of more than 32 MB anew and gives it back when it is freed, and likewise the
end of its heap. A grid frees and allocates such tensors in every layer of every pass; that the
system zeroes their pages each time takes 5 to 10 percent of it.
"""

from __future__ import annotations

import ctypes
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    import torch

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4  # names of glibc's mallopt(3)
_LARGEST = 32 << 20
"""Where glibc's own adjustment of the threshold for mapped blocks ends."""
_NEVER = 2**31 - 1
_CHOICES = ("MALLOC_MMAP_MAX_", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_")


@contextmanager
def keeping_freed_memory(device: torch.device) -> Iterator[None]:
    """Keep what tensors on the CPU free, and return it to the system at the end.

    Does nothing for other devices, for C libraries other than glibc, and where the environment
    says how memory is to be allocated. The settings are those of the process; behind the block
    they are where glibc's own adjustment leads.
    """
    libc = _glibc() if device.type == "cpu" else None
    if libc is None:
        yield
        return
    libc.mallopt(_MMAP_MAX, 0)
    libc.mallopt(_TRIM_THRESHOLD, _NEVER)
    try:
        yield
    finally:
        libc.mallopt(_MMAP_MAX, 65536)
        libc.mallopt(_MMAP_THRESHOLD, _LARGEST)
        libc.mallopt(_TRIM_THRESHOLD, 2 * _LARGEST)
        libc.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    chosen = any(name in os.environ for name in _CHOICES)
    if os.name != "posix" or chosen or "glibc.malloc" in os.environ.get("GLIBC_TUNABLES", ""):
        return None
    libc = ctypes.CDLL(None)
    return libc if hasattr(libc, "gnu_get_libc_version") else None
