"""State algorithm: sequential, a scan, or parity first and then a scan; with all its evidence.

After Li, Guo and Andreas 2025 ("(How) Do Language Models Track State?", arXiv:2503.02854), whose
associative and parity-associative algorithms these are. The rule stands in :mod:`.algorithm_rule`,
what is measured in :mod:`.evidence`.

Shape suffixes: ``L`` layers 0 (embedding) to n, ``C`` curves, ``K`` octaves, ``R`` resamples.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mecheval import stats
from mecheval.metrics import resampling
from mecheval.metrics.contract import Column, Metric, metric
from mecheval.metrics.enough import Answers, Enough
from mecheval.metrics.needs import AtLength, GroupState
from mecheval.metrics.parameters import Amount, Count, Lengths, Share
from mecheval.metrics.results import Estimate, Layout, profile
from mecheval.metrics.state_algorithm.algorithm_rule import (
    CASES,
    EARLIER,
    SEQUENTIAL,
    Thresholds,
    judge,
)
from mecheval.metrics.state_algorithm.distant_pairs import n_octaves
from mecheval.metrics.state_algorithm.evidence import Measured, measured

if TYPE_CHECKING:
    from mecheval.metrics.state_algorithm.algorithm_rule import Judgement
    from mecheval.metrics.subject import Subject
    from mecheval.reports.schema import MetricResult, Profile

MIN_PAIRS = 8
MIN_OCTAVES = 3


@metric(
    name="state_algorithm",
    version=1,
    reference="Li, Guo and Andreas 2025, arXiv:2503.02854",
    family="intervention",
    caption="how the product of a word's letters is put together. Sequential: letters of every "
    "distance arrive behind the same block, carried from position to position by a memory of one "
    "size. Associative scan: windows double from layer to layer. Parity first, then scan: a "
    "quotient, such as the sign of a permutation, is there from everywhere at once, and what is "
    "left of it is scanned. Layers per doubling: how many blocks later a letter arrives from twice "
    "the distance.",
    needs=(GroupState(), AtLength(), Enough(MIN_PAIRS), Answers("n_sequences")),
    headline=(
        Column("state algorithm", at="verdict", otherwise="no algorithm fits all evidence"),
        Column("layers per doubling of the distance"),
        Column("resamples with this verdict", at="agreement"),
    ),
)
@dataclass(frozen=True, kw_only=True)
class StateAlgorithm(Metric):
    """By which algorithm a model multiplies the letters of a word: one after another, or a scan.

    Pairs of words differ in one letter, as many of them 1, 2 to 3, 4 to 7 and so on positions
    before the last one. The run with the changed letter gets the stream of the other one at an
    inner layer: at the readout alone, which says whether the letter has arrived there by then, and
    at all positions between the two, which says whether it stands there. Where the group has proper
    quotients (the sign of s3, the residues of z6) they are asked apart: letters that differ in the
    quotient, and the quotient of the answer; and letters that do not differ in it, and the whole
    answer. Beside it stands what ``exchange`` asks: what donors of the same element, or of the same
    value of a quotient, keep of the answers in just this variable.

    The verdict is *sequential*, *associative scan* or *parity first, then scan*; ``config`` says
    which quotients were asked, and which comes first. The rule, in full, stands in
    ``algorithm_rule.py`` of ``mecheval/metrics/state_algorithm``. It is null, with a warning that
    says why, where the evidence is of another kind, or contradicts itself: a block reads all
    letters at once from keys and values, as where it counts them; what stands in the stream is not
    the state though letters of every distance arrive alike; or windows grow otherwise. Readability
    plays no part in it: a sign that can be read and that nothing reads changes nothing
    (``planted/group-scan[distractor=true]``).

    The value is the largest slope of the curves: how many blocks later a letter arrives from twice
    the distance, 0 where distance does not matter and 1 where windows double; the arrival is 1 plus
    the number of inner layers at which it has not arrived. ``agreement`` is the share of resamples,
    of pairs and of sequences, with the same verdict, or with none. ``per_doubling_*``,
    ``arrives_near_*``, ``arrives_far_*`` and ``handed_on_*`` are those of every curve,
    ``kept_*`` the least sufficiency of every variable; ``carried`` the share of the way in blocks
    whose memory is of one size. The profile holds the share that has arrived by curve, layer and
    distance; ``between`` is a series of it, ``profiles["exchange"]`` the exchange by layer.

    It is null where there are fewer than 3 octaves of distances, or a single block, inside of which
    nothing is seen; where the model cannot be taken apart; or where it answers too few pairs.

    It speaks of the length that is measured: windows that double end with the layers, so that an
    associative scan within it is no promise of longer words, and networks at chance there have it.

    What it cannot tell: a memory of one size may hold more than the product, such as a sum without
    the modulus or the letters themselves, as long as words are short; words that are longer
    (``length=4``) ask more of it. A window of four per layer cannot be told from a doubling one by
    its curve alone where words are short. A state that several blocks compute anew is sequential,
    and arrives spread over them. Parity stands for any quotient; where the group has none (a5) it
    cannot come first, and the two others are told apart all the same.

    Attributes:
        n_pairs: Pairs of every curve, shared out among the octaves.
        n_pool: Sequences that can give; see ``exchange``.
        n_pool_most: Most of them.
        n_sequences: Test sequences that get.
        length: At which multiple of the training length.
        min_loss: Least accuracy that donors of any state must cost for sufficiency to be defined.
        max_missing: Largest share of positions that may be without a donor.
        flat: Most layers per doubling of what does not depend on the distance.
        grows: Least layers per doubling of what does.
        enough: Share of what donors of the same state bring back, and of the way that is carried,
            that is enough.
        handed_on: Share of letters that is enough of those that stand between on their way. A scan
            by windows of 2, 4, 8 has no stop between where the distance is a power of two.
    """

    n_pairs: Count = 256
    n_pool: Count = 3000
    n_pool_most: Count = 24_000
    n_sequences: Count = 400
    length: Lengths = 1
    min_loss: Amount = 0.1
    max_missing: Share = 0.05
    flat: Amount = 0.2
    grows: Amount = 0.4
    enough: Share = 0.8
    handed_on: Share = 0.5

    def outline(self, subject: Subject) -> list[Layout]:
        """Return one result."""
        n_pairs = subject.cut(self.n_pairs)
        return [Layout("", "layers per doubling of the distance", n_pairs)]

    def measure(self, subject: Subject) -> list[MetricResult]:
        """Change letters at all distances, exchange states, and judge."""
        (layout,) = self.outline(subject)
        reason = _unseen(subject)
        found = reason or measured(subject, self.params, n_pairs=layout.n_expected, least=MIN_PAIRS)
        if isinstance(found, str):
            return [self.result(layout, Estimate(None, reason=found), 0)]
        least = Thresholds(self.flat, self.grows, self.enough, self.handed_on)
        said, drawn = judge(found.once, least), judge(found.drawn, least)
        case, first = CASES[int(said.case_R[0])], int(said.first_R[0])
        agreement = float((drawn.verdict_R == said.verdict_R[0]).mean())
        named = first if case.verdict not in (None, SEQUENTIAL) else -1
        return [
            self.result(
                layout,
                _estimate(found),
                min(len(c.distance_P) for c in found.curves.values() if c is not None),
                verdict=case.verdict,
                scalars={"agreement": agreement, **_scalars(found)},
                config={
                    "quotients": list(found.quotients),
                    "first_quotient": found.quotients[named] if named >= 0 else None,
                },
                warnings=_notes(found, said),
                profile=_by_distance(found),
                profiles={"exchange": _by_layer(found)},
            )
        ]


def _unseen(subject: Subject) -> str | None:
    if n_octaves(subject.length) < MIN_OCTAVES:
        return (
            f"words of {subject.length} symbols have {n_octaves(subject.length)} octaves of "
            f"distances, and {MIN_OCTAVES} are needed"
        )
    if subject.model.n_layers == 1:
        return "there is a single block, and what happens inside of it is not seen"
    return None


def _estimate(found: Measured) -> Estimate:
    value = float(np.nanmax(found.once.slope_RC))
    value_R = np.nanmax(found.drawn.slope_RC, axis=1)
    return Estimate(value, stats.percentile_interval(value_R, unit="pair"))


def _scalars(found: Measured) -> dict[str, float]:
    """Return the numbers that the rule reads."""
    once, scalars = found.once, {}
    for column, name in enumerate(found.curves):
        key = name.replace(" ", "_")
        for word, value_RC in (
            ("per_doubling", once.slope_RC), ("arrives_near", once.near_RC),
            ("arrives_far", once.far_RC), ("handed_on", once.handed_RC),
        ):  # fmt: skip
            scalars[f"{word}_{key}"] = float(value_RC[0, column])
    scalars["carried"] = float(np.nanmin(once.carried_RC))
    kept = [once.state_R[0], *once.quotient_RQ[0]]
    for name, value in zip((found.state, *found.quotients), kept, strict=True):
        scalars[f"kept_{name}"] = float(value)
    return scalars


def _notes(found: Measured, said: Judgement) -> list[str]:
    case, once = CASES[int(said.case_R[0])], found.once
    notes = [] if case.verdict else [f"no verdict: {case.why}"]
    missing = [name for name, curve in found.curves.items() if curve is None]
    if missing:
        notes.append(f"no two letters of its words differ {' or '.join(missing)} alone")
    for column, name in enumerate(found.quotients):
        lead = once.far_RC[0, column + len(found.quotients)] - once.far_RC[0, column]
        if case.verdict == SEQUENTIAL and lead >= EARLIER:
            notes.append(f"{name} arrives {lead:.1f} layers before what differs within it")
    return notes


def _by_distance(found: Measured) -> Profile:
    """Lay out the share that has arrived at the readout, and that stands between."""
    here, between, ends = [], [], []
    for name, curve in found.curves.items():
        if curve is None:
            continue
        weight_RP, n = found.weights[name], curve.n_layers
        once_1P = np.ones((1, weight_RP.shape[1]))
        arrived_PL = np.pad(curve.here_LP.T.astype(float), ((0, 0), (1, 0)))
        arrived_PL = np.pad(arrived_PL, ((0, 0), (0, 1)), constant_values=1.0)
        between_PL = np.pad(curve.between_LP.T.astype(float), ((0, 0), (1, 1)))
        between_PL[curve.distance_P < 2] = np.nan
        between_PL[:, [0, n]] = np.nan
        here.append(curve.by_octave(arrived_PL, once_1P)[0].T)
        between.append(curve.by_octave(between_PL, once_1P)[0].T)
        ends.append(resampling.bounds(curve.by_octave(arrived_PL, weight_RP).swapaxes(1, 2)))
    low_CLK, high_CLK = (np.stack(end) for end in zip(*ends, strict=True))
    n_layers, n_distances = here[0].shape
    trivial_L = np.isin(np.arange(n_layers), [0, n_layers - 1])
    return profile(
        {
            "curve": [name for name, curve in found.curves.items() if curve is not None],
            "layer": range(n_layers),
            "distance": [1 << k for k in range(n_distances)],
        },
        np.stack(here),
        (low_CLK, high_CLK),
        marks={"trivial": np.broadcast_to(trivial_L[:, None], np.stack(here).shape)},
        series={"between": np.stack(between)},
    )


def _by_layer(found: Measured) -> Profile:
    """Lay out the sufficiency of the state and of every quotient, each in its own answers."""
    kept = found.kept.values()
    series = {
        "kept": [c.kept_L for c in kept], "free": [c.free_L for c in kept],
        "accuracy": [np.full(len(c.free_L), c.accuracy) for c in kept],
    }  # fmt: skip
    bounds = [resampling.bounds(c.sufficiency_RL) for c in kept]
    low, high = (np.stack(end) for end in zip(*bounds, strict=True))
    return profile(
        {"variable": list(found.kept), "layer": range(1, 1 + low.shape[1])},
        np.stack([c.sufficiency_L for c in kept]),
        (low, high),
        marks={"loses": np.stack([c.loses_L for c in kept])},
        series={name: np.stack(rows) for name, rows in series.items()},
    )
