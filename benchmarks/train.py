"""Training steps per second of every architecture of our own, and milliseconds of their scans.

Run ``python -m benchmarks.train`` in a checkout. Times are the CPU time of one process with one
thread, so that other processes disturb them little; the median of the repeats is printed. With
``--ensembles`` it prints instead how many steps of a member are taken per second when members of a
sweep are trained as one; on CUDA, by wall clock.
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
from benchmarks.measuring import Stopwatch
from mecheval.harness.building import build_task
from mecheval.models.kernels.c.compile import library
from mecheval.models.kernels.scan import Scan
from mecheval.models.kernels.selective import selective_scan
from mecheval.models.kernels.ssd import dual_scan
from mecheval.models.load import resolve
from mecheval.recipe import Recipe
from mecheval.registry import Registry
from mecheval.spec import parse_spec
from mecheval.training.ensemble import Ensemble
from mecheval.training.loop import Trainer

if TYPE_CHECKING:
    from collections.abc import Callable

NAMES = ("transformer", "mamba", "mamba2", "lstm", "gru")
SHAPES = ((32, 64, 32), (32, 256, 16), (128, 64, 16), (128, 256, 8), (512, 64, 8))
"""Positions, width of the stream and examples, as in published tables of scan kernels."""

STATES, HEADS, SYMBOLS = 16, 4, 8

MEMBERS = (2, 4, 8)
ENSEMBLE_TASK = "ar[keys=32,values=32,pairs=8]"


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", default=",".join(NAMES))
    parser.add_argument("--layers", default="2,4", help="numbers of layers to time")
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--positions", type=int, default=17)
    parser.add_argument("--repeats", type=int, default=30)
    parser.add_argument("--ensembles", action="store_true", help="time members trained as one")
    parser.add_argument("--device", default="cpu", help="cpu or cuda, for --ensembles")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print_options(options)
    if options.ensembles:
        print_ensembles(options)
        return
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


def print_ensembles(options: argparse.Namespace) -> None:
    """Print a row per model: steps of a member per second for every number of members.

    What they are held against is one training by itself; every step with its batch, its passes and
    its optimizer. The best of the repeats counts.
    """
    print(
        f"Member-steps per second on {options.device}, width {options.width}, {options.batch} "
        f"examples of {ENSEMBLE_TASK}"
    )
    print(f"| model | separate | {' | '.join(f'E={n}' for n in MEMBERS)} | best gain |")
    print("|---" * (len(MEMBERS) + 3) + "|")
    for name in options.models.split(","):
        rates = _member_rates(name, options)
        gain = max(rates) / rates[0]
        print(f"| {name} | {' | '.join(f'{rate:.0f}' for rate in rates)} | {gain:.1f}x |")


def _member_rates(name: str, options: argparse.Namespace) -> list[float]:
    """Return the steps of a member per second of one training, and of ever larger ensembles."""
    clock = "cpu" if options.device == "cpu" else "wall"
    stopwatch = Stopwatch(options.device, clock)
    sizes = (1, *MEMBERS)
    ensembles = [_ensemble(name, n, options).steps([None] * n) for n in sizes]
    for steps in ensembles * 3:
        next(steps)
    # In turn, so that what else the machine does meets all of them.
    rounds = [[stopwatch(steps.__next__) for steps in ensembles] for _ in range(options.repeats)]
    return [n / min(times) for n, times in zip(sizes, zip(*rounds, strict=True), strict=True)]


def _ensemble(name: str, n_members: int, options: argparse.Namespace) -> Ensemble:
    layers = int(options.layers.split(",")[0])
    spec = parse_spec(f"{name}[layers={layers},width={options.width}]")
    source, task = resolve(spec, Registry()), build_task(parse_spec(ENSEMBLE_TASK), Registry())
    encoding, endless = source.encode(task), 10**9
    recipe = Recipe(batch=options.batch, steps=endless, check_every=endless)
    return Ensemble([
        Trainer(
            source.build(encoding, seed=0), task, encoding, recipe.replace({"lr": 1e-4 * (1 + i)}),
            seed=0, device=options.device, emit=lambda *_: None,
        )
        for i in range(n_members)
    ])  # fmt: skip


def _step_row(name: str, layers: int, options: argparse.Namespace) -> str:
    cls = Registry().load("model", name)
    source = cls.configure({"layers": layers, "width": options.width})
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
                scan_by(scan, implementation=way)[0].sum().backward()

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
