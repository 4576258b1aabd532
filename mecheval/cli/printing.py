"""What the commands print, lists and cards among it. Nothing else in the package prints."""

from __future__ import annotations

import json
import re
import sys
import textwrap
from typing import TYPE_CHECKING, Any

from mecheval import escape
from mecheval.errors import UsageError, unknown

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

WIDTH = 100
Row = dict[str, Any]


def say(text: str = "", *, error: bool = False) -> None:
    """Print text as its own lines, on stdout or stderr.

    What a terminal would obey is shown instead; so is what the stream's encoding lacks.
    """
    stream = sys.stderr if error else sys.stdout
    encoding = getattr(stream, "encoding", None) or "utf-8"
    shown = escape.terminal(text).encode(encoding, "backslashreplace").decode(encoding)
    print(shown, file=stream, flush=True)


def print_rows(rows: Sequence[Row], columns: Sequence[str], *, as_json: bool) -> None:
    """Print one row per line.

    Args:
        rows: Values by column.
        columns: The columns that the text shows; JSON lines hold all of a row.
        as_json: Whether to print JSON lines.
    """
    if as_json:
        for row in rows:
            say(json.dumps(row))
        return
    lines = [[column.upper() for column in columns]]
    lines += [[escape.line(_cell(row.get(column))) for column in columns] for row in rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        padded = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        say("  ".join(padded).rstrip())


def print_card(fields: Mapping[str, Any], *, as_json: bool) -> None:
    """Print what is known of one thing; a mapping or a list becomes an indented block.

    Words stand on one line, and texts that have commas in them on one each.
    """
    if as_json:
        say(json.dumps(fields, indent=1))
        return
    for name, value in fields.items():
        if not value and value != 0:
            continue
        if isinstance(value, list) and value and isinstance(value[0], dict):
            say(f"{name}:")
            for row in value:
                say(_entry(row))
        elif isinstance(value, list) and any("," in str(item) for item in value):
            say(f"{name}:")
            for item in value:
                say(f"  {item}")
        elif isinstance(value, dict):
            say(f"{name}:")
            for key, item in value.items():
                say(f"  {key}: {_cell(item)}")
        elif isinstance(value, str) and "\n" in value:
            say(f"{name}:\n{textwrap.indent(value, '  ')}")
        else:
            say(f"{name}: {_cell(value)}")


def _entry(row: Mapping[str, Any]) -> str:
    """Write ``name = value``, as it is given, with its documentation wrapped beneath."""
    from mecheval.spec import format_value

    value = row["value"]
    head = f"  {row['name']} = {'none' if value is None else format_value(value)}"
    doc = row.get("doc") or ""
    if not doc:
        return head
    wrapped = textwrap.fill(doc, WIDTH, initial_indent="      ", subsequent_indent="      ")
    return f"{head}\n{wrapped}"


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, list | tuple) and all(isinstance(item, str) for item in value):
        return ", ".join(value)
    return json.dumps(value)


def filtered(rows: Sequence[Row], filters: Iterable[str]) -> list[Row]:
    """Keep the rows that have all the given values.

    Args:
        rows: The rows.
        filters: Texts such as ``version=1`` or ``name=pythia*``; ``*`` stands for any text.

    Raises:
        UsageError: A filter is malformed or names a column that no row has.
    """
    kept = list(rows)
    columns = {column for row in rows for column in row}
    for text in filters:
        column, equals, pattern = text.partition("=")
        if not equals:
            raise UsageError(
                f"Malformed filter {escape.quoted(text)}. Write it like version=1 or name=pythia*."
            )
        if rows and column not in columns:
            raise unknown("column", column, columns, see="`mecheval ls --help`")
        wanted = re.compile(".*".join(map(re.escape, pattern.split("*"))))
        kept = [row for row in kept if wanted.fullmatch(_cell(row.get(column)))]
    return kept
