"""Recovery grids of every architecture of our own, against plain hooks.

Run ``python -m benchmarks.mixers`` in a checkout. Models have random weights, and the size at which
formal tasks are studied; the grid patches the input of every block at every position, as in
:mod:`benchmarks.grid`. mecheval runs the whole grid. Plain hooks, one whole forward pass for all
pairs per cell, run some cells spread over layers and positions, and their time is scaled to the
number of cells. *Bound* is how many times more positions of layers hooks run than no exact grid can
leave out: a mixer whose time goes by positions, such as a recurrence, gains no more than that. What
gains more leaves out products besides. The last column is the largest difference between the two on
these cells, relative to the largest readout; the exit code is 1 if one is more than rounding.

Shape suffixes: ``P`` pairs, ``T`` positions, ``D`` residual width, ``L`` layers.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

import mecheval
from benchmarks import machine, measuring
from benchmarks.comparison import sample_cells
from benchmarks.subjects import Pairs, draw_pairs
from mecheval.models.hooks import visiting
from mecheval.models.sites import Site

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from benchmarks.measuring import Stopwatch
    from mecheval.models.contract import SequenceModel

VOCABULARY = 64
TOLERANCE = 1e-4
MIXERS = (
    "attention", "base_conv", "based", "deltanet", "deltaproduct", "gated_deltanet",
    "gated_deltaproduct", "gla", "gru", "h3", "hyena", "lstm", "mamba", "mamba2", "rwkv7",
    "transformer",
)  # fmt: skip


@dataclass(frozen=True)
class Row:
    """One architecture.

    Attributes:
        hooks: Seconds of the grid by plain hooks.
        ours: Seconds by mecheval.
        bound: How many times more positions of layers hooks run than have to be run.
        engine: Which of its engines that was.
        difference: Largest difference of a readout, relative to the largest.
    """

    hooks: float
    ours: float
    bound: float
    engine: str
    difference: float


@dataclass(frozen=True)
class Subject:
    """A model and what it is asked."""

    model: SequenceModel
    pairs: Pairs

    @property
    def n_layers(self) -> int:
        """Return the number of blocks."""
        return self.model.n_layers

    @property
    def n_positions(self) -> int:
        """Return the number of positions."""
        return self.pairs.clean_PT.shape[1]

    def grid(self) -> mecheval.RecoveryGrid:
        """Return the whole grid by mecheval."""
        pairs, last = self.pairs, self.n_positions - 1
        return mecheval.recovery_grid(
            self.model, pairs.clean_PT, pairs.corrupted_PT, pairs.answers_P, pairs.foils_P,
            np.full(len(pairs.answers_P), last),
        )  # fmt: skip

    def streams(self) -> list[Tensor]:
        """Return what every block is given in the clean runs, ``(P, T, D)`` each."""
        sites = [Site(layer, "block_in") for layer in range(self.n_layers)]
        found = mecheval.trace(self.model, self.pairs.clean_PT, sites)
        return [torch.as_tensor(found[site]) for site in sites]

    @torch.inference_mode()
    def patched(self, stream_PTD: Tensor, layer: int, position: int) -> Tensor:
        """Return the readout of every pair with one cell patched by a hook."""

        def replace(value_PTD: Tensor) -> Tensor:
            value_PTD = value_PTD.clone()
            value_PTD[:, position] = stream_PTD[:, position]
            return value_PTD

        with visiting({self.model.taps()[Site(layer, "block_in")]: replace}):
            return self.pairs.read(self.model(self.pairs.corrupted_PT)[:, -1])


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; return the exit code."""
    options = _options(arguments)
    torch.set_num_threads(options.threads)
    machine.print_options(options)
    stopwatch = measuring.Stopwatch(clock=options.clock)
    print("| architecture | hooks (s) | mecheval (s) | ratio | bound | engine | difference |")
    print("|---|---|---|---|---|---|---|", flush=True)
    found = {}
    for name in options.mixers:
        row = found[name] = _row(name, stopwatch, options)
        print(
            f"| {name} | {row.hooks:.1f} | {row.ours:.2f} | {row.hooks / row.ours:.1f} "
            f"| {row.bound:.1f} | {row.engine} | {row.difference:.1e} |",
            flush=True,
        )
    if options.json:
        rows = {name: asdict(row) for name, row in found.items()}
        text = json.dumps({"machine": machine.describe(), "mixers": rows}, indent=2)
        Path(options.json).write_text(f"{text}\n", encoding="utf-8")
    return 0 if all(row.difference <= TOLERANCE for row in found.values()) else 1


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    summary = (__doc__ or "").partition("\n")[0]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.mixers", description=summary)
    parser.add_argument("--mixers", nargs="+", choices=MIXERS, default=MIXERS)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--layers", type=int, default=4, help="2 or more")
    parser.add_argument("--pairs", type=int, default=256)
    parser.add_argument("--length", type=int, default=64, help="tokens per prompt")
    parser.add_argument("--cells", type=int, default=8, help="cells that hooks run")
    parser.add_argument("--repeats", type=int, default=2, help="rounds; means count")
    measuring.add_clock(parser)
    parser.add_argument("--json", help="file for everything that was found")
    options = parser.parse_args(arguments)
    measuring.check_clock(parser, options)
    return options


def _row(name: str, stopwatch: Stopwatch, options: argparse.Namespace) -> Row:
    """Time both in turn, after a round that does not count."""
    model = mecheval.load_model(
        f"{name}[layers={options.layers},width={options.width}]", vocab_size=VOCABULARY
    )
    pairs = draw_pairs(VOCABULARY, options.pairs, options.length)
    subject = Subject(model.eval(), pairs)
    streams, cells = subject.streams(), sample_cells(subject, options.cells)
    grid, hooks, ours = subject.grid(), [], []
    subject.patched(streams[0], *cells[0])
    for _ in range(options.repeats):
        ours.append(stopwatch(subject.grid))
        hooks += [stopwatch(lambda at=at: subject.patched(streams[at[0]], *at)) for at in cells]
    patched_LTP = grid.component("block_in")
    largest = np.abs(patched_LTP).max()
    differences = [
        np.abs(subject.patched(streams[at[0]], *at).numpy() - patched_LTP[at]).max() for at in cells
    ]
    n_cells = subject.n_layers * subject.n_positions
    return Row(
        float(np.mean(hooks)) * n_cells, float(np.mean(ours)), bound(subject),
        grid.execution.engine, float(max(differences) / largest),
    )  # fmt: skip


def bound(subject: Subject) -> float:
    """Return how many times more positions of layers plain hooks run than have to be run.

    Those of a cell are its layer's and all later ones', from the patched position to the last.
    Cells before the token in which prompts differ are the base run's, and of the first layer so are
    all but that token's, which makes the run the donor's.
    """
    n_layers, n_positions = subject.n_layers, subject.n_positions
    layers = sum(n_layers - layer for layer in range(1, n_layers))
    tails = [np.arange(1, n_positions - c + 1).sum() for c in subject.pairs.changed_P.tolist()]
    return n_layers * n_positions * n_layers * n_positions / (layers * float(np.mean(tails)))


if __name__ == "__main__":
    sys.exit(main())
