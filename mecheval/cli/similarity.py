"""``mecheval similarity``: how alike models are, two by two, on the same tasks."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from mecheval.cli import options
from mecheval.cli.grid import Stopped, add_execution, add_grid, positive, requests_of, stoppable
from mecheval.cli.printing import say

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from mecheval.harness.pair_plan import PairCell
    from mecheval.reports.pair import PairReport


def add(subparsers: argparse._SubParsersAction) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "similarity",
        help="say how alike models are, two by two, on the same tasks",
        description="Measure the cells that are missing, as `mecheval run` does, then hold them "
        "side by side: two models, and two seeds of one. No model is loaded for a pair. Writes one "
        "report per pair, prints a matrix per task and number. The same command again resumes.",
    )
    add_grid(parser)
    add_execution(parser)
    options.add_output(parser, help="folder for the reports (default: results)")
    options.switch(parser, "--overwrite", help="measure finished cells and pairs again")
    options.switch(parser, "--dry-run", help="print which pairs there would be")
    options.add_quiet(parser)
    options.add_json(parser, help="print the matrices as JSON lines instead of tables")
    parser.set_defaults(command=similarity)


def similarity(args: argparse.Namespace) -> int:
    """Measure pairs.

    Returns:
        0 if all succeeded, 1 if one failed, 130 or 143 if interrupted.
    """
    try:
        with stoppable():
            return _similarity(args)
    except Stopped as stopped:
        say(f"Interrupted. What is finished is kept in {args.output}; the same command goes on.",
            error=True)  # fmt: skip
        return stopped.exit_code


def _similarity(args: argparse.Namespace) -> int:
    from mecheval.cli.progress import display
    from mecheval.harness.devices import find_devices
    from mecheval.harness.execute_pairs import execute_pairs, planned_pairs
    from mecheval.harness.pair_plan import by_scope

    devices = find_devices(args.device)
    given = requests_of(args, devices.kind)
    requests, metrics = by_scope(given, options.registry_of(args))
    if args.dry_run:
        return _dry_run(planned_pairs(requests, metrics))
    jobs = positive(devices.jobs if args.jobs is None else args.jobs, "--jobs")
    with display(quiet=args.quiet, as_json=False) as listener:
        outcomes = execute_pairs(requests, metrics, listener, devices=devices, jobs=jobs)
    reports = [outcome.report for outcome in outcomes]
    if not args.quiet:
        _print_matrices(reports, as_json=args.json)
    failed = [outcome for outcome in outcomes if outcome.report.status == "error"]
    for outcome in failed:
        say(f"{outcome.cell.title}: {outcome.report.error.message}", error=True)
    return 1 if failed and not args.allow_failures else 0


def _print_matrices(reports: Sequence[PairReport], *, as_json: bool) -> None:
    from mecheval.reports.markdown import bullets, titled
    from mecheval.reports.pair_matrix import matrices_of

    found = matrices_of(reports)
    if as_json:
        for matrix in found:
            say(json.dumps(matrix.rows(), allow_nan=False))
        return
    parts = [titled(matrix.titles, *matrix.table()) for matrix in found if matrix.shown]
    notes = dict.fromkeys(note for matrix in found for note in matrix.notes)
    say("\n\n".join([*parts, bullets(notes)]))


def _dry_run(pairs: Sequence[PairCell]) -> int:
    from mecheval.harness.store import finished_report
    from mecheval.reports.markdown import table

    rows = [
        [
            pair.a.task_title,
            *(f"{cell.model_title} seed {cell.identity.seed}" for cell in pair.cells),
            "cached" if finished_report(pair) else "to do",
            pair.key[:8],
        ]
        for pair in pairs
    ]
    say(table(["Task", "A", "B", "State", "Key"], rows))
    there = sum(row[3] == "cached" for row in rows)
    say(f"{there} pairs are already there, {len(rows) - there} to do", error=True)
    return 0
