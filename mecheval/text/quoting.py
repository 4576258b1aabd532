"""Quotes and brackets on the command line: where a text may be split, and what is in quotes."""

from __future__ import annotations

import json
import re

from mecheval.errors import UsageError
from mecheval.escape import quoted

HUB = "hf:"
"""How names of checkpoints begin; a path may follow, which may need quotes."""

_PLAIN = re.compile(r"[^\s,\[\]\"'@]+")
_QUOTED = re.compile(r"'([^']*)'|\"(?:[^\"\\]|\\.)*\"", re.DOTALL)
_DEEPEST = 32  # brackets within brackets


def split_list(text: str, *, whole: str | None = None) -> list[str]:
    """Split a list of names at commas and spaces outside brackets and quotes.

    Args:
        text: The list.
        whole: What it is a part of, for the message.

    Raises:
        UsageError: Brackets or quotes do not match, or too many are within each other.
    """
    items, current, depth = [], "", 0
    inside, is_open = in_quotes(text)
    for character, is_inside in zip(text, inside, strict=True):
        if character in "[]" and not is_inside:
            depth += 1 if character == "[" else -1
        if not 0 <= depth <= _DEEPEST:
            break
        if depth == 0 and character in ", \t\n" and not is_inside:
            items.append(current)
            current = ""
        else:
            current += character
    if depth or is_open:
        raise UsageError(
            f"Malformed name {quoted(whole or text)}: brackets or quotes do not match. "
            f"Write it like mamba[layers=2,width=64].{hint_for(whole or text)}"
        )
    return [item for item in [*items, current] if item]


def in_quotes(text: str) -> tuple[list[bool], bool]:
    """Say of every character whether it is in quotes or a quote itself, and whether one is open."""
    inside, quote, escaped = [], "", False
    for character in text:
        if not quote:
            quote = character if character in "\"'" else ""
            inside.append(bool(quote))
            continue
        inside.append(True)
        closes = character == quote and not escaped
        escaped = quote == '"' and character == "\\" and not escaped
        quote = "" if closes else quote
    return inside, bool(quote)


def places(text: str, characters: str) -> list[int]:
    """Return where characters stand outside quotes."""
    inside, _ = in_quotes(text)
    return [i for i, c in enumerate(text) if c in characters and not inside[i]]


def unquoted(text: str) -> str:
    """Take the quotes away: single ones hold any text, double ones that of a JSON string.

    Raises:
        ValueError: What is in double quotes is no JSON string.
    """
    return _QUOTED.sub(_content, text)


def as_word(text: str) -> str:
    """Write a text as one word that :func:`unquoted` reads back."""
    if _PLAIN.fullmatch(text):
        return text
    return json_string(text) if "'" in text else f"'{text}'"


def json_string(text: str) -> str:
    """Write a text in double quotes, for JSON and TOML alike."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def hint_for(text: str) -> str:
    """Return advice that ends a message about a name that cannot be read; empty for most."""
    if not text.lstrip().startswith(HUB):
        return ""
    return f" Put a path with brackets, @, quotes or spaces into quotes: {HUB}'odd/a b[1]'."


def _content(found: re.Match[str]) -> str:
    return json.loads(found[0], strict=False) if found[1] is None else found[1]
