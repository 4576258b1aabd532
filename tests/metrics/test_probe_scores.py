"""Probes and their controls at all layers at once."""

from __future__ import annotations

import numpy as np
import pytest
from hand_built import load_task, spread_over_blocks, subject_of

from mecheval.metrics.probe import probe_scores as module
from mecheval.metrics.probe import probes
from mecheval.metrics.probe.controls import LabelSets
from mecheval.metrics.probe.design import design
from mecheval.metrics.probe.probe_data import Examples, ProbeData
from mecheval.metrics.probe.probe_scores import (
    mlp_accuracy,
    probe_scores,
    score_controls,
    score_layers,
)
from mecheval.metrics.probe.probes import score_balanced

GRID = [0.03, 1.0]
PARAMS = {"n_train": 200, "n_validation": 60, "n_test": 80, "inverse_l2": GRID}


def three_layers(n_classes: int = 3) -> ProbeData:
    """Return data in which the classes come apart from layer to layer."""
    rng = np.random.default_rng(0)
    means_SD = rng.standard_normal((n_classes, 10))
    splits = {}
    for split, n in (("train", 400), ("validation", 150), ("test", 300)):
        values_N = rng.integers(0, n_classes, n)
        noise_LND = rng.standard_normal((3, n, 10))
        streams_LND = noise_LND + np.array([0.0, 0.5, 3.0])[:, None, None] * means_SD[values_N]
        words_NT, position_N = rng.integers(0, 4, (n, 12)), rng.integers(4, 12, n)
        splits[split] = Examples(streams_LND.astype(np.float32), values_N, words_NT, position_N)
    return ProbeData(splits, tuple(range(n_classes)))


def test_controls_stay_at_chance_and_true_labels_do_not() -> None:
    data = three_layers()
    sets = LabelSets.draw(data, 20, np.random.default_rng(0))
    scores = score_layers(data, GRID, sets)
    assert scores.controls is not None
    assert scores.n_controls == 20
    assert scores.accuracy_L[[0, 2]] == pytest.approx([1 / 3, 1.0], abs=0.02)
    assert scores.controls.ridge_L[2] > 0.98
    assert np.abs(scores.controls.shuffled_LJ.mean(1) - 1 / 3).max() < 0.05
    # Words are no part of these features.
    assert scores.controls.control_LJ.shape == (3, 20)
    assert scores.controls.chance_J == pytest.approx(np.full(20, 1 / 3))
    assert np.abs(scores.controls.control_L - 1 / 3).max() < 0.03
    assert scores.controls.selectivity_L(1 / 3)[[0, 2]] == pytest.approx([0, 1], abs=0.06)


def test_accuracy_of_a_label_set_is_balanced() -> None:
    data = three_layers()
    sets = LabelSets.draw(data, 5, np.random.default_rng(0))
    of_train = design(data.layer("train", 1).features_ND)
    test_MD = data.layer("test", 1).features_ND
    test_ME = of_train.scaler.with_ones(test_MD)
    predicted_JM = probes.ridge_predictions(of_train, sets.targets, test_ME)
    expected = [
        score_balanced(predicted_M == labels_M, labels_M)
        for predicted_M, labels_M in zip(predicted_JM, sets.labels_JM, strict=True)
    ]
    assert sets.accuracy_J(of_train, test_MD) == pytest.approx(expected)


def test_controls_alone_are_those_of_the_common_pass() -> None:
    data = three_layers()
    sets = LabelSets.draw(data, 4, np.random.default_rng(0))
    together, alone = score_layers(data, GRID, sets).controls, score_controls(data, sets)
    assert together is not None
    np.testing.assert_array_equal(together.ridge_L, alone.ridge_L)
    np.testing.assert_array_equal(together.control_LJ, alone.control_LJ)
    np.testing.assert_array_equal(together.shuffled_LJ, alone.shuffled_LJ)


def test_probes_with_a_hidden_layer_read_what_linear_ones_do() -> None:
    data = three_layers()
    found = mlp_accuracy(data, np.random.default_rng(0))
    assert found[[0, 2]] == pytest.approx([1 / 3, 1.0], abs=0.06)
    assert found[1] == pytest.approx(score_layers(data, GRID).accuracy_L[1], abs=0.06)


def test_controls_join_scores_that_are_there_already(monkeypatch: pytest.MonkeyPatch) -> None:
    subject = subject_of(spread_over_blocks(2), load_task("parity"))
    _, without = probe_scores(subject, "parity", PARAMS)
    assert without is not None
    assert without.controls is None
    monkeypatch.setattr(module.probes, "fit_logistic", None)  # nothing is fitted a second time
    _, joined = probe_scores(subject, "parity", PARAMS, n_controls=3)
    assert joined is not None
    assert joined.n_controls == 3
    np.testing.assert_array_equal(joined.correct_ML, without.correct_ML)
    assert probe_scores(subject, "parity", PARAMS, n_controls=3)[1] is joined
    assert probe_scores(subject, "parity", PARAMS)[1] is joined
    _, fewer = probe_scores(subject, "parity", PARAMS, n_controls=2)
    assert fewer is not None
    assert fewer.n_controls == 2
