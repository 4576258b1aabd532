"""Reports of pairs, put together by the two models that they are of."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from mecheval.reports.drawing import canvas
from mecheval.reports.drawing.canvas import Panel, Room
from mecheval.reports.drawing.style import LABEL, text_inches
from mecheval.reports.drawing.words import clean, wrapped
from mecheval.reports.levels import measured, model_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from mecheval.reports.pair import PairReport
    from mecheval.reports.results import MetricResult


ROOM = Room(left=0.45, right=0.1)  # half a number of the scale below stands beyond its end
COLUMNS = 3


class Seen(NamedTuple):
    """A result of a pair.

    Attributes:
        report: The pair.
        result: The result.
        turned: Whether the pair's first network is of the second of the two models.
    """

    report: PairReport
    result: MetricResult
    turned: bool


class Two(NamedTuple):
    """Two models, or one and its seeds.

    Attributes:
        names: What the two are called.
        seen: The results of their pairs.
    """

    names: tuple[str, str]
    seen: Sequence[Seen]

    @property
    def same(self) -> bool:
        """Return whether they are one model."""
        return self.names[0] == self.names[1]

    @property
    def title(self) -> str:
        """Return a line for a panel."""
        a, b = map(clean, self.names)
        return f"{a}: seeds of it" if self.same else f"{a} and {b}"

    def title_of(self, inches: float) -> str:
        """Return the title of a panel of a width, in two lines where it needs them."""
        if text_inches(self.title, LABEL) <= inches:
            return self.title
        a, b = self.names
        parts = (f"{a}:", "seeds of it") if self.same else (f"{a} and", b)
        return "\n".join(wrapped(part, inches, points=LABEL, lines=1) for part in parts)


def twos(
    reports: Iterable[PairReport], wanted: Callable[[MetricResult], bool]
) -> dict[str, list[Two]]:
    """Return what there is of every two models, by result: two models first, then seeds of one.

    Args:
        reports: Reports of pairs on one task.
        wanted: Says which results are meant.
    """
    names: dict[str, str] = {}
    found: dict[str, dict[tuple[str, str], list[Seen]]] = {}
    asked: dict[str, str] = {}
    for report in reports:
        models = [model_of(side) for side in report.sides]
        names |= dict(zip(models, (side.title for side in report.sides), strict=True))
        a, b = sorted(models, key=lambda model: (names[model], model))
        for result in filter(wanted, report.metrics):
            if asked.setdefault(result.id, measured(result)) == measured(result):
                seen = Seen(report, result, turned=models[0] != a)
                found.setdefault(result.id, {}).setdefault((a, b), []).append(seen)
    return {
        id: sorted(
            (Two((names[a], names[b]), seen) for (a, b), seen in of.items()),
            key=lambda two: (two.same, two.names),
        )
        for id, of in sorted(found.items())
    }


def panels(models: Sequence[Two], height: float) -> list[Panel]:
    """Return a panel of a height in inches for every two models, in :data:`COLUMNS` columns."""
    inches = canvas.panel_inches(len(models), COLUMNS, ROOM)
    return [Panel(two.title_of(inches), height) for two in models]
