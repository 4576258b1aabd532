"""What cells are called in addresses, and where their reports lie as seen from the page."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote

from mecheval.leaderboard.page.markup import Html, joined, tag
from mecheval.paths import is_dir
from mecheval.reports.canonical import sha256_of
from mecheval.reports.collection.groups import group_key

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from mecheval.reports.collection import Group
    from mecheval.reports.schema import Report

FOLDER = "cells"
"""Where cells have pages of their own, if they have."""


def cell_id(group: Group) -> str:
    """Return what a cell is called in addresses: the same in every page that has it."""
    return f"cell-{sha256_of(group_key(group.identity))[:12]}"


@dataclass(frozen=True)
class Links:
    """Where what the page names lies.

    Attributes:
        reports: The folder of the reports, as seen from the page.
        paths: The files of the reports in it, by key.
        apart: Whether cells have pages of their own.
    """

    reports: str
    paths: Mapping[str, str]
    apart: bool = False

    def cell(self, group: Group) -> str:
        """Return the address of a cell."""
        return f"{FOLDER}/{cell_id(group)}.html" if self.apart else f"#{cell_id(group)}"

    def seeds(self, group: Group) -> Html:
        """Return the seeds, each a link to its report."""
        found = [
            self._report(str(seed), report, above=0)
            for seed, reports in group.by_seed.items()
            for report in reports
        ]
        return joined(tag("span", each, " ") for each in found)

    def report(self, said: str, report: Report) -> Html:
        """Return a link to a report from the view of its cell."""
        return self._report(said, report, above=int(self.apart))

    def _report(self, said: str, report: Report, *, above: int) -> Html:
        path = self.paths.get(report.key)
        if path is None:
            return tag("span", said)
        address = "../" * above + quote(f"{self.reports}/{path}")
        return tag("a", said, href=address, title=f"JSON report of seed {report.identity.seed}")


def links_between(results: Path, output: Path, paths: Mapping[str, str]) -> Links:
    """Return the links from a page in one folder to the reports in another.

    Args:
        results: The folder of the reports, or the only report.
        output: The folder of the page.
        paths: The files of the reports, relative to their folder, by key.
    """
    folder = results if is_dir(results) else results.parent
    try:
        seen = os.path.relpath(folder, output).replace(os.sep, "/")
    except ValueError:  # another drive: there is no way from the one to the other
        return Links("", {})
    return Links(seen, paths)
