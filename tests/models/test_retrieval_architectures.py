"""The architectures of the study of retrieval: contract, counts, engines, arguments."""

from __future__ import annotations

import pytest
import torch
from crossings import mostly_slow
from own_models import build, keeps_the_contract, n_parameters, tails_equal_hooks
from torch.nn import functional

from mecheval.errors import UsageError

NAMES = (
    "attention", "base_conv", "based", "deltanet", "deltaproduct", "gated_deltanet",
    "gated_deltaproduct", "gla", "h3", "hyena", "hybrid", "rwkv7",
)  # fmt: skip
DTYPES = (torch.float32, torch.float64)
VARIANTS = [
    "deltanet[positions=learned,context=12,mlp_ratio=0]",
    "deltanet[d_conv=0,eigenvalues=[-1,1]]",
    "deltanet[heads=4,kernel=reference]",
    "gated_deltanet[d_conv=1,eigenvalues=[-1,1],expand=1]",
    "deltaproduct[d_conv=0,n_h=3,heads=2,eigenvalues=[-1,1]]",
    "deltaproduct[n_h=1,kernel=reference]",
    "gated_deltaproduct[d_conv=1,eigenvalues=[-1,1],expand=1]",
    "gla[d_conv=0,d_key=8,heads=2,rank=2]",
    "based[pattern=attention,heads=2,d_key=4]",
    "based[pattern=conv-conv-attention,kernel=reference]",
    "base_conv[pattern=long,filter_positions=1024,filter_std=0.02]",
    "hyena[filter_positions=1024,filter_std=0.02,skip=false]",
    "hyena[d_conv=0,filter_positions=5]",
    "h3[d_state=256,d_shift=64]",
    "h3[d_state=2,d_shift=1]",
    "rwkv7[heads=4,rank=2]",
    "rwkv7[kernel=reference,mlp_ratio=0]",
    "attention[heads=4,context=12,mlp_ratio=1]",
    "attention[positions=none]",
]


@pytest.mark.parametrize("dtype", mostly_slow(DTYPES, always=DTYPES[:1]), ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_contract(name, dtype):
    keeps_the_contract(build(f"{name}[layers=2,width=16]").to(dtype))


@pytest.mark.parametrize("text", VARIANTS)
def test_contract_with_other_arguments(text):
    keeps_the_contract(build(text.replace("[", "[layers=2,width=16,", 1)).double())


@pytest.mark.parametrize("name", NAMES)
def test_trains_in_half_precision_and_reaches_every_parameter(name):
    built, tokens_BT = build(name), torch.arange(12).reshape(2, 6) % 6
    with torch.autocast("cpu", torch.bfloat16):
        logits_BTC = built(tokens_BT)
    functional.cross_entropy(logits_BTC.float().flatten(0, 1), tokens_BT.flatten()).backward()
    for parameter_name, parameter in built.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert parameter.grad.isfinite().all(), parameter_name
        assert parameter.grad.abs().max() > 0, parameter_name


@pytest.mark.parametrize(
    ("text", "mixer"),
    [
        ("deltanet", 4 * 32**2 + 3 * 32 * 5 + 32),
        ("deltanet[d_conv=0,heads=4]", 4 * 32**2 + 4 * 32),
        ("gated_deltanet", (2 + 2 + 2 + 2) * 32**2 + 4 * 32 * 5 + 2 * 32 + 2),
        ("deltaproduct", 6 * 32**2 + 5 * 32 * 5 + 2 * 32),
        ("gated_deltaproduct[n_h=3]", (4 + 6 + 2 + 2) * 32**2 + 10 * 32 * 5 + 4 * 32 + 2),
        ("gla", (1 + 1 + 1 + 1) * 32**2 + 64 * 5 + 32 * 16 + 16 * 16 + 16),
        ("based[pattern=conv]", 32**2 + 32 + 4 * 32),
        ("base_conv[pattern=long]", 32**2 + 32 + 4 * 16 + 17 * 32),
        ("hyena", 4 * (32**2 + 32) + 4 * 96 + 4 * 64 + 2 * 65 * 64 + 64 + 64 * 32 + 32),
        ("rwkv7", (4 + 6) * 32**2 + 11 * 32),
        ("attention[positions=none]", 4 * 32**2),
        ("h3", 4 * (32**2 + 32) + 5 * 32 + 32 + 16 * (2 + 4 * 32)),
    ],
)
def test_parameter_counts(text, mixer):
    built = build(text)
    assert [n_parameters(block.mixer) for block in built.blocks] == [mixer] * 4
    assert n_parameters(built) == 4 * (mixer + 8 * 32**2) + 2 * 6 * 32


def test_patterns_say_which_layer_is_which():
    for text, kinds in (
        ("based", "stst"),
        ("based[pattern=attention]", "tttt"),
        ("based[pattern=conv-conv-attention]", "ssts"),
        ("base_conv", "slsl"),
    ):
        mixers = {"ShortGatedConvolution": "s", "TaylorAttention": "t", "LongGatedConvolution": "l"}
        found = [mixers[type(block.mixer).__name__] for block in build(text).blocks]
        assert "".join(found) == kinds


@pytest.mark.parametrize("name", NAMES)
def test_tails_equal_hooks(name):
    """With the default pattern, by which layers can differ."""
    tails_equal_hooks(build(f"{name}[layers=2,width=16]", 7).double())


@pytest.mark.parametrize("name", ["mamba", "mamba2"])
@pytest.mark.parametrize("taps", range(5))
def test_tails_equal_hooks_with_any_convolution(name, taps):
    built = build(f"{name}[layers=2,width=16,d_conv={taps}]", 7).double()
    assert ("conv_out" in {site.component for site in built.taps()}) == (taps > 0)
    tails_equal_hooks(built)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("deltanet[heads=3]", "a width that heads divide"),
        ("deltanet[eigenvalues=[0,2]]", "eigenvalues=[0,1] or eigenvalues=[-1,1]"),
        ("deltanet[d_conv=-1]", "d_conv of at least 0"),
        ("deltanet[kernel=fast]", "choose one of auto, reference, fused"),
        ("deltanet[positions=rope]", "positions to be one of none, learned"),
        ("deltanet[mlp_ratio=-1]", "mlp_ratio of at least 0"),
        ("gated_deltanet[expand=0]", "expand of at least 1"),
        ("deltaproduct[n_h=0]", "n_h of at least 1"),
        ("deltaproduct[heads=3]", "a width that heads divide"),
        ("gated_deltaproduct[expand=0]", "expand of at least 1"),
        ("gla[d_key=3,heads=2]", "a d_key that heads divide"),
        ("based[pattern=conv-rope]", "a pattern of conv, attention, joined by -"),
        ("based[d_conv=0]", "d_key and d_conv of at least 1"),
        ("based[kernel=fused]", "kernel=auto or kernel=reference"),
        ("base_conv[pattern=medium]", "a pattern of short, long, joined by -"),
        ("hyena[filter_positions=0]", "filter_positions of at least 1"),
        ("hyena[filter_std=-1.0]", "filter_std of at least 0"),
        ("h3[d_state=3]", "an even d_state"),
        ("h3[width=7]", "an even width"),
        ("h3[d_shift=0]", "d_shift of at least 1"),
        ("attention[heads=3]", "a width that heads divide"),
        ("attention[positions=rope]", "positions to be one of none, learned"),
        ("rwkv7[heads=3]", "a width that heads divide"),
        ("rwkv7[heads=32]", "heads of more than one channel"),
        ("rwkv7[rank=0]", "rank of at least 1"),
        ("rwkv7[kernel=fast]", "There is no kernel='fast'"),
    ],
)
def test_bad_arguments_are_refused(text, message):
    with pytest.raises(UsageError) as caught:
        build(text)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("text", "kernel"),
    [
        ("deltanet", "delta_rule:torch"),
        ("deltanet[kernel=reference]", "delta_rule:reference"),
        ("gated_deltanet", "delta_rule:torch"),
        ("deltaproduct", "delta_rule:torch"),
        ("gated_deltaproduct[kernel=reference]", "delta_rule:reference"),
        ("gla", "linear_attention:torch"),
        ("based", "linear_attention:torch"),
        ("hyena", "long_convolution:torch"),
        ("rwkv7", "generalised_delta_rule:torch"),
        ("rwkv7[kernel=reference]", "generalised_delta_rule:reference"),
        ("h3", "long_convolution:torch"),
    ],
)
def test_kernels_are_recorded(text, kernel):
    built = build(text)
    built(torch.zeros(1, 3, dtype=torch.long))
    assert built.kernels == (kernel,)
