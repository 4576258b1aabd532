"""One grid by mecheval and by its peers, interleaved, so that noise hits all of them alike.

Shape suffixes: ``L`` layers, ``T`` positions, ``P`` pairs.
"""

from __future__ import annotations

import importlib
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from benchmarks import measuring
from benchmarks.measuring import Stopwatch
from benchmarks.peers import PEERS
from benchmarks.peers.mecheval import VERSION, Engine

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.measuring import Rate
    from benchmarks.peers.contract import Idiom, Job

TOLERANCE = 1e-3
"""Largest difference of two grids that agree, in units of the largest effect of a patch."""

Cell = tuple[int, int]


def all_cells(job: Job) -> list[Cell]:
    """Return every (layer, position)."""
    return [(layer, p) for layer in range(job.n_layers) for p in range(job.n_positions)]


def sample_cells(job: Job, n_cells: int) -> list[Cell]:
    """Return cells that stand for the grid: a mean over them is a mean over all cells.

    Layers are the middles of equal strata, mirrored around the middle layer, so that the mean is
    exact for costs that are linear in the layer, as that of running only the blocks above it is.
    Positions are the middles of equal strata too, shuffled against the layers; no peer's cost
    depends on them.

    Args:
        job: The grid.
        n_cells: How many, rounded up to an even number.
    """
    n_below = max(1, (n_cells + 1) // 2)
    n_cells = 2 * n_below
    below = [int((i + 0.5) * job.n_layers / n_cells) for i in range(n_below)]
    layers = below + [job.n_layers - 1 - layer for layer in below]
    positions = [int((i + 0.5) * job.n_positions / n_cells) for i in range(n_cells)]
    shuffled = np.random.default_rng(0).permutation(positions).tolist()
    return list(dict.fromkeys(zip(layers, shuffled, strict=True)))


@dataclass
class Timing:
    """What is known of one idiom while the rounds go on.

    Attributes:
        idiom: The idiom.
        prepare: Times of its preparation.
        cells: Times of every sampled cell.
        values: Patched readouts of every cell that was run, ``(P,)`` each.
        failure: Why it was given up, in one line.
    """

    idiom: Idiom
    prepare: list[float] = field(default_factory=list)
    cells: dict[Cell, list[float]] = field(default_factory=dict)
    values: dict[Cell, np.ndarray] = field(default_factory=dict)
    failure: str | None = None

    def round(self, cells: Sequence[Cell], stopwatch: Stopwatch) -> None:
        """Time the preparation and every cell once."""
        try:
            self.prepare.append(stopwatch(self.idiom.prepare))
            for cell in cells:
                elapsed = stopwatch(lambda cell=cell: self._patch(cell))
                self.cells.setdefault(cell, []).append(elapsed)
        except Exception as error:  # a library that fails is a row of the table
            self.failure = one_line(error)

    def _patch(self, cell: Cell) -> None:
        self.values[cell] = self.idiom.patch(*cell).double().cpu().numpy()


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        peer: Name of the library.
        version: Its version, empty where it could not be loaded.
        idiom: How the grid was run.
        tuned: Whether the idiom goes beyond the peer's tutorials.
        seconds: Time of a whole grid; None where it failed.
        difference: Largest difference of a readout to mecheval's.
        note: Why it failed.
    """

    peer: str
    version: str
    idiom: str
    tuned: bool = False
    seconds: float | None = None
    difference: float | None = None
    note: str = ""


@dataclass(frozen=True)
class Comparison:
    """What the rounds gave.

    Attributes:
        rows: mecheval first, then the peers.
        largest_effect: Largest change of a readout by a patch, over the whole grid.
        largest_compared: The same over the cells on which grids are compared.
        peak: The machine's rate of matrix products, measured in every round.
        n_cells: Number of (layer, position) cells of the grid.
        n_sampled: Number of those that the peers ran.
        setup: Time of wrapping the model and of its first cells, on which the engine is checked.
    """

    rows: list[Row]
    largest_effect: float
    largest_compared: float
    peak: Rate
    n_cells: int
    n_sampled: int
    setup: float

    @property
    def disagreeing(self) -> list[Row]:
        """Return the peers whose grid is not mecheval's."""
        limit = TOLERANCE * self.largest_effect
        return [row for row in self.rows if not (row.difference or 0.0) <= limit]


def compare(
    job: Job,
    peers: Sequence[str],
    cells: Sequence[Cell],
    *,
    repeats: int,
    clock: str = "wall",
) -> Comparison:
    """Run the grid by everyone.

    Every round runs the whole grid by mecheval, then the cells by each idiom, then measures the
    rate of matrix products. Means over the rounds count: where other work shares the machine, the
    least of many short times is lower than the least of a few long ones. Before, everyone warms up
    on a cell at which a patch has a large effect: the first pair's changed token, half way up. It
    is compared with the others.

    Args:
        job: The grid.
        peers: Names of :data:`benchmarks.peers.PEERS`.
        cells: The cells that peers run.
        repeats: Number of rounds.
        clock: See :class:`benchmarks.measuring.Stopwatch`.
    """
    stopwatch = Stopwatch(job.device, clock)
    made: list[Engine] = []
    setup = stopwatch(lambda: made.append(Engine(job)))
    timings, absent = _load(job, peers)
    check = (job.n_layers // 2, int(job.pairs.changed_P[0]))
    for timing in timings:
        timing.round([check], stopwatch)
        timing.cells.clear()
        timing.prepare.clear()
    elapsed, rates, grids = [], [], []
    for number in range(repeats):
        print(f"  round {number + 1} of {repeats}", file=sys.stderr, flush=True)
        elapsed.append(stopwatch(lambda: grids.append(made[0].run())))
        for timing in timings:
            if timing.failure is None:
                timing.round(cells, stopwatch)
        rates.append(measuring.matmul_rates(stopwatch))
    patched_LTP, corrupted_P = grids[-1]
    n_cells = job.n_layers * job.n_positions
    compared = [patched_LTP[cell] - corrupted_P for cell in {check, *cells}]
    ours = Row(
        "mecheval", VERSION, "`recovery_grid`", seconds=float(np.mean(elapsed)), difference=0.0
    )
    rows = [_row(timing, patched_LTP, n_cells / len(cells)) for timing in timings]
    return Comparison(
        [ours, *rows, *absent],
        float(np.abs(patched_LTP - corrupted_P).max()),
        float(np.abs(compared).max()),
        measuring.mean_rate(rates),
        n_cells,
        len(cells),
        setup,
    )


def _load(job: Job, peers: Sequence[str]) -> tuple[list[Timing], list[Row]]:
    timings: list[Timing] = []
    absent = []
    for name in peers:
        print(f"  loading {name}", file=sys.stderr, flush=True)
        try:
            idioms = importlib.import_module(PEERS[name]).idioms(job)
        except Exception as error:  # not installed, or not with this model
            absent.append(Row(name, "", "", note=one_line(error)))
        else:
            timings += [Timing(idiom) for idiom in idioms]
    return timings, absent


def _row(timing: Timing, patched_LTP: np.ndarray, scale: float) -> Row:
    idiom = timing.idiom
    named = (idiom.peer, idiom.version, idiom.name, idiom.tuned)
    if timing.failure is not None:
        return Row(*named, note=timing.failure)
    differences = [np.abs(found - patched_LTP[cell]) for cell, found in timing.values.items()]
    elapsed = float(np.mean(timing.prepare) + scale * sum(map(np.mean, timing.cells.values())))
    return Row(*named, elapsed, float(np.max(differences)))


def one_line(error: BaseException) -> str:
    """Return an error as one short line."""
    text = " ".join(f"{type(error).__name__}: {error}".split())
    return text if len(text) <= 160 else f"{text[:157]}..."
