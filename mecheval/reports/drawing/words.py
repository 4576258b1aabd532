"""Words for pictures: names that fit their place, components as the documentation calls them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from mecheval import escape
from mecheval.reports.drawing.style import text_inches

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

_LONGEST = 200  # characters that can fit into two lines


def clean(text: str) -> str:
    """Return text on one line, with characters that cannot be seen written out.

    Dollars are dollars: :data:`mecheval.reports.drawing.style.STYLE` switches mathematics off.
    """
    return escape.line(" ".join(text.split()))


def wrapped(text: str, inches: float, *, points: float, lines: int = 2) -> str:
    """Break a name into lines of a width; cut its middle if it needs more of them.

    Names break behind commas, brackets and slashes, so that ``mamba[layers=2,width=64]`` stays
    whole in its parts.
    """
    text = clean(text)
    for length in range(min(len(text), _LONGEST), 0, -1):
        found = _broken(_cut(text, length), inches, points)
        if len(found) <= lines:
            return "\n".join(found)
    return ""


def filled(text: str, inches: float, *, points: float, bold: bool = False) -> str:
    """Break sentences into lines of a width."""
    return "\n".join(_broken(clean(text), inches, points, joints=" ", bold=bold))


def _broken(
    text: str, inches: float, points: float, *, joints: str = ",[/ ", bold: bool = False
) -> list[str]:
    """Break text behind its joints, and anywhere in parts that are too wide by themselves."""
    parts = re.findall(f"[^{re.escape(joints)}]*[{re.escape(joints)}]?", text)
    rows = [""]
    for part in filter(None, parts):
        for piece in _pieces(part, inches, points, bold=bold):
            if text_inches((rows[-1] + piece).rstrip(), points, bold=bold) > inches:
                rows.append("")
            rows[-1] += piece
    return [row.strip() for row in rows if row.strip()]


def _pieces(part: str, inches: float, points: float, *, bold: bool) -> list[str]:
    if text_inches(part.rstrip(), points, bold=bold) <= inches or len(part) == 1:
        return [part]
    middle = len(part) // 2
    halves = part[:middle], part[middle:]
    return [piece for half in halves for piece in _pieces(half, inches, points, bold=bold)]


def _cut(text: str, most: int) -> str:
    """Leave out the middle of a text that is too long, which tells names apart least."""
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
