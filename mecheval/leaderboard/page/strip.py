"""A number over seeds as a strip: a dot per seed, the mean, its interval, and the floor.

It stands in the table itself, as SVG, so that it is there without scripts and on paper.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mecheval.leaderboard.page.markup import Html, tag
from mecheval.reports.collection import words

if TYPE_CHECKING:
    from mecheval.reports.collection import OverSeeds

WIDTH, HEIGHT, ROOM = 132, 18, 5


def strip(summary: OverSeeds, limits: tuple[float, float], *, floor: float | None = None) -> Html:
    """Return the picture; nothing where there is no number.

    Args:
        summary: The number.
        limits: What lies at the left and at the right end.
        floor: What is reached without a model.
    """
    if summary.mean is None:
        return Html("")
    low, high = limits
    parts = [_line("axis", 0, WIDTH, HEIGHT / 2)]
    if summary.low is not None and summary.high is not None:
        left, right = _place(summary.low, low, high), _place(summary.high, low, high)
        parts.append(_line("interval", left, right, HEIGHT / 2))
    if floor is not None and low <= floor <= high:
        x = _place(floor, low, high)
        parts.append(tag("path", class_="floor", d=f"M{x:.1f} 1V{HEIGHT - 1}"))
    parts += [
        tag("circle", class_="seed", cx=f"{_place(value, low, high):.1f}", cy=HEIGHT / 2, r=2.6)
        for value in summary.values.values()
    ]
    x = _place(summary.mean, low, high)
    parts.append(tag("path", class_="mean", d=f"M{x:.1f} 3V{HEIGHT - 3}"))
    by_seed = ", ".join(
        f"seed {seed} {words.decimal(value)}" for seed, value in summary.values.items()
    )
    return tag(
        "svg", tag("title", f"{by_seed}; from {low:g} to {high:g}"), *parts, class_="strip",
        viewBox=f"0 0 {WIDTH} {HEIGHT}", width=WIDTH, height=HEIGHT, role="img",
        aria_label=f"by seed: {by_seed}",
    )  # fmt: skip


def _place(value: float, low: float, high: float) -> float:
    share = (value - low) / (high - low) if high > low else 0.5
    return ROOM + (WIDTH - 2 * ROOM) * min(1.0, max(0.0, share))


def _line(kind: str, left: float, right: float, y: float) -> Html:
    return tag("path", class_=kind, d=f"M{left:.1f} {y:g}H{right:.1f}")
