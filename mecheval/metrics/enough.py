"""What a metric needs of the number of examples that it is given."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mecheval.metrics.needs import Need
from mecheval.metrics.subject import gives_more

if TYPE_CHECKING:
    from mecheval.metrics.contract import Metric
    from mecheval.metrics.needs import Bounds
    from mecheval.metrics.subject import Subject
    from mecheval.tasks import Task


@dataclass(frozen=True)
class Enough(Need):
    """As many examples as nothing is measured without: pairs, or sequences.

    Attributes:
        least: The number.
        size: The parameter of the metric that says how many there are.
        called: What they are, in the plural.
    """

    least: int
    size: str = "n_pairs"
    called: str = "pairs"

    def __str__(self) -> str:
        """Return it in words."""
        return f"{self.least} {self.called} at least"

    def of_bounds(self, task: Task, metric: Metric, bounds: Bounds) -> str | None:
        """Look at the parameter, and at the limit that cuts it."""
        n = metric.params[self.size]
        there = n if bounds.limit is None else min(n, bounds.limit)
        if there >= self.least:
            return None
        return (
            f"there {'is' if there == 1 else 'are'} {there} of the {self.least} {self.called} that "
            f"are needed: {gives_more(bounds.limit, {self.size: n})}"
        )


@dataclass(frozen=True)
class Answers(Need):
    """Test sequences with an answer that counts, which a few need not have.

    Attributes:
        size: The parameter of the metric that says how many sequences are drawn.
    """

    size: str

    def __str__(self) -> str:
        """Return it in words."""
        return "test sequences with an answer that counts"

    def of_subject(self, subject: Subject, metric: Metric) -> str | None:
        """Draw them."""
        n = metric.params[self.size]
        if len(subject.asked(n)):
            return None
        return (
            f"none of {subject.cut(n)} test sequences has an answer that counts: "
            f"{subject.gives_more(**{self.size: n})}"
        )
