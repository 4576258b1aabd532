"""Induction circuits: a head that brings a key to its value, and one that finds it there.

A previous-token head attends from a value to the key before it, an induction head from the query to
the value behind an equal key (Olsson et al. 2022, arXiv:2209.11895). What says that they work
together is a path: the answer changes if the second sees what the first would have written in the
run with another key, all other heads held (Wang et al. 2025, arXiv:2410.06672). State-space models
have no heads; there the taps of short convolutions and the states of layers are asked.

Shape suffixes: ``P`` pairs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mecheval.metrics.circuit.gap import MIN_PAIRS, gap_of
from mecheval.metrics.circuit.head_circuit import head_circuit, paths_of
from mecheval.metrics.circuit.named_circuit import CARRIED
from mecheval.metrics.circuit.state_circuit import state_circuit
from mecheval.metrics.contract import Column, Metric, metric
from mecheval.metrics.enough import Enough
from mecheval.metrics.measuring import UNMET
from mecheval.metrics.needs import Counterfactual
from mecheval.metrics.parameters import Count, Share
from mecheval.metrics.results import Estimate, Layout
from mecheval.models.decomposition import Refusal
from mecheval.tasks import Pairs

if TYPE_CHECKING:
    from mecheval.metrics.subject import Subject
    from mecheval.models.decomposition import Decomposition
    from mecheval.reports.schema import MetricResult


@metric(
    name="induction_circuit",
    version=2,
    reference="Olsson et al. 2022, arXiv:2209.11895; Wang et al. 2025, arXiv:2410.06672",
    family="intervention",
    caption="which heads (by layer and number), or which layers' memories, hand the answer on from "
    "the value to the query, and the share of it that goes this way: 1 is all, 0 none.",
    needs=(Counterfactual("key"), Enough(MIN_PAIRS)),
    headline=(
        Column("circuit", at="verdict"),
        Column("share of the answer that it carries"),
    ),
    later=("least",),
)
@dataclass(frozen=True, kw_only=True)
class InductionCircuit(Metric):
    """Share of the answer that runs from units at the value through heads at the query.

    With the key exchanged, one unit's output at the value is taken from the corrupted run, and what
    one later head then reads at the readout is all that is passed on. The effect is the share of
    the clean-corrupted gap in logit(answer) - logit(foil) that is lost. Units are attention heads,
    and whole mixers of layers without heads (Based, hybrids). The profile shows all pairs of units,
    or those of the ``max_heads`` first heads with the highest weight from value to key and the
    ``max_heads`` last heads with the highest weight from query to value.

    The verdict names the circuit, and the value is what it carries. All units and heads exchanged
    at once carry ``pooled``; if that is ``least`` of the gap, the largest single path (``single``)
    is named if it carries nine tenths of it, and else those units and heads without which less than
    nine tenths are left: heads that do the same share an effect, and of two that each bring half of
    a key none has any by itself. Of more than four at one end the names stand in ``config``.
    ``none`` if not even all together carry so much. ``agreement`` is the share of resamples that
    come to the same.

    ``profiles["joint"]`` passes on what all heads of a later layer read. The others give per head
    the attention weight from value to key, from every position to the one before it, and from the
    query to its value, each minus what uniform attention to the positions that the head can see
    has; and the effect of every unit at the readout alone (``direct``).

    Without attention behind another layer, the value is what the states of layers carry: the last
    step is computed with the corrupted run's state before it, and the states of later layers are
    held. The verdict names the fewest layers that carry nine tenths of what all do, and the value
    is what these carry, added up; before them stand the lags of convolutions that hand the key on,
    if these carry half of the gap, too. ``profiles["write"]`` and ``profiles["tap"]`` say at which
    position behind the key a layer takes it up, and by which lag of its convolution.

    Null where the answer does not stand behind what the query repeats, for models that cannot be
    taken apart, and without a gap.

    Attributes:
        n_pairs: Pairs whose key is exchanged.
        max_heads: Most heads at each end of a path.
        max_offset: The largest offset behind the key, for models without heads.
        least: Least share of the gap for which heads are named as a circuit.
    """

    n_pairs: Count = 64
    max_heads: Count = 16
    max_offset: Count = 3
    least: Share = CARRIED

    def outline(self, subject: Subject) -> list[Layout]:
        """Return the one result."""
        return [Layout("", "share of the answer that a circuit carries", subject.cut(self.n_pairs))]

    def measure(self, subject: Subject) -> list[MetricResult]:
        """Follow paths between heads, or what states carry where there are none."""
        (layout,) = self.outline(subject)
        found = _asked(subject, self.n_pairs)
        if isinstance(found, str):
            return [self.result(layout, Estimate(None, reason=UNMET + found), 0)]
        pairs, decomposition = found
        gap = gap_of(subject, pairs)
        if gap.objection is not None:
            missing, references = Estimate(None, reason=gap.objection), gap.references
            return [self.result(layout, missing, gap.n_kept, references=references)]
        kept = Pairs(pairs.clean.take(gap.kept_P), pairs.corrupted.take(gap.kept_P))
        paths, rng = paths_of(subject, decomposition, kept), subject.stream("bootstrap", self.name)
        if any(weights is not None for weights in paths.weights[1:]):
            fields = head_circuit(paths, gap, rng, most=self.max_heads, least=self.least)
        else:
            fields = state_circuit(
                subject, decomposition, gap, pairs, rng, max_offset=self.max_offset
            )
        estimate = fields.pop("estimate")
        return [self.result(layout, estimate, gap.n_kept, references=gap.references, **fields)]


def _asked(subject: Subject, n_pairs: int) -> tuple[Pairs, Decomposition] | str:
    """Return pairs whose keys differ, and the model in parts; or why there is no such thing."""
    pairs = subject.pairs(n_pairs, subject.length, kind="key")
    clean = pairs.clean
    value_P = clean.tokens_BT[np.arange(len(pairs)), clean.roles["value"]]
    if (value_P != pairs.answers_P).any():
        return "the answer does not stand behind what the query repeats"
    decomposition = subject.model.decomposition()
    if isinstance(decomposition, Refusal):
        return decomposition.reason
    closed = [n for n, layer in enumerate(decomposition.layers) if layer.mixing.opaque]
    if closed:
        return f"layer {closed[0]}: its mixer is called as a whole, and does not show its heads"
    return pairs, decomposition
