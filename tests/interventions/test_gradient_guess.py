"""Attribution patching: exact on a linear model, and honest about itself on any other."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import mecheval
from mecheval.errors import UsageError
from mecheval.interventions import gradient_guess, recovery_grid


@pytest.fixture
def pairs() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    clean = rng.integers(0, 7, (5, 9))
    corrupted = clean.copy()
    corrupted[np.arange(5), [0, 2, 3, 5, 7]] = (corrupted[np.arange(5), [0, 2, 3, 5, 7]] + 1) % 7
    return {
        "clean_BT": clean,
        "corrupted_BT": corrupted,
        "answers_B": rng.integers(0, 3, 5),
        "foils_B": rng.integers(3, 7, 5),
        "readout_B": np.array([8, 8, 6, 7, 8]),
    }


def build(name: str) -> mecheval.SequenceModel:
    return mecheval.load_model(f"{name}[layers=2,width=32]", vocab_size=7).double()


@pytest.mark.parametrize("name", ["transformer", "mamba", "mamba2", "lstm", "gru"])
def test_a_small_enough_change_is_guessed_exactly(name, pairs) -> None:
    model = build(name)
    with torch.no_grad():
        spread = model.embedding.weight - model.embedding.weight.mean(0)
        model.embedding.weight.copy_(model.embedding.weight.mean(0) + 1e-5 * spread + 1)
        model.embedding.weight[:, 0] += 3  # keeps the norm from magnifying what is left
    components = tuple(dict.fromkeys(site.component for site in model.taps()))
    exact = recovery_grid(model, **pairs, components=components)
    guess = gradient_guess(model, **pairs, components=components)
    effect, guessed = exact.patched - exact.corrupted, guess.guessed - guess.corrupted
    assert np.abs(effect).max() > 1e-8  # far above what float64 rounds off
    np.testing.assert_allclose(guessed, effect, atol=2e-3 * np.abs(effect).max())
    assert guess.correlation > 0.9999
    assert "correlation with" in str(guess)
    assert "1.00" in str(guess)


def test_more_steps_come_closer(pairs) -> None:
    model = build("transformer")
    exact = recovery_grid(model, **pairs).patched
    errors = [
        np.abs(gradient_guess(model, **pairs, steps=steps, batch_size=2).guessed - exact).mean()
        for steps in (1, 8)
    ]
    assert errors[1] < errors[0]


def test_gradients_leave_no_trace_in_the_model(pairs) -> None:
    model = build("gru")
    gradient_guess(model, **pairs)
    assert all(parameter.grad is None for parameter in model.parameters())
    model.requires_grad_(False)
    assert np.isfinite(gradient_guess(model, **pairs).guessed).all()


def test_what_is_no_tensor_is_refused(pairs) -> None:
    with pytest.raises(UsageError, match="'state' is none"):
        gradient_guess(build("gru"), **pairs, components=("state",))
    with pytest.raises(UsageError, match="at least 1 step"):
        gradient_guess(build("gru"), **pairs, steps=0)
