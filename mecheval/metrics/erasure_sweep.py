"""Erasing variables at every layer of the residual stream, with the controls that make it count.

Shape suffixes: ``B`` test sequences, ``J`` random subspaces.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mecheval.metrics import erasers, probes
from mecheval.metrics.erased_runs import ErasedRuns, Right, erased_runs
from mecheval.metrics.moments import Moments
from mecheval.metrics.probe_data import SPLITS, ProbeData, stream_sites
from mecheval.metrics.probes import Split

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np

    from mecheval.metrics.erasers import Eraser, Fit
    from mecheval.metrics.subject import Subject
    from mecheval.models.sites import Site


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
        batch = self.subject.examples("train", self.params["n_fit"], purpose="eraser")
        moments = Moments(self.subject, batch)
        found: dict[str, list[Outcome]] = {name: [] for name in variables}
        for layer, site in enumerate(stream_sites(self.subject.model)):
            controls: dict[int, tuple[np.ndarray, float]] = {}
            for name, data in variables.items():
                fit = moments.fit(layer, name, data.classes)
                eraser = erasers.ERASERS[self.params["eraser"]](fit, self.params["inverse_l2"])
                if eraser.rank not in controls:
                    controls[eraser.rank] = self._controls(fit, site, layer, eraser.rank)
                random_JB, top_components = controls[eraser.rank]
                right = self.runs.answers(site, eraser)
                refit = refit_accuracy(data, layer, eraser, self.params["inverse_l2"])
                found[name].append(Outcome(eraser.rank, right, random_JB, top_components, refit))
        return found

    def _controls(self, fit: Fit, site: Site, layer: int, rank: int) -> tuple[np.ndarray, float]:
        rng = self.subject.stream("probe_data", "random_subspaces", layer, rank)
        drawn = erasers.random_subspaces(fit.mean_D, rank, self.params["n_random"], rng)
        top = self.runs.answers(site, erasers.top_components(fit, rank))
        return self.runs.random_answers(site, drawn), float(top.token.mean())


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
