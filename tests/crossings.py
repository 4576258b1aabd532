"""Crossings of many members: one of each kind runs in every suite, all of them with ``-m slow``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable


def mostly_slow(members: Iterable[Any], *, always: Collection[Any]) -> list[Any]:
    """Return the members of a crossing as parameters: those not to be run always are slow.

    Args:
        members: All of them.
        always: Those that the quick suite runs too: one of every kind.

    Raises:
        ValueError: What should always run is none of them.
    """
    members = list(members)
    gone = [member for member in always if member not in members]
    if gone:
        raise ValueError(f"{gone} are no members of the crossing")
    return [
        member if member in always else pytest.param(*_values(member), marks=pytest.mark.slow)
        for member in members
    ]


def _values(member: Any) -> tuple[Any, ...]:
    return member if isinstance(member, tuple) else (member,)
