"""Recovery on networks whose paths are known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hand_built import (
    ONE,
    HandBuilt,
    Mixer,
    Relay,
    always,
    load_task,
    never,
    results_of,
    subject_of,
    written_at_block,
)

from mecheval.registry import Registry

CHANGED, READOUT = 4, 16
STREAM = ("block_in", "mixer_out")
Parity = Registry().load("task", "parity")


@dataclass(frozen=True, kw_only=True)
class ChangedAt(Parity):
    """Parity whose pairs differ at one and the same position."""

    changed: int = CHANGED

    def counterfactual(self, batch, rng):
        elements = batch.tokens_BT[:, 1:] - 1
        elements[:, self.changed - 1] ^= 1
        return self._batch(elements)


class Contrary(HandBuilt):
    """Says the opposite where it reads a one, and so is wrong about half of the pairs."""

    def forward(self, tokens_BT):
        sign_BT1 = 1 - 2 * (tokens_BT == ONE)[..., None].float()
        return sign_BT1 * super().forward(tokens_BT)


def test_the_state_moves_at_the_block_that_computes_it() -> None:
    found = results_of(
        subject_of(written_at_block(2), load_task("parity")), "recovery", components=STREAM
    )
    by_role = np.array(found["recovery/block_in"].profile.value)
    # Before block 2 the changed token has all of it, behind it the readout.
    assert by_role.tolist() == [[1, 0, 0], [1, 0, 0], [0, 0, 1], [0, 0, 1]]
    written = np.array(found["recovery/mixer_out"].profile.value)
    assert written.tolist() == [[0, 0, 0], [0, 0, 1], [0, 0, 0], [0, 0, 0]]
    for result in found.values():
        assert result.value == 0.0
        assert result.scalars["trivial_error"] == 0.0
    scalars = found["recovery/block_in"].scalars
    assert (scalars["left_changed_at"], scalars["reached_readout_at"]) == (2, 2)
    assert found["recovery/block_in"].references == {"clean": 5.0, "corrupted": -5.0}


def test_a_relay_at_the_middle_carries_everything() -> None:
    model = HandBuilt([Mixer(always), Relay((CHANGED + READOUT) // 2), Mixer(never)])
    found = results_of(subject_of(model, ChangedAt()), "recovery", components=STREAM)
    block_in, mixer_out = found["recovery/block_in"], found["recovery/mixer_out"]
    # The stream is a mean over layers 1 and 2, of which the first reads it; a part is of a layer.
    assert (block_in.value, block_in.units) == (0.5, [0.5] * 64)
    assert "layer" not in block_in.scalars
    assert (mixer_out.value, mixer_out.units) == (1.0, [1.0] * 64)
    assert (mixer_out.scalars["layer"], mixer_out.scalars["layer_agreement"]) == (0, 1)
    assert (block_in.n_expected, block_in.n_scored) == (64, 64)
    grid = block_in.profiles["grid"]
    assert grid.axes == ["layer", "position"]
    expected = np.zeros((3, READOUT + 1))
    expected[0, CHANGED] = expected[1, 10] = expected[2, READOUT] = 1.0
    assert np.array(grid.value).tolist() == expected.tolist()
    assert grid.series["median"] == grid.value
    trivial = np.array(grid.marks["trivial"])
    assert trivial[0].all()
    assert not trivial[1:, CHANGED:].any()
    assert trivial[:, :CHANGED].all()


def test_the_interval_is_of_the_mean_over_layers() -> None:
    """Half of the pairs go through the middle: the mean has a width."""
    model = HandBuilt([Mixer(always), Relay(10), Mixer(never)])
    found = results_of(subject_of(model, load_task("parity")), "recovery", components=["block_in"])
    result = found["recovery/block_in"]
    assert result.value == pytest.approx(np.mean(np.array(result.profile.value)[1:, 1]))
    assert result.value == pytest.approx(np.mean(result.units))
    assert 0.0 < result.value < 0.3
    assert result.uncertainty.method == "bootstrap"
    assert result.uncertainty.resampled_unit == "pair"
    assert result.uncertainty.low < result.value < result.uncertainty.high


def test_log_probability_as_readout() -> None:
    subject = subject_of(written_at_block(1, 2), load_task("parity"))
    found = results_of(subject, "recovery", readout="log_prob", components=["block_in"])
    result = found["recovery/block_in"]
    assert result.profile.value == [[1, 0, 0], [0, 0, pytest.approx(1)]]
    assert result.references["clean"] > -0.1


def test_no_gap_is_null_with_the_reason() -> None:
    subject = subject_of(HandBuilt([Mixer(never), Mixer(never)]), load_task("parity"))
    for result in results_of(subject, "recovery", components=STREAM).values():
        assert result.value is None
        assert result.uncertainty is None
        assert result.reason.startswith("no gap: 0 of 64 pairs are answered rightly")
        assert result.scalars["pairs_answered_wrongly"] == 64
        assert result.scalars["pairs_without_gap"] == 0


def test_too_few_middles_and_missing_sites_are_null_with_the_reason() -> None:
    late = subject_of(written_at_block(1, 2), ChangedAt(changed=READOUT - 1))
    found = results_of(late, "recovery", components=["block_in"])
    assert found["recovery/block_in"].reason.startswith("no middle: 0 pairs")
    one_layer = subject_of(written_at_block(1, 1), load_task("parity"))
    reason = results_of(one_layer, "recovery")["recovery/block_in"].reason
    assert reason == "known by construction at the middle position of every layer"
    result = results_of(one_layer, "recovery", components=["mlp_out"])["recovery/mlp_out"]
    assert result.reason == "the model has no such component"
    assert result.profile.value == [[None, None, None]]


def test_a_model_that_does_not_come_apart_has_no_memory_to_exchange() -> None:
    found = results_of(subject_of(written_at_block(2), load_task("parity")), "recovery")
    assert found["recovery/block_in"].value == 0.0
    state = found["recovery/state"]
    assert (state.value, state.n_scored) == (None, 0)
    assert state.reason.startswith("not applicable: ")


def test_pairs_that_are_answered_wrongly_are_left_out_and_counted() -> None:
    task = load_task("parity")
    right = subject_of(written_at_block(2), task)
    mixers = [Mixer(always if i == 1 else never) for i in range(4)]
    wrong = subject_of(Contrary(mixers), task)
    whole, part = (
        results_of(subject, "recovery", components=["block_in"])["recovery/block_in"]
        for subject in (right, wrong)
    )
    n_wrong = part.scalars["pairs_answered_wrongly"]
    assert 8 <= n_wrong <= 56
    assert (whole.n_scored, part.n_scored) == (64, 64 - n_wrong)
    assert [unit is None for unit in part.units].count(True) == n_wrong
    at_one_place = zip(whole.units, part.units, strict=True)
    assert all(ours == pytest.approx(theirs, abs=1e-5) for ours, theirs in at_one_place if theirs)
    assert whole.scalars["pairs_answered_wrongly"] == 0
    assert part.profile.value == whole.profile.value
    assert part.warnings == [
        f"{n_wrong:.0f} pairs were left out because the model does not answer them rightly"
    ]
