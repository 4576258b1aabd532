"""The memory of one layer exchanged in runs token by token, with nothing but the model's cache."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import CONFIG_MAPPING

import mecheval
from mecheval.errors import UsageError
from mecheval.models.listing import site_infos
from mecheval.models.wrapped.model import WrappedModel
from tests.hf_families import build

SLOWER = [pytest.param(f, marks=pytest.mark.slow) for f in ("bloom", "xlstm", "qwen3_next")]


def pairs(model: mecheval.SequenceModel) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    clean_BT = rng.integers(3, 60, (3, 8)) % model.vocab_size
    corrupted_BT = clean_BT.copy()
    corrupted_BT[[0, 1, 2], [0, 1, 3]] = (clean_BT[[0, 1, 2], [0, 1, 3]] + 1) % model.vocab_size
    return {
        "clean_BT": clean_BT, "corrupted_BT": corrupted_BT, "answers_B": np.array([3, 4, 5]),
        "foils_B": np.array([0, 1, 2]), "readout_B": np.array([7, 6, 7]),
    }  # fmt: skip


def cache_grid(model: mecheval.SequenceModel, **how) -> mecheval.interventions.RecoveryGrid:
    return mecheval.recovery_grid(model, **pairs(model), components=["cache"], **how)


@pytest.mark.parametrize("name", ["transformer", "mamba", "mamba2", "lstm"])
def test_own_models_agree_with_tails(name: str) -> None:
    model = mecheval.load_model(name, vocab_size=7).double()
    steps, tails = (cache_grid(model, engine=engine) for engine in ("steps", "tails"))
    np.testing.assert_allclose(steps.patched, tails.patched, rtol=1e-9, atol=1e-11)
    assert (steps.execution.engine, tails.execution.engine) == ("steps", "tails")
    assert not np.allclose(steps.patched, steps.corrupted)


@pytest.mark.parametrize("family", ["gpt2", "mamba"])
def test_checkpoints_agree_with_tails(family: str) -> None:
    model = WrappedModel(build(family))
    if not model.exchanges:
        pytest.skip("the cache of this family cannot be driven token by token here")
    steps, tails = (cache_grid(model, engine=engine) for engine in ("steps", "tails"))
    scale = np.abs(tails.patched).max()
    np.testing.assert_allclose(steps.patched, tails.patched, rtol=1e-4, atol=1e-4 * scale)


@pytest.mark.parametrize("family", ["falcon", "falcon_h1", *SLOWER])
def test_models_that_are_not_taken_apart_have_a_cache(family: str) -> None:
    if family not in CONFIG_MAPPING:
        pytest.skip(f"this transformers has no {family}")
    model = WrappedModel(build(family))
    if not model.streams:
        pytest.skip("the cache of this family cannot be driven token by token here")
    assert model.apart() is None
    assert model.exchanges
    grid = cache_grid(model)
    assert grid.execution.engine == "steps"
    assert "tails: " in (grid.execution.reason or "")
    n_layers, positions = model.n_layers, range(8)
    assert [str(info.site) for info in site_infos(model) if info.side == "memory"] == [
        f"L{layer}.cache" for layer in range(n_layers)
    ]
    # A pair's memories are equal before its changed token, and unread after its readout.
    base = grid.corrupted
    for position in positions:
        same = (position < np.array([0, 1, 3])) | (position >= np.array([7, 6, 7]))
        assert (grid.patched[0, :, position][:, same] == base[same]).all()
    moved = np.abs(grid.patched - base) > 1e-5 * np.abs(base).max()
    assert moved[0].any((1, 2)).all()


def test_all_layers_exchanged_are_the_donors_run() -> None:
    """In a model of one layer the memory is everything that later tokens know of earlier ones."""
    model = mecheval.load_model("lstm[layers=1]", vocab_size=7)
    given = pairs(model)
    grid = cache_grid(model, engine="steps")
    np.testing.assert_allclose(grid.patched[0, 0, 4], grid.clean, rtol=1e-5)
    assert set(given["readout_B"]) == {6, 7}


def test_a_cache_whose_layers_are_not_found_is_no_site(monkeypatch: pytest.MonkeyPatch) -> None:
    model = WrappedModel(build("falcon"))

    def whole(cache: object, donor: object, layer: int, n_layers: int) -> object:
        return cache

    monkeypatch.setattr("mecheval.models.wrapped.model.with_layer_of", whole)
    assert not model.exchanges
    with pytest.raises(UsageError, match="cache alone one that reads token by token"):
        cache_grid(model)


def test_what_goes_besides_needs_a_model_in_parts() -> None:
    model = WrappedModel(build("falcon"))
    with pytest.raises(UsageError, match="can be taken apart"):
        mecheval.recovery_grid(model, **pairs(model), components=["cache", "block_in"])


def test_the_state_that_was_given_is_not_changed() -> None:
    model = WrappedModel(build("gpt2"))
    with torch.no_grad():
        tokens: Tensor = torch.tensor([3, 4])
        _, own = model.step(tokens, model.start(2))
        _, donor = model.step(tokens.flip(0), model.start(2))
        before, _ = model.step(tokens, own)
        mixed = model.exchanged(own, donor, 0)
        model.step(tokens, mixed)
        after, _ = model.step(tokens, own)
        other, _ = model.step(tokens, mixed)
    assert torch.equal(before, after)
    assert not torch.allclose(before, other)


def test_steps_is_for_the_cache_alone() -> None:
    model = mecheval.load_model("lstm[layers=1]", vocab_size=7)
    with pytest.raises(UsageError, match="engine=steps exchanges the component cache alone"):
        mecheval.recovery_grid(model, **pairs(model), components=["block_in"], engine="steps")
