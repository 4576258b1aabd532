"""Write offset: how many positions after a token its content enters a mixer's memory.

A Transformer writes a token into the keys and values of its own position. Mamba was seen to write
it one position later, because its short convolution hands it on (Wang et al. 2025,
arXiv:2410.06672: the off-by-one motif). One source token is exchanged, and then what each position
around it writes, one position at a time:

    E(l, o) = (m(clean) - m(clean, write of position s + o in layer l from the corrupted run)) / D

with m the logit difference, s the source position and D = m(clean) - m(corrupted), all as means
over pairs. The mean offset weighs offsets by these effects, where they are above zero; how, without
a bias by noise, stands in :mod:`mecheval.metrics.intervention.offsets`. The memory here is the
long-range one. With the last inputs of a short convolution counted in (``offset_with_buffer``) a
layer has the offset at which the stream brings it the token: 0 for the first layer, whatever its
convolution does.

Shape suffixes: ``P`` pairs, ``L`` layers, ``O`` offsets, ``R`` resamples.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from mecheval import stats
from mecheval.metrics import resampling
from mecheval.metrics.circuit.gap import MIN_PAIRS, gap_of
from mecheval.metrics.contract import Column, Metric, metric
from mecheval.metrics.enough import Enough
from mecheval.metrics.intervention.offsets import (
    FIRST,
    MIN_CARRIED,
    Offsets,
    offsets_of,
    pair_shares,
)
from mecheval.metrics.intervention.write_effects import COMPONENTS, MEMORY, beyond, write_effects
from mecheval.metrics.parameters import Count
from mecheval.metrics.results import Estimate, Layout, profile
from mecheval.models.decomposition import Refusal

if TYPE_CHECKING:
    from mecheval.metrics.intervention.write_effects import WriteEffects
    from mecheval.metrics.subject import Subject
    from mecheval.reports.schema import MetricResult, Profile
    from mecheval.tasks import Pairs

UNDECIDED = 0.05  # most resamples, as a share, in which storage layers may have offsets apart
NOTABLE = 0.1  # part of the gap from which a contradiction is worth a warning


@metric(
    name="write_offset",
    version=2,
    reference="Wang et al. 2025, arXiv:2410.06672",
    family="intervention",
    caption="how many positions after a token its content enters the memory from which it is read: "
    "0 where the token's own position stores it, 1 where the next one does.",
    needs=(Enough(MIN_PAIRS),),
    part="role",
    headline=(
        Column("{part}: positions until stored", of="?*"),
        Column("{part}: in layer", of="?*", at="layer", kind="layer"),
        Column("positions until stored", of=""),
        Column("in layer", of="", at="layer", kind="layer"),
    ),
)
@dataclass(frozen=True, kw_only=True)
class WriteOffset(Metric):
    """How many positions after a token its content enters a mixer's memory, per kind of token.

    The value is the mean offset where the token is stored last: in the last layers whose writes
    together carry three quarters of the gap (of what all layers carry, where that is less), apart
    from layers that carry less than a tenth of it. Only pairs count that the model answers rightly
    on both sides (on the clean one, where the exchange leaves no right answer), and whose readout
    lies further from the source than the largest offset. The interval resamples pairs and finds
    these layers anew.

    Null without a gap (its mean is within 3 standard errors of 0), if no layer's writes carry a
    tenth of it, for models whose memory cannot be taken apart, and where layers that store it have
    offsets that differ by more than half a position, or do in more than 5 % of the resamples: the
    reason names the layers, and ``profiles["layer"]`` shows all.

    Representation metrics at the query cannot tell twins with different offsets apart; this can.

    Attributes:
        n_pairs: Pairs per kind of token.
        max_offset: The largest offset; the smallest is -1.
    """

    n_pairs: Count = 256
    max_offset: Count = 4

    def outline(self, subject: Subject) -> list[Layout]:
        """Return one result per kind of token, named after it where the task names it."""
        n_pairs = subject.cut(self.n_pairs)
        return [
            Layout("", "mean write offset", n_pairs)
            if kind == "default"
            else Layout(kind, f"mean write offset of the {kind}", n_pairs)
            for kind in subject.task.counterfactuals
        ]

    def measure(self, subject: Subject) -> list[MetricResult]:
        """Exchange what positions around every kind of token write."""
        results = []
        for layout in self.outline(subject):
            pairs = subject.pairs(self.n_pairs, subject.length, kind=layout.part or None)
            results.append(_measured(self, subject, layout, pairs))
        return results


def _measured(metric: WriteOffset, subject: Subject, layout: Layout, pairs: Pairs) -> MetricResult:
    decomposition = subject.model.decomposition()
    why = None
    if isinstance(decomposition, Refusal):
        why = decomposition.reason
    elif any(layer.mixing.writes is None for layer in decomposition.layers):
        why = "a mixer does not say what a position writes"
    elif not any(layer.mixing.writes for layer in decomposition.layers):
        why = "no position writes anything"
    if why is not None:
        return metric.result(layout, Estimate(None, reason=f"not applicable: {why}"), 0)
    far_P = beyond(pairs, metric.max_offset)
    answered = gap_of(subject, pairs)
    gap = replace(answered, kept_P=far_P & answered.kept_P)
    fields: dict[str, Any] = {
        "scalars": {
            "layer": None,
            "pairs_too_close": int((~far_P).sum()),
            "pairs_answered_wrongly": int((far_P & ~gap.kept_P).sum()),
        },
        "config": {"memory": "long-range, without the last inputs of a short convolution"},
        "references": gap.references,
    }
    if gap.objection is not None:  # known from the runs as they are, before anything is exchanged
        return metric.result(layout, Estimate(None, reason=gap.objection), gap.n_kept, **fields)
    effects = write_effects(subject, pairs, gap.kept_P, max_offset=metric.max_offset)
    fields["references"] = effects.references
    rng = subject.stream("bootstrap", metric.id_of(layout))
    estimate = _found(effects, resampling.weights(effects.n_kept, rng), fields)
    return metric.result(layout, estimate, effects.n_kept, **fields)


def _found(effects: WriteEffects, weight_RP: np.ndarray, fields: dict[str, Any]) -> Estimate:
    """Return the value; add what stands beside it to the fields of the result."""
    taken_LOP, gap_P = effects.taken("write"), effects.gap_P
    found, drawn = (
        offsets_of(taken_LOP, gap_P, weights) for weights in (np.ones((1, len(gap_P))), weight_RP)
    )
    fields["profile"], fields["profiles"] = _profiles(effects, found, weight_RP)
    storage, resampled = found.storage, drawn.storage
    carried, undecided = float(storage.carried_R[0]), float(resampled.apart_R.mean())
    fields["scalars"] |= {"carried": carried, "resamples_apart": undecided}
    if carried < MIN_CARRIED:
        most = found.carried_RL[0].max()
        why = f"no layer's writes carry the difference: {most:.2g} of the gap at most"
        return Estimate(None, reason=why)
    stores_L = storage.stores_RL[0]
    if storage.apart_R[0] or undecided > UNDECIDED:
        stores_L = stores_L | (resampled.stores_RL.mean(0) > UNDECIDED / 2)
        return Estimate(None, reason=_layers_apart(found, stores_L))
    layer = _fullest(found.carried_RL[0], stores_L)
    fields["scalars"] |= {
        "first_layer": stores_L.argmax(),
        "storage_layers": stores_L.sum(),
        **_scalars(effects, found, layer),
    }
    fields["warnings"] = _warnings(fields["scalars"])
    fields["units"] = _units(effects, taken_LOP, stores_L)
    mean_R = np.where(resampled.apart_R, np.nan, resampled.mean_R)
    return Estimate(float(storage.mean_R[0]), stats.percentile_interval(mean_R, unit="pair"))


def _fullest(carried_L: np.ndarray, stores_L: np.ndarray) -> int:
    """Return the storage layer whose writes carry most, the last of equals."""
    return len(carried_L) - 1 - int(np.where(stores_L, carried_L, -np.inf)[::-1].argmax())


def _layers_apart(found: Offsets, stores_L: np.ndarray) -> str:
    carried_L, mean_L = found.carried_RL[0], found.mean_RL[0]
    named = [
        f"layer {layer} at {mean_L[layer]:.2f} ({carried_L[layer]:.2f} of the gap)"
        for layer in np.flatnonzero(stores_L)
    ]
    return f"layers store it at different offsets: {', '.join(named)}"


def _units(effects: WriteEffects, taken_LOP: np.ndarray, stores_L: np.ndarray) -> np.ndarray:
    """Return what every pair adds to the mean offset; NaN for one that does not count."""
    share_OP = pair_shares(taken_LOP)[stores_L].sum(0)
    offset_O = FIRST + np.arange(len(share_OP))
    unit_P = np.full(len(effects.kept_P), np.nan)
    unit_P[effects.kept_P] = resampling.contributions(offset_O @ share_OP, share_OP.sum(0))
    return unit_P


def _scalars(effects: WriteEffects, found: Offsets, layer: int) -> dict[str, Any]:
    """Return the numbers beside the value, at the layer that carries most unless said otherwise."""
    once_1P, gap_P = np.ones((1, effects.n_kept)), effects.gap_P

    def of(change_LOP: np.ndarray) -> Offsets:
        return offsets_of(change_LOP, gap_P, once_1P)

    carried_L, n_layers = found.carried_RL[0], found.carried_RL.shape[1]
    off_by_one_L = found.off_by_one_RL[0]
    entering = of(effects.taken("mixer_in"))
    black_LOP, cache_LOP = map(effects.taken_by_step, MEMORY)
    difference_LO = effects.shares(black_LOP) - effects.shares(effects.taken("write"))
    total = carried_L.sum()
    return {
        "layer": layer,
        "relative_depth": layer / max(n_layers - 1, 1),
        "off_by_one": off_by_one_L[layer],
        "off_by_one_all_layers": np.nansum(carried_L * off_by_one_L) / total,
        "local_mixing_share": found.mean_RL[0, layer] - entering.mean_RL[0, layer],
        "share_of_all_layers": carried_L[layer] / total,
        "opposed": of(-effects.taken("write")).carried_RL[0, layer],
        "restored": of(effects.restored()).carried_RL[0, layer],
        "black_box_difference": np.abs(difference_LO[layer]).max(),
        "black_box_offset": of(black_LOP).mean_RL[0, layer],
        "offset_with_buffer": of(cache_LOP).mean_RL[0, layer],
    }


def _profiles(
    effects: WriteEffects, found: Offsets, weight_RP: np.ndarray
) -> tuple[Profile, dict[str, Profile]]:
    """Lay out all effects, and what every layer carries at which mean offset."""
    n_layers, n_offsets = found.share_RLO.shape[1:]
    index = {"layer": range(n_layers), "offset": range(FIRST, FIRST + n_offsets)}
    taken_LOP = effects.taken("write")
    main = profile(
        index,
        effects.shares(taken_LOP),
        resampling.bounds(effects.shares(taken_LOP, weight_RP)),
        series={
            "counted": found.share_RLO[0],
            "restored": effects.shares(effects.restored()),
        },
    )
    others = {
        name: profile(index, effects.shares(effects.taken(name)))
        for name in (*COMPONENTS, *MEMORY)
        if name != "write"
    }
    carried_L = found.carried_RL[0]
    mean_L = np.where(carried_L >= MIN_CARRIED, found.mean_RL[0], np.nan)
    layers = profile({"layer": range(n_layers)}, mean_L, series={"carried": carried_L})
    return main, {"layer": layers, **others}


def _warnings(scalars: dict[str, Any]) -> list[str]:
    notes = []
    if scalars["black_box_difference"] > NOTABLE:
        notes.append(
            "exchanging single writes and exchanging the whole memory disagree by "
            f"{scalars['black_box_difference']:.2g} of the gap: later writes depend on earlier ones"
        )
    if scalars["opposed"] > NOTABLE:
        notes.append(
            "exchanging the writes at some offsets raises the answer, by "
            f"{scalars['opposed']:.2g} of the gap in all; the mean offset leaves them out"
        )
    return notes
