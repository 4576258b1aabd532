"""How many seeds learned a task, and how many track its state: right at longer words as well."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from mecheval.reports.collection import Group

TRACKS = 0.9
AT = "last_accuracy/4x"
"""What is at least :data:`TRACKS` where a model tracks the state: answers at the last position of
words four times as long as the longest that it was trained on."""


def learned(group: Group) -> Mapping[int, bool | None]:
    """Return by seed whether the task was learned; None where that is not known."""
    return group.learned


def tracking(group: Group) -> Mapping[int, bool | None]:
    """Return by seed whether the model tracks the state; None where that was not measured."""
    return {
        seed: None if number.value is None else number.value >= TRACKS
        for seed, number in group.numbers(AT).items()
    }


def counted(groups: Iterable[Group], holds: Callable[[Group], Mapping[int, bool | None]]) -> str:
    """Write of how many seeds of all groups something holds: ``7 of 8``; nothing if unknown."""
    known = [each for group in groups for each in holds(group).values() if each is not None]
    return f"{sum(known)} of {len(known)}" if known else ""
