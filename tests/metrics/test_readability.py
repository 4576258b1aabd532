"""Readability: the floor of every layer, probes of another family, other lengths, second sights.

Shape suffixes: ``B`` sequences, ``T`` positions, ``D`` stream.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from hand_built import (
    STATE,
    HandBuilt,
    Mixer,
    always,
    load_task,
    never,
    results_of,
    spread_over_blocks,
    subject_of,
    written_at_block,
)
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import StandardScaler

from mecheval.metrics.probe.probe_data import probe_data

if TYPE_CHECKING:
    from mecheval.metrics import Subject
    from mecheval.reports.schema import MetricResult

SIZES = {"n_train": 800, "n_validation": 300, "n_test": 600}
SMALL = {**SIZES, "n_controls": 2}


class Masked(Mixer):
    """Writes the parity exchanged at odd positions, and whether the position is odd."""

    def forward(self, stream_BTD: torch.Tensor) -> torch.Tensor:
        out_BTD = super().forward(stream_BTD)
        out_BTD[:, 1::2, STATE : STATE + 2] = out_BTD[:, 1::2, STATE : STATE + 2].flip(-1)
        out_BTD[:, 1::2, STATE + 2] = 5.0
        return out_BTD


def read(subject: Subject, **params: Any) -> MetricResult:
    (result,) = results_of(subject, "readability", **{**SMALL, **params}).values()
    return result


def test_every_layer_has_a_floor_of_its_own() -> None:
    """Before training the third block has the state already: nothing was learned behind it."""
    task = load_task("parity")
    result = read(subject_of(written_at_block(2), task, untrained=lambda: written_at_block(3)))
    table = result.scalars["table_accuracy"]
    assert result.profile.series["floor"] == pytest.approx([table, table, table, 1, 1])
    assert result.profile.series["untrained"] == pytest.approx([0.5, 0.5, 0.5, 1, 1])
    assert result.profile.value == pytest.approx([0, 0, 1, 0, 0])
    assert (result.value, result.scalars["layer"]) == (1.0, 2)
    assert result.scalars["floor_accuracy"] == pytest.approx(table)
    nothing = read(subject_of(written_at_block(2), task, untrained=lambda: written_at_block(1)))
    assert (nothing.value, nothing.scalars["com"]) == (0.0, None)
    assert nothing.uncertainty is not None
    assert nothing.uncertainty.high == 0.0


def test_half_of_what_there_was_before_is_taken_off() -> None:
    before = spread_over_blocks(2)
    model = HandBuilt([Mixer(always), Mixer(never)])
    result = read(subject_of(model, load_task("parity"), untrained=lambda: before))
    half = result.profile.series["untrained"][1]
    assert half == pytest.approx(0.75, abs=0.06)
    assert result.scalars["untrained_accuracy"] == result.scalars["floor_accuracy"] == half
    assert result.value == 1.0
    assert result.uncertainty is not None
    assert result.uncertainty.low == pytest.approx((0.9936 - half) / (1 - half), abs=1e-3)


def test_rules_of_thumb_of_a_task_are_floors(monkeypatch: pytest.MonkeyPatch) -> None:
    task = load_task("parity")

    def knows(self, batch):
        return {"oracle": {"parity": batch.variables["parity"]}}

    monkeypatch.setattr(type(task), "guesses", knows)
    result = read(subject_of(written_at_block(1), replace(task, longer=(3,))))
    assert result.scalars["floor_oracle"] == result.scalars["table_accuracy"] == 1.0
    assert result.value == 0.0


def test_a_hidden_layer_reads_what_no_linear_probe_does() -> None:
    subject = subject_of(HandBuilt([Masked(always), Masked(never)]), load_task("parity"))
    result = read(subject, mlp=True)
    assert result.value == pytest.approx(0.0, abs=0.1)
    assert (
        result.scalars["mlp_accuracy"]
        == result.profile.series["mlp_accuracy"][int(result.scalars["layer"])]
    )
    assert result.profile.series["mlp"][0] == pytest.approx(0.0, abs=0.1)
    assert min(result.profile.series["mlp"][1:]) > 0.9
    assert result.scalars["mlp_com"] == pytest.approx(0.5, abs=0.1)
    assert max(result.profile.series["mlp_untrained"]) < 0.6
    assert "mlp" not in read(subject).scalars


def test_its_floor_is_that_of_its_own_family() -> None:
    subject = subject_of(
        HandBuilt([Masked(always)]), load_task("parity"),
        untrained=lambda: HandBuilt([Masked(always)]),
    )  # fmt: skip
    result = read(subject, mlp=True)
    assert result.profile.series["mlp_accuracy"][1] > 0.95
    assert result.profile.series["mlp_untrained"][1] > 0.95
    assert result.scalars["mlp"] == pytest.approx(0.0, abs=0.05)


def test_probes_agree_with_those_of_scikit_learn() -> None:
    """A second computation: other optimisers on the same activations."""
    rng = np.random.default_rng(0)

    class Noisy(Mixer):
        def forward(self, stream_BTD: torch.Tensor) -> torch.Tensor:
            out_BTD = super().forward(stream_BTD)
            noise_BTD = rng.standard_normal((*stream_BTD.shape[:2], 2))
            out_BTD[..., STATE : STATE + 2] += torch.as_tensor(noise_BTD).float()
            return out_BTD

    subject = subject_of(HandBuilt([Noisy(always)]), load_task("parity"))
    result = read(subject, mlp=True)
    data = probe_data(subject, "parity", SIZES)  # the activations are remembered
    train, test = data.layer("train", 1), data.layer("test", 1)
    scaled = StandardScaler().fit(train.features_ND)
    linear = LogisticRegression(max_iter=1000, class_weight="balanced")
    network = MLPClassifier((64,), early_stopping=True, max_iter=500, random_state=0)
    for model, name in ((linear, "accuracy"), (network, "mlp_accuracy")):
        model.fit(scaled.transform(train.features_ND), train.labels_N)
        expected = balanced_accuracy_score(
            test.labels_N, model.predict(scaled.transform(test.features_ND))
        )
        assert 0.7 < expected < 0.9
        assert result.profile.series[name][1] == pytest.approx(expected, abs=0.04)


def test_probes_are_fitted_at_the_length_that_is_asked_for() -> None:
    class Fading(Mixer):
        """Knows the state of short words only."""

        def forward(self, stream_BTD: torch.Tensor) -> torch.Tensor:
            out_BTD = super().forward(stream_BTD)
            out_BTD[:, 17:] = 0.0
            return out_BTD

    subject = subject_of(HandBuilt([Fading(always), Mixer(always)]), load_task("parity"))
    short, longer = read(subject), read(subject, length=2)
    assert (short.profile.value[1], longer.profile.value[2]) == (1.0, 1.0)
    assert longer.profile.value[1] == pytest.approx(9 / 25, abs=0.1)  # positions 8 to 16 of 8 to 32
    assert (short.config["first_position"], longer.config["first_position"]) == (5, 8)
    assert longer.config["length"] == 2
    # What is remembered at one length is not taken for the other.
    assert read(subject).model_dump() == short.model_dump()


def test_a_variable_that_no_sequence_of_a_few_defines(monkeypatch: pytest.MonkeyPatch) -> None:
    task = load_task("parity")
    subject = subject_of(spread_over_blocks(), task, limit=4)
    never_defined = {
        split: replace(batch, variables={"parity": np.full_like(batch.tokens_BT, -1)})
        for split in ("train", "validation", "test")
        for batch in [subject.examples(split, 4, purpose="probe")]
    }
    monkeypatch.setattr(
        type(subject), "examples", lambda self, split, n, *, purpose: never_defined[split]
    )
    result = read(subject)
    assert result.value is None
    assert result.reason == (
        "fewer than two values of parity have 10 training examples: a higher limit on examples "
        "gives more"
    )
