"""``mecheval leaderboard page``: one HTML file that shows a folder of reports."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mecheval.cli import options
from mecheval.cli.leaderboard_admitted import admitted, admitted_pairs
from mecheval.cli.printing import say
from mecheval.errors import UsageError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from mecheval.leaderboard.claims import Finding
    from mecheval.registry import Registry
    from mecheval.reports.collection import Collection, Pairs

SITE = Path("leaderboards") / "site"


def add(commands: argparse._SubParsersAction) -> None:
    """Register the command."""
    showing = commands.add_parser(
        "page",
        help="write one HTML file that shows all reports, and fetches nothing",
        description="Write index.html: all results, to be searched, sorted and filtered; on a "
        "click the curves, maps, configuration and command of a cell; models side by side; the "
        "claims of all suites; matrices of pairs. It needs no network, and its tables no scripts. "
        "Where it would be larger than 10 MB every cell has a file of its own beside it.",
    )
    showing.add_argument(
        "results", nargs="?", type=options.path, default=Path("results"), metavar="RESULTS",
        help="folder of reports (default: results)",
    )  # fmt: skip
    options.add_output(showing, help=f"folder of the page (default: {SITE})", default=str(SITE))
    showing.add_argument("--title", default="mecheval leaderboards", help="what the page is called")
    options.add_include_path(showing)
    options.add_quiet(showing)
    showing.set_defaults(command=page)


def page(args: argparse.Namespace) -> int:
    """Write the page; name the refused reports on stderr.

    Returns:
        0, or 1 if no report counts, of cells or of pairs.

    Raises:
        UsageError: There is no such folder, it holds no reports, or another page is in the way.
        StorageError: The page could not be written.
    """
    from mecheval.leaderboard.page.build import Shown, pages
    from mecheval.leaderboard.page.document import GENERATOR
    from mecheval.leaderboard.page.links import links_between
    from mecheval.reports.documents import check_folder, write_folder

    check_folder(args.output, GENERATOR)
    collection, pairs = admitted(args.results), admitted_pairs(args.results)
    if not any((collection, collection.refused, pairs, pairs.refused)):
        raise UsageError(f"The folder {args.results} holds no reports. Give one that does.")
    links = links_between(args.results, args.output, collection.paths)
    findings = _findings(collection, pairs, options.registry_of(args))
    files = pages(Shown(args.title, collection, pairs, findings, links))
    write_folder(args.output, files, GENERATOR)
    if not args.quiet:
        size = sum(len(text.encode()) for text in files.values()) / 1e6
        many = "index.html" if len(files) == 1 else f"index.html and {len(files) - 1} files more"
        say(f"Wrote {many}, {size:.1f} MB, to {args.output}.", error=True)
    if not collection and not pairs:
        say(f"mecheval: No report in {args.results} counts.", error=True)
    return 0 if collection or pairs else 1


def _findings(
    collection: Collection, pairs: Pairs, registry: Registry
) -> dict[str, Sequence[Finding]]:
    """Return the claims of every suite of the package of which any is about these reports."""
    from mecheval.harness.suites import load_suite, suite_names
    from mecheval.leaderboard.claim import claims_of
    from mecheval.leaderboard.claims import concerns, examine

    found = {}
    for suite in map(load_suite, suite_names()):
        claims = claims_of(suite)
        if concerns(claims, collection):
            findings = examine(claims, collection, registry, suite, pairs=[*pairs])
            if any(finding.groups or finding.number for finding in findings):
                found[suite.path.stem] = findings
    return found
