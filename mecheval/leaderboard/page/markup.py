"""HTML as text. Whatever comes from reports is escaped here, whether it is shown or is data."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from mecheval import escape

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_IN_SCRIPT = {ord(sign): f"\\u{ord(sign):04x}" for sign in "<>&\u2028\u2029"}
"""What could end a block of data, or begin a comment in it."""

_MARKS = re.compile(r"(`[^`]+`|\*\w[\w ]*\*)")


class Html(str):
    """Text that is HTML already, so that :func:`text` leaves it as it is."""

    __slots__ = ()


def text(value: Any) -> Html:
    """Return a value as HTML that shows it; Markdown of tables is emphasised where it is there."""
    if isinstance(value, Html):
        return value
    if isinstance(value, escape.Markdown) and value.startswith("*") and value.endswith("*"):
        return tag("em", value.strip("*"))
    return Html(escape.html(str(value)))


def tag(name: str, *inside: Any, **attributes: Any) -> Html:
    """Return an element.

    Args:
        name: The element.
        inside: What it holds; escaped unless it is :class:`Html`.
        attributes: Its attributes: ``class_`` is ``class``, ``data_x`` is ``data-x``; those that
            are None or False are left out, those that are True have no value.
    """
    given = [
        f" {key.rstrip('_').replace('_', '-')}" + ("" if value is True else f'="{text(value)}"')
        for key, value in attributes.items()
        if value is not None and value is not False
    ]
    return Html(f"<{name}{''.join(given)}>{joined(inside)}</{name}>")


def joined(parts: Iterable[Any]) -> Html:
    """Return parts one after another."""
    return Html("".join(map(text, parts)))


def table(
    headers: Sequence[Any], rows: Iterable[Sequence[Any]], *, caption: str, class_: str = ""
) -> Html:
    """Return a table that scrolls by itself where it is too wide; first cells are headings of rows.

    Args:
        headers: One heading per column.
        rows: The cells.
        caption: What the table is, for readers who cannot see where it stands.
        class_: Its class.
    """
    head = tag("tr", *(tag("th", each, scope="col") for each in headers))
    body = [
        tag("tr", tag("th", first, scope="row"), *(tag("td", cell) for cell in rest))
        for first, *rest in rows
    ]
    found = tag(
        "table", tag("caption", caption), tag("thead", head), tag("tbody", *body),
        class_=class_ or None,
    )  # fmt: skip
    return tag("div", found, class_="wide", role="region", aria_label=caption, tabindex="0")


def bullets(lines: Iterable[Any]) -> Html:
    """Return a list; nothing where there is nothing to say."""
    found = [tag("li", line) for line in lines]
    return tag("ul", *found) if found else Html("")


def paragraphs(lines: Iterable[Any]) -> Html:
    """Return a paragraph per line that is not empty."""
    return joined(tag("p", line) for line in lines if line)


def marked(line: str) -> Html:
    """Return a sentence of ours in which backticks and stars mark code and emphasis."""
    found = []
    for part in _MARKS.split(line):
        name = {"`": "code", "*": "em"}.get(part[:1]) if _MARKS.fullmatch(part) else None
        found.append(tag(name, part[1:-1]) if name else text(part))
    return joined(found)


def breakable(name: str) -> Html:
    """Return a name that may go on in the next line behind its commas and brackets."""
    parts = re.split(r"(?<=[,\[/+])", name)
    return Html("<wbr>".join(map(text, parts)))


def data(value: Any, **attributes: Any) -> Html:
    """Return a block of JSON, which no browser runs.

    Raises:
        ValueError: A number is not finite.
    """
    packed = json.dumps(_shown(value), allow_nan=False, separators=(",", ":"), ensure_ascii=False)
    inside = Html(packed.translate(_IN_SCRIPT))
    return tag("script", inside, type="application/json", **attributes)


def _shown(value: Any) -> Any:
    """Write characters that nobody sees, or that turn text round, as they are written elsewhere."""
    if isinstance(value, str):
        return escape.terminal(value)
    if isinstance(value, dict):
        return {escape.terminal(str(key)): _shown(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_shown(each) for each in value]
    return value
