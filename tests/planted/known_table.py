"""The table of known values in model_registry/planted/README.md.

``python tests/planted/known_table.py`` measures it and writes it; a test fails when it is stale.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mecheval.harness.known_values import folder, known_cases
from mecheval.harness.selftest import run, shown

if TYPE_CHECKING:
    from mecheval.harness.selftest import Outcome

README = folder() / "README.md"
BEGIN, END = "<!-- known values -->\n", "<!-- /known values -->\n"
HEAD = ["model", "task", "number", "known", "measured"]


def rendered(outcomes: list[Outcome]) -> str:
    """Return the table as Markdown."""
    rows = [
        [f"`{o.model}`", f"`{o.task}`", f"`{o.at}`", o.known, shown(o.measured)] for o in outcomes
    ]
    lines = ["| " + " | ".join(row) + " |" for row in [HEAD, ["---"] * len(HEAD), *rows]]
    return "\n".join(lines) + "\n"


def committed() -> list[list[str]]:
    """Return the rows of the table as they stand in the file."""
    table = README.read_text(encoding="utf-8").partition(BEGIN)[2].partition(END)[0]
    return [line.strip("| ").split(" | ") for line in table.splitlines()[2:]]


def write() -> None:
    """Measure all planted models, and put the table into the file."""
    outcomes = [outcome for found in run(known_cases(), jobs=2) for outcome in found]
    before, _, rest = README.read_text(encoding="utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    README.write_text(before + BEGIN + rendered(outcomes) + END + after, encoding="utf-8")


if __name__ == "__main__":
    write()
