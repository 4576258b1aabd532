"""Exchange of activations with other sequences of any state, or of the same: use and sufficiency.

Resampling ablation under a hypothesis (causal scrubbing; Chan et al. 2022) with the ground truth
that a task gives: at a layer every position gets what another sequence with the same token there
has, of any state (free), or of the same (kept), drawn anew for every position.

    use_l = (acc - acc_free) / (acc - chance)
    sufficiency_l = (acc_kept - acc_free) / (acc - acc_free)

Shape suffixes: ``L`` layers 0 (embedding) to n, ``B`` sequences, ``J`` draws of donors, ``R``
resamples.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from mecheval import stats
from mecheval.metrics import resampling
from mecheval.metrics.contract import Column, Metric, metric
from mecheval.metrics.enough import Answers
from mecheval.metrics.exchange import checks
from mecheval.metrics.exchange.curves import Curves, inner_mean, lateness
from mecheval.metrics.exchange.exchange_sweep import Outcome, Sweep, sweep_of
from mecheval.metrics.exchange.tracking import Prediction, predicted
from mecheval.metrics.exchange.whole_state import told_apart
from mecheval.metrics.needs import AtLength, Variable, parts_of
from mecheval.metrics.parameters import Amount, Count, Lengths, Share
from mecheval.metrics.results import Estimate, Layout, profile

if TYPE_CHECKING:
    from mecheval.metrics.subject import Subject
    from mecheval.reports.schema import MetricResult, Profile


@metric(
    name="exchange",
    version=2,
    family="intervention",
    caption="at a layer every position gets the activation of another sequence with the same "
    "token there. Sufficiency is the share of what that costs which is not lost if the other "
    "sequence is of the same state: 1 where the activations are the state and nothing else that "
    "counts. Its lateness is where along the layers it rises, from 0 to 1.",
    needs=(Variable(joined=True), AtLength(), Answers("n_sequences")),
    part="variable",
    headline=(
        Column("{part}: lateness of sufficiency"),
        Column("{part}: tracking by sufficiency", at="verdict"),
    ),
)
@dataclass(frozen=True, kw_only=True)
class Exchange(Metric):
    """Where a model uses its state, and where the state is all that it uses, without a probe.

    At every layer and all positions the stream comes from training sequences with the same token at
    that position, drawn anew for every position: donors of any state (``free``), or of the same
    values of the variable (``kept``). ``use`` is what donors of any state cost, as a share of the
    accuracy above a uniform guess; ``sufficiency`` the share of that cost which donors of the same
    state do not have. Neither is clipped. Sufficiency is null where donors of any state cost less
    than ``min_loss``. ``sufficiency`` is the value of the profile, with its interval over
    sequences; ``use``, ``kept``, ``free`` (both accuracies) are series with their ends.

    The value is the centre of mass of the rise of sufficiency over the layers: 0 at once, 1 at the
    end; a layer where it is null adds no step. The verdict is *tracking predicted* where
    sufficiency is ``tracks`` or more on average over the layers between the first and the last, of
    those where it is defined; it is given where the variables are the whole state. ``agrees`` holds
    it against ``last_accuracy_4x``, accuracy at the last position of words four times as long: a
    model tracks where that is 0.9 or more. Where little is lost inside, sufficiency is a share of
    little; ``mean_kept`` is the mean, over all layers between, of the accuracy above chance that
    donors of the same state leave, as a share of the model's.

    Two things must come out: at layer 0 the stream is the token, so that nothing changes
    (``identity_error``); behind the last block donors of the same state answer as well as the
    sequence itself, and those of any state as often as their answer happens to be the same
    (``expected_free``), if the variables decide the answer. Both layers are marked ``trivial``. A
    warning says where it is otherwise.

    Answers count from the position on at which probes are asked: before it the last tokens are the
    state, and donors of the same token have the same. Donors are the same at all layers, and there
    are ``n_draws`` independent draws of them; where they are several, ``draws_apart`` is how far
    two of them differ most. A position without a donor keeps what is its own; ``without_donor`` is
    the share of these, and the value is null if it is above ``max_missing``.

    What it cannot tell: where later blocks compute the state again from the tokens in the stream,
    nothing is lost, and that looks like no use (``planted/parity-twice``). A variable, or a tuple
    ``depth+top``, that is not the whole state has a sufficiency below 1 wherever the rest is used.
    Every position has a donor of its own, so that what positions have in common is broken, such
    as which of them copied from which: a model that compares them fails with donors of the same
    state as well, which is not for lack of state. It says nothing of how the state is written, nor
    of how long it lasts: a state that leaks is predicted to track
    (``planted/lstm-parity[sharpness=4.5]``). A state that no scored answer needs is not seen.

    With ``component=state`` it is the memory of one block's mixer that comes from donors, after
    every position and for the next one to read; the stream is the sequence's own. Layer l is then
    the block l, counted from 1; layer 0 has no memory. A donor's memory is that of its whole
    prefix, which keeps what positions have in common. There is no verdict then.

    Attributes:
        variables: Which variables, or tuples of them (``depth+top``); none for every one of the
            task, and the tuple of all if there are several and none decides the others: with the
            element of a group its sign is known, so that both tell the same states apart.
        component: What is exchanged: the residual ``stream``, or the ``state`` of mixers.
        n_pool: Sequences that can give; 750 where these leave at most one position in 200 without a
            donor; twice, four times or more as many where too many positions are without one
            otherwise.
        n_pool_most: Most of them.
        n_sequences: Test sequences that get.
        n_draws: Independent draws of donors.
        length: At which multiple of the training length.
        min_loss: Least accuracy that donors of any state must cost for sufficiency to be defined.
        max_missing: Largest share of positions that may be without a donor.
        tracks: Least mean sufficiency over inner layers by which tracking is predicted.
    """

    variables: tuple[str, ...] = ()
    component: Literal["stream", "state"] = "stream"
    n_pool: Count = 3000
    n_pool_most: Count = 24_000
    n_sequences: Count = 400
    n_draws: Count = 1
    length: Lengths = 1
    min_loss: Amount = 0.05
    max_missing: Share = 0.05
    tracks: Share = 0.8

    def outline(self, subject: Subject) -> list[Layout]:
        """Return one result per variable, and one for all together where that is another state."""
        n_sequences = subject.cut(self.n_sequences)
        return [
            Layout(part, f"lateness of sufficiency of {part}", n_sequences, (0.0, 1.0))
            for part in self.variables or told_apart(subject.task)
        ]

    def measure(self, subject: Subject) -> list[MetricResult]:
        """Exchange at every layer."""
        layouts = self.outline(subject)
        sweep = sweep_of(subject, [parts_of(layout.part) for layout in layouts], self.params)
        if sweep.refusal:
            missing = Estimate(None, reason=sweep.refusal)
            return [self.result(layout, missing, 0) for layout in layouts]
        return [
            _result(self, layout, sweep, outcome)
            for layout, outcome in zip(layouts, sweep.outcomes(), strict=True)
        ]


def _result(metric: Exchange, layout: Layout, sweep: Sweep, outcome: Outcome) -> MetricResult:
    scalars = {"without_donor": outcome.missing, "without_free_donor": outcome.missing_free}
    config = {"first_position": sweep.runs.first, "n_giving": len(sweep.runs.pool)}
    if outcome.curves is None:
        missing = max(outcome.missing, outcome.missing_free)
        reason = sweep.runs.too_few(missing, n_pool=metric.n_pool, n_pool_most=metric.n_pool_most)
        estimate = Estimate(None, reason=reason)
        return metric.result(layout, estimate, 0, scalars=scalars, config=config)
    curves = outcome.curves
    inner, inner_R = inner_mean(curves.sufficiency_L), inner_mean(curves.sufficiency_RL)
    (low,), (high,) = resampling.bounds(inner_R[:, None])
    found = Prediction(objection="what mixers hold is exchanged, and not the stream")
    if sweep.of_stream:
        found = predicted(
            sweep.subject, sweep.runs.pool, parts_of(layout.part), float(inner), least=metric.tracks
        )
    numbers, notes = checks.checked(sweep, outcome)
    return metric.result(
        layout,
        _estimate(curves),
        len(curves.clean_B),
        verdict=found.verdict,
        missing={"verdict": found.objection or ""},
        scalars={
            **scalars, **numbers,
            "accuracy": curves.accuracy, "chance": curves.chance,
            "mean_sufficiency": inner, "mean_sufficiency_low": low, "mean_sufficiency_high": high,
            "mean_kept": inner_mean(curves.kept_share_L),
            "draws_apart": outcome.draws_apart, "last_accuracy_4x": found.longer,
            "agrees": found.agrees,
        },
        config=config,
        warnings=[*notes, *found.notes],
        profile=_by_layer(curves, trivial=(0, -1) if sweep.of_stream else (0,)),
    )  # fmt: skip


def _estimate(curves: Curves) -> Estimate:
    if curves.accuracy - curves.chance < curves.min_loss:
        reason = f"accuracy {curves.accuracy:.3f} is not above chance ({curves.chance:.3f})"
        return Estimate(None, reason=reason)
    if not curves.loses_L.any():
        reason = f"donors of any state cost less than {curves.min_loss:g} at every layer"
        return Estimate(None, reason=reason)
    value = float(lateness(curves.sufficiency_L))
    if np.isnan(value):
        return Estimate(None, reason="donors of the same state bring nothing back at any layer")
    value_R = lateness(curves.sufficiency_RL)
    return Estimate(value, stats.percentile_interval(value_R, unit="sequence"))


def _by_layer(curves: Curves, *, trivial: tuple[int, ...]) -> Profile:
    layer_L = np.arange(len(curves.free_LB))
    series: dict[str, np.ndarray] = {
        "sufficiency": curves.sufficiency_L,
        "accuracy": np.full(len(layer_L), curves.accuracy),
    }
    for name, value_L, value_RL in (
        ("use", curves.use_L, curves.use_RL),
        ("kept", curves.kept_L, curves.kept_RL),
        ("free", curves.free_L, curves.free_RL),
    ):
        low_L, high_L = resampling.bounds(value_RL)
        series |= {name: value_L, f"{name}_low": low_L, f"{name}_high": high_L}
    return profile(
        {"layer": layer_L.tolist()},
        curves.sufficiency_L,
        resampling.bounds(curves.sufficiency_RL),
        marks={
            "trivial": np.isin(layer_L, layer_L[list(trivial)]),
            "loses": curves.loses_L,
        },
        series=series,
    )
