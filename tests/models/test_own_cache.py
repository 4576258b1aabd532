"""Modules that go on from the model's own cache: what they keep, and what is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from hf_families import build, is_new, known_here
from torch import Tensor, nn

from mecheval.models.decomposition import Decomposition, Refusal
from mecheval.models.wrapped.decomposition import block, contexts
from mecheval.models.wrapped.decomposition.from_start import FromStart
from mecheval.models.wrapped.decomposition.own_cache import OwnCache
from mecheval.models.wrapped.decomposition.several_at_once import SeveralAtOnce
from mecheval.models.wrapped.model import WrappedModel
from mecheval.models.wrapped.recording.cache_tensors import changed_paths, tensors, with_tensors
from mecheval.models.wrapped.recording.inseparable import Inseparable

if TYPE_CHECKING:
    from mecheval.models.decomposition import Layer

pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated")

TOKENS_BT = torch.randint(3, 61, (3, 9), generator=torch.Generator().manual_seed(0))


def layers(family: str, **changes: Any) -> tuple[WrappedModel, tuple[Layer, ...]]:
    known_here(family)
    model = WrappedModel(build(family, **changes))
    found = model.decomposition()
    assert isinstance(found, Decomposition), found
    return model, found.layers


@pytest.mark.parametrize("family", ["gpt_neo", "falcon", "mpt", "bloom", "falcon_h1"])
def test_modules_that_show_nothing_go_on_from_their_cache(family: str) -> None:
    if family == "falcon_h1" and not is_new():
        pytest.skip("its Mamba starts again from zeros before transformers 5")
    _, found = layers(family)
    for layer in found:
        assert isinstance(layer.mixing, OwnCache)
        assert layer.mixing.writes is None


@torch.no_grad()
def test_a_state_that_was_given_stays_as_it_is() -> None:
    """Also where the module writes into the tensors of its cache."""
    if not is_new():
        pytest.skip("its mixer starts again from zeros before transformers 5")
    _, found = layers("qwen3_next")
    mixing, input_BND = found[0].mixing, torch.randn(2, 6, 32)
    signals = mixing.project(input_BND, ())
    early, late = ({"input": signals["input"][:, part]} for part in (slice(4), slice(4, 5)))
    state = mixing.advance(early, ())
    kept = [part.clone() for part in state]
    once_B1D, _ = mixing.read(late, state)
    again_B1D, _ = mixing.read(late, state)
    assert torch.equal(once_B1D, again_B1D)
    assert all(torch.equal(one, other) for one, other in zip(kept, state, strict=True))
    assert mixing.n_recent == 2  # the counter of positions, and the convolution's last inputs


@torch.no_grad()
def test_a_module_that_writes_into_its_input_does_not_reach_the_signals(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _, found = layers("gpt_neo")
    mixing: Any = found[0].mixing
    forward = mixing.module.forward

    def overwriting(stream_BND: Tensor, *args: Any, **kwargs: Any) -> Any:
        output = forward(stream_BND.clone(), *args, **kwargs)
        stream_BND.zero_()
        return output

    monkeypatch.setattr(mixing.module, "forward", overwriting)
    input_BND = torch.randn(1, 6, 32)  # a slice of one run is contiguous, which nothing copies
    before_BND = input_BND.clone()
    mixing.output(mixing.project(input_BND, ()), ())
    assert torch.equal(input_BND, before_BND)


class Turned(nn.Module):
    """Rotary positions that are scaled by a weight, which no block holds."""

    def __init__(self, real: nn.Module) -> None:
        super().__init__()
        self.real, self.scale = real, nn.Parameter(torch.ones(()))

    def forward(self, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        cos_BTK, sin_BTK = self.real(*args, **kwargs)
        return cos_BTK * self.scale, sin_BTK * self.scale


@torch.no_grad()
@pytest.mark.parametrize("opaque", [False, True])
def test_parts_follow_the_weights_outside_of_the_blocks(
    opaque: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if opaque:
        monkeypatch.setattr(block, "attention_of", lambda call: None)
    module: Any = build("llama")
    module.model.rotary_emb = Turned(module.model.rotary_emb)
    model = WrappedModel(module)
    found = model.decomposition()
    assert isinstance(found, Decomposition)
    layer = found.layers[0]
    assert isinstance(layer.mixing, OwnCache) == opaque
    seen = []
    handle = model.blocks[0].register_forward_hook(lambda _, args, out: seen.append((args[0], out)))
    for scale in (1.0, 1.5):
        module.model.rotary_emb.scale.fill_(scale)
        model(TOKENS_BT)
        stream_BTD, wanted = seen[-1]
        mixing = layer.mixing
        mixed_BTD = mixing.output(mixing.project(layer.enter(stream_BTD), ()), ())
        wanted_BTD = wanted if isinstance(wanted, Tensor) else wanted[0]
        torch.testing.assert_close(
            layer.leave(stream_BTD, mixed_BTD), wanted_BTD, rtol=1e-5, atol=1e-6
        )
    handle.remove()


def test_shortage_of_memory_is_no_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    def short(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9")

    model = WrappedModel(build("gpt_neo"))
    for where in (block, contexts):
        with monkeypatch.context() as patched:
            name = "check_layer" if where is block else "CacheContext"
            patched.setattr(where, name, short)
            with pytest.raises(RuntimeError, match="can't allocate"):
                model.decomposition()
    assert isinstance(model.decomposition(), Decomposition)


class Tinted(nn.Module):
    """Rotary positions that are scaled by the embeddings: of each position, or of all of them."""

    def __init__(self, real: nn.Module, *, each: bool) -> None:
        super().__init__()
        self.real, self.each = real, each

    def forward(self, x_BTD: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        cos_BTK, sin_BTK = self.real(x_BTD, *args, **kwargs)
        tint = 1 + (x_BTD.mean(-1, keepdim=True) if self.each else x_BTD.mean())
        return cos_BTK * tint, sin_BTK * tint


def tinted(*, each: bool) -> WrappedModel:
    module: Any = build("llama", initializer_range=0.3)
    module.model.rotary_emb = Tinted(module.model.rotary_emb, each=each)
    return WrappedModel(module.double())


@torch.no_grad()
def test_what_every_position_is_given_of_the_tokens_is_given_again() -> None:
    model = tinted(each=True)
    found = model.decomposition()
    assert isinstance(found, Decomposition), found
    seen = []
    handle = model.blocks[0].register_forward_hook(lambda _, args, out: seen.append((args[0], out)))
    for tokens_BT in (TOKENS_BT, TOKENS_BT.flip(0)):
        model(tokens_BT)
        stream_BTD, wanted_BTD = seen[-1]
        made_BTD = found.layers[0].run(stream_BTD, found.layers[0].given(tokens_BT))
        torch.testing.assert_close(made_BTD, wanted_BTD, rtol=1e-12, atol=1e-12)
    handle.remove()
    with pytest.raises(ValueError, match="something of the tokens"):
        found.layers[0].run(stream_BTD)


def test_what_depends_on_all_tokens_is_refused() -> None:
    found = tinted(each=False).decomposition()
    assert isinstance(found, Refusal)
    depends = "it is given something that depends on the tokens"
    assert found.reason.endswith(f"as a whole: {depends}; from the start: {depends}")


@torch.no_grad()
def test_a_shared_block_that_is_given_the_embeddings_comes_apart_as_a_whole() -> None:
    """Zamba hands the embeddings to its shared block, besides the stream."""
    if not is_new():
        pytest.skip("its Mamba starts again from zeros before transformers 5")
    _, found = layers("zamba2")
    given = [layer.given(TOKENS_BT) for layer in found]
    assert [each is not None for each in given] == [False, True, False, True]
    assert [isinstance(layer.mixing, OwnCache) for layer in found] == [False, True, False, True]


@torch.no_grad()
def test_a_block_that_mixes_examples_over_one_token_is_called_for_several() -> None:
    """RWKV of transformers adds the states of all examples to each, where it reads one token."""
    _, found = layers("rwkv")
    for layer in found:
        mixing, stream_BTD = layer.mixing, torch.randn(3, 9, 32)
        assert isinstance(mixing, SeveralAtOnce)
        wanted_BTD, state, made = layer.run(stream_BTD), (), []
        for one_B1D in stream_BTD.split(1, 1):
            made.append(mixing.output(mixing.project(one_B1D, state), state))
            state = mixing.advance(mixing.project(one_B1D, state), state)
        torch.testing.assert_close(torch.cat(made, 1), wanted_BTD, rtol=1e-5, atol=1e-6)
        assert [part.shape[0] for part in state] == [3] * (2 + len(mixing.paths))


@torch.no_grad()
def test_blocks_are_replayed_from_any_cache() -> None:
    """Caches that cannot forget serve as well: the run goes on from position to position."""
    known_here("zamba2")
    if not is_new():
        pytest.skip("its Mamba starts again from zeros before transformers 5")
    model, run_R = WrappedModel(build("zamba2")), torch.tensor([2, 0, 1, 2])
    replay = model.replay(TOKENS_BT)
    assert not isinstance(replay, Refusal)
    stream_RTD = replay.stream_PTD[run_R]  # pyright: ignore[reportAttributeAccessIssue]
    streams = [stream_RTD]
    for layer in range(model.n_layers):
        streams.append(replay.run(layer, streams[-1], run_R))
    for first in (1, 4, 8, 3):
        tail = replay.behind(first)
        assert tail is not None
        for layer, wanted_RTD in enumerate(streams[1:]):
            made_RTD = tail.run(layer, streams[layer][:, first:], run_R)
            torch.testing.assert_close(made_RTD, wanted_RTD[:, first:], rtol=1e-4, atol=1e-5)


class Kept:
    """A cache: what two layers keep, and how far they are."""

    def __init__(self, *layers: Tensor) -> None:
        self.layers = [Part(tensor) for tensor in layers]


class Part:
    def __init__(self, tensor: Tensor) -> None:
        self.conv_states, self.seen = {0: tensor}, {0: True}


def test_a_copy_of_a_cache_shares_what_is_not_put() -> None:
    cache = Kept(torch.zeros(2, 3), torch.ones(2, 3))
    path = ("layers", 1, "conv_states", 0)
    put = torch.full((4, 3), 2.0)
    copied = with_tensors(cache, {path: put})
    assert tensors(copied)[path] is put
    assert copied.layers[0] is cache.layers[0]
    copied.layers[1].seen[0] = False
    assert cache.layers[1].seen[0]
    assert torch.equal(tensors(cache)[path], torch.ones(2, 3))


def test_a_tensor_without_one_row_per_example_is_refused() -> None:
    before = {("a",): torch.zeros(2, 3)}
    assert changed_paths(before, {("a",): torch.zeros(2, 3)}, 2) == []
    assert changed_paths(before, {("a",): torch.ones(2, 3)}, 2) == [("a",)]
    with pytest.raises(Inseparable, match="one row per example"):
        changed_paths(before, {("a",): torch.ones(3, 3)}, 2)


class Forgetful(nn.Module):
    """A mixer that starts again from zeros when it goes on with several tokens."""

    def __init__(self, real: nn.Module) -> None:
        super().__init__()
        self.real = real

    def forward(self, hidden_states: Tensor, layer_past: Any = None, **kwargs: Any) -> Any:
        several = hidden_states.shape[1] > 1 and layer_past is not None
        given = None if several and layer_past.get_seq_length() else layer_past
        return self.real(hidden_states, layer_past=given, **{**kwargs, "attention_mask": None})


def test_a_mixer_that_forgets_its_cache_is_run_from_the_start() -> None:
    module: Any = build("gpt_neo")
    for real in module.transformer.h:
        real.attn = Forgetful(real.attn)
    found = WrappedModel(module).decomposition()
    assert isinstance(found, Decomposition), found
    assert all(isinstance(layer.mixing, FromStart) for layer in found.layers)
