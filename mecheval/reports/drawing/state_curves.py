"""Which curves say where a variable is readable, used and sufficient, and how far they reach.

Shape suffix: ``L`` layers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mecheval.reports.drawing import words

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mecheval.reports.collection import Group
    from mecheval.reports.collection.profiles import ProfileOverSeeds
    from mecheval.reports.drawing.sheets import Sheet

EXCHANGE, READABILITY, BOTTLENECK = "exchange", "readability", "bottleneck"
READABLE, USED, SUFFICIENT, ERASED = "readable", "used", "sufficient", "linear subspace used"
JOINT = "+"
"""Joins the variables of a tuple."""

SAID = (
    "Readable: what a linear probe finds, above its floor. Used: what the answers lose if every "
    "position gets its activation from another word that has the same token there. Sufficient: the "
    "share of this loss that is spared if the other word is in the same state there; without a "
    "loss there is none."
)
SUBSPACE = (
    "Linear subspace used: what they lose if it alone is erased, which may be little although the "
    "state is used."
)
HOLLOW = (
    "Hollow marks: the same in any model, by construction. Layer 0 is the stream before the first "
    "block."
)
CUT = "Bands and bars that reach the frame go on behind it."

FURTHEST = 0.5
"""How far below 0 and above 1 intervals are shown."""


class Curve(NamedTuple):
    """One curve of a panel.

    Attributes:
        label: What the legend calls it.
        kind: What it says: readable, used, sufficient, or linear subspace used.
        nth: Its number among those of the kind.
        id: The result that it stands in.
        series: Its name in the result's profile; None for the values.
        ends: What it can be at least and at most, where its intervals end.
    """

    label: str
    kind: str
    nth: int
    id: str
    series: str | None
    ends: tuple[float, float] = (-np.inf, np.inf)


def exchanged_parts(sheet: Sheet) -> list[str]:
    """Return the variables that were exchanged, tuples before what they are made of."""
    return sorted(sheet.of(EXCHANGE), key=lambda part: -part.count(JOINT))


def curves_of(sheet: Sheet, part: str) -> list[Curve]:
    """Return the curves of a variable, as far as any model has them."""
    variables, exchanged = part.split(JOINT), sheet.of(EXCHANGE)[part]
    readable, erased = sheet.of(READABILITY), sheet.of(BOTTLENECK)
    found = [
        Curve(
            READABLE if len(variables) == 1 else f"{READABLE}: {words.clean(name)}",
            READABLE, place, readable.get(name, ""), None, (0.0, 1.0),
        )
        for place, name in enumerate(variables)
    ]  # fmt: skip
    found += [
        Curve(USED, USED, 0, exchanged, "use"),
        Curve(SUFFICIENT, SUFFICIENT, 0, exchanged, None),
        Curve(ERASED, ERASED, 0, erased.get(part, ""), None),
    ]
    return [curve for curve in found if any(profile_of(group, curve) for group in sheet.groups)]


def profile_of(group: Group, curve: Curve) -> ProfileOverSeeds | None:
    """Return what a model has of a curve; None where that is nothing."""
    profile = group.profile(curve.id, series=curve.series)
    if profile is None or list(profile.axes) != ["layer"] or not np.isfinite(profile.mean_X).any():
        return None
    return profile


def limits_of(groups: Sequence[Group], curves: Sequence[Curve]) -> tuple[int, float, float]:
    """Return the last layer, and the ends of what there is to see, over all models.

    Intervals are shown whole as far as :data:`FURTHEST`, beyond which they would flatten curves.
    """
    found = [p.mean_X for g in groups for c in curves if (p := profile_of(g, c)) is not None]
    low, high = reach_of(groups, curves)
    ends = max(low, -FURTHEST), min(high, 1 + FURTHEST)
    return (
        max(len(mean_L) - 1 for mean_L in found),
        min(0.0, ends[0], *(float(np.nanmin(mean_L)) for mean_L in found)),
        max(1.0, ends[1], *(float(np.nanmax(mean_L)) for mean_L in found)),
    )


def reach_of(groups: Sequence[Group], curves: Sequence[Curve]) -> tuple[float, float]:
    """Return how far intervals reach, at least from 0 to 1."""
    ends = [
        np.clip(each_L, *curve.ends)
        for group in groups
        for curve in curves
        if (profile := profile_of(group, curve)) is not None
        for each_L in (profile.low_X, profile.high_X)
    ]
    reach = np.concatenate([[0.0, 1.0], *ends])
    return float(np.nanmin(reach)), float(np.nanmax(reach))
