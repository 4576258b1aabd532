"""Mechanism: two verdicts on how a token is retrieved, with their evidence and how sure they are.

Which layers retrieve, and from where, stands in :mod:`.mechanism_rule`; what brings key and value
together in :mod:`.binding_rule`; what is measured in :mod:`.mechanism_evidence`; what shares
are in :mod:`.shares`.

Shape suffixes: ``P`` pairs, ``R`` resamples.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mecheval.metrics import resampling
from mecheval.metrics.contract import Column, Metric, metric
from mecheval.metrics.enough import Enough
from mecheval.metrics.intervention import grid_checks
from mecheval.metrics.intervention.mechanism_answers import binding_answer, retrieval_answer
from mecheval.metrics.intervention.mechanism_evidence import KIND, ends, measured
from mecheval.metrics.intervention.roles import first_named
from mecheval.metrics.intervention.shares import DIRECTIONS, MIN_PAIRS, share_profile
from mecheval.metrics.needs import Association
from mecheval.metrics.parameters import Amount, Count, Share
from mecheval.metrics.results import Estimate, Layout

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from mecheval.metrics.intervention.shares import Restored
    from mecheval.metrics.subject import Subject
    from mecheval.reports.schema import MetricResult, Profile
    from mecheval.tasks import Pairs

TITLES = {"retrieval": "how a token is retrieved", "binding": "what binds a token to its key"}
"""Title of each question."""


@metric(
    name="mechanism",
    version=2,
    reference="Arora et al. 2025, arXiv:2505.15105",
    family="intervention",
    caption="how the value that belongs to a key is retrieved, and what binds the two together, "
    "as exchanged activations show it. Induction: it is fetched from where the value stands, to "
    "which an earlier layer had brought the key; direct: a layer (the first one: early) finds the "
    "key where it stands. Beside the verdict the share of resampled pairs that give the same one, "
    "and the thresholds of enough between which it stays.",
    needs=(Association(), Enough(MIN_PAIRS)),
    part="facet",
    headline=(
        Column("{part}: verdict", at="verdict"),
        Column("{part}: by layer", of="retrieval", at="retrieving_layer", kind="layer"),
        Column("{part}: by layer", of="binding", at="layer", kind="layer"),
        Column("{part}: resamples that agree"),
        Column("{part}: thresholds", at="threshold", kind="range"),
    ),
)
@dataclass(frozen=True, kw_only=True)
class Mechanism(Metric):
    """How a token is retrieved, and what binds it to its key, from what brings the answer back.

    ``mechanism/retrieval`` says which layers retrieve, from what stands where before each layer
    but the first when the key was exchanged:

    - induction: the association of key and value, which an earlier layer made;
    - direct early, direct late: layer 0, or a later one, reads the key where it stands;
    - mixed: several layers or places do it together, none by itself;
    - undefined: nothing that is measured does.

    ``mechanism/binding`` says what brings key and value together: an earlier mixer; an earlier
    convolution; the own convolution of the layer that retrieves, at the value, behind it, or at
    both; its own mixer, whose memory holds the key until the value comes; several of them; or
    undefined.

    A key of several tokens is exchanged whole, and put back whole. What has matched then stands
    where the query repeats them, too, and neither there nor at the value may be enough alone: what
    stands behind the value is all that does not go with the key, beside value and query.

    The rules, for any number of layers, stand in ``mechanism_rule.py`` and ``binding_rule.py`` of
    ``mecheval/metrics/intervention``. A value is the share of bootstrap resamples of pairs in which
    the rule says the same, for an undefined verdict as for any other; ``agree_*`` is the share of
    each verdict. Between ``threshold_low`` and ``threshold_high`` another ``threshold`` gives the
    same verdict.
    Cells that decide are scalars ``sufficiency_*`` and ``necessity_*``, at the layer ``layer``;
    ``profiles["rivals"]`` names the verdicts that the evidence excludes, each by the cell in which
    it lacks most. None of these cells is known by construction. ``split_half`` is the correlation
    over all cells between the mean effects of two halves of the pairs, ``split_half_corrected``
    what it would be for all pairs (Spearman-Brown).

    It costs as much as ``interchange`` with three components, and one role of a fourth, the memory.
    What ``interchange`` has measured on the same pairs is not measured again.

    Verdicts and values are null without a gap of ``min_gap``.

    Attributes:
        n_pairs: Pairs whose key is exchanged.
        threshold: Share of the gap that is enough.
        min_gap: Least difference in the answer's probability between the two runs.
    """

    n_pairs: Count = 128
    threshold: Share = 0.5
    min_gap: Amount = 0.1

    def outline(self, subject: Subject) -> list[Layout]:
        """Return one result per question."""
        n = subject.cut(self.n_pairs)
        return [Layout(part, title, n, (0.0, 1.0)) for part, title in TITLES.items()]

    def measure(self, subject: Subject) -> list[MetricResult]:
        """Exchange activations at the places that the rules are about, and judge."""
        pairs = subject.pairs(self.n_pairs, subject.length, kind=KIND)
        n_scored, answers = judged(subject, pairs, threshold=self.threshold, min_gap=self.min_gap)
        return [
            self.result(layout, fields.pop("estimate"), n_scored, **fields)
            for layout, fields in zip(self.outline(subject), answers, strict=True)
        ]


def judged(
    subject: Subject, pairs: Pairs, *, threshold: float, min_gap: float
) -> tuple[int, list[dict[str, Any]]]:
    """Answer both questions.

    Args:
        subject: The model on its task.
        pairs: Pairs with the key exchanged.
        threshold: What is enough.
        min_gap: Least gap in the answer's probability.

    Returns:
        The number of pairs that count, and the fields of a result for each of :data:`TITLES`;
        ``estimate`` is the value, or why there is none.
    """
    found = ends(subject, pairs).found
    n_scored = len(found.clean_P)
    shared: dict[str, Any] = {
        "references": {
            "clean": found.clean_P.mean() if n_scored else None,
            "corrupted": found.corrupted_P.mean() if n_scored else None,
        },
        "scalars": {"gap": found.gap},
    }
    if reason := found.no_gap(min_gap):
        return n_scored, [{**shared, "estimate": Estimate(None, reason=reason)} for _ in TITLES]
    all_found = measured(subject, pairs)
    weight_RP = resampling.weights(n_scored, subject.stream("bootstrap", "mechanism"))
    weighed = all_found.weighed(weight_RP)
    shown = all_found.found.only(first_named(all_found.found.position_GP))
    fields = []
    for answer, components in (
        (retrieval_answer(weighed, threshold), ("block_in",)),
        (binding_answer(weighed, threshold), ("mixer_out", "conv_out")),
    ):
        profile, profiles = _profiles(shown, components, weight_RP)
        halves = grid_checks.agreement(grid_checks.open_effects(shown, components))
        fields.append(
            {
                **shared,
                "estimate": Estimate(answer.agreement),
                "verdict": answer.verdict,
                "scalars": {**shared["scalars"], **answer.scalars, **halves["scalars"]},
                "config": halves["config"],
                "profile": profile,
                "profiles": {**profiles, "rivals": answer.rivals},
                "warnings": answer.warnings,
            }
        )
    if all_found.memory is not None:
        fields[-1]["profiles"]["memory"] = all_found.memory_profile(weight_RP)
    return n_scored, fields


def _profiles(
    shown: Restored, components: Sequence[str], weight_RP: np.ndarray
) -> tuple[Profile, dict[str, Profile]]:
    sufficiency, necessity = (
        share_profile(shown, components, weight_RP, direction) for direction in DIRECTIONS
    )
    return sufficiency, {"necessity": necessity}
