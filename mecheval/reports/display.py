"""A report as one line, and as HTML for notebooks. Whatever stands in it is escaped."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mecheval import escape
from mecheval.reports.collection.columns import columns_of
from mecheval.reports.collection.numbers import VERDICT, number_of
from mecheval.reports.collection.words import decimal, ends
from mecheval.reports.labels import gate_in_words, learned_in_words, names_of, recipe_in_words

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mecheval.reports.collection.columns import Column
    from mecheval.reports.content import Content
    from mecheval.reports.results import MetricResult

MOST = 4
"""Numbers in a line."""


def line(report: Content) -> str:
    """Return ``<gru on parity@1, seed 0: learned (gate 0.99; adamw); Token accuracy 0.995>``."""
    name = str(names_of([report])[0])
    found = [text for _, text in _headlines(report)]
    more = [f"and {len(found) - MOST} more"] if len(found) > MOST else []
    numbers = "; " + ", ".join([*found[:MOST], *more]) if found else ""
    return f"<{name}, seed {report.identity.seed}: {_state(report)}{numbers}>"


def html(report: Content) -> str:
    """Return what the report says first, as a table; why values are missing stands in its cells."""
    name = f"{names_of([report])[0]}, seed {report.identity.seed}"
    rows = [
        "".join(f"<td>{escape.html(cell)}</td>" for cell in (column.title, *_cells(report, column)))
        for column in columns_of([report])
    ]
    heads = "".join(f"<th>{head}</th>" for head in ("Result", "Value", "95 % interval", "Scored"))
    body = "".join(f"<tr>{row}</tr>" for row in rows)
    table = f"<table><tr>{heads}</tr>{body}</table>" if rows else ""
    return f"<p><b>{escape.html(name)}</b>: {escape.html(_state(report))}</p>\n{table}"


def _state(report: Content) -> str:
    """Say what came of it: by which recipe it was learned, and how much was asked for."""
    if report.error:
        where, what = (escape.shortened(text) for text in (report.error.stage, report.error.type))
        return f"failed in {where} ({what})"
    if report.status == "not_applicable":
        return "not applicable"
    identity = report.identity
    learned = learned_in_words(report.learned, identity)
    told = filter(None, [gate_in_words(identity), escape.shortened(recipe_in_words(identity))])
    by = f" ({'; '.join(told)})" if report.learned is not None else ""
    by += ", tracking" if report.tracking else ""
    return learned + by + (f", partial (limit {identity.limit})" if report.partial else "")


def _result(report: Content, column: Column) -> MetricResult | None:
    return next((result for result in report.metrics if result.id == column.id), None)


def _headlines(report: Content) -> Iterator[tuple[Column, str]]:
    """Yield the headline numbers and verdicts that are there."""
    for column in columns_of([report]):
        value = _value(_result(report, column), column)
        if value is not None:
            yield column, escape.shortened(f"{column.title} {value}", most=escape.MOST_QUOTED)


def _value(result: MetricResult | None, column: Column) -> str | None:
    """Return the text of a number or a verdict; None where there is none."""
    if result is None:
        return None
    if column.at == VERDICT:
        return result.verdict
    number = number_of(result, column.at)
    value = number.value
    if value is None:
        return None
    if column.kind == "range":
        return ends(number.low, number.high)
    return decimal(value) if column.kind == "number" else f"{value:g}"


def _cells(report: Content, column: Column) -> tuple[str, str, str]:
    result = _result(report, column)
    if result is None:
        return "", "", ""
    scored = f"{result.n_scored} of {result.n_expected}"
    value = _value(result, column)
    if value is None:
        why = result.reason or column.otherwise or number_of(result, column.at).reason
        return why or "", "", scored
    alone = column.at == VERDICT or column.kind == "range"
    number = None if alone else number_of(result, column.at)
    if number is None or number.low is None or number.high is None:
        return value, "", scored
    return value, f"[{decimal(number.low)}, {decimal(number.high)}]", scored
