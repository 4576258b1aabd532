"""JSON that a person can read: rows of numbers and what is short stand on one line.

``json.dumps`` has one line per value, or a single line for everything. Here a list of numbers is
one line, an array one line per row, as NumPy prints it; an object of plain values is filled up to
:data:`WIDTH` columns; everything else has one line per member.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

WIDTH = 100


def dumps(value: Any) -> str:
    """Return a value as JSON, in the order in which mappings hold their keys.

    Raises:
        ValueError: A number is not finite.
    """
    return _text(value, " ")


def _text(value: Any, indent: str, taken: int = 0) -> str:
    """Write a value whose members are indented, and whose line has ``taken`` columns already."""
    if not _holds_more(value):
        return _plain(value)
    if isinstance(value, Mapping):
        members = [_member(key, item, indent) for key, item in value.items()]
        write = _filled if all(map(_is_flat, value.values())) else _lines
        return write("{}", members, indent, taken)
    if _is_array(value):
        line = _plain(value)
        fits = _is_row(value) or taken + len(line) < WIDTH
        return line if fits else _array(value, indent)
    members = [_text(item, indent + " ") for item in value]
    return (_filled if _is_flat(value) else _lines)("[]", members, indent, taken)


def _member(key: str, value: Any, indent: str) -> str:
    head = f"{json.dumps(key)}: "
    return head + _text(value, indent + " ", len(indent) + len(head))


def _lines(brackets: str, members: Sequence[str], indent: str, taken: int = 0) -> str:
    """Write one member per line."""
    opening, closing = brackets
    return f"{opening}\n{indent}" + f",\n{indent}".join(members) + f"\n{indent[1:]}{closing}"


def _filled(brackets: str, members: Sequence[str], indent: str, taken: int) -> str:
    """Write members on one line where they fit, and else on as few as they need."""
    opening, closing = brackets
    line = opening + ", ".join(members) + closing
    if taken + len(line) < WIDTH:
        return line
    rows, room = [members[0]], WIDTH - len(indent) - 1
    for member in members[1:]:
        if len(rows[-1]) + len(member) + 2 <= room:
            rows[-1] += f", {member}"
        else:
            rows.append(member)
    return _lines(brackets, rows, indent)


def _array(value: Any, indent: str) -> str:
    """Write the rows of an array, each one deeper than what holds it."""
    if not _holds_more(value) or _is_row(value):
        return _plain(value)
    return "[" + f",\n{indent} ".join(_array(item, indent + " ") for item in value) + "]"


def _plain(value: Any) -> str:
    return json.dumps(value, allow_nan=False)


def _holds_more(value: Any) -> bool:
    return isinstance(value, Mapping | list | tuple) and bool(value)


def _is_flat(value: Any) -> bool:
    """Say whether a value is plain, or a list of plain ones."""
    return not _holds_more(value) or (
        not isinstance(value, Mapping) and not any(map(_holds_more, value))
    )


def _is_row(value: Any) -> bool:
    """Say whether a value is a list of nothing but numbers, flags and nulls."""
    return isinstance(value, list | tuple) and all(
        item is None or isinstance(item, int | float) for item in value
    )


def _is_array(value: Any) -> bool:
    """Say whether a value is a row, or a list of arrays."""
    return isinstance(value, list | tuple) and all(
        item is None or isinstance(item, int | float) or _is_array(item) for item in value
    )
