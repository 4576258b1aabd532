"""What others claim, beside what reports say of it.

A suite's file may hold ``[[claim]]`` tables. Each is about a number of a model on a task:

    id         what the claim is called
    says       the claim in words
    source     where it is made
    paper      the number given there, as text
    task       the task, as in a grid; reports of its version, today's where none is named
    model      the model, as in a grid
    recipe     fields of the recipe that is meant, where the suite has several of one cell
    result     the id of the result in the reports
    at         the number in it, as :mod:`mecheval.reports.lookup` reads it; its value by default
    partner    another model, or the same for its seeds: the number is one of reports of pairs of
               the two, and ``at = "skyline"`` what the value is of seeds of one model

Four fields name another number, by those of ``model``, ``partner``, ``task``, ``recipe``,
``result`` and ``at`` in which it differs, as in
``minus = { task = "dyck", result = "readability/top" }``:

    minus        the number that is subtracted; text is another model
    times        in what another difference differs, and both its numbers: the claim is about the
                 smaller one of the two, below zero where their signs differ
    nearer_than  a third number; the claim is about by how much the number is nearer to it than to
                 the one of ``minus``, below zero where it is nearer to that of ``minus``
    ranks_with   another number; the claim is about the rank correlation of the two

``*`` stands for all models or all tasks of the suite's grids, in ``bottleneck/*`` for all parts of
a metric's results, in ``layer=*`` for all layers but the first and the last, at which most numbers
are what they are by construction. Of the numbers of all these cells and layers, or of their
differences to those of ``minus``, the claim is about the rank correlation with others, or one:

    which      least, median, mean or greatest

What it takes for the claim to hold, and what there is to say where that cannot be tested:

    least      what the number must be at least
    most       what it must be at most
    off        how far from 0 it must be, on whichever side
    verdicts   the verdicts under which the claim holds, in place of numbers
    untestable why it cannot be tested here
    command    what to run where there are no reports

A claim is about the cells that the suite's grids describe: the same model, task, recipe and sweep.

It is replicated if the t interval over seeds lies within its bounds, not replicated if it lies
outside, and undecided if it does not lie on one side: that is Student's t test of the nearest bound
at 5 %. With fewer than four seeds that have a number it cannot be tested. As many claims are tested
at once, the p values of all claims of the suite that are numbers are corrected by Holm's procedure
as well, and a claim whose corrected p value is not below 5 % is undecided after it. Verdicts are
counted, which is no test, so there is nothing to correct.

Numbers of one task, of one or several networks, are paired by seed; those of several tasks are
independent samples, and have Welch's interval (:mod:`mecheval.reports.collection.contrasts`). The
sign of two differences is decided where both of them are, and its p value is the larger of theirs.
A rank correlation, or the least of many numbers, is computed in every seed by itself. Numbers of
pairs have a jackknife's interval, over pairs that share no network, in place of seeds
(:mod:`mecheval.leaderboard.of_pairs`).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from mecheval import stats
from mecheval.errors import did_you_mean
from mecheval.escape import quoted
from mecheval.leaderboard.cells import Cells
from mecheval.leaderboard.claim import is_all
from mecheval.leaderboard.finding import MIN_SEEDS, Finding, decided
from mecheval.leaderboard.of_pairs import of_pairs
from mecheval.leaderboard.spread import spread
from mecheval.reports.collection import words
from mecheval.reports.collection.contrasts import contrast, signed_least
from mecheval.reports.labels import gate_in_words
from mecheval.reports.tracking import NOT_LEARNED
from mecheval.spec import parse_spec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mecheval.harness.suites import Suite
    from mecheval.leaderboard.claim import Claim
    from mecheval.leaderboard.finding import Answer
    from mecheval.registry import Registry
    from mecheval.reports.collection import Collection, Group, OverSeeds
    from mecheval.reports.collection.contrasts import Estimate
    from mecheval.reports.pair import PairReport

_MOST_NAMED = 8  # results that a remark names


def examine(
    claims: Sequence[Claim],
    collection: Collection,
    registry: Registry,
    suite: Suite | None = None,
    *,
    pairs: Sequence[PairReport] = (),
) -> list[Finding]:
    """Look every claim's numbers up in reports.

    Args:
        claims: The claims.
        collection: Reports, of any models and tasks.
        registry: Where models and tasks are looked up.
        suite: Says by its grids which recipes are meant; without one, whichever there is.
        pairs: Reports of pairs, for the claims that are about them.

    Raises:
        UsageError: A claim names a model or task that does not exist, or several recipes fit it.
    """
    cells = Cells(claims, collection, registry, suite)
    findings = [
        of_pairs(claim, cells, pairs)
        if claim.partner and not claim.untestable
        else _finding(claim, cells)
        for claim in claims
    ]
    corrected = stats.holm([finding.p for finding in findings])
    return [
        replace(finding, p_corrected=p, corrected=_after_correction(finding, p))
        for finding, p in zip(findings, corrected, strict=True)
    ]


def concerns(claims: Sequence[Claim], collection: Collection) -> bool:
    """Say whether any claim may be about any of these reports, by the names of model and task.

    One about all models is about those on its task. One about all models on all tasks says nothing
    of which reports it is about.
    """
    there = {(g.identity.model.name, g.identity.task.name) for g in collection.groups}
    numbers = [number for claim in claims for number in claim.numbers if not claim.untestable]
    named = {(_name(each.model), _name(each.task)) for each in numbers} - {(None, None)}
    return any(
        model in (None, of_model) and task in (None, of_task)
        for model, task in named
        for of_model, of_task in there
    )


def _name(text: str) -> str | None:
    """Return the name of a model or task, None for all of them."""
    return None if is_all(text) else parse_spec(text).name


def _after_correction(finding: Finding, p: float | None) -> Answer:
    open_now = p is not None and p >= 1 - stats.LEVEL and finding.answer in ("yes", "no")
    return "undecided" if open_now else finding.answer


def _finding(claim: Claim, cells: Cells) -> Finding:
    if claim.untestable:
        return Finding(claim, claim.untestable, 0, "not testable")
    if claim.is_of_several:
        return _of_several(claim, cells)
    groups: list[Group] = []
    for named in claim.numbers:
        meant, label = cells.one(claim, named), _label(named.beside(claim.own))
        group = meant.group
        if group is None:
            return Finding(claim, label + meant.reason, 0, "not testable", groups=groups)
        groups.append(group)
        if not any(group.results(named.result).values()):
            lacking = label + _no_result(named.result, group)
            return Finding(claim, lacking, 0, "not testable", groups=groups)
        if claim.verdicts:
            return _of_verdicts(claim, group)
    number = _number(claim, groups)
    if number.mean is None or number.n < MIN_SEEDS:
        reason = _too_few(claim, groups, number)
        return Finding(claim, reason, number.n, "not testable", groups=groups)
    return decided(claim, number, groups)


def _number(claim: Claim, groups: Sequence[Group]) -> Estimate:
    """Add the claim's numbers up; of two sums return the one that says whether signs differ."""
    sums = [
        contrast(
            [
                group.term(weight, named.result, named.at)
                for weight, group, named in zip(weights_N, groups, claim.numbers, strict=True)
                if weight
            ]
        )
        for weights_N in claim.weights_KN
    ]
    return sums[0] if len(sums) == 1 else signed_least(*sums)


def _of_several(claim: Claim, cells: Cells) -> Finding:
    groups = cells.several(claim.own)
    if not groups:
        return Finding(claim, "not measured", 0, "not testable")
    found = spread(claim, groups)
    number = found.number
    if number.mean is None or number.n < MIN_SEEDS:
        reasons = [*dict.fromkeys(number.parts[0].reasons.values())]
        reason = words.listed(reasons, _MOST_NAMED) or f"{number.n} of {MIN_SEEDS} seeds"
        return Finding(claim, reason, number.n, "not testable", groups=groups)
    finding = decided(claim, number, groups)
    return replace(finding, here=f"{finding.here} (of {found.counts} numbers)")


def _of_verdicts(claim: Claim, group: Group) -> Finding:
    found = group.number(claim.result, "verdict")
    if found.n < MIN_SEEDS:
        reason = _missing(found, group)
        return Finding(claim, reason, found.n, "not testable", groups=[group])
    n_fitting = sum(n for verdict, n in found.verdicts.items() if verdict in claim.verdicts)
    answer: Answer = "undecided" if 0 < n_fitting < found.n else "yes" if n_fitting else "no"
    return Finding(claim, words.verdicts(found), found.n, answer, groups=[group])


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
        gate = gate_in_words(group.identity) if head == NOT_LEARNED else ""
        said = f"{head} ({gate})" if gate else head
        told.append(f"{said}: {heads.count(head)} of {number.n_seeds} seeds")
    return "; ".join(told) or f"{number.n} of {MIN_SEEDS} seeds"


def _too_few(claim: Claim, groups: Sequence[Group], number: Estimate) -> str:
    """Say of which number there are too few seeds, and why."""
    if len(number.parts) == 1:
        return _missing(number.parts[0], groups[0])
    for named, group in zip(claim.numbers, groups, strict=True):
        alone = group.number(named.result, named.at)
        if alone.n < MIN_SEEDS:
            return _label(named.beside(claim.own)) + _missing(alone, group)
    return f"{number.n} of {MIN_SEEDS} seeds in common"


def _label(name: str) -> str:
    return f"{name}: " if name else ""
