"""Markdown tables that line up as plain text and can be pasted into an issue."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mecheval.escape import markdown

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


def titled(titles: Sequence[str], headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table with paragraphs above it, which are escaped."""
    return "\n\n".join([*map(markdown, titles), table(headers, rows)])


def bullets(lines: Iterable[str]) -> str:
    """Return a Markdown list of lines, which are escaped."""
    return "\n".join(f"- {markdown(line)}" for line in lines)


def table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table with padded columns, without a newline at its end.

    Args:
        headers: One heading per column.
        rows: The cells, escaped unless they are :class:`mecheval.escape.Markdown`.
    """
    lines = [[markdown(cell) for cell in line] for line in (headers, *rows)]
    widths = [max(3, *map(len, column)) for column in zip(*lines, strict=True)]
    ruled = [lines[0], ["-" * width for width in widths], *lines[1:]]
    return "\n".join(
        "| " + " | ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)) + " |"
        for line in ruled
    )
