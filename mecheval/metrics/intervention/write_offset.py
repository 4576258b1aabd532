"""Write offset: how many positions after a token its content enters a mixer's memory.

A Transformer writes a token into the keys and values of its own position. Mamba was seen to write
it one position later, because its short convolution hands it on (Wang et al. 2025,
arXiv:2410.06672: the off-by-one motif). One source token is exchanged, and then what each position
around it writes, one position at a time:

    E(l, o) = (m(clean) - m(clean, write of position s + o in layer l from the corrupted run)) / D
    w(l, o) = max(E(l, o), 0) / sum over o        mu(l) = sum over o of o w(l, o)

with m the logit difference, s the source position and D = m(clean) - m(corrupted), all as means
over pairs. The memory here is the long-range one. With the last inputs of a short convolution
counted in (``offset_with_buffer``) a layer has the offset at which the stream brings it the token:
0 for the first layer, whatever its convolution does.

Shape suffixes: ``P`` pairs, ``L`` layers, ``O`` offsets, ``R`` resamples.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mecheval import stats
from mecheval.interventions import recovery_grid
from mecheval.metrics import resampling
from mecheval.metrics.contract import Column, Metric, metric
from mecheval.metrics.parameters import Count
from mecheval.metrics.results import Estimate, Layout, profile

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mecheval.interventions import RecoveryGrid
    from mecheval.interventions.grid import Direction
    from mecheval.metrics.subject import Subject
    from mecheval.reports.schema import MetricResult
    from mecheval.tasks import Pairs

MIN_PAIRS = 8
COMPONENTS = ("block_in", "mixer_in", "conv_out", "write", "mixer_out")
MEMORY = ("state", "cache")
FIRST = -1  # the first offset
STORAGE = 0.95  # a layer stores if its writes carry this share of what the best layer's do
MIN_CARRIED = 0.1  # least share of the gap that some layer's writes must carry
SIGNIFICANT = 3.0  # standard errors by which the gap must differ from zero


@dataclass(frozen=True)
class Offsets:
    """What follows from a profile of effects.

    Attributes:
        carried_RL: Share of the gap that a layer's writes carry, all offsets added up.
        mean_RL: Mean offset mu of each layer.
        off_by_one_RL: Weight of the offset 1 minus that of the offset 0, in [-1, 1].
        storage_R: The last layer whose writes carry (nearly) as much as those of any.
    """

    carried_RL: np.ndarray
    mean_RL: np.ndarray
    off_by_one_RL: np.ndarray
    storage_R: np.ndarray


def offsets_of(effect_RLO: np.ndarray) -> Offsets:
    """Summarise effects at the offsets ``FIRST``, ``FIRST + 1``, ...; NaN is no such site."""
    positive_RLO = np.maximum(np.nan_to_num(effect_RLO), 0.0)
    carried_RL = positive_RLO.sum(-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        weight_RLO = positive_RLO / carried_RL[..., None]
    offset_O = FIRST + np.arange(effect_RLO.shape[-1])
    enough_RL = carried_RL >= STORAGE * carried_RL.max(-1, keepdims=True)
    n_layers = effect_RLO.shape[1]
    return Offsets(
        carried_RL,
        weight_RLO @ offset_O,
        weight_RLO[..., 1 - FIRST] - weight_RLO[..., -FIRST],
        n_layers - 1 - enough_RL[:, ::-1].argmax(-1),
    )


@metric(
    name="write_offset",
    version=1,
    family="intervention",
    headline=(
        Column("positions after the {part} at which it is stored"),
        Column("in layer", at="layer", kind="layer"),
    ),
)
@dataclass(frozen=True, kw_only=True)
class WriteOffset(Metric):
    """How many positions after a token its content enters a mixer's memory, per kind of token.

    The value is the mean offset at the storage layer: the last one whose writes carry nearly as
    much of the gap as those of any layer. Only pairs count that the model answers rightly on both
    sides (on the clean one, where the exchange leaves no right answer), and whose readout lies
    further from the source than the largest offset. The interval resamples pairs and finds the
    storage layer anew.

    Null without a gap (its mean is within 3 standard errors of 0), if no layer's writes carry
    a tenth of it, and for models whose memory cannot be taken apart.

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
    apart = subject.model.apart()
    if apart is None or not any(layer.mixing.writes for layer in apart.layers):
        why = subject.model.apart_reason or "no mixer says what a position writes"
        return metric.result(layout, Estimate(None, reason=f"not applicable: {why}"), 0)
    width = metric.max_offset
    own_PO = pairs.changed_P[:, None] + np.arange(FIRST, width + 1)

    def patched(components: Sequence[str], direction: Direction) -> RecoveryGrid:
        return recovery_grid(
            subject.model,
            pairs.clean.tokens_BT,
            pairs.corrupted.tokens_BT,
            pairs.answers_P,
            pairs.foils_P,
            pairs.readout_P,
            components=components,
            positions=own_PO,
            direction=direction,
            batch_size=subject.batch_size,
        )

    noising = patched((*COMPONENTS, *MEMORY), "noising")
    denoising = patched(("write",), "denoising")
    far_P = pairs.readout_P - pairs.changed_P > width
    kept_P = far_P & (noising.clean > 0) & ((noising.corrupted < 0) | ~pairs.answered_P)
    measured = _Measured(noising, denoising, kept_P, far_P)
    return _result(metric, layout, measured, subject.stream("bootstrap", metric.id_of(layout)))


@dataclass(frozen=True)
class _Measured:
    noising: RecoveryGrid
    denoising: RecoveryGrid
    kept_P: np.ndarray
    far_P: np.ndarray

    @property
    def gap_P(self) -> np.ndarray:
        return (self.noising.clean - self.noising.corrupted)[self.kept_P]

    def effects(self, weight_RP: np.ndarray, component: str) -> np.ndarray:
        """Return E ``(R, L, O)`` of a component when corrupted activations are put in."""
        change_LOP = self.noising.clean - self.noising.component(component)
        return self._share(weight_RP, change_LOP)

    def restored(self, weight_RP: np.ndarray) -> np.ndarray:
        """Return the same for writes of the clean run that are put into the corrupted one."""
        return self._share(weight_RP, self.denoising.component("write") - self.denoising.corrupted)

    def _share(self, weight_RP: np.ndarray, change_LOP: np.ndarray) -> np.ndarray:
        kept = change_LOP[..., self.kept_P]
        # A position before the sequence changes nothing.
        missing = np.isnan(kept) & ~np.isnan(kept).all((1, 2), keepdims=True)
        flat_PV = np.where(missing, 0.0, kept).reshape(-1, kept.shape[-1]).T
        shares_RV = resampling.ratio(weight_RP, flat_PV, self.gap_P[:, None])
        return shares_RV.reshape(-1, *kept.shape[:2])


def _result(
    metric: WriteOffset, layout: Layout, measured: _Measured, rng: np.random.Generator
) -> MetricResult:
    gap_P, n_scored = measured.gap_P, int(measured.kept_P.sum())
    fields: dict[str, Any] = {
        "scalars": {
            "pairs_too_close": int((~measured.far_P).sum()),
            "pairs_answered_wrongly": int((measured.far_P & ~measured.kept_P).sum()),
        },
        "config": {"memory": "long-range, without the last inputs of a short convolution"},
    }
    if n_scored < MIN_PAIRS:
        reason = f"no gap: {n_scored} pairs are answered rightly, and {MIN_PAIRS} are needed"
        return metric.result(layout, Estimate(None, reason=reason), n_scored, **fields)
    error = gap_P.std(ddof=1) / np.sqrt(n_scored)
    fields["references"] = {
        "clean": measured.noising.clean[measured.kept_P].mean(),
        "corrupted": measured.noising.corrupted[measured.kept_P].mean(),
    }
    if not gap_P.mean() > SIGNIFICANT * error:
        reason = f"no gap: {gap_P.mean():.3g} with a standard error of {error:.3g}"
        return metric.result(layout, Estimate(None, reason=reason), n_scored, **fields)
    once_1P, weight_RP = np.ones((1, n_scored)), resampling.weights(n_scored, rng)
    found, drawn = (
        offsets_of(measured.effects(weights, "write")) for weights in (once_1P, weight_RP)
    )
    layer = int(found.storage_R[0])
    fields["scalars"] |= _scalars(measured, found, once_1P, layer)
    fields["profile"], fields["profiles"] = _profiles(measured, once_1P, weight_RP)
    carried = float(found.carried_RL[0, layer])
    if carried < MIN_CARRIED:
        reason = f"no layer's writes carry the difference: {carried:.2g} of the gap at most"
        return metric.result(layout, Estimate(None, reason=reason), n_scored, **fields)
    mean_R = drawn.mean_RL[np.arange(len(weight_RP)), drawn.storage_R]
    interval = stats.percentile_interval(mean_R, unit="pair")
    estimate = Estimate(float(found.mean_RL[0, layer]), interval)
    fields["warnings"] = _warnings(fields["scalars"])
    return metric.result(layout, estimate, n_scored, **fields)


def _scalars(
    measured: _Measured, found: Offsets, once_1P: np.ndarray, layer: int
) -> dict[str, Any]:
    """Return the numbers beside the value, at the storage layer unless said otherwise."""
    carried_L, n_layers = found.carried_RL[0], len(found.carried_RL[0])
    local = offsets_of(measured.effects(once_1P, "mixer_in"))
    write_LO = measured.effects(once_1P, "write")[0]
    black_LO, cache_LO = (
        np.diff(np.nan_to_num(measured.effects(once_1P, name)[0]), axis=-1, prepend=0.0)
        for name in MEMORY
    )
    total = carried_L.sum() or np.nan
    return {
        "layer": layer,
        "relative_depth": layer / max(n_layers - 1, 1),
        "off_by_one": found.off_by_one_RL[0, layer],
        "off_by_one_all_layers": np.nansum(carried_L * found.off_by_one_RL[0]) / total,
        "local_mixing_share": found.mean_RL[0, layer] - local.mean_RL[0, layer],
        "carried": carried_L[layer],
        "concentration": carried_L[layer] / total,
        "restored": np.maximum(measured.restored(once_1P)[0, layer], 0).sum(),
        "black_box_difference": np.abs(black_LO[layer] - write_LO[layer]).max(),
        "black_box_offset": offsets_of(black_LO[None]).mean_RL[0, layer],
        "offset_with_buffer": offsets_of(cache_LO[None]).mean_RL[0, layer],
    }


def _profiles(measured: _Measured, once_1P: np.ndarray, weight_RP: np.ndarray) -> tuple[Any, Any]:
    effects = {name: measured.effects(once_1P, name)[0] for name in (*COMPONENTS, *MEMORY)}
    n_layers, n_offsets = effects["write"].shape
    index = {"layer": range(n_layers), "offset": range(FIRST, FIRST + n_offsets)}
    bounds = resampling.bounds(measured.effects(weight_RP, "write"))
    main = profile(
        index, effects["write"], bounds, series={"restored": measured.restored(once_1P)[0]}
    )
    others = {name: profile(index, effect) for name, effect in effects.items() if name != "write"}
    return main, others


def _warnings(scalars: dict[str, Any]) -> list[str]:
    notes = []
    if scalars["black_box_difference"] > 0.1:
        notes.append(
            "exchanging single writes and exchanging the whole memory disagree by "
            f"{scalars['black_box_difference']:.2g} of the gap: later writes depend on earlier ones"
        )
    return notes
