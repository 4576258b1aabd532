"""``mecheval leaderboard``: tables from a folder of reports, and what they say of claims."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mecheval import escape
from mecheval.cli import options
from mecheval.cli.naming import file_name
from mecheval.cli.printing import say
from mecheval.errors import UsageError
from mecheval.paths import is_dir

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from mecheval.reports.collection import Collection, Pairs, Refused

FIGURE = "similarity"
"""The figure of matrices of pairs, and how the names of their files begin."""

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
        0, or 1 if no report counts, of cells or of pairs.

    Raises:
        UsageError: There is no such folder, or it holds no reports.
        StorageError: The tables could not be written.
    """
    from mecheval.leaderboard.board import build as build_board
    from mecheval.leaderboard.tables import as_csv, as_json, markdown
    from mecheval.leaderboard.versions import NAME, versions
    from mecheval.reports.documents import write_document

    collection, pairs = _admitted(args.results), _admitted_pairs(args.results)
    if not any((collection, collection.refused, pairs, pairs.refused)):
        raise UsageError(f"The folder {args.results} holds no reports. Give one that does.")
    board = build_board(collection)
    texts = {"md": markdown(board), "csv": as_csv(board), "json": as_json(board)}
    files: dict[str, str | bytes] = {f"leaderboard.{kind}": text for kind, text in texts.items()}
    files[NAME] = versions(collection.reports)
    if pairs or pairs.refused:
        of_pairs, pictures = _of_pairs(pairs)
        files |= {f"similarity.{kind}": text for kind, text in of_pairs.items()} | pictures
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
    suite.check_claims(Settings(include_paths=registry.include_paths))
    asked = claims_of(suite)
    pairs = _admitted_pairs(args.results) if any(claim.partner for claim in asked) else ()
    findings = examine(asked, _admitted(args.results), registry, suite, pairs=[*pairs])
    say(markdown(findings, suite=args.suite).rstrip("\n"))
    return 0


def _admitted(results: Path) -> Collection:
    """Read the reports that count, and name those that do not on stderr."""
    from mecheval.leaderboard.admission import admit

    collection = admit(results)
    _name_refused(results, collection.refused)
    return collection


def _admitted_pairs(results: Path) -> Pairs:
    """Read the reports of pairs that count; as :func:`_admitted`."""
    from mecheval.leaderboard.admission import admit_pairs

    pairs = admit_pairs(results)
    _name_refused(results, pairs.refused)
    return pairs


def _name_refused(results: Path, refused: Sequence[Refused]) -> None:
    for item in refused:
        path = results / item.path if is_dir(results) else results
        say(escape.line(f"mecheval: refused {path}: {item.reason}"), error=True)
