"""A leaderboard as Markdown for readers, CSV for spreadsheets, and JSON for programs.

The text is a pure function of the reports: sorted, without dates, so that git shows what changed.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from typing import TYPE_CHECKING, Any

from mecheval import escape
from mecheval.reports.markdown import table

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from mecheval.leaderboard.board import Board, Column, Row, Score, Table

SCHEMA = "mecheval.leaderboard/1"
LEGEND = """\
Values are means over seeds with their 95 % interval: a bootstrap over seeds, or where a single
seed has a value, or all seeds the same one, the interval of the reports, marked \u00b9. *learned*
counts the seeds that passed the task's gate; mechanisms are measured on those only. A verdict on
the mechanism stands with its number of seeds, and the mean share of resamples that agree. A gap
says why there is no number.
"""


def markdown(board: Board) -> str:
    """Return the tables as Markdown, with the reports that do not count."""
    parts = ["# Leaderboard\n", LEGEND]
    for task in board.tables:
        parts.append(f"## {escape.markdown(task.task)}\n")
        groups = [
            [c for c in task.columns if (c.family == "behaviour") is b] for b in (True, False)
        ]
        parts += [_section(task, columns) + "\n" for columns in groups if columns]
    if board.refused:
        parts.append("## Refused\n")
        parts += [
            f"- {escape.code(item.path)}: {escape.markdown(item.reason)}" for item in board.refused
        ]
        parts.append("")
    return "\n".join(parts)


def _section(task: Table, columns: Sequence[Column]) -> str:
    headers = ["Model", "Seeds", "Learned", *(column.id for column in columns)]
    rows = [_cells(row, columns) for row in task.rows]
    for level, values in task.levels.items():
        if any(column.id in values for column in columns):
            cells = [f"{values[c.id]:.3f}" if c.id in values else "" for c in columns]
            rows.append([escape.Markdown(f"*{level}*"), "", "", *cells])
    return table(headers, rows)


def _cells(row: Row, columns: Iterable[Column]) -> list[str]:
    if row.gap is not None:
        return [row.model, "0", "", *(f"({row.gap})" for _ in columns)]
    learned = f"{row.n_learned} of {len(row.seeds)}"
    cells = [_cell(row.scores[column.id]) for column in columns]
    return [row.model, str(len(row.seeds)), learned, *cells]


def _cell(score: Score) -> str:
    if score.mean is None:
        return f"({'; '.join(sorted({reason.partition(':')[0] for reason in score.reasons}))})"
    if score.verdicts:
        counts = ", ".join(f"{n} {verdict}" for verdict, n in score.verdicts.items())
        return f"{counts} ({score.mean:.2f})"
    text = f"{score.mean:.3f}"
    if score.low is not None:
        text += f" [{score.low:.3f}, {score.high:.3f}]" + ("" if score.unit == "seed" else "\u00b9")
    missing = score.n_values < score.n_seeds
    return text + (f" ({score.n_values} of {score.n_seeds} seeds)" if missing else "")


def as_csv(board: Board) -> str:
    """Return one line per task, model and metric."""
    file = io.StringIO()
    fields = [
        "task", "version", "model", "seeds", "learned", "metric", "family", "mean", "low", "high",
        "interval_over", "method", "n_values", "verdicts", "gap",
    ]  # fmt: skip
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(fields)
    for task in board.tables:
        for row in task.rows:
            head = [task.task, task.version, row.model, len(row.seeds), row.n_learned]
            if row.gap is not None:
                writer.writerow(map(escape.csv, [*head, *[""] * 9, row.gap]))
                continue
            for column in task.columns:
                score = row.scores[column.id]
                numbers = [_rounded(x) for x in (score.mean, score.low, score.high)]
                verdicts = "; ".join(f"{n} {verdict}" for verdict, n in score.verdicts.items())
                cells = [*head, column.id, column.family, *numbers, score.unit, score.method,
                         score.n_values, verdicts, "; ".join(score.reasons)]  # fmt: skip
                writer.writerow(map(escape.csv, cells))
    return file.getvalue()


def as_json(board: Board) -> str:
    """Return everything: tables, rows, intervals, reasons, and the reports that do not count."""
    content = {
        "schema": SCHEMA,
        "tables": [_table(task) for task in board.tables],
        "refused": [item._asdict() for item in board.refused],
    }
    return json.dumps(content, sort_keys=True, indent=1, allow_nan=False) + "\n"


def _table(task: Table) -> dict[str, Any]:
    return {
        "task": task.task,
        "name": task.name,
        "version": task.version,
        "params": dict(task.params),
        "columns": [dataclasses.asdict(column) for column in task.columns],
        "levels": {
            level: {id: _rounded(value) for id, value in values.items()}
            for level, values in task.levels.items()
        },
        "rows": [_row(row) for row in task.rows],
    }


def _row(row: Row) -> dict[str, Any]:
    return {
        "model": row.model,
        "seeds": list(row.seeds),
        "n_learned": row.n_learned,
        "gap": row.gap,
        "scores": {
            id: {
                key: _rounded(value) if isinstance(value, float) else value
                for key, value in score._asdict().items()
                if key != "verdicts" or value
            }
            for id, score in row.scores.items()
        },
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.10g}")
