"""``mecheval status``: how far the cells of a request are, or all that went to a cluster."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

from mecheval.cli import options
from mecheval.cli.grid import add_grid, add_planning, requests_of
from mecheval.cli.printing import say
from mecheval.errors import UsageError
from mecheval.paths import is_dir

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from mecheval.harness.cluster.states import CellState


def add(subparsers: argparse._SubParsersAction) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "status",
        help="say which cells are done, running, failed or missing",
        description="Say how far the cells of a request are, with the flags of `mecheval run`; "
        "without models, tasks or a suite, how far all is that went to a cluster from OUTPUT.",
    )
    add_grid(parser)
    add_planning(parser)
    options.add_output(parser, help="folder of the reports (default: results)")
    options.switch(parser, "--all", help="list the cells that are done as well")
    options.add_json(parser, help="print a JSON line per cell, of all states")
    parser.set_defaults(
        command=status, threads=1, batch_size=128, ensemble=None, log_with=None, cache=None,
        overwrite=False,
    )  # fmt: skip


def status(args: argparse.Namespace) -> int:
    """Print the states.

    Returns:
        0 if all cells are done, 1 otherwise.
    """
    from mecheval.harness.cluster.states import all_rows, states_of
    from mecheval.harness.cluster.submissions import rows_of

    if args.suite or args.models or args.tasks:
        from mecheval.harness.execute import planned_cells

        rows = rows_of(planned_cells(requests_of(args, "cpu")), args.output)
    else:
        rows = all_rows(args.output) if is_dir(args.output) else []
        if not rows:
            raise UsageError(
                f"Nothing went to a cluster from {args.output}. Give --models and --tasks, or a "
                "--suite, or the --output of what was submitted."
            )
    found = states_of(rows, args.output)
    if args.json:
        for each in found:
            say(json.dumps(_content(each)))
    else:
        _print(found, everything=args.all)
    return 0 if all(each.state == "done" for each in found) else 1


def _print(found: Sequence[CellState], *, everything: bool) -> None:
    from mecheval.harness.cluster.states import STATES
    from mecheval.reports.markdown import table

    shown = [each for each in found if everything or each.state != "done"]
    if shown:
        rows = [
            [each.cell.model, each.cell.task, str(each.cell.seed), each.state, _where(each)]
            for each in shown
        ]
        say(table(["Model", "Task", "Seed", "State", "Where"], rows))
    counts = Counter(each.state for each in found)
    said = ", ".join(f"{counts[state]} {state}" for state in STATES if counts[state])
    say(f"{len(found)} cells: {said}")


def _where(each: CellState) -> str:
    at, words = each.at, [f"job {each.job}"] if each.job else []
    if at is not None:
        words += [f"on {at.host}", at.stage]
        words += [f"{at.step}/{at.total}"] if at.total else []
        words += [] if at.accuracy is None else [f"acc {at.accuracy:.3f}"]
    return " ".join(words)


def _content(each: CellState) -> dict[str, Any]:
    at = None if each.at is None else each.at.model_dump(exclude={"key", "job"})
    job = each.job or None
    return {**each.cell.model_dump(), "state": each.state, "job": job, "at": at}
