"""``mecheval leaderboard``: tables and a page from a folder of reports, and claims held to them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mecheval.cli import leaderboard_check, leaderboard_export, leaderboard_page, options
from mecheval.cli.leaderboard_admitted import admitted, admitted_pairs, say_of
from mecheval.cli.naming import file_name
from mecheval.cli.printing import say
from mecheval.errors import UsageError
from mecheval.garbage import kept_all

if TYPE_CHECKING:
    import argparse

    from mecheval.reports.collection import Pairs

FIGURE = "similarity"
"""The figure of matrices of pairs, and how the names of their files begin."""

TABLES = Path("leaderboards") / "tables"


def add(subparsers: argparse._SubParsersAction) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "leaderboard",
        help="make tables or a page from a folder of reports, or hold claims against them",
        description="Make tables or a page from a folder of reports, or hold claims against them.",
    )
    commands = parser.add_subparsers(
        dest="subcommand", metavar="COMMAND", required=True, parser_class=type(parser)
    )
    building = commands.add_parser(
        "build",
        help="write leaderboard.md, .csv and .json, versions.txt, and matrices of pairs",
        description="Write leaderboard.md, .csv and .json: one table per task, one row per model, "
        "means over seeds, which is printed too; and versions.txt, what the reports were made "
        "with. Where there are reports of pairs, similarity.md, .csv, .json and pictures: one "
        "matrix per task and number, models by models. Partial, random-weight, failed and invalid "
        "reports are refused by name.",
    )
    building.add_argument(
        "results", nargs="?", type=options.path, default=Path("results"), metavar="RESULTS",
        help="folder of reports (default: results)",
    )  # fmt: skip
    options.add_output(
        building, help=f"folder of the tables (default: {TABLES})", default=str(TABLES)
    )
    building.add_argument(
        "--suite", metavar="NAME",
        help="the cells of a suite alone, perhaps of a version (retrieval-small@1), after which "
        "the files are then called",
    )  # fmt: skip
    options.add_quiet(building)
    options.add_json(building, help="print the leaderboard as JSON instead of as Markdown")
    building.set_defaults(command=build)
    _add_claims(commands)
    leaderboard_check.add(commands)
    leaderboard_export.add(commands)
    leaderboard_page.add(commands)


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


@kept_all()
def build(args: argparse.Namespace) -> int:
    """Write the tables and print them; name the refused reports on stderr.

    Returns:
        0, or 1 if no report counts, of cells or of pairs.

    Raises:
        UsageError: There is no such folder or suite, or it holds no reports.
        StorageError: The tables could not be written.
    """
    from mecheval.harness.suite_cells import suite_version
    from mecheval.leaderboard.board import build as build_board
    from mecheval.leaderboard.of_suite import of_suite, pairs_of_suite
    from mecheval.leaderboard.tables import as_csv, as_json, markdown
    from mecheval.leaderboard.versions import NAME, versions
    from mecheval.reports.documents import write_document

    version = suite_version(args.suite) if args.suite else None
    collection, pairs = admitted(args.results), admitted_pairs(args.results)
    if not any((collection, collection.refused, pairs, pairs.refused)):
        raise UsageError(f"The folder {args.results} holds no reports. Give one that does.")
    if version is not None:
        collection, pairs = of_suite(collection, version), pairs_of_suite(pairs, version)
        say_of(version, collection)
    board, called = build_board(collection), version.title if version else ""
    title = f"Leaderboard of {called}" if called else "Leaderboard"
    texts = {"md": markdown(board, title), "csv": as_csv(board), "json": as_json(board, called)}
    files: dict[str, str | bytes] = {
        f"{called or 'leaderboard'}.{kind}": text for kind, text in texts.items()
    }
    before = f"{called}-" if called else ""
    files[before + NAME] = versions(collection.reports)
    if pairs or pairs.refused:
        of_pairs, pictures = _of_pairs(pairs)
        drawn = {f"{before}{name}": content for name, content in pictures.items()}
        files |= {f"{before}similarity.{kind}": text for kind, text in of_pairs.items()} | drawn
        texts["md"] += of_pairs["md"]
    for name, content in files.items():
        write_document(args.output / name, content)
    if not args.quiet:
        say(texts["json" if args.json else "md"].rstrip("\n"))
        say(f"Wrote {', '.join(files)} to {args.output}.", error=True)
    if not collection and not pairs:
        say(f"mecheval: No report in {args.results} counts.", error=True)
    return 0 if collection or pairs else 1


def _of_pairs(pairs: Pairs) -> tuple[dict[str, str], dict[str, bytes]]:
    """Return matrices of pairs as texts by the kind of file, and the files of their pictures."""
    from mecheval.leaderboard.similarity import as_csv, as_json, markdown
    from mecheval.reports.figures import draw

    pictures, named = {}, {}
    for number, matrix in enumerate(pairs.matrices):
        for picture in draw([], [FIGURE], pairs=[matrix]) if matrix.shown else ():
            named[number] = file_name([FIGURE, picture.task, picture.drawing.name], pictures)
            pictures[named[number]] = picture.drawing.encoded("png")
    texts = {
        "md": markdown(pairs, named), "csv": as_csv(pairs.matrices), "json": as_json(pairs),
    }  # fmt: skip
    return texts, pictures


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
    if suite.warning:
        say(f"mecheval: {suite.warning}", error=True)
    suite.check_claims(Settings(include_paths=registry.include_paths))
    asked = claims_of(suite)
    pairs = admitted_pairs(args.results) if any(claim.partner for claim in asked) else ()
    findings = examine(asked, admitted(args.results), registry, suite, pairs=[*pairs])
    say(markdown(findings, suite=args.suite).rstrip("\n"))
    return 0
