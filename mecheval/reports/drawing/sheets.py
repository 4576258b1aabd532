"""What figures are drawn from: all models on one task; and what is to be said of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mecheval.reports.drawing.canvas import text_inches
from mecheval.reports.drawing.groups import grouped
from mecheval.reports.drawing.words import listed, wrapped

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from mecheval.reports.drawing.groups import Group
    from mecheval.reports.schema import MetricResult, Report


@dataclass(frozen=True)
class Sheet:
    """All models on one task.

    Attributes:
        task: The task with its version.
        groups: The models, sorted by name.
        verdicts: All verdicts on all tasks that are drawn, by id of the result: their colours are
            the same in all pictures.
    """

    task: str
    groups: Sequence[Group]
    verdicts: dict[str, list[str]]

    def results(self) -> Iterable[MetricResult]:
        """Iterate over all results of all reports."""
        for group in self.groups:
            for report in group.reports:
                yield from report.metrics

    def ids(self, holds: Callable[[MetricResult], object]) -> list[str]:
        """Return the ids of the results of which something holds, in the order of the reports."""
        return list(dict.fromkeys(result.id for result in self.results() if holds(result)))


def sheets(reports: Sequence[Report]) -> list[Sheet]:
    """Arrange reports by task; those that failed are left out."""
    verdicts: dict[str, set[str]] = {}
    for report in reports:
        for result in report.metrics:
            if result.verdict is not None:
                verdicts.setdefault(result.id, set()).add(result.verdict)
    known = {id: sorted(words) for id, words in verdicts.items()}
    by_task: dict[str, list[Group]] = {}
    for group in sorted(grouped(reports), key=lambda group: group.name.row):
        by_task.setdefault(group.name.task, []).append(group)
    return [Sheet(task, by_task[task], known) for task in sorted(by_task)]


def seeds_sentence(groups: Iterable[Group], *, what: str, single: str = "") -> str:
    """Say what is averaged, and what its interval is over.

    Args:
        groups: What is drawn.
        what: How the interval is drawn: ``band``, ``bar``; nothing is said of it where empty.
        single: What it is where there is a single seed.
    """
    counts = sorted({len(group.seeds) for group in groups})
    if counts == [1]:
        return f"One seed; {what}: {single}." if what and single else "One seed."
    several = f"{counts[0]} to {counts[-1]}" if len(counts) > 1 else f"{counts[0]}"
    band = f"; {what}: 95 % t interval over seeds" if what else ""
    if band and counts[0] == 1 and single:
        band += f", or with one seed {single}"
    return f"Means over {several} seeds{band}."


def not_drawn(sheet: Sheet, drawn: Iterable[Group], ids: Sequence[str]) -> str:
    """Say which models of a task are not in a picture, and why."""
    there = {group.name.row for group in drawn}
    reasons: dict[str, list[str]] = {}
    for group in sheet.groups:
        if group.name.row not in there:
            reasons.setdefault(_reason(group, ids), []).append(group.name.row)
    if not reasons:
        return ""
    return " ".join(f"{_start(reason)}: {listed(rows)}." for reason, rows in reasons.items())


def _start(reason: str) -> str:
    return f"Not drawn, {reason}"


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
    found = {group.gate for group in groups}
    gate = found.pop() if len(found) == 1 else None
    return "" if gate is None else f" (token accuracy below {gate:g})"


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
    width, found = int(inches / text_inches("x", 7)), []
    for group in groups:
        note = seeds_note(group, ids)
        name = wrapped(group.name.row, width)
        apart = " " if len(name.split("\n")[-1] + note) + 3 <= width else "\n"
        found.append(f"{name}{apart}({note})" if note else name)
    return found


def caption(*sentences: str) -> str:
    """Join what there is to say."""
    return " ".join(filter(None, sentences))
