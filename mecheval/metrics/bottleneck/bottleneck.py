"""Bottleneck layer: where erasing a variable's linear subspace costs the answers most.

At every layer of the residual stream the subspace is erased at all positions, and the model runs
on. The cost is the information that answers lose, beyond what the same eraser takes that was fitted
on labels of other sequences. It speaks of the use of this subspace alone: a model can use the
variable in a way that no linear eraser reaches, and a nonlinear probe reads it on after every one
(Jiang 2026 v2, arXiv:2606.00926).

Shape suffixes: ``L`` layers 0 (embedding) to n, ``B`` sequences, ``R`` resamples.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from mecheval.metrics.bottleneck.block_ablation import without_blocks
from mecheval.metrics.bottleneck.curves import Readings, by_layer, curves_of, read_nonlinearly
from mecheval.metrics.bottleneck.erasers import COMPLETE
from mecheval.metrics.bottleneck.erasure_sweep import Asked, prepare_sweep
from mecheval.metrics.bottleneck.scrubbing import scrub_series, scrubbed
from mecheval.metrics.bottleneck.summary import summary
from mecheval.metrics.contract import Column, Metric, metric
from mecheval.metrics.enough import Answers
from mecheval.metrics.needs import AtLength, Variable
from mecheval.metrics.parameters import Amount, Count, Lengths, Strength, Strengths
from mecheval.metrics.probe.probe_scores import TRAINABLE, probe_scores, too_few_examples
from mecheval.metrics.results import Estimate, Layout
from mecheval.tasks.floors import counting, first_position

if TYPE_CHECKING:
    import numpy as np

    from mecheval.metrics.bottleneck.curves import Curves
    from mecheval.metrics.bottleneck.erasure_sweep import Sweep
    from mecheval.metrics.probe.probe_data import ProbeData
    from mecheval.metrics.subject import Subject
    from mecheval.reports.schema import MetricResult

Eraser = Literal["leace", "class_mean", "row_space", "direction", "inlp"]

ERASER_NOTES = {
    "class_mean": "where class means differ by little, their span holds whatever varies most, and "
    "erasing it may cost much that is not the variable: see the null",
    "row_space": "erases the row space of one probe: a refitted probe usually recovers",
    "direction": "erases one probe direction, whose cost says nothing of whether the variable is "
    "used (arXiv:2606.00926 v2)",
    "inlp": "how much INLP erases depends on its rows, L2 and rounds, which are parameters",
}


@metric(
    name="bottleneck",
    version=4,
    reference="Jiang 2026, arXiv:2606.00926 v2; Belrose et al. 2023, arXiv:2306.03819 (eraser)",
    family="bottleneck",
    caption="how much of what the answers tell of the right ones is lost when the linear subspace "
    "of a variable is erased from the residual stream, at the layer where that costs most: 1 is "
    "all of it, 0 or less no more than erasing by the labels of other sequences costs. It says "
    "whether the model uses this subspace: it may use the variable in another form.",
    needs=(Variable(), AtLength(), TRAINABLE, Answers("n_erase")),
    part="variable",
    headline=(
        Column("{part}: information lost by erasing"),
        Column(
            "{part}: costliest at layer", at="layer", kind="layer", otherwise="no layer costs more "
            "than the null",
        ),
    ),
)  # fmt: skip
@dataclass(frozen=True, kw_only=True)
class Bottleneck(Metric):
    """Use of a variable's linear subspace: information lost by erasing it, at its costliest layer.

    The cost at a layer is 1 - U_erased / U, with U = I(answer; target) / H(target) over the
    positions at which erasure is checked (:func:`mecheval.tasks.floors.first_position` on): the
    share of what the answers tell of the right ones that is gone. Answers that are turned round
    still tell all, whatever their accuracy, so that the cost is never more than 1. From it is
    taken the mean cost of the null: the same eraser, fitted on the labels of other sequences,
    which are exchanged as whole sequences. Token accuracy, with what it loses
    (``accuracy_lost``), stands beside it.

    A layer counts (``valid`` in the profile) where the variable is readable (a_l >=
    ``min_readability``), blocks follow, and the cost is above the interval that holds 95 % of the
    null's draws, and by ``min_cost`` above their mean. At layer 0, the embedding, nothing is
    erased: that would erase the token. Where an eraser leaves nothing of the stream (``whole`` in
    the profile), as INLP does where it has more directions than there are, nothing is asked.

    The value is the cost at the costliest layer that counts; for either half of the test sequences
    it is the one that is best on the other half, so that the largest of several costs is not too
    large by noise. Its interval resamples sequences, and holds each resample against one draw of
    the null. ``layer`` is the costliest on all sequences, the earliest among equals; its own
    interval (``layer_low``, ``layer_high``) takes it again in each resample; where a single layer
    counts there is none, and a note says so. Where no layer counts ``layer`` is null, and the value
    is the cost at the costliest of those that would if it left the null. Where there is none of
    these either, the value is null, with the reason.

    Beside the cost stands what can still be read. ``refit`` is the accuracy of a linear probe that
    is fitted on erased activations, ``refit_log_loss`` the share of log(values) that it gains in
    log-loss; ``removed_linearly`` marks where it has no evidence of reading anything, gains nothing
    in log-loss, or reads no more than a tenth of what there was. For LEACE and class means that
    holds by theorem: it is a check of the arithmetic, not of removal. What a network with one
    hidden layer reads, ``mlp_probe`` before and ``mlp_refit`` after the erasure, says what is left
    in another form.

    No interval here holds the choice of the sequences that an eraser is fitted on, of which the
    cost of a single ``direction`` depends more than on anything that they hold: in trained
    recurrences its standard deviation over draws of 2000 sequences was up to .06, where intervals
    reached .03 to either side; of words four times as long up to .17 with the 500 that fit then,
    and up to .10 with 2000. A layer's cost by one direction is not to be read to two digits.

    It looks at the residual stream between blocks. Networks that differ inside a mixer alone, such
    as ``planted/mamba-recall`` and its off-by-one twin, have the same values. A network that holds
    the variable twice, or computes it again behind the layer, loses nothing.

    Attributes:
        variables: Which variables; none for all of the task.
        length: Multiple of the training length at which erasers and probes are fitted and tried.
        eraser: What is erased: what LEACE erases, the span of the class means, the row space of a
            probe, one direction of it, or what iterated probes find (INLP).
        erasers: Further erasers, whose results stand beside it as ``VARIABLE/ERASER``, on the same
            traces and in the same passes. class_mean takes half as long again; direction and
            row_space, which share a probe for every draw of the null, three times as long, INLP,
            which has as many probes as rounds, seven times.
        n_train: Sequences that a probe is fitted on.
        n_validation: Sequences that its strength is chosen on.
        n_test: Sequences that it is scored on.
        inverse_l2: Inverse strengths of its L2 penalty to choose among.
        n_fit: Sequences that an eraser is fitted on, where they are of the training length; longer
            ones are as many fewer as they are longer.
        n_erase: Test sequences that are answered under erasure.
        n_null: Draws of exchanged labels per variable.
        n_per_null: Test sequences per draw, likewise.
        inlp_rows: Rows, each of a sequence, that the probes of INLP are fitted on.
        inlp_inverse_l2: Their inverse strength of L2.
        inlp_rounds: Number of these probes.
        mlp: Whether networks with one hidden layer are refitted behind LEACE and class means, where
            the variable is asked about; behind the others a linear probe reads on.
        scrub: Whether the variable is also erased at a layer and at all later ones that blocks
            follow, by LEACE fitted anew each time (``scrub_cost`` in the profile). Its null is
            fitted likewise, which takes three to four times as long as all else together.
        blocks: Whether each block is left out too, so that its output is its input (``skip_cost``),
            or what it writes is the mean over training sequences (``mean_cost``): what that costs
            stands at the layer that the block makes, without a null. A quarter more time.
        n_scrub: Training sequences for these two.
        min_readability: Least readability of a layer that counts, above the floor.
        min_cost: Least cost of a layer that counts.
    """

    variables: tuple[str, ...] = ()
    length: Lengths = 1
    eraser: Eraser = "leace"
    erasers: tuple[Eraser, ...] = ()
    n_train: Count = 2000
    n_validation: Count = 500
    n_test: Count = 1000
    inverse_l2: Strengths = (0.03, 1.0, 30.0)
    n_fit: Count = 2000
    n_erase: Count = 256
    n_null: Annotated[int, Field(ge=20)] = 20
    n_per_null: Count = 32
    inlp_rows: Count = 2000
    inlp_inverse_l2: Strength = 1.0
    inlp_rounds: Count = 20
    mlp: bool = True
    scrub: bool = False
    blocks: bool = False
    n_scrub: Count = 500
    min_readability: Amount = 0.2
    min_cost: Amount = 0.05

    def outline(self, subject: Subject) -> list[Layout]:
        """Return one result per variable, and one more per further eraser."""
        n_erase = subject.cut(self.n_erase)
        return [
            Layout(
                name if eraser == self.eraser else f"{name}/{eraser}",
                f"information lost by erasing {name} at its bottleneck"
                + ("" if eraser == self.eraser else f", by {eraser}"),
                n_erase,
                (None, 1.0),
            )
            for name in self.variables or subject.task.variables
            for eraser in self._all_erasers
        ]

    @property
    def _all_erasers(self) -> tuple[Eraser, ...]:
        return tuple(dict.fromkeys((self.eraser, *self.erasers)))

    def measure(self, subject: Subject) -> list[MetricResult]:
        """Erase every variable at every layer."""
        names = self.variables or tuple(subject.task.variables)
        keys = [(name, eraser) for name in names for eraser in self._all_erasers]
        layouts = dict(zip(keys, self.outline(subject), strict=True))
        readings: dict[str, Readings] = {}
        asked: dict[str, Asked] = {}
        for name in names:
            data, scores = probe_scores(subject, name, self.params)
            if scores is not None:
                floors = subject.floors.variables[name].balanced(data.classes)
                floor = max(counting(floors).values())
                readings[name] = Readings(scores.accuracy_L, floor, 1 / len(data.classes))
                asked[name] = Asked(data, readings[name].readable(self.min_readability))
        sweep = prepare_sweep(subject, self.params, self._all_erasers)
        outcomes, results = sweep.outcomes(asked), []
        for key, layout in layouts.items():
            name = key[0]
            if name not in asked:
                reason = too_few_examples(subject, name, n_train=self.n_train)
                results.append(self.result(layout, Estimate(None, reason=reason), 0))
                continue
            rng = subject.stream("bootstrap", "bottleneck", name)
            curves = curves_of(sweep, outcomes[key], readings[name], rng)
            further = self._further(sweep, asked[name].data, curves, key)
            curves = replace(curves, further=further)
            results.append(self._of(layout, sweep, curves, ERASER_NOTES.get(key[1])))
        return results

    def _further(
        self, sweep: Sweep, data: ProbeData, curves: Curves, key: tuple[str, str]
    ) -> dict[str, np.ndarray]:
        """Return the series that are asked for beside those of a variable and an eraser."""
        further, (name, eraser) = {}, key
        subject, runs = sweep.subject, sweep.runs
        if self.mlp and eraser in COMPLETE:
            further |= read_nonlinearly(subject, name, data, curves)
        if self.scrub and eraser == self.eraser:
            by_layer = scrubbed(runs, name, data.classes, n_fit=self.n_scrub, n_null=self.n_null)
            rng = subject.stream("bootstrap", "scrub", name)
            further |= scrub_series(by_layer, len(runs.batch), rng)
        if self.blocks and eraser == self.eraser:
            further |= without_blocks(runs, self.n_scrub)
        return further

    def _of(self, layout: Layout, sweep: Sweep, curves: Curves, note: str | None) -> MetricResult:
        estimate, fields = summary(sweep.runs, curves)
        return self.result(
            layout,
            estimate,
            len(sweep.runs.batch),
            profile=by_layer(curves),
            config={"first_position": first_position(sweep.subject.length)},
            **{**fields, "warnings": [note] * (note is not None) + fields["warnings"]},
        )
