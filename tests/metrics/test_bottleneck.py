"""The bottleneck: its cost by two measures, its layer, and what is said where there is none."""

from __future__ import annotations

import numpy as np
import pytest
from hand_built import (
    SMALL_ERASURE,
    load_task,
    results_of,
    spread_over_blocks,
    subject_of,
    written_at_block,
)

from mecheval.harness import selftest
from mecheval.metrics.bottleneck import bottleneck
from mecheval.metrics.bottleneck.curves import Levels

ONLY = "is the only layer that could be the bottleneck"


def test_a_single_layer_that_could_be_it_has_no_interval() -> None:
    subject = subject_of(written_at_block(3, 4), load_task("parity"))
    result = results_of(subject, "bottleneck", **SMALL_ERASURE)["bottleneck/parity"]
    assert result.scalars["eligible_layers"] == 1
    assert (result.scalars["layer"], result.scalars["depth"]) == (3, 0.75)
    assert "layer_low" not in result.scalars
    assert f"layer 3 {ONLY}" in result.warnings[0]
    assert result.uncertainty.low < 1 < result.uncertainty.high


def test_one_of_several_layers_has_an_interval() -> None:
    subject = subject_of(spread_over_blocks(4), load_task("parity"))
    result = results_of(subject, "bottleneck", **SMALL_ERASURE)["bottleneck/parity"]
    assert result.scalars["eligible_layers"] > 1
    ends = (result.scalars["layer_low"], result.scalars["layer_high"])
    assert ends[0] <= result.scalars["layer"] == 3 <= ends[1]
    assert result.value == pytest.approx(0.75, abs=0.2)
    assert not [note for note in result.warnings if ONLY in note]


def test_layers_that_cost_alike_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the halves choose differently, the cost is that of neither layer alone."""

    def either(_, n_units: int) -> np.ndarray:
        return np.arange(n_units) % 2

    monkeypatch.setattr(bottleneck.resampling, "largest_elsewhere", either)
    subject = subject_of(written_at_block(2, 4), load_task("parity"))
    result = results_of(subject, "bottleneck", **SMALL_ERASURE)["bottleneck/parity"]
    assert "layers 2 and 3 cannot be told apart" in result.warnings[0]


def test_a_memory_that_nothing_reads_costs_nothing_and_is_no_bottleneck() -> None:
    subject = selftest.subject_of("planted/parity-distractor", "parity")
    result = results_of(subject, "bottleneck", **SMALL_ERASURE)["bottleneck/parity"]
    assert result.value == 0
    assert result.scalars["layer"] is None
    assert "no layer is a bottleneck" in result.warnings[0]
    assert {line.at for line in result.headline} == {"", "layer"}


def test_the_same_loss_above_the_floor_and_above_chance() -> None:
    subject = selftest.subject_of(
        "planted/transformer-dyck", "dyck[longer=[],max_length=16,min_length=16]"
    )
    result = results_of(subject, "bottleneck", **SMALL_ERASURE)["bottleneck/depth"]
    numbers = result.scalars
    assert numbers["floor"] > numbers["chance"] + 0.2
    lost, clean = numbers["accuracy_lost"], numbers["clean_accuracy"]
    assert result.value == pytest.approx(lost / (clean - numbers["floor"]))
    assert numbers["cost_to_chance"] == pytest.approx(lost / (clean - numbers["chance"]))
    series = result.profile.series
    assert series["cost"][1] == pytest.approx(result.value)
    assert series["cost_to_chance"][1] == pytest.approx(numbers["cost_to_chance"])
    assert np.mean(result.units) == pytest.approx(result.value)


def test_what_is_not_above_the_floor_has_no_cost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bottleneck, "Levels", lambda _, chance: Levels(1.0, chance))
    subject = subject_of(written_at_block(2, 4), load_task("parity"))
    result = results_of(subject, "bottleneck", **SMALL_ERASURE)["bottleneck/parity"]
    assert result.value is result.scalars["layer"] is None
    assert result.reason == "the accuracy without erasure is not above the floor"
