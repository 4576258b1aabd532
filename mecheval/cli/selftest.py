"""``mecheval selftest``: whether the metrics return what is known of networks set by hand."""

from __future__ import annotations

import dataclasses
import json
import os
import time
from typing import TYPE_CHECKING

from mecheval.cli import options
from mecheval.cli.printing import say
from mecheval.errors import UsageError, unknown

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from mecheval.harness.known_values import Case
    from mecheval.harness.selftest import Outcome

COLUMNS = ("model", "task", "number", "known", "measured")


def add(subparsers: argparse._SubParsersAction) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "selftest",
        help="measure networks whose mechanism is known",
        description="Run every metric on every planted model: networks whose weights are set by "
        "hand, so that it is known what each metric must return. Exit code 1 if one returns "
        "something else.",
    )
    parser.add_argument(
        "models", nargs="*", metavar="MODEL", help="planted models to measure (default: all)"
    )
    parser.add_argument(
        "--jobs", "-j", type=int, default=min(4, os.cpu_count() or 1), metavar="N",
        help="processes (default: one per core, 4 at most)",
    )  # fmt: skip
    options.add_quiet(parser)
    options.add_json(parser, help="print one JSON object per number")
    parser.set_defaults(command=selftest)


def selftest(args: argparse.Namespace) -> int:
    """Print one line per number.

    Returns:
        0 if every number is as known, 1 otherwise.

    Raises:
        UsageError: There is no such planted model, or the number of processes is below 1.
    """
    from mecheval.harness.selftest import run

    if args.jobs < 1:
        raise UsageError(f"--jobs is {args.jobs}; give a number of at least 1.")
    cases, began = _chosen(args.models), time.monotonic()
    widths = _widths(cases)
    if not args.json and not args.quiet:
        say(_line(COLUMNS, widths).upper())
    outcomes: list[Outcome] = []
    for found in run(cases, jobs=min(args.jobs, len(cases))):
        outcomes += found
        for outcome in found:
            _print(outcome, widths, args)
    off = [outcome for outcome in outcomes if not outcome.passed]
    if not args.json:
        for outcome in off:
            say(f"OFF: {outcome}.")
        seconds = f"in {time.monotonic() - began:.0f} s"
        of_them = (
            f"{len(off)} of {len(outcomes)} numbers are not"
            if off
            else f"{len(outcomes)} numbers are"
        )
        say(f"{of_them} as known, on {len(cases)} planted networks, {seconds}.")
    return 1 if off else 0


def _chosen(names: Sequence[str]) -> list[Case]:
    """Return the cases of the named models, all where none is named."""
    from mecheval.harness.known_values import known_cases

    cases = known_cases()
    models = {model for case in cases for model in case.models}
    by_name = {model.partition("[")[0] for model in models}
    for name in names:
        if name not in by_name | models:
            see = "`mecheval ls models --filter name=planted*`"
            raise unknown("planted model", name, by_name, see=see)
    return [
        case
        for case in cases
        if not names or any(m in names or m.partition("[")[0] in names for m in case.models)
    ]


def _widths(cases: Sequence[Case]) -> list[int]:
    rows = [(case.model, case.task, known.at, str(known)) for case in cases for known in case.known]
    return [max(map(len, column)) for column in zip(COLUMNS, *rows, strict=False)]


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = [cell.ljust(width) for cell, width in zip(cells, widths, strict=False)]
    return "  ".join([*padded, *cells[len(widths) :]])


def _print(outcome: Outcome, widths: Sequence[int], args: argparse.Namespace) -> None:
    from mecheval.harness.selftest import shown

    if args.json:
        say(json.dumps(dataclasses.asdict(outcome)))
    elif not args.quiet:
        mark = "" if outcome.passed else "  OFF"
        cells = (outcome.model, outcome.task, outcome.at, outcome.known, shown(outcome.measured))
        say(_line(cells, widths) + mark)
