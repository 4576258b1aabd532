"""What measuring a cell takes beside training it, metric by metric.

Run ``python -m benchmarks.cells`` in a checkout. Every cell is trained from scratch by the usual
recipe and then measured, in a cache of its own; seconds are CPU time of one thread, so that other
processes disturb them less than wall time. *Per layer* is what ``exchange`` takes by layer.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from unittest import mock

import torch

import mecheval
from benchmarks import machine
from mecheval.harness import cell

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mecheval.reports.schema import Report

MODELS = ("transformer[width=64]", "mamba2[width=64]", "lstm[width=64]")
TASKS = ("parity", "dyck")
METRICS = (
    "recovery",
    "readability",
    "exchange",
    "bottleneck[erasers=[class_mean,row_space,direction,inlp]]",
    "bottleneck[eraser=direction,length=4]",
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; return the exit code."""
    summary = (__doc__ or "").partition("\n")[0]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cells", description=summary)
    parser.add_argument("--models", nargs="+", default=MODELS)
    parser.add_argument("--tasks", nargs="+", default=TASKS)
    parser.add_argument("--metrics", nargs="+", default=METRICS)
    parser.add_argument("--steps", type=int, help="of training; of the recipe if not given")
    parser.add_argument("--limit", type=int, help="examples per metric")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    machine.print_options(options)
    stages = ["train", "behaviour", *options.metrics]
    print(f"| cell | learned | {' | '.join(stages)} | measured / trained | exchange per layer |")
    print("|---" * (len(stages) + 4) + "|")
    for model in options.models:
        for task in options.tasks:
            print(row(f"{model}, {task}", stages, *measured(model, task, options)), flush=True)
    return 0


def measured(model: str, task: str, options: argparse.Namespace) -> tuple[Report, dict[str, float]]:
    """Return the report of a cell, and the seconds of its stages."""
    seconds: dict[str, float] = {}

    @contextmanager
    def timed(self: object, name: str) -> Iterator[None]:
        before = time.process_time()
        yield
        seconds[name] = seconds.get(name, 0.0) + time.process_time() - before

    # A gate of 0 where training is cut short, so that there is something to measure.
    recipe = {} if options.steps is None else {"steps": options.steps, "gate": 0.0}
    with tempfile.TemporaryDirectory() as cache, mock.patch.object(cell._Stages, "__call__", timed):
        (report,) = mecheval.evaluate(
            models=[model], tasks=[task], seeds=[0], metrics=list(options.metrics),
            recipe=recipe, limit=options.limit, cache=Path(cache), threads=1,
        )  # fmt: skip
    return report, seconds


def row(name: str, stages: Sequence[str], report: Report, seconds: dict[str, float]) -> str:
    """Return the row of a cell."""
    of_measuring = sum(seconds[stage] for stage in stages[1:])
    layers = [len(r.profile.series["free"]) for r in report.metrics
              if r.name == "exchange" and r.profile]  # fmt: skip
    of_layer = f"{seconds['exchange'] / layers[0]:.2f}" if layers else "-"
    times = " | ".join(f"{seconds[stage]:.2f}" for stage in stages)
    ratio = of_measuring / seconds["train"]
    return f"| {name} | {report.learned} | {times} | {ratio:.2f} | {of_layer} |"


if __name__ == "__main__":
    sys.exit(main())
