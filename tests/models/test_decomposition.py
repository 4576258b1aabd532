"""Models in parts, or block by block, do what their whole forward pass does."""

from __future__ import annotations

import copy
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from crossings import mostly_slow
from hf_families import ALWAYS, FAMILIES, build, is_new, known_here
from plain_modules import Recurrent
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from mecheval.interventions.grid import recovery_grid
from mecheval.models.decomposition import Decomposition, Refusal
from mecheval.models.hooks import visiting
from mecheval.models.mixing import LAST, at, cut
from mecheval.models.sites import Site
from mecheval.models.wrapped.decomposition import cache_context
from mecheval.models.wrapped.decomposition.attention import GatedAttention
from mecheval.models.wrapped.decomposition.attention_context import AttentionContext
from mecheval.models.wrapped.decomposition.from_start import FromStart
from mecheval.models.wrapped.decomposition.own_cache import OwnCache
from mecheval.models.wrapped.model import WrappedModel
from mecheval.models.wrapped.recording.attention_functions import attention_function
from mecheval.models.wrapped.recording.inseparable import Inseparable
from mecheval.registry import Registry
from mecheval.spec import parse_spec

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mecheval.models.contract import SequenceModel
    from mecheval.models.decomposition import Layer
    from mecheval.models.mixing import Edit, Signals, State

pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated")

OWN = {
    f"our {text}": text
    for text in (
        "transformer", "transformer[positions=learned]", "mamba", "mamba2[d_conv=2]", "lstm", "gru",
    )
}  # fmt: skip

APART = (
    "gpt2", "gpt_bigcode", "gpt_neox", "llama", "olmo", "olmo2", "qwen2", "qwen3", "gemma",
    "gemma2", "gemma3_text", "phi", "phi3", "mistral", "mixtral", "opt", "cohere", "granite",
    "ctrl", "mamba", "mamba2", "falcon_mamba", "jamba", "bamba", "lfm2",
    "gpt_neo", "falcon", "mpt", "bloom", "bert", "falcon_h1", "qwen3_next",
    "nemotron_h", "zamba", "zamba2", "recurrent_gemma", "rwkv", "xlstm", "openai-gpt",
)  # fmt: skip
"""Families that must come apart; others may, and of all of them whole blocks can be called."""

WHOLE_BEFORE_5 = {"ctrl", "jamba", "lfm2", "falcon_h1", "qwen3_next", "nemotron_h"}
"""Those that come apart since transformers 5, in which they are written as the others are."""

SINGLE_BEFORE_5 = {"mpt", "bert"}
"""Those whose masks do not run in float64 before."""

BROKEN_BEFORE_5 = {"xlstm"}
"""Those that do not run on more positions than a chunk has before, by a fault of transformers."""

VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "sequential gpt_neox": ("gpt_neox", {"use_parallel_residual": False}),
    "eager llama": ("llama", {"attn_implementation": "eager"}),
    "windowed mistral": ("mistral", {"sliding_window": 4}),
    "windowed gemma2": ("gemma2", {"sliding_window": 4}),
    "windowed gemma3": (
        "gemma3_text",
        {"sliding_window": 4, "layer_types": ["sliding_attention", "full_attention"]},
    ),
    "grouped mamba2": ("mamba2", {"n_groups": 2, "time_step_limit": (0.02, 0.1)}),
    "biased mamba": ("mamba", {"use_bias": True, "use_conv_bias": False, "conv_kernel": 3}),
    "normed phi": ("phi", {"qk_layernorm": True}),
}

TOKENS_BT = torch.randint(3, 61, (3, 17), generator=torch.Generator().manual_seed(0))
"""Longer than what the structure is found with, so that positions and masks are recorded again."""


def wrapped(family: str, **changes: Any) -> WrappedModel:
    known_here(family)
    implementation = changes.pop("attn_implementation", None)
    module: Any = build(family, **changes)
    if implementation:
        module.set_attn_implementation(implementation)
    return WrappedModel(module)


def own(text: str) -> SequenceModel:
    spec, registry = parse_spec(text), Registry()
    architecture = registry.load("model", spec.name).configure(spec.args, name=spec.name)
    return architecture.build(architecture.vocabulary(61), seed=0)


def parts(model: SequenceModel) -> Decomposition:
    decomposition = model.decomposition()
    assert not isinstance(decomposition, Refusal), decomposition
    return decomposition


class SingleMeansDouble(TorchFunctionMode):
    """Makes float64 of every cast to float32: many modules of transformers have such casts."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple = (), kwargs: Any = None
    ) -> Any:
        def doubled(value: Any) -> Any:
            return torch.float64 if value is torch.float32 else value

        func = Tensor.double if func is Tensor.float else func
        kwargs = {name: doubled(value) for name, value in (kwargs or {}).items()}
        return func(*(doubled(value) for value in args), **kwargs)


@contextmanager
def in_double(model: SequenceModel) -> Iterator[None]:
    """Put a model into float64, and let no module of it compute in less."""
    model.double()
    with torch.inference_mode(), SingleMeansDouble():
        yield


def assert_close(made: Tensor, wanted: Tensor, tolerance: float) -> None:
    assert made.shape == wanted.shape
    assert float((made - wanted).abs().max()) <= tolerance * float(wanted.abs().max())


def traced(
    model: SequenceModel, visits: dict[Site, Any] | None = None, *, tokens_BT: Tensor = TOKENS_BT
) -> dict[Any, Tensor]:
    """Run a model and return what its sites hold, the logits under ``None``."""
    seen: dict[Any, Tensor] = {}

    def keeping(site: Site):
        edit = (visits or {}).get(site)

        def visit(value_BTD: Tensor) -> Tensor | None:
            value_BTD = value_BTD if edit is None else edit(value_BTD)
            seen[site] = value_BTD.clone()
            return None if edit is None else value_BTD

        return visit

    with visiting({tap: keeping(site) for site, tap in model.taps().items()}):
        seen[None] = model(tokens_BT)
    return seen


def assert_states_close(made: State, wanted: State, tolerance: float) -> None:
    for one, other in zip(made, wanted, strict=True):
        assert_close(one, other, tolerance)


def check_layer(layer: Layer, seen: dict[str, Tensor], split: int, tolerance: float) -> None:
    """Hold a layer against what the sites of its block held, taken up at a split."""
    stream_BTD, after_BTD, mixing = seen["block_in"], seen["block_out"], layer.mixing
    normed_BTD = layer.entered(stream_BTD, layer.given(TOKENS_BT))
    signals = mixing.project(normed_BTD, ())
    mixed_BTD, state = mixing.read(signals, ())
    for component, value_BTD in (("mixer_in", normed_BTD), ("mixer_out", mixed_BTD)):
        if component in seen and not is_whole(layer):
            assert_close(value_BTD, seen[component], tolerance)
    assert_close(layer.leave(stream_BTD, mixed_BTD), after_BTD, tolerance)
    fed_BTD = layer.mlp_out(stream_BTD, layer.join(stream_BTD, mixed_BTD))
    assert (fed_BTD is None) == (layer.feed is None)
    if fed_BTD is not None and "mlp_out" in seen:
        assert_close(fed_BTD, seen["mlp_out"], tolerance)

    early, late = slice(split), slice(split, None)
    before = mixing.advance(cut(signals, early), ())
    assert_states_close(mixing.advance(cut(signals, late), before), state, tolerance)
    later = mixing.project(normed_BTD[:, late], before)
    for name, value in later.items():
        assert_close(value, signals[name][:, late], tolerance)
    tail_BTD, after = mixing.read(later, before)
    assert_close(tail_BTD, mixed_BTD[:, late], tolerance)
    assert_states_close(after, state, tolerance)
    only = torch.tensor([0, 2, tail_BTD.shape[1] - 1])
    single_B1D = mixing.output(later, before, only=only)
    assert_close(single_B1D, at(tail_BTD, only), tolerance)
    for where in (None, only, LAST):
        made_BTD = mixing.output_from(normed_BTD[:, late], before, only=where)
        assert_close(made_BTD, at(tail_BTD, where), tolerance)
    assert_close(mixing.output(later, before, only=LAST), tail_BTD[:, -1:], tolerance)
    near, far = cut(later, slice(2)), cut(later, slice(2, None))
    for where in (None, only.clamp_min(2), LAST):
        made_BTD = mixing.output_of_both(near, far, before, only=where)
        assert_close(made_BTD, at(tail_BTD, where), tolerance)
    if mixing.writes is not None:
        written = mixing.written(later, before)
        assert len(written) == len(mixing.writes)
        assert_close(mixing.reread(later, written, before), tail_BTD, tolerance)


def check_edits(model: SequenceModel, index: int, split: int, tolerance: float) -> None:
    """Hold edits of inner components against hooks on a whole run."""
    layer = parts(model).layers[index]
    named = {site.component for site in model.taps() if site.layer == index}
    inner = {"q", "k", "v", "z", "conv_out"}
    if is_whole(layer):
        inner |= {"mixer_in", "mixer_out", "mlp_out"}
    assert set(layer.mixing.inner) == named & inner
    for component in layer.mixing.inner:
        noise = torch.randn(3, model.taps()[Site(index, component)].width).double()

        def put(value_BTD: Tensor, position: int, noise: Tensor = noise) -> Tensor:
            changed_BTD = value_BTD.clone()
            changed_BTD[:, position] = noise
            return changed_BTD

        hooked = traced(
            model, {Site(index, component): lambda value, put=put: put(value, split + 1)}
        )

        def edit(name: str, value: Tensor, component: str = component, put: Any = put) -> Tensor:
            return put(value, 1) if name == component else value

        stream_BTD = hooked[Site(index, "block_in")]
        made_BTD = edited(layer, stream_BTD, split, edit)
        if Site(index, "mixer_out") in hooked and not is_whole(layer):
            wanted_BTD = hooked[Site(index, "mixer_out")][:, split:]
            assert_close(made_BTD, wanted_BTD, tolerance)
        closed_BTD = layer.leave(stream_BTD[:, split:], made_BTD)
        assert_close(closed_BTD, hooked[Site(index, "block_out")][:, split:], tolerance)


def is_whole(layer: Layer) -> bool:
    """Say whether a layer's mixing is the whole block."""
    mixing = layer.mixing
    blocks = mixing.context.structure.blocks if isinstance(mixing, OwnCache | FromStart) else ()
    return bool(blocks) and mixing.module is blocks[mixing.number]


def edited(layer: Layer, stream_BTD: Tensor, split: int, edit: Edit) -> Tensor:
    """Return a mixer's output from a position on, with inner components edited."""
    mixing, normed_BTD = layer.mixing, layer.entered(stream_BTD, layer.given(TOKENS_BT))
    state = mixing.advance(mixing.project(normed_BTD[:, :split], ()), ())
    signals = mixing.project(normed_BTD[:, split:], state, edit=edit)
    return mixing.output(signals, state, edit=edit)


def check_model_apart(model: SequenceModel, tolerance: float) -> None:
    decomposition, seen = parts(model), traced(model)
    assert model.decomposition() is decomposition or not isinstance(model, WrappedModel)
    assert len(decomposition.layers) == model.n_layers
    for index, layer in enumerate(decomposition.layers):
        here = {s.component: value for s, value in seen.items() if s and s.layer == index}
        check_layer(layer, here, (index * 5 + 3) % 11 + 1, tolerance)
    last_BD, logits_BC = seen[Site(model.n_layers - 1, "block_out")][:, 7], seen[None][:, 7]
    tokens_BA = torch.tensor([[1, 60], [5, 0], [7, 7]])
    assert_close(decomposition.readout(last_BD, None), logits_BC, tolerance)
    assert_close(
        decomposition.readout(last_BD, tokens_BA), logits_BC.gather(1, tokens_BA), tolerance
    )


@pytest.mark.parametrize("name", [*mostly_slow(FAMILIES, always=ALWAYS), *VARIANTS, *OWN])
def test_parts_do_what_the_whole_does(name: str) -> None:
    """Whatever comes apart does so exactly, and whatever does not says at which layer and why."""
    family, changes = VARIANTS.get(name, (name, {}))
    model = own(OWN[name]) if name in OWN else wrapped(family, **changes)
    found = model.decomposition()
    if isinstance(found, Refusal):
        assert re.match("layer [01]: .{10}", found.reason)
        assert family not in APART or (family in WHOLE_BEFORE_5 and not is_new())
        return
    if family in BROKEN_BEFORE_5 and not is_new():
        return
    with torch.inference_mode():
        check_model_apart(model, 1e-5)
    if family in SINGLE_BEFORE_5 and not is_new():
        return
    with in_double(model):
        check_model_apart(model, 1e-9)
        for index in range(model.n_layers):
            check_edits(model, index, 4 + index, 1e-9)


@pytest.mark.parametrize("family", mostly_slow(FAMILIES, always=ALWAYS))
def test_blocks_called_one_by_one_are_the_model(family: str) -> None:
    """Rows of other runs, in another order, with another stream before one of the blocks."""
    model = wrapped(family)
    short_BT, run_R = TOKENS_BT[:, :9], torch.tensor([2, 0, 1, 2])
    noise = torch.randn(model.d_model)

    def put(value_RTD: Tensor) -> Tensor:
        changed_RTD = value_RTD.clone()
        changed_RTD[:, 5] = noise
        return changed_RTD

    with torch.inference_mode():
        replay, seen = model.replay(short_BT), traced(model, tokens_BT=short_BT)
        assert replay is not None
        assert not isinstance(replay, Refusal)
        for first in (0, 1):
            site = Site(first, "block_in")
            with visiting({model.taps()[site]: put}):
                logits_RTC = model(short_BT[run_R])
            stream_RTD = put(seen[site][run_R])
            for layer in range(first, model.n_layers):
                stream_RTD = replay.run(layer, stream_RTD, run_R)
            assert_close(replay.readout(stream_RTD[:, 6]), logits_RTC[:, 6], 1e-5)


@torch.inference_mode()
def answers(model: SequenceModel) -> tuple[Tensor, Tensor]:
    """Return the logits at the last position, as the model and as its parts give them."""
    decomposition, seen = parts(model), traced(model)
    stream_BTD = seen[Site(0, "block_in")]
    for layer in decomposition.layers:
        signals = layer.mixing.project(layer.enter(stream_BTD), ())
        stream_BTD = layer.leave(stream_BTD, layer.mixing.read(signals, ())[0])
    return seen[None][:, -1], decomposition.readout(stream_BTD[:, -1], None)


def scanned(mixing: Any, signals: Signals, written: tuple[Tensor, ...]) -> Tensor:
    """Return a Mamba's output by the definition of its recurrence, with what is written given."""
    mixer, u_BTE = mixing.mixer, written[1]
    width, n_groups = u_BTE.shape[-1], getattr(mixer, "n_groups", 1)

    def channels(value: Tensor) -> Tensor:
        return value.repeat_interleave(width // value.shape[-1], -1)

    def states(value_BTX: Tensor) -> Tensor:
        value_BTGN = value_BTX.unflatten(-1, (n_groups, -1))
        return value_BTGN.repeat_interleave(width // n_groups, 2)

    bias = mixer.dt_bias if hasattr(mixer, "dt_bias") else mixer.dt_proj.bias
    step_BTE = nn.functional.softplus(channels(written[0] + bias))
    rate_EN = -(
        mixer.A_log.exp() if mixer.A_log.dim() == 2 else channels(mixer.A_log.exp())[:, None]
    )
    decay_BTEN = (step_BTE[..., None] * rate_EN).exp()
    write_BTEN = (step_BTE * u_BTE)[..., None] * states(written[2])
    state_BEN, outputs = torch.zeros_like(write_BTEN[:, 0]), []
    for decay_BEN, write_BEN in zip(decay_BTEN.unbind(1), write_BTEN.unbind(1), strict=True):
        state_BEN = decay_BEN * state_BEN + write_BEN
        outputs.append(state_BEN)
    read_BTE = (torch.stack(outputs, 1) * states(signals["C"])).sum(-1)
    y_BTE = read_BTE + channels(mixer.D) * signals["x"]
    return mixing.out(y_BTE * nn.functional.silu(signals["gate"]))


@pytest.mark.parametrize("name", ["mamba", "grouped mamba2"])
def test_another_write_changes_the_memory_and_nothing_else(name: str) -> None:
    family, changes = VARIANTS.get(name, (name, {}))
    model = wrapped(family, **changes)
    with in_double(model):
        layer = parts(model).layers[0]
        normed_BTD = torch.randn(2, 3, 9, 32, dtype=torch.float64)
        signals, others = (layer.mixing.project(x_BTD, ()) for x_BTD in normed_BTD)
        written = layer.mixing.written(others, ())
        made_BTD = layer.mixing.reread(signals, written, ())
        assert_close(made_BTD, scanned(layer.mixing, signals, written), 1e-9)
        assert not torch.allclose(made_BTD, layer.mixing.read(others, ())[0], rtol=1e-3)


@pytest.mark.parametrize("family", ["gpt_neox", "mamba", "mamba2"])
def test_parts_follow_the_weights(family: str) -> None:
    model = wrapped(family)
    before_BC, _ = answers(model)
    first, twin = model.decomposition(), copy.deepcopy(model)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.25)
    assert model.decomposition() is first
    wanted_BC, made_BC = answers(model)
    assert_close(made_BC, wanted_BC, 1e-5)
    assert not torch.allclose(wanted_BC, before_BC, rtol=1e-2)
    assert_close(answers(twin)[1], before_BC, 1e-5)
    wanted_BC, made_BC = answers(model.double())
    assert model.decomposition() is not first
    assert made_BC.dtype == wanted_BC.dtype
    assert_close(made_BC, wanted_BC, 1e-6)


@pytest.mark.parametrize("family", ["llama", "mamba"])
def test_half_precision_comes_apart(family: str) -> None:
    wanted_BC, made_BC = answers(wrapped(family).bfloat16())
    assert made_BC.dtype == wanted_BC.dtype
    assert_close(made_BC.float(), wanted_BC.float(), 3e-2)


@pytest.mark.parametrize("family", ["afmoe", "jetmoe", "qwen3_next"])
@torch.no_grad()
def test_a_gate_that_the_input_opens_stays_when_another_thing_is_written(family: str) -> None:
    known_here(family)
    found = WrappedModel(build(family)).decomposition()
    assert isinstance(found, Decomposition)
    mixings = [layer.mixing for layer in found.layers]
    mixing = next(mixing for mixing in mixings if isinstance(mixing, GatedAttention))
    one_BTD, other_BTD = torch.randn(2, 2, 7, 32, generator=torch.Generator().manual_seed(0))
    signals, others = mixing.project(one_BTD, ()), mixing.project(other_BTD, ())
    output_BTD = mixing.output(signals, ())
    torch.testing.assert_close(mixing.reread(signals, mixing.written(signals, ()), ()), output_BTD)
    torch.testing.assert_close(
        mixing.output(signals, (), only=torch.tensor([3, 5])), output_BTD[[0, 1], [3, 5]][:, None]
    )
    written = mixing.written(others, ())
    mixed = {"q": signals["q"], "k": written[0], "v": written[1], "input": one_BTD}
    reread_BTD = mixing.reread(signals, written, ())
    torch.testing.assert_close(reread_BTD, mixing.output(mixed, ()))
    assert not torch.allclose(reread_BTD, output_BTD)
    assert not torch.allclose(reread_BTD, mixing.output({**mixed, "input": other_BTD}, ()))


def test_attention_functions_are_put_back() -> None:
    model = wrapped("llama")
    attention: Any = model.blocks[0].self_attn
    before = attention_function(attention)
    decomposition = parts(model)
    with pytest.raises(RuntimeError):
        decomposition.layers[0].mixing.project(torch.zeros(2, 3, 31), ())
    assert attention_function(attention) is before
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in model.modules())
    assert not any("forward" in vars(part) for part in model.modules())


def test_a_layer_that_only_convolves_stands_in_a_grid_of_writes() -> None:
    if not is_new():
        pytest.skip("its convolution is given positions before transformers 5")
    model = wrapped("lfm2").float()
    mixings = [layer.mixing for layer in parts(model).layers]
    assert {mixing.writes for mixing in mixings} == {(), ("k", "v")}
    clean_PT = TOKENS_BT.numpy()
    corrupted_PT = clean_PT.copy()
    corrupted_PT[:, 2] = (corrupted_PT[:, 2] + 5) % 58 + 3
    last_P = np.full(len(clean_PT), clean_PT.shape[1] - 1)
    grid = recovery_grid(
        model, clean_PT, corrupted_PT, clean_PT[:, 0], clean_PT[:, 1], last_P,
        components=("write",), frozen=True, engine="tails",
    )  # fmt: skip
    for layer, mixing in enumerate(mixings):
        patched_JP = grid.component("write")[layer]
        assert (np.abs(patched_JP - grid.corrupted).max() > 0) == bool(mixing.writes)


def test_parts_serve_training_after_inference_mode() -> None:
    model = wrapped("llama")
    with torch.inference_mode():
        answers(model)
    decomposition = parts(model)
    mixing, normed_BTD = decomposition.layers[0].mixing, torch.randn(2, 16, 32, requires_grad=True)
    mixed_BTD, _ = mixing.read(mixing.project(normed_BTD, ()), ())
    decomposition.readout(mixed_BTD[:, -1], torch.tensor([[1], [2]])).sum().backward()
    assert normed_BTD.grad is not None


def test_positions_that_depend_on_the_length_are_refused() -> None:
    rope = {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 1e4}
    name = "rope_parameters" if is_new() else "rope_scaling"
    model = wrapped("llama", max_position_embeddings=15, **{name: rope})
    layer = parts(model).layers[0]
    layer.mixing.project(torch.randn(2, 15, 32), ())
    for _ in range(2):
        with pytest.raises(RuntimeError, match="longer sequence changes"):
            layer.mixing.project(torch.randn(2, 16, 32), ())


class Scaled(nn.Module):
    """A block whose output is the real one's, times a number that no module keeps."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.block = block

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        output = self.block(*args, **kwargs)
        return 1.01 * output if isinstance(output, Tensor) else (1.01 * output[0], *output[1:])


def test_blocks_of_other_sums_and_silent_parts_come_apart_as_a_whole() -> None:
    module: Any = build("llama", initializer_range=0.2)
    module.model.layers[1] = Scaled(module.model.layers[1])
    silent: Any = build("llama")
    nn.init.zeros_(silent.model.layers[0].mlp.down_proj.weight)
    for whole, model in ((1, WrappedModel(module)), (0, WrappedModel(silent))):
        assert [is_whole(layer) for layer in parts(model).layers] == [whole == 0, whole == 1]
        with torch.inference_mode():
            check_model_apart(model, 1e-5)
        assert not isinstance(model.replay(TOKENS_BT), Refusal)


def test_what_cannot_go_on_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    """The reason is that of the parts, and then that of the whole block."""
    module: Any = build("llama", initializer_range=0.2)
    for number, layer in enumerate(module.model.layers):
        module.model.layers[number] = Scaled(layer)
    monkeypatch.setattr(cache_context, "cache_argument", lambda module: None)
    assert WrappedModel(module).decomposition() == Refusal(
        "layer 0: what it returns is not the sum of its parts and the stream; as a whole: the "
        "model returns no cache that it takes again"
    )


def test_a_block_beside_others_is_run_from_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    module: Any = build("llama", initializer_range=0.2)
    module.model.layers[1] = Scaled(module.model.layers[1])
    monkeypatch.setattr(cache_context, "cache_argument", lambda module: None)
    model = WrappedModel(module)
    assert [isinstance(layer.mixing, FromStart) for layer in parts(model).layers] == [False, True]
    with torch.inference_mode():
        check_model_apart(model, 1e-5)


def test_attention_that_takes_no_mask_per_row_is_refused() -> None:
    module: Any = build("llama")
    attention = module.model.layers[0].self_attn
    module.config._attn_implementation = "flash_attention_2"
    with pytest.raises(Inseparable, match="flash_attention_2 takes no mask per row"):
        AttentionContext(module, [attention], [attention])


class Leaky(nn.Module):
    """Blocks that hand on more than the stream: the second is given what the first one made."""

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mixer, self.side = nn.GRU(8, 8, batch_first=True), nn.Linear(8, 8)

        def forward(self, x_BTD: Tensor, side_BTD: Tensor) -> tuple[Tensor, Tensor]:
            return x_BTD + self.mixer(x_BTD)[0] * side_BTD, self.side(x_BTD)

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.head = nn.Embedding(61, 8), nn.Linear(8, 61)
        self.blocks = nn.ModuleList([self.Block(), self.Block()])

    def forward(self, tokens_BT: Tensor) -> Tensor:
        x_BTD = self.embedding(tokens_BT)
        side_BTD = torch.ones_like(x_BTD)
        for block in self.blocks:
            x_BTD, side_BTD = block(x_BTD, side_BTD)
        return self.head(x_BTD)


def test_blocks_that_hand_on_more_than_the_stream_are_not_replayed() -> None:
    model = WrappedModel(Leaky().eval())
    assert model.replay(TOKENS_BT) == Refusal(
        "blocks are given more than the stream that earlier blocks return"
    )


def test_plain_modules_are_replayed() -> None:
    model = WrappedModel(Recurrent(in_list=True).eval())
    tokens_BT, run_R = TOKENS_BT % 13, torch.tensor([1, 1, 0])
    with torch.no_grad():
        replay, embedding = model.replay(tokens_BT), model.structure.embedding
        assert replay is not None
        assert embedding is not None
        stream_RTD = embedding(tokens_BT[run_R])
        for layer in range(3):
            stream_RTD = replay.run(layer, stream_RTD, run_R)
        assert_close(replay.readout(stream_RTD[:, 4]), model(tokens_BT[run_R])[:, 4], 1e-6)
    assert "no module inside the block carries information" in model.decomposition().reason


def test_a_convolution_that_plain_torch_does_not_run_is_an_error() -> None:
    model = wrapped("mamba")
    tap = model.taps()[Site(0, "conv_out")]
    if tap.side == "output":
        pytest.skip("before transformers 5 the convolution's module is called")
    with pytest.raises(RuntimeError, match="fused kernel"), visiting({tap: lambda value: None}):
        pass
