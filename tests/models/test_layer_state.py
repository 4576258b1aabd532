"""What a layer remembers can be read, changed, and put into another run."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch
from hf_families import build, is_new
from plain_modules import Recurrent

import mecheval
from mecheval.errors import UsageError

OWN = ["transformer", "mamba", "mamba2", "lstm", "gru", "deltanet", "deltaproduct", "gla", "rwkv7",
       "h3", "hyena", "based", "hybrid"]  # fmt: skip
CHECKPOINTS = ["gpt2", "llama", "mamba", "mamba2", "jamba"]
CLEAN_BT = torch.randint(7, (3, 9), generator=torch.Generator().manual_seed(0))
OTHER_BT = CLEAN_BT.index_copy(1, torch.tensor([1]), (CLEAN_BT[:, 1:2] + 1) % 7)
ANSWERS, FOILS = [0, 1, 2], [1, 2, 0]


@cache
def model_of(name: str) -> mecheval.SequenceModel:
    if name.startswith("hf:"):
        module = build(name[3:])  # the experts of Jamba do not run in float64
        return mecheval.wrap(module if name == "hf:jamba" else module.double())
    return mecheval.load_model(f"{name}[layers=2,width=16]", vocab_size=7).double()


ALL = [*OWN, *(f"hf:{family}" for family in CHECKPOINTS)]


@pytest.mark.parametrize("name", ALL)
def test_its_own_state_continues_a_run_as_it_was(name: str) -> None:
    model = model_of(name)
    with torch.no_grad():
        whole_BTC = model(CLEAN_BT)
    for layer in range(model.n_layers):
        for position in (0, 4, -1):
            state = model.state(CLEAN_BT, layer, position)
            assert (state.layer, state.position) == (layer, position % 9)
            made_BTC = model.continued(CLEAN_BT, state)
            # transformers computes parts of a Mamba in float32, also where the model is in float64.
            torch.testing.assert_close(made_BTC, whole_BTC, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ALL)
def test_another_runs_state_gives_the_cells_of_a_grid(name: str) -> None:
    model, position, readout = model_of(name), 3, 7
    grid = mecheval.recovery_grid(
        model, OTHER_BT, CLEAN_BT, ANSWERS, FOILS, [readout] * 3,
        components=["cache"], positions=[position],
    )  # fmt: skip
    moved = 0.0
    for layer in range(model.n_layers):
        state = model.state(OTHER_BT, layer, position)
        made_BTC = model.continued(CLEAN_BT, state)
        logits_BC = made_BTC[:, readout].numpy()
        made_B = logits_BC[range(3), ANSWERS] - logits_BC[range(3), FOILS]
        np.testing.assert_allclose(made_B, grid.patched[0, layer, 0], rtol=1e-5, atol=1e-6)
        moved = max(moved, float(np.abs(made_B - grid.corrupted).max()))
        with torch.no_grad():
            early_BTC = model(CLEAN_BT)[:, : position + 1]
        torch.testing.assert_close(made_BTC[:, : position + 1], early_BTC, rtol=1e-6, atol=1e-6)
    assert moved > 1e-4


@pytest.mark.parametrize(
    ("name", "shapes"),
    [
        ("transformer", {"k": (3, 5, 4, 4), "v": (3, 5, 4, 4)}),
        ("hf:llama", {"k": (3, 5, 2, 8), "v": (3, 5, 2, 8)}),
        ("lstm", {"h": (3, 16), "c": (3, 16)}),
        ("deltanet", {"recent": (3, 3, 48), "state": (3, 1, 16, 16)}),
        ("deltaproduct", {"recent": (3, 3, 80), "state": (3, 1, 16, 16)}),
        ("mamba", {"recent": (3, 3, 32), "state": (3, 32, 16)}),
        ("hf:mamba", {"recent": (3, 3, 64), "state": (3, 64, 8)}),
        ("based", {"recent": (3, 2, 16)}),
    ],
)
def test_its_tensors_have_names(name: str, shapes: dict[str, tuple[int, ...]]) -> None:
    state = model_of(name).state(CLEAN_BT, 0, position=4)
    assert {part: tuple(state[part].shape) for part in state.parts} == shapes
    assert str(state).startswith("layer 0 after position 4: ")


@pytest.mark.parametrize("name", OWN)
def test_every_tensor_has_a_name(name: str) -> None:
    model = model_of(name)
    for layer, part in enumerate(model.decomposition().layers):
        mixing = part.mixing
        memory = mixing.advance(mixing.project(part.enter(torch.zeros(1, 3, 16).double()), ()), ())
        assert len(model.state(CLEAN_BT, layer).parts) == len(memory)


def test_a_state_may_be_changed() -> None:
    model = model_of("mamba2")
    state = model.state(CLEAN_BT, layer=0, position=3)
    state["state"].zero_()
    forgotten_BTC, own_BTC = model.continued(CLEAN_BT, state), model(CLEAN_BT).detach()
    torch.testing.assert_close(forgotten_BTC[:, :4], own_BTC[:, :4])
    assert not torch.allclose(forgotten_BTC[:, 4:], own_BTC[:, 4:])
    assert (model.state(CLEAN_BT, 0, 3)["state"] != 0).any()  # it was a copy


def test_what_does_not_fit_is_said() -> None:
    model = model_of("lstm")
    state = model.state(CLEAN_BT, 1)
    for ask, said in (
        (lambda: model.state(CLEAN_BT, 2), "layers 0 to 1; got 2"),
        (lambda: model.state(CLEAN_BT, 0, 9), "a position from 0 to T - 1; got .3, 9. and 9"),
        (lambda: model.state(CLEAN_BT[0], 0), "needs token ids"),
        (lambda: model.continued(CLEAN_BT[:, :3], state), "got .3, 3. and 8"),
        (lambda: model.continued(CLEAN_BT[:2], state), r"h \(3, 16\).*where the run has.*h \(2, "),
        (lambda: model_of("gru").continued(CLEAN_BT, state), "where the run has that of"),
        (lambda: mecheval.wrap(Recurrent(in_list=True)).state(CLEAN_BT, 0), "told from the rest"),
    ):
        with pytest.raises(UsageError, match=said):
            ask()


@pytest.mark.skipif(not is_new(), reason="its cache cannot be driven before transformers 5")
def test_what_is_read_is_what_the_models_own_cache_holds() -> None:
    model = model_of("hf:mamba")
    state = model.start(3)
    for tokens_B in CLEAN_BT.T[:5]:
        _, state = model.step(tokens_B, state)
    held = vars(state.cache.layers[1]).values()
    kept = [t for value in held for t in (value.values() if isinstance(value, dict) else [value])]
    read = model.state(CLEAN_BT, layer=1, position=4)["state"]
    (own,) = [tensor for tensor in kept if getattr(tensor, "shape", None) == read.shape]
    torch.testing.assert_close(read, own.to(read), rtol=1e-5, atol=1e-6)
