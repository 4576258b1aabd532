"""Readability and bottleneck on networks whose state is written at known blocks."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hand_built import (
    SMALL_ERASURE,
    SMALL_PROBES,
    HandBuilt,
    load_task,
    results_of,
    spread_over_blocks,
    subject_of,
    written_at_block,
)

import mecheval
from mecheval.metrics import erasers
from mecheval.metrics.erasure_sweep import prepare_sweep
from mecheval.metrics.probe_data import stream_sites


@pytest.mark.parametrize("block", [1, 3, 4])
def test_a_state_written_at_one_block(block: int) -> None:
    subject = subject_of(written_at_block(block), load_task("parity"))
    probe = results_of(subject, "readability", **SMALL_PROBES)["readability/parity"]
    assert probe.value == 1.0
    assert probe.profile.value == [float(layer >= block) for layer in range(5)]
    assert probe.scalars["layer"] == probe.scalars["plateau_first"] == block
    assert probe.scalars["lateness"] == pytest.approx(block / 4)
    assert probe.scalars["largest_step"] == pytest.approx(1.0)
    assert probe.scalars["concentration"] == pytest.approx(1.0)
    assert probe.references["untrained"] == 0.0
    assert probe.references["shuffled"] < 0.05

    found = results_of(subject, "bottleneck", **SMALL_ERASURE)["bottleneck/parity"]
    marks = found.profile.marks
    assert marks["readable"] == [layer >= block for layer in range(5)]
    assert marks["trivial"] == [False] * 4 + [True]
    if block == 4:
        assert found.value is None
        assert found.reason == (
            "the variable is readable at no layer before the last block's output"
        )
        assert found.profile.series["accuracy"][4] < 0.6  # the positive control of T4
        return
    assert (found.value, found.scalars["layer"]) == (block / 4, block)
    assert marks["valid"] == [block <= layer < 4 for layer in range(5)]
    assert found.scalars["plateau_last"] == 3
    assert found.scalars["necessity"] == pytest.approx(1.0, abs=0.1)
    assert found.scalars["gap_to_best_probe"] == 0.0
    assert found.profile.value[:block] == [None] * block


def test_a_state_spread_over_all_blocks() -> None:
    subject = subject_of(spread_over_blocks(), load_task("parity"))
    probe = results_of(subject, "readability", n_test=1000)["readability/parity"]
    assert probe.profile.value == pytest.approx([0, 0.25, 0.5, 0.75, 1.0], abs=0.1)
    assert probe.scalars["concentration"] < 0.03
    assert probe.scalars["lateness"] == pytest.approx(0.625, abs=0.05)
    assert probe.scalars["concentration_low"] <= probe.scalars["concentration"] + 0.01
    found = results_of(subject, "bottleneck", **SMALL_ERASURE)["bottleneck/parity"]
    assert found.value == 0.75
    assert found.profile.series["necessity"][1:] == sorted(found.profile.series["necessity"][1:])


def test_an_intact_variable_that_nothing_uses_is_no_bottleneck() -> None:
    class Blind(HandBuilt):
        """Writes the state, and answers from the tokens instead."""

        def forward(self, tokens_BT):
            super().forward(tokens_BT)
            logits = torch.zeros(*tokens_BT.shape, 3)
            parity = (tokens_BT == 2).cumsum(1) % 2
            logits[..., 1:] = torch.nn.functional.one_hot(parity, 2).float()
            return logits

    model = Blind([block.mixer for block in written_at_block(1, 3).stack])
    found = results_of(subject_of(model, load_task("parity")), "bottleneck", **SMALL_ERASURE)
    result = found["bottleneck/parity"]
    assert result.value is None
    assert result.reason.startswith("erasing costs hardly more than random subspaces")
    assert result.profile.marks["valid"][1]


def test_a_refit_that_recovers_makes_the_value_null(monkeypatch: pytest.MonkeyPatch) -> None:
    def beside(fit, inverse_l2):
        axis = np.eye(fit.mean_D.size)[:, 20:21]
        return erasers.Eraser(fit.mean_D, axis, axis)

    monkeypatch.setitem(erasers.ERASERS, "direction", beside)
    subject = subject_of(written_at_block(2), load_task("parity"))
    found = results_of(subject, "bottleneck", eraser="direction", **SMALL_ERASURE)
    result = found["bottleneck/parity"]
    assert result.value is None
    assert result.reason == (
        "the refitted probe recovers the variable at every layer where it is readable: by 1.00 of "
        "what there was at layer 2, where it does least"
    )
    assert result.profile.series["refit_recovery"][2] == 1.0
    assert "no test of necessity" in result.warnings[0]


@pytest.mark.parametrize("name", ["transformer", "lstm"])
def test_an_untrained_network_reads_nothing(name: str) -> None:
    torch.manual_seed(0)
    model = mecheval.load_model(f"{name}[layers=2,width=32]", vocab_size=3)
    subject = subject_of(model, load_task("parity"), learned=None)
    found = results_of(subject, "readability", n_test=2000)["readability/parity"]
    assert max(found.profile.value) <= 0.05
    assert found.scalars["lateness"] is None
    bottleneck = results_of(subject, "bottleneck", **SMALL_ERASURE)["bottleneck/parity"]
    assert bottleneck.value is None


def test_erased_answers_equal_erasing_by_hand() -> None:
    """The rows of one batch get their own erasers, however the batch is cut."""
    model = written_at_block(1, 2)
    rng = np.random.default_rng(0)
    drawn = erasers.random_subspaces(np.zeros(model.d_model), 3, 5, rng)
    shares = []
    for batch_size in (128, 7):
        subject = subject_of(model, load_task("parity"), batch_size=batch_size)
        params = {"n_erase": 20, "n_per_random": 8}
        runs = prepare_sweep(subject, params).runs
        site = stream_sites(model)[1]
        shares.append(runs.random_answers(site, drawn))
    assert (~np.isnan(shares[0])).sum(1).tolist() == [8] * 5
    assert (~np.isnan(shares[0])).sum(0).tolist() == [2] * 20
    np.testing.assert_array_equal(shares[0], shares[1])
    for eraser, share in zip(drawn, shares[0], strict=True):
        tried = ~np.isnan(share)
        np.testing.assert_array_equal(share[tried], runs.answers(site, eraser).token[tried])
    assert not np.allclose(np.nanmean(shares[0], 1), 1.0)


def test_results_are_plain_numbers_and_repeat() -> None:
    dumps = []
    for batch_size in (128, 128, 33):
        subject = subject_of(spread_over_blocks(2), load_task("parity"), batch_size=batch_size)
        found = results_of(subject, "readability", **SMALL_PROBES)
        found |= results_of(subject, "bottleneck", **SMALL_ERASURE)
        found |= results_of(subject, "recovery", n_pairs=16)
        dumps.append([result.model_dump() for result in found.values()])
    assert dumps[0] == dumps[1] == dumps[2]
    for value in leaves(dumps[0]):
        assert not isinstance(value, np.generic)
        assert not isinstance(value, float) or math.isfinite(value)


def leaves(value):
    if isinstance(value, dict):
        for item in value.values():
            yield from leaves(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from leaves(item)
    else:
        yield value
