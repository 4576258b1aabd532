"""Whether a cell tracks its state: still right at four times the length of training.

*Learned* is said of the length of training, at which a shortcut may do as well: a count of symbols
that is looked up, a state that is kept for some steps. What tracks its state goes on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mecheval.reports.results import MetricResult

HELD = "last_accuracy/4x"
"""The result that says so: last-position accuracy, because the first positions of a longer test are
no longer than training."""
LEAST = 0.9
"""What it must be at least."""

NOT_LEARNED, NOT_MEASURED = "not learned", "not measured"


class Tracking(NamedTuple):
    """Whether a state is tracked, or why that cannot be said.

    Attributes:
        value: Whether it is; None where that cannot be said.
        reason: Why it cannot.
    """

    value: bool | None
    reason: str | None = None


def tracking_of(learned: bool | None, results: Sequence[MetricResult]) -> Tracking:
    """Say whether a cell tracks its state.

    Args:
        learned: Whether its task was learned.
        results: Its results.
    """
    if learned is None:
        return Tracking(None, NOT_MEASURED)
    found = next((result for result in results if result.id == HELD), None)
    if found is None:
        return Tracking(None, "no test at 4 times the training length")
    if not learned:
        return Tracking(None, NOT_LEARNED)
    if found.value is None:
        return Tracking(None, found.reason)
    return Tracking(found.value >= LEAST)
