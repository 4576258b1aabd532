"""What a metric of pairs looks at: the reports of two cells. No model is loaded for a pair."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mecheval import seeding

if TYPE_CHECKING:
    import numpy as np

    from mecheval.reports.schema import MetricResult, Report


@dataclass(frozen=True)
class Side:
    """One cell of a pair.

    Attributes:
        report: Its report.
        title: The model's name with the arguments that differ from its defaults.
    """

    report: Report
    title: str

    def results(self, metric: str) -> dict[str, MetricResult]:
        """Return the results of a metric by what they are of, such as the name of a variable.

        Of a metric that was measured several times those with the usual parameters, or else the
        first ones.
        """
        ids = [result.metric for result in self.report.metrics if result.name == metric]
        chosen = metric if metric in ids else next(iter(ids), None)
        found = [result for result in self.report.metrics if result.metric == chosen]
        return {result.id.removeprefix(result.metric).lstrip("/"): result for result in found}


@dataclass(frozen=True)
class PairSubject:
    """Two cells of one task.

    Attributes:
        a: The one with the smaller key.
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
