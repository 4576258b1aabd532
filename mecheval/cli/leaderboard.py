"""``mecheval leaderboard build``: tables from a folder of reports."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from mecheval.cli import options
from mecheval.errors import UsageError

if TYPE_CHECKING:
    import argparse

TABLES = Path("leaderboards") / "tables"


def add(subparsers: argparse._SubParsersAction) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "leaderboard",
        help="make tables from a folder of reports",
        description="Make tables from a folder of reports.",
    )
    commands = parser.add_subparsers(
        dest="subcommand", metavar="COMMAND", required=True, parser_class=type(parser)
    )
    building = commands.add_parser(
        "build",
        help="write leaderboard.md, .csv and .json",
        description="Write leaderboard.md, .csv and .json: one table per task, one row per model, "
        "means over seeds. Partial, random-weight, failed and invalid reports are refused by name.",
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


def build(args: argparse.Namespace) -> int:
    """Write the tables and print them; name the refused reports on stderr.

    Returns:
        0, or 1 if no report counts.

    Raises:
        UsageError: There is no such folder, or it holds no reports.
        StorageError: The tables could not be written.
    """
    from mecheval.leaderboard.admission import admit
    from mecheval.leaderboard.board import build as build_board
    from mecheval.leaderboard.tables import as_csv, as_json, markdown
    from mecheval.reports.documents import write_document

    admitted, refused = admit(args.results)
    for item in refused:
        print(f"mecheval: refused {args.results / item.path}: {item.reason}", file=sys.stderr)
    if not admitted and not refused:
        raise UsageError(f"The folder {args.results} holds no reports. Give one that does.")
    board = build_board(admitted, refused)
    texts = {"md": markdown(board), "csv": as_csv(board), "json": as_json(board)}
    for suffix, text in texts.items():
        write_document(args.output / f"leaderboard.{suffix}", text)
    if not args.quiet:
        print(texts["json" if args.json else "md"], end="")
    if not admitted:
        print(f"mecheval: No report in {args.results} counts.", file=sys.stderr)
    return 0 if admitted else 1
