"""Notebooks: Python files of cells, with what each prints below it.

A cell begins with ``# %%``, or with ``# %% [markdown]`` where it is text behind ``# ``: the format
that editors and jupytext open as a notebook. Lines ``# > ...`` at the end of a cell are what it
prints, so that a page needs no run; a test runs every cell and compares.
"""

from __future__ import annotations

import contextlib
import io
import sys
from types import ModuleType
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pathlib import Path

CELL, TEXT, PRINTED = "# %%", "# %% [markdown]", "# > "


class Cell(NamedTuple):
    """One cell.

    Attributes:
        text: Markdown, or code without what it prints.
        printed: Lines; None for Markdown.
        line: Of the file at which it begins, counted from 1.
    """

    text: str
    printed: list[str] | None
    line: int


def read(path: Path) -> list[Cell]:
    """Return the cells of a notebook."""
    lines = path.read_text(encoding="utf-8").splitlines()
    heads = [i for i, line in enumerate(lines) if line.startswith(CELL)]
    ends = [*heads[1:], len(lines)]
    return [_cell(lines[i:end], i + 2) for i, end in zip(heads, ends, strict=True)]


def _cell(lines: list[str], at: int) -> Cell:
    head, *body = lines
    if head == TEXT:
        text = "\n".join(line.removeprefix("#").removeprefix(" ") for line in body)
        return Cell(text.strip(), None, at)
    code = [line for line in body if not line.startswith(PRINTED.rstrip())]
    printed = [line[len(PRINTED) :] for line in body if line.startswith(PRINTED.rstrip())]
    return Cell("\n".join(code).strip("\n"), printed, at)


def run(path: Path) -> list[tuple[Cell, list[str]]]:
    """Run all cells in one scope; return each that is code, with the lines that it printed."""
    module = ModuleType(f"notebook_{path.stem}")
    module.__file__ = str(path)  # its source is hashed into what is measured by code of its own
    sys.modules[module.__name__] = module  # where dataclasses look up what annotations name
    found = []
    try:
        for cell in read(path):
            if cell.printed is not None:
                placed = "\n" * (cell.line - 1) + cell.text
                code, out = compile(placed, path, "exec"), io.StringIO()
                with contextlib.redirect_stdout(out):
                    exec(code, vars(module))  # noqa: S102
                found.append((cell, [line.rstrip() for line in out.getvalue().splitlines()]))
    finally:
        del sys.modules[module.__name__]
    return found


def pages(folder: Path) -> dict[str, str]:
    """Return the Markdown of every notebook of a folder, by the path of its page."""
    return {f"notebooks/{path.stem}.md": _page(path) for path in sorted(folder.glob("*.py"))}


def _page(path: Path) -> str:
    parts = []
    for cell in read(path):
        if cell.printed is None:
            parts.append(cell.text)
        else:
            parts.append(f"```python\n{cell.text}\n```")
            if cell.printed:
                parts.append("```text\n" + "\n".join(cell.printed) + "\n```")
    place = f"docs/notebooks/{path.name}"
    parts.append(
        f"The notebook is `{place}`: open it in an editor that knows cells, or run it whole."
    )
    return "\n\n".join(parts) + "\n"
