"""Erasing variables at every layer of the residual stream, with the controls that make it count.

Shape suffixes: ``B`` test sequences, ``J`` random subspaces.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mecheval.metrics.bottleneck import erasers
from mecheval.metrics.bottleneck.erased_runs import ErasedRuns, Right, Trial, erased_runs
from mecheval.metrics.bottleneck.moments import Moments
from mecheval.metrics.probe import probes
from mecheval.metrics.probe.probe_data import SPLITS, ProbeData
from mecheval.metrics.probe.probes import Split

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np

    from mecheval.metrics.bottleneck.erasers import Eraser, Fit
    from mecheval.metrics.subject import Subject


@dataclass(frozen=True)
class Outcome:
    """What erasing one variable at one layer did.

    Attributes:
        rank: Number of erased directions.
        right: Right answers under erasure.
        random_JB: Token shares under random subspaces of the same rank, NaN where not tried.
        top_components: Token accuracy without as many directions of largest variance.
        refit_accuracy: Balanced accuracy of a probe fitted afresh on erased activations.
    """

    rank: int
    right: Right
    random_JB: np.ndarray
    top_components: float
    refit_accuracy: float


@dataclass(frozen=True)
class Sweep:
    """One erasure experiment on a subject.

    Attributes:
        subject: The model on its task.
        params: Parameters of the bottleneck metric.
        runs: The test sequences.
    """

    subject: Subject
    params: Mapping[str, Any]
    runs: ErasedRuns

    def outcomes(self, variables: Mapping[str, ProbeData]) -> dict[str, list[Outcome]]:
        """Erase every variable at every layer; one outcome per layer 0 to n.

        Erasers are fitted on sequences of their own: a probe fitted on the same cells could not
        see what the eraser left. They have to be many, because class means that are off by
        noise leave, over D directions, a signal of about sqrt(D / cells) for the refitted probe.

        Args:
            variables: Probe data by variable.
        """
        if not variables:
            return {}
        batch = self.subject.examples("train", self.params["n_fit"], purpose="eraser")
        moments = Moments(self.subject, batch)
        layers = range(self.subject.model.n_layers + 1)
        by_layer = [self._at(layer, moments, variables) for layer in layers]
        return {name: [outcomes[name] for outcomes in by_layer] for name in variables}

    def _at(
        self, layer: int, moments: Moments, variables: Mapping[str, ProbeData]
    ) -> dict[str, Outcome]:
        """Erase every variable at one layer; variables of the same rank share their controls."""
        fits = {n: moments.fit(layer, n, data.classes) for n, data in variables.items()}
        make = erasers.ERASERS[self.params["eraser"]]
        own = {name: make(fit, self.params["inverse_l2"]) for name, fit in fits.items()}
        trials: dict[tuple[str, str | int], Trial] = {
            ("own", name): self.runs.on_all(eraser) for name, eraser in own.items()
        }
        for name, eraser in own.items():
            rank = eraser.rank
            if ("random", rank) not in trials:
                top = erasers.top_components(fits[name], rank)
                trials["random", rank] = self.runs.on_some(self._random(fits[name], layer, rank))
                trials["top", rank] = self.runs.on_all(top)
        tried = self.runs.tried(layer, list(trials.values()))
        right = dict(zip(trials, tried, strict=True))
        return {
            name: Outcome(
                eraser.rank,
                right["own", name],
                self.runs.spread(trials["random", eraser.rank], right["random", eraser.rank]),
                float(right["top", eraser.rank].token.mean()),
                refit_accuracy(variables[name], layer, eraser, self.params["inverse_l2"]),
            )
            for name, eraser in own.items()
        }

    def _random(self, fit: Fit, layer: int, rank: int) -> list[Eraser]:
        rng = self.subject.stream("probe_data", "random_subspaces", layer, rank)
        return erasers.random_subspaces(fit.mean_D, rank, self.params["n_random"], rng)


def prepare_sweep(subject: Subject, params: Mapping[str, Any]) -> Sweep:
    """Draw the sequences of an erasure experiment."""
    runs = erased_runs(subject, params["n_erase"], params["n_per_random"])
    return Sweep(subject, params, runs)


def refit_accuracy(data: ProbeData, layer: int, eraser: Eraser, inverse_l2: list[float]) -> float:
    """Fit and test a fresh probe on erased activations; return its balanced accuracy."""
    splits = [data.layer(split, layer) for split in SPLITS]
    train, validation, test = (Split(eraser(split.features_ND), split.labels_N) for split in splits)
    probe = probes.fit_logistic(train, validation, inverse_l2, scale=data.spread(layer))
    correct = probe.predict(test.features_ND) == test.labels_N
    return probes.score_balanced(correct, test.labels_N)
