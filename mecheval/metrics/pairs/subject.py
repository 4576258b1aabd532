"""What a metric of pairs looks at: what was measured of two networks. No model is loaded."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mecheval import seeding

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from mecheval.reports.results import MetricResult


@dataclass(frozen=True)
class Side:
    """One network of a pair.

    Attributes:
        title: The model's name with the arguments that differ from its defaults.
        seed: Its seed.
        learned: Whether it learned the task.
        measured: The results of its report.
    """

    title: str
    seed: int
    learned: bool
    measured: Sequence[MetricResult] = field(repr=False)

    def results(self, metric: str) -> dict[str, MetricResult]:
        """Return the results of a metric by what they are of, such as the name of a variable.

        Of a metric that was measured several times those with the usual parameters, or else the
        first ones.
        """
        ids = [result.metric for result in self.measured if result.name == metric]
        chosen = metric if metric in ids else next(iter(ids), None)
        found = [result for result in self.measured if result.metric == chosen]
        return {result.id.removeprefix(result.metric).lstrip("/"): result for result in found}


@dataclass(frozen=True)
class PairSubject:
    """Two networks that were measured on one task.

    Attributes:
        a: That of the cell with the smaller key.
        b: The other one.
        seed: From which all random streams of the pair are derived.
    """

    a: Side
    b: Side
    seed: int

    @property
    def sides(self) -> tuple[Side, Side]:
        """Return both."""
        return self.a, self.b

    def stream(self, *names: str | int) -> np.random.Generator:
        """Return the random stream of one purpose."""
        return seeding.stream(self.seed, *names)
