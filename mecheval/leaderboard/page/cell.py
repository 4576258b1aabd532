"""What opens on a click: all that is known of one model on one task."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from mecheval.leaderboard.page.curves import curves, training
from mecheval.leaderboard.page.links import cell_id
from mecheval.leaderboard.page.maps import maps
from mecheval.leaderboard.page.markup import Html, bullets, data, joined, paragraphs, table, tag
from mecheval.leaderboard.page.strip import strip
from mecheval.recipe import whole
from mecheval.reports.collection import marks, notes, words
from mecheval.reports.collection.blocks import captions
from mecheval.reports.command_lines import commands
from mecheval.reports.labels import gate_in_words
from mecheval.reports.reproduced import in_words

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from mecheval.leaderboard.board import Row, Table
    from mecheval.leaderboard.page.links import Links
    from mecheval.leaderboard.page.picture import Picture
    from mecheval.reports.collection import Column, Group, OverSeeds
    from mecheval.reports.drawing.sheets import Sheet
    from mecheval.reports.schema import Report

AGAIN = (
    "These make the cells again; with the versions below and a processor of the same kind the same "
    "numbers come out."
)
FIRST_NOTES = 8


def view(task: Table, row: Row, group: Group, sheet: Sheet, links: Links) -> Html:
    """Return the view of a cell: its numbers, pictures, configuration, commands and reports."""
    shown = [*curves(sheet, group), *maps(sheet, group), *training(group)]
    first = [picture for picture in shown if picture.first]
    further = [picture for picture in shown if not picture.first]
    more = tag("details", tag("summary", f"{len(further)} more pictures"), *map(_figure, further))
    parts = [
        tag("h2", group.name.row, tag("small", f" on {task.task}"), id=f"{cell_id(group)}-title"),
        _facts(group),
        tag("section", tag("h3", "Numbers"), _numbers(task, row, group), class_="numbers"),
        tag("section", tag("h3", "Pictures"), *map(_figure, first), more if further else "")
        if shown else "",
        tag("section", tag("h3", "Made again by"), _commands(group)),
        tag("section", tag("h3", "Configuration"), _configuration(group)),
        tag("section", tag("h3", "Reports"), _reports(group, links)),
    ]  # fmt: skip
    return tag("article", *parts, class_="cell", data_name=str(group.name))


def _facts(group: Group) -> Html:
    model, task = group.reports[0].model_card, group.reports[0].task_card
    said = []
    if model is not None:
        size = f"{model.n_layers} layers of width {model.d_model}, {model.n_params:,} parameters"
        said.append(f"Model: {model.summary.rstrip('.')} ({model.architecture}; {size}).")
    if task is not None:
        said.append(f"Task: {task.summary.rstrip('.')}.")
    learned, tracks = marks.learned(group), marks.tracking(group)
    seeds = f"{len(group.seeds)} seeds" if len(group.seeds) != 1 else "1 seed"
    said.append(
        "; ".join(
            filter(None, [f"{seeds}, {group.recipe}", learned and f"learned: {learned}",
                          tracks and f"tracking: {tracks}"])
        ) + "."
    )  # fmt: skip
    return paragraphs(said)


def _numbers(task: Table, row: Row, group: Group) -> Html:
    measured = [column for column in task.columns if any(group.results(column.id).values())]
    rows = [_number(row.scores[column.key], column) for column in measured]
    found = table(["Number", "Over seeds", "Seeds", "By seed", "Floor"],
                  [[*each, _floor(task, column)] for each, column in
                   zip(rows, measured, strict=True)],
                  caption="All headline numbers")  # fmt: skip
    missing = notes.lines(notes.missing_values([group], measured), FIRST_NOTES)
    return joined([found, bullets(missing), _explained(measured)])


def _number(score: OverSeeds, column: Column) -> list[Any]:
    limits = column.bounds if None not in column.bounds else (0.0, 1.0)
    inside = all(0 <= value <= 1 for value in score.values.values())
    drawn = column.kind == "number" and not score.verdicts and inside
    by_seed = "; ".join(
        f"{seed}: {words.decimal(value) if column.kind == 'number' else f'{value:g}'}"
        for seed, value in score.values.items()
    )
    dots = strip(score, (limits[0] or 0.0, limits[1] or 1.0)) if drawn else ""
    return [column.title, words.cell(score, column.kind), dots, by_seed]


def _floor(task: Table, column: Column) -> str:
    found = task.levels.get("floor", {}).get(column.key)
    return "" if found is None else words.decimal(found)


def _explained(columns: Sequence[Column]) -> Html:
    inside = bullets(captions(columns))
    return tag("details", tag("summary", "What these numbers say"), inside)


def _figure(picture: Picture) -> Html:
    """Return a picture that is drawn when it comes into view; its numbers are made on request."""
    return tag(
        "figure", tag("figcaption", tag("b", picture.title), " ", tag("span", picture.caption)),
        tag("div", class_="drawing", role="img", aria_label=f"{picture.title}. The numbers stand "
            "in the table beneath.", tabindex="0"),
        data(picture.data, class_="drawn"),
        tag("details", tag("summary", "The numbers of this picture"), class_="behind"),
        class_="picture",
    )  # fmt: skip


def _commands(group: Group) -> Html:
    found = commands(group.reports)
    if not found:
        return paragraphs(["The reports do not say what was asked for: see their configuration."])
    return joined([tag("p", AGAIN), *(tag("pre", tag("code", each)) for each in found)])


def _configuration(group: Group) -> Html:
    identity, report = group.identity, group.reports[0]
    rows = [
        ("Model", identity.model.name, identity.model.args),
        ("Task", f"{identity.task.name}, version {identity.task.version}", identity.task.params),
        ("Recipe", gate_in_words(identity), whole(identity.recipe)),
        *([("Sweep", "", dict(identity.sweep))] if identity.sweep else []),
        *(
            (f"Metric {metric.name}", f"version {metric.version}", metric.params)
            for metric in _metrics(group)
        ),
        ("Arithmetic", identity.dtype, {"protocol": identity.protocol}),
    ]
    found = table(
        ["Part", "Which", "Parameters"],
        [[part, which, tag("code", _written(params))] for part, which, params in rows],
        caption="Everything that decides the numbers",
    )  # fmt: skip
    return joined([found, _environment(report)])


def _metrics(group: Group) -> list[Any]:
    found = {
        (metric.name, metric.version, _written(metric.params)): metric
        for report in group.reports
        for metric in report.identity.metrics
    }
    return [*found.values()]


def _written(params: Any) -> str:
    return ", ".join(f"{key}={json.dumps(params[key])}" for key in sorted(params))


def _environment(report: Report) -> Html:
    packages = report.environment.get("packages", {})
    rest = {k: v for k, v in report.environment.items() if k != "packages"}
    said = [
        f"Seed {report.identity.seed} was measured {report.finished}, with "
        + ", ".join(f"{name} {version}" for name, version in sorted(packages.items())) + "."
    ] if packages else []  # fmt: skip
    inside = [paragraphs(said), tag("pre", tag("code", json.dumps(rest, sort_keys=True, indent=1)))]
    return tag("details", tag("summary", "Versions and machine"), *inside)


def _reports(group: Group, links: Links) -> Html:
    found = bullets(_report(report, links) for report in _in_order(group))
    again = [
        f"Seed {seed}: {'; '.join(in_words(executions))}."
        for seed, executions in group.reproduced.items()
    ]
    return joined([found, bullets(again)])


def _report(report: Report, links: Links) -> Html:
    seconds = report.resources.get("seconds", {})
    took = sum(seconds.values()) if isinstance(seconds, dict) else 0
    return joined([
        links.report(f"seed {report.identity.seed}, as JSON", report),
        f": key {report.key[:12]}, {report.finished}" + (f", {took:.0f} s" if took else ""),
    ])  # fmt: skip


def _in_order(group: Group) -> Iterable[Report]:
    return (report for reports in group.by_seed.values() for report in reports)
