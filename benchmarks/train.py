"""Training steps per second of every architecture of our own, and milliseconds of their scans.

Run ``python -m benchmarks.train`` in a checkout. Times are the CPU time of one process with one
thread, so that other processes disturb them little; the median of the repeats is printed.
"""

from __future__ import annotations

import argparse
import statistics
import time
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.machine import print_options
from mecheval.models.kernels.dual import dual_scan
from mecheval.models.kernels.library import library
from mecheval.models.kernels.scan import Scan
from mecheval.models.kernels.selective import selective_scan
from mecheval.models.stack.architecture import configure_model
from mecheval.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Callable

NAMES = ("transformer", "mamba", "mamba2", "lstm", "gru")
SHAPES = ((32, 64, 32), (32, 256, 16), (128, 64, 16), (128, 256, 8), (512, 64, 8))
"""Positions, width of the stream and examples, as in published tables of scan kernels."""

STATES, HEADS, SYMBOLS = 16, 4, 8


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", default=",".join(NAMES))
    parser.add_argument("--layers", default="2,4", help="numbers of layers to time")
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--positions", type=int, default=17)
    parser.add_argument("--repeats", type=int, default=30)
    options = parser.parse_args()
    torch.set_num_threads(1)
    print_options(options)
    print(f"C kernels: {library().origin}\n")
    print(f"One training step, width {options.width}, {options.batch} x {options.positions} tokens")
    print(
        "| model | layers | parameters | ms/step | steps/s | kernels |\n|---|---|---|---|---|---|"
    )
    for name in options.models.split(","):
        for layers in map(int, options.layers.split(",")):
            print(_step_row(name, layers, options))
    print("\nForward and backward of one scan, ms (C or torch)")
    print("| positions, width, examples | Mamba c | Mamba torch | Mamba-2 c | Mamba-2 torch |")
    print("|---|---|---|---|---|")
    for shape in SHAPES:
        print(_scan_row(shape, options.repeats))


def _step_row(name: str, layers: int, options: argparse.Namespace) -> str:
    cls = Registry().load("model", name)
    source = configure_model(cls, {"layers": layers, "width": options.width})
    model = source.build(source.vocabulary(SYMBOLS), seed=0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
    tokens_BT = torch.randint(SYMBOLS, (options.batch, options.positions))

    def step() -> None:
        loss = functional.cross_entropy(model(tokens_BT).flatten(0, 1), tokens_BT.flatten())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()

    milliseconds = _time(step, options.repeats)
    size = sum(parameter.numel() for parameter in model.parameters())
    return (
        f"| {name} | {layers} | {size} | {milliseconds:.2f} | {1000 / milliseconds:.0f} | "
        f"{', '.join(model.kernels)} |"
    )


def _scan_row(shape: tuple[int, int, int], repeats: int) -> str:
    positions, width, examples = shape
    cells = []
    for scan_by, heads in ((selective_scan, None), (dual_scan, HEADS)):
        scan = _random_scan(examples, positions, 2 * width, heads)
        for implementation in ("c", "torch"):
            if implementation == "c" and library().functions is None:
                cells.append("-")
                continue

            def both(
                scan_by: Callable = scan_by, scan: Scan = scan, way: str = implementation
            ) -> None:
                scan_by(scan, signed=False, implementation=way)[0].sum().backward()

            cells.append(f"{_time(both, max(3, repeats // 3)):.1f}")
    return f"| {positions}, {width}, {examples} | {' | '.join(cells)} |"


def _random_scan(examples: int, positions: int, channels: int, heads: int | None) -> Scan:
    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, requires_grad=True)

    groups = heads or channels
    A = -torch.rand(groups if heads else (channels, STATES))
    return Scan(
        normal(examples, positions, channels), normal(examples, positions, groups),
        normal(examples, positions, channels), normal(examples, positions, STATES),
        normal(examples, positions, STATES), A.requires_grad_(), normal(groups), normal(groups),
    )  # fmt: skip


def _time(run: Callable[[], None], repeats: int) -> float:
    for _ in range(3):
        run()
    times = []
    for _ in range(repeats):
        start = time.process_time()
        run()
        times.append(time.process_time() - start)
    return 1000 * statistics.median(times)


if __name__ == "__main__":
    main()
