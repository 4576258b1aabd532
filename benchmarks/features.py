"""Best partners of the features of two dictionaries, both ways, held out, and beyond the token.

Run ``python -m benchmarks.features`` in a checkout. Codes are drawn: of each row ``k`` latents of
each side fire, at random, so that nothing is alike and the products are as dense as they can be.
Every row of the table is one call of ``mecheval.compare_features``: as it is; with the token of
each row; and with intervals over blocks of documents besides.

*Products* counts the pairs of firings in one row, ``n k^2``, which must be added up once.
"""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from scipy import sparse
from threadpoolctl import threadpool_limits

import mecheval
from benchmarks import machine, measuring

if TYPE_CHECKING:
    from collections.abc import Sequence

N_TOKENS, PER_DOCUMENT = 512, 100


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; return the exit code."""
    summary = (__doc__ or "").partition("\n")[0]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.features", description=summary)
    parser.add_argument("--rows", type=int, default=250_000)
    parser.add_argument("--latents", type=int, default=1024)
    parser.add_argument("-k", type=int, default=16, help="latents that fire in a row")
    measuring.add_clock(parser)
    parser.add_argument("--repeats", type=int, default=3, help="rounds; least times count")
    options = parser.parse_args(arguments)
    measuring.check_clock(parser, options)
    torch.set_num_threads(options.threads)
    machine.print_options(options)
    with threadpool_limits(options.threads):
        found = timed(options)
    print("\n".join(report(found, options)))
    return 0


def codes(n_rows: int, n_latents: int, k: int, seed: int) -> sparse.csr_array:
    """Draw codes: k latents of a row, some perhaps twice, which add up."""
    rng = np.random.default_rng(seed)
    latents_NK = np.sort(rng.integers(n_latents, size=(n_rows, k)), axis=1)
    ends_N = np.arange(0, n_rows * k + 1, k)
    values = rng.exponential(size=n_rows * k).astype(np.float32)
    drawn = sparse.csr_array((values, latents_NK.ravel(), ends_N), shape=(n_rows, n_latents))
    drawn.sum_duplicates()
    return drawn


def timed(options: argparse.Namespace) -> dict[str, float]:
    """Time every call in turn, some rounds over; return least seconds."""
    a, b = (codes(options.rows, options.latents, options.k, seed) for seed in (0, 1))
    token_N = np.random.default_rng(2).integers(N_TOKENS, size=options.rows)
    document_N = np.arange(options.rows) // PER_DOCUMENT
    stopwatch = measuring.Stopwatch(clock=options.clock)
    calls: dict[str, dict[str, Any]] = {
        "both ways, held out": {"n_blocks": 2},
        "and beyond the token": {"groups_N": token_N, "n_blocks": 2},
        "and with intervals": {"groups_N": token_N},
    }
    return {
        name: min(
            stopwatch(
                lambda given=given: mecheval.compare_features(a, b, documents_N=document_N, **given)
            )
            for _ in range(options.repeats)
        )
        for name, given in calls.items()
    }


def report(found: dict[str, float], options: argparse.Namespace) -> list[str]:
    """Return the table, line by line."""
    products = options.rows * options.k**2 / 1e6
    return [
        f"| {options.rows} rows, {products:.0f} M products | s |",
        "|---|---|",
        *(f"| {name} | {seconds:.2f} |" for name, seconds in found.items()),
        "",
    ]


if __name__ == "__main__":
    sys.exit(main())
