"""``mecheval leaderboard export``: results for other programs, for papers and for the hub."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mecheval.cli import options
from mecheval.cli.leaderboard_admitted import admitted, chosen_suite
from mecheval.cli.printing import say
from mecheval.errors import UsageError, unknown

if TYPE_CHECKING:
    import argparse

    from mecheval.reports.collection import Collection

FORMATS = ("csv", "datasets", "latex")
FOLDER = Path("leaderboards") / "export"


def add(commands: argparse._SubParsersAction) -> None:
    """Register the command."""
    exporting = commands.add_parser(
        "export",
        help="write results as data sets, as a data frame, and as tables for a paper",
        description="Write all numbers of all seeds: as Parquet that `datasets` loads, as CSV, and "
        "as LaTeX tables with ranks over the cells that all models have and intervals of these.",
    )
    exporting.add_argument(
        "results", nargs="?", type=options.path, default=Path("results"), metavar="RESULTS",
        help="folder of reports (default: results)",
    )  # fmt: skip
    options.add_output(exporting, help=f"folder to write to (default: {FOLDER})",
                       default=str(FOLDER))  # fmt: skip
    options.add_list(exporting, "--to", metavar="FORMAT",
                     help=f"{', '.join(FORMATS)} (default: all)")  # fmt: skip
    exporting.add_argument(
        "--suite", metavar="NAME", help="the cells of a suite alone: demo, retrieval-small@1"
    )
    exporting.add_argument(
        "--push-to-hub", metavar="OWNER/NAME",
        help="upload the data sets to this repository of the Hugging Face hub",
    )  # fmt: skip
    options.add_quiet(exporting)
    exporting.set_defaults(command=export)


def export(args: argparse.Namespace) -> int:
    """Write the files, and push the data sets if that is asked for.

    Returns:
        0, or 1 if no report counts.

    Raises:
        UsageError: There is no such folder, suite or format.
        StorageError: A file could not be written, or the hub not be reached.
    """
    from mecheval.leaderboard.export.hub import check_place, push
    from mecheval.reports.documents import write_document

    formats: list[str] = options.read(args.to, "--to", options.names) or [*FORMATS]
    for each in formats:
        if each not in FORMATS:
            raise unknown("format", each, FORMATS, see=f"these: {', '.join(FORMATS)}")
    place = None if args.push_to_hub is None else check_place(args.push_to_hub)
    if place and "datasets" not in formats:
        raise UsageError("--push-to-hub uploads the data sets. Add datasets to --to.")
    collection, title = chosen_suite(admitted(args.results), args.suite)
    if not collection:
        say(f"mecheval: No report in {args.results} counts.", error=True)
        return 1
    files = _files(collection, formats, title or "Results of mecheval")
    for name, content in files.items():
        write_document(args.output / name, content)
    if not args.quiet:
        say(f"Wrote {', '.join(files)} to {args.output}.", error=True)
    if place:
        say(f"Pushed to {push(args.output / 'datasets', place)}.", error=True)
    return 0


def _files(collection: Collection, formats: list[str], title: str) -> dict[str, str | bytes]:
    files: dict[str, str | bytes] = {}
    if "datasets" in formats:
        from mecheval.leaderboard.export.dataset import as_files

        files |= {f"datasets/{name}": text for name, text in as_files(collection, title).items()}
    if "csv" in formats:
        from mecheval.escape import csv

        safe = collection.to_frame().map(csv)
        files["numbers.csv"] = safe.to_csv(index=False, lineterminator="\n")
    if "latex" in formats:
        from mecheval.leaderboard.board import build
        from mecheval.leaderboard.export.latex import as_latex
        from mecheval.leaderboard.export.scores import ranked

        files["tables.tex"] = as_latex(build(collection), ranked(collection), title)
    return files
