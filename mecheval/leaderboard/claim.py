"""A claim as a value: which numbers it is about, and how they are put together.

Shape suffixes: ``K`` brackets, ``N`` numbers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from mecheval.harness.claim_schema import ALL

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mecheval.harness.suites import Suite


@dataclass(frozen=True, kw_only=True)
class Named:
    """A number by the names of what it is of; the fields are those of a claim."""

    model: str = ""
    partner: str = ""
    task: str = ""
    result: str = ""
    at: str = ""
    recipe: Mapping[str, Any] = field(default_factory=dict)

    def beside(self, other: Named) -> str:
        """Return in what it differs from another number, as a list of names."""
        fields = ("model", "partner", "task", "result", "at")
        names = [getattr(self, name) for name in fields]
        theirs = [getattr(other, name) for name in fields]
        return ", ".join(a for a, b in zip(names, theirs, strict=True) if a and a != b)


@dataclass(frozen=True, kw_only=True)
class Claim(Named):
    """A claim; the fields are those of the file. Bounds that are not finite bound nothing."""

    id: str = ""
    says: str = ""
    source: str = ""
    paper: str = ""
    minus: Mapping[str, Any] | None = None
    times: Mapping[str, Any] | None = None
    nearer_than: Mapping[str, Any] | None = None
    ranks_with: Mapping[str, Any] | None = None
    which: str | None = None
    least: float = -math.inf
    most: float = math.inf
    off: float | None = None
    verdicts: tuple[str, ...] = ()
    untestable: str = ""
    command: str = ""

    @property
    def own(self) -> Named:
        """Return the number that the claim's own fields name."""
        return Named(
            model=self.model, partner=self.partner, task=self.task, result=self.result, at=self.at,
            recipe=self.recipe,
        )  # fmt: skip

    @property
    def numbers(self) -> list[Named]:
        """Return all numbers that the claim is about, its own first."""
        own = self.own
        found = [own, *(replace(own, **fields) for fields in self._others())]
        if self.times:
            found += [replace(each, **self.times) for each in found]
        return found

    def _others(self) -> list[Mapping[str, Any]]:
        return [each for each in (self.minus, self.nearer_than, self.ranks_with) if each]

    @property
    def weights_KN(self) -> Sequence[Sequence[float]]:
        """Return how :attr:`numbers` are added up: one row, or two of which the sign is asked.

        That a number ``s`` is nearer to ``p`` than to ``q`` is that ``q - p`` and ``2s - p - q``
        have different signs: :func:`mecheval.reports.collection.contrasts.signed_least`.
        """
        if self.times:
            return [[1, -1, 0, 0], [0, 0, 1, -1]]
        if self.nearer_than:
            return [[0, -1, 1], [2, -1, -1]]
        return [[1, -1]] if self.minus else [[1]]

    @property
    def is_of_several(self) -> bool:
        """Say whether the claim is about the numbers of several cells or layers at once."""
        return bool(self.ranks_with or self.which)

    @property
    def bounds(self) -> list[float]:
        """Return what the number is held against."""
        ends = [self.least, self.most] if self.off is None else [-self.off, self.off]
        return [bound for bound in ends if math.isfinite(bound)]

    @property
    def bounds_in_words(self) -> str:
        """Return what a number or verdict must be for the claim to hold: ``at least 0.75``."""
        if self.verdicts:
            return " or ".join(self.verdicts)
        if self.off is not None:
            return "not 0" if self.off == 0 else f"more than {self.off:g} from 0"
        ends = [("at least", self.least), ("at most", self.most)]
        return ", ".join(f"{word} {end:g}" for word, end in ends if math.isfinite(end))


def claims_of(suite: Suite) -> list[Claim]:
    """Return the claims in a suite's file, which was checked when it was read."""
    return [
        Claim(**{**entry, "verdicts": tuple(entry.get("verdicts", ()))}) for entry in suite.claims
    ]


def is_all(name: str) -> bool:
    """Say whether a name of a model or task stands for all of them."""
    return name == ALL
