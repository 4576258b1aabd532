"""What a metric of pairs is: as one of single models, but that it looks at two reports.

@metric(name="closeness", version=1, family="circuit", scope="pair")
@dataclass(frozen=True, kw_only=True)
class Closeness(PairMetric):
\"\"\"How close the accuracies of two models are.\"\"\"

def measure(self, subject: PairSubject) -> list[MetricResult]: ...
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from mecheval.metrics.contract import Metric
from mecheval.metrics.results import Layout

if TYPE_CHECKING:
    from mecheval.metrics.pairs.subject import PairSubject
    from mecheval.reports.schema import MetricResult


@dataclass(frozen=True, kw_only=True)
class PairMetric(Metric):
    """A measurement of two models on a task; a subclass is a frozen dataclass of its parameters.

    What it says must not depend on which of the two comes first, or say it of both directions.

    Where it knows what its value is of two models that share nothing which they learned, that is
    the reference ``null`` (or ``untrained``, where one of them has freshly drawn weights), and
    ``NAME_null`` that of the scalar ``NAME``, each with its ``_low`` and ``_high``. Another seed of
    each model is the other end, which is found among the pairs (:mod:`mecheval.reports.levels`).
    """

    of_pairs: ClassVar[bool] = True

    def outline(self, subject: PairSubject) -> list[Layout]:  # type: ignore[override]
        """Say which results there will be, without measuring; by default one."""
        return [Layout("", self.card.summary, 1)]

    @abstractmethod
    def measure(self, subject: PairSubject) -> list[MetricResult]:  # type: ignore[override]
        """Measure two cells that both learned the task.

        Returns:
            One result per layout of :meth:`outline`, made by :meth:`result`.
        """
