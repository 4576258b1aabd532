"""Readability and bottleneck on networks whose state is written at known blocks.

What they return on the planted models of the package stands in model_registry/planted/known.toml.
"""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from hand_built import (
    DISTRACTION,
    SMALL_ERASURE,
    SMALL_PROBES,
    STATE,
    load_task,
    results_of,
    spread_over_blocks,
    subject_of,
    written_at_block,
)

import mecheval
from mecheval.metrics.bottleneck import erasers
from mecheval.metrics.bottleneck.erased_runs import erased_runs
from mecheval.metrics.bottleneck.information import NOT_ASKED


def test_a_refit_that_recovers_is_marked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Noise on one of two features of the state breaks the answers; a probe reads the other one."""
    calls = itertools.count()

    def noise_on_own(fit, probing):
        axes_D1 = np.eye(fit.mean_D.size)[:, [STATE, DISTRACTION]].T[..., None]
        size = 0 if next(calls) % 21 else 100  # the null, which comes behind it, does nothing
        return erasers.Eraser(fit.mean_D, size * axes_D1[0], axes_D1[1])

    monkeypatch.setitem(erasers.ERASERS, "direction", noise_on_own)
    subject = subject_of(written_at_block(2, 3), load_task("parity"))
    found = results_of(subject, "bottleneck", eraser="direction", **SMALL_ERASURE)
    result = found["bottleneck/parity"]
    assert (result.scalars["layer"], result.scalars["refit_recovery"]) == (2, 1.0)
    assert result.value > 0.5
    assert result.profile.marks["removed_linearly"] == [False] * 4
    assert "says nothing of whether the variable is used" in result.warnings[0]
    assert result.warnings[-1] == (
        "a refitted linear probe still reads the variable at layer 2 (by 1.00 of what there was): "
        "what was erased is not all that holds it"
    )


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
    axes = [np.linalg.qr(rng.standard_normal((model.d_model, 3)))[0] for _ in range(5)]
    drawn = [erasers.Eraser(np.zeros(model.d_model), axes_DK, axes_DK) for axes_DK in axes]
    given = []
    for batch_size in (128, 7):
        subject = subject_of(model, load_task("parity"), batch_size=batch_size)
        runs = erased_runs(subject, 20, 8)
        trial = runs.on_some(drawn)
        given.append(runs.spread(trial, runs.tried(1, [trial])[0]))
    tried_JB = (given[0] != NOT_ASKED).any(2)
    assert tried_JB.sum(1).tolist() == [8] * 5
    assert tried_JB.sum(0).tolist() == [2] * 20
    np.testing.assert_array_equal(given[0], given[1])
    for eraser, given_BT, tried_B in zip(drawn, given[0], tried_JB, strict=True):
        np.testing.assert_array_equal(given_BT[tried_B], runs.answers(1, eraser).given[tried_B])
    right = (given[0] == runs.target_BT)[given[0] != NOT_ASKED]
    assert not np.allclose(right.mean(), 1.0)


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
