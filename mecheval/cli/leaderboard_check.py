"""``mecheval leaderboard check``: what is looked at before results are taken on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mecheval.checks import Check
from mecheval.cli import options
from mecheval.cli.grid import positive, stoppable
from mecheval.cli.printing import say
from mecheval.errors import UsageError
from mecheval.escape import line, quoted

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Mapping, Sequence

    from mecheval.harness.planned_again import PlannedAgain
    from mecheval.harness.request import Settings
    from mecheval.leaderboard.check.rerun import MeasuredAgain
    from mecheval.leaderboard.check.submission import Checked, Submission

AGAIN = "measured again it comes out as reported"
ALL = "all"


def add(commands: argparse._SubParsersAction) -> None:
    """Register the command."""
    checking = commands.add_parser(
        "check",
        help="check results as they are checked before they are taken on",
        description="Check every report's schema, key, digest and place; whether its cell has the "
        "same key when it is planned today; which suites are whole; and, with --rerun, whether "
        "cells come out again. On the same kind of machine with the same versions all numbers "
        "must be equal; elsewhere within what intervals and seeds leave open. Exit code 1 if "
        "something is wrong.",
    )
    checking.add_argument(
        "results", nargs="?", type=options.path, default=Path("results"), metavar="RESULTS",
        help="folder of reports, or one report (default: results)",
    )  # fmt: skip
    checking.add_argument(
        "--suite", metavar="NAME", help="a suite of which all cells must be there: demo, demo@1"
    )
    checking.add_argument(
        "--rerun", metavar="N",
        help="measure N cells again, which hashes of keys and digests choose; or all",
    )  # fmt: skip
    checking.add_argument(
        "--salt", default="", metavar="TEXT",
        help="text that the choice depends on as well, such as the number of a run, which nobody "
        "knew beforehand",
    )  # fmt: skip
    checking.add_argument(
        "--by", default="", metavar="NAME",
        help="who measures again: writes beside every report that comes out again that it did",
    )  # fmt: skip
    checking.add_argument("--jobs", "-j", type=int, metavar="N", help="cells at a time")
    checking.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    options.add_include_path(checking)
    options.add_quiet(checking)
    options.add_json(checking, help="print one JSON object per check")
    checking.set_defaults(command=check)


def check(args: argparse.Namespace) -> int:
    """Check the results and print what was found.

    Returns:
        0 if no check failed, 1 otherwise, 130 or 143 if interrupted.

    Raises:
        UsageError: There is no such folder or suite, or a flag is malformed.
        StorageError: A mark could not be written.
    """
    from mecheval.training.stopping import Stopped

    try:
        with stoppable():
            return _check(args)
    except Stopped as stopped:
        say("Interrupted. What was measured again and marked until now is kept.", error=True)
        return stopped.exit_code


def _check(args: argparse.Namespace) -> int:
    from mecheval.harness.devices import find_devices
    from mecheval.harness.planned_again import planned_again
    from mecheval.harness.request import Settings
    from mecheval.harness.suite_cells import suite_version
    from mecheval.leaderboard.check.keys import check_keys, check_suites
    from mecheval.leaderboard.check.submission import read_submission

    n, by = _number(args.rerun), _who(args)
    asked = suite_version(args.suite) if args.suite else None
    settings = Settings(
        include_paths=tuple(args.include_path or ()), device=find_devices(args.device).kind
    )
    submission, checked = read_submission(args.results)
    planned = planned_again(submission.cells.values(), settings)
    checked += [*check_keys(submission, planned, settings), *check_suites(submission, asked)]
    _print(checked, args)
    n_failed = sum(each.check.passed is False for each in checked)
    if args.rerun is not None:
        n_failed += _rerun(args, submission, planned, settings=settings, n=n, by=by)
    if not args.json and not args.quiet:
        say(f"{n_failed} checks failed." if n_failed else "All checks passed.")
    return 1 if n_failed else 0


def _number(text: str | None) -> int | None:
    """Return how many cells are measured again; None for all.

    Raises:
        UsageError: It is no number of at least 1, and not ``all``.
    """
    if text is None or text == ALL:
        return None
    if not text.isdecimal() or not text.isascii() or len(text) > 9:
        raise UsageError(f"--rerun is {quoted(text)}; give a number of at least 1, or {ALL}.")
    return positive(int(text), "--rerun")


def _who(args: argparse.Namespace) -> str:
    """Return who measures again.

    Raises:
        UsageError: The name cannot stand in a record, or nothing is measured again.
    """
    import re

    from mecheval.text.naming import SEEN

    name = args.by.strip()
    if args.by and (not re.fullmatch(SEEN, name) or len(name) > 100):
        raise UsageError(f"--by is {quoted(args.by)}; give a name on one line.")
    if name and args.rerun is None:
        raise UsageError("--by says who measures again. Give --rerun N, too.")
    return name


def _rerun(
    args: argparse.Namespace,
    submission: Submission,
    planned: Mapping[str, PlannedAgain],
    *,
    settings: Settings,
    n: int | None,
    by: str,
) -> int:
    """Measure cells again, print what came of it, and return how many did not come out."""
    from mecheval.cli.progress import display
    from mecheval.harness.devices import find_devices
    from mecheval.leaderboard.check.rerun import Way, chosen_by_hash, measure_again

    chosen = chosen_by_hash(submission, planned, n, salt=args.salt)
    n_can = sum(planned[report.key].cell is not None for report in submission.cells.values())
    if not args.json and not args.quiet:
        say(f"Measuring {len(chosen)} of {len(submission.cells)} cells again, of the {n_can} that "
            "can be here.", error=True)  # fmt: skip
    devices, failed = find_devices(args.device), []
    jobs = positive(devices.jobs if args.jobs is None else args.jobs, "--jobs")

    def heard(found: MeasuredAgain) -> None:
        failed.extend([found] if found.again is None or not found.again.passed else [])
        _print_again(found, args)

    with display(quiet=args.quiet or args.json) as listener:
        way = Way(settings, devices, jobs, by)
        measure_again(chosen, submission, way, listener=listener, heard=heard)
    return len(failed)


def _print_again(found: MeasuredAgain, args: argparse.Namespace) -> None:
    from mecheval.reports.comparison.again import as_rows

    again, path = found.again, str(found.chosen.path)
    detail = str(again) if again else found.problem
    outcome = Check(AGAIN, bool(again and again.passed), detail)
    more: dict[str, Any] = {"mark": str(found.mark) if found.mark else None}
    if again:
        more |= {"rule": again.rule, "why": again.why, "n_numbers": again.n_numbers,
                 "n_equal": again.n_equal, "numbers": as_rows(again)}  # fmt: skip
    if args.json:
        _print_json(path, outcome, more)
    elif outcome.passed is False or not args.quiet:
        say(line(f"{path}: {outcome}"))


def _print(checked: Sequence[Checked], args: argparse.Namespace) -> None:
    """Print what failed or does not apply file by file, and how often everything else holds."""
    if args.json:
        for subject, outcome in checked:
            _print_json(subject, outcome, {})
        return
    if not args.quiet:
        for text in _counts(checked):
            say(line(text))
    for subject, outcome in checked:
        if outcome.passed is False:
            say(line(f"{subject}: {outcome}"))


def _counts(checked: Iterable[Checked]) -> Iterable[str]:
    """Yield a line per property of files, and one per suite."""
    by_name: dict[str, list[Check]] = {}
    suites: list[str] = []
    for subject, outcome in checked:
        if subject.startswith("suite "):
            suites.append(f"{subject}: {outcome}")
        else:
            by_name.setdefault(outcome.name, []).append(outcome)
    for name, same in by_name.items():
        held, failed = (sum(c.passed is wanted for c in same) for wanted in (True, False))
        text = f"{name}: ok in {held} of {len(same)}"
        text += f", FAILED in {failed}" if failed else ""
        reasons = dict.fromkeys(each.detail for each in same if each.passed is None)
        rest = len(same) - held - failed
        yield text + (f"; not applicable in {rest}: {'; '.join([*reasons][:2])}" if rest else "")
    yield from suites


def _print_json(subject: str, outcome: Check, more: Mapping[str, Any]) -> None:
    say(json.dumps({"subject": subject, **vars(outcome), **more}, allow_nan=False))
