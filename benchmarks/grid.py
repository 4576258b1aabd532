"""A whole recovery grid by mecheval, by plain hooks, and by other libraries.

Run ``python -m benchmarks.grid`` in a checkout, with ``pip install -e '.[benchmarks]'`` for the
other libraries; one that is not installed, or that fails, is listed with the reason. Models have
random weights and the exact shapes of pythia-160m and mamba-130m; ``--model`` has others. The grid
patches the input of every block at every position and reads the difference of two logits at the
end.

mecheval always runs the whole grid. The others run some cells, spread over layers and positions,
and their time is scaled to the number of cells (``--full`` runs all of them). Everyone's numbers
are compared on the cells that were run; the exit code is 1 if anyone's differ.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from benchmarks import counting, machine, measuring
from benchmarks.comparison import TOLERANCE, Comparison, Row, all_cells, compare, sample_cells
from benchmarks.peers import PEERS
from benchmarks.peers.contract import Job
from benchmarks.subjects import SHAPES, draw_pairs

if TYPE_CHECKING:
    from collections.abc import Sequence


BOTH = ("pythia-160m", "mamba-130m")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the comparison; return the exit code."""
    parser = _parser()
    options = parser.parse_args(arguments)
    measuring.check_clock(parser, options)
    os.environ["HF_HUB_OFFLINE"] = "1"
    torch.set_num_threads(options.threads)
    torch.set_float32_matmul_precision("highest")
    machine.print_options(options, options.device)
    found: dict[str, Any] = {"options": vars(options), "machine": machine.describe(options.device)}
    agree = True
    for name in BOTH if options.model == "both" else (options.model,):
        job = _job(name, options)
        cells = all_cells(job) if options.full else sample_cells(job, options.cells)
        comparison = compare(
            job, options.peers, cells, repeats=options.repeats, clock=options.clock
        )
        minimum = None
        if name in BOTH:
            changed = job.pairs.changed_P.tolist()
            minimum = counting.minimum(job.shape.config, job.n_positions, changed)
        print("\n".join(report(job, comparison, minimum)), flush=True)
        agree &= not comparison.disagreeing
        found[name] = {"minimum_flop": minimum, **dataclasses.asdict(comparison)}
    if options.json:
        text = json.dumps(found, indent=2, default=str)
        Path(options.json).write_text(f"{text}\n", encoding="utf-8")
    return 0 if agree else 1


def _parser() -> argparse.ArgumentParser:
    summary = (__doc__ or "").partition("\n")[0]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.grid", description=summary)
    parser.add_argument("--model", choices=[*SHAPES, "both"], default="both")
    parser.add_argument("--pairs", type=int, default=8)
    parser.add_argument("--length", type=int, default=32, help="tokens per prompt")
    parser.add_argument(
        "--changed", type=int, help="where the prompts of a pair differ; default: from 2 to 7"
    )
    measuring.add_clock(parser)
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--cells", type=int, default=6, help="cells that peers run")
    parser.add_argument("--full", action="store_true", help="let peers run all cells")
    parser.add_argument("--repeats", type=int, default=2, help="rounds; means count")
    parser.add_argument(
        "--peers", type=_peers, default=list(PEERS), help=f"some of {','.join(PEERS)}, or none"
    )
    parser.add_argument("--json", help="file for everything that was found")
    return parser


def _peers(text: str) -> list[str]:
    names = [] if text == "none" else text.split(",")
    unknown = set(names) - set(PEERS)
    if unknown:
        raise argparse.ArgumentTypeError(
            f"unknown peer '{min(unknown)}'; choose among {', '.join(PEERS)}"
        )
    return names


def _job(name: str, options: argparse.Namespace) -> Job:
    shape = SHAPES[name]()
    pairs = draw_pairs(
        shape.config.vocab_size, options.pairs, options.length, changed=options.changed
    )
    return Job(shape, pairs.to(options.device), options.device)


def report(job: Job, comparison: Comparison, minimum: float | None) -> list[str]:
    """Return the table of one model and what stands below it, line by line.

    Args:
        job: The grid.
        comparison: What the rounds gave.
        minimum: Counted operations of the grid; None where they are not counted.
    """
    ours = comparison.rows[0].seconds or 0.0
    share = "all" if comparison.n_sampled == comparison.n_cells else str(comparison.n_sampled)
    changed = sorted(job.pairs.changed_P.tolist())
    lines = [
        f"## {job.shape.name}",
        "",
        f"{len(changed)} pairs of {job.n_positions} tokens, which differ at positions {changed}; "
        f"{comparison.n_cells} cells, each for all pairs, of which peers ran {share}. "
        f"mecheval's set-up took {comparison.setup:.1f} s.",
        "",
        "| peer | version | idiom | s per grid | ratio to mecheval | largest difference |",
        "|---|---|---|---|---|---|",
        *(_line(row, ours) for row in comparison.rows),
        "",
        f"Largest effect of a patch: {comparison.largest_effect:.3g}, on the compared cells "
        f"{comparison.largest_compared:.3g}. Grids agree up to {TOLERANCE:g} of the former.",
    ]
    if minimum is not None:
        rate = minimum / ours / 1e9
        lines.append(
            f"Counted minimum: {minimum / 1e12:.3g} TFLOP. mecheval: {rate:.1f} GFLOP/s of it, "
            f"{rate / comparison.peak.gigaflops:.0%} of the measured matmul rate of "
            f"{comparison.peak.gigaflops:.1f} GFLOP/s (float32, {_product(comparison.peak.shape)})."
        )
    lines += [f"!!! {row.peer}, {row.idiom}: NOT THE SAME GRID" for row in comparison.disagreeing]
    return [*lines, ""]


def _line(row: Row, ours: float) -> str:
    if row.seconds is None:
        return f"| {row.peer} | {row.version} | {row.idiom} | - | - | {row.note} |"
    idiom = f"{row.idiom} (tuned)" if row.tuned else row.idiom
    return (
        f"| {row.peer} | {row.version} | {idiom} | {row.seconds:.1f} | "
        f"{row.seconds / ours:.1f} | {row.difference:.1e} |"
    )


def _product(shape: tuple[int, int, int]) -> str:
    rows, inner, columns = shape
    return f"({rows}, {inner}) x ({inner}, {columns})"


if __name__ == "__main__":
    sys.exit(main())
