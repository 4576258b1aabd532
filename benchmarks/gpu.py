"""All that only a GPU can show, as one run of a few minutes.

Run ``python -m benchmarks.gpu -o found`` in a checkout on a machine with CUDA. Each part is a
process of its own, so that one that fails or runs past its share of the time leaves the others
alone; what each printed stands in ``found/PART.txt``, and the table at the end says how each
ended. The exit code is 1 if any failed.

The parts: the tests marked ``gpu`` (fused kernels against their definitions, devices); the recovery
grid of 64 pairs of pythia-160m and mamba-130m shapes with its share of the rate of matrix products;
members of a sweep trained as one; the training of a dictionary of 24,576 latents of width 768.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch

from benchmarks import machine

if TYPE_CHECKING:
    from collections.abc import Sequence


class Part(NamedTuple):
    """One process of the run.

    Attributes:
        name: Of its file.
        seconds: That it may take.
        command: Arguments of the interpreter.
    """

    name: str
    seconds: int
    command: tuple[str, ...]


GRID = ("-m", "benchmarks.grid", "--device", "cuda", "--pairs", "64", "--peers", "hooks")

PARTS = (
    Part("tests", 150, ("-m", "pytest", "-m", "gpu", "-q", "-p", "no:cacheprovider", "tests")),
    Part("pythia-160m", 100, (*GRID, "--model", "pythia-160m")),
    Part("mamba-130m", 150, (*GRID, "--model", "mamba-130m")),
    Part(
        "ensembles", 90,
        ("-m", "benchmarks.train", "--ensembles", "--device", "cuda", "--layers", "2"),
    ),
    Part(
        "dictionary", 60,
        ("-m", "benchmarks.dictionaries", "--device", "cuda", "--width", "768",
         "--latents", "24576", "--k", "32", "--batch", "16384"),
    ),
)  # fmt: skip
"""Sized to nine minutes together where all take what they may."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the parts; return the exit code."""
    summary = (__doc__ or "").partition("\n")[0]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=summary)
    parser.add_argument("-o", "--output", type=Path, default=Path("found"), help="a folder")
    parser.add_argument("--parts", default=",".join(part.name for part in PARTS))
    options = parser.parse_args(arguments)
    unknown = set(options.parts.split(",")) - {part.name for part in PARTS}
    if unknown:
        parser.error(f"there is no part '{min(unknown)}'")
    if not torch.cuda.is_available():
        parser.error("torch finds no GPU here (torch.cuda.is_available() is false)")
    machine.print_options(options, "cuda")
    options.output.mkdir(parents=True, exist_ok=True)
    chosen = [part for part in PARTS if part.name in options.parts.split(",")]
    rows = [(part, *run(part, options.output)) for part in chosen]
    print("| part | ended | s |\n|---|---|---|")
    for part, outcome, seconds in rows:
        print(f"| {part.name} | {outcome} | {seconds:.0f} |")
    return int(any(outcome != "well" for _, outcome, _ in rows))


def run(part: Part, folder: Path) -> tuple[str, float]:
    """Run one part; return how it ended, and after how many seconds."""
    start = time.perf_counter()
    with (folder / f"{part.name}.txt").open("w", encoding="utf-8") as file:
        try:
            ended = subprocess.run(
                [sys.executable, *part.command],
                stdout=file, stderr=subprocess.STDOUT, timeout=part.seconds, check=False,
            )  # fmt: skip
            outcome = "well" if ended.returncode == 0 else f"exit code {ended.returncode}"
        except subprocess.TimeoutExpired:
            outcome = f"stopped after {part.seconds} s"
    print(f"## {part.name}\n\n{Path(file.name).read_text(encoding='utf-8')}", flush=True)
    return outcome, time.perf_counter() - start


if __name__ == "__main__":
    sys.exit(main())
