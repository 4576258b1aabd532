"""A page for every task, model, metric and suite, from what ``mecheval ls`` and ``show`` print."""

from __future__ import annotations

import contextlib
import io
import json
from functools import cache
from pathlib import Path
from typing import Any

import mecheval
from mecheval.cli import main as run
from mecheval.harness.known_values import folder as planted

ROOT = Path(__file__).parents[1]
KINDS = ("task", "model", "metric", "suite")
FIRST = ("summary", "reference", "architecture", "license", "version", "scope", "family", "needs")
"""Fields that open a page, in this order; *measures*, *parameters* and *source* are told apart."""


def pages() -> dict[str, str]:
    """Return the Markdown of all pages, and of the index of each kind that has none by hand."""
    found: dict[str, str] = {}
    for kind in KINDS:
        rows = _json(f"ls {kind}s")
        found |= {path(kind, row["name"]): _page(kind, row) for row in rows}
        if kind in ("metric", "suite"):
            found[f"{kind}s/index.md"] = _index(kind, rows)
    return found | {"api.md": _api()}


def path(kind: str, name: str) -> str:
    """Return where the page of an entry stands."""
    return f"{kind}s/{name.replace('/', '-')}.md"


def _json(command: str) -> list[dict[str, Any]]:
    """Run a command of mecheval, and read the objects that it prints."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        code = run([*command.split(), "--json"])
    if code:
        raise RuntimeError(f"`mecheval {command} --json` ended with exit code {code}.")
    decoder, text, found = json.JSONDecoder(), printed.getvalue().strip(), []
    while text:
        value, end = decoder.raw_decode(text)
        found.append(value)
        text = text[end:].lstrip()
    return found


def _index(kind: str, rows: list[dict[str, Any]]) -> str:
    lines = [f"# {kind.title()}s", "", f"| {kind} | summary |", "|---|---|"]
    lines += [
        f"| [`{row['name']}`]({path(kind, row['name']).partition('/')[2]}) | {row['summary']} |"
        for row in rows
    ]
    return "\n".join(lines) + "\n"


def _page(kind: str, row: dict[str, Any]) -> str:
    (card,) = _json(f"show {kind} {row['name']}")
    card = {key: value for key, value in (row | card).items() if value not in ("", None, [], {})}
    lines = [f"# `{row['name']}`", "", str(card.pop("summary")), ""]
    lines += [f"- {key}: {card.pop(key)}" for key in FIRST if key in card]
    lines += ["", _measures(card.pop("measures", "")), ""]
    for title in ("parameters", "recipe"):
        lines += _parameters(title, card.pop(title, []))
    source = card.pop("source", "")
    for key in ("name", "from", "status", "origin", kind, "columns", *FIRST):
        card.pop(key, None)
    lines += _rest(card)
    if kind == "metric":
        lines += _known(row["name"])
    lines += ["", f"Declared in `{_place(source)}`.", ""]
    return "\n".join(lines)


def _measures(text: str) -> str:
    """Return the text of a metric; its first sentence is the summary."""
    return text.partition("\n\n")[2].replace("_", r"\_").replace("*", r"\*").replace("<", "&lt;")


def _parameters(title: str, parameters: list[dict[str, Any]]) -> list[str]:
    if not parameters:
        return []
    rows = [
        f"| `{p['name']}` | `{json.dumps(p['value'])}` | {_cell(p['doc'])} |" for p in parameters
    ]
    return ["", f"## {title.title()}", "", "| name | default | |", "|---|---|---|", *rows]


def _rest(card: dict[str, Any]) -> list[str]:
    lines = []
    for key, value in card.items():
        lines += ["", f"## {key.replace('_', ' ').capitalize()}", ""]
        if isinstance(value, dict):
            lines += [f"- `{name}`: {_cell(str(of))}" for name, of in value.items()]
        elif isinstance(value, list):
            lines.append(", ".join(f"`{item}`" for item in value))
        else:
            lines.append(_cell(str(value)))
    return lines


def _known(name: str) -> list[str]:
    rows = [row for row in _table() if row[2].strip("`").partition(" ")[0].partition("/")[0] in
            (name, *RESULTS.get(name, ()))]  # fmt: skip
    if not rows:
        return []
    head = ["model", "task", "number", "known", "measured"]
    return [
        "", "## Known values", "",
        "On networks whose weights are set by hand ([planted models](../models/planted.md)).", "",
        *("| " + " | ".join(row) + " |" for row in (head, ["---"] * 5, *rows)),
    ]  # fmt: skip


RESULTS = {
    "behaviour": ("token_accuracy", "last_accuracy", "sequence_accuracy"),
    "language": ("loss", "bits_per_byte", "in_context_gain"),
}
"""Metrics whose results have names of their own."""


@cache
def _table() -> list[list[str]]:
    text = (planted() / "README.md").read_text(encoding="utf-8")
    table = text.partition("<!-- known values -->\n")[2].partition("<!-- /known values -->")[0]
    return [line.strip("| ").split(" | ") for line in table.splitlines()[2:]]


def _api() -> str:
    """Return the page of public names, with where each is declared; mkdocstrings fills it in."""
    lines = ["# API", "", "Everything is in `mecheval`, and imported when first used."]
    for name in sorted(set(mecheval.__all__) - {"__version__"}, key=str.lower):
        declared = getattr(mecheval, name)
        lines += ["", f"## {name}", "", f"::: {declared.__module__}.{declared.__qualname__}"]
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", r"\|").replace("<", "&lt;").replace("\n", " ")


def _place(origin: str) -> str:
    """Return a path in the repository, without the folder that this checkout stands in."""
    file, _, line = origin.rpartition(":")
    place = Path(file if line.isdigit() else origin)
    return place.relative_to(ROOT).as_posix() if place.is_relative_to(ROOT) else place.name
