"""Probes with a hidden layer, on features whose information is known."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from sklearn.neural_network import MLPClassifier
from torch.nn import functional

from mecheval.metrics.probe import mlp
from mecheval.metrics.probe.mlp import fit_mlp, fit_mlps
from mecheval.metrics.probe.probes import Split, fit_logistic, log_loss_gain, score_balanced

if TYPE_CHECKING:
    from mecheval.metrics.probe.mlp import MlpProbe
    from mecheval.metrics.probe.probes import LogisticProbe

GRID = (0.001, 0.03, 1.0, 30.0)
WIDTH = 32


def parity(n: int, rng: np.random.Generator, *, bits: int = 2) -> Split:
    """Bits as rotated features among noise, and whether an odd number of them is set."""
    rotation = np.linalg.qr(np.random.default_rng(1).standard_normal((WIDTH, WIDTH)))[0]
    set_NB = rng.integers(0, 2, (n, bits))
    features = 0.3 * rng.standard_normal((n, WIDTH))
    features[:, :bits] += 2 * set_NB - 1
    return Split((features @ rotation).astype(np.float32), set_NB.sum(1) % 2)


def code(n: int, rng: np.random.Generator, *, strength: float, n_classes: int = 4) -> Split:
    """Class means in noise of which a few directions hold most, as those of activations do."""
    fixed = np.random.default_rng(2)
    mixing = fixed.standard_normal((WIDTH, WIDTH)) / np.arange(1, WIDTH + 1)
    means = fixed.standard_normal((n_classes, WIDTH))
    labels = rng.choice(n_classes, n, p=np.arange(1, n_classes + 1) / 10)
    features = rng.standard_normal((n, WIDTH)) @ mixing.T + strength * means[labels]
    return Split(features.astype(np.float32), labels)


def accuracy(probe: MlpProbe | LogisticProbe | MLPClassifier, test: Split) -> float:
    return score_balanced(probe.predict(test.features_ND) == test.labels_N, test.labels_N)


def test_what_only_a_nonlinear_reader_finds() -> None:
    rng = np.random.default_rng(0)
    train, validation, test = (parity(n, rng) for n in (1500, 500, 1000))
    probe = fit_mlp(train, validation, np.random.default_rng(0))
    other = MLPClassifier((64,), max_iter=300, alpha=1.0, random_state=0)
    other.fit(train.features_ND, train.labels_N)
    assert accuracy(probe, test) > 0.97
    assert accuracy(probe, test) == pytest.approx(accuracy(other, test), abs=0.02)
    assert accuracy(fit_logistic(train, validation, GRID), test) == pytest.approx(0.5, abs=0.05)
    assert log_loss_gain(probe.logits(test.features_ND), test.labels_N) > 0.9 * np.log(2)


def test_parity_of_four_bits() -> None:
    rng = np.random.default_rng(0)
    train, validation, test = (parity(n, rng, bits=4) for n in (5000, 1000, 1000))
    assert accuracy(fit_mlp(train, validation, np.random.default_rng(0)), test) > 0.9


@pytest.mark.parametrize("strength", [0.03, 0.06, 0.3])
def test_what_is_linear_is_read_as_well_as_by_a_linear_probe(strength: float) -> None:
    rng = np.random.default_rng(0)
    train, validation, test = (code(n, rng, strength=strength) for n in (2000, 500, 2000))
    linear = accuracy(fit_logistic(train, validation, GRID), test)
    assert accuracy(fit_mlp(train, validation, np.random.default_rng(0)), test) > linear - 0.03
    assert linear > 0.3


def test_noise_is_not_read() -> None:
    found = []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        train, validation, test = (code(n, rng, strength=0.0) for n in (600, 300, 1000))
        found.append(accuracy(fit_mlp(train, validation, rng), test))
    assert np.mean(found) == pytest.approx(0.25, abs=0.02)
    assert found.count(0.25) >= 4  # a constant probe has the accuracy of chance exactly


def test_networks_that_are_trained_together_are_those_trained_alone() -> None:
    rng = np.random.default_rng(0)
    kinds = (
        lambda n: parity(n, rng),
        lambda n: code(n, rng, strength=0.3, n_classes=4)._replace(labels_N=np.arange(n) % 2),
        lambda n: parity(n, rng, bits=1),
    )
    trains, validations = [[kind(n) for kind in kinds] for n in (400, 200)]
    together = fit_mlps(trains, validations, np.random.default_rng(5))
    for train, validation, probe in zip(trains, validations, together, strict=True):
        alone = fit_mlp(train, validation, np.random.default_rng(5))
        assert probe.epochs == alone.epochs
        found, expected = (one.logits(validation.features_ND) for one in (probe, alone))
        np.testing.assert_allclose(found, expected, atol=1e-4)
    other = fit_mlp(trains[0], validations[0], np.random.default_rng(6))
    assert not np.allclose(other.inner_EH, together[0].inner_EH)


def test_more_networks_than_are_held_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    trains, validations = [[parity(n, rng) for _ in range(3)] for n in (300, 150)]
    together = fit_mlps(trains, validations, np.random.default_rng(0))
    monkeypatch.setattr(mlp, "_TOGETHER", 2)
    apart = fit_mlps(trains, validations, np.random.default_rng(0))
    for one, other in zip(together, apart, strict=True):
        np.testing.assert_allclose(one.inner_EH, other.inner_EH, atol=1e-4)


def test_gradients_are_those_of_autograd() -> None:
    rng = np.random.default_rng(0)
    shapes = {"inner": (2, 5, 7), "outer": (2, 8, 3), "rows": (2, 6, 5)}
    inner, outer, rows = (rng.standard_normal(shape) for shape in shapes.values())
    labels, weight = rng.integers(0, 3, (2, 6)), rng.random((2, 6))
    inner_, outer_ = (torch.tensor(array, requires_grad=True) for array in (inner, outer))
    hidden = torch.relu(torch.as_tensor(rows) @ inner_)
    logits = hidden @ outer_[:, :-1] + outer_[:, -1:]
    losses = functional.cross_entropy(
        logits.flatten(0, 1), torch.as_tensor(labels).flatten(), reduction="none"
    )
    (losses * torch.as_tensor(weight).flatten()).sum().div(6).backward()
    found = mlp._gradients(inner, outer, rows, np.eye(3)[labels], weight)
    for gradient, expected in zip(found, (inner_.grad, outer_.grad), strict=True):
        assert expected is not None
        np.testing.assert_allclose(gradient, expected.numpy(), atol=1e-10)


def test_features_that_are_constant_or_copies_cost_nothing() -> None:
    rng = np.random.default_rng(0)

    def widened(split: Split) -> Split:
        extra = np.concatenate([split.features_ND, np.full((len(split.labels_N), 3), 7.5)], 1)
        return Split(extra.astype(np.float32), split.labels_N)

    train, validation, test = (widened(parity(n, rng)) for n in (1500, 500, 500))
    assert accuracy(fit_mlp(train, validation, rng), test) > 0.95
    erased = fit_mlp(train, validation, rng, scale=1e9)  # what is left varies by rounding only
    assert erased.epochs == 0
    assert accuracy(erased, test) == 0.5
