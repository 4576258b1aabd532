"""``mecheval leaderboard``: tables from a folder of reports, and what they say of claims."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mecheval import escape
from mecheval.cli import options
from mecheval.cli.printing import say
from mecheval.errors import UsageError
from mecheval.paths import is_dir

if TYPE_CHECKING:
    import argparse

    from mecheval.reports.collection import Collection

TABLES = Path("leaderboards") / "tables"


def add(subparsers: argparse._SubParsersAction) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "leaderboard",
        help="make tables from a folder of reports, or hold claims against them",
        description="Make tables from a folder of reports, or hold claims against them.",
    )
    commands = parser.add_subparsers(
        dest="subcommand", metavar="COMMAND", required=True, parser_class=type(parser)
    )
    building = commands.add_parser(
        "build",
        help="write leaderboard.md, .csv and .json, and versions.txt",
        description="Write leaderboard.md, .csv and .json: one table per task, one row per model, "
        "means over seeds, which is printed too; and versions.txt, what the reports were made "
        "with. Partial, random-weight, failed and invalid reports are refused by name.",
    )
    building.add_argument(
        "results", nargs="?", type=options.path, default=Path("results"), metavar="RESULTS",
        help="folder of reports (default: results)",
    )  # fmt: skip
    options.add_output(
        building, help=f"folder of the tables (default: {TABLES})", default=str(TABLES)
    )
    options.add_quiet(building)
    options.add_json(building, help="print the leaderboard as JSON instead of as Markdown")
    building.set_defaults(command=build)
    _add_claims(commands)


def _add_claims(commands: argparse._SubParsersAction) -> None:
    holding = commands.add_parser(
        "claims",
        help="hold the claims of a suite against reports",
        description="Print the claims in a suite's file beside what reports say: the number given "
        "there, the mean over seeds here with its t interval, and whether it is replicated, before "
        "and after a correction for the number of claims.",
    )
    holding.add_argument("suite", metavar="SUITE", help="name or file of the suite")
    holding.add_argument(
        "results", nargs="?", type=options.path, default=Path("results"), metavar="RESULTS",
        help="folder of reports (default: results)",
    )  # fmt: skip
    options.add_include_path(holding)
    holding.set_defaults(command=claims)


def build(args: argparse.Namespace) -> int:
    """Write the tables and print them; name the refused reports on stderr.

    Returns:
        0, or 1 if no report counts.

    Raises:
        UsageError: There is no such folder, or it holds no reports.
        StorageError: The tables could not be written.
    """
    from mecheval.leaderboard.board import build as build_board
    from mecheval.leaderboard.tables import as_csv, as_json, markdown
    from mecheval.leaderboard.versions import NAME, versions
    from mecheval.reports.documents import write_document

    collection = _admitted(args.results)
    if not collection and not collection.refused:
        raise UsageError(f"The folder {args.results} holds no reports. Give one that does.")
    board = build_board(collection)
    texts = {"md": markdown(board), "csv": as_csv(board), "json": as_json(board)}
    files = {f"leaderboard.{suffix}": text for suffix, text in texts.items()}
    files[NAME] = versions(collection.reports)
    for name, text in files.items():
        write_document(args.output / name, text)
    if not args.quiet:
        say(texts["json" if args.json else "md"].rstrip("\n"))
        say(f"Wrote {', '.join(files)} to {args.output}.", error=True)
    if not collection:
        say(f"mecheval: No report in {args.results} counts.", error=True)
    return 0 if collection else 1


def claims(args: argparse.Namespace) -> int:
    """Print the claims with what the reports say of them.

    Raises:
        UsageError: There is no such suite or folder, or the suite makes no claims.
    """
    from mecheval.harness.request import Settings
    from mecheval.harness.suites import load_suite
    from mecheval.leaderboard.claim import claims_of
    from mecheval.leaderboard.claims import examine
    from mecheval.leaderboard.claims_table import markdown

    suite, registry = load_suite(args.suite), options.registry_of(args)
    if not suite.claims:
        raise UsageError(f"{suite.path} has no [[claim]]. Write one, or give another suite.")
    suite.check_claims(Settings(include_paths=registry.include_paths))
    collection = _admitted(args.results)
    findings = examine(claims_of(suite), collection, registry, suite)
    say(markdown(findings, suite=args.suite).rstrip("\n"))
    return 0


def _admitted(results: Path) -> Collection:
    """Read the reports that count, and name those that do not on stderr."""
    from mecheval.leaderboard.admission import admit

    collection = admit(results)
    for item in collection.refused:
        path = results / item.path if is_dir(results) else results
        say(escape.line(f"mecheval: refused {path}: {item.reason}"), error=True)
    return collection
