"""Blocks, mixers and feed-forward parts are found by what they do, in any library."""

from __future__ import annotations

import copy
import re
from typing import TYPE_CHECKING

import pytest
import torch
from hf_families import FAMILIES, build, known_here
from plain_modules import (
    WIDTH,
    AddsInside,
    Attention,
    GatedAttention,
    Nested,
    NormedSum,
    OneMixer,
    Projected,
    Recurrent,
    SharedMixer,
    Side,
    Stacked,
    TwoMixers,
)
from torch import Tensor, nn

from mecheval.errors import UsageError
from mecheval.models.decomposition import Decomposition
from mecheval.models.layouts import Columns
from mecheval.models.sites import Site
from mecheval.models.wrapped.discovery.structure import Structure, find_structure
from mecheval.models.wrapped.model import WrappedModel

if TYPE_CHECKING:
    from collections.abc import Callable

INNER = {"q", "k", "v", "z", "conv_out"}


def paths(module: nn.Module, *, block: bool = True) -> tuple[Structure, dict[str, str | None]]:
    found = find_structure(module)
    names = {part: path for path, part in module.named_modules()}
    return found, {
        **({"block": names[found.blocks[0]]} if block else {}),
        "embedding": names[found.embedding] if found.embedding else None,
        "norm": names[found.norm] if found.norm else None,
        "head": names[found.head] if found.head else None,
    }


def components(found: Structure, layer: int) -> dict[str, str]:
    return {s.component: tap.path for s, tap in found.taps.items() if s.layer == layer}


@pytest.mark.parametrize(
    ("family", "block", "embedding", "norm", "head"),
    [
        ("gpt2", "transformer.h.0", "transformer.wte", "transformer.ln_f", "lm_head"),
        ("gpt_neox", "gpt_neox.layers.0", "gpt_neox.embed_in", "gpt_neox.final_layer_norm", None),
        ("mamba", "backbone.layers.0", "backbone.embeddings", "backbone.norm_f", "lm_head"),
        ("rwkv", "rwkv.blocks.0", "rwkv.embeddings", "rwkv.ln_out", "head"),
        ("openai-gpt", "transformer.h.0", "transformer.tokens_embed", None, "lm_head"),
    ],
)
def test_the_frame_of_a_model_is_found(
    family: str, block: str, embedding: str, norm: str | None, head: str | None
) -> None:
    module = build(family)
    found, named = paths(module)
    head = head or ("lm_head" if hasattr(module, "lm_head") else "embed_out")
    assert named == {"block": block, "embedding": embedding, "norm": norm, "head": head}
    assert (found.vocab_size, found.d_model, len(found.blocks)) == (61, 32, 2)


@pytest.mark.parametrize(
    ("family", "head"),
    [("llama", "lm_head"), ("gpt2", "lm_head"), ("mamba", "lm_head"), ("gpt_neox", "embed_out"),
     ("granite", "lm_head"), ("gemma2", "lm_head"), ("opt", "lm_head"), ("cohere", "lm_head")],
)  # fmt: skip
def test_a_norm_as_wide_as_the_vocabulary_is_not_the_head(family: str, head: str) -> None:
    wide, square = (paths(build(family, vocab_size=size))[1] for size in (61, 32))
    assert square == wide
    assert square["head"] in (head, "lm_head")
    model = WrappedModel(build(family, vocab_size=32))
    assert isinstance(model.decomposition(), Decomposition)


class Answering(nn.Module):
    """A block, a norm, and a head that is given."""

    def __init__(self, head: nn.Module) -> None:
        super().__init__()
        self.embedding, self.blocks = nn.Embedding(WIDTH, WIDTH), nn.ModuleList([OneMixer()])
        self.norm, self.head = nn.LayerNorm(WIDTH), head

    def forward(self, tokens_BT: Tensor) -> Tensor:
        return self.head(self.norm(self.blocks[0](self.embedding(tokens_BT))))


class Adapted(nn.Module):
    """A matrix with an adapter that adds nothing at first."""

    def __init__(self) -> None:
        super().__init__()
        self.base, self.down, self.up = (nn.Linear(WIDTH, WIDTH) for _ in range(3))
        nn.init.zeros_(self.up.weight), nn.init.zeros_(self.up.bias)

    def forward(self, x_BTD: Tensor) -> Tensor:
        return self.base(x_BTD) + self.up(self.down(x_BTD))


class Tied(nn.Module):
    """A head whose matrix is no module's."""

    def __init__(self) -> None:
        super().__init__()
        self.matrix = torch.randn(WIDTH, WIDTH)

    def forward(self, x_BTD: Tensor) -> Tensor:
        return x_BTD @ self.matrix


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (nn.Linear(WIDTH, WIDTH), "head"),
        (nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)), "head.1"),
        (nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.Tanh()), "head.0"),
        (nn.Sequential(Tied(), nn.Tanh()), "head.0"),
        (Adapted(), None),
    ],
)
def test_the_head_is_what_the_logits_come_from(head: nn.Module, name: str | None) -> None:
    module = Answering(head)
    assert paths(module)[1]["head"] == name
    model = WrappedModel(module.eval())
    assert_logits_at_one_position(model)
    adapted = Adapted()
    nn.init.normal_(adapted.up.weight)
    adapted.base, module.head = head, adapted  # as peft puts an adapter around a part
    assert_logits_at_one_position(model)


def assert_logits_at_one_position(model: WrappedModel) -> None:
    tokens_BT, position_B = torch.arange(18).view(3, 6), torch.tensor([0, 2, 5])
    logits_BC = model(tokens_BT)[torch.arange(3), position_B]
    torch.testing.assert_close(model.logits_at(tokens_BT, position_B[:, None])[:, 0], logits_BC)


@pytest.mark.parametrize(
    ("family", "mixer", "mlp"),
    [
        ("gpt2", "transformer.h.0.attn", "transformer.h.0.mlp"),
        ("gpt_neox", "gpt_neox.layers.0.attention", "gpt_neox.layers.0.mlp"),  # in parallel
        ("phi", "model.layers.0.self_attn", "model.layers.0.mlp"),
        ("mamba", "backbone.layers.0.mixer", None),
        ("recurrent_gemma", "model.layers.0.temporal_block", "model.layers.0.mlp_block"),
        # RWKV's channel mixing looks at the previous token, and is the feed-forward all the same.
        ("rwkv", "rwkv.blocks.0.attention", "rwkv.blocks.0.feed_forward"),
    ],
)
def test_the_parts_of_a_block_are_found(family: str, mixer: str, mlp: str | None) -> None:
    found, named = paths(build(family))
    expected = {
        "block_in": named["block"], "mixer_in": mixer, "mixer_out": mixer,
        "mlp_out": mlp, "block_out": named["block"],
    }  # fmt: skip
    around = {name: path for name, path in components(found, 0).items() if name not in INNER}
    assert around == {name: path for name, path in expected.items() if path}


def test_parts_that_add_the_stream_themselves_are_sites_before_the_sum() -> None:
    found, _ = paths(Stacked(AddsInside))
    assert components(found, 1) == {
        "block_in": "blocks.1", "mixer_in": "blocks.1.mixer", "mixer_out": "blocks.1.mixer.out",
        "mlp_out": "blocks.1.feed.out", "block_out": "blocks.1",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("family", "inside", "q", "k", "v", "z"),
    [
        ("gpt2", "transformer.h.0.attn.", "c_attn", "c_attn", "c_attn", "c_proj"),
        ("gpt_neox", "gpt_neox.layers.0.attention.", *["query_key_value"] * 3, "dense"),
        ("llama", "model.layers.0.self_attn.", "q_proj", "k_proj", "v_proj", "o_proj"),
        # After their norms, which come before rotary positions.
        ("qwen3", "model.layers.0.self_attn.", "q_norm", "k_norm", "v_proj", "o_proj"),
        ("olmo2", "model.layers.0.self_attn.", "q_norm", "k_norm", "v_proj", "o_proj"),
        # Its queries are multiplied by a number before they are given to the function.
        ("opt", "model.decoder.layers.0.self_attn.", "q_proj", "k_proj", "v_proj", "out_proj"),
    ],
)
def test_what_heads_are_given_is_found(
    family: str, inside: str, q: str, k: str, v: str, z: str
) -> None:
    found, _ = paths(build(family))
    inner = {name: path for name, path in components(found, 0).items() if name in INNER}
    names = {"q": q, "k": k, "v": v, "z": z}
    assert inner == {component: inside + name for component, name in names.items()}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_fused_projections_are_told_apart_by_value(dtype: torch.dtype) -> None:
    """GPT-NeoX interleaves queries, keys and values head by head; GPT-2 has them in a row."""
    heads, width = 4, 8
    in_a_row = torch.arange(3 * heads * width).reshape(3, heads, width)
    for family, columns_3HK in (
        ("gpt2", in_a_row),
        ("gpt_neox", in_a_row.reshape(heads, 3, width).transpose(0, 1)),
    ):
        found, _ = paths(build(family).to(dtype))
        for component, columns_HK in zip("qkv", columns_3HK, strict=True):
            tap = found.taps[Site(0, component)]
            assert tap.layout == Columns(tuple(columns_HK.flatten().tolist()))
            assert tap.width == heads * width


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")
def test_grouped_keys_and_values_have_their_own_width() -> None:
    for family, width in (("llama", 16), ("phi3", 16), ("gpt_bigcode", 8)):
        found, _ = paths(build(family))
        widths = [found.taps[Site(1, component)].width for component in "qkv"]
        assert widths == [32, width, width]


@pytest.mark.parametrize(
    ("family", "path", "width"),
    [
        ("mamba", "backbone.layers.0.mixer.conv1d", 64),
        ("mamba2", "backbone.layers.0.mixer.conv1d", 80),
        ("bamba", "model.layers.0.mamba.conv1d", 80),
        ("recurrent_gemma", "model.layers.0.temporal_block.conv_1d", 32),
        ("lfm2", "model.layers.0.conv.conv", 32),
    ],
)
def test_short_convolutions_are_found(family: str, path: str, width: int) -> None:
    known_here(family)
    found, _ = paths(build(family))
    tap = found.taps[Site(0, "conv_out")]
    assert (tap.path, tap.width) == (path, width)


def test_a_mixture_of_experts_is_the_feed_forward_part() -> None:
    found, _ = paths(build("mixtral"))
    name = components(found, 0)["mlp_out"].rpartition(".")[2]
    assert name in ("mlp", "block_sparse_moe")  # the latter before transformers 5


def test_layers_of_different_kind_each_have_their_own_mixer() -> None:
    found, _ = paths(build("jamba"))
    mixers = [components(found, layer)["mixer_out"] for layer in range(4)]
    assert [path.rpartition(".")[2] for path in mixers] == ["mamba", "self_attn"] * 2
    assert all("mlp_out" in components(found, layer) for layer in range(4))


@pytest.mark.parametrize(
    ("block", "component", "reason"),
    [
        (TwoMixers, "mixer_out", "several sequence mixers: blocks.0.mixer, blocks.0.second"),
        (TwoMixers, "mixer_in", "several sequence mixers: blocks.0.mixer, blocks.0.second"),
        (Projected, "mlp_out", "blocks.0.out projects the output of blocks.0.mixer"),
        (OneMixer, "mlp_out", "no module with matrices"),
        (
            lambda: OneMixer(Side(NormedSum())),
            "mixer_out",
            "mixer combines .* stream inside",
        ),
        (OneMixer, "q", "no attention function of transformers runs"),
        (OneMixer, "conv_out", "no short convolution"),
        (
            lambda: OneMixer(GatedAttention()),
            "z",
            "takes what the heads read as it is",
        ),
    ],
)
def test_what_is_no_single_activation_is_no_site(
    block: Callable[[], nn.Module], component: str, reason: str
) -> None:
    found, _ = paths(Stacked(block))
    site = Site(0, component)
    assert site not in found.taps
    assert re.search(reason, found.absent[site])


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")
@pytest.mark.parametrize("family", FAMILIES)
def test_every_site_exists_or_says_why_not(family: str) -> None:
    known_here(family)
    found, _ = paths(build(family))
    assert len(found.taps) + len(found.absent) == 10 * len(found.blocks)
    assert not set(found.taps) & set(found.absent)
    assert all(found.absent.values())


@pytest.mark.parametrize(("in_list", "block"), [(True, "layers.0"), (False, "first")])
def test_recurrent_layers_are_blocks(in_list: bool, block: str) -> None:
    found, named = paths(Recurrent(in_list))
    assert named == {"block": block, "embedding": "embedding", "norm": "norm", "head": "head"}
    assert len(found.blocks) == 3
    assert {site.component for site in found.taps} == {"block_in", "block_out"}


@pytest.mark.parametrize("norm_first", [True, False])
def test_encoder_of_torch(norm_first: bool) -> None:
    found, named = paths(Attention(norm_first))
    assert named["block"] == "encoder.layers.0"
    assert found.positions == 40
    assert components(found, 1)["mixer_out"] == "encoder.layers.1.self_attn"
    assert components(found, 1)["mlp_out"] == "encoder.layers.1.linear2"
    assert "same stream" in found.absent[Site(0, "mixer_in")]  # query, key and value


def test_a_shared_mixer_is_no_site_but_the_rest_is() -> None:
    found, _ = paths(SharedMixer())
    assert "runs 2 times" in found.absent[Site(0, "mixer_out")]
    assert components(found, 1)["mlp_out"] == "blocks.1.down"


def test_residuals_and_norms_in_modules_of_their_own_are_opened() -> None:
    found, named = paths(Nested())
    assert named["block"] == "blocks.0"
    assert components(found, 1) == {
        "block_in": "blocks.1", "mixer_in": "blocks.1.0.part.part",
        "mixer_out": "blocks.1.0.part.part", "mlp_out": "blocks.1.1.part.part.2",
        "block_out": "blocks.1",
    }  # fmt: skip


def test_members_with_residuals_outside_the_list_are_no_blocks() -> None:
    """Patching them would not replace the stream."""
    found, named = paths(Recurrent(in_list=True, residual=True), block=False)
    assert (found.blocks, dict(found.taps)) == ((), {})
    assert re.match("none of its module lists runs each member once, in order", found.no_blocks)
    assert named == {"embedding": "embedding", "norm": None, "head": "head"}


class Patching(Recurrent):
    """Reads its text twice: a larger model of its own says where patches begin, and no more."""

    def __init__(self, in_all: float = 0.0) -> None:
        super().__init__(in_list=True)
        self.in_all = in_all
        self.patcher = nn.ModuleList(nn.GRU(24, 24, 2, batch_first=True) for _ in range(3))

    def forward(self, tokens_BT: Tensor) -> Tensor:
        stream_BTD = self.embedding(tokens_BT)
        for part in self.patcher:
            stream_BTD, _ = part(stream_BTD)
        return super().forward(tokens_BT) + self.in_all * stream_BTD.mean(-1, keepdim=True)


def test_the_blocks_are_those_that_decide_the_answer() -> None:
    module = Patching().eval()
    assert find_structure(module).blocks == tuple(module.layers)
    found = find_structure(Patching(in_all=1.0).eval())
    assert not found.blocks
    assert found.no_blocks == "of several lists of modules in a row none decides the answer alone"


def test_blocks_can_be_named() -> None:
    module = Recurrent(in_list=True, residual=True)
    found = find_structure(module, ["layers.0", "layers.2"])
    assert found.blocks == (module.layers[0], module.layers[2])
    assert found.no_blocks is None
    for wrong, said in (
        (["layers.0", "layers.7"], "'layers.7' cannot be a block: it does not exist"),
        (["embedding"], "'embedding' cannot be a block: it works on something else"),
        (["layers"], "'layers' cannot be a block: it is called 0 times"),
        (["layers.1", "layers.0"], "in the order in which they run"),
        ([], "at least one block"),
    ):
        with pytest.raises(UsageError, match=said):
            find_structure(module, wrong)


def test_a_module_that_does_not_take_tokens_is_refused() -> None:
    with pytest.raises(UsageError, match="does not run on token ids of shape"):
        find_structure(nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4)))


def test_modes_hooks_and_random_state_are_left_alone() -> None:
    module = Recurrent(in_list=True).train()
    module.norm.eval()
    before = torch.random.get_rng_state()
    find_structure(module)
    assert module.training
    assert not module.norm.training
    assert torch.equal(torch.random.get_rng_state(), before)
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in module.modules())


def test_a_copy_has_taps_of_its_own() -> None:
    module = Recurrent(in_list=True)
    holder = copy.deepcopy([module, find_structure(module)])
    assert holder[1].blocks[0] is holder[0].layers[0]
    assert holder[1].taps[Site(0, "block_in")].module is holder[0].layers[0]
