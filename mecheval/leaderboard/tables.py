"""A leaderboard as Markdown for readers, CSV for spreadsheets, and JSON for programs.

The text is a pure function of the reports: sorted, without dates, so that git shows what changed.
"""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING, Any

from mecheval import escape
from mecheval.leaderboard.board import NO_REPORT
from mecheval.reports.collection import marks, notes, words
from mecheval.reports.collection.blocks import Block, by_subject, captions, headings, packed
from mecheval.reports.collection.overview import ABOUT_SEEDS, ABOUT_TRACKING, SEE
from mecheval.reports.collection.sections import sections
from mecheval.reports.labels import ABOUT_NO_GATE
from mecheval.reports.markdown import bullets, titled
from mecheval.reports.reproduced import in_words

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from mecheval.leaderboard.board import Board, Row, Table
    from mecheval.reports.collection import Column, Group, OverSeeds, Refused

SCHEMA = "mecheval.leaderboard/2"
LEGEND = f"""\
{ABOUT_SEEDS}

*Learned* counts the seeds that passed the task's gate: behaviour is averaged over all seeds,
mechanisms over those that learned the task. *chance* and *floor* are what a uniform guess and the
best table without a model reach. A gap says why there is no number. {SEE}
"""
ABOUT_REPRODUCED = (
    "Cells that were trained and measured again and came out as they were reported: with all "
    "numbers equal, or where the machine or its versions differ, within what intervals and seeds "
    "leave open.\n"
)
MOST_REMARKS = 40
FIELDS: tuple[str, ...] = (
    "task", "version", "model", "recipe", "seeds", "learned", "gate", "gate_on", "tracking",
    "metric", "result", "at", "title", "family", "mean", "low", "high", "interval_over", "method",
    "n_values", "verdicts", "gap", "reproduced",
)  # fmt: skip


def markdown(board: Board, title: str = "Leaderboard") -> str:
    """Return the tables as Markdown, with why values are missing and what does not count.

    Args:
        board: The tables.
        title: The heading.
    """
    tracking = any(task.tests_tracking for task in board.tables)
    ungated = any(group.ungated for task in board.tables for group in task.groups)
    parts = [
        f"# {escape.markdown(title)}\n",
        LEGEND,
        *([f"{ABOUT_TRACKING}\n"] if tracking else []),
    ]
    parts += [f"{ABOUT_NO_GATE}\n"] if ungated else []
    for task in board.tables:
        parts.append(f"## {escape.markdown(task.task)}\n")
        for block in blocks(task):
            parts.append(titled(*block) + "\n")
        recipes = notes.recipes(task.groups)
        parts += [bullets(recipes) + "\n"] if recipes else []
        absent = [row.model for row in task.rows if row.gap == NO_REPORT]
        if absent:
            parts.append(f"No report: {escape.markdown(', '.join(absent))}.\n")
    said = remarks(board)
    if said:
        parts.append("## Remarks\n")
        parts.append(bullets(said) + "\n")
    again = [text for task in board.tables for text in _reproduced(task)]
    if again:
        parts += ["## Reproduced\n", ABOUT_REPRODUCED, bullets(again) + "\n"]
    if board.refused:
        parts.append("## Refused\n")
        parts += [
            f"- {escape.code(item.path)}: {escape.markdown(item.reason)}" for item in board.refused
        ]
        parts.append("")
    return "\n".join(parts)


def _reproduced(task: Table) -> Iterator[str]:
    for group in task.groups:
        for seed, executions in group.reproduced.items():
            yield f"{group}, seed {seed}: {'; '.join(in_words(executions))}."


def blocks(task: Table) -> Iterator[Block]:
    """Yield the tables of a task: what the models score, then all other evidence."""
    behaviour, *rest = sections(task.groups)
    evidence = [column for section in rest for column in section.columns]
    shown = {"Learned": marks.learned}
    shown |= {"Tracking": marks.tracking} if task.tests_tracking else {}
    again = {"Reproduced": marks.reproduced} if task.reproduced else {}
    yield from packed(behaviour.columns, lambda part: _block(task, part, {**shown, **again}))
    if evidence:
        yield from packed(evidence, lambda part: _block(task, part, shown))


def _block(
    task: Table, columns: Sequence[Column], shown: Mapping[str, Callable[[Group], str]]
) -> Block:
    recipe = any(row.recipe for row in task.rows)
    subjects = by_subject(columns)
    headers = ["Model", *(["Recipe"] if recipe else []), *(["Of"] if subjects else []), "Seeds"]
    headers += shown
    there = [row for row in task.rows if row.gap != NO_REPORT]
    parts = [([of], some) for of, some in subjects.items()] if subjects else [([], columns)]
    rows = [
        _cells(row, some, head=[*([row.recipe] if recipe else []), *of], marks=[*shown.values()])
        for row in there
        for of, some in parts
    ]
    for level, values in task.levels.items():
        for of, some in parts:
            if any(column.key in values for column in some):
                head = [escape.Markdown(f"*{level}*"), *([""] if recipe else []), *of]
                cells = [words.decimal(values[c.key]) if c.key in values else "" for c in some]
                rows.append([*head, *[""] * (len(headers) - len(head)), *cells])
    named = [c.title for c in parts[0][1]] if subjects else headings(columns)
    return Block(captions(columns), [*headers, *named], rows)


def _cells(
    row: Row,
    columns: Sequence[Column],
    *,
    head: Sequence[str],
    marks: Sequence[Callable[[Group], str]],
) -> list[str]:
    head = [row.model, *head]
    if row.group is None:
        return [*head, "0", *[""] * len(marks), *(f"({row.gap})" for _ in columns)]
    cells = [words.cell(row.scores[column.key], column.kind) for column in columns]
    empty = [score.mean is None and not score.verdicts for score in _scores(row, columns)]
    shown = [f"({cell})" if gap else cell for cell, gap in zip(cells, empty, strict=True)]
    return [*head, str(len(row.group.seeds)), *(mark(row.group) for mark in marks), *shown]


def _scores(row: Row, columns: Sequence[Column]) -> list[OverSeeds]:
    return [row.scores[column.key] for column in columns]


def remarks(board: Board) -> list[str]:
    """Return why values are missing and what sweeps chose, a line each."""
    found: list[notes.Note] = []
    for task in board.tables:
        found += [*notes.missing_values(task.groups, task.columns), *notes.choices(task.groups)]
    return notes.lines(found, MOST_REMARKS)


def as_csv(board: Board) -> str:
    """Return one line per task, model, recipe and headline number."""
    file = io.StringIO()
    writer = csv.DictWriter(file, FIELDS, restval="", lineterminator="\n")
    writer.writeheader()
    for line in _lines(board):
        writer.writerow({field: escape.csv(value) for field, value in line.items()})
    return file.getvalue()


def _lines(board: Board) -> Iterator[dict[str, Any]]:
    for task in board.tables:
        for row in task.rows:
            head = {"task": task.task, "version": task.version, "model": row.model}
            if row.group is None:
                yield {**head, "seeds": 0, "learned": 0, "gap": row.gap}
                continue
            head |= {"recipe": row.recipe, "seeds": len(row.group.seeds)}
            head |= {"learned": row.group.n_learned, "gate": row.group.gate}
            head |= {"gate_on": row.group.gate_on, "tracking": row.group.n_tracking}
            head |= {"reproduced": len(row.group.reproduced)}
            yield from ({**head, **_line(c, row.scores[c.key])} for c in task.columns)


def _line(column: Column, score: OverSeeds) -> dict[str, Any]:
    return {
        "metric": column.metric, "result": column.id, "at": column.at, "title": column.title,
        "family": column.family, "mean": _rounded(score.mean), "low": _rounded(score.low),
        "high": _rounded(score.high), "interval_over": score.over, "method": score.method,
        "n_values": score.n, "gap": "; ".join(_reasons(score)),
        "verdicts": "; ".join(f"{n} {verdict}" for verdict, n in score.verdicts.items()),
    }  # fmt: skip


def as_json(board: Board, suite: str = "") -> str:
    """Return everything: tables, rows, intervals, reasons, and the reports that do not count.

    Args:
        board: The tables.
        suite: The suite with its version, where they are of one.
    """
    content = {
        "schema": SCHEMA,
        "suite": suite or None,
        "tables": [_table(task) for task in board.tables],
        "refused": [_refused(item) for item in board.refused],
    }
    return json.dumps(content, sort_keys=True, indent=1, allow_nan=False) + "\n"


def _refused(item: Refused) -> dict[str, Any]:
    model, task = (item.name.model, item.name.task) if item.name else (None, None)
    return {"path": item.path, "reason": item.reason, "model": model, "task": task}


def _table(task: Table) -> dict[str, Any]:
    return {
        "task": task.task,
        "name": task.name,
        "version": task.version,
        "params": dict(task.params),
        "columns": [_column(column) for column in task.columns],
        "levels": {
            level: {key: _rounded(value) for key, value in values.items()}
            for level, values in task.levels.items()
        },
        "rows": [_row(row) for row in task.rows],
    }


def _column(column: Column) -> dict[str, Any]:
    fields = {n: value for n, value in column._asdict().items() if n not in ("again", "own")}
    return {"key": column.key, **fields}


def _row(row: Row) -> dict[str, Any]:
    group = row.group
    return {
        "model": row.model,
        "recipe": row.recipe,
        "training": group.recipe if group else None,
        "gate": group.gate if group else None,
        "gate_on": group.gate_on if group else None,
        "seeds": list(group.seeds) if group else [],
        "n_learned": group.n_learned if group else 0,
        "n_tracking": group.n_tracking if group else 0,
        "untested": group.untested if group else "",
        "reproduced": _executions(row),
        "gap": row.gap,
        "scores": {key: _score(score) for key, score in row.scores.items()},
    }


def _executions(row: Row) -> list[dict[str, Any]]:
    """Return every time that a seed of a row was measured again."""
    by_seed = row.group.reproduced if row.group else {}
    return [
        {"seed": seed, **execution.model_dump(mode="json")}
        for seed, executions in by_seed.items()
        for execution in executions
    ]


def _score(score: OverSeeds) -> dict[str, Any]:
    numbers = {"mean": score.mean, "low": score.low, "high": score.high}
    return {
        **{name: _rounded(value) for name, value in numbers.items()},
        "interval_over": score.over,
        "method": score.method,
        "n_values": score.n,
        "n_seeds": score.n_seeds,
        "reasons": _reasons(score),
        **({"verdicts": dict(score.verdicts)} if score.verdicts else {}),
    }


def _reasons(score: OverSeeds) -> list[str]:
    return sorted(set(score.reasons.values()))


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.10g}")
