"""How many seeds of a group learned their task, track their state, were reproduced, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mecheval.reports.labels import NO_GATE, gate_in_words

if TYPE_CHECKING:
    from mecheval.reports.collection.groups import Group


def learned(group: Group) -> str:
    """Say how many seeds passed the gate, and where that lies; or that there was none."""
    known = [each for each in group.learned.values() if each is not None]
    if not known:
        return ""
    if group.ungated:
        return NO_GATE
    gate = gate_in_words(group.identity)
    gate = gate and f" ({gate})"
    if len(group.seeds) == 1:
        return ("yes" if known[0] else "no") + gate
    return f"{group.n_learned} of {len(group.seeds)}{gate}"


def reproduced(group: Group) -> str:
    """Say how many seeds were measured again and came out as reported; nothing where none was."""
    n = len(group.reproduced)
    if not n or len(group.seeds) == 1:
        return "yes" if n else ""
    return f"{n} of {len(group.seeds)}"


def tracking(group: Group) -> str:
    """Say how many seeds track their state; nothing where that was not tested."""
    if len(group.seeds) == 1:
        return {True: "yes", False: "no", None: ""}[next(iter(group.tracking.values()))]
    return "" if group.n_tracking is None else f"{group.n_tracking} of {len(group.seeds)}"
