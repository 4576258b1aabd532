"""What a metric of pairs looks at: what was measured of two networks, and what they hold."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mecheval import seeding
from mecheval.metrics.pairs.places import draw_places
from mecheval.metrics.pairs.shared import shared_places

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from mecheval.metrics.pairs.network import Network
    from mecheval.metrics.pairs.places import Places
    from mecheval.metrics.pairs.shared import Shared
    from mecheval.reports.results import MetricResult
    from mecheval.tasks import Task


@dataclass(frozen=True)
class Side:
    """One network of a pair.

    Attributes:
        title: The model's name with the arguments that differ from its defaults.
        seed: Its seed.
        learned: Whether it learned the task.
        measured: The results of its report.
        network: Gives its activations; None where the weights are not at hand.
        untrained: Whether its weights are freshly drawn ones.
    """

    title: str
    seed: int
    learned: bool
    measured: Sequence[MetricResult] = field(repr=False)
    network: Network | None = field(default=None, repr=False)
    untrained: bool = False

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
        task: The task; None where only reports are at hand.
        other_task: That of ``b``, where it reads the same text in other tokens; None where both
            have one.
        limit: Largest number of examples, None for all.
    """

    a: Side
    b: Side
    seed: int
    task: Task | None = field(default=None, repr=False)
    limit: int | None = None
    other_task: Task | None = field(default=None, repr=False)

    @property
    def sides(self) -> tuple[Side, Side]:
        """Return both."""
        return self.a, self.b

    def places(self, n: int, per_sequence: int) -> Shared | None:
        """Return where the two are held side by side; None where only reports are at hand.

        Args:
            n: Number of test sequences, up to the limit.
            per_sequence: Places in each.
        """
        if self.task is None:
            return None
        return shared_places(self.task, self.other_task or self.task, self.cut(n), per_sequence)

    def training_places(self, n: int, per_sequence: int) -> tuple[Places, Places] | None:
        """Return places of training sequences of either; None where only reports are at hand.

        What is fitted there belongs to one network, so that it is the same in all its pairs.

        Args:
            n: Number of sequences, up to the limit.
            per_sequence: Places in each.
        """
        if self.task is None:
            return None
        a = draw_places(self.task, self.cut(n), per_sequence, "train")
        if self.other_task is None:
            return a, a
        return a, draw_places(self.other_task, self.cut(n), per_sequence, "train")

    def cut(self, n: int) -> int:
        """Return a number of examples, or the limit if that is smaller."""
        return n if self.limit is None else min(n, self.limit)

    def stream(self, *names: str | int) -> np.random.Generator:
        """Return the random stream of one purpose."""
        return seeding.stream(self.seed, *names)
