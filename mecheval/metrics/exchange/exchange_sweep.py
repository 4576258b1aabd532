"""Exchanges at every layer, for all variables side by side.

Shape suffixes: ``L`` layers 0 to n, ``B`` sequences, ``T`` positions, ``J`` draws of donors.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from mecheval.interventions.exchanged_memory import ExchangedMemory
from mecheval.interventions.exchanged_streams import ExchangedStreams
from mecheval.metrics import resampling
from mecheval.metrics.exchange.curves import Curves
from mecheval.metrics.exchange.donors import donors_by
from mecheval.metrics.exchange.exchanged_runs import exchanged_runs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mecheval.metrics.exchange.donors import Donors
    from mecheval.metrics.exchange.exchanged_runs import ExchangedRuns, Exchanging
    from mecheval.metrics.subject import Subject


@dataclass(frozen=True)
class Outcome:
    """What exchanging did to one variable, or to several together.

    Attributes:
        kept: Donors of the same state.
        missing: Share of the positions that have none of them.
        missing_free: Share of the positions that have no donor of any state.
        curves: Answers by layer; None where too many donors are missing.
        draws_apart: How far the accuracies of two draws are apart, at the layer where they are
            furthest; None with a single draw.
    """

    kept: Donors
    missing: float
    missing_free: float
    curves: Curves | None = None
    draws_apart: float | None = None


@dataclass(frozen=True)
class Sweep:
    """One exchange experiment on a subject.

    Attributes:
        subject: The model on its task.
        tuples: Names of the variables that are kept, of every tuple.
        params: Parameters of the metric.
        runs: The sequences.
        exchanging: Who exchanges.
        refusal: Why nothing can be exchanged in this model, None where it can.
    """

    subject: Subject
    tuples: Sequence[Sequence[str]]
    params: Mapping[str, Any]
    runs: ExchangedRuns
    exchanging: Exchanging
    refusal: str | None = None

    @property
    def of_stream(self) -> bool:
        """Say whether the stream is exchanged, rather than what mixers remember."""
        return self.params["component"] == "stream"

    @cached_property
    def free(self) -> Donors:
        """Return the donors of any state."""
        return donors_by(self.runs.pool, self.runs.batch, ())

    def outcomes(self) -> list[Outcome]:
        """Exchange at every layer, for every tuple of variables.

        Donors of any state are the same for all of them; and tuples that tell the same states apart
        are one.
        """
        kept = [donors_by(self.runs.pool, self.runs.batch, names) for names in self.tuples]
        missing_free = self.free.missing
        found = [Outcome(donors, donors.missing, missing_free) for donors in kept]
        enough = [
            max(outcome.missing, missing_free) <= self.params["max_missing"] for outcome in found
        ]
        distinct: list[int] = []
        for i in np.flatnonzero(enough).tolist():
            if not any(kept[i].same_as(kept[j]) for j in distinct):
                distinct.append(i)
        if not distinct:
            return found
        drawn = [self._draw(kept[i], *self.tuples[i]) for i in distinct]
        free_LJB, *kept_LJB = self._by_layer([self._draw(self.free, "free"), *drawn])
        weight_RB = resampling.weights(
            len(self.runs.batch), self.subject.stream("bootstrap", "exchange")
        )
        for i in np.flatnonzero(enough):
            which = next(k for k, j in enumerate(distinct) if kept[i].same_as(kept[j]))
            found[i] = self._measured(found[i], free_LJB, kept_LJB[which], weight_RB)
        return found

    def _draw(self, donors: Donors, *names: str) -> np.ndarray:
        rng = self.subject.stream("probe_data", "donors", self.subject.length, *names)
        return donors.draw(rng, self.params["n_draws"])

    def _by_layer(self, drawn: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Return right answers ``(L, J, B)`` of every group of draws."""
        by_layer = [
            self.runs.answered(self.exchanging, layer, drawn)
            for layer in range(self.subject.model.n_layers + 1)
        ]
        return [np.stack(of_group) for of_group in zip(*by_layer, strict=True)]

    def _measured(
        self, outcome: Outcome, free_LJB: np.ndarray, kept_LJB: np.ndarray, weight_RB: np.ndarray
    ) -> Outcome:
        curves = Curves(
            self.runs.clean_B,
            free_LJB.mean(1),
            kept_LJB.mean(1),
            weight_RB,
            self.subject.task.chance,
            self.params["min_loss"],
        )
        apart = None
        if self.params["n_draws"] > 1:
            both = free_LJB, kept_LJB
            apart = max(float(np.ptp(x_LJB.mean(2), axis=1).max()) for x_LJB in both)
        return Outcome(outcome.kept, outcome.missing, outcome.missing_free, curves, apart)


def sweep_of(subject: Subject, tuples: Sequence[Sequence[str]], params: Mapping[str, Any]) -> Sweep:
    """Draw the sequences of an exchange experiment.

    Args:
        subject: The model on its task.
        tuples: Names of the variables that are kept, of every tuple.
        params: Parameters of the metric.
    """
    runs = exchanged_runs(subject, tuples, params)
    given = subject.model, runs.batch.tokens_BT, runs.pool.tokens_BT, subject.answers_A
    if params["component"] == "stream":
        streams = ExchangedStreams(*given, batch_size=subject.batch_size)
        return Sweep(subject, tuples, params, runs, streams)
    memory = ExchangedMemory(*given, batch_size=subject.batch_size)
    return Sweep(subject, tuples, params, runs, memory, memory.refusal())
