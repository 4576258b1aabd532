"""The rule that turns attributions into a verdict on how a token is retrieved; pure, on arrays.

All attributions are sufficiencies with the key exchanged: the share of the answer's probability
that one clean activation brings back (see :mod:`mecheval.metrics.intervention.attributions`).
"Enough" means ``threshold`` or more; "behind" is the better of the two places behind the value. For
any number of layers:

1. The retrieving layer r is the first whose block_out at the query is enough. There is none:
   undefined. It adds less than the threshold to what block_out of layer r - 1 has: the work is
   split over layers, mixed.
2. Where is the association when layer r reads it? Where block_in of layer r is enough:

   - the value alone (r >= 1): **induction**, earlier layers brought the key there;
   - the key alone: layer r brings key and value together itself, see 3;
   - behind alone: **convolution** if an earlier layer's conv_out behind the value is enough,
     else undefined, as the rule has no word for it;
   - several of them: undefined, the evidence contradicts itself;
   - none: mixed if the positive parts of all together are enough, else undefined.
3. Layer r reads the key itself. Where conv_out of layer r is enough:

   - behind and neither at the key nor at the value: **convolution**, the short convolution carried
     key and value there (Arora et al. 2025, arXiv:2505.15105, section on Mamba);
   - at the key or the value and not behind: **direct**, retrieval from a memory that the layer
     writes where key or value stand; **early** if r = 0, **late** otherwise;
   - on both sides: undefined;
   - nowhere: mixed if the positive parts of all together are enough; else direct, as for a layer
     without a short convolution.

The study that the rule is drawn from had none: it was read off plots of the attributions of
block_in of layer 1, of two.

Shape suffixes: ``R`` resamples, ``L`` layers, ``S`` places.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

PLACES = ("key", "value", "value+1", "value+2", "query")
VERDICTS = ("induction", "direct early", "direct late", "convolution", "mixed", "undefined")


class Case(NamedTuple):
    """A way through the rule: its verdict, and why."""

    verdict: str
    why: str


CASES = (
    Case("undefined", "no layer's output at the query brings the answer back"),
    Case("mixed", "the retrieval is split over layers: none brings enough to the query by itself"),
    Case("undefined", "the evidence contradicts itself: the retrieving layer could read the "
         "association at more than one place"),
    Case("induction", "the retrieving layer reads the association at the value"),
    Case("convolution", "a convolution of an earlier layer binds key and value behind the value"),
    Case("undefined", "the retrieving layer reads the association behind the value, and no "
         "convolution brings it there"),
    Case("mixed", "the retrieving layer reads the association at several places, each in part"),
    Case("undefined", "the retrieving layer reads the association at none of the known places"),
    Case("undefined", "the evidence contradicts itself: the convolution of the retrieving layer "
         "binds at the value and behind it"),
    Case("convolution", "the convolution of the retrieving layer binds key and value behind the "
         "value"),
    Case("mixed", "the convolution of the retrieving layer binds at several places, each in part"),
    Case("direct early", "layer 0 reads the key where it stands, and retrieves"),
    Case("direct late", "a later layer reads the key where it stands, and retrieves"),
)  # fmt: skip
"""All ways through the rule, in the order in which they are tried."""


@dataclass(frozen=True)
class Evidence:
    """Attributions, key exchanged; NaN where there is no such site or too few pairs have it.

    Attributes:
        block_in_RLS: Of what blocks read, at :data:`PLACES`.
        conv_out_RLS: Of the output of short convolutions.
        block_out_RL: Of what blocks pass on, at the query.
    """

    block_in_RLS: np.ndarray
    conv_out_RLS: np.ndarray
    block_out_RL: np.ndarray


@dataclass(frozen=True)
class Judgement:
    """What the rule says.

    Attributes:
        case_R: Index into :data:`CASES`.
        verdict_R: Index into :data:`VERDICTS`.
        layer_R: The retrieving layer; 0 where there is none.
        added_R: What it adds at the query.
    """

    case_R: np.ndarray
    verdict_R: np.ndarray
    layer_R: np.ndarray
    added_R: np.ndarray


def judge(evidence: Evidence, *, threshold: float = 0.5) -> Judgement:
    """Apply the rule to every resample.

    Args:
        evidence: Attributions.
        threshold: What is enough, between 0 and 1.
    """
    block_out_RL = np.nan_to_num(evidence.block_out_RL)
    row_R = np.arange(len(block_out_RL))
    arrived_RL = block_out_RL >= threshold
    layer_R = arrived_RL.argmax(1)
    added_R = np.diff(block_out_RL, prepend=0.0)[row_R, layer_R]
    conv_RLS = np.nan_to_num(evidence.conv_out_RLS)
    read = _Sites(np.nan_to_num(evidence.block_in_RLS)[row_R, layer_R], threshold)
    conv = _Sites(conv_RLS[row_R, layer_R], threshold)
    late_R = layer_R >= 1
    at_value_R, behind_R = read.at("value") & late_R, read.behind() & late_R
    n_places_R = read.at("key").astype(int) + at_value_R + behind_R
    earlier_RL = np.arange(block_out_RL.shape[1]) < layer_R[:, None]
    brought_R = (earlier_RL & (conv_RLS[..., 2:4].max(-1) >= threshold)).any(1)
    own_R = conv.at("key") | conv.at("value")
    conditions = [
        ~arrived_RL.any(1),
        added_R < threshold,
        n_places_R > 1,
        at_value_R,
        behind_R & brought_R,
        behind_R,
        (n_places_R == 0) & read.together(),
        n_places_R == 0,
        conv.behind() & own_R,
        conv.behind(),
        ~own_R & conv.together(),
        ~late_R,
        late_R,
    ]
    case_R = np.stack(conditions).argmax(0)
    verdict_of_case = np.array([VERDICTS.index(case.verdict) for case in CASES])
    return Judgement(case_R, verdict_of_case[case_R], layer_R, added_R)


class _Sites(NamedTuple):
    """Attributions at the places of one layer, against the threshold."""

    value_RS: np.ndarray
    threshold: float

    def at(self, place: str) -> np.ndarray:
        return self.value_RS[:, PLACES.index(place)] >= self.threshold

    def behind(self) -> np.ndarray:
        return self.at("value+1") | self.at("value+2")

    def together(self) -> np.ndarray:
        return np.maximum(self.value_RS, 0.0).sum(1) >= self.threshold
