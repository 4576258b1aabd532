"""The grid equals one full forward pass per cell, on every architecture of our own."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import mecheval
from mecheval.errors import UsageError
from mecheval.interventions import answer_logits, recovery_grid, trace
from mecheval.models.sites import Site

NAMES = ["transformer", "mamba", "mamba2", "lstm", "gru"]
COMPONENTS = ("block_in", "mixer_out", "mlp_out", "block_out")


def small(name: str) -> mecheval.SequenceModel:
    return mecheval.load_model(f"{name}[layers=2,width=32]", vocab_size=7).double()


@pytest.fixture
def pairs() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    clean = rng.integers(0, 7, (5, 9))
    corrupted = clean.copy()
    changed = np.array([0, 2, 3, 5, 8])
    corrupted[np.arange(5), changed] = (clean[np.arange(5), changed] + 1) % 7
    return {
        "clean_BT": clean,
        "corrupted_BT": corrupted,
        "answers_B": rng.integers(0, 3, 5),
        "foils_B": rng.integers(3, 7, 5),
        "readout_B": np.array([8, 8, 6, 7, 8]),
    }


def by_hand(model, pairs, component: str, layer: int, position: int) -> np.ndarray:
    """One plain forward per pair, with a hook on the real module."""
    tap = model.taps()[Site(layer, component)]
    values = []
    for p in range(len(pairs["clean_BT"])):
        clean, corrupted = (
            torch.as_tensor(pairs[name][p : p + 1]) for name in ("clean_BT", "corrupted_BT")
        )
        seen = {}

        def first(args):
            return args[0]

        def record(module, args, output=None, seen=seen):
            seen["value"] = (first(args) if tap.side == "input" else output).clone()

        def patch(module, args, output=None, seen=seen):
            value = (first(args) if tap.side == "input" else output).clone()
            value[:, position] = seen["value"][:, position]
            return (value, *args[1:]) if tap.side == "input" else value

        for tokens, hook in ((clean, record), (corrupted, patch)):
            register = (
                tap.module.register_forward_pre_hook
                if tap.side == "input"
                else tap.module.register_forward_hook
            )
            handle = register(hook)
            with torch.inference_mode():
                logits = model(tokens)[0, pairs["readout_B"][p]]
            handle.remove()
        values.append(float(logits[pairs["answers_B"][p]] - logits[pairs["foils_B"][p]]))
    return np.array(values)


@pytest.mark.parametrize("name", NAMES)
def test_every_cell_equals_a_plain_forward(name: str, pairs: dict[str, np.ndarray]) -> None:
    model = small(name)
    components = tuple(c for c in COMPONENTS if any(site.component == c for site in model.taps()))
    grid = recovery_grid(model, **pairs, components=components, batch_size=7)
    assert grid.patched.shape == (len(components), 2, 9, 5)
    for k, component in enumerate(components):
        for layer in range(2):
            for position in range(9):
                expected = by_hand(model, pairs, component, layer, position)
                np.testing.assert_allclose(
                    grid.patched[k, layer, position], expected, rtol=1e-9, atol=1e-12
                )


@pytest.mark.parametrize("name", NAMES)
def test_identities_of_a_causal_model(name: str, pairs: dict[str, np.ndarray]) -> None:
    model = small(name)
    grid = recovery_grid(model, **pairs, components=("block_in", "block_out"))
    row = np.arange(5)
    changed = (pairs["clean_BT"] != pairs["corrupted_BT"]).argmax(1)
    reaches = changed <= pairs["readout_B"]
    full = grid.component("block_in")[0, changed, row]
    np.testing.assert_allclose(full[reaches], grid.clean[reaches], rtol=1e-9)
    last = grid.component("block_out")[-1]
    np.testing.assert_allclose(last[pairs["readout_B"], row], grid.clean, rtol=1e-9)
    for p in range(5):
        np.testing.assert_array_equal(last[: pairs["readout_B"][p], p], grid.corrupted[p])


def test_a_component_that_does_not_exist_is_nan(pairs: dict[str, np.ndarray]) -> None:
    grid = recovery_grid(small("lstm"), **pairs, components=("mlp_out",))
    assert np.isnan(grid.patched).all()


def test_log_prob_reads_the_answer_alone(pairs: dict[str, np.ndarray]) -> None:
    model = small("gru")
    grid = recovery_grid(model, **pairs, readout="log_prob")
    logits = answer_logits(model, pairs["clean_BT"], range(7))[np.arange(5), pairs["readout_B"]]
    log_prob = torch.as_tensor(logits).double().log_softmax(-1).numpy()
    np.testing.assert_allclose(grid.clean, log_prob[np.arange(5), pairs["answers_B"]], rtol=1e-5)


def test_axes_name_what_was_asked_for(pairs: dict[str, np.ndarray]) -> None:
    grid = recovery_grid(small("gru"), **pairs, layers=[1], positions=[3, 5])
    assert grid.axes == {
        "component": ("block_in",),
        "layer": (1,),
        "position": (3, 5),
        "pair": (0, 1, 2, 3, 4),
    }
    whole = recovery_grid(small("gru"), **pairs)
    np.testing.assert_allclose(grid.patched[0, 0], whole.patched[0, 1, [3, 5]], rtol=1e-9)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"components": ("block",)}, "Unknown component 'block'"),
        ({"layers": [2]}, "layers 0 to 1"),
        ({"positions": [9]}, "last readout 8"),
        ({"answers_B": np.zeros(4, int)}, "of shape \\(B,\\)"),
        ({"readout_B": np.full(5, 9)}, "readouts from 0 to 8"),
    ],
)
def test_what_does_not_exist_is_refused(pairs, change, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        recovery_grid(small("gru"), **{**pairs, **change})


def test_edits_reach_the_answer_and_traces_see_them(pairs: dict[str, np.ndarray]) -> None:
    model = small("mamba")
    tokens_BT = pairs["clean_BT"]
    site = Site(1, "block_in")
    stream_BTD = trace(model, tokens_BT, [site], batch_size=2)[site]
    assert stream_BTD.shape == (5, 9, 32)
    assert stream_BTD.dtype == np.float64
    at_B = trace(model, tokens_BT, [site], positions_B=pairs["readout_B"])[site]
    np.testing.assert_allclose(at_B, stream_BTD[np.arange(5), pairs["readout_B"]], rtol=1e-12)
    plain = answer_logits(model, tokens_BT, [1, 4])
    edited = answer_logits(model, tokens_BT, [1, 4], edits={site: lambda x_BTD: 0 * x_BTD})
    assert plain.shape == (5, 9, 2)
    assert np.abs(plain - edited).max() > 1e-3
    again = answer_logits(model, tokens_BT, [1, 4])
    np.testing.assert_array_equal(plain, again)


def rows_of(n_pairs: int, *, vocabulary: int = 7, **how) -> int:
    """Return the most rows in a pass of a grid on pairs of six tokens."""
    model = mecheval.load_model("transformer[layers=2,width=16]", vocab_size=vocabulary)
    tokens_BT = np.random.default_rng(0).integers(0, 7, (n_pairs, 6))
    other_BT = (tokens_BT + np.eye(1, 6, 1, dtype=int)) % 7
    ends = (np.zeros(n_pairs, int), np.ones(n_pairs, int), np.full(n_pairs, 5))
    return recovery_grid(model, other_BT, tokens_BT, *ends, **how).execution.rows


@pytest.mark.parametrize("engine", ["tails", "hooks"])
def test_the_budget_bounds_the_rows_of_a_pass_whatever_the_number_of_pairs(engine) -> None:
    few, many = (rows_of(n_pairs, engine=engine, memory=2**15) for n_pairs in (4, 32))
    assert few == many > 1


@pytest.mark.parametrize("engine", ["tails", "hooks"])
def test_the_logits_of_a_large_vocabulary_count(engine) -> None:
    """Where they are all needed: a row of 5000 takes 4 bytes of each as it is, and 16 as logs."""
    how = {"engine": engine, "readout": "log_prob", "memory": 10**6}
    assert 1 < rows_of(40, vocabulary=5000, **how) <= 10**6 // (20 * 5000)
    assert rows_of(40, **how) > 10**6 // (20 * 5000)
