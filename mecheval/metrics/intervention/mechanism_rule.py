"""The first question of a mechanism: which layers retrieve, and from where; pure, on arrays.

All shares are sufficiencies with the key exchanged: the share of the answer's probability
that one clean activation brings back (see :mod:`mecheval.metrics.intervention.shares`).
"Enough" means ``threshold`` or more. What tells models apart is where the difference stands in the
stream before layer l, for l from 1 to the last layer: at a *cut*. Two sums of positive parts say
it:

- **bound**: of block_in at the value and at the two places behind it, where key and value are one
  association that an earlier layer has made;
- **ends**: of block_in at the key, at what stands between key and value, and at the query, where
  the key is not yet bound, or the answer is already there.

A cut is bound if bound is enough and ends are not, apart if ends are enough and bound is not,
double if both are, spread if neither is but their sum, and else nothing is known of it. Verdicts:

- some cut is bound: **induction**, for the association stood at the value, whole, before it was
  fetched;
- all cuts are apart: **direct**, some layer reads the key where it stands. **Early** if layer 0
  does, so that before layer 1 the query is enough and the key is not; **late** if layer 0 does not,
  so that the key is enough and the query is not; mixed if it is a bit of both;
- else **undefined** if a cut is unknown, and **mixed** if all are known.

Of a key of several tokens what has matched stands where the query repeats them, too, and counts as
behind the value: an association is read by what finds it, and neither may be enough alone.

With two layers there is a single cut, and this is what the study read off its plots of block_in of
layer 1 (Arora et al. 2025, arXiv:2505.15105). No cell of a cut is known by construction: what
layer 0 reads, and the last layer's block_out, which are, decide nothing. A model of one layer has
no cut. It retrieves early, as there is no other way, and the verdict says so.

What binds key and value is the second question: :mod:`.binding_rule`.

Shape suffixes: ``R`` resamples, ``L`` layers, ``C`` cuts, ``S`` places.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

PLACES = ("key", "between", "value", "value+1", "value+2", "query")
"""Between is the place behind the key where it is not yet the value."""

KEY, VALUE, BEHIND, QUERY = slice(0, 2), slice(2, 3), slice(3, 5), slice(5, 6)
BOUND = slice(2, 5)
"""Which of :data:`PLACES` are summed up: value and behind are both bound."""

VERDICTS = ("induction", "direct early", "direct late", "mixed", "undefined")


class Case(NamedTuple):
    """A way through a rule: its verdict, and why."""

    verdict: str
    why: str


CASES = (
    Case("direct early", "there is one layer, so that nothing else is possible"),
    Case("induction", "an earlier layer binds, and the retrieving layer reads the association at "
         "the value or behind it"),
    Case("direct early", "layer 0 reads the key where it stands, and retrieves"),
    Case("direct late", "a later layer reads the key where it stands, and retrieves"),
    Case("mixed", "layer 0 and later layers both read the key and retrieve"),
    Case("undefined", "before some layer the difference stands at none of the known places"),
    Case("mixed", "the association is read at the value, and the key where it stands, each enough "
         "by itself"),
    Case("mixed", "the association is read at the value, and the key where it stands, each in "
         "part"),
)  # fmt: skip
"""All ways through the rule, in the order in which they are tried."""


@dataclass(frozen=True)
class Evidence:
    """Shares, key exchanged; NaN where there is no such site or too few pairs have it.

    Attributes:
        block_in_RLS: Of what blocks read, at :data:`PLACES`.
        mixer_out_RLS: Of what mixers add to the stream.
        conv_out_RLS: Of the output of short convolutions.
        memory_RL: Of the mixer's memory after the last position before the value, without the
            recent inputs of its short convolution.
    """

    block_in_RLS: np.ndarray
    mixer_out_RLS: np.ndarray
    conv_out_RLS: np.ndarray
    memory_RL: np.ndarray

    @property
    def n_layers(self) -> int:
        """Return the number of layers L."""
        return self.block_in_RLS.shape[1]

    @property
    def convolves_L(self) -> np.ndarray:
        """Say which layers have a short convolution."""
        return np.asarray(~np.isnan(self.conv_out_RLS).all((0, 2)))

    def repeated(self, n: int) -> Evidence:
        """Return one resample several times."""
        arrays = (self.block_in_RLS, self.mixer_out_RLS, self.conv_out_RLS, self.memory_RL)
        return Evidence(*(np.repeat(array[:1], n, axis=0) for array in arrays))


@dataclass(frozen=True)
class Judgement:
    """What a rule says.

    Attributes:
        case_R: Index into the rule's cases.
        verdict_R: Index into its verdicts.
        layer_R: The layer whose cells decide; 0 where there is no cut.
    """

    case_R: np.ndarray
    verdict_R: np.ndarray
    layer_R: np.ndarray


class Rule(NamedTuple):
    """A rule with its words.

    Attributes:
        judge: Applies it, given evidence and thresholds.
        cases: All ways through it.
        verdicts: What it can say.
    """

    judge: Callable[[Evidence, float | np.ndarray], Judgement]
    cases: Sequence[Case]
    verdicts: Sequence[str]


@dataclass(frozen=True)
class Cuts:
    """The sums at every cut, before layers 1 to L - 1.

    Attributes:
        key_RC: At the key and between key and value.
        bound_RC: At the value and behind it.
        query_RC: At the query.
        threshold_R1: What is enough.
    """

    key_RC: np.ndarray
    bound_RC: np.ndarray
    query_RC: np.ndarray
    threshold_R1: np.ndarray

    @property
    def n(self) -> int:
        """Return the number of cuts C."""
        return self.key_RC.shape[1]

    @property
    def ends_RC(self) -> np.ndarray:
        """Return the sum at key and query."""
        return self.key_RC + self.query_RC

    @property
    def is_bound_RC(self) -> np.ndarray:
        """Say where the association stands at the value, whole and alone."""
        return self.enough(self.bound_RC) & ~self.enough(self.ends_RC)

    @property
    def clearest_R(self) -> np.ndarray:
        """Return the cut at which most of the association stands at the value."""
        return (self.bound_RC - self.ends_RC + 1e9 * self.is_bound_RC).argmax(1)

    def enough(self, sum_RC: np.ndarray) -> np.ndarray:
        """Hold sums against the threshold."""
        return sum_RC >= self.threshold_R1


def cuts(evidence: Evidence, threshold: float | np.ndarray) -> Cuts:
    """Sum up what stands where before each layer but the first.

    Args:
        evidence: Shares.
        threshold: What is enough, above 0 and up to 1; one for all resamples, or one for each.
    """
    at_RCS = evidence.block_in_RLS[:, 1:]
    threshold_R1 = np.broadcast_to(threshold, len(at_RCS))[:, None]
    return Cuts(summed(at_RCS[..., KEY]), summed(at_RCS[..., BOUND]), summed(at_RCS[..., QUERY]),
                threshold_R1)  # fmt: skip


def summed(value_XS: np.ndarray) -> np.ndarray:
    """Return the sum of positive parts over places; what is not there is 0."""
    return np.maximum(np.nan_to_num(value_XS), 0.0).sum(-1)


def retrieval(evidence: Evidence, threshold: float | np.ndarray = 0.5) -> Judgement:
    """Apply the rule to every resample.

    Args:
        evidence: Shares.
        threshold: What is enough, above 0 and up to 1; one for all resamples, or one for each.
    """
    if evidence.n_layers == 1:
        none_R = np.zeros(len(evidence.block_in_RLS), int)
        return Judgement(none_R, none_R + VERDICTS.index(CASES[0].verdict), none_R)
    cut = cuts(evidence, threshold)
    bound_RC, ends_RC = cut.enough(cut.bound_RC), cut.enough(cut.ends_RC)
    spread_RC = ~bound_RC & ~ends_RC
    nowhere_RC = spread_RC & ~cut.enough(cut.bound_RC + cut.ends_RC)
    key_R, query_R = (cut.enough(sum_RC)[:, 0] for sum_RC in (cut.key_RC, cut.query_RC))
    direct_R = (ends_RC & ~bound_RC).all(1)
    conditions = [
        np.zeros(len(key_R), bool),
        cut.is_bound_RC.any(1),
        direct_R & query_R & ~key_R,
        direct_R & key_R & ~query_R,
        direct_R,
        nowhere_RC.any(1),
        (bound_RC & ends_RC).any(1),
        spread_RC.any(1),
    ]
    first_R = np.zeros(len(key_R), int)
    late_R = cut.n - 1 - cut.enough(cut.key_RC)[:, ::-1].argmax(1)
    decides = [first_R, cut.clearest_R, first_R, late_R, first_R, nowhere_RC.argmax(1),
               (bound_RC & ends_RC).argmax(1), spread_RC.argmax(1)]  # fmt: skip
    case_R = np.stack(conditions).argmax(0)
    layer_R = 1 + np.choose(case_R, decides)
    return Judgement(case_R, verdicts_of(case_R, CASES, VERDICTS), layer_R)


def retrieving_layer(evidence: Evidence, threshold: float | np.ndarray = 0.5) -> np.ndarray:
    """Return the first layer behind which the query is enough; the last one if none is, ``(R,)``.

    Behind the last layer it always is: nothing else is read there.
    """
    cut = cuts(evidence, threshold)
    arrived_RL = cut.enough(cut.query_RC)
    return np.pad(arrived_RL, ((0, 0), (0, 1)), constant_values=True).argmax(1)


def holds_between(rule: Rule, evidence: Evidence, threshold: float) -> tuple[float, float]:
    """Return the smallest and the largest threshold around one with which a verdict stays.

    Thresholds are tried in steps of 0.01, from 0.01 to 1.

    Args:
        rule: The rule.
        evidence: Shares, one resample.
        threshold: What is enough.
    """
    tried_R = np.append(np.arange(1, 101) / 100, threshold)
    *same_R, itself = rule.judge(evidence.repeated(len(tried_R)), tried_R).verdict_R
    other_R = tried_R[:-1][np.array(same_R) != itself]
    low, high = other_R[other_R < threshold], other_R[other_R > threshold]
    first = 0.01 if not len(low) else min(threshold, round(low.max() + 0.01, 2))
    last = 1.0 if not len(high) else max(threshold, round(high.min() - 0.01, 2))
    return first, last


RETRIEVAL = Rule(retrieval, CASES, VERDICTS)
"""The first question."""


def verdicts_of(case_R: np.ndarray, cases: Sequence[Case], verdicts: Sequence[str]) -> np.ndarray:
    """Return the verdict of each case, as an index into the verdicts."""
    return np.array([verdicts.index(case.verdict) for case in cases])[case_R]
