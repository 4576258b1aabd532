"""What others claim, beside what reports say of it.

A suite's file may hold ``[[claim]]`` tables, each about one number of one model on one task:

    says       the claim in words
    source     where it is made
    paper      the number given there, as text
    task       the task, as in a grid; reports of its version, today's where none is named
    model      the model, as in a grid
    minus      another model, whose number is subtracted seed by seed
    recipe     fields of the recipe that is meant, where the suite has several of one cell
    result     the id of the result in the reports
    at         the number in it, as :mod:`mecheval.reports.lookup` reads it; its value by default
    least      what the number must be at least for the claim to hold
    most       what it must be at most
    verdicts   the verdicts under which the claim holds, in place of numbers
    untestable why it cannot be tested here

A claim is about the cells that the suite's grids describe: the same model, task, recipe and sweep.

It is replicated if the t interval over seeds lies within its bounds, not replicated if it lies
outside, and undecided if it does not lie on one side: that is Student's t test of the nearest bound
at 5 %. With fewer than four seeds that have a number it cannot be tested. As many claims are tested
at once, the p values of all claims of the suite that are numbers are corrected by Holm's procedure
as well, and a claim whose corrected p value is not below 5 % is undecided after it. Verdicts are
counted, which is no test, so there is nothing to correct.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from mecheval import stats
from mecheval.errors import did_you_mean
from mecheval.escape import quoted
from mecheval.leaderboard.cells import cells_of
from mecheval.reports.collection import words

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from mecheval.harness.suites import Suite
    from mecheval.leaderboard.cells import Meant
    from mecheval.registry import Registry
    from mecheval.reports.collection import Collection, Group, OverSeeds

MIN_SEEDS = 4
_MOST_NAMED = 8  # results that a remark names
Answer = Literal["yes", "no", "undecided", "not testable"]


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A claim; the fields are those of the file. Bounds that are not finite bound nothing."""

    says: str = ""
    source: str = ""
    paper: str = ""
    task: str = ""
    model: str = ""
    minus: str = ""
    result: str = ""
    at: str = ""
    least: float = -math.inf
    most: float = math.inf
    verdicts: tuple[str, ...] = ()
    untestable: str = ""
    recipe: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Finding:
    """What the reports say of a claim.

    Attributes:
        claim: The claim.
        here: The number, or the verdicts with their counts, or why there is none.
        n_seeds: Number of seeds with a number.
        answer: Whether the claim is replicated.
        number: The number over seeds, where the claim is about one and it can be tested.
        p: p value of the t test of the claim's nearest bound; None where there is none.
        p_corrected: The same, corrected for the number of claims.
        corrected: Whether the claim is replicated after the correction.
    """

    claim: Claim
    here: str
    n_seeds: int
    answer: Answer
    number: OverSeeds | None = None
    p: float | None = None
    p_corrected: float | None = None
    corrected: Answer = "not testable"


def claims_of(suite: Suite) -> list[Claim]:
    """Return the claims in a suite's file, which was checked when it was read."""
    return [
        Claim(**{**entry, "verdicts": tuple(entry.get("verdicts", ()))}) for entry in suite.claims
    ]


def examine(
    claims: Sequence[Claim], collection: Collection, registry: Registry, suite: Suite | None = None
) -> list[Finding]:
    """Look every claim's numbers up in reports.

    Args:
        claims: The claims.
        collection: Reports, of any models and tasks.
        registry: Where models and tasks are looked up.
        suite: Says by its grids which recipes are meant; without one, whichever there is.

    Raises:
        UsageError: A claim names a model or task that does not exist, or several recipes fit it.
    """
    cells = cells_of(claims, collection, registry, suite)
    findings = [_finding(claim, lambda model, c=claim: cells(c, model)) for claim in claims]
    corrected = stats.holm([finding.p for finding in findings])
    return [
        replace(finding, p_corrected=p, corrected=_after_correction(finding, p))
        for finding, p in zip(findings, corrected, strict=True)
    ]


def _after_correction(finding: Finding, p: float | None) -> Answer:
    open_now = p is not None and p >= 1 - stats.LEVEL and finding.answer in ("yes", "no")
    return "undecided" if open_now else finding.answer


def _finding(claim: Claim, found: Callable[[str], Meant]) -> Finding:
    if claim.untestable:
        return Finding(claim, claim.untestable, 0, "not testable")
    ours = found(claim.model)
    if ours.group is None:
        return Finding(claim, ours.reason, 0, "not testable")
    if not any(ours.group.results(claim.result).values()):
        return Finding(claim, _no_result(claim.result, ours.group), 0, "not testable")
    if claim.verdicts:
        return _of_verdicts(claim, ours.group)
    number = ours.group.number(claim.result, claim.at)
    if claim.minus:
        theirs = found(claim.minus)
        if theirs.group is None:
            return Finding(claim, f"{claim.minus}: {theirs.reason}", 0, "not testable")
        if not any(theirs.group.results(claim.result).values()):
            lacking = f"{claim.minus}: {_no_result(claim.result, theirs.group)}"
            return Finding(claim, lacking, 0, "not testable")
        number = ours.group.minus(theirs.group, claim.result, claim.at)
    if number.mean is None or number.n < MIN_SEEDS:
        return Finding(claim, _missing(number, ours.group), number.n, "not testable")
    here, answer = words.decimal(number.mean), _answer(claim, number)
    return Finding(claim, here, number.n, answer, number, _p_value(claim, number, number.mean))


def _p_value(claim: Claim, number: OverSeeds, mean: float) -> float | None:
    """Return the p value of the t test that the mean is the claim's nearest bound."""
    bound = min((claim.least, claim.most), key=lambda each: abs(mean - each))
    if not math.isfinite(bound):
        return None
    return stats.t_test([*number.values.values()], against=bound)


def _answer(claim: Claim, number: OverSeeds) -> Answer:
    """Hold the interval against the bounds; where there is none, the value that all seeds share."""
    low = number.mean if number.low is None else number.low
    high = number.mean if number.high is None else number.high
    if low is None or high is None:
        return "undecided"
    if claim.least <= low and high <= claim.most:
        return "yes"
    return "no" if high < claim.least or low > claim.most else "undecided"


def _of_verdicts(claim: Claim, group: Group) -> Finding:
    found = group.number(claim.result, "verdict")
    if found.n < MIN_SEEDS:
        return Finding(claim, _missing(found, group), found.n, "not testable")
    n_fitting = sum(n for verdict, n in found.verdicts.items() if verdict in claim.verdicts)
    answer: Answer = "undecided" if 0 < n_fitting < found.n else "yes" if n_fitting else "no"
    return Finding(claim, words.verdicts(found), found.n, answer)


def _no_result(id: str, group: Group) -> str:
    """Say that no report has a result, and name those that there are, the likeliest first."""
    there = dict.fromkeys(metric.id for report in group.reports for metric in report.metrics)
    near = [each for each in there if each.partition("/")[0] == id.partition("/")[0]]
    named = words.listed([*dict.fromkeys([*near, *there])], _MOST_NAMED) or "none"
    meant = did_you_mean(id, there)
    return f"no report has the result {quoted(id)}.{meant} There are {named}"


def _missing(number: OverSeeds, group: Group) -> str:
    """Say why seeds have no number, with the gate that decides what counts as learned."""
    heads = [reason.partition(":")[0] for reason in number.reasons.values()]
    told = []
    for head in dict.fromkeys(heads):
        gate = f" (gate {group.gate:g})" if head == words.NOT_LEARNED and group.gate else ""
        told.append(f"{head}{gate}: {heads.count(head)} of {number.n_seeds} seeds")
    return "; ".join(told) or f"{number.n} of {MIN_SEEDS} seeds"
