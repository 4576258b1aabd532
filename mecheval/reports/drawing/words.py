"""Words for pictures: names that fit their place, components as the documentation calls them."""

from __future__ import annotations

import re
from bisect import bisect_right
from typing import TYPE_CHECKING

from mecheval import escape
from mecheval.reports.drawing.style import text_inches

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

COMPONENTS = {
    "block_in": "the stream before a block",
    "mixer_in": "what a mixer reads",
    "conv_out": "the output of a mixer's short convolution",
    "write": "what one position writes into a mixer's memory",
    "state": "a mixer's memory after a position",
    "cache": "that memory with the inputs of its short convolution",
    "q": "queries",
    "k": "keys",
    "v": "values",
    "z": "what the heads read",
    "mixer_out": "a mixer's output",
    "mlp_out": "a feed-forward part's output",
    "block_out": "the stream behind a block",
}
"""The components of a site in few words."""

ROLES = {
    "key": "the key that is asked for, where it stands in the text",
    "value": "what belongs to it",
    "next_key": "the next key in the text",
    "value+1": "the position behind the value",
    "value+2": "two positions behind the value",
    "divider": "what stands between the text and the queries",
    "query": "where the key is asked for and the answer is given",
}
"""The roles of positions in few words; one that has several is named by the first."""

VERDICTS = {
    "induction": "a layer reads the value, to which an earlier layer had brought the key",
    "direct early": "the first layer finds the key where it stands, and retrieves",
    "direct late": "a later layer finds the key where it stands, and retrieves",
    "mixed": "several layers or places do it together",
    "several": "more than one thing binds",
    "tracking predicted": "the state suffices inside, by 0.8 or more on average over the layers "
    "between the first and the last",
    "tracking not predicted": "it suffices by less",
    "kept at 4x predicted": "the states stay apart in words of four times the training length, by "
    "the trend of their spread",
    "lost at 4x predicted": "they do not",
    "sequential": "letters are multiplied one after another, in a state that is carried along",
    "associative scan": "spans of letters are multiplied, twice as long from layer to layer",
    "parity first, then scan": "the sign is kept in a state, and a scan finds the rest",
}
"""Verdicts in few words."""

BINDING = {
    "earlier": "a layer before the one that retrieves brings the key to the value",
    "own": "the layer that retrieves does so itself, at the value or at a place behind it",
    "own mixer": "its memory holds the key until the value comes",
}
"""How verdicts on what binds begin, in few words."""

CIRCUITS = (
    "Circuits hand the answer on from the value to the query: L0 is layer 0, H1 its head 1 "
    "(without one: its whole mixer), conv lag 2 what its short convolution takes from two "
    "positions before, state its memory; an arrow leads to what reads it."
)
"""How circuits are written."""

_CIRCUIT = re.compile(r"L[0-9]+(H[0-9]+| |$)")

LEFT_OUT = "..."
"""What stands for the middle of a name that is too long."""

_WHOLE = r"\.\.\.|\([0-9]+ of [0-9]+\)"
"""What no line ends within: what stands for a part that is left out, the number of a page."""

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
    for length in range(_most_that_may_fit(text, inches, points, lines), 0, -1):
        found = _broken(_cut(text, length), inches, points)
        if len(found) <= lines:
            return "\n".join(found)
    return ""


def _most_that_may_fit(text: str, inches: float, points: float, lines: int) -> int:
    """Return a length beyond which no cut fits: all rows in one would be too wide.

    Rows begin and end without spaces, letters stand nearer to some than to others, and a row may be
    one letter that is too wide.
    """
    widest = max((text_inches(letter, points) for letter in {*text, LEFT_OUT}), default=0.0)
    room = lines * (1.1 * inches + widest) + text_inches(" ", points) * len(text.split())
    longest = min(len(text), _LONGEST)
    if text_inches(_cut(text, longest), points) <= room:
        return longest
    # The more letters are left, the wider it is.
    return bisect_right(
        range(longest), room, key=lambda length: text_inches(_cut(text, length), points)
    )


def filled(text: str, inches: float, *, points: float, bold: bool = False) -> str:
    """Break sentences into lines of a width."""
    return "\n".join(_broken(clean(text), inches, points, joints=" ", bold=bold))


def _broken(
    text: str, inches: float, points: float, *, joints: str = ",[/ ", bold: bool = False
) -> list[str]:
    """Break text behind its joints, and anywhere in parts that are too wide by themselves."""
    joint = f"[{re.escape(joints)}]"
    parts = re.findall(rf"{_WHOLE}|(?:(?!{_WHOLE}|{joint}).)+{joint}?|{joint}", text)
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
    return text[: max(1, most - 3 - tail)] + LEFT_OUT + text[len(text) - tail :]


def listed(names: Sequence[str], *, most: int = 12) -> str:
    """Return ``a, b and c``, with only the first ones named where there are many."""
    names = [clean(name) for name in names]
    if len(names) > most:
        names = [*names[: most - 1], f"{len(names) - most + 1} others"]
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


def explained(names: Sequence[str], known: Mapping[str, str]) -> str:
    """Explain names, as ``block_in: the stream before a block; conv_out: ...``; those known."""
    told = "; ".join(f"{name}: {known[name]}" for name in names if name in known)
    return told and f"{told}."


def verdicts(said: Collection[str]) -> str:
    """Explain the verdicts that occur."""
    begun = [word for word in BINDING if any(name.startswith(f"{word} ") or name == word
                                             for name in said)]  # fmt: skip
    known = explained([*(name for name in VERDICTS if name in said), *begun], VERDICTS | BINDING)
    circuits = any(_CIRCUIT.match(name) for name in said)
    return " ".join(filter(None, [known, CIRCUITS if circuits else ""]))


def n_lines(text: str, inches: float, *, points: float) -> int:
    """Return how many lines of a width a name needs to be whole."""
    return len(_broken(clean(text), inches, points))
