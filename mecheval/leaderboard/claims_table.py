"""Claims and findings as a Markdown table, with what was tested and corrected beneath it.

A suite that gives its claims names gets a longer table: with the names, where each claim is made,
and how many seeds learned and track.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from mecheval import escape
from mecheval.harness.matched_loss import MOST_APART
from mecheval.reports.collection import words
from mecheval.reports.collection.numbers import NOT_MEASURED, SEED
from mecheval.reports.markdown import table
from mecheval.reports.tracking import LEAST

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from mecheval.leaderboard.finding import Finding
    from mecheval.reports.collection import Group

OURS = "ours"
"""How the source of a claim begins that no paper makes."""

ANSWERS = ("yes", "no", "undecided", "not testable")


def markdown(findings: Sequence[Finding], *, suite: str = "") -> str:
    """Return the findings as a Markdown table, with counts beneath it and how they are decided.

    Args:
        findings: What reports say of the claims.
        suite: What the suite is called, for the command that measures what is not measured.
    """
    todo = (
        f"- To test {escape.markdown(', '.join(names))}: {escape.code(command)}"
        for command, names in commands(findings, suite).items()
    )
    parts = [
        table(*cells(findings)), escape.markdown(counts(findings)),
        escape.markdown(losses(findings)), "\n".join(legend(findings)), "\n".join(todo),
    ]  # fmt: skip
    return "\n\n".join(filter(None, parts)) + "\n"


def cells(findings: Sequence[Finding]) -> tuple[list[str], list[list[str]]]:
    """Return the headers and rows of the table."""
    columns = [column for column in _COLUMNS if _named(findings) or not column.named]
    rows = [[column.cell(finding) for column in columns] for finding in findings]
    return [column.title for column in columns], rows


def _named(findings: Sequence[Finding]) -> bool:
    return any(finding.claim.id for finding in findings)


class _Column(NamedTuple):
    """A column; one that is ``named`` is there where claims have names."""

    title: str
    cell: Callable[[Finding], str]
    named: bool = False


def _interval(finding: Finding) -> str:
    number = finding.number
    if number is None:
        return ""
    mark = "" if number.over == SEED else words.NOT_OVER_SEEDS
    return words.interval(number.low, number.high) + mark


def _gated(finding: Finding) -> list[Group]:
    """Return the cells that had something to pass: not those that are measured in any case."""
    return [group for group in finding.groups if not group.ungated]


def _how_many(by_seed: Iterable[Mapping[int, bool | None]]) -> str:
    """Write of how many seeds of all groups something holds: ``7 of 8``; nothing if unknown."""
    known = [each for group in by_seed for each in group.values() if each is not None]
    return f"{sum(known)} of {len(known)}" if known else ""


_COLUMNS = (
    _Column("Id", lambda f: f.claim.id, named=True),
    _Column("Claim", lambda f: f.claim.says),
    _Column("Source", lambda f: f.claim.source, named=True),
    _Column("Paper", lambda f: f.claim.paper),
    _Column("Holds if", lambda f: f.claim.bounds_in_words),
    _Column("Here", lambda f: f.here),
    _Column("95 % interval", _interval),
    _Column("Seeds", lambda f: str(f.n_seeds or "")),
    _Column("Learned", lambda f: _how_many(group.learned for group in _gated(f)), named=True),
    _Column("Tracking", lambda f: _how_many(group.tracking for group in _gated(f)), named=True),
    _Column("p", lambda f: words.p_value(f.p)),
    _Column("p, corrected", lambda f: words.p_value(f.p_corrected)),
    _Column("Replicated", lambda f: f.answer),
    _Column("After correction", lambda f: f.corrected),
)


def counts(findings: Sequence[Finding]) -> str:
    """Say how many claims are replicated, before and after the correction, and who makes them."""
    before, after = answered(findings), _counted([f.corrected for f in findings])
    sources = "; ".join(dict.fromkeys(f.claim.source for f in findings if f.claim.source))
    return f"{before}; after correction {after}. Claims from {sources}."


def answered(findings: Sequence[Finding]) -> str:
    """Say how many claims are replicated, before the correction: ``yes: 3, no: 1, ...``."""
    return _counted([finding.answer for finding in findings])


def _counted(answers: Sequence[str]) -> str:
    return ", ".join(f"{answer}: {answers.count(answer)}" for answer in ANSWERS)


def losses(findings: Sequence[Finding]) -> str:
    """Name the claims about pairs whose networks have not the same loss; empty if all have."""
    apart = {f.claim.id or f.claim.says: f.losses_apart or 0.0 for f in findings}
    unequal = [name for name, nats in apart.items() if nats > MOST_APART]
    if not unequal:
        return ""
    return (
        f"Losses are not the same in {', '.join(unequal)}: those of two networks of a pair differ "
        f"by up to {max(apart.values()):.2g} nats per token, and {MOST_APART} count as the same. "
        "What they have in common may differ for that reason."
    )


def legend(findings: Sequence[Finding]) -> list[str]:
    """Return how claims are decided, a line each."""
    tested = sum(finding.p is not None for finding in findings)
    verdicts = sum(bool(f.claim.verdicts) and f.answer != "not testable" for f in findings)
    lines = [
        "Intervals are t intervals over seeds; p is that of the t test that the mean is the bound "
        "of the claim that lies nearest, and a claim is decided where it is below 0.05.",
        f"Corrected by Holm's procedure over the {tested} claims of the suite that are numbers and "
        f"can be tested; the {verdicts} that are verdicts are counts of seeds, and not corrected.",
    ]
    if any(finding.claim.partner for finding in findings):
        lines.append(
            "Claims about two models are about networks held side by side: the column *Seeds* "
            "counts pairs of two networks, no two of which share one. Their intervals are a "
            "jackknife over these, with all else that shares a network with them."
        )
    if any(finding.claim.source.startswith(OURS) for finding in findings):
        lines.append(
            f"Source: who makes the claim. Those of *{OURS}* are questions that this package asks "
            "beside those of the papers, mostly as controls."
        )
    if any(f.number is not None and f.number.over != SEED for f in findings):
        lines.append(
            f"{words.NOT_OVER_SEEDS} All seeds are equal: there is no t test. What decides is the "
            "hull of the reports' own intervals, over examples, or where they have none the value."
        )
    if any(f.number is not None and f.number.brackets for f in findings):
        lines.append(
            "Two numbers in brackets: it is claimed that their signs differ, or that they do not. "
            "The number before them is the smaller one, below zero where they differ; its interval "
            "leaves out 0 where those of both do, and its p is the larger one of theirs."
        )
    if _named(findings):
        lines.append(
            "Learned: seeds that passed the gate, of all cells that the claim is about and that "
            "have one. Tracking: of those, seeds that are right at the last position of words four "
            f"times as long in {LEAST:g} of cases or more."
        )
    return lines


def commands(findings: Sequence[Finding], suite: str) -> dict[str, list[str]]:
    """Return what to run for the claims that cannot be tested here, with their names."""
    by_command: dict[str, list[str]] = {}
    for finding in findings:
        claim = finding.claim
        missing = NOT_MEASURED in finding.here and not claim.untestable and suite
        verb = "similarity" if claim.partner else "run"
        command = claim.command or (f"mecheval {verb} --suite {suite}" if missing else "")
        if command and finding.answer == "not testable":
            by_command.setdefault(command, []).append(claim.id or claim.says)
    return by_command
