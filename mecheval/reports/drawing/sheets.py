"""What figures are drawn from: all models on one task; and what is to be said of them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from mecheval.reports.collection import collect
from mecheval.reports.collection.columns import BEHAVIOUR, columns_of
from mecheval.reports.collection.numbers import VERDICT
from mecheval.reports.drawing.looks import Look, looks_of
from mecheval.reports.drawing.style import LABEL, text_inches
from mecheval.reports.drawing.words import listed, wrapped
from mecheval.reports.results import part_of
from mecheval.spec import parse_spec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from mecheval.reports.collection import Column, Group
    from mecheval.reports.schema import MetricResult, Report


@dataclass(frozen=True)
class Sheet:
    """All models on one task.

    Attributes:
        task: The task with its version.
        groups: The models, sorted by name.
        verdicts: All verdicts on all tasks that are drawn, by id of the result.
        looks: How they are drawn in all pictures, by the metric and the word.
        failed: Models of which nothing but failures is there, with what they failed in.
    """

    task: str
    groups: Sequence[Group]
    verdicts: Mapping[str, Sequence[str]]
    looks: Mapping[tuple[str, str], Look]
    failed: Mapping[str, str]

    def results(self) -> Iterator[MetricResult]:
        """Iterate over all results of all reports."""
        for group in self.groups:
            for report in group.reports:
                yield from report.metrics

    def ids(self, holds: Callable[[MetricResult], object]) -> list[str]:
        """Return the ids of the results of which something holds, in the order of the reports."""
        return list(dict.fromkeys(result.id for result in self.results() if holds(result)))

    def of(self, name: str) -> dict[str, str]:
        """Return the results of a metric by what they are of, each by its id.

        Of a metric that stands there several times, one of the training length counts before
        others, and of these that with the fewest parameters, of several such the first: it is
        nearest to what the metric asks by default.
        """
        return self._by_metric.get(name, {})

    @cached_property
    def _by_metric(self) -> dict[str, dict[str, str]]:
        found: dict[str, dict[str, str]] = {}
        for result in sorted(self.results(), key=_from_default):
            part = part_of(result.id, result.metric or "")
            found.setdefault(result.name, {}).setdefault(part, result.id)
        return found

    def title(self, id: str) -> str:
        """Return the title of a result."""
        return next(result.title for result in self.results() if result.id == id)

    def decides(self, id: str) -> bool:
        """Say whether what a result is about first is its verdict."""
        line = next((line for r in self.results() if r.id == id for line in r.headline), None)
        return line is not None and line.at == VERDICT

    def caption(self, id: str) -> str:
        """Return what the numbers of a result's metric say, as sentences of their own."""
        said = next((column.caption for column in self.columns if column.id == id), "")
        return said[:1].upper() + said[1:]

    def called(self, result: MetricResult) -> str:
        """Return the metric of a result, with its parameters that are not usual."""
        return result.metric or result.name

    def parameters(self, id: str) -> str:
        """Return the same in brackets; nothing where all parameters are usual."""
        first = next(result for result in self.results() if result.id == id)
        return f" ({self.called(first)})" if "[" in self.called(first) else ""

    def otherwise(self, ids: Iterable[str]) -> str:
        """Say which results were measured with parameters that are not usual, if any were."""
        known = {result.id: self.called(result) for result in self.results()}
        found = dict.fromkeys(known[id] for id in ids if "[" in known.get(id, ""))
        return f"Measured by {listed([*found])}." if found else ""

    @cached_property
    def columns(self) -> list[Column]:
        """Return the numbers that the results name as their headlines."""
        return columns_of(report for group in self.groups for report in group.reports)

    @cached_property
    def scores(self) -> list[str]:
        """Return the ids of what the models score, a share at every length that was tested.

        Of several shares it is the one that says whether the task was learned, if that is one of
        the headlines, else the first one.
        """
        shares = [column.id for column in self.columns if column.family == BEHAVIOUR]
        gates = {f"{group.gate_on}_accuracy" for group in self.groups}
        gated = [id for id in shares if {id.partition("/")[0]} == gates]
        kind = self._kind(next(iter([*gated, *shares]), ""))
        return self.ids(
            lambda result: (
                result.family == BEHAVIOUR
                and self._kind(result.id) == kind
                and result.bounds == (0.0, 1.0)
            )
        )

    def part(self, id: str) -> str:
        """Return what a result is of: ``block_in`` of ``recovery/block_in``, or nothing."""
        metrics = (r.metric or r.name for r in self.results() if r.id == id)
        return part_of(id, next(metrics, ""))

    def _kind(self, id: str) -> str:
        return id.removesuffix(f"/{self.part(id)}")

    def short_name(self, id: str) -> str:
        """Return what a result is of as part of a file's name, its id if it is of nothing."""
        return self.part(id).replace("/", "-") or id

    def look(self, id: str, verdict: str) -> Look:
        """Return how a verdict is drawn, the same in all pictures; grey where there are too many.

        What a metric says of several variables in one word looks the same; no two verdicts of
        different words or metrics look alike. Those that no colour is left for are half-filled.
        """
        return self.looks[next(r.name for r in self.results() if r.id == id), verdict]


def sheets(reports: Sequence[Report]) -> list[Sheet]:
    """Arrange reports by task, the models by name; tasks of which all reports failed are left out.

    Names are sorted as a person does, ``h3`` before ``h10``.
    """
    collection = collect(reports)
    verdicts: dict[str, set[str]] = {}
    metrics: dict[str, str] = {}
    by_task: dict[str, list[Group]] = {}
    for group in sorted(collection, key=lambda group: natural(group.name.row)):
        by_task.setdefault(group.name.task, []).append(group)
        for report in group.reports:
            for result in report.metrics:
                if result.verdict is not None:
                    verdicts.setdefault(result.id, set()).add(result.verdict)
                    metrics[result.id] = result.name
    known = {id: sorted(words) for id, words in verdicts.items()}
    said = dict.fromkeys((metrics[id], word) for id, words in known.items() for word in words)
    looks = looks_of([*said])
    measured = {group.name for group in collection}
    failed: dict[str, dict[str, str]] = {}
    for item in collection.refused:
        if item.name and item.report and item.report.error and item.name not in measured:
            of_task = failed.setdefault(item.name.task, {})
            of_task[item.name.row] = f"failed in {item.report.error.stage}"
    return [
        Sheet(task, by_task[task], known, looks, failed.get(task, {}))
        for task in sorted(by_task, key=natural)
    ]


def natural(name: str) -> list[list[tuple[int, str]]]:
    """Return what sorts numbers in names by their size, and a name before a longer one of its kind.

    ``mamba[width=64]`` stands before ``mamba2``, and ``h3`` before ``h10``.
    """
    own, _, arguments = name.partition("[")
    return [
        [(int(part), "") if part.isdecimal() else (-1, part)
         for part in re.split(r"([0-9]+)", each)]
        for each in (own, arguments)
    ]  # fmt: skip


def not_drawn(sheet: Sheet, drawn: Iterable[Group], ids: Sequence[str]) -> str:
    """Say which models of a task are on no page of a picture, and why."""
    there = {group.name.row for group in drawn}
    reasons: dict[str, list[str]] = {}
    for group in sheet.groups:
        if group.name.row not in there:
            reasons.setdefault(_reason(group, ids), []).append(group.name.row)
    for row, reason in sheet.failed.items():
        reasons.setdefault(reason, []).append(row)
    return " ".join(f"Not drawn, {reason}: {listed(rows)}." for reason, rows in reasons.items())


def _reason(group: Group, ids: Sequence[str]) -> str:
    found = [result for id in ids for result in group.results(id).values() if result]
    if not found:
        return "not measured"
    heads = sorted({(result.reason or "undefined").partition(":")[0] for result in found})
    if heads == ["not learned"]:
        return f"not learned{gates([group])}"
    return ", ".join(heads)


def gates(groups: Iterable[Group]) -> str:
    """Return `` (token accuracy below 0.7)`` if all have one gate."""
    found = {(group.gated, group.gate) for group in groups}
    gated, gate = found.pop() if len(found) == 1 else ("", None)
    return "" if gate is None else f" ({gated} below {gate:g})"


def flags(groups: Iterable[Group]) -> str:
    """Warn of reports that were cut short, and of weights that are random."""
    reports = [report for group in groups for report in group.reports]
    said = []
    limits = sorted({r.identity.limit for r in reports if r.identity.limit is not None})
    if limits:
        said.append(f"PARTIAL: measured with --limit {', '.join(map(str, limits))}.")
    if any(report.identity.model.source == "random" for report in reports):
        said.append("RANDOM WEIGHTS: a pretrained shape without its weights.")
    return " ".join(said)


def seeds_note(group: Group, ids: Sequence[str]) -> str:
    """Return ``3 of 4 seeds`` where only some have any of the results, else nothing."""
    if not ids:
        return ""
    have = {
        seed
        for id in ids
        for seed, result in group.results(id).items()
        if result is not None and (result.value is not None or result.profile is not None)
    }
    return "" if len(have) == len(group.seeds) else f"{len(have)} of {len(group.seeds)} seeds"


def titles(groups: Sequence[Group], ids: Sequence[str], inches: float) -> list[str]:
    """Name models above their panels, with the number of seeds where some have nothing."""
    found = []
    for group in groups:
        note = seeds_note(group, ids)
        name = wrapped(group.name.row, inches, points=LABEL)
        beside = f"{name} ({note})".rpartition("\n")[2]
        apart = " " if text_inches(beside, LABEL) <= inches else "\n"
        found.append(f"{name}{apart}({note})" if note else name)
    return found


def caption(*sentences: str) -> str:
    """Join what there is to say."""
    return " ".join(filter(None, sentences))


def is_longer(result: MetricResult) -> bool:
    """Say whether a result is of longer sequences than those of training."""
    return result.config.get("length", 1) != 1


def _from_default(result: MetricResult) -> tuple[bool, int]:
    return is_longer(result), len(parse_spec(result.metric or result.name).args)
