"""``mecheval doctor --families``: what the engine does with families of transformers."""

from __future__ import annotations

import dataclasses
import json
import time
from typing import TYPE_CHECKING

from mecheval.cli import options
from mecheval.cli.printing import say
from mecheval.errors import UsageError
from mecheval.escape import cause, line
from mecheval.paths import exists, is_dir

if TYPE_CHECKING:
    import argparse
    from pathlib import Path

    from mecheval.harness.families import Family

TABLE = "FAMILIES.md"
WIDTHS = (7, 26, 8, 8)


def measure(args: argparse.Namespace) -> int:
    """Print a line per family, then write the table, or hold one against it.

    Rows of a table that is there stay, where their families were not asked for.

    Returns:
        0 if nothing raised, every engine is exact, and the table of ``--check`` is as it would be
        written now; 1 otherwise.

    Raises:
        UsageError: There is no such family, or no such table.
        StorageError: The table could not be written.
    """
    from mecheval.harness.families import survey
    from mecheval.harness.family_table import outdated, page
    from mecheval.reports.documents import write_document

    chosen, began = options.names(args.families), time.monotonic()
    held = None if args.check is None else _read(args.check)
    families = []
    for family in survey(chosen):
        families.append(family)
        say(json.dumps(dataclasses.asdict(family)) if args.json else _line(family))
    faults = [said for family in families for said in family.faults()]
    stale = [] if held is None else list(outdated(held, families, whole=not chosen))
    if args.output is not None:
        path = args.output / TABLE if is_dir(args.output) else args.output
        old = path.read_text(encoding="utf-8") if exists(path) else ""
        write_document(path, page(families, held=old))
    if not args.json:
        for said in faults:
            say(line(f"FAILED: {said}"))
        for said in stale:
            say(line(f"{args.check}: {said}."))
        say(f"{len(families)} families in {time.monotonic() - began:.0f} s.")
    return 1 if faults or stale else 0


def _read(path: Path) -> str:
    from mecheval.harness.family_table import made_with

    text = path.read_text(encoding="utf-8") if exists(path) and not is_dir(path) else ""
    if made_with(text) is None:
        raise UsageError(f"{path} is no table of families. `--output {path}` writes one.")
    return text


def _line(family: Family) -> str:
    single, double = family.measured.values()
    numbers = [
        "" if measured.difference is None else f"{measured.difference:.0e}"
        for measured in (single, double)
    ]
    cells = [single.engine or "none", family.name, *numbers]
    padded = [cell.ljust(width) for cell, width in zip(cells, WIDTHS, strict=True)]
    return line("  ".join([*padded, cause(single.reason or "")]).rstrip())
