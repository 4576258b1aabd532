"""A Markdown page of reports: tables, what their columns are, pictures with their captions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mecheval import escape

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mecheval.reports.collection import Column
    from mecheval.reports.figures import Picture
    from mecheval.reports.schema import Report


def page(
    reports: Sequence[Report],
    columns: Sequence[Column],
    *,
    tables: str,
    pictures: Sequence[tuple[str, Picture]],
) -> str:
    """Return the page.

    Args:
        reports: The reports.
        columns: The columns of the tables.
        tables: The tables, as Markdown.
        pictures: Pictures with the names of their files, which lie beside the page.
    """
    parts = ["# Results\n", tables + "\n", *_columns(reports, columns)]
    task = None
    for file, picture in pictures:
        if picture.task != task:
            task = picture.task
            parts.append(f"## {escape.markdown(task)}\n")
        drawing = picture.drawing
        title = escape.markdown(drawing.title)
        parts.append(escape.image(drawing.title, file) + "\n")
        parts.append(f"**{title}.** {escape.markdown(drawing.caption)}\n")
    return "\n".join(parts)


def _columns(reports: Sequence[Report], columns: Sequence[Column]) -> list[str]:
    """Say in words what stands in every column, where its heading does not."""
    titles = {result.id: result.title for report in reports for result in report.metrics}
    lines = [
        f"- {escape.markdown(column.title)}: {escape.markdown(words)}"
        for column in columns
        if (words := _words(column, titles.get(column.id, ""))) not in column.title
    ]
    return ["What the columns hold:\n", "\n".join(lines) + "\n"] if lines else []


def _words(column: Column, title: str) -> str:
    """Return the result's title, and which of its numbers the column has."""
    return f"{title}, {column.at.replace('_', ' ')}" if column.at not in ("", "verdict") else title
