"""The reports of one version of a suite, among those of a folder."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from mecheval.reports.collection import Collection, Pairs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mecheval.harness.suite_cells import SuiteCell, SuiteVersion
    from mecheval.reports.collection import Refused


def of_suite(collection: Collection, version: SuiteVersion) -> Collection:
    """Return the reports of the cells of a suite; what was refused stays named where it is of one.

    Args:
        collection: The reports of a folder.
        version: The version of the suite.
    """
    groups = [
        replace(group, reports=tuple(r for r in group.reports if r.key in version.cells))
        for group in collection.groups
    ]
    return Collection([group for group in groups if group.reports], _refused(collection, version))


def _refused(collection: Collection, version: SuiteVersion) -> list[Refused]:
    return [
        item
        for item in collection.refused
        if item.report is None or item.report.key in version.cells
    ]


def pairs_of_suite(pairs: Pairs, version: SuiteVersion) -> Pairs:
    """Return the reports of pairs of which both cells are of a suite."""
    kept = [
        pair for pair in pairs.reports if {pair.identity.a, pair.identity.b} <= version.cells.keys()
    ]
    return Pairs(kept, pairs.refused)


def missing(collection: Collection, version: SuiteVersion) -> Sequence[SuiteCell]:
    """Return the cells of a suite of which no report counts."""
    there = {report.key for report in collection.reports}
    return [cell for key, cell in version.cells.items() if key not in there]
