"""``mecheval report``: pictures of reports."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mecheval.cli import options
from mecheval.cli.printing import say
from mecheval.errors import UsageError
from mecheval.paths import resolved

if TYPE_CHECKING:
    import argparse
    from pathlib import Path

SUFFIXES = (".png", ".svg")


def add(subparsers: argparse._SubParsersAction) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "report",
        help="draw a report, or a folder of them",
        description="Draw a report, or a folder of them: layer curves and recovery heat maps; "
        "accuracy, verdicts and interchange by role; or what becomes of them in training.",
    )
    parser.add_argument(
        "paths", type=options.path, nargs="+", metavar="PATH",
        help="a report, or a folder of reports",
    )  # fmt: skip
    parser.add_argument(
        "--output", "-o", type=options.path, metavar="PATH",
        help="a .png or .svg file, or a folder (default: beside the report, or in the folder, of "
        "the first PATH)",
    )  # fmt: skip
    parser.add_argument(
        "--figure", "-f", default="layers", metavar="NAME",
        help="layers, mechanism or training (default: layers)",
    )  # fmt: skip
    options.add_quiet(parser)
    parser.set_defaults(command=report)


def report(args: argparse.Namespace) -> int:
    """Draw and write the picture, and print where it lies.

    Raises:
        UsageError: There is no report, or the picture's suffix is unknown.
        StorageError: The picture could not be written.
    """
    from mecheval.reports.files import find_reports, read_report

    files: dict[Path, None] = {}  # a report that several of the paths lead to is drawn once
    for path in args.paths:
        found = find_reports(path)
        if not found:
            raise UsageError(f"The folder {path} holds no reports. Give one that does.")
        files |= dict.fromkeys(resolved(file) for file in found)
    target = _target(args.paths[0], args.output)
    reports = [read_report(file) for file in files]

    from mecheval.reports.documents import write_document
    from mecheval.reports.figures import render

    picture = render(reports, target.suffix.removeprefix("."), figure=args.figure)
    write_document(target, picture)
    if not args.quiet:
        say(f"Wrote {target}.")
    return 0


def _target(source: Path, output: Path | None) -> Path:
    """Return the picture's path; a folder of reports gives ``report.png``.

    Raises:
        UsageError: The suffix is neither .png nor .svg.
    """
    name = f"{source.stem}.png" if source.is_file() else "report.png"
    if output is None:
        return (source.parent if source.is_file() else source) / name
    if output.is_dir() or not output.suffix:
        return output / name
    if output.suffix not in SUFFIXES:
        raise UsageError(
            f"Cannot draw a '{output.suffix}' picture. Give a file that ends in .png or .svg."
        )
    return output
