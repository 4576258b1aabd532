"""What reports of pairs say, as Markdown for readers, CSV for spreadsheets, and JSON for programs.

One matrix, models by models, per task and number. The text is a pure function of the reports.
"""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING, Any

from mecheval import escape
from mecheval.reports.markdown import bullets, titled

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mecheval.reports.collection import Pairs, Refused
    from mecheval.reports.pair_matrix import Matrix

SCHEMA = "mecheval.similarity/1"
LEGEND = """\
How alike models are, two by two, and seeds of one model, which is how alike two models could be at
most: on the diagonal. The column *Null* is what the number is of networks that have nothing to do
with each other. There is no rank: to be like another model is neither good nor bad.
"""
FIELDS: tuple[str, ...] = (
    "task", "result", "number", "a", "b", "mean", "low", "high", "n", "null", "skyline",
    "skyline_low", "skyline_high", "place", "gap", "no_null", "no_skyline", "no_place",
)  # fmt: skip


def markdown(pairs: Pairs, pictures: Mapping[int, str]) -> str:
    """Return the matrices as Markdown, with why numbers are missing and what does not count.

    Args:
        pairs: The reports.
        pictures: Files of pictures that lie beside it, by the number of the matrix.
    """
    parts = ["# How alike models are\n", LEGEND]
    task = None
    for number, matrix in enumerate(pairs.matrices):
        if matrix.task != task:
            task = matrix.task
            parts.append(f"## {escape.markdown(task)}\n")
        parts += _part(matrix, pictures.get(number))
    if pairs.refused:
        parts.append("## Refused\n")
        parts += [_refusal(item) for item in pairs.refused]
        parts.append("")
    return "\n".join(parts)


def _part(matrix: Matrix, picture: str | None) -> list[str]:
    title, caption = matrix.titles
    if not matrix.shown:
        said = [f"{title}: no two models have a number."]
        return [bullets([*said, *matrix.notes]) + "\n"]
    parts = [titled([title, caption], *matrix.table()) + "\n"]
    parts += [escape.image(title, picture) + "\n"] if picture else []
    return [*parts, bullets(matrix.notes) + "\n"]


def _refusal(item: Refused) -> str:
    return f"- {escape.code(item.path)}: {escape.markdown(item.reason)}"


def as_csv(matrices: Sequence[Matrix]) -> str:
    """Return one line per task, number and pair of models."""
    file = io.StringIO()
    writer = csv.DictWriter(file, FIELDS, restval="", lineterminator="\n")
    writer.writeheader()
    for row in (row for matrix in matrices for row in matrix.rows()):
        line = {field: row.get(field) for field in FIELDS} | {"gap": "; ".join(row["missing"])}
        writer.writerow({key: escape.csv(_rounded(value)) for key, value in line.items()})
    return file.getvalue()


def as_json(pairs: Pairs) -> str:
    """Return everything: matrices, intervals, nulls, skylines, reasons, and what does not count."""
    content = {
        "schema": SCHEMA,
        "matrices": [_matrix(matrix) for matrix in pairs.matrices],
        "refused": [{"path": item.path, "reason": item.reason} for item in pairs.refused],
    }
    return json.dumps(content, sort_keys=True, indent=1, allow_nan=False) + "\n"


def _matrix(matrix: Matrix) -> dict[str, Any]:
    rows = [{key: _rounded(value) for key, value in row.items()} for row in matrix.rows()]
    return {
        "task": matrix.task, "result": matrix.id, "number": matrix.heading,
        "caption": matrix.caption, "models": matrix.models, "unlearned": matrix.unlearned,
        "pairs": rows,
    }  # fmt: skip


def _rounded(value: Any) -> Any:
    return float(f"{value:.10g}") if isinstance(value, float) else value
