"""Costs of erasing, refit recovery and validity on arrays; moments against all cells at once."""

from __future__ import annotations

import numpy as np
import pytest
from hand_built import load_task, spread_over_blocks, subject_of

from mecheval.interventions import trace
from mecheval.metrics.bottleneck.cost import Answers, Validity, cost, refit_recovery
from mecheval.metrics.bottleneck.erasers import Covariance, Fit, class_mean
from mecheval.metrics.bottleneck.erasure_sweep import refit_accuracy
from mecheval.metrics.bottleneck.moments import CHUNK, Moments
from mecheval.metrics.probe.probe_data import Examples, ProbeData
from mecheval.metrics.probe.probes import Split
from mecheval.models.sites import stream_sites
from mecheval.tasks.floors import first_position


def hand_made() -> Answers:
    """Return answers of four sequences: right to 0.95, erased at two layers."""
    return Answers(
        np.array([1.0, 1.0, 0.8, 1.0]),
        np.array([[0.5, 0.5, 0.5, 0.5], [1.0, 1.0, 0.8, 1.0]]),
        np.array([[1.0, 0.9, np.nan, np.nan], [1.0, 1.0, 0.8, 1.0]]),
    )


def test_cost_by_hand() -> None:
    """The same loss of 0.4 is all that there is above 0.55, and eight ninths above 0.5."""
    answers, once = hand_made(), np.ones((1, 4))
    assert answers.lost(once)[0] == pytest.approx([0.45 - 0.05, 0.0])
    assert cost(answers, once, 0.5)[0] == pytest.approx([0.4 / 0.45, 0.0])
    assert cost(answers, once, 0.55)[0] == pytest.approx([1.0, 0.0])
    assert cost(answers, np.array([[0.0, 4.0, 0.0, 0.0]]), 0.5)[0, 0] == pytest.approx(0.8)
    assert np.isnan(cost(answers, once, 0.96)).all()


def test_one_layer_for_every_sequence() -> None:
    answers, once = hand_made(), np.ones((1, 4))
    same = answers.at(np.zeros(4, int))
    assert cost(same, once, 0.5)[0] == pytest.approx(cost(answers, once, 0.5)[0, :1])
    assert same.lost_B().mean() == pytest.approx(0.4)
    mixed = answers.at(np.array([0, 1, 0, 1]))
    assert mixed.lost(once)[0] == pytest.approx([(0.5 + 0.3) / 4])  # nothing is lost at random
    assert mixed.lost_B().mean() == pytest.approx(0.2)


def test_refit_recovery_is_relative_to_what_there_was() -> None:
    found = refit_recovery(np.array([0.5, 0.6, 1.0, 0.5]), np.array([1.0, 0.75, 1.0, 0.5]), 0.5)
    assert found[:3] == pytest.approx([0.0, 0.4, 1.0])
    assert np.isnan(found[3])


@pytest.mark.parametrize(
    ("readable", "removed", "kept", "sentence"),
    [
        ([0, 0, 1], [1, 1, 1], [1, 1, 1], "readable at no layer"),
        ([0, 1, 1], [1, 0, 1], [1, 1, 1], "by 0.30 of what there was at layer 1"),
        ([0, 1, 1], [1, 1, 1], [1, 0, 1], "random subspaces"),
        ([0, 1, 1], [0, 1, 1], [0, 1, 1], None),
    ],
)
def test_objections(readable, removed, kept, sentence) -> None:
    flags = [np.array(flag, bool) for flag in (readable, removed, kept, [0, 0, 1])]
    found = Validity(*flags).objection(np.array([np.nan, 0.3, 0.0]))
    assert (found is None) if sentence is None else (sentence in found)


def test_moments_in_chunks_equal_those_of_all_cells() -> None:
    subject = subject_of(spread_over_blocks(2), load_task("parity"))
    batch = subject.examples("train", CHUNK + 44, purpose="eraser")
    moments = Moments(subject, batch)
    first = first_position(subject.length)
    values = batch.variables["parity"][:, first:].ravel()
    for layer, site in enumerate(stream_sites(subject.model.n_layers)):
        streams = trace(subject.model, batch.tokens_BT, [site])[site][:, first:]
        cells = streams.reshape(-1, streams.shape[-1]).astype(np.float64)
        fit = moments.fit(layer, "parity", (0, 1))
        np.testing.assert_allclose(fit.covariance.matrix_DD, np.cov(cells.T, bias=True), atol=1e-6)
        np.testing.assert_allclose(fit.mean_D, cells.mean(0), atol=1e-6)
        means = [cells[values == value].mean(0) for value in (0, 1)]
        np.testing.assert_allclose(fit.class_means_SD, means, atol=1e-6)
        assert fit.count_S.tolist() == np.bincount(values).tolist()
        assert len(fit.rows.labels_N) + len(fit.validation.labels_N) == len(batch)
        # A row and its label belong together: the state can be read off the last layer.
        if layer == 2:
            assert (fit.rows.features_ND[:, 8:10].argmax(1) == fit.rows.labels_N).all()


def test_a_refit_does_not_read_rounding_errors() -> None:
    """With nothing but the variable in the stream, erasure leaves constants up to rounding."""
    rng = np.random.default_rng(0)
    code = rng.standard_normal((2, 16))

    def examples(n: int) -> Examples:
        values = rng.integers(0, 2, n)
        return Examples(code[values][None].astype(np.float32), values, values)

    splits = {"train": examples(500), "validation": examples(200), "test": examples(200)}
    data = ProbeData(splits, (0, 1))
    rows = Split(splits["train"].streams_LND[0], splits["train"].values_N)
    means = np.stack([rows.features_ND[rows.labels_N == value].mean(0) for value in (0, 1)])
    eraser = class_mean(Fit(means, np.ones(2), Covariance(np.eye(16)), rows, rows), [1.0])
    assert refit_accuracy(data, 0, eraser, [0.03, 1.0, 30.0]) == 0.5
