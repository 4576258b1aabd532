"""The reports of one model on one task by one recipe, over seeds."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from mecheval.reports.collection.contrasts import Term, by_seed
from mecheval.reports.collection.made import Made
from mecheval.reports.collection.numbers import (
    VERDICT,
    Number,
    OverSeeds,
    common_range,
    number_of,
    over_seeds,
    verdicts_of,
)
from mecheval.reports.collection.profiles import ProfileOverSeeds, profile_over_seeds
from mecheval.reports.collection.words import ranges
from mecheval.reports.labels import (
    Name,
    gate_of,
    gate_on_of,
    gated_of,
    model_key,
    procedure,
    recipe_in_words,
    validated_of,
)
from mecheval.reports.tracking import NOT_LEARNED, Tracking, tracking_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from mecheval.reports.collection.columns import Column
    from mecheval.reports.reproduced import Execution, Reproduced
    from mecheval.reports.schema import Identity, MetricResult, Report


@dataclass(frozen=True, repr=False)
class Group:
    """Reports that differ in their seeds, and perhaps in the metrics that they hold.

    Attributes:
        name: What model, task and recipe are called, wherever they stand.
        reports: The reports, by seed.
        marks: What stands beside those of them that were reproduced, by their keys.
    """

    name: Name
    reports: Sequence[Report]
    marks: Mapping[str, Reproduced] = field(default_factory=dict)

    def __str__(self) -> str:
        """Return the name in words."""
        return str(self.name)

    def __repr__(self) -> str:
        """Return ``<gru on parity@1: seeds 0-3>``."""
        return f"<{self}: {'seed' if len(self.seeds) == 1 else 'seeds'} {ranges(self.seeds)}>"

    @property
    def identity(self) -> Identity:
        """Return what all reports share, but for seed and metrics."""
        return self.reports[0].identity

    @property
    def recipe(self) -> str:
        """Return how the model was trained, in words."""
        return recipe_in_words(self.identity)

    @property
    def gate(self) -> float | None:
        """Return the accuracy from which on the task counts as learned; see :func:`gate_of`."""
        return gate_of(self.identity)

    @property
    def ungated(self) -> bool:
        """Say whether no gate was asked: whether the task is learned is not known then."""
        return self.gate == 0

    @property
    def gate_on(self) -> str:
        """Return what the gate is on: ``token``, ``last`` or ``loss``."""
        return gate_on_of(self.identity)

    @property
    def gated(self) -> str:
        """Return what that is called: ``token accuracy``."""
        return gated_of(self.identity)

    @property
    def validated(self) -> str:
        """Return what the validation accuracy is called: ``token accuracy``."""
        return validated_of(self.identity)

    @cached_property
    def by_seed(self) -> dict[int, list[Report]]:
        """Return the reports of every seed; there are several where metrics were added later."""
        found: dict[int, list[Report]] = {}
        for report in sorted(self.reports, key=lambda each: (each.identity.seed, each.key)):
            found.setdefault(report.identity.seed, []).append(report)
        return found

    @property
    def seeds(self) -> tuple[int, ...]:
        """Return the seeds."""
        return tuple(self.by_seed)

    @property
    def learned(self) -> dict[int, bool | None]:
        """Return by seed whether the gate was passed; None where it was not measured."""
        return {
            seed: _any(report.learned for report in same) for seed, same in self.by_seed.items()
        }

    @property
    def n_learned(self) -> int:
        """Return how many seeds passed the gate: all, where it is 0 (:attr:`ungated`)."""
        return sum(learned is True for learned in self.learned.values())

    @property
    def reproduced(self) -> dict[int, list[Execution]]:
        """Return by seed how reports came out again elsewhere or later, where they did."""
        found: dict[int, list[Execution]] = {}
        for report in self.reports:
            if report.key in self.marks:
                same = found.setdefault(report.identity.seed, [])
                same += self.marks[report.key].executions
        return found

    @property
    def tracking(self) -> dict[int, bool | None]:
        """Return by seed whether the state is tracked; None where that cannot be said."""
        marks = self._marks.items()
        return {seed: _any(mark.value for mark in same) for seed, same in marks}

    @property
    def n_tracking(self) -> int | None:
        """Return how many seeds track their state; None where no seed was tested for that.

        Those that have not learned their task do not, where there is a test.
        """
        reasons = {mark.reason for same in self._marks.values() for mark in same}
        tested = reasons & {None, NOT_LEARNED}
        return sum(tracks is True for tracks in self.tracking.values()) if tested else None

    @property
    def untested(self) -> str:
        """Say why no seed was tested for that; nothing where one was."""
        told = dict.fromkeys(mark.reason or "" for same in self._marks.values() for mark in same)
        return "; ".join(told) if self.n_tracking is None else ""

    @cached_property
    def _marks(self) -> dict[int, list[Tracking]]:
        """Return what each report of every seed says of tracking."""
        return {
            seed: [tracking_of(report.learned, report.metrics) for report in same]
            for seed, same in self.by_seed.items()
        }

    def results(self, id: str) -> dict[int, MetricResult | None]:
        """Return a result by seed; None where a seed's reports lack it.

        Versions of a metric are never mixed, nor are the files of one's own: where seeds were
        measured with several, the results of older ones are null, and say so.
        """
        found = {seed: self._newest(seed, id) for seed in self.by_seed}
        newest = max(filter(None, found.values()), key=Made.age, default=None)
        return {seed: made and made.like(newest or made) for seed, made in found.items()}

    def edition(self, id: str) -> tuple[int, str | None] | None:
        """Return the version of the metric behind a result, and the hash of its file if it has one.

        Returns:
            That of the results that count; None where no seed has any.
        """
        found = filter(None, (self._newest(seed, id) for seed in self.by_seed))
        newest = max(found, key=Made.age, default=None)
        return newest and (newest.result.version, newest.file)

    def _newest(self, seed: int, id: str) -> Made | None:
        return self._newest_of.get((seed, id))

    @cached_property
    def _newest_of(self) -> dict[tuple[int, str], Made]:
        """Return the result that counts by seed and id: the newest, the first of equals."""
        found: dict[tuple[int, str], Made] = {}
        for seed, reports in self.by_seed.items():
            for made in (Made(result, report) for report in reports for result in report.metrics):
                known = found.get((seed, made.result.id))
                if known is None or made.age() > known.age():
                    found[seed, made.result.id] = made
        return found

    def numbers(self, id: str, at: str = "") -> dict[int, Number]:
        """Return a number by seed.

        Args:
            id: The result's id.
            at: The number in it, as :mod:`mecheval.reports.lookup` reads it.
        """
        return {seed: number_of(result, at) for seed, result in self.results(id).items()}

    def number(self, id: str, at: str = "") -> OverSeeds:
        """Return a number over seeds; for the path ``verdict``, the counts of the verdicts."""
        if at == VERDICT:
            return verdicts_of(self.results(id))
        return over_seeds(self.numbers(id, at))

    def of(self, column: Column) -> OverSeeds:
        """Return the number of a column over seeds."""
        if column.at == VERDICT:
            return verdicts_of(self.results(column.id), otherwise=column.otherwise)
        numbers = self.numbers(column.id, column.at)
        if column.at:
            numbers = {
                seed: each.within(column.bounds, otherwise=column.otherwise)
                for seed, each in numbers.items()
            }
        return common_range(numbers) if column.kind == "range" else over_seeds(numbers)

    def verdicts(self, id: str) -> Mapping[str, int]:
        """Return the number of seeds by verdict, most frequent first."""
        return self.number(id, VERDICT).verdicts

    def minus(self, other: Group, id: str, at: str = "") -> OverSeeds:
        """Return this group's number minus that of another one, paired by seed."""
        return over_seeds(by_seed([self.term(1, id, at), other.term(-1, id, at)]))

    def term(self, weight: float, id: str, at: str = "") -> Term:
        """Return a number as what is added to others; those of one task are paired by seed."""
        task = json.dumps(self.identity.task.model_dump(), sort_keys=True)
        return Term(weight, self.numbers(id, at), str(self), task)

    def profile(
        self, id: str, name: str | None = None, *, series: str | None = None
    ) -> ProfileOverSeeds | None:
        """Return a profile over seeds; None where no seed has it.

        Args:
            id: The result's id.
            name: The profile; the main one by default.
            series: Other numbers in it than its values.
        """
        return profile_over_seeds(self.results(id), name, series)


def group_key(identity: Identity) -> str:
    """Return what the reports of a group share: all that decides numbers but seed and metrics."""
    shared = [model_key(identity.model), identity.task.model_dump(), procedure(identity)]
    return json.dumps([*shared, identity.sweep], sort_keys=True)


def grouped(
    reports: Sequence[Report],
    names: Sequence[Name],
    marks: Mapping[str, Reproduced] | None = None,
) -> list[Group]:
    """Group reports, in the order in which the groups begin; ``marks`` as in :class:`Group`."""
    found: dict[str, list[Report]] = {}
    called: dict[str, Name] = {}
    for report, name in zip(reports, names, strict=True):
        key = group_key(report.identity)
        found.setdefault(key, []).append(report)
        called.setdefault(key, name)
    return [Group(called[key], tuple(same), marks or {}) for key, same in found.items()]


def _any(learned: Iterable[bool | None]) -> bool | None:
    known = [each for each in learned if each is not None]
    return any(known) if known else None
