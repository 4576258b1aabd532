"""Erasing variables at every layer of the residual stream, beside the null of every eraser.

Shape suffixes: ``B`` test sequences, ``T`` positions, ``J`` draws of the null, ``L`` layers 0 to n.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mecheval.metrics.bottleneck.erased_runs import Answered, ErasedRuns, erased_runs
from mecheval.metrics.bottleneck.erasers import Probing, erasers_of
from mecheval.metrics.bottleneck.moments import Moments
from mecheval.metrics.bottleneck.refit import Refit, refit

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np

    from mecheval.metrics.bottleneck.erasers import Eraser
    from mecheval.metrics.probe.probe_data import ProbeData
    from mecheval.metrics.subject import Subject


@dataclass(frozen=True)
class Asked:
    """A variable that is erased.

    Attributes:
        data: Examples that probes are fitted afresh on.
        readable_L: At which layers they read it before.
    """

    data: ProbeData
    readable_L: np.ndarray


@dataclass(frozen=True)
class Outcome:
    """What erasing one variable at one layer did.

    Attributes:
        eraser: What erased it.
        answered: The answers under erasure.
        null_JBT: Answers given under each draw of the null; not asked where it was not tried.
        refit: What a linear probe still reads; None where there was nothing to read.
    """

    eraser: Eraser
    answered: Answered
    null_JBT: np.ndarray
    refit: Refit | None


@dataclass(frozen=True)
class Sweep:
    """One erasure experiment on a subject.

    Attributes:
        subject: The model on its task.
        params: Parameters of the bottleneck metric.
        erasers: Names of the erasers that are tried.
        runs: The test sequences.
    """

    subject: Subject
    params: Mapping[str, Any]
    erasers: tuple[str, ...]
    runs: ErasedRuns

    def outcomes(self, variables: Mapping[str, Asked]) -> dict[tuple[str, str], list[Outcome]]:
        """Erase every variable by every eraser, at the layers from 1 on.

        Erasers are fitted on sequences of their own: a probe fitted on the same cells could not
        see what the eraser left. They have to be many, because class means that are off by
        noise leave, over D directions, a signal of about sqrt(D / cells) for the refitted probe.
        All erasers and variables share the traces and the passes.

        Args:
            variables: What is erased, by name.

        Returns:
            One outcome per layer, by the names of the variable and of the eraser.
        """
        if not variables:
            return {}
        n_fit = fewer(self.subject, self.params["n_fit"])
        batch = self.subject.examples("train", n_fit, purpose="eraser")
        moments = Moments(self.subject, batch, self.params["n_null"])
        layers = range(1, self.subject.model.n_layers + 1)
        by_layer = [self._at(layer, moments, variables) for layer in layers]
        return {key: [outcomes[key] for outcomes in by_layer] for key in by_layer[0]}

    def _at(
        self, layer: int, moments: Moments, variables: Mapping[str, Asked]
    ) -> dict[tuple[str, str], Outcome]:
        """Erase every variable by every eraser at one layer, all in one pass."""
        own, trials = {}, []
        for name, asked in variables.items():
            fits = list(moments.fits(layer, name, asked.data.classes))
            for eraser in self.erasers:
                first, *null = erasers_of(eraser, fits, self.probing)
                own[name, eraser] = first
                trials += [self.runs.on_all(first), self.runs.on_some(null)]
        tried = self.runs.tried(layer, trials)
        outcomes = {}
        for place, (key, eraser) in enumerate(own.items()):
            asked = variables[key[0]]
            outcomes[key] = Outcome(
                eraser,
                tried[2 * place],
                self.runs.spread(trials[2 * place + 1], tried[2 * place + 1]),
                refit(asked.data, layer, eraser, self.params["inverse_l2"])
                if asked.readable_L[layer]
                else None,
            )
        return outcomes

    @property
    def probing(self) -> Probing:
        """Return how erasers that need probes fit them."""
        names = ("inverse_l2", "inlp_rows", "inlp_inverse_l2", "inlp_rounds")
        return Probing(**{name: self.params[name] for name in names})


def fewer(subject: Subject, n: int) -> int:
    """Return how many longer words have as many positions as a number of words of training."""
    return -(-n // subject.factor)


def prepare_sweep(
    subject: Subject, params: Mapping[str, Any], erasers: tuple[str, ...] = ()
) -> Sweep:
    """Draw the sequences of an erasure experiment."""
    n_per_null = fewer(subject, params["n_per_null"])
    runs = erased_runs(subject, params["n_erase"], n_per_null)
    return Sweep(subject, params, erasers, runs)
