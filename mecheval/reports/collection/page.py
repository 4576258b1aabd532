"""The tables of a collection as HTML, for notebooks. Whatever stands in reports is escaped."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mecheval.escape import html as escape
from mecheval.reports.collection.overview import blocks, legend, remarks

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from mecheval.reports.collection.groups import Group
    from mecheval.reports.collection.loading import Refused


def page(about: str, groups: Sequence[Group], refused: Sequence[Refused]) -> str:
    """Return what :mod:`mecheval.reports.collection.overview` says, as HTML without scripts.

    Args:
        about: What stands above it.
        groups: What was measured.
        refused: What was not.
    """
    parts = [f"<p>{escape(about)}</p>"]
    for block in blocks(groups, refused):
        parts += [f"<p><b>{escape(caption)}</b></p>" for caption in block.captions]
        parts.append(_table(block.headers, block.rows))
    parts.append(f"<p>{escape(legend(groups))}</p>")
    said = (f"<li>{escape(line)}</li>" for line in remarks(groups, refused))
    parts += [f"<ul>{''.join(said)}</ul>"]
    return "\n".join(parts)


def _table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [_line("th", headers), *(_line("td", row) for row in rows)]
    return f"<table>{''.join(lines)}</table>"


def _line(tag: str, cells: Sequence[str]) -> str:
    return f"<tr>{''.join(f'<{tag}>{escape(cell)}</{tag}>' for cell in cells)}</tr>"
