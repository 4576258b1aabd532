"""``mecheval similarity``: how alike models are, two by two, on the same tasks."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from mecheval.cli import options
from mecheval.cli.grid import (
    add_execution,
    add_grid,
    positive,
    requests_of,
    shard_of,
    stoppable,
)
from mecheval.cli.printing import say

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from mecheval.harness.events import Outcome
    from mecheval.harness.pair_plan import PairCell


def add(subparsers: argparse._SubParsersAction) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "similarity",
        help="say how alike models are, two by two, on the same tasks",
        description="Measure the cells that are missing, as `mecheval run` does, then hold them "
        "side by side: two models, and two seeds of one. A network runs once for all its pairs, "
        "if at all. Writes one report per pair, prints a matrix per task and number. The same "
        "command again resumes.",
    )
    add_grid(parser)
    options.add_list(
        parser, "--at-loss", metavar="NATS",
        help="hold networks side by side where their validation losses along training are nearest "
        "to these, such as 4,3,2.5 (of --snapshots weights; default: at the end of training)",
    )  # fmt: skip
    options.switch(
        parser, "--across-tokens",
        help="hold models side by side, too, that read one text in other tokens: -t text "
        "'text[vocabulary=256]'",
    )  # fmt: skip
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
    from mecheval.training.stopping import Stopped

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
    from mecheval.harness.pair_plan import Asked, by_scope, is_of_pairs
    from mecheval.spec import parse_spec
    from mecheval.training import processes

    devices, shard = find_devices(args.device), shard_of(args)
    registry = options.registry_of(args)
    # Metrics of pairs have no say in which metrics of single models a suite measures.
    named = options.read(args.metrics, "--metrics", lambda texts: options.names(texts)) or []
    of_pairs = [text for text in named if is_of_pairs(parse_spec(text), registry)]
    args.metrics = [text for text in named if text not in of_pairs] or None
    requests, declared = by_scope(requests_of(args, devices.kind), registry)
    metrics = [*map(parse_spec, of_pairs), *(declared or ())] or None
    at_losses = options.read(args.at_loss, "--at-loss", lambda texts: options.numbers(texts)) or []
    asked = Asked(metrics, at_losses, args.across_tokens)
    if args.dry_run:
        pairs = planned_pairs(requests, asked)[2]
        return _dry_run(shard.of_pairs(pairs) if shard else pairs, as_json=args.json)
    jobs = positive(devices.jobs if args.jobs is None else args.jobs, "--jobs")
    quiet = args.quiet or not processes.is_main()
    with display(quiet=quiet) as listener:
        outcomes = execute_pairs(
            requests, asked, listener, devices=devices, jobs=jobs, fail_fast=args.fail_fast,
            shard=shard,
        )  # fmt: skip
    failed = any(outcome.report.status == "error" for outcome in outcomes)
    _print_matrices(outcomes, quiet=quiet, as_json=args.json and processes.is_main())
    return 1 if failed and not args.allow_failures else 0


def _print_matrices(outcomes: Sequence[Outcome], *, quiet: bool, as_json: bool) -> None:
    from mecheval.cli.show_pair import print_matrices
    from mecheval.reports.pair import PairReport
    from mecheval.reports.pair_matrix import matrices_of

    found = matrices_of(o.report for o in outcomes if isinstance(o.report, PairReport))
    if as_json or not quiet:
        print_matrices(found, as_json=as_json)


def _dry_run(pairs: Sequence[PairCell], *, as_json: bool) -> int:
    from mecheval.harness.pair_plan import sides_of
    from mecheval.harness.store import finished_report
    from mecheval.reports.markdown import table
    from mecheval.reports.pair import on_task

    rows = [
        {
            "task": on_task(pair.group.title, pair.identity.at_loss),
            **{
                end: f"{side.title} seed {side.seed}"
                for end, side in zip("ab", sides_of(pair), strict=True)
            },
            "state": "cached" if finished_report(pair) else "to do",
            "key": pair.key,
            "report": str(pair.path),
        }
        for pair in pairs
    ]
    if as_json:
        for row in rows:
            say(json.dumps(row))
        return 0
    shown = [list((row | {"key": row["key"][:8]}).values()) for row in rows]
    there = sum(row["state"] == "cached" for row in rows)
    say(table(["Task", "A", "B", "State", "Key", "Report"], shown))
    say(f"{there} pairs are already there, {len(rows) - there} to do", error=True)
    return 0
