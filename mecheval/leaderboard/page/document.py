"""The page as files: one of HTML that needs nothing else, or one with a folder of cells.

A policy in the page itself forbids every request and every script but its own, whose hashes it
names: what a report might smuggle in would not run.
"""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING

from mecheval.leaderboard.page import assets, specs
from mecheval.leaderboard.page.links import FOLDER
from mecheval.leaderboard.page.markup import Html, data, joined, tag

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

GENERATOR = "mecheval leaderboard page"
"""What the files of the page say that they are made by."""

INDEX = "index.html"
MOST = 10_000_000
"""Bytes of a page; cells of a larger one have files of their own."""

NO_SCRIPTS = (
    "Without scripts there is no search, no sorting and no picture; all numbers stand in the "
    "tables, and every seed links to its report."
)
_HATCH = Html(
    '<svg width="0" height="0" class="patterns" aria-hidden="true"><defs>'
    '<pattern id="hatch" width="6" height="6" patternUnits="userSpaceOnUse" '
    'patternTransform="rotate(45)"><path d="M0 0V6" class="hatch"/></pattern></defs></svg>'
)
_POLICY = (
    "default-src 'none'; img-src data: blob:; style-src 'unsafe-inline'; base-uri 'none'; "
    "form-action 'none'; script-src 'unsafe-eval' {}"
)
"""Vega compiles its expressions, for which it must be allowed to evaluate."""


def document(
    title: str, body: Sequence[Html], libraries: Sequence[str], *, beside: str | None = None
) -> str:
    """Return a file of the page.

    Args:
        title: What it is called.
        body: What it shows.
        libraries: The files of its scripts.
        beside: The folder in which these lie as files; None puts them into the page.
    """
    styles = [assets.read(name) for name in (assets.TABLE_STYLE, assets.STYLE)]
    scripts = [assets.read(name) for name in libraries]
    if beside is None:
        loaded = [tag("script", Html(script)) for script in scripts]
        allowed = " ".join(f"'{_digest(script)}'" for script in scripts)
    else:
        loaded = [tag("script", src=f"{beside}/{name}") for name in libraries]
        allowed = "'self' file:"
    head = [
        Html('<meta charset="utf-8">'), Html(f'<meta name="generator" content="{GENERATOR}">'),
        Html('<meta name="viewport" content="width=device-width, initial-scale=1">'),
        Html('<meta name="color-scheme" content="light dark">'),
        Html(f'<meta http-equiv="Content-Security-Policy" content="{_POLICY.format(allowed)}">'),
        tag("title", title),
        *(tag("style", Html(style)) for style in styles),
    ]  # fmt: skip
    known = data({"specs": specs.specs(), "themes": specs.themes(), "looks": specs.LOOKS},
                 id="specs")  # fmt: skip
    inside = [
        tag("a", "To the content", href="#content", class_="skip"), *body, _HATCH, known, *loaded,
    ]  # fmt: skip
    page = tag("html", tag("head", *head), tag("body", *inside), lang="en")
    return f"<!doctype html>\n{page}\n"


def _digest(script: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def one_file(title: str, body: Sequence[Html], cells: Mapping[str, Html]) -> str:
    """Return the page with all cells in it, as templates that are shown on a click."""
    templates = [tag("template", cell, id=id) for id, cell in cells.items()]
    return document(title, [*body, *templates], _scripts())


def folder(title: str, body: Sequence[Html], cells: Mapping[str, Html]) -> dict[str, str]:
    """Return the page, and every cell as a file of its own, by their paths."""
    files = {INDEX: document(title, body, _scripts())}
    libraries = [*assets.PICTURES, assets.SCRIPT]
    back = tag("nav", tag("a", "All results", href=f"../{INDEX}"), aria_label="Back")
    for id, cell in cells.items():
        inside = tag("main", back, cell, id="content", class_="alone")
        files[f"{FOLDER}/{id}.html"] = document(title, [inside], libraries, beside="../scripts")
    return files | {f"scripts/{name}": assets.read(name) for name in libraries}


def _scripts() -> list[str]:
    return [assets.TABLE, *assets.PICTURES, assets.SCRIPT]


def frame(title: str, about: Sequence[Html], sections: Sequence[tuple[str, str, Html]]) -> Html:
    """Return the page's header and main part, with a way to every section.

    Args:
        title: What the page is called.
        about: What stands beneath.
        sections: The name, the heading and the content of each.
    """
    links = [tag("a", heading, href=f"#{name}") for name, heading, _ in sections]
    header = tag("header", tag("h1", title), *about, tag("noscript", tag("p", NO_SCRIPTS)),
                 tag("nav", *links, aria_label="Sections"))  # fmt: skip
    parts = [
        tag("section", tag("h2", heading), content, id=name) for name, heading, content in sections
    ]
    dialog = tag(
        "dialog", tag("button", "Close", type="button", class_="close"),
        tag("div", "", class_="shown"), id="dialog", aria_label="One cell",
    )  # fmt: skip
    foot = tag("footer", tag("details", tag("summary", "Licences of what this page brings along"),
                             tag("pre", assets.read(assets.LICENCES))))  # fmt: skip
    return joined([header, tag("main", *parts, id="content"), dialog, foot])
