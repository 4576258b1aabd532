"""The paper's shell: the study's parameter counts and draws, and all that the own shell can do."""

from __future__ import annotations

import copy

import pytest
import torch
from own_models import OWN, REGISTRY, build, keeps_the_contract, n_parameters, tails_equal_hooks
from torch import nn
from torch.nn import functional

from mecheval.errors import UsageError
from mecheval.models.load import resolve
from mecheval.models.stack.shell import TiedHead
from mecheval.spec import parse_spec
from mecheval.training.checkpoints import state_sha256


@pytest.mark.parametrize(
    ("text", "vocabulary", "count"),
    [
        ("attention[layers=2,width=256,shell=paper]", 26, 1_847_296),
        ("based[layers=2,width=128,shell=paper]", 26, 319_872),
        ("mamba[layers=1,width=256,shell=paper]", 26, 445_184),
        ("mamba[layers=2,width=128,shell=paper]", 26, 236_800),
        ("mamba[layers=2,width=256,shell=paper]", 8196, 2_974_720),
    ],
)
def test_parameter_counts_of_the_study(text, vocabulary, count):
    assert n_parameters(build(text, vocabulary)) == count


@pytest.mark.parametrize("name", ["attention", "based", "h3", "hybrid", "lstm", "mamba", "rwkv7"])
def test_contract_and_engines(name):
    """With every argument of the shell at once; `conv_out` and the like are as without it."""
    text = f"{name}[layers=2,width=16,shell=paper,positions=learned,context=12"
    text += "]" if name == "hybrid" else ",mlp_ratio=2]"
    built = build(text, 7)
    assert all(block.mlp is not None for block in built.blocks) == (name != "hybrid")
    keeps_the_contract(built)
    shake(built)
    tails_equal_hooks(built.double())


def shake(built) -> None:
    """Move biases and the weights of norms away from 0 and 1, where they would change nothing."""
    with torch.no_grad():
        for parameter in built.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))


def test_readout_is_tied_normed_and_without_bias():
    built = build("attention[layers=1,shell=paper]").double()
    shake(built)
    stream_BTD = torch.randn(2, 3, 32, dtype=torch.float64)
    normed_BTD = functional.layer_norm(stream_BTD, (32,), built.norm.weight, built.norm.bias)
    logits_BTC = normed_BTD @ built.embedding.weight.T
    assert torch.allclose(built.readout(stream_BTD), logits_BTC)
    readout = built.decomposition().readout
    assert torch.allclose(readout(stream_BTD[:, 0], None), logits_BTC[:, 0])
    tokens_BA = torch.tensor([[1, 4], [5, 0]])
    chosen_BA = logits_BTC[:, 0].gather(1, tokens_BA)
    assert torch.allclose(readout(stream_BTD[:, 0], tokens_BA), chosen_BA)


def test_mamba_has_a_norm_without_mean_before_the_mixer():
    built = build("mamba[layers=1,shell=paper]")
    stream_BTD = torch.randn(2, 3, 32)
    found_BTD = built.blocks[0].mixer_norm(stream_BTD)
    assert torch.allclose(found_BTD, functional.rms_norm(stream_BTD, (32,), eps=1e-5))
    assert isinstance(built.norm, nn.LayerNorm)
    norms = [type(b.mixer_norm) for b in build("hybrid[shell=paper]").blocks]
    assert norms == [nn.RMSNorm, nn.LayerNorm] * 2


def test_the_tied_head_follows_its_embedding():
    """Through copies, types and files, and with parameters put in from outside; saved once."""
    built, tokens_BT = build("attention[layers=1,shell=paper]"), torch.arange(6)[None]
    assert isinstance(built.head, TiedHead)
    assert not [name for name in built.state_dict() if "head" in name]
    other = copy.deepcopy(built).double()
    other.embedding.weight.data.mul_(2)
    assert other.head.weight is other.embedding.weight
    assert not torch.equal(built.embedding.weight.double(), other.embedding.weight)
    given = {name: 2 * value for name, value in built.state_dict().items()}
    called_BTC = torch.func.functional_call(built, given, (tokens_BT,))
    twin = build("attention[layers=1,shell=paper]")
    twin.load_state_dict(given)
    assert torch.equal(called_BTC, twin(tokens_BT))
    twin(tokens_BT).sum().backward()
    assert twin.embedding.weight.grad is not None


def test_weights_have_the_scale_of_the_study():
    built = build("attention[layers=8,width=256,shell=paper]", 512)
    block = built.blocks[0]
    for weight, std in (
        (built.embedding.weight, 0.02),
        (built.positions.weight, 0.02),
        (block.mixer.qkv.weight, 0.02),
        (block.mixer.out.weight, 0.02 / 4),
        (block.mlp.up.weight, 0.02),
        (block.mlp.down.weight, 0.02 / 4),
    ):
        assert weight.detach().std().item() == pytest.approx(std, rel=0.03)
    for bias in (block.mixer.out.bias, block.mlp.up.bias, block.mlp.down.bias):
        assert not bias.any()
    mixer = build("mamba[layers=8,width=256,shell=paper]").blocks[0].mixer
    for matrix, bound in (
        (mixer.in_proj, 256**-0.5), (mixer.x_proj, 512**-0.5), (mixer.out_proj, 4096**-0.5),
    ):  # fmt: skip
        largest = matrix.weight.detach().abs().max().item()
        assert largest == pytest.approx(bound, rel=0.01)
    steps = functional.softplus(mixer.dt_bias)
    assert 0.001 <= steps.min() < steps.max() <= 0.1


def test_filters_are_drawn_by_their_own_argument():
    std = {}
    for shell in ("own", "paper"):
        for asked in (0.0, 0.02):
            text = f"hyena[width=128,shell={shell},filter_std={asked}]"
            mixer = build(text).blocks[0].mixer
            std[shell, asked] = mixer.filter.hidden[1].weight.detach().std().item()
            if shell == "paper":
                assert mixer.in_proj.weight.detach().std().item() == pytest.approx(0.02, rel=0.05)
    for shell in ("own", "paper"):
        assert std[shell, 0.0] == pytest.approx(1 / 8, rel=0.05)
        assert std[shell, 0.02] == pytest.approx(0.02, rel=0.05)


@pytest.mark.parametrize("name", [name for name in OWN if name not in ("hybrid", "transformer")])
def test_positions_and_feed_forward_part_are_arguments_of_all(name):
    """A repeated token is told apart by learned positions; by the memory otherwise."""
    bare = build(f"{name}[layers=1,positions=none,mlp_ratio=0]")
    full = build(f"{name}[layers=1,positions=learned,context=12,mlp_ratio=2]")
    assert (bare.positions, bare.blocks[0].mlp, bare.context_limit) == (None, None, None)
    assert full.context_limit == len(full.positions.weight) == 12
    assert full.blocks[0].mlp.up.out_features == 64
    assert n_parameters(full) == n_parameters(bare) + 12 * 32 + 2 * 32 * 64
    with pytest.raises(UsageError, match="was given 13"):
        full(torch.zeros(1, 13, dtype=torch.long))


@pytest.mark.parametrize(
    ("text", "later"),
    [
        ("mamba", {"mlp_ratio": 4, "positions": "learned", "context": 30, "shell": "paper"}),
        ("lstm", {"mlp_ratio": 4, "positions": "learned", "context": 30, "shell": "paper"}),
        ("transformer", {"shell": "paper"}),
        ("deltanet", {"shell": "paper"}),
    ],
)
def test_later_arguments_are_part_of_the_identity_once_given(text, later):
    """At their defaults they are not, so that what was trained without them is found again."""
    plain = resolve(parse_spec(text), REGISTRY).identity().args
    assert not set(later) & set(plain)
    for name, value in later.items():
        changed = resolve(parse_spec(f"{text}[{name}={value}]"), REGISTRY).identity().args
        assert changed == {**plain, name: value}


@pytest.mark.parametrize(
    ("text", "digest"),
    [
        ("transformer", "2b24d52ae2431f70"),
        ("mamba", "29997022238257a0"),
        ("deltanet[positions=learned,context=12,mlp_ratio=0]", "e8fde22693f12b21"),
        ("hyena", "c32506673d634b28"),
        ("lstm", "388b56a28211d8c4"),
    ],
)
def test_own_weights_are_drawn_as_ever(text, digest):
    """Trained checkpoints and reports rely on it; another digest is another model.

    It is the same everywhere: see ``test_drawing.py`` for vector units, threads and switches.
    """
    assert state_sha256(build(text, 7))[:16] == digest


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("mamba[shell=papr]", "shell to be one of own, paper"),
        ("mamba[positions=rope]", "positions to be one of none, learned"),
        ("gru[mlp_ratio=-1]", "mlp_ratio of at least 0"),
        ("gru[positions=learned,context=0]", "context of at least 1"),
    ],
)
def test_bad_arguments_are_refused(text, message):
    with pytest.raises(UsageError, match=message):
        build(text)
