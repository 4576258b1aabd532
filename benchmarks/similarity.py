"""Six scores of likeness of two sets of activations, with their nulls.

Run ``python -m benchmarks.similarity`` in a checkout. Both sides are drawn: 64 hidden numbers of
each row in common, a vector for every token of each side's own, and noise. Every row of the table
is one call of ``mecheval.compare_representations``: the scores as they are; those without the means
of tokens as well; and all of these with intervals over documents.

*GFLOP* counts matrix products and decompositions, not the sorting of neighbours and ranks:
``2 n D^2`` for every permutation, about ``26 D^3`` for the eigenvectors of either side, and twice
``4 D^3`` for singular values.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from threadpoolctl import threadpool_limits

import mecheval
from benchmarks import machine, measuring
from mecheval.likeness.representations import dissimilarity, neighbours

if TYPE_CHECKING:
    from collections.abc import Sequence

N_TOKENS, N_DOCUMENTS, N_HIDDEN = 512, 64, 64


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; return the exit code."""
    summary = (__doc__ or "").partition("\n")[0]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.similarity", description=summary)
    parser.add_argument("--rows", type=int, default=4000)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--permutations", type=int, default=20)
    measuring.add_clock(parser)
    parser.add_argument("--repeats", type=int, default=3, help="rounds; least times count")
    parser.add_argument("--json", help="file for everything that was found")
    options = parser.parse_args(arguments)
    measuring.check_clock(parser, options)
    torch.set_num_threads(options.threads)
    machine.print_options(options)
    with threadpool_limits(options.threads):
        found = timed(options)
    print("\n".join(report(found)))
    if options.json:
        whole = {"options": vars(options), "machine": machine.describe(), "rows": found}
        Path(options.json).write_text(f"{json.dumps(whole, indent=2)}\n", encoding="utf-8")
    return 0


def draw(n_rows: int, width: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Draw the two sides in float32, with the token and the document of each row."""
    rng = np.random.default_rng(seed)
    token_N = rng.integers(N_TOKENS, size=n_rows)
    hidden_NF = rng.standard_normal((n_rows, N_HIDDEN))
    sides = [
        hidden_NF @ rng.standard_normal((N_HIDDEN, width)) / 8
        + rng.standard_normal((N_TOKENS, width))[token_N]
        + rng.standard_normal((n_rows, width)) / 2
        for _ in range(2)
    ]
    return {
        "x": sides[0].astype(np.float32),
        "y": sides[1].astype(np.float32),
        "tokens": token_N,
        "documents": np.arange(n_rows) * N_DOCUMENTS // n_rows,
    }


def timed(options: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Time every call in turn, some rounds over; return least seconds and counted GFLOP."""
    drawn = draw(options.rows, options.width)
    stopwatch = measuring.Stopwatch(clock=options.clock)
    token_N, document_N = drawn["tokens"], drawn["documents"]
    calls: dict[str, tuple[int, dict[str, Any]]] = {
        "as they are": (1, {}),
        "and without means of tokens": (2, {"groups_N": token_N}),
        "and with intervals": (2, {"groups_N": token_N, "documents_N": document_N}),
    }
    found = {}
    for name, (n_times, given) in calls.items():

        def compare(given: dict[str, Any] = given) -> object:
            return mecheval.compare_representations(
                drawn["x"], drawn["y"], n_permutations=options.permutations, **given
            )

        seconds = min(stopwatch(compare) for _ in range(options.repeats))
        n_scored = 1 + options.permutations
        operations = n_times * gigaflop(options.rows, options.width, n_scored)
        if "documents_N" in given:  # each product once more for all documents, and what follows
            operations += (
                2 * (8 * options.rows + 60 * N_DOCUMENTS * options.width) * (options.width**2 / 1e9)
            )
        found[name] = {"seconds": seconds, "gigaflop": operations}
    return found


def gigaflop(n_rows: int, width: int, n_scored: int) -> float:
    """Count operations of one set of six scores, of rows as they stand and of permuted ones."""
    products = 2 * n_rows * width**2 * (2 + n_scored)
    decompositions = (2 * 26 + 2 * 4 * n_scored) * width**3
    drawn = (min(n_rows, dissimilarity.N_ROWS), min(n_rows, neighbours.N_ROWS))
    return (products + decompositions + sum(4 * n * n * width for n in drawn)) / 1e9


def report(found: dict[str, dict[str, float]]) -> list[str]:
    """Return the table, line by line."""
    return [
        "| six scores with their nulls | s | GFLOP |",
        "|---|---|---|",
        *(
            f"| {name} | {row['seconds']:.2f} | {row['gigaflop']:.1f} |"
            for name, row in found.items()
        ),
        "",
    ]


if __name__ == "__main__":
    sys.exit(main())
