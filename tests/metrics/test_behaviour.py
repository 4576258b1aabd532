"""Accuracies of hand-built networks by length, with their references."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hand_built import HandBuilt, Mixer, load_task, never, results_of, subject_of, written_at_block

KINDS = ("token_accuracy", "last_accuracy", "sequence_accuracy")


class Forgetful(HandBuilt):
    """Answers right up to a position, and with the wrong bit behind it."""

    last = 12

    def forward(self, tokens_BT):
        logits_BTC = super().forward(tokens_BT)
        late = torch.arange(tokens_BT.shape[1]) > self.last
        logits_BTC[:, late] = logits_BTC[:, late] * -1.0
        return logits_BTC


def test_a_perfect_network_at_every_length() -> None:
    subject = subject_of(written_at_block(1, 2), load_task("parity"))
    found = results_of(subject, "behaviour", n=200, n_longer=50)
    assert list(found) == [f"{kind}/{factor}" for factor in ("1x", "2x", "4x") for kind in KINDS]
    for key, result in found.items():
        n = 200 if key.endswith("1x") else 50
        assert (result.value, result.n_expected, result.n_scored) == (1.0, n, n)
        assert result.uncertainty.method == "wilson"
        assert result.uncertainty.low == pytest.approx(n / (n + 1.96**2), abs=1e-4)
        assert result.config["length"] == 16 * int(key[-2])
    references = found["token_accuracy/1x"].references
    assert references["chance"] == 0.5
    assert references["floor"] == pytest.approx(0.5, abs=0.01)
    assert found["sequence_accuracy/2x"].references == {"chance": pytest.approx(0.5**32)}


def test_accuracy_by_position_and_its_mean() -> None:
    mixers = [block.mixer for block in written_at_block(1, 2).stack]
    found = results_of(subject_of(Forgetful(mixers), load_task("parity")), "behaviour", n=100)
    token = found["token_accuracy/1x"]
    assert token.profile.index["position"] == list(range(1, 17))
    assert token.profile.value == [1.0] * 12 + [0.0] * 4
    assert np.array(token.profile.low)[0] == pytest.approx(100 / (100 + 1.96**2), abs=1e-4)
    assert token.value == 0.75
    assert found["last_accuracy/1x"].value == found["sequence_accuracy/1x"].value == 0.0


def test_guessing_is_at_the_floor_and_its_interval_covers_it() -> None:
    found = results_of(subject_of(HandBuilt([Mixer(never)]), load_task("parity")), "behaviour")
    token = found["token_accuracy/1x"]
    assert token.uncertainty.method == "bootstrap"
    assert token.uncertainty.low < 0.5 < token.uncertainty.high + 0.05
    assert found["sequence_accuracy/1x"].value < 0.01


def test_lengths_beyond_the_context_are_null_with_the_reason() -> None:
    model = written_at_block(1, 2)
    model.context_limit = 33
    found = results_of(subject_of(model, load_task("parity")), "behaviour", n=10, n_longer=10)
    assert found["token_accuracy/2x"].value == 1.0
    for kind in KINDS:
        result = found[f"{kind}/4x"]
        assert result.value is None
        assert result.reason == "the model takes at most 33 positions and this length needs 65"


def test_the_limit_cuts_the_examples() -> None:
    subject = subject_of(written_at_block(1, 2), load_task("parity"), limit=7)
    result = results_of(subject, "behaviour")["token_accuracy/1x"]
    assert (result.n_expected, result.n_scored) == (7, 7)
