"""What is measured for the verdict, and the same in resamples of pairs and of sequences.

Shape suffixes: ``P`` pairs, ``L`` inner layers 1 to n - 1, ``R`` resamples, ``C`` curves, ``K``
octaves, ``G`` elements, ``Q`` quotients.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from mecheval.metrics import resampling
from mecheval.metrics.state_algorithm.algorithm_rule import Evidence
from mecheval.metrics.state_algorithm.arrivals import Arrivals, arrivals
from mecheval.metrics.state_algorithm.distant_pairs import distant_pairs
from mecheval.metrics.state_algorithm.kept_states import kept_states
from mecheval.metrics.state_algorithm.memory_sizes import of_one_size
from mecheval.tasks.quotients import quotients_of, state_variable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mecheval.metrics.exchange.curves import Curves
    from mecheval.metrics.subject import Subject
    from mecheval.tasks.words import GroupWords

WITHIN = "within {}"


@dataclass(frozen=True)
class Measured:
    """Everything that the verdict rests on.

    Attributes:
        state: Name of the variable that is the state.
        quotients: Names of the proper quotients.
        curves: Arrivals by name, in the rule's order; None where no letters differ so.
        kept: Accuracy under exchange, of the state and of every quotient.
        one_size_L: Whether the memory of every block is of one size, ``(n,)``.
        weights: How often each resample holds each pair, by curve.
    """

    state: str
    quotients: tuple[str, ...]
    curves: Mapping[str, Arrivals | None]
    kept: Mapping[str, Curves]
    one_size_L: np.ndarray
    weights: Mapping[str, np.ndarray]

    @cached_property
    def once(self) -> Evidence:
        """Return the evidence of every pair and sequence once."""
        weights = {name: np.ones((1, w_RP.shape[1])) for name, w_RP in self.weights.items()}
        worst = {name: worst_kept(c.sufficiency_L[None]) for name, c in self.kept.items()}
        return self._evidence(weights, worst)

    @cached_property
    def drawn(self) -> Evidence:
        """Return it in resamples."""
        worst = {name: worst_kept(curves.sufficiency_RL) for name, curves in self.kept.items()}
        return self._evidence(self.weights, worst)

    def _evidence(
        self, weights: Mapping[str, np.ndarray], worst: Mapping[str, np.ndarray]
    ) -> Evidence:
        n_resamples = len(next(iter(weights.values())))
        columns = [
            _column(curve, weights[name], self.one_size_L)
            if curve is not None
            else np.full((6, n_resamples), np.nan)
            for name, curve in self.curves.items()
        ]
        slope_RC, doubles_RC, handed_RC, near_RC, far_RC, carried_RC = np.stack(columns, -1)
        quotients = [worst[name] for name in self.quotients]
        return Evidence(
            slope_RC, doubles_RC == 1, handed_RC, near_RC, far_RC, carried_RC, worst[self.state],
            np.stack(quotients, 1) if quotients else np.zeros((n_resamples, 0)),
        )  # fmt: skip


def worst_kept(sufficiency_RL: np.ndarray) -> np.ndarray:
    """Return the least sufficiency over layers where it is defined; NaN where it is at none."""
    known_RL = ~np.isnan(sufficiency_RL)
    least_R = np.where(known_RL, sufficiency_RL, np.inf).min(1, initial=np.inf)
    return np.where(known_RL.any(1), least_R, np.nan)


def _column(curve: Arrivals, weight_RP: np.ndarray, one_size_L: np.ndarray) -> np.ndarray:
    """Return what the rule asks of a curve, ``(6, R)``."""
    layer_RK = curve.by_octave(curve.layer_P[:, None], weight_RP)[..., 0]
    here_RL = curve.by_octave(curve.here_LP.T.astype(np.float64), weight_RP)[:, -1]
    rise_RL = np.maximum(np.diff(here_RL, axis=1, prepend=0.0, append=1.0), 0.0)
    handed_R = resampling.mean_ignoring_nan(weight_RP, curve.handed_P[:, None])[:, 0]
    return np.stack(
        [
            curve.slope(weight_RP),
            curve.doubles(weight_RP).astype(np.float64),
            handed_R,
            layer_RK[:, 0],
            layer_RK[:, -1],
            (rise_RL * one_size_L).sum(1) / rise_RL.sum(1),
        ]
    )


def measured(
    subject: Subject, params: Mapping[str, Any], *, n_pairs: int, least: int
) -> Measured | str:
    """Measure everything, or say why that is not possible.

    Args:
        subject: The model on its task.
        params: Parameters of the metric.
        n_pairs: Pairs of every curve.
        least: Least number of pairs of an octave that the model must answer.
    """
    task = cast("GroupWords", subject.task)
    state, quotients = state_variable(task), quotients_of(task)
    assert state is not None  # noqa: S101 - it is one of the needs
    values = {state: np.arange(len(task.elements)), **quotients}
    one_size_L = of_one_size(subject, subject.test(subject.length, 1).tokens_BT)
    if isinstance(one_size_L, str):
        return one_size_L
    curves = _curves(subject, state, values, n_pairs)
    for name, curve in curves.items():
        if curve is not None and (reason := _too_few(name, curve, least)):
            return reason
    if not any(curves.values()):
        return "no letter of its words may take the place of another one"
    kept = kept_states(subject, values, params)
    if isinstance(kept, str):
        return kept
    weights = {
        name: resampling.weights(
            len(curve.distance_P), subject.stream("bootstrap", "state_algorithm", name)
        )
        for name, curve in curves.items()
        if curve is not None
    }
    return Measured(state, tuple(quotients), curves, kept, one_size_L, weights)


def _curves(
    subject: Subject, state: str, values: Mapping[str, np.ndarray], n_pairs: int
) -> dict[str, Arrivals | None]:
    """Return the arrivals of every quotient and within it, or of the state if there is none."""
    everything_G, quotients = values[state], {k: v for k, v in values.items() if k != state}
    asked = {name: (value_G, value_G[:, None] != value_G) for name, value_G in quotients.items()}
    for name, value_G in quotients.items():
        asked[WITHIN.format(name)] = everything_G, value_G[:, None] == value_G
    if not asked:
        asked[state] = everything_G, np.ones((len(everything_G),) * 2, bool)
    found: dict[str, Arrivals | None] = {}
    for name, (value_G, allowed_GG) in asked.items():
        drawn = distant_pairs(subject, allowed_GG, n_pairs, purpose=name)
        found[name] = None if drawn is None else arrivals(subject, drawn, value_G)
    return found


def _too_few(name: str, curve: Arrivals, least: int) -> str | None:
    """Say why a curve cannot be drawn, None where it can."""
    fewest = int(np.bincount(curve.octave_P, minlength=curve.n_octaves).min())
    if fewest >= least:
        return None
    return (
        f"{len(curve.distance_P)} of {curve.n_drawn} pairs that differ in {name} are answered "
        f"rightly, {fewest} of them at some distance, and {least} are needed at each"
    )
