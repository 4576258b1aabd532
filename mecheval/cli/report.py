"""``mecheval report``: pictures of reports, and a page that holds them with the tables."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from mecheval import escape
from mecheval.cli import options
from mecheval.cli.kinds import advice
from mecheval.cli.naming import file_name
from mecheval.cli.printing import say
from mecheval.errors import UsageError
from mecheval.paths import exists, is_dir, is_file, resolved

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from mecheval.reports.figures import Picture
    from mecheval.reports.pair import PairReport
    from mecheval.reports.pair_matrix import Matrix
    from mecheval.reports.schema import Report

PAGE, PICTURES = ".md", (".png", ".svg")
RESULTS = Path("results")


def add(subparsers: argparse._SubParsersAction) -> None:
    """Register the command."""
    from mecheval.reports.figures import figures

    kinds = "; ".join(
        f"{name} - {shows[0].lower()}{shows[1:]}" for name, shows in figures().items()
    )
    parser = subparsers.add_parser(
        "report",
        help="draw a report, or a folder of them, or write a page with tables and pictures",
        description="Draw what there is to draw in reports: a picture per task and figure, as wide "
        f"as the text of a paper. Figures: {kinds}.".replace("%", "%%"),
    )
    parser.add_argument(
        "paths", type=options.path, nargs="*", metavar="PATH",
        help=f"a report, or a folder of reports (default: {RESULTS})",
    )  # fmt: skip
    parser.add_argument(
        "--output", "-o", type=options.path, metavar="PATH",
        help="a .png or .svg file; a .md file, for tables and pictures on a page; or a folder "
        "(default: pictures beside the report, or in the folder, of the first PATH). Of several "
        "pictures, each has its task and figure in its name",
    )  # fmt: skip
    options.add_list(
        parser, "--figure", "--figures", "-f", metavar="NAME",
        help="the figures to draw (default: all for which there is anything)",
    )  # fmt: skip
    options.add_quiet(parser)
    parser.set_defaults(command=report)


def report(args: argparse.Namespace) -> int:
    """Draw and write the pictures, and print where they lie.

    Raises:
        UsageError: There is no report, nothing to draw, or the output's suffix is unknown.
        StorageError: A file could not be written.
    """
    paths = args.paths or [RESULTS]
    target = _target(paths[0], args.output)
    reports, pairs = _read(paths)

    from mecheval.reports.documents import write_document
    from mecheval.reports.figures import draw
    from mecheval.reports.pair_matrix import matrices_of

    matrices = matrices_of(pairs, by_name=True)
    try:
        pictures = draw(
            reports, options.names(args.figure), pairs=matrices, pair_reports=pairs
        )  # fmt: skip
    except UsageError:
        if target.page is None or args.figure:
            raise
        pictures = []  # a page has its tables in any case
    files = _files(pictures, target, named=is_dir(paths[0]) or len(paths) > 1)
    for file, picture in zip(files, pictures, strict=True):
        write_document(file, picture.drawing.encoded(target.kind, captioned=target.page is None))
    if target.page is not None:
        write_document(target.page, _page(reports, matrices, files, pictures))
    if not args.quiet:
        for file in filter(None, (target.page, *files)):
            say(f"Wrote {file}.")
    return 0


def _read(paths: Sequence[Path]) -> tuple[list[Report], list[PairReport]]:
    """Read all reports, of cells and of pairs; one that several paths lead to is read once.

    What cannot be read in a folder is left out, and said on stderr; a file that is named must be a
    report.

    Raises:
        UsageError: A path leads to no report.
    """
    from mecheval.reports.files import find_pairs, find_reports, read_either
    from mecheval.reports.pair import PairReport
    from mecheval.reports.schema import Report

    found: dict[Path, Report | PairReport] = {}
    for path in paths:
        if not exists(path):
            raise UsageError(
                f"There is no file or folder {path}. Give a report, or a folder of reports such "
                f"as `mecheval run` writes.{advice(str(path))}"
            )
        files = sorted({*find_reports(path), *find_pairs(path)})
        for file in files:
            try:
                found[resolved(file)] = read_either(file)
            except UsageError as error:
                if not is_dir(path):
                    raise
                say(f"mecheval: left out: {escape.sentence(str(error))}", error=True)
        if not any(resolved(file) in found for file in files):
            raise UsageError(f"The folder {path} holds no reports. Give one that does.")
    read = found.values()
    pairs = [each for each in read if isinstance(each, PairReport)]
    return [each for each in read if isinstance(each, Report)], pairs


class _Target(NamedTuple):
    """Where pictures go.

    Attributes:
        folder: Their folder.
        stem: How their names begin.
        kind: What they are: png or svg.
        file: The name that was asked for, which a single picture gets.
        page: The page that holds them.
    """

    folder: Path
    stem: str
    kind: str = "png"
    file: Path | None = None
    page: Path | None = None


def _target(source: Path, output: Path | None) -> _Target:
    """Say where the pictures of a report or a folder go.

    Raises:
        UsageError: The suffix is of no file that can be written.
    """
    of_file = is_file(source)
    stem = source.stem if of_file else "report"
    if output is None:
        return _Target(source.parent if of_file else source, stem)
    if is_dir(output) or not output.suffix:
        return _Target(output, stem)
    if output.suffix == PAGE:
        return _Target(output.parent, output.stem, page=output)
    if output.suffix in PICTURES:
        return _Target(output.parent, output.stem, output.suffix.removeprefix("."), file=output)
    raise UsageError(
        f"Cannot draw a {escape.quoted(output.suffix)} picture. Give a file that ends in "
        ".png or .svg, or in .md for a page."
    )


def _files(pictures: Sequence[Picture], target: _Target, *, named: bool) -> list[Path]:
    """Name the files of pictures: by task, if there can be several, figure, and what it is of."""
    if target.file is not None and len(pictures) == 1:
        return [target.file]
    found: dict[str, None] = {}
    for picture in pictures:
        parts = [target.stem, picture.task if named else "", picture.figure, picture.drawing.name]
        found[file_name(parts, found, kind=target.kind)] = None
    return [target.folder / name for name in found]


def _page(
    reports: Sequence[Report],
    matrices: Sequence[Matrix],
    files: Sequence[Path],
    pictures: Sequence[Picture],
) -> str:
    from mecheval.cli.summary import pairs_summary, summary
    from mecheval.reports.collection import collect
    from mecheval.reports.drawing.page import page

    named = [(file.name, picture) for file, picture in zip(files, pictures, strict=True)]
    parts = [summary(reports) if reports else "", pairs_summary(matrices)]
    tables = "\n\n".join(filter(None, parts))
    return page(reports, collect(reports).columns, tables=tables, pictures=named)
