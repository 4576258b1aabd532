"""The report of a pair on the terminal, and matrices of many of them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from mecheval.cli.printing import say
from mecheval.cli.summary import pairs_summary
from mecheval.escape import line
from mecheval.reports.collection.numbers import Number
from mecheval.reports.markdown import table
from mecheval.reports.pair import on_task
from mecheval.spec import Spec

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mecheval.reports.pair import Alignment, PairReport, PairSide
    from mecheval.reports.pair_matrix import Matrix
    from mecheval.reports.schema import MetricResult

HEADERS = ("Number", "Value", "Null", "Seeds of one model", "Place", "Scored")
ABOUT = (
    "Null: the number of networks that share nothing which they learned, as the metric says, and "
    "where 95 % of it lie. Seeds of one model: the mean over pairs of seeds of the one model and "
    "of the other, with its interval over seeds. Place: 0 at the null, 1 at the seeds of one model."
)


def pair_head(report: PairReport) -> dict[str, Any]:
    """Return what a pair is of, field by field."""
    task, at_loss, apart = report.task, report.identity.at_loss, report.losses_apart
    return {
        **{name: _side(side) for name, side in zip("ab", report.sides, strict=True)},
        "task": on_task(f"{Spec(task.name, task.params)} version {task.version}", at_loss),
        **({} if apart is None else {"losses apart": f"{apart:.3f} nats per token"}),
        **_met(report.alignment),
        "status": report.status + (", partial" if report.partial else ""),
        "finished": report.finished,
        "key": report.key,
    }


def _met(alignment: Alignment | None) -> dict[str, str]:
    if alignment is None:
        return {}
    return {
        "tokens": f"other ones, held side by side at the {alignment.n_boundaries} bytes of "
        f"{alignment.n_documents} documents where tokens of both end: {alignment.kept_a:.3f} of "
        f"those of a, {alignment.kept_b:.3f} of those of b"
    }


def _side(side: PairSide) -> str:
    learned = {True: "learned", False: "not learned", None: "not measured"}[side.learned]
    loss = "" if side.validation_loss is None else f", loss {side.validation_loss:.3f}"
    at_step = "" if side.step is None else f" at step {side.step}"
    return f"{side.title}, seed {side.seed}, {learned}{loss}{at_step}, {side.key[:8]}"


def print_pair(report: PairReport) -> None:
    """Print every number of a pair that is a column of tables."""
    if report.error:
        return
    say()
    say(table(HEADERS, [row for result in report.metrics for row in _rows(report, result)]))
    say()
    say(ABOUT)
    for result in report.metrics:
        for warning in result.warnings:
            say(line(f"{result.id}: {warning}"))


def _rows(report: PairReport, result: MetricResult) -> Iterator[list[str]]:
    from mecheval.reports.levels import number_in

    levels = {(level.id, level.at): level for level in report.levels}
    for headline in result.headline:
        level = levels.get((result.id, headline.at))
        beside = ["not compared yet"] * 3
        if level is not None:
            place = "" if level.place is None else f"{level.place:.2f}"
            beside = [
                _cell(Number(level.null, level.null_low, level.null_high, reason=level.no_null)),
                _cell(
                    Number(
                        level.skyline, level.skyline_low, level.skyline_high,
                        reason=level.no_skyline,
                    )
                ),
                place or str(level.no_place),
            ]  # fmt: skip
        value = _cell(number_in(report, result, headline))
        yield [headline.title, value, *beside, f"{result.n_scored} of {result.n_expected}"]


def _cell(number: Number) -> str:
    """Return a number with its interval, or why there is none."""
    if number.value is None:
        return str(number.reason)
    ends = number.low is not None and number.high is not None
    return f"{number.value:.4g}" + (f" [{number.low:.4g}, {number.high:.4g}]" if ends else "")


def print_matrices(matrices: Sequence[Matrix], *, as_json: bool) -> None:
    """Print matrices as tables with notes beneath them, or a JSON line per number and models."""
    if as_json:
        for row in (row for matrix in matrices for row in matrix.rows()):
            say(json.dumps(row, allow_nan=False))
    elif matrices:
        say(pairs_summary(matrices))
