"""The second question of a mechanism: what brings key and value together; pure, on arrays.

Shares and words are those of :mod:`.mechanism_rule`. Four things can bind, and each has an
amount, from 0 to about 1, made of sums of positive parts:

- an **earlier mixer** or an **earlier convolution** brought what stands at the value and behind it
  before the retrieving layer: bound, at the cut where it is clearest. Each layer before that cut
  has the share of it by which it made bound grow, and its share is its convolution's in so far as
  conv_out brings back what mixer_out does there. A layer's convolution is a part of its mixer:
  "mixer" means what is not the convolution;
- a layer's **own convolution** showed the key at the value or behind it, where the layer wrote both
  into its memory: conv_out there, less what came out of the mixer again at that place, and at most
  what stands at the key before the layer;
- a layer's **own mixer** had the key in its memory before the value came: the memory after the last
  position before the value, without the recent inputs of a convolution, with the same two limits.

The verdict is the one whose amount is enough; **several** if two are, or all are in part; else
**undefined**. For the own convolution it says where: at the value, behind it, or at both, if both
places are enough or none is by itself.

The cells that decide are known by construction in no model but one: the memory of a single layer
without a convolution carries everything, so that such a model can only bind by its own mixer.

Shape suffixes: ``R`` resamples, ``L`` layers, ``A`` amounts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mecheval.metrics.intervention.mechanism_rule import (
    BOUND,
    KEY,
    VALUE,
    Case,
    Evidence,
    Judgement,
    Rule,
    cuts,
    summed,
    verdicts_of,
)

MEANS = ("earlier mixer", "earlier convolution", "own convolution at the value",
         "own convolution behind the value", "own mixer")  # fmt: skip
"""What can bind."""

BOTH, SEVERAL = "own convolution at both", "several"
VERDICTS = (*MEANS, BOTH, SEVERAL, "undefined")

CASES = (
    Case(MEANS[0], "the mixer of an earlier layer brings the key to the value"),
    Case(MEANS[1], "the short convolution of an earlier layer brings the key to the value"),
    Case(MEANS[2], "the layer's own convolution brings the key to the value"),
    Case(MEANS[3], "the layer's own convolution brings key and value to a place behind the value"),
    Case(BOTH, "the layer's own convolution binds at the value and behind it"),
    Case(MEANS[4], "the layer's own memory holds the key until the value comes"),
    Case(SEVERAL, "more than one thing that binds is enough by itself"),
    Case(SEVERAL, "several things bind, each in part"),
    Case("undefined", "nothing that is measured brings key and value together"),
)  # fmt: skip
"""All ways through the rule."""


@dataclass(frozen=True)
class Amounts:
    """What each thing that can bind brings, layer by layer.

    Attributes:
        by_RAL: For each of :data:`MEANS`, and each layer.
    """

    by_RAL: np.ndarray

    @property
    def by_RA(self) -> np.ndarray:
        """Return the sums over layers."""
        return self.by_RAL.sum(-1)

    @property
    def layer_RA(self) -> np.ndarray:
        """Return the layer with most of each."""
        return self.by_RAL.argmax(-1)


def amounts(evidence: Evidence, threshold: float | np.ndarray = 0.5) -> Amounts:
    """Work out what each thing that can bind brings.

    Args:
        evidence: Shares.
        threshold: What is enough, which decides at which cut bound is clearest.
    """
    value_RL = summed(evidence.conv_out_RLS[..., VALUE])
    conv_RL, mixer_RL = (
        summed(at_RLS[..., BOUND]) for at_RLS in (evidence.conv_out_RLS, evidence.mixer_out_RLS)
    )
    key_RL = summed(evidence.block_in_RLS[..., KEY])
    through_RL = np.minimum(conv_RL, mixer_RL)  # of the convolution, and out of the mixer again
    own_RL = np.minimum(conv_RL - through_RL, key_RL)
    memory_RL = np.maximum(np.nan_to_num(evidence.memory_RL), 0.0)
    kept_RL = np.clip(memory_RL - (mixer_RL - through_RL), 0.0, key_RL)
    earlier_RL = _earlier(evidence, threshold)
    convolved_RL, at_value_RL = _share(through_RL, mixer_RL), _share(value_RL, conv_RL)
    by_RAL = [
        earlier_RL * (1 - convolved_RL), earlier_RL * convolved_RL,
        own_RL * at_value_RL, own_RL * (1 - at_value_RL), kept_RL,
    ]  # fmt: skip
    return Amounts(np.stack(by_RAL, 1))


def binding(evidence: Evidence, threshold: float | np.ndarray = 0.5) -> Judgement:
    """Apply the rule to every resample.

    Args:
        evidence: Shares.
        threshold: What is enough, above 0 and up to 1; one for all resamples, or one for each.
    """
    found = amounts(evidence, threshold)
    by_RA, least_R = found.by_RA, np.broadcast_to(threshold, len(found.by_RA))
    mixer_R, conv_R, value_R, behind_R, kept_R = (by_RA >= least_R[:, None]).T
    own_R = by_RA[:, 2] + by_RA[:, 3] >= least_R
    n_enough_R = sum(enough_R.astype(int) for enough_R in (mixer_R, conv_R, own_R, kept_R))
    alone_R = n_enough_R == 1
    conditions = [
        alone_R & mixer_R,
        alone_R & conv_R,
        alone_R & own_R & value_R & ~behind_R,
        alone_R & own_R & behind_R & ~value_R,
        alone_R & own_R,
        alone_R & kept_R,
        n_enough_R > 1,
        by_RA.sum(1) >= least_R,
        np.ones(len(by_RA), bool),
    ]
    case_R = np.stack(conditions).argmax(0)
    layer_R = found.layer_RA[np.arange(len(by_RA)), by_RA.argmax(1)]
    return Judgement(case_R, verdicts_of(case_R, CASES, VERDICTS), layer_R)


BINDING = Rule(binding, CASES, VERDICTS)
"""The second question."""


def _earlier(evidence: Evidence, threshold: float | np.ndarray) -> np.ndarray:
    """Return by how much each layer made bound grow, up to the clearest cut, ``(R, L)``."""
    if evidence.n_layers == 1:
        return np.zeros_like(evidence.memory_RL)
    cut = cuts(evidence, threshold)
    row_R, last_R = np.arange(len(cut.bound_RC)), cut.clearest_R
    grown_RC = np.maximum(np.diff(cut.bound_RC, axis=1, prepend=0.0), 0.0)
    grown_RC *= np.arange(cut.n) <= last_R[:, None]
    all_R = grown_RC.sum(1, keepdims=True)
    return np.pad(_share(grown_RC, all_R) * cut.bound_RC[row_R, last_R][:, None], ((0, 0), (0, 1)))


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Return a part of what is never less than it; 0 of nothing."""
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)
