"""Tokens per second of recording what a model holds, all sites of a kind in one pass.

Run ``python -m benchmarks.recording`` in a checkout. Models have weights as drawn, which take as
long as trained ones. *forward* is the pass alone, without logits; *stream* keeps the residual
stream behind every block at all positions but the first, in float32, as metrics do; *write* and
*state* what every layer writes into its memory and holds there, of which as many numbers of a row
are kept as the stream has.

Shape suffixes: ``B`` sequences, ``T`` positions.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

import mecheval
from benchmarks import machine, measuring
from mecheval.interventions.activations import activations
from mecheval.metrics.pairs.places import Places
from mecheval.metrics.pairs.recording import record, row_widths
from mecheval.models.sites import stream_sites

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mecheval.metrics.pairs.places import Component
    from mecheval.models.contract import SequenceModel

VOCABULARY = 512
WHATS = ("forward", "stream", "write", "state")


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; return the exit code."""
    summary = (__doc__ or "").partition("\n")[0]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.recording", description=summary)
    parser.add_argument("--models", default="transformer,mamba,lstm", help="names, with commas")
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--length", type=int, default=128, help="positions of a sequence")
    parser.add_argument("--sequences", type=int, default=128)
    parser.add_argument("--batch", type=int, default=64, help="sequences per pass")
    parser.add_argument("--what", default=",".join(WHATS[:2]), help=f"of {', '.join(WHATS)}")
    measuring.add_clock(parser)
    parser.add_argument("--repeats", type=int, default=3, help="rounds; least times count")
    parser.add_argument("--json", help="file for everything that was found")
    options = parser.parse_args(arguments)
    measuring.check_clock(parser, options)
    torch.set_num_threads(options.threads)
    machine.print_options(options)
    found = timed(options)
    print("\n".join(report(found, options.what.split(","))))
    if options.json:
        whole = {"options": vars(options), "machine": machine.describe(), "rows": found}
        Path(options.json).write_text(f"{json.dumps(whole, indent=2)}\n", encoding="utf-8")
    return 0


def timed(options: argparse.Namespace) -> dict[str, dict[str, float | None]]:
    """Time all models in turn, some rounds over; return most tokens per second."""
    shape = options.sequences, options.length
    symbols_BT = np.random.default_rng(0).integers(VOCABULARY, size=shape)
    row_N = np.repeat(np.arange(options.sequences), options.length - 1)
    position_N = np.tile(np.arange(1, options.length), options.sequences)
    places = Places(symbols_BT, row_N, position_N)
    calls = {}
    for name in options.models.split(","):
        spec = f"{name}[layers={options.layers},width={options.width}]"
        model = mecheval.load_model(spec, vocab_size=VOCABULARY).eval()
        for what in options.what.split(","):
            calls[name, what] = _call(model, what, places, options)
    stopwatch = measuring.Stopwatch(clock=options.clock)
    least = dict.fromkeys(calls, float("inf"))
    for _ in range(options.repeats):
        for key, call in calls.items():
            if call is not None:
                least[key] = min(least[key], stopwatch(call))
    speeds = {key: symbols_BT.size / least[key] if calls[key] else None for key in calls}
    names = dict.fromkeys(name for name, _ in calls)
    return {name: {what: speeds[of, what] for of, what in calls if of == name} for name in names}


def report(found: dict[str, dict[str, float | None]], whats: Sequence[str]) -> list[str]:
    """Return the table, line by line; a dash where a layer has no such memory."""
    rows = [
        " | ".join([name, *("-" if row[w] is None else f"{row[w]:,.0f}" for w in whats)])
        for name, row in found.items()
    ]
    head = " | ".join(["tokens / s", *whats])
    return [f"| {head} |", f"|{'---|' * (1 + len(whats))}", *(f"| {row} |" for row in rows), ""]


def _call(
    model: SequenceModel, what: str, places: Places, options: argparse.Namespace
) -> Callable[[], object] | None:
    """Return what is timed; None where the model has no such site."""
    layers = range(1, options.layers + 1)
    if what == "forward":
        tokens_BT, last = torch.as_tensor(places.symbols_BT), stream_sites(options.layers)[-1]
        return lambda: activations(model, tokens_BT, [last], batch_size=options.batch)
    component: Component = {"stream": "block_out", "write": "write"}.get(what, "state")  # type: ignore[assignment]
    if not isinstance(row_widths(model, layers, component), list):
        return None
    code_C, n_numbers = np.arange(VOCABULARY), options.width
    return lambda: record(
        model, code_C, places, layers, batch_size=options.batch, component=component,
        n_numbers=n_numbers,
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
