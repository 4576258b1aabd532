"""Small grids by the engine that is chosen for them, against plain hooks.

Run ``python -m benchmarks.small_grids`` in a checkout. A faster engine has to be checked, and a
model taken apart, before the first cell is computed; a grid of few cells is over before that by
plain hooks. The table shows that the choice never costs more than it saves: the time of plain hooks
over the time of ``engine="auto"``, each on a model that was just built (*first*) and once more on
the same one (*again*). Both look first whether the model is causal. Models have random weights.

Every request is timed several times, on a model of its own each, both ways in turn; least times
count. Ratios below 1 come from the noise of the machine where ``auto`` takes plain hooks itself.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from transformers import AutoConfig

import mecheval
from benchmarks import machine, measuring
from benchmarks.subjects import draw_pairs
from mecheval.models.hub.loading import draw_weights
from mecheval.models.wrapped.model import WrappedModel

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from benchmarks.measuring import Stopwatch
    from mecheval.models.contract import SequenceModel

VOCABULARY = 997
OURS = ("deltanet", "lstm", "mamba", "transformer")
EARLY = 5
"""Position of the token in which prompts differ."""


@dataclass(frozen=True)
class Request:
    """A grid that somebody asks for.

    Attributes:
        n_pairs: Number of pairs.
        late: Whether they differ next to the last token.
        how: Arguments of ``recovery_grid``.
    """

    n_pairs: int
    late: bool = False
    how: dict[str, Any] = field(default_factory=dict)


REQUESTS = {
    "a cell": Request(1, how={"layers": [1], "positions": [EARLY]}),
    "a cell of mixer_out": Request(1, how={"layers": [1], "components": ["mixer_out"]}),
    "a cell at the end": Request(4, how={"layers": [1], "positions": [-1]}),
    "4 pairs": Request(4),
    "16 pairs": Request(16),
    "16 pairs, one layer": Request(16, how={"layers": [1], "components": ["mixer_out"]}),
    "16 pairs, late change": Request(16, late=True),
    "64 pairs": Request(64),
}


def of_transformers(kind: str, **sizes: Any) -> SequenceModel:
    """Return a model of transformers with random weights."""
    config = AutoConfig.for_model(kind, vocab_size=VOCABULARY, **sizes)
    return WrappedModel(draw_weights(config, seed=0)).eval()


def of_ours(name: str) -> SequenceModel:
    """Return a registered architecture with random weights."""
    return mecheval.load_model(name, vocab_size=VOCABULARY).eval()


def models(width: int, layers: int) -> dict[str, Callable[[], SequenceModel]]:
    """Return how to build a model of each kind."""
    heads = max(1, width // 32)
    llama = {"intermediate_size": 2 * width, "num_key_value_heads": max(1, heads // 2)}
    mamba2 = {"state_size": 16, "head_dim": 32, "num_heads": 2 * heads, "n_groups": 1}
    common = {"hidden_size": width, "num_hidden_layers": layers}
    ours = f"[layers={layers},width={width}]"
    return {
        "gpt2": partial(of_transformers, "gpt2", n_embd=width, n_layer=layers, n_head=heads),
        "llama": partial(of_transformers, "llama", num_attention_heads=heads, **llama, **common),
        "mamba": partial(of_transformers, "mamba", state_size=16, **common),
        "mamba2": partial(of_transformers, "mamba2", **mamba2, **common),
        **{f"our {name}": partial(of_ours, name + ours) for name in OURS},
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the tables; return the exit code."""
    summary = (__doc__ or "").partition("\n")[0]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.small_grids", description=summary)
    parser.add_argument("--widths", type=int, nargs="+", default=[64, 256])
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--length", type=int, default=32, help="tokens per prompt")
    parser.add_argument("--models", nargs="+", choices=list(models(64, 1)))
    measuring.add_clock(parser)
    parser.add_argument("--repeats", type=int, default=3, help="rounds; least times count")
    parser.add_argument("--json", help="file for everything that was found")
    options = parser.parse_args(arguments)
    measuring.check_clock(parser, options)
    torch.set_num_threads(options.threads)
    machine.print_options(options)
    stopwatch = measuring.Stopwatch(clock=options.clock)
    found = {}
    for width in options.widths:
        for name, build in models(width, options.layers).items():
            if options.models is None or name in options.models:
                title = f"{name}, width {width}"
                rows = [_row(build, request, stopwatch, options) for request in REQUESTS.values()]
                found[title] = dict(zip(REQUESTS, rows, strict=True))
                print("\n".join(report(title, found[title])), flush=True)
    if options.json:
        text = json.dumps({"machine": machine.describe(), "models": found}, indent=2)
        Path(options.json).write_text(f"{text}\n", encoding="utf-8")
    return 0


def report(title: str, rows: dict[str, dict[str, Any]]) -> list[str]:
    """Return the table of one model, line by line."""
    return [
        f"## {title}",
        "",
        "| grid | first, hooks (ms) | ratio | again, hooks (ms) | ratio | engine |",
        "|---|---|---|---|---|---|",
        *(_line(name, row) for name, row in rows.items()),
        "",
    ]


def _line(name: str, row: dict[str, Any]) -> str:
    first, again = ((row["hooks"][i], row["auto"][i]) for i in (0, 1))
    cells = (f"{1e3 * hooks:.0f} | {hooks / auto:.2f}" for hooks, auto in (first, again))
    return f"| {name} | {' | '.join(cells)} | {row['engine']} |"


def _row(
    build: Callable[[], SequenceModel],
    request: Request,
    stopwatch: Stopwatch,
    options: argparse.Namespace,
) -> dict[str, Any]:
    """Return the least seconds of a request the first time and the second time, both ways."""
    changed = options.length - 2 if request.late else EARLY
    pairs = draw_pairs(VOCABULARY, request.n_pairs, options.length, changed=changed)
    ends = (pairs.answers_P, pairs.foils_P, np.full(request.n_pairs, options.length - 1))
    how = {**request.how}
    if "positions" in how:
        how["positions"] = [position % options.length for position in how["positions"]]
    found: dict[str, Any] = {"hooks": [], "auto": []}
    for _ in range(options.repeats):
        for engine in ("hooks", "auto"):
            model = build()
            with torch.inference_mode():
                model(pairs.clean_PT[:1])  # what torch does once in a process
            grid = partial(
                mecheval.recovery_grid, model, pairs.clean_PT, pairs.corrupted_PT, *ends, **how
            )
            found[engine].append([stopwatch(partial(grid, engine=engine)) for _ in range(2)])
            if engine == "auto":
                found["engine"] = grid(engine=engine).execution.engine
    least = {name: np.min(found[name], axis=0).tolist() for name in ("hooks", "auto")}
    return {**least, "engine": found["engine"]}


if __name__ == "__main__":
    sys.exit(main())
