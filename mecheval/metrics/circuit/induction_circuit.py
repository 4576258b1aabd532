"""Induction circuits: a head that brings a key to its value, and one that finds it there.

A previous-token head attends from a value to the key before it, an induction head from the query to
the value behind an equal key (Olsson et al. 2022, arXiv:2209.11895). What says that they work
together is a path: the answer changes if the second sees what the first would have written in the
run with another key, all other heads held (Wang et al. 2025, arXiv:2410.06672). State-space models
have no heads; there the taps of short convolutions and the states of layers are asked.

Shape suffixes: ``P`` pairs, ``F`` first units, ``U`` last units, ``L`` layers, ``H`` heads, ``R``
resamples.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from mecheval import stats
from mecheval.interventions.traces import activations
from mecheval.metrics import resampling
from mecheval.metrics.circuit.gap import Gap, gap_of
from mecheval.metrics.circuit.head_paths import Paths, Unit
from mecheval.metrics.circuit.head_scores import SCORES, candidates, head_profile, scores_of
from mecheval.metrics.circuit.memory_paths import memory_paths
from mecheval.metrics.contract import Column, Metric, metric
from mecheval.metrics.measuring import UNMET
from mecheval.metrics.needs import Counterfactual
from mecheval.metrics.parameters import Count
from mecheval.metrics.results import Estimate, Layout, profile
from mecheval.models.sites import Site
from mecheval.tasks import Pairs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor

    from mecheval.metrics.subject import Subject
    from mecheval.models.apart import Apart
    from mecheval.reports.schema import MetricResult, Profile

CARRIED = 0.5  # least share of the gap for which a path is named
UNNAMED = "none"


@metric(
    name="induction_circuit",
    version=1,
    family="intervention",
    needs=(Counterfactual("key"),),
    headline=(
        Column("circuit", at="verdict"),
        Column("share of the answer by its path"),
    ),
)
@dataclass(frozen=True, kw_only=True)
class InductionCircuit(Metric):
    """Share of the answer that runs from a unit at the value through a head at the query.

    With the key exchanged, one unit's output at the value is taken from the corrupted run, and what
    one later head then reads at the readout is all that is passed on. The effect is the share of
    the clean-corrupted gap in logit(answer) - logit(foil) that is lost. Units are attention heads,
    and whole mixers of layers without heads (Based, hybrids). The value is the largest effect; the
    interval resamples pairs and takes the largest anew, which is biased upwards. The profile shows
    all pairs of units, or those of the ``max_heads`` first heads with the highest weight from value
    to key and the ``max_heads`` last heads with the highest weight from query to value.

    ``profiles["joint"]`` passes on what all heads of a later layer read, because heads that do the
    same share the effect. The others give per head the attention weight from value to key, from
    every position to the one before it, and from the query to its value, each minus what uniform
    attention to the positions that the head can see has; and the effect of every unit at the
    readout alone (``direct``).

    Without attention behind another layer, the value is the largest share that one layer's state
    carries: the last step is computed with the corrupted run's state before it, and the states of
    later layers are held. ``profiles["write"]`` and ``profiles["tap"]`` say at which position
    behind the key a layer takes it up, and by which lag of its convolution.

    The verdict names the path that carries half of the gap, else that to all heads of a layer, and
    is ``none`` where there is neither; ``agreement`` is the share of resamples in which the value
    is that of the same path. Null where the answer does not stand behind what the query repeats,
    for models that cannot be taken apart, and without a gap.

    Attributes:
        n_pairs: Pairs whose key is exchanged.
        max_heads: Most heads at each end of a path.
        max_offset: The largest offset behind the key, for models without heads.
    """

    n_pairs: Count = 64
    max_heads: Count = 16
    max_offset: Count = 3

    def outline(self, subject: Subject) -> list[Layout]:
        """Return the one result."""
        return [Layout("", "largest path effect on the answer", subject.cut(self.n_pairs))]

    def measure(self, subject: Subject) -> list[MetricResult]:
        """Follow paths between heads, or what states carry where there are none."""
        (layout,) = self.outline(subject)
        found = _asked(subject, self.n_pairs)
        if isinstance(found, str):
            return [self.result(layout, Estimate(None, reason=UNMET + found), 0)]
        pairs, apart = found
        gap = gap_of(subject, pairs)
        if gap.objection is not None:
            missing, references = Estimate(None, reason=gap.objection), gap.references
            return [self.result(layout, missing, gap.n_kept, references=references)]
        kept = Pairs(pairs.clean.take(gap.kept_P), pairs.corrupted.take(gap.kept_P))
        paths = _paths(subject, apart, kept)
        if any(weights is not None for weights in paths.weights[1:]):
            fields = _by_heads(self, paths, gap, kept, subject)
        else:
            fields = _by_states(self, apart, gap, pairs, subject)
        estimate = fields.pop("estimate")
        return [self.result(layout, estimate, gap.n_kept, references=gap.references, **fields)]


def _asked(subject: Subject, n_pairs: int) -> tuple[Pairs, Apart] | str:
    """Return pairs whose keys differ, and the model in parts; or why there is no such thing."""
    pairs = subject.pairs(n_pairs, subject.length, kind="key")
    clean = pairs.clean
    value_P = clean.tokens_BT[np.arange(len(pairs)), clean.roles["value"]]
    if (value_P != pairs.answers_P).any():
        return "the answer does not stand behind what the query repeats"
    apart = subject.model.apart()
    if apart is None:
        return subject.model.apart_reason or "the model cannot be taken apart"
    return pairs, apart


@torch.inference_mode()
def _paths(subject: Subject, apart: Apart, kept: Pairs) -> Paths:
    model = subject.model
    sites = [Site(layer, "block_in") for layer in range(model.n_layers)]

    def tensor(values: np.ndarray) -> Tensor:
        return torch.as_tensor(values, device=model.device)

    def streams(tokens_PT: np.ndarray) -> list[Tensor]:
        read_PT = tensor(tokens_PT[:, : kept.readout_P.max() + 1])
        found = activations(model, read_PT, sites, batch_size=subject.batch_size)
        return [found[site] for site in sites]

    roles = {f"{name}_P": tensor(kept.clean.roles[name]) for name in ("key", "value", "readout")}
    return Paths(
        apart,
        (streams(kept.clean.tokens_BT), streams(kept.corrupted.tokens_BT)),
        tokens_PA=tensor(np.stack([kept.answers_P, kept.foils_P], 1)),
        **roles,
    )


@torch.inference_mode()
def _by_heads(
    metric: InductionCircuit, paths: Paths, gap: Gap, kept: Pairs, subject: Subject
) -> dict[str, Any]:
    """Return the fields of a result on a model with attention."""
    scores = scores_of(paths)
    first, last = candidates(paths, scores, metric.max_heads)
    whole = [Unit(layer, None) for layer in sorted({unit.layer for unit in last})]
    gap = Gap(gap.clean_P[gap.kept_P], gap.corrupted_P[gap.kept_P], np.ones(len(kept), bool))
    weight_RP = gap.weights(subject.stream("bootstrap", "induction_circuit"))
    patched_FUP = _patched(paths, first, [*last, *whole])
    effect_FU, effect_RFU = gap.lost(patched_FUP), gap.lost(patched_FUP, weight_RP)
    own, joint = slice(len(last)), slice(len(last), None)
    estimate, best, agreement = _largest(effect_FU[:, own], effect_RFU[..., own])
    i, j = np.unravel_index(best, effect_FU[:, own].shape)
    together, most, _ = _largest(effect_FU[:, joint], effect_RFU[..., joint])
    verdict = _verdict(estimate, f"{first[i]} -> {last[j]}")
    if verdict == UNNAMED:
        i, j = np.unravel_index(most, effect_FU[:, joint].shape)
        verdict = _verdict(together, f"{first[i]} -> {whole[j]}")
    profiles = {name: head_profile(scores, name) for name in SCORES}
    direct_VP = np.stack([paths.direct(unit).cpu().numpy() for unit in paths.units])
    profiles["direct"] = _profile({"unit": paths.units}, gap, direct_VP, weight_RP)
    profiles["joint"] = _profile(
        {"from": first, "to": whole}, gap, patched_FUP[:, joint], weight_RP
    )
    held_P = paths.held().cpu().numpy()
    return {
        "estimate": estimate,
        "verdict": verdict,
        "scalars": {
            "agreement": agreement,
            "joint": together.value,
            "held_error": np.abs(held_P - gap.clean_P).max() / np.abs(gap.gap_P.mean()),
        },
        "profile": _profile({"from": first, "to": last}, gap, patched_FUP[:, own], weight_RP),
        "profiles": profiles,
    }


def _patched(paths: Paths, first: Sequence[Unit], last: Sequence[Unit]) -> np.ndarray:
    """Return the readouts ``(F, U, P)`` of all paths; NaN where the last unit is no later one."""
    patched_FUP = np.full((len(first), len(last), len(paths.value_P)), np.nan)
    for i, unit in enumerate(first):
        later = [j for j, other in enumerate(last) if other.layer > unit.layer]
        patched_FUP[i, later] = paths.path(unit, [last[j] for j in later]).cpu().numpy()
    return patched_FUP


def _profile(
    axes: Mapping[str, Sequence[Any]], gap: Gap, patched_VP: np.ndarray, weight_RP: np.ndarray
) -> Profile:
    """Lay out shares of the gap with pointwise intervals; units stand there by name."""
    bounds = resampling.bounds(gap.lost(patched_VP, weight_RP))
    index = {
        axis: [str(label) if isinstance(label, Unit) else label for label in labels]
        for axis, labels in axes.items()
    }
    return profile(index, gap.lost(patched_VP), bounds)


def _by_states(
    metric: InductionCircuit, apart: Apart, gap: Gap, pairs: Pairs, subject: Subject
) -> dict[str, Any]:
    """Return the fields of a result on a model without attention behind another layer."""
    max_offset = metric.max_offset
    found = memory_paths(subject, apart, pairs, max_offset=max_offset)
    weight_RP = gap.weights(subject.stream("bootstrap", "induction_circuit"))
    effect_L, effect_RL = gap.lost(found.state_LP), gap.lost(found.state_LP, weight_RP)
    estimate, layer, agreement = _largest(effect_L, effect_RL)
    axes = {"layer": range(len(effect_L)), "offset": range(max_offset + 1)}
    profiles = {"write": _profile(axes, gap, found.write_LOP, weight_RP)}
    verdict = f"L{layer} state"
    if found.tap_LOCP is not None:
        lags = range(found.tap_LOCP.shape[2])
        profiles["tap"] = _profile({**axes, "lag": lags}, gap, found.tap_LOCP, weight_RP)
        handed_LOC = np.nan_to_num(gap.lost(found.tap_LOCP))
        handed_LOC[..., 0] = 0.0  # the present hands nothing on
        if handed_LOC.max() >= CARRIED:
            where, _, lag = np.unravel_index(handed_LOC.argmax(), handed_LOC.shape)
            verdict = f"L{where} conv lag {lag} -> {verdict}"
    note = "the states of later layers were not held: a mixer does not say what a position writes"
    return {
        "estimate": estimate,
        "verdict": _verdict(estimate, verdict),
        "scalars": {"layer": layer, "agreement": agreement},
        "profile": _profile({"layer": axes["layer"]}, gap, found.state_LP, weight_RP),
        "profiles": profiles,
        "warnings": [] if found.frozen else [note],
    }


def _largest(effect_V: np.ndarray, effect_RV: np.ndarray) -> tuple[Estimate, int, float]:
    """Return the largest effect with its interval, where it is, and how often it is there."""
    flat_V = np.nan_to_num(effect_V.ravel(), nan=-np.inf)
    flat_RV = np.nan_to_num(effect_RV.reshape(len(effect_RV), -1), nan=-np.inf)
    best = int(flat_V.argmax())
    interval = stats.percentile_interval(flat_RV.max(1), unit="pair")
    agreement = float((flat_RV.argmax(1) == best).mean())
    return Estimate(float(flat_V[best]), interval), best, agreement


def _verdict(estimate: Estimate, name: str) -> str:
    carried = estimate.value is not None and estimate.value >= CARRIED
    return name if carried else UNNAMED
