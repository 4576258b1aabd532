"""Costs of erasing beyond the null, refit recovery and layers on arrays; moments of all cells."""

from __future__ import annotations

import numpy as np
import pytest
from hand_built import load_task, spread_over_blocks, subject_of

from mecheval.interventions import trace
from mecheval.metrics.bottleneck.cost import AtLayer, Costs, HeldOut, Layers, refit_recovery
from mecheval.metrics.bottleneck.erasers import Covariance, Fit, Probing, class_mean
from mecheval.metrics.bottleneck.information import NOT_ASKED
from mecheval.metrics.bottleneck.moments import CHUNK, Moments, exchanges
from mecheval.metrics.bottleneck.refit import refit
from mecheval.metrics.probe.probe_data import Examples, ProbeData
from mecheval.metrics.probe.probes import Split
from mecheval.models.sites import stream_sites
from mecheval.tasks.floors import first_position

N, T, DRAWS = 40, 30, 20
ONCE = np.ones((1, N))


def answers(share: float, target_BT: np.ndarray, seed: int) -> np.ndarray:
    """Return answers that are guesses in a share of the cells."""
    rng = np.random.default_rng(seed)
    guess_BT = rng.integers(0, 2, target_BT.shape)
    return np.where(rng.random(target_BT.shape) < share, guess_BT, target_BT)


def costs(*guessed: float, null: float = 0.0) -> Costs:
    """Return costs of layers at which shares of the answers are guesses, and of a null."""
    target_BT = np.random.default_rng(0).integers(0, 2, (N, T))
    null_JBT = np.stack([answers(null, target_BT, 100 + draw) for draw in range(DRAWS)])
    null_JBT[:, N // 2 :] = NOT_ASKED
    by_layer = [
        AtLayer.of(
            target_BT, target_BT, erased_BT=answers(share, target_BT, 50 + place), null_JBT=null_JBT
        )
        for place, share in enumerate(guessed)
    ]
    return Costs.of([None, *by_layer], N, np.random.default_rng(1))


def test_cost_beyond_the_null() -> None:
    found = costs(0.0, 1.0, 0.5, null=0.2)
    null = found.null_LJ[1]
    assert found.null_LJ.shape == (4, DRAWS)
    assert null.std() > 0
    assert found.cost(ONCE)[0] == pytest.approx([np.nan, 0, 1, 0.81], abs=0.05, nan_ok=True)
    assert null.mean() == pytest.approx(0.47, abs=0.05)  # the entropy of an error rate of 0.1
    assert found.beyond(ONCE)[0, 1:] == pytest.approx(found.cost(ONCE)[0, 1:] - null.mean())
    assert found.null_ends[1][1] == pytest.approx(np.quantile(null, 0.975))


def test_a_cost_within_the_null_has_an_interval_that_holds_0() -> None:
    for guessed, null, above in ((0.3, 0.0, True), (0.3, 0.3, False), (0.5, 0.3, True)):
        found = costs(guessed, null=null)
        low, high = np.quantile(found.resampled_RL[:, 1], [0.025, 0.975])
        assert (low > 0) == above
        assert (found.cost(ONCE)[0, 1] > found.null_ends[1][1]) == above
        assert low < found.beyond(ONCE)[0, 1] < high <= 1


def test_a_null_below_0_makes_no_cost_above_1() -> None:
    found = costs(1.0)
    lower = Costs(found.by_layer, found.weight_RB, found.draw_R, found.null_LJ - 0.1)
    assert lower.beyond(ONCE)[0, 1] == 1.0


def test_the_layer_is_chosen_on_the_other_half() -> None:
    found = costs(0.2, 0.9, 0.5)
    held_out = HeldOut.among(found, np.array([1, 2, 3]))
    assert held_out.layers.tolist() == [2]
    assert held_out.value(ONCE)[0] == found.beyond(ONCE)[0, 2]
    assert (held_out.resampled() == found.resampled_RL[:, 2]).all()


def test_halves_that_differ_are_averaged() -> None:
    found = costs(0.2, 0.9)
    held_out = HeldOut(found, np.array([1, 2]))
    odd = np.arange(N) % 2
    halves = [found.beyond(half[None].astype(float))[0] for half in (1 - odd, odd)]
    expected = (halves[0][1] + halves[1][2]) / 2
    assert held_out.value(ONCE)[0] == pytest.approx(expected)
    assert np.median(held_out.resampled()) == pytest.approx(expected, abs=0.02)


def test_refit_recovery_is_relative_to_what_there_was() -> None:
    found = refit_recovery(np.array([0.5, 0.6, 1.0, 0.5]), np.array([1.0, 0.75, 1.0, 0.5]), 0.5)
    assert found[:3] == pytest.approx([0.0, 0.4, 1.0])
    assert np.isnan(found[3])


def test_which_layers_are_asked_about_and_which_count() -> None:
    readable, token, trivial, beyond, whole = np.array(
        [
            [1, 1, 1, 0, 1, 1],
            [1, 0, 0, 0, 0, 0],
            [0, 0, 0, 0, 0, 1],
            [1, 1, 0, 1, 1, 1],
            [0, 0, 0, 0, 1, 0],
        ],
        bool,
    )
    layers = Layers(readable, token, trivial, beyond, whole)
    assert layers.askable_L.tolist() == [False, True, True, False, True, False]
    assert layers.asked_L.tolist() == [False, True, True, False, False, False]
    assert layers.counts_L.tolist() == [False, True, False, False, False, False]


def test_moments_in_chunks_equal_those_of_all_cells() -> None:
    subject = subject_of(spread_over_blocks(2), load_task("parity"))
    batch = subject.examples("train", CHUNK + 44, purpose="eraser")
    moments = Moments(subject, batch, 3)
    first = first_position(subject.length)
    assert (moments.source_JB[0] == np.arange(len(batch))).all()
    for layer, site in enumerate(stream_sites(subject.model.n_layers)[1:], start=1):
        streams = trace(subject.model, batch.tokens_BT, [site])[site][:, first:]
        cells = streams.reshape(-1, streams.shape[-1]).astype(np.float64)
        for source_B, fit in zip(
            moments.source_JB, moments.fits(layer, "parity", (0, 1)), strict=True
        ):
            values = batch.variables["parity"][source_B][:, first:].ravel()
            covariance = np.cov(cells.T, bias=True)
            np.testing.assert_allclose(fit.covariance.matrix_DD, covariance, atol=1e-6)
            np.testing.assert_allclose(fit.mean_D, cells.mean(0), atol=1e-6)
            means = [cells[values == value].mean(0) for value in (0, 1)]
            np.testing.assert_allclose(fit.class_means_SD, means, atol=1e-6)
            assert fit.count_S.tolist() == np.bincount(values).tolist()
            assert len(fit.all_rows.labels_N) == len(batch)
            # A row and its label belong together: the state can be read off the last layer.
            state = fit.all_rows.features_ND[:, 8:10].argmax(1)
            own = (source_B == np.arange(len(batch))).all()
            if layer == 2:
                assert (state == fit.all_rows.labels_N).mean() == pytest.approx(
                    1.0 if own else 0.5, abs=0 if own else 0.1
                )


def test_labels_are_exchanged_between_whole_sequences() -> None:
    source_JB = exchanges(30, 5, np.random.default_rng(0))
    assert source_JB.shape == (6, 30)
    assert (np.sort(source_JB, axis=1) == np.arange(30)).all()
    assert len({tuple(row) for row in source_JB.tolist()}) == 6


def examples(n: int, rng: np.random.Generator, code: np.ndarray, noise: float = 0.0) -> Examples:
    values = rng.integers(0, 2, n)
    features = code[values] + noise * rng.standard_normal((n, code.shape[1]))
    return Examples(features[None].astype(np.float32), values, values[:, None], np.zeros(n, int))


def data_of(noise: float) -> tuple[ProbeData, np.ndarray]:
    rng = np.random.default_rng(0)
    code = rng.standard_normal((2, 16))
    sizes = {"train": 500, "validation": 200, "test": 200}
    splits = {name: examples(n, rng, code, noise) for name, n in sizes.items()}
    return ProbeData(splits, (0, 1)), code


def eraser_of(means_SD: np.ndarray):
    nothing = Split(np.zeros((0, 16)), np.zeros(0, int))
    fit = Fit(means_SD, np.ones(2), Covariance(np.eye(16)), nothing, nothing)
    return class_mean(fit, Probing([1.0]))


def test_a_refit_does_not_read_rounding_errors() -> None:
    """With nothing but the variable in the stream, erasure leaves constants up to rounding."""
    data, _ = data_of(noise=0.0)
    rows = data.layer("train", 0)
    means = np.stack([rows.features_ND[rows.labels_N == value].mean(0) for value in (0, 1)])
    found = refit(data, 0, eraser_of(means), [0.03, 1.0, 30.0])
    assert found.accuracy == 0.5
    assert not found.finds
    assert found.log_loss == pytest.approx(0.0, abs=1e-6)


def test_a_refit_reads_what_an_eraser_of_something_else_leaves() -> None:
    data, code = data_of(noise=0.3)
    found = refit(data, 0, eraser_of(np.eye(16)[:2]), [0.03, 1.0, 30.0])
    assert found.finds
    assert found.accuracy > 0.9
    assert 0.5 < found.log_loss <= 1.0
    erased = refit(data, 0, eraser_of(code), [0.03, 1.0, 30.0])
    assert not erased.finds
    assert erased.accuracy == pytest.approx(0.5, abs=0.1)
    assert erased.log_loss < 0.02
