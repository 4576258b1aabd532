"""What reports say of a claim, and how a number with its interval decides one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from mecheval.reports.collection import words

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mecheval.leaderboard.claim import Claim
    from mecheval.reports.collection import Group
    from mecheval.reports.collection.contrasts import Estimate

MIN_SEEDS = 4
"""Fewest networks of a model, or pairs that share no network, from which a claim is decided."""

Answer = Literal["yes", "no", "undecided", "not testable"]


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
        groups: The reports that the claim is about, as far as they are there.
        losses_apart: By how many nats per token the validation losses of two networks that it is
            about differ at most; None where it is not of such pairs.
    """

    claim: Claim
    here: str
    n_seeds: int
    answer: Answer
    number: Estimate | None = None
    p: float | None = None
    p_corrected: float | None = None
    corrected: Answer = "not testable"
    groups: Sequence[Group] = ()
    losses_apart: float | None = None


def decided(claim: Claim, number: Estimate, groups: Sequence[Group]) -> Finding:
    """Return what a number that can be tested says of a claim.

    Args:
        claim: The claim.
        number: The number, with its interval.
        groups: The reports that it is from.
    """
    here = words.decimal(number.mean or 0.0)
    if number.brackets:
        both = " and ".join(words.decimal(each.mean or 0.0) for each in number.brackets)
        here = f"{here} ({both})"
    return Finding(
        claim, here, number.n, _answer(claim, number), number, _p_value(claim, number),
        groups=groups,
    )  # fmt: skip


def _p_value(claim: Claim, number: Estimate) -> float | None:
    """Return the p value of the t test that the mean is the claim's nearest bound."""
    mean = number.mean or 0.0
    bound = min(claim.bounds, key=lambda each: abs(mean - each), default=None)
    return None if bound is None else number.p(bound)


def _answer(claim: Claim, number: Estimate) -> Answer:
    """Hold the interval against the bounds; where there is none, the value that all seeds share."""
    low = number.mean if number.low is None else number.low
    high = number.mean if number.high is None else number.high
    if low is None or high is None:
        return "undecided"
    if claim.off is not None:
        if low > claim.off or high < -claim.off:
            return "yes"
        return "no" if -claim.off < low and high < claim.off else "undecided"
    if claim.least <= low and high <= claim.most:
        return "yes"
    return "no" if high < claim.least or low > claim.most else "undecided"
