"""What is known of a metric without running it, and which of its numbers become columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from mecheval.metrics.consistency import Contradiction
    from mecheval.metrics.declaring import Scope
    from mecheval.metrics.needs import Need

PART = "{part}"
"""What stands in a heading for the part of a result that the number is of."""


@dataclass(frozen=True)
class Column:
    """A number of a metric that becomes a column of tables.

    Attributes:
        title: What the number is, in words; ``{part}`` stands for the part of the result that it is
            of, such as the name of a variable.
        of: Which results have it: the part behind the metric's name in their ids, where ``*``
            stands for any text.
        at: Where it is in the result, as :mod:`mecheval.reports.lookup` reads it: its value where
            empty, ``verdict``, the name of a scalar, or a cell of a profile.
        kind: How it is written: ``range`` gives the ends of its interval, which a threshold has.
        bounds: Smallest and largest possible number, where it is not the result's value.
        otherwise: Why it is missing where the result has a value, in a few words.
    """

    title: str
    of: str = "*"
    at: str = ""
    kind: Literal["number", "layer", "count", "range"] = "number"
    bounds: tuple[float | None, float | None] = (None, None)
    otherwise: str = ""


@dataclass(frozen=True)
class MetricCard:
    """What is known of a metric without running it; :func:`metric` says what each field is."""

    name: str
    version: int
    summary: str
    caption: str
    family: str
    scope: Scope
    needs: tuple[Need, ...]
    headline: tuple[Column, ...]
    contradicts: tuple[Contradiction, ...] = ()
    part: str = "part"
    later: tuple[str, ...] = ()
    reference: str = ""

    @property
    def columns(self) -> list[str]:
        """Return the titles of its columns, each once: ``midway, by COMPONENT``."""
        titles = (column.title.replace("{part}", self.part.upper()) for column in self.headline)
        return list(dict.fromkeys(titles))
