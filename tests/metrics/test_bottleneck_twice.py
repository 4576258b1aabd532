"""The bottleneck computed a second time: hooks on blocks, LEACE by its formula, scikit-learn."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from hand_built import results_of
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score, log_loss, mutual_info_score

from mecheval.harness import selftest
from mecheval.metrics.bottleneck.information import NOT_ASKED
from mecheval.metrics.probe.probe_data import probe_data
from mecheval.tasks.floors import first_position

if TYPE_CHECKING:
    from mecheval.metrics import Subject
    from mecheval.reports.schema import MetricResult
    from mecheval.tasks import Batch

SIZES = {"n_train": 600, "n_validation": 300, "n_test": 400, "n_fit": 300, "n_erase": 64}
GRID = [0.001, 0.03, 1.0, 30.0]
INNER = (1, 2)


@cache
def subject() -> Subject:
    task = "dyck[longer=[],max_length=16,min_length=16]"
    return selftest.subject_of("planted/transformer-dyck", task)


@cache
def result() -> MetricResult:
    params = {**SIZES, "n_per_null": 8, "variables": ["depth"], "mlp": False}
    return results_of(subject(), "bottleneck", **params)["bottleneck/depth"]


def streams(batch: Batch, layer: int) -> np.ndarray:
    """Return what enters block ``layer``."""
    kept = []
    handle = (
        subject()
        .model.blocks[layer]
        .register_forward_pre_hook(lambda module, args: kept.append(args[0].detach()))
    )
    with torch.no_grad():
        subject().model(torch.as_tensor(batch.tokens_BT))
    handle.remove()
    return kept[0].double().numpy()


def answered(batch: Batch, layer: int, matrix_DD: np.ndarray, mean_D: np.ndarray) -> np.ndarray:
    """Return the likeliest answers where (stream - mean) is multiplied by a matrix."""
    mean, matrix = (torch.as_tensor(x, dtype=torch.float32) for x in (mean_D, matrix_DD))

    def erased(module, args):
        return (args[0] - (args[0] - mean) @ matrix.T, *args[1:])

    handle = subject().model.blocks[layer].register_forward_pre_hook(erased)
    with torch.no_grad():
        logits = subject().model(torch.as_tensor(batch.tokens_BT))
    handle.remove()
    return logits[..., subject().answers_A].argmax(-1).numpy()


@cache
def leace(layer: int) -> tuple[np.ndarray, np.ndarray]:
    """Return A and mean of x' = x - A (x - mean): A = W^+ P W, from Sigma_xz."""
    batch = subject().examples("train", SIZES["n_fit"], purpose="eraser")
    first = first_position(subject().length)
    cells = streams(batch, layer)[:, first:].reshape(-1, subject().model.d_model)
    onehot = np.eye(5)[batch.variables["depth"][:, first:].ravel()]
    mean_D = cells.mean(0)
    sigma_xz = (cells - mean_D).T @ (onehot - onehot.mean(0)) / len(cells)
    variance, axes = np.linalg.eigh(np.cov(cells.T, bias=True))
    kept = variance > 1e-6 * variance.max()
    whiten = (axes[:, kept] / np.sqrt(variance[kept])) @ axes[:, kept].T
    colour = (axes[:, kept] * np.sqrt(variance[kept])) @ axes[:, kept].T
    found, size, _ = np.linalg.svd(whiten @ sigma_xz, full_matrices=False)
    span = found[:, size > 1e-8 * size.max()]
    return colour @ span @ span.T @ whiten, mean_D


def told(target: np.ndarray, answer: np.ndarray) -> float:
    """Return I / H by scikit-learn, corrected for the number of values that occur."""
    n, pairs = len(target), len(set(zip(target.tolist(), answer.tolist(), strict=True)))
    values, given = len(set(target.tolist())), len(set(answer.tolist()))
    entropy = mutual_info_score(target, target) + (values - 1) / (2 * n)
    information = mutual_info_score(target, answer) + (values + given - pairs - 1) / (2 * n)
    return max(information / entropy, 0.0)


@pytest.mark.parametrize("layer", INNER)
def test_answers_under_erasure(layer: int) -> None:
    batch = subject().test(subject().length, SIZES["n_erase"])
    given_BT = answered(batch, layer, *leace(layer))
    target_BT = (batch.targets_BT[..., None] == subject().answers_A).argmax(-1)
    checked_BT = (batch.targets_BT >= 0) & (
        np.arange(batch.n_positions) >= first_position(subject().length)
    )
    series = result().profile.series
    accuracy = (given_BT == target_BT)[checked_BT].mean()
    assert series["accuracy"][layer] == pytest.approx(accuracy, abs=0.02)
    information = told(target_BT[checked_BT], given_BT[checked_BT])
    assert series["information"][layer] == pytest.approx(information, abs=0.02)
    assert (batch.targets_BT == NOT_ASKED).sum() == 0


@pytest.mark.parametrize("layer", INNER)
def test_what_a_refitted_probe_reads(layer: int) -> None:
    sizes = {name: SIZES[name] for name in ("n_train", "n_validation", "n_test")}
    data = probe_data(subject(), "depth", sizes)
    matrix_DD, mean_D = leace(layer)
    train, validation, test = (
        data.layer(split, layer) for split in ("train", "validation", "test")
    )

    def erased(split) -> np.ndarray:
        return split.features_ND - (split.features_ND - mean_D) @ matrix_DD.T

    scale = erased(train).std(0)
    scale[scale < 1e-5 * scale.max()] = np.inf
    best, least = None, np.inf
    for inverse_l2 in GRID:
        probe = LogisticRegression(C=inverse_l2, class_weight="balanced", max_iter=2000)
        probe.fit((erased(train) - mean_D) / scale, train.labels_N)
        shares = probe.predict_proba((erased(validation) - mean_D) / scale)
        size_S = np.bincount(validation.labels_N)
        loss = log_loss(validation.labels_N, shares, sample_weight=1 / size_S[validation.labels_N])
        if loss < least:
            best, least = probe, loss
    accuracy = balanced_accuracy_score(test.labels_N, best.predict((erased(test) - mean_D) / scale))
    assert result().profile.series["refit"][layer] == pytest.approx(accuracy, abs=0.08)
    assert result().profile.series["refit_log_loss"][layer] < 0.02
    assert result().profile.marks["removed_linearly"][layer]
