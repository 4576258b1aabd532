"""Hybrids: which layer is which, what the parts bring, and patterns that are refused."""

from __future__ import annotations

import pytest
import torch
from own_models import build, keeps_the_contract, n_parameters, tails_equal_hooks

from mecheval.errors import UsageError
from mecheval.models.load import resolve
from mecheval.models.stack.hybrid import split_pattern
from mecheval.registry import Registry
from mecheval.spec import parse_spec

PATTERNS = [
    "mamba-attention",
    "base_conv-deltanet-transformer",
    "lstm-rwkv7-gated_deltanet",
    "mamba[d_conv=0]-mamba-attention[heads=4]",
]


def configured(text: str):
    return resolve(parse_spec(text), Registry())


def mixers(text: str) -> list[str]:
    return [type(block.mixer).__name__ for block in build(text).blocks]


@pytest.mark.parametrize("pattern", PATTERNS)
def test_contract_and_engines(pattern):
    built = build(f"hybrid[pattern={pattern},layers=3,width=16]", 7)
    keeps_the_contract(built)
    tails_equal_hooks(built.double())


def test_layers_follow_the_pattern():
    assert mixers("hybrid") == ["SelectiveStateSpace", "Attention"] * 2
    assert mixers("hybrid[pattern=lstm,layers=2]") == ["LongShortTermMemory"] * 2
    three = mixers("hybrid[pattern=lstm-gru-gla,layers=5]")
    assert three[:2] == three[3:]
    assert three[:3] == ["LongShortTermMemory", "GatedRecurrentUnit", "GatedLinearAttention"]


def test_a_part_with_a_pattern_of_its_own_goes_on_from_layer_to_layer():
    found = mixers("hybrid[pattern=based-lstm,layers=6]")
    assert found[::2] == ["ShortGatedConvolution", "TaylorAttention", "ShortGatedConvolution"]
    found = mixers("hybrid[pattern=based-based[d_conv=2],layers=4]")
    assert found == ["ShortGatedConvolution"] * 2 + ["TaylorAttention"] * 2


def test_layers_are_those_of_their_architecture():
    """As many weights, of the same scale, as in a stack of that architecture alone."""
    hybrid = build("hybrid[pattern=mamba2-transformer[heads=2],layers=6,width=64]")
    for name, layer in (("mamba2[", 2), ("transformer[heads=2,", 3)):
        alone = build(f"{name}layers=6,width=64]").blocks[layer]
        block = hybrid.blocks[layer]
        assert n_parameters(block) == n_parameters(alone)
        pairs = zip(block.named_parameters(), alone.parameters(), strict=True)
        for (parameter_name, found), wanted in pairs:
            assert found.shape == wanted.shape
            if found.numel() > 2000:
                scale = found.detach().std() / wanted.detach().std()
                assert scale.item() == pytest.approx(1, abs=0.1), parameter_name
    assert hybrid.blocks[3].mixer.heads == 2


def test_positions_are_those_of_the_whole():
    assert build("hybrid").context_limit is None
    assert build("hybrid[positions=learned,context=9]").context_limit == 9
    assert build("hybrid[pattern=lstm-transformer]").blocks[1].mixer.rotary
    learned = build("hybrid[pattern=lstm-transformer[positions=none],positions=learned]")
    assert not learned.blocks[1].mixer.rotary


def test_kernels_of_all_parts_are_recorded():
    built = build("hybrid[pattern=rwkv7-transformer]")
    built(torch.zeros(1, 3, dtype=torch.long))
    assert built.kernels == ("generalised_delta_rule:torch", "attention:scaled_dot_product")


def test_the_identity_holds_the_arguments_of_the_parts():
    args = configured("hybrid[pattern=mamba[d_conv=0]-attention,width=16]").identity().args
    assert {key: args[key] for key in ("layers", "width", "pattern")} == {
        "layers": 4, "width": 16, "pattern": "mamba[d_conv=0]-attention",
    }  # fmt: skip
    mamba, attention = args["parts"]
    assert (mamba["name"], mamba["d_conv"], mamba["d_state"]) == ("mamba", 0, 16)
    assert attention == {"name": "attention", "heads": 1, "mlp_ratio": 4, "positions": "none"}


def test_patterns_are_split_outside_brackets():
    assert split_pattern("mamba-attention") == ["mamba", "attention"]
    assert split_pattern("mamba2[eigenvalues=[-1,1]]-gla[d_conv=0]") == [
        "mamba2[eigenvalues=[-1,1]]", "gla[d_conv=0]",
    ]  # fmt: skip
    assert split_pattern("lstm-") == ["lstm", ""]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("pattern=mamab-attention", "Unknown part 'mamab' of a hybrid. Did you mean 'mamba'?"),
        ("pattern=mamba-gpt2", "'gpt2' is a pretrained checkpoint"),
        ("pattern=pythia-160m", "'pythia-...' is a pretrained checkpoint"),
        ("pattern=planted/induction-lstm", "'planted/induction' is a network with weights set by"),
        ("pattern=lstm-hybrid", "'hybrid' is a hybrid itself"),
        ("pattern=lstm-", "a pattern of names joined by -"),
        ("pattern=lstm@main", "Leave out the part after @"),
        ("pattern=lstm-gru,layers=1", "layers=2 or more for its pattern"),
        ("mlp_ratio=2", "mlp_ratio as an argument of a part"),
        ("pattern=lstm[width=8]-gru", "hybrid[pattern=...,width=8]"),
        ("pattern=attention[positions=learned]", "hybrid[pattern=...,positions=learned]"),
        ("pattern=mamba[d_con=4]", "Unknown argument 'd_con' of mamba. Did you mean 'd_conv'?"),
        ("pattern=mamba[d_conv=-1]", "Model 'mamba' needs d_conv of at least 0"),
        ("pattern=transformer,width=10", "Model 'transformer' needs a width that heads divide"),
    ],
)
def test_bad_patterns_are_refused(arguments, message):
    with pytest.raises(UsageError) as caught:
        configured(f"hybrid[{arguments}]")
    assert message in str(caught.value)
