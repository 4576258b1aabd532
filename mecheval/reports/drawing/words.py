"""Words for pictures: names that fit their place, components as the documentation calls them."""

from __future__ import annotations

import re
import textwrap
from typing import TYPE_CHECKING

from mecheval import escape

if TYPE_CHECKING:
    from collections.abc import Sequence

COMPONENTS = {
    "block_in": "the stream before a block",
    "mixer_in": "what a mixer reads",
    "conv_out": "its short convolution's output",
    "write": "what one position writes into a mixer's memory",
    "state": "a mixer's memory after a position",
    "cache": "that memory with the inputs of its short convolution",
    "q": "queries",
    "k": "keys",
    "v": "values",
    "attn_out": "what the heads read",
    "mixer_out": "a mixer's output",
    "mlp_out": "a feed-forward part's output",
    "block_out": "the stream behind a block",
}
"""The components of a site in few words."""


def clean(text: str) -> str:
    """Return text on one line, with characters that cannot be seen written out.

    Dollars are dollars: :data:`mecheval.reports.drawing.style.STYLE` switches mathematics off.
    """
    return escape.line(" ".join(text.split()))


def wrapped(text: str, width: int, *, lines: int = 2) -> str:
    """Break a name into lines of at most ``width`` characters; cut its middle if it needs more.

    Names break behind commas, brackets and slashes, so that ``mamba[layers=2,width=64]`` stays
    whole in its parts.
    """
    text = clean(text)
    most = width * lines
    for length in range(len(text), 0, -1):
        shown = _cut(text, min(length, most))
        found = _broken(shown, width)
        if len(found) <= lines:
            return "\n".join(found)
    return _cut(text, width)


def _broken(text: str, width: int) -> list[str]:
    parts = re.findall(r"[^,\[/ ]*[,\[/ ]?", text)
    rows = [""]
    for part in filter(None, parts):
        pieces = textwrap.wrap(part, width) if len(part) > width else [part]
        for piece in pieces:
            if len(rows[-1]) + len(piece.rstrip()) > width:
                rows.append("")
            rows[-1] += piece
    return [row.strip() for row in rows if row.strip()]


def _cut(text: str, most: int) -> str:
    if len(text) <= most:
        return text
    tail = max(0, (most - 3) // 3)
    return text[: max(1, most - 3 - tail)] + "..." + text[len(text) - tail :]


def listed(names: Sequence[str], *, most: int = 12) -> str:
    """Return ``a, b and c``, with only the first ones named where there are many."""
    names = [clean(name) for name in names]
    if len(names) > most:
        names = [*names[: most - 1], f"{len(names) - most + 1} others"]
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


def sites(components: Sequence[str]) -> str:
    """Explain components, as ``block_in: the stream before a block; conv_out: ...``."""
    return "; ".join(f"{name}: {COMPONENTS[name]}" for name in components if name in COMPONENTS)
