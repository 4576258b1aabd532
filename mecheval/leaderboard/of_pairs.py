"""Numbers of pairs of networks, put together over the networks of two models, and their interval.

Every network of one model stands in one pair with one of the other, and all seeds of one model are
held side by side: such numbers share networks. What is independent are the pairs of two models;
without any one of them, and all that shares a network with it, the claim's number is computed
again, and these are a jackknife's pseudo-values (Arvesen 1969, doi:10.1214/aoms/1177697287), of
which Student's t interval is taken. Of a plain mean over pairs of two models that is the usual t
interval; of seeds of one model it is that of :func:`mecheval.stats.pairwise_interval`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mecheval.leaderboard.finding import MIN_SEEDS, Finding, decided
from mecheval.reports.collection.contrasts import signed_least, summed
from mecheval.reports.collection.numbers import (
    NOT_MEASURED,
    UNDEFINED,
    Number,
    bounds_of,
    number_of,
    weighted,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from mecheval.leaderboard.cells import Cells
    from mecheval.leaderboard.claim import Claim, Named
    from mecheval.reports.collection import Group
    from mecheval.reports.collection.contrasts import Estimate
    from mecheval.reports.pair import PairReport

SKYLINE = "skyline"
"""The path that leads to what the value is of seeds of one model: the mean over both models."""

Networks = tuple[str, str]
"""The keys of the two cells of a pair."""


class PairTerm(NamedTuple):
    """A mean over pairs, and how often it is added.

    Attributes:
        weight: Below 0 where it is subtracted.
        numbers: The number by the networks of the pair.
        same: Whether the pairs are of seeds of one model.
    """

    weight: float
    numbers: Mapping[Networks, Number]
    same: bool = False


class Sides(NamedTuple):
    """The networks of the two models of a pair."""

    a: Group
    b: Group

    @property
    def same(self) -> bool:
        """Return whether they are of one model: whether seeds of it are meant."""
        return self.a is self.b


def of_pairs(claim: Claim, cells: Cells, pairs: Sequence[PairReport]) -> Finding:
    """Look up a claim about two models that are held side by side, by the reports of both.

    Args:
        claim: It names a partner.
        cells: Finds the reports of the two models.
        pairs: The reports of pairs.
    """
    sides: list[Sides] = []
    for named in claim.numbers:
        groups = []
        for model in (named.model, named.partner):
            meant = cells.one(claim, replace(named, model=model))
            if meant.group is None:
                return Finding(claim, f"{model}: {meant.reason}", 0, "not testable")
            groups.append(meant.group)
        sides.append(Sides(*groups))
    groups = [*{id(group): group for each in sides for group in each}.values()]
    sums = [
        over_networks(
            [
                part
                for weight, named, of in zip(weights_N, claim.numbers, sides, strict=True)
                for part in (_terms(weight, named, of, pairs) if weight else ())
            ]
        )
        for weights_N in claim.weights_KN
    ]
    number = sums[0] if len(sums) == 1 else signed_least(*sums)
    if number.mean is None or number.n < MIN_SEEDS:
        reasons = [reason for part in number.parts for reason in part.reasons.values()]
        reason = next(iter(reasons), f"{number.n} of {MIN_SEEDS} pairs that share no network")
        return Finding(claim, reason, number.n, "not testable", groups=groups)
    apart = [report.losses_apart for report in _between(sides[0], _at_the_end(pairs))]
    most = max((each for each in apart if each is not None), default=None)
    return replace(decided(claim, number, groups), losses_apart=most)


def _at_the_end(reports: Iterable[PairReport]) -> list[PairReport]:
    return [report for report in reports if report.identity.at_loss is None]


def _between(sides: Sides, reports: Iterable[PairReport]) -> list[PairReport]:
    """Return the reports of the networks of two models."""
    a, b = ({report.key for report in group.reports} for group in sides)
    return [
        report
        for report in reports
        for x, y in [(report.identity.a, report.identity.b)]
        if (x in a and y in b) or (x in b and y in a)
    ]


def _terms(
    weight: float, named: Named, sides: Sides, reports: Iterable[PairReport]
) -> list[PairTerm]:
    """Return a number that a claim names as means over pairs.

    Args:
        weight: How often it is added.
        named: What it is.
        sides: The networks of its two models.
        reports: All reports of pairs.
    """
    at_the_end = _at_the_end(reports)
    if named.at != SKYLINE:
        found = _numbers(named.result, named.at, sides, at_the_end)
        return [PairTerm(weight, found, sides.same)]
    return [
        PairTerm(weight / 2, _numbers(named.result, "", Sides(group, group), at_the_end), same=True)
        for group in sides
    ]


def _numbers(
    result: str, at: str, sides: Sides, reports: Sequence[PairReport]
) -> dict[Networks, Number]:
    meant = _between(sides, reports)
    results = [(report, of) for report in meant for of in report.metrics if of.id == result]
    newest = max((of.version for _, of in results), default=0)
    found: dict[Networks, Number] = {}
    for report in meant:
        why = NOT_MEASURED if report.error is None else report.error.message
        found.setdefault((report.identity.a, report.identity.b), Number(reason=why))
    for report, of in results:
        if of.version == newest:
            found[report.identity.a, report.identity.b] = number_of(of, at)
    return found


def over_networks(parts: Sequence[PairTerm]) -> Estimate:
    """Return a sum of means over pairs, with its interval over pairs that share no network.

    Args:
        parts: The means, that of the claim's own number first.
    """
    there = [_there(part.numbers) for part in parts]
    blocks = _blocks(parts)
    whole = _sum(parts, there, set())
    own = {block for networks in there[0] for block in _blocks_of(networks, blocks)}
    reason = next((_why_none(part.numbers) for part in parts if not _there(part.numbers)), None)
    if whole is None or reason is not None:
        return summed([{0: Number(reason=reason or UNDEFINED)}])
    bounds = weighted(
        [(part.weight, Number(0.0, bounds=bounds_of(part.numbers.values()))) for part in parts]
    ).bounds
    numbers = {}
    for block in sorted(own):
        left = {
            networks for of in there for networks in of if block in _blocks_of(networks, blocks)
        }
        without = _sum(parts, there, left)
        numbers[block] = (
            Number(reason="no pair is left without one of the networks")
            if without is None
            else Number(len(own) * whole - (len(own) - 1) * without, bounds=bounds)
        )
    return summed([numbers])


def _there(numbers: Mapping[Networks, Number]) -> dict[Networks, float]:
    return {
        networks: float(each.value) for networks, each in numbers.items() if each.value is not None
    }


def _why_none(numbers: Mapping[Networks, Number]) -> str:
    """Return why there is not one number."""
    reasons = [each.reason for each in numbers.values() if each.reason]
    return max(reasons, key=reasons.count) if reasons else "no report of such a pair"


def _blocks(parts: Sequence[PairTerm]) -> dict[str, int]:
    """Return for every network which block it belongs to: the networks that stand together.

    The claim's own pairs make blocks; a network of a further model joins that of a network that it
    stands in a pair with. Of seeds of one model every network is a block of its own.
    """
    found: dict[str, int] = {}
    for part in parts:
        for a, b in sorted(_there(part.numbers)):
            if part.same:
                found.setdefault(a, len(found))
                found.setdefault(b, len(found))
            else:
                block = found.get(a, found.get(b, len(found)))
                found |= {network: block for network in (a, b) if network not in found}
    return found


def _blocks_of(networks: Networks, blocks: Mapping[str, int]) -> set[int]:
    return {blocks[network] for network in networks}


def _sum(
    parts: Sequence[PairTerm], there: Sequence[Mapping[Networks, float]], left_out: set[Networks]
) -> float | None:
    """Return the sum of means over the pairs that are kept; None where one has none."""
    total = 0.0
    for part, numbers in zip(parts, there, strict=True):
        kept = [value for networks, value in numbers.items() if networks not in left_out]
        if not kept:
            return None
        total += part.weight * float(np.mean(kept))
    return total
