"""What others claim, beside what reports say of it.

A suite's file may hold ``[[claim]]`` tables, each about one number of one model on one task:

    says       the claim in words
    source     where it is made
    paper      the number given there, as text
    task       the task, as in a grid
    model      the model, as in a grid
    minus      another model, whose number is subtracted seed by seed
    result     the id of the result in the reports
    at         the number in it, as :mod:`mecheval.reports.lookup` reads it; its value by default
    least      what the number must be at least for the claim to hold
    most       what it must be at most
    verdicts   the verdicts under which the claim holds, in place of numbers
    untestable why it cannot be tested here

A claim is replicated if the interval over seeds lies within its bounds, not replicated if it lies
outside, and undecided if it does not lie on one side. With fewer than four seeds that have a
number it cannot be tested.

Shape suffixes: ``S`` seeds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from mecheval import seeding, stats
from mecheval.errors import UsageError
from mecheval.harness.plan import build_source, build_task
from mecheval.harness.request import Settings
from mecheval.reports.lookup import number_at
from mecheval.reports.markdown import table
from mecheval.spec import configured, parse_spec

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from mecheval.harness.suites import Suite
    from mecheval.registry import Registry
    from mecheval.reports.schema import MetricResult, Report

MIN_SEEDS = 4
HEADERS = ("Claim", "Paper", "Here", "95% interval", "Seeds", "Replicated")
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
    least: float = -np.inf
    most: float = np.inf
    verdicts: tuple[str, ...] = ()
    untestable: str = ""


@dataclass(frozen=True)
class Finding:
    """What the reports say of a claim.

    Attributes:
        claim: The claim.
        here: The number, or the verdicts with their counts, or why there is none.
        interval: Its interval over seeds, as text.
        n_seeds: Number of seeds with a number.
        answer: Whether the claim is replicated.
    """

    claim: Claim
    here: str
    interval: str
    n_seeds: int
    answer: Answer


def claims_of(suite: Suite) -> list[Claim]:
    """Return the claims in a suite's file.

    Raises:
        UsageError: A claim has an unknown key, or lacks one that it needs.
    """
    claims = []
    for entry in suite.claims:
        claim = configured(Claim, entry, what="a claim", see="mecheval/leaderboard/claims.py")
        if not claim.untestable:
            missing = [key for key in ("says", "task", "model", "result") if not entry.get(key)]
            if missing:
                raise UsageError(f"A claim in {suite.path} has no {missing[0]}. Write one.")
        claims.append(claim)
    return claims


def examine(
    claims: Sequence[Claim], reports: Sequence[Report], registry: Registry
) -> list[Finding]:
    """Look every claim's numbers up in reports.

    Args:
        claims: The claims.
        reports: Reports, of any models and tasks.
        registry: Where models and tasks are looked up.

    Raises:
        UsageError: A claim names a model or task that does not exist.
    """

    def found(claim: Claim, model: str) -> dict[int, MetricResult]:
        return _results(claim, model, reports, registry)

    return [_finding(claim, found) for claim in claims]


def markdown(findings: Sequence[Finding]) -> str:
    """Return the findings as a Markdown table, with counts beneath it."""
    rows = [
        [f.claim.says, f.claim.paper, f.here, f.interval, str(f.n_seeds or ""), f.answer]
        for f in findings
    ]
    counts = {answer: sum(f.answer == answer for f in findings) for answer in
              ("yes", "no", "undecided", "not testable")}  # fmt: skip
    total = ", ".join(f"{answer}: {n}" for answer, n in counts.items())
    sources = "; ".join(dict.fromkeys(f.claim.source for f in findings if f.claim.source))
    return f"{table(HEADERS, rows)}\n\n{total}. Claims from {sources}.\n"


def _results(
    claim: Claim, model: str, reports: Sequence[Report], registry: Registry
) -> dict[int, MetricResult]:
    """Return the claim's result by seed, of the reports of one model."""
    task = build_task(parse_spec(claim.task), registry)
    identity = build_source(parse_spec(model), registry, Settings()).identity()
    wanted = (task.card.name, task.params, identity.name, dict(identity.args))
    found = {}
    for report in reports:
        own = report.identity
        there = (own.task.name, own.task.params, own.model.name, own.model.args)
        if _plain(there) == _plain(wanted):
            for metric in report.metrics:
                if metric.id == claim.result:
                    found[own.seed] = metric
    return found


def _plain(value: Any) -> Any:
    """Return a value as JSON gives it back."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def _finding(claim: Claim, found: Callable[[Claim, str], Mapping[int, MetricResult]]) -> Finding:
    if claim.untestable:
        return Finding(claim, claim.untestable, "", 0, "not testable")
    results = found(claim, claim.model)
    if not results:
        return Finding(claim, "not measured", "", 0, "not testable")
    if claim.verdicts:
        return _of_verdicts(claim, results)
    path, others = claim.at.split(), found(claim, claim.minus) if claim.minus else {}
    numbers: dict[int, float] = {}
    reasons: list[str] = []
    for seed, result in sorted(results.items()):
        number: Any = number_at(result, path)
        if claim.minus:
            other: Any = number_at(others[seed], path) if seed in others else "not measured"
            number = number - other if _both_numbers(number, other) else f"{claim.minus}: {other}"
        if isinstance(number, float):
            numbers[seed] = number
        else:
            reasons.append(str(number).partition(":")[0])
    if len(numbers) < MIN_SEEDS:
        return Finding(claim, _missing(reasons), "", len(numbers), "not testable")
    values_S = np.array(list(numbers.values()))
    low, high, *_ = stats.mean_interval(values_S, seeding.stream(0, "claims"), unit="seed")
    return Finding(
        claim, f"{values_S.mean():.3f}", f"[{low:.3f}, {high:.3f}]", len(values_S),
        _answer(low, high, claim),
    )  # fmt: skip


def _both_numbers(left: Any, right: Any) -> bool:
    return isinstance(left, float) and isinstance(right, float)


def _missing(reasons: Sequence[str]) -> str:
    counts = {reason: reasons.count(reason) for reason in dict.fromkeys(reasons)}
    return (
        "; ".join(f"{reason}: {n} of the seeds" for reason, n in counts.items()) or "too few seeds"
    )


def _answer(low: float, high: float, claim: Claim) -> Answer:
    if claim.least <= low and high <= claim.most:
        return "yes"
    return "no" if high < claim.least or low > claim.most else "undecided"


def _of_verdicts(claim: Claim, results: Mapping[int, MetricResult]) -> Finding:
    verdicts = [result.verdict for result in results.values() if result.verdict is not None]
    if len(verdicts) < MIN_SEEDS:
        reasons = [str(r.reason).partition(":")[0] for r in results.values() if not r.verdict]
        return Finding(claim, _missing(reasons), "", len(verdicts), "not testable")
    counts = {verdict: verdicts.count(verdict) for verdict in sorted(set(verdicts))}
    here = ", ".join(f"{verdict} {n} of {len(verdicts)}" for verdict, n in counts.items())
    n_fitting = sum(verdict in claim.verdicts for verdict in verdicts)
    answer: Answer = "undecided" if 0 < n_fitting < len(verdicts) else "yes" if n_fitting else "no"
    return Finding(claim, here, "", len(verdicts), answer)
