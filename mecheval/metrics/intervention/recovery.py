"""Intervention recovery: which single activations carry the difference to the answer.

The corrupted run gets one activation of the clean run; recovery is the share of the gap between
the clean and the corrupted readout that comes back (formal_languages 5.2: Rec). A recovery
by construction is marked, and never becomes the value; see
:mod:`mecheval.metrics.intervention.trivial_sites`.

Shape suffixes: ``P`` pairs, ``L`` layers, ``T`` positions, ``G`` roles, ``R`` resamples.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from mecheval.errors import UsageError
from mecheval.interventions import RecoveryGrid
from mecheval.metrics import resampling
from mecheval.metrics.circuit.gap import gap_of
from mecheval.metrics.contract import Column, Metric, metric
from mecheval.metrics.enough import Enough
from mecheval.metrics.intervention import grid_checks
from mecheval.metrics.intervention.midway import STREAM, handover, midway
from mecheval.metrics.intervention.patching import NOWHERE
from mecheval.metrics.intervention.recovered import (
    MIDDLE,
    counted,
    grid_profile,
    recovered,
    role_profile,
)
from mecheval.metrics.intervention.recovery_runs import NO_SUCH, grids_of, made_by
from mecheval.metrics.intervention.trivial_sites import MEMORY, anatomy_of, by_construction
from mecheval.metrics.needs import AtLength
from mecheval.metrics.parameters import Amount, Components, Count, Lengths
from mecheval.metrics.results import Estimate, Layout

if TYPE_CHECKING:
    from collections.abc import Callable

    from mecheval.metrics.intervention.recovered import Counted, Recovered
    from mecheval.metrics.intervention.recovery_runs import Grid
    from mecheval.metrics.subject import Subject
    from mecheval.reports.schema import MetricResult
    from mecheval.tasks import Pairs

MIN_PAIRS = 8
_EXACT = 1e-3  # largest deviation from a recovery that is known by construction


@metric(
    name="recovery",
    version=3,
    family="intervention",
    caption="two inputs differ in one token and in their answer. One activation of the one run is "
    "put into the other, midway between that token and the answer: the share of the difference "
    "that this brings back is 1 if all of it travels there, 0 if none does. By the stream: in the "
    "residual stream at the position itself, mean over layers. By the memory: past it, in the "
    "memory of one layer, the first up to which half of what all layers bring back has come back. "
    "Beside it the layers before which the stream no longer has the difference at the token, and "
    "first has it where the answer is read (the number of layers: behind the last).",
    needs=(AtLength(), Enough(MIN_PAIRS)),
    later=("length",),
    part="component",
    headline=(
        Column("midway, by the stream", of="block_in"),
        Column("gone from the token at layer", of="block_in", at="left_changed_at", kind="layer"),
        Column("at the readout at layer", of="block_in", at="reached_readout_at", kind="layer"),
        Column("midway, by the memory", of="state"),
        Column("of layer", of="state", at="layer", kind="layer", otherwise="hardly any passes"),
        # All others, which are measured if they are asked for.
        Column("midway, by {part}", of="[!bs]*"),
        Column("midway, by {part}", of="block_out"),
    ),
)
@dataclass(frozen=True, kw_only=True)
class Recovery(Metric):
    """Share of the clean-corrupted gap that one patched activation brings back, per component.

    A difference of one token has to get from its position to the readout. The value says by which
    way: it is what comes back from the middle position alone, halfway between the two and strictly
    between them, as a mean over pairs. The middle is a position of its own in every pair, because
    the change lies early in one task and late in another.

    - ``block_in``, the stream midway: the mean over layers of what the stream at the middle brings
      back. Near 0 if no single position in between hands the difference on: because the readout
      looks back at the changed token, or because the difference goes by a mixer's memory.
    - ``state``, the memory midway: what one layer's memory after the middle brings back. Layers add
      up, roughly, to all that passes the middle; ``layer`` is the first one up to which half of it
      has come back (none where all of them together bring back less than a twentieth), and
      ``layer_agreement`` the share of resamples that say the same. There is no maximum in it, which
      noise would move upwards. All layers stand in the profile.
    - Other components, if asked for, are treated like ``state``.

    ``left_changed_at`` and ``reached_readout_at`` say at which depth the stream hands the
    difference over: the first layer that reads less than half of the gap at the changed token, and
    the first that reads at least half of it at the readout (the number of layers where none does),
    with the ends of an interval over resampled pairs, and the share of them that agree.

    Only pairs count that the model answers rightly on both sides (on the clean one, where the
    exchange leaves no right answer), and whose readouts differ by at least ``min_gap``; the others
    are counted. Cells that are 0 or 1 in any model are marked and left out; how far any of them is
    from what it must be is ``trivial_error``. The profile runs over layers and roles;
    ``profiles["grid"]`` over layers and absolute positions, but for ``state`` and ``cache``, which
    are exchanged at the roles alone and so cost about as much as the stream does.

    With ``direction=noising`` corrupted activations are put into the clean run, and the value is
    the share of the gap that is lost: necessity, where denoising is sufficiency. With
    ``frozen`` the memory of later layers stays that of the unpatched run. ``method=gradient_guess``
    is for screening alone: it guesses the grid from gradients (attribution patching), and says how
    far that can be trusted.

    At the residual stream and at what a mixer adds to it, networks that write a token into memory
    at another position have the same values: ``planted/mamba-recall`` and its off-by-one twin. The
    component ``write`` tells them apart, and so does the metric ``write_offset``.

    How far the grid can be relied on: ``split_half`` is the correlation, over all cells that are
    not known by construction, between the mean recoveries of two halves of the pairs (1: the same
    picture, 0: nothing in common; mean of 200 random splits), and ``split_half_corrected`` what it
    would be for as many pairs as there are (Spearman-Brown). ``distance_rank_patch`` says how
    natural runs are that are patched at the middle: the share of unpatched test runs whose stream
    is nearer to their mean at that position (Mahalanobis), behind the patched layer where the patch
    is first seen; ``distance_rank_readout`` the same behind the last layer at the readout. 0.5 is
    as natural as any run, 1 further away than every one, 0 nearer than every one;
    ``*_unpatched`` is the rank of the same runs unpatched, ``distance_ratio_*`` the median distance
    over the natural one, and ``own_stream_*`` the share of pairs whose stream there is one of its
    two runs' own: for these nothing is learned (in all of them for ``block_out`` at the patch). All
    layers stand in ``profiles["distance_rank"]``.

    Attributes:
        n_pairs: Pairs of a clean and a corrupted sequence.
        components: Which activations are patched, one at a time; ``state`` and ``cache`` (the
            memory without and with the last inputs of a convolution) need a model that comes apart.
        readout: What is compared: the difference of two logits, or log-probability of the answer.
        direction: Clean activations into the corrupted run, or corrupted ones into the clean run.
        frozen: Whether the memory of later layers stays that of the unpatched run.
        method: Exact patched runs, or a guess from gradients.
        min_gap: Least difference of the two runs' readouts of a pair that counts.
        length: Multiple of the training length of pairs and of natural runs.
    """

    n_pairs: Count = 64
    components: Components = ("block_in", "state")
    readout: Literal["logit_difference", "log_prob"] = "logit_difference"
    direction: Literal["denoising", "noising"] = "denoising"
    frozen: bool = False
    method: Literal["exact", "gradient_guess"] = "exact"
    min_gap: Amount = 1.0
    length: Lengths = 1

    def __post_init__(self) -> None:
        """Check that the method can do what is asked.

        Raises:
            UsageError: A guess was asked for together with what it cannot do.
        """
        super().__post_init__()
        if self.method == "gradient_guess" and (self.frozen or self.direction != "denoising"):
            raise UsageError(
                "method=gradient_guess guesses denoising with all memory free. Leave direction and "
                "frozen at their defaults, or use method=exact."
            )

    def outline(self, subject: Subject) -> list[Layout]:
        """Return one result per component."""
        n_pairs = subject.cut(self.n_pairs)
        return [
            Layout(
                name,
                f"recovery at the middle position, {name}"
                + (", mean over layers" if name in STREAM else ""),
                n_pairs,
            )
            for name in self.components
        ]

    def measure(self, subject: Subject) -> list[MetricResult]:
        """Exchange the components, and sum up each of them."""
        pairs = subject.pairs(self.n_pairs, subject.length)
        right_P, grids = gap_of(subject, pairs).kept_P, grids_of(self, subject, pairs)
        anatomy, results = anatomy_of(subject.model), []
        for layout in self.outline(subject):
            grid = grids[layout.part]
            if isinstance(grid, str):
                results.append(self.result(layout, Estimate(None, reason=grid), 0))
                continue
            known_LTP = by_construction(pairs, layout.part, anatomy, frozen=self.frozen)
            counts = counted(pairs, right_P, grid.clean, grid.corrupted, min_gap=self.min_gap)
            rng = subject.stream("bootstrap", "recovery", layout.part)
            ranks = partial(grid_checks.ranks, subject, self._patched(pairs, counts), layout.part)
            results.append(_result(self, layout, grid, counts, known_LTP, rng, ranks))
        return results

    def _patched(self, pairs: Pairs, counts: Counted) -> grid_checks.Patched | str:
        """Return which runs may be held against natural ones, or why none are."""
        if self.frozen or self.method != "exact":
            return "no run is patched as this grid is"
        middle_P = counts.role_GP[MIDDLE]
        counts_P = counts.kept_P & (middle_P != NOWHERE)
        return grid_checks.Patched(pairs, middle_P, counts_P, self.direction == "noising")


def _result(
    metric: Recovery,
    layout: Layout,
    grid: Grid,
    counts: Counted,
    known_LTP: np.ndarray,
    rng: np.random.Generator,
    ranks: Callable[[tuple[int, ...]], dict[str, Any]],
) -> MetricResult:
    fields = _fields(grid, counts)
    n_scored, component = counts.n_scored, layout.part
    if counts.n_kept < MIN_PAIRS:
        missing = Estimate(None, reason=_no_gap(counts, layout.n_expected, metric.min_gap))
        return metric.result(layout, missing, n_scored, **fields)
    part = recovered(
        grid.component(component), known_LTP, (grid.clean, grid.corrupted), counts,
        at_roles=component in MEMORY, noising=metric.direction == "noising",
    )  # fmt: skip
    means_RLG = part.means(resampling.weights(counts.n_kept, rng))
    fields["profile"] = role_profile(part, means_RLG)
    if part.grid_LTP is not None:
        fields["profiles"] = {"grid": grid_profile(part.grid_LTP, part.known_LTP)}
    if isinstance(grid, RecoveryGrid):  # a guess may be off
        fields["scalars"]["trivial_error"] = part.error
    if component == "block_in":
        fields["scalars"] |= handover(part, means_RLG)
    fields["warnings"] += _warnings(fields["scalars"])
    grid_checks.add(fields, grid_checks.agreement(part.open))
    found = midway(part, means_RLG, component)
    if n_scored < MIN_PAIRS or found is None:
        missing = Estimate(None, reason=_no_middle(part, n_scored))
        return metric.result(layout, missing, n_scored, **fields)
    fields["scalars"] |= found.scalars
    grid_checks.add(fields, ranks(found.layers))
    unit_P = np.full(len(counts.kept_P), np.nan)
    unit_P[counts.kept_P] = found.unit_P
    fields["units"] = unit_P
    return metric.result(layout, Estimate(found.value, found.interval), n_scored, **fields)


def _fields(grid: Grid, counts: Counted) -> dict[str, Any]:
    """Return the fields that a result has in any case."""
    kept_P, ends = counts.kept_P, {"clean": grid.clean, "corrupted": grid.corrupted}
    engine, warnings = made_by(grid)
    return {
        "references": {
            name: end_P[kept_P].mean() if counts.n_kept else None for name, end_P in ends.items()
        },
        "scalars": {
            "pairs_answered_wrongly": counts.n_wrong,
            "pairs_without_gap": counts.n_close,
            "pairs_without_middle": counts.n_kept - counts.n_scored,
        },
        "config": {
            "middle": "(changed + readout) // 2, strictly between them",
            "engine": engine,
        },
        "warnings": warnings,
    }


def _no_gap(counts: Counted, n_expected: int, min_gap: float) -> str:
    reason = (
        f"no gap: {counts.n_kept} of {n_expected} pairs are answered rightly and have readouts "
        f"that differ by at least {min_gap:g}, and {MIN_PAIRS} are needed"
    )
    odd = counts.n_not_finite
    return (f"the logits of {odd} pairs are not finite, and " if odd else "") + reason


def _no_middle(part: Recovered, n_scored: int) -> str:
    if n_scored < MIN_PAIRS:
        return (
            f"no middle: {n_scored} pairs have a position between the changed one and the readout, "
            f"and {MIN_PAIRS} are needed"
        )
    if np.isnan(part.means()).all():
        return NO_SUCH
    return "known by construction at the middle position of every layer"


def _warnings(scalars: dict[str, Any]) -> list[str]:
    notes = []
    if (scalars.get("trivial_error") or 0.0) > _EXACT:
        notes.append(
            f"a recovery that is 0 or 1 by construction is off by {scalars['trivial_error']:.2g}: "
            "the sites of this model do not mean what they should"
        )
    for count, why in (
        ("pairs_answered_wrongly", "because the model does not answer them rightly"),
        ("pairs_without_gap", "for want of a gap"),
    ):
        if scalars[count]:
            notes.append(f"{scalars[count]} pairs were left out {why}")
    return notes
