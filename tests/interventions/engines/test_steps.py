"""The memory of one layer exchanged in runs token by token, with nothing but the model's cache."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from torch import Tensor

import mecheval
from mecheval.errors import UsageError
from mecheval.models.decomposition import Refusal
from mecheval.models.listing import site_infos
from mecheval.models.wrapped.model import WrappedModel
from mecheval.models.wrapped.replay.caches import tells_recent, with_layer_of
from tests.hf_families import build, known_here

if TYPE_CHECKING:
    from collections.abc import Sequence

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


BOTH = ("state", "cache")


def cache_grid(
    model: mecheval.SequenceModel, components: Sequence[str] = ("cache",), **how
) -> mecheval.interventions.RecoveryGrid:
    return mecheval.recovery_grid(model, **pairs(model), components=components, **how)


@pytest.mark.parametrize("name", ["transformer", "mamba", "mamba2", "lstm", "rwkv7", "hybrid"])
def test_own_models_agree_with_tails(name: str) -> None:
    model = mecheval.load_model(f"{name}[width=32,layers=2]", vocab_size=7).double()
    steps, tails = (cache_grid(model, BOTH, engine=engine) for engine in ("steps", "tails"))
    np.testing.assert_allclose(steps.patched, tails.patched, rtol=1e-9, atol=1e-11)
    assert (steps.execution.engine, tails.execution.engine) == ("steps", "tails")
    assert not np.allclose(steps.patched, steps.corrupted)


@pytest.mark.parametrize("family", ["gpt2", "mamba", "mamba2", "lfm2"])
def test_checkpoints_agree_with_tails(family: str) -> None:
    model = WrappedModel(build(family))
    if not model.exchanges:
        pytest.skip("the cache of this family cannot be driven token by token here")
    assert model.exchanges == BOTH
    steps, tails = (cache_grid(model, BOTH, engine=engine) for engine in ("steps", "tails"))
    scale = np.abs(tails.patched).max()
    np.testing.assert_allclose(steps.patched, tails.patched, rtol=1e-4, atol=1e-4 * scale)
    state, cache = steps.patched
    assert np.allclose(state, cache) == (family == "gpt2")  # the others have convolutions


class Whole(WrappedModel):
    """A checkpoint that does not come apart, whatever its code looks like."""

    def decomposition(self) -> Refusal:
        return Refusal("layer 0: it is left whole")


@pytest.mark.parametrize("family", ["falcon", "falcon_h1", *SLOWER])
def test_models_that_are_not_taken_apart_have_a_cache(family: str) -> None:
    known_here(family)
    model = Whole(build(family))
    if not model.streams:
        pytest.skip("the cache of this family cannot be driven token by token here")
    assert model.exchanges
    grid = cache_grid(model)
    assert grid.execution.engine == "steps"
    assert grid.execution.reason == "tails: layer 0: it is left whole"
    n_layers, positions = model.n_layers, range(8)
    assert [str(info.site) for info in site_infos(model) if info.side == "memory"] == [
        f"L{layer}.{component}" for layer in range(n_layers) for component in model.exchanges
    ]
    assert model.exchanges in (BOTH, ("cache",))
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
    model = Whole(build("falcon"))

    def whole(cache: object, *_: object, **__: object) -> object:
        return cache

    monkeypatch.setattr("mecheval.models.wrapped.model.with_layer_of", whole)
    assert not model.exchanges
    with pytest.raises(UsageError, match="token by token this one exchanges neither"):
        cache_grid(model)


class Remembered:
    """What one layer remembers, as transformers names it or not."""

    def __init__(self, **parts: object) -> None:
        vars(self).update(parts)


def test_names_tell_what_is_recent() -> None:
    def layer(value: float) -> Remembered:
        filled = torch.full((1, 2), value)
        return Remembered(conv_states={0: filled}, recurrent_states={0: filled}, kernel=4)

    own, donor = ([layer(value), layer(value + 1)] for value in (0.0, 5.0))
    assert tells_recent(own)
    mixed = with_layer_of(own, donor, 1, 2, recent=False)
    assert mixed[0] is own[0]
    assert mixed[1].conv_states[0][0, 0] == 1
    assert mixed[1].recurrent_states[0][0, 0] == 6
    assert own[1].recurrent_states[0][0, 0] == 1
    assert with_layer_of(own, donor, 1, 2).pop() is donor[1]
    tensor = torch.ones(1, 2)
    assert tells_recent([Remembered(keys=tensor, values=tensor)])
    assert not tells_recent([tensor, tensor])  # any of them may be the last input
    assert not tells_recent(Remembered(rnn_state={0: (tensor,)}))


def test_by_layer_and_by_name() -> None:
    """Before layers had objects of their own, caches kept one list or mapping per kind."""
    own, donor = (
        Remembered(
            conv_states=[torch.tensor([v])] * 2, ssm_states={i: torch.tensor([v]) for i in range(2)}
        )
        for v in (0.0, 5.0)
    )
    assert tells_recent(own)
    mixed = with_layer_of(own, donor, 0, 2, recent=False)
    assert [int(mixed.conv_states[i]) for i in range(2)] == [0, 0]
    assert [int(mixed.ssm_states[i]) for i in range(2)] == [5, 0]


def test_the_state_alone_is_no_site_where_names_do_not_tell(monkeypatch) -> None:
    model = Whole(build("falcon"))
    monkeypatch.setattr("mecheval.models.wrapped.model.tells_recent", lambda cache: False)
    assert model.exchanges == ("cache",)
    with pytest.raises(UsageError, match="token by token this one exchanges cache"):
        cache_grid(model, ["state"])


def test_what_goes_besides_needs_a_model_in_parts() -> None:
    model = Whole(build("falcon"))
    with pytest.raises(UsageError, match="can be taken apart"):
        mecheval.recovery_grid(model, **pairs(model), components=["cache", "block_in"])


def test_the_state_that_was_given_is_not_changed() -> None:
    model = WrappedModel(build("gpt2"))
    with torch.no_grad():
        tokens: Tensor = torch.tensor([3, 4])
        _, own = model.step(tokens, model.start(2))
        _, donor = model.step(tokens.flip(0), model.start(2))
        before, _ = model.step(tokens, own)
        mixed = model.exchanged(own, donor, 0, "cache")
        model.step(tokens, mixed)
        after, _ = model.step(tokens, own)
        other, _ = model.step(tokens, mixed)
    assert torch.equal(before, after)
    assert not torch.allclose(before, other)


def test_steps_is_for_memory_alone() -> None:
    model = mecheval.load_model("lstm[layers=1]", vocab_size=7)
    with pytest.raises(UsageError, match="engine=steps exchanges state and cache alone"):
        mecheval.recovery_grid(model, **pairs(model), components=["block_in"], engine="steps")
