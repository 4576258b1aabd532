"""Readability and bottleneck on networks whose state is written at known blocks.

What they return on the planted models of the package stands in model_registry/planted/known.toml.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hand_built import (
    SMALL_ERASURE,
    SMALL_PROBES,
    load_task,
    results_of,
    spread_over_blocks,
    subject_of,
    written_at_block,
)

import mecheval
from mecheval.metrics.bottleneck import erasers
from mecheval.metrics.bottleneck.erasure_sweep import prepare_sweep


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
    assert "says nothing of whether the variable is used" in result.warnings[0]


@pytest.mark.parametrize("name", ["transformer", "lstm"])
def test_an_untrained_network_reads_nothing(name: str) -> None:
    torch.manual_seed(0)
    model = mecheval.load_model(f"{name}[layers=2,width=32]", vocab_size=3)
    subject = subject_of(model, load_task("parity"), learned=None)
    found = results_of(subject, "readability", n_test=2000)["readability/parity"]
    assert max(found.profile.value) <= 0.05
    assert found.scalars["com"] is None
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
        trial = runs.on_some(drawn)
        shares.append(runs.spread(trial, runs.tried(1, [trial])[0]))
    assert (~np.isnan(shares[0])).sum(1).tolist() == [8] * 5
    assert (~np.isnan(shares[0])).sum(0).tolist() == [2] * 20
    np.testing.assert_array_equal(shares[0], shares[1])
    for eraser, share in zip(drawn, shares[0], strict=True):
        tried = ~np.isnan(share)
        np.testing.assert_array_equal(share[tried], runs.answers(1, eraser).token[tried])
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
