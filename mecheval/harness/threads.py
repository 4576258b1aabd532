"""What could move numbers and is fixed while something is measured: threads, algorithms."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from threadpoolctl import threadpool_limits

from mecheval.interventions.budget import keeping_freed_memory

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mecheval.harness.request import Settings


@contextmanager
def one_thread() -> Iterator[None]:
    """Use one thread: tiny networks are too small for more, and processes run side by side."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1):
            yield
    finally:
        torch.set_num_threads(threads)


@contextmanager
def settled(settings: Settings) -> Iterator[None]:
    """Fix what could move numbers: threads and the choice of algorithms; restore them after.

    Memory that is freed meanwhile stays with the process until then: it is asked for again soon.
    """
    before = torch.get_num_threads()
    deterministic = torch.get_deterministic_debug_mode()
    tf32 = torch.backends.cudnn.allow_tf32
    torch.set_num_threads(settings.threads)
    # As torch.use_deterministic_algorithms, which imports a compiler for seconds besides.
    torch.set_deterministic_debug_mode("warn")
    if settings.device == "cuda":
        torch.backends.cudnn.allow_tf32 = False  # float32 means float32, in LSTMs too
        torch.cuda.reset_peak_memory_stats()  # of this cell, not of those before it
    try:
        kept = keeping_freed_memory(torch.device(settings.device))
        with threadpool_limits(settings.threads), kept:
            yield
    finally:
        torch.set_num_threads(before)
        torch.set_deterministic_debug_mode(deterministic)
        torch.backends.cudnn.allow_tf32 = tf32
