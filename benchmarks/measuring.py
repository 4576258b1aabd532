"""Time, and the machine's rate of matrix products."""

from __future__ import annotations

import time
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, NamedTuple

import torch

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}

MATMULS = (
    (1024, 1024, 1024),
    (2048, 2048, 2048),
    (4096, 4096, 4096),
    (2048, 768, 768),
    (2048, 768, 2304),
    (2048, 768, 3072),
    (2048, 3072, 768),
    (8192, 768, 3072),
)
"""Rows, inner size and columns of the products whose rate is measured."""

BUDGET = 0.4
"""Seconds of calls for every shape, of two calls at least."""


@dataclass(frozen=True)
class Stopwatch:
    """Times calls.

    Attributes:
        device: Where they run; a call ends when what it started there has ended.
        clock: ``wall``, or ``cpu`` for the time that this process got: on a machine that has other
            work to do, and with one thread, the fairer measure.
    """

    device: str = "cpu"
    clock: str = "wall"

    def __call__(self, run: Callable[[], object]) -> float:
        """Return the seconds that a call takes."""
        now = CLOCKS[self.clock]
        self._wait()
        start = now()
        run()
        self._wait()
        return now() - start

    def _wait(self) -> None:
        if self.device.startswith("cuda"):
            torch.cuda.synchronize()


class Rate(NamedTuple):
    """A rate of matrix products.

    Attributes:
        gigaflops: Operations per second / 1e9.
        shape: Rows, inner size and columns of the product.
    """

    gigaflops: float
    shape: tuple[int, int, int]


def matmul_rates(stopwatch: Stopwatch) -> list[Rate]:
    """Measure float32 products of several shapes with torch's current threads."""
    return [_matmul_rate(shape, stopwatch) for shape in MATMULS]


def mean_rate(rounds: list[list[Rate]]) -> Rate:
    """Return the shape whose mean rate over rounds is the best, with that rate."""
    means = [fmean(rate.gigaflops for rate in rates) for rates in zip(*rounds, strict=True)]
    return max(Rate(mean, rate.shape) for mean, rate in zip(means, rounds[0], strict=True))


def _matmul_rate(shape: tuple[int, int, int], stopwatch: Stopwatch) -> Rate:
    rows, inner, columns = shape
    left = torch.ones(rows, inner, device=stopwatch.device)
    right = torch.ones(inner, columns, device=stopwatch.device)
    result = torch.empty(rows, columns, device=stopwatch.device)

    def multiply() -> None:
        torch.mm(left, right, out=result)

    multiply()
    elapsed, n_calls, end = 0.0, 0, time.perf_counter() + BUDGET
    while n_calls < 2 or time.perf_counter() < end:
        elapsed += stopwatch(multiply)
        n_calls += 1
    return Rate(2 * rows * inner * columns * n_calls / elapsed / 1e9, shape)


def add_clock(parser: argparse.ArgumentParser) -> None:
    """Add ``--threads`` and ``--clock`` to the options of a benchmark."""
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--clock", choices=list(CLOCKS), default="wall", help="cpu: with one thread only"
    )


def check_clock(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """Refuse a clock that does not measure what was asked for."""
    if options.clock == "cpu" and (
        options.threads > 1 or getattr(options, "device", "cpu") != "cpu"
    ):
        parser.error("--clock cpu counts the time of all threads: use it with --threads 1, no GPU")
