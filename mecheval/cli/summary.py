"""The tables that a run prints: what the models score, a table per kind of evidence, remarks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mecheval.reports.collection import collect
from mecheval.reports.collection.overview import blocks, legend, remarks
from mecheval.reports.markdown import bullets, titled

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from mecheval.reports.pair_matrix import Matrix
    from mecheval.reports.schema import Report


def summary(reports: Iterable[Report]) -> str:
    """Return the tables of reports as Markdown, and below them what else there is to say.

    Several seeds become one row with means and their intervals over seeds.

    Args:
        reports: The reports, also of cells that failed.
    """
    collection = collect(reports)
    groups, refused = collection.groups, collection.refused
    parts = [titled(*block) for block in blocks(groups, refused)]
    parts += [legend(groups), bullets(remarks(groups, refused))]
    return "\n\n".join(part for part in parts if part)


def pairs_summary(matrices: Sequence[Matrix]) -> str:
    """Return matrices of pairs as Markdown, and below them what else there is to say."""
    parts = [titled(matrix.titles, *matrix.table()) for matrix in matrices if matrix.shown]
    notes = dict.fromkeys(note for matrix in matrices for note in matrix.notes)
    return "\n\n".join(filter(None, [*parts, bullets(notes)]))
