"""``mecheval run``: models x tasks x seeds, one report per cell, and a table."""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING, Any

from mecheval.cli import options
from mecheval.cli.grid import (
    add_execution,
    add_grid,
    positive,
    requests_of,
    shard_of,
    stoppable,
)
from mecheval.cli.on_cluster import add_executor, cluster_of, run_on_cluster
from mecheval.cli.printing import say
from mecheval.paths import is_dir

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence
    from pathlib import Path

    from mecheval.harness.events import Outcome
    from mecheval.harness.request import Request
    from mecheval.harness.shards import Shard
    from mecheval.reports.schema import Report


def add(subparsers: argparse._SubParsersAction) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "run",
        help="train, measure and report models on tasks",
        description="Run the grid models x tasks x seeds: train where need be, measure behaviour "
        "and mechanisms, write one report per cell, print a table. The same command again "
        "resumes.",
    )
    add_grid(parser)
    add_execution(parser)
    add_executor(parser)
    _add_output(parser)
    parser.set_defaults(command=run)


def _add_output(parser: argparse.ArgumentParser) -> None:
    options.add_output(parser, help="folder for the reports (default: results)")
    options.switch(parser, "--overwrite", help="measure finished cells again")
    options.switch(parser, "--dry-run", help="print which cells are there and which are to do")
    options.add_quiet(parser)
    options.add_json(parser, help="print a JSON line per cell instead of the table")


def run(args: argparse.Namespace) -> int:
    """Run the grid.

    Returns:
        0 if all cells succeeded, 1 if one failed, 130 or 143 if interrupted.
    """
    from mecheval.training.stopping import Stopped

    try:
        with stoppable():
            return _run(args)
    except Stopped as stopped:
        said = f"Interrupted. Jobs go on; `mecheval status -o {args.output}` says how far they are."
        local = args.executor == "local"
        say(_where_it_goes_on(args.output) if local else said, error=True)
        return stopped.exit_code


def _where_it_goes_on(output: Path) -> str:
    """Say what an interrupted run leaves, which is nothing where no cell was finished."""
    if is_dir(output) and next(output.rglob("seed*.json"), None):
        return f"Interrupted. Finished cells are kept in {output}; the same command goes on."
    return "Interrupted. No cell was finished; the same command begins again."


def _run(args: argparse.Namespace) -> int:
    from mecheval.cli.progress import display
    from mecheval.harness.devices import find_devices
    from mecheval.harness.execute import execute
    from mecheval.training import processes

    if cluster_of(args) and not args.dry_run:
        outcomes = run_on_cluster(args, requests_of(args, "cpu", claims=False))
        return 0 if outcomes is None else _ended(outcomes, args, quiet=args.quiet)
    devices = find_devices(args.device)
    shard, requests = shard_of(args), requests_of(args, devices.kind)
    if args.dry_run:
        return _dry_run(requests, shard, as_json=args.json)
    jobs = positive(devices.jobs if args.jobs is None else args.jobs, "--jobs")
    quiet = args.quiet or not processes.is_main()
    with display(quiet=quiet, as_json=args.json and processes.is_main()) as listener:
        outcomes = execute(
            requests, listener, devices=devices, jobs=jobs, fail_fast=args.fail_fast, shard=shard
        )
    return _ended(outcomes, args, quiet=quiet)


def _ended(outcomes: Sequence[Outcome], args: argparse.Namespace, *, quiet: bool) -> int:
    """Print the table, and return the exit code."""
    if not quiet and not args.json:
        _print_table(outcomes)
    return _exit_code(outcomes, allow_failures=args.allow_failures)


def _dry_run(requests: Sequence[Request], shard: Shard | None, *, as_json: bool) -> int:
    from mecheval.harness.execute import planned_cells
    from mecheval.harness.store import finished_report
    from mecheval.reports.markdown import table

    planned = planned_cells(requests)
    cells = {cell.key: cell for cell in (shard.of(planned) if shard else planned)}
    rows: list[dict[str, Any]] = [
        {
            "model": cell.model_title,
            "task": cell.task_title,
            "seed": cell.identity.seed,
            "state": "cached" if finished_report(cell) else "to do",
            "key": cell.key,
            "report": str(cell.path),
        }
        for cell in cells.values()
    ]
    if as_json:
        for row in rows:
            say(json.dumps(row))
        return 0
    shown = [[str(value) for value in (row | {"key": row["key"][:8]}).values()] for row in rows]
    there = sum(row["state"] == "cached" for row in rows)
    say(table(["Model", "Task", "Seed", "State", "Key", "Report"], shown))
    todo = [cells[row["key"]] for row in rows if row["state"] == "to do"]
    for note in dict.fromkeys(note for cell in todo for note in cell.notes):
        say(f"Note: {note}", error=True)
    say(f"{there} cells are already there, {len(rows) - there} to do", error=True)
    return 0


def _print_table(outcomes: Sequence[Outcome]) -> None:
    from mecheval.cli.summary import summary

    say(summary([_labelled(outcome) for outcome in outcomes]))


def _labelled(outcome: Outcome) -> Report:
    """Return the report with what was asked for here, which an older one does not say."""
    return outcome.report.model_copy(update={"labels": outcome.cell.labels})


def _exit_code(outcomes: Sequence[Outcome], *, allow_failures: bool) -> int:
    failed = [outcome for outcome in outcomes if outcome.report.status == "error"]
    for outcome in failed:
        if outcome.report.error and outcome.report.error.traceback:
            path = shlex.quote(str(outcome.cell.path))
            say(f"The traceback is in the field 'error' of {path}.", error=True)
    return 1 if failed and not allow_failures else 0
