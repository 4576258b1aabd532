"""The bottleneck: its cost in information, its null, its layer, and what is said without one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hand_built import (
    SMALL_ERASURE,
    HandBuilt,
    Mixer,
    always,
    kept_state,
    load_task,
    never,
    results_of,
    spread_over_blocks,
    subject_of,
    written_at_block,
)

from mecheval.harness import selftest
from mecheval.metrics.bottleneck import cost, erasers, moments, scrubbing
from mecheval.metrics.bottleneck.cost import AtLayer
from mecheval.metrics.bottleneck.erased_runs import erased_runs
from mecheval.metrics.bottleneck.erasure_sweep import fewer, prepare_sweep
from mecheval.metrics.bottleneck.moments import Moments
from tests.measured import metric_of

if TYPE_CHECKING:
    from torch import Tensor

PARITY = load_task("parity")
ONLY = "is the only layer that counts"


def test_a_single_layer_that_counts_has_no_interval() -> None:
    subject = subject_of(written_at_block(3, 4), PARITY)
    result = results_of(subject, "bottleneck", **SMALL_ERASURE)["bottleneck/parity"]
    assert result.scalars["asked_layers"] == result.scalars["counting_layers"] == 1
    assert (result.scalars["layer"], result.scalars["depth"]) == (3, 0.75)
    assert "layer_low" not in result.scalars
    assert f"layer 3 {ONLY}" in result.warnings[0]
    assert result.value > 0.8
    assert result.uncertainty.low < result.value < result.uncertainty.high <= 1
    assert np.mean(result.units) == pytest.approx(result.value, abs=1e-5)


def test_one_of_several_layers_has_an_interval() -> None:
    subject = subject_of(written_at_block(2, 4), PARITY)
    result = results_of(subject, "bottleneck", **SMALL_ERASURE)["bottleneck/parity"]
    assert result.scalars["counting_layers"] == 2
    ends = (result.scalars["layer_low"], result.scalars["layer_high"])
    assert ends[0] <= result.scalars["layer"] == 2 <= ends[1]
    assert (result.scalars["plateau_first"], result.scalars["plateau_last"]) == (2, 3)
    assert not [note for note in result.warnings if ONLY in note]


def test_a_state_that_is_spread_over_blocks_costs_accuracy_block_by_block() -> None:
    subject = subject_of(spread_over_blocks(4), PARITY)
    result = results_of(subject, "bottleneck", **SMALL_ERASURE)["bottleneck/parity"]
    series = result.profile.series
    assert series["accuracy"][1:] == pytest.approx([0.875, 0.75, 0.625, 0.5], abs=0.07)
    assert series["information"][1] > series["information"][2] > series["information"][3]
    assert result.scalars["layer"] == 3


def test_layers_that_cost_alike_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the halves choose differently, the cost is that of neither layer alone."""
    among = cost.HeldOut.among

    def either(costs: cost.Costs, layers: np.ndarray) -> cost.HeldOut:
        return cost.HeldOut(among(costs, layers).costs, layers[:2])

    monkeypatch.setattr(cost.HeldOut, "among", either)
    subject = subject_of(written_at_block(2, 4), PARITY)
    result = results_of(subject, "bottleneck", **SMALL_ERASURE)["bottleneck/parity"]
    assert "layers 2 and 3 cannot be told apart" in result.warnings[0]
    assert result.value == pytest.approx(np.mean(result.profile.value[2:4]), abs=0.05)


def test_a_memory_that_nothing_reads_costs_nothing_and_is_no_bottleneck() -> None:
    subject = selftest.subject_of("planted/parity-distractor", "parity")
    result = results_of(subject, "bottleneck", **SMALL_ERASURE)["bottleneck/parity"]
    assert result.value <= 0
    assert result.scalars["layer"] is None
    assert result.profile.series["information"][1] == 1.0
    assert "no layer is a bottleneck" in result.warnings[0]
    assert {line.at for line in result.headline} == {"", "layer"}


def test_answers_that_are_turned_round_have_lost_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Erasing that swaps the two answers takes all accuracy and no information."""
    subject = subject_of(written_at_block(2, 4), PARITY)
    own = selftest_swapped(subject)
    monkeypatch.setattr("mecheval.metrics.bottleneck.erased_runs.StreamEdits.logits", own)
    result = results_of(subject, "bottleneck", **SMALL_ERASURE)["bottleneck/parity"]
    series = result.profile.series
    assert series["accuracy"][2] == 0.0
    assert series["information"][2] == 1.0
    assert result.value == 0.0
    assert result.scalars["accuracy_lost"] == 1.0


def selftest_swapped(subject):
    """Return a run that answers every sequence rightly, with the answers exchanged."""

    def logits(self, layer, row_R, change):
        targets = subject.test(subject.length, SMALL_ERASURE["n_erase"]).targets_BT[row_R]
        return (targets[..., None] != subject.answers_A).astype(np.float32)

    return logits


def test_the_embedding_is_left_out() -> None:
    subject = subject_of(written_at_block(1, 2), PARITY)
    profile = results_of(subject, "bottleneck", **SMALL_ERASURE)["bottleneck/parity"].profile
    assert profile.marks["token"] == [True, False, False]
    assert not profile.marks["valid"][0]
    for name in ("cost", "accuracy", "information", "null", "refit"):
        assert profile.series[name][0] is None, name


def test_what_tells_nothing_has_nothing_to_lose() -> None:
    subject = subject_of(written_at_block(2, 4), PARITY)
    subject.model.gain.data.fill_(0.0)
    result = results_of(subject, "bottleneck", **SMALL_ERASURE)["bottleneck/parity"]
    assert result.value is result.scalars["layer"] is None
    assert result.reason == "the answers tell next to nothing of the right ones (0.000 of all)"


def test_few_cells_are_said() -> None:
    subject = subject_of(written_at_block(2, 4), PARITY)
    sizes = {**SMALL_ERASURE, "n_erase": 1}
    (few,) = results_of(subject, "bottleneck", **sizes).values()
    assert few.warnings[0].startswith("12 cells for 2 x 2 pairs of a target and an answer")
    (enough,) = results_of(subject, "bottleneck", **{**sizes, "n_erase": 2}).values()
    assert "cells for" not in "".join(enough.warnings)


def test_erasers_stand_side_by_side_and_change_nothing_of_each_other() -> None:
    subject = subject_of(written_at_block(2, 4), PARITY)
    sizes = {**SMALL_ERASURE, "n_fit": 300, "inlp_rounds": 2}
    others = ["class_mean", "row_space", "direction", "inlp"]
    found = results_of(subject, "bottleneck", **sizes, erasers=others)
    found = {id.removeprefix("bottleneck/"): result for id, result in found.items()}
    assert list(found) == ["parity", *(f"parity/{name}" for name in others)]
    (alone,) = results_of(subject, "bottleneck", **sizes).values()
    assert found["parity"].profile == alone.profile
    assert found["parity"].value == alone.value
    for name, rank in (("class_mean", 1), ("row_space", 1), ("direction", 1), ("inlp", 2)):
        result = found[f"parity/{name}"]
        assert result.profile.series["rank"] == [None, *[rank] * 4]
        (other,) = results_of(subject, "bottleneck", **sizes, eraser=name).values()
        assert other.profile == result.profile
    assert "says nothing of whether the variable is used" in found["parity/direction"].warnings[0]


def test_a_network_with_a_hidden_layer_is_asked_only_where_the_variable_is() -> None:
    subject = subject_of(written_at_block(2, 4), PARITY)
    result = results_of(subject, "bottleneck", **SMALL_ERASURE)["bottleneck/parity"]
    series = result.profile.series
    assert [accuracy is not None for accuracy in series["mlp_probe"]] == [
        False,
        False,
        True,
        True,
        False,
    ]
    assert series["mlp_probe"][2] == 1.0
    assert series["mlp_refit"][2] == pytest.approx(0.5, abs=0.1)  # nothing else holds it
    assert result.scalars["mlp_refit"] == series["mlp_refit"][2]
    without = results_of(subject, "bottleneck", **SMALL_ERASURE, mlp=False)["bottleneck/parity"]
    assert "mlp_probe" not in without.profile.series
    assert without.value == result.value


def test_erasers_of_longer_words_are_fitted_on_them() -> None:
    subject = subject_of(written_at_block(2, 4), PARITY)
    results = [
        results_of(subject, "bottleneck", **SMALL_ERASURE, length=length) for length in (1, 2)
    ]
    (one,), (two,) = (found.values() for found in results)
    assert (one.config["first_position"], two.config["first_position"]) == (5, 8)
    assert one.profile != two.profile
    assert two.scalars["layer"] == 2
    assert two.config["length"] == 2


def test_of_longer_words_fewer_are_as_many_cells() -> None:
    subject = subject_of(written_at_block(2, 4), PARITY)
    params = metric_of("bottleneck", **SMALL_ERASURE).params
    for factor in (1, 2, 4):
        at = subject.at(factor)
        sweep = prepare_sweep(at, params)
        assert len(sweep.runs.batch) == params["n_erase"]
        assert sweep.runs.n_per_null * factor == params["n_per_null"]
        batch = at.examples("train", fewer(at, 240), purpose="eraser")
        assert len(batch) * factor == 240
        found = Moments(at, batch, 2)
        assert found.row_values["parity"].shape == (3, 240)
        assert len(found.layers[0].rows_CD) == 240


def test_cells_of_a_sequence_are_from_stretches_of_their_own() -> None:
    rng = np.random.default_rng(0)
    cell_NK = moments._rows(500, 25, 4, rng).reshape(500, 4)
    position_NK = cell_NK - 25 * np.arange(500)[:, None]
    for k, (low, high) in enumerate([(0, 6), (6, 12), (12, 18), (18, 25)]):
        assert set(position_NK[:, k]) == set(range(low, high))


def test_scrubbing_from_a_layer_on_takes_what_is_written_again() -> None:
    """A network that writes the state at two blocks loses nothing by erasing the first alone."""
    subject = subject_of(HandBuilt([Mixer(always), Mixer(never), Again(), Mixer(never)]), PARITY)
    sizes = {**SMALL_ERASURE, "n_scrub": 200}
    (result,) = results_of(subject, "bottleneck", **sizes, scrub=True).values()
    series = result.profile.series
    assert series["scrub_cost"][0] is series["scrub_cost"][4] is None
    assert series["information"][1] == series["information"][2] == 1.0
    scrubbed = np.add(series["scrub_cost"][1:4], series["scrub_null"][1:4])
    assert scrubbed == pytest.approx([1.0, 1.0, 1.0], abs=0.05)


class Again(Mixer):
    """Writes the state once more, and takes away what was there."""

    def __init__(self) -> None:
        super().__init__(always)

    def forward(self, stream_BTD: Tensor) -> Tensor:
        return super().forward(stream_BTD) - kept_state(stream_BTD)


def test_scrubbing_at_the_last_inner_layer_is_erasing_there() -> None:
    subject = subject_of(written_at_block(2, 3), PARITY)
    runs = erased_runs(subject, 64, 16)
    scrubbed = scrubbing.scrubbed(runs, "parity", (0, 1), n_fit=300, n_null=2)
    assert scrubbed[0] is scrubbed[3] is None
    batch = subject.examples("train", 300, purpose="eraser")
    fit = next(Moments(subject, batch, 0).fits(2, "parity", (0, 1)))
    by_hand = runs.answers(2, erasers.leace(fit, erasers.Probing(())))
    alone = AtLayer.of(
        runs.target_BT, runs.clean.given, erased_BT=by_hand.given,
        null_JBT=np.zeros((0, *runs.target_BT.shape), int),
    )  # fmt: skip
    once = np.ones((1, 64))
    assert scrubbed[2].cost(once) == pytest.approx(alone.cost(once), abs=0.02)


def test_a_block_that_is_left_out_costs_what_it_does() -> None:
    subject = subject_of(written_at_block(2, 4), PARITY)
    (result,) = results_of(subject, "bottleneck", **SMALL_ERASURE, blocks=True).values()
    for name in ("skip", "mean"):
        cost_L = result.profile.series[f"{name}_cost"]
        assert cost_L[0] is None
        assert cost_L[1:] == pytest.approx([0.0, 1.0, 0.0, 0.0], abs=0.02)
        accuracy = result.profile.series[f"{name}_accuracy"]
        assert accuracy[2] == pytest.approx(0.5, abs=0.1)
        assert accuracy[1] == accuracy[3] == 1.0
