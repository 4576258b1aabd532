"""The architectures of the study of retrieval: contract, counts, definitions, engines."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.nn import functional

import mecheval
from mecheval.builtin.model_registry.based import taylor_features
from mecheval.checks import all_passed
from mecheval.errors import UsageError
from mecheval.interventions import recovery_grid
from mecheval.models.checks import check_model
from mecheval.models.kernels.long_convolution import long_convolution

NAMES = ("deltanet", "gated_deltanet", "gla", "based", "base_conv", "hyena", "h3")
VARIANTS = [
    "deltanet[positions=learned,context=12,mlp_ratio=0]",
    "deltanet[d_conv=0,eigenvalues=[-1,1]]",
    "deltanet[heads=4,kernel=reference]",
    "gated_deltanet[d_conv=1,eigenvalues=[-1,1],expand=1]",
    "gla[d_conv=0,d_key=8,heads=2,rank=2]",
    "based[pattern=attention,heads=2,d_key=4]",
    "based[pattern=conv-conv-attention,kernel=reference]",
    "base_conv[pattern=long,filter_positions=1024,filter_std=0.02]",
    "hyena[filter_positions=1024,filter_std=0.02,skip=false]",
    "hyena[d_conv=0,filter_positions=5]",
    "h3[d_state=256,d_shift=64]",
    "h3[d_state=2,d_shift=1]",
]


def build(text: str, vocab_size: int = 6) -> mecheval.SequenceModel:
    return mecheval.load_model(text, vocab_size=vocab_size)


def mixer_of(text: str, layer: int = 0):
    """Return a mixer in float64, and an input of more positions than a chunk has."""
    mixer = build(text).double().blocks[layer].mixer
    generator = torch.Generator().manual_seed(0)
    return mixer, torch.randn(2, 40, 32, generator=generator, dtype=torch.float64)


def n_parameters(module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def agree(found, expected) -> bool:
    return torch.allclose(found, expected, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("name", NAMES)
def test_contract(name, dtype):
    keeps_the_contract(build(f"{name}[layers=2,width=16]").to(dtype))


@pytest.mark.parametrize("text", VARIANTS)
def test_contract_with_other_arguments(text):
    keeps_the_contract(build(text.replace("[", "[layers=2,width=16,", 1)).double())


def keeps_the_contract(built):
    checks = check_model(built)
    assert all_passed(checks), "\n".join(map(str, checks))
    assert all(check.passed for check in checks)


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


def test_based_has_the_mixers_of_the_study():
    """Two layers of width 128 and 26 tokens have 319,872 parameters there, 320,640 in our shell."""
    built = build("based[layers=2,width=128]", vocab_size=26)
    short, attention = (n_parameters(block.mixer) for block in built.blocks)
    assert (short, attention) == (17_024, 34_816)
    assert n_parameters(built) == 320_640
    norms, biases, head = 2 * 2 * 256 + 256, 2 * (512 + 128), 26 * 128
    assert n_parameters(built) + norms + biases - head == 319_872


@pytest.mark.parametrize(
    ("text", "mixer"),
    [
        ("deltanet", 4 * 32**2 + 3 * 32 * 5 + 32),
        ("deltanet[d_conv=0,heads=4]", 4 * 32**2 + 4 * 32),
        ("gated_deltanet", (2 + 2 + 2 + 2) * 32**2 + 4 * 32 * 5 + 2 * 32 + 2),
        ("gla", (1 + 1 + 1 + 1) * 32**2 + 64 * 5 + 32 * 16 + 16 * 16 + 16),
        ("based[pattern=conv]", 32**2 + 32 + 4 * 32),
        ("base_conv[pattern=long]", 32**2 + 32 + 4 * 16 + 17 * 32),
        ("hyena", 4 * (32**2 + 32) + 4 * 96 + 4 * 64 + 2 * 65 * 64 + 64 + 64 * 32 + 32),
        ("h3", 4 * (32**2 + 32) + 5 * 32 + 32 + 16 * (2 + 4 * 32)),
    ],
)
def test_parameter_counts(text, mixer):
    built = build(text)
    assert [n_parameters(block.mixer) for block in built.blocks] == [mixer] * 4
    assert n_parameters(built) == 4 * (mixer + 8 * 32**2) + 2 * 6 * 32


def test_taylor_features_are_a_second_order_exponential():
    q_BTHK, k_BTHK = torch.randn(2, 1, 5, 1, 8, dtype=torch.float64)
    x_TS = q_BTHK[0, :, 0] @ k_BTHK[0, :, 0].T / math.sqrt(8)
    features = [taylor_features(x)[0, :, 0] for x in (q_BTHK, k_BTHK)]
    assert features[0].shape[-1] == 73
    assert agree(features[0] @ features[1].T, 1 + x_TS + x_TS**2 / 2)


def test_based_attention_is_a_weighted_mean():
    mixer, x_BTD = mixer_of("based[pattern=attention,heads=2]")
    q, k, v = mixer.qkv(x_BTD).split(mixer.sizes, -1)
    q, k, v = (part.unflatten(-1, (2, -1)).transpose(1, 2) for part in (q, k, v))
    scores = q @ k.transpose(-1, -2) / math.sqrt(8)
    weights = (1 + scores + scores**2 / 2).tril()
    read = (weights / weights.sum(-1, keepdim=True)) @ v
    assert agree(mixer(x_BTD), mixer.out(read.transpose(1, 2).flatten(2)))


def test_gated_convolutions_follow_their_formula():
    short, x_BTD = mixer_of("base_conv[pattern=short]")
    conv = torch.stack(
        [
            short.conv.bias
            + sum(
                short.conv.weight[:, 0, 2 - lag] * x_BTD[:, t - lag] for lag in range(min(t, 2) + 1)
            )
            for t in range(40)
        ],
        1,
    )
    assert agree(short(x_BTD), conv * short.gate(x_BTD) + x_BTD)
    long, x_BTD = mixer_of("base_conv[pattern=long]")
    conv = summed(x_BTD, long.filter(40)) + x_BTD
    assert agree(long(x_BTD), conv * long.gate(x_BTD) + x_BTD)


def summed(x_BTD, filter_TD):
    """Return the long convolution, term by term."""
    return torch.stack(
        [sum(filter_TD[t - s] * x_BTD[:, s] for s in range(t + 1)) for t in range(x_BTD.shape[1])],
        1,
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("longest_sum", [0, 100], ids=["transformed", "summed"])
def test_long_convolution(longest_sum, dtype, monkeypatch):
    monkeypatch.setattr("mecheval.models.kernels.long_convolution.LONGEST_SUM", longest_sum)
    tolerance = {torch.float32: 1e-5, torch.float64: 1e-12, torch.bfloat16: 3e-2}[dtype]
    for n_positions in (1, 2, 17):
        u_BTD, filter_TD = torch.randn(3, n_positions, 4).to(dtype), torch.randn(n_positions, 4)
        expected = summed(u_BTD.double(), filter_TD.double())
        for n_last in range(1, n_positions + 1):
            found = long_convolution(u_BTD, filter_TD, n_last=n_last)
            assert found.dtype == dtype
            assert torch.allclose(
                found.double(), expected[:, -n_last:], rtol=tolerance, atol=10 * tolerance
            )


@pytest.mark.parametrize("longest_sum", [0, 100], ids=["transformed", "summed"])
def test_a_large_input_does_not_leak_into_earlier_outputs(longest_sum, monkeypatch):
    monkeypatch.setattr("mecheval.models.kernels.long_convolution.LONGEST_SUM", longest_sum)
    u_BTD, filter_TD = torch.randn(1, 30, 4), torch.randn(30, 4)
    larger_BTD = u_BTD.clone()
    larger_BTD[:, 20] = 1e4
    before, after = (long_convolution(x, filter_TD, n_last=30) for x in (u_BTD, larger_BTD))
    assert torch.allclose(after[:, :20], before[:, :20], rtol=0, atol=1e-6)


@pytest.mark.parametrize("skip", ["true", "false"])
def test_hyena_is_a_convolution_between_gates(skip):
    mixer, x_BTD = mixer_of(f"hyena[skip={skip}]")
    assert (mixer.D is not None) == (skip == "true")
    v, x1, x2 = mixer.conv(mixer.in_proj(x_BTD), "torch").chunk(3, -1)
    u = v * x1
    sums = summed(u, mixer.filter(40)) + (mixer.D * u if skip == "true" else 0)
    assert agree(mixer(x_BTD), mixer.out(sums * x2))


def test_filters_of_the_study_start_almost_constant_and_almost_zero():
    """Over 37 of 1024 positions; and not over 37 of 64."""
    spread, size = {}, {}
    for name, layer in (("hyena", 0), ("base_conv", 1)):
        for form in ("filter_positions=1024,filter_std=0.02", "filter_positions=37"):
            filter_SD = build(f"{name}[width=128,{form}]").blocks[layer].mixer.filter(37)
            key = name, form.endswith("37")
            size[key] = filter_SD.std().item()
            spread[key] = (filter_SD.std(0) / filter_SD.abs().mean(0)).median().item()
    assert size["hyena", False] < 2e-4 < 0.01 < size["hyena", True]
    for name in ("hyena", "base_conv"):
        assert spread[name, False] < 0.2 < 0.3 < spread[name, True]


def test_hyena_forgets_at_a_rate_per_channel():
    filter_ = build("hyena").blocks[0].mixer.filter
    share = torch.tensor([[0.3], [1.5]])
    window = filter_._window(share)
    assert window[0, -1].item() == pytest.approx(0.01)
    assert window[1, 0].item() == pytest.approx(0.01)
    assert (window[:, :-1] > window[:, 1:]).all()


def test_h3_remembers_products_of_shifted_keys_and_values():
    mixer, x_BTD = mixer_of("h3[d_state=6]")
    q, before, v = mixer.qkv(x_BTD).chunk(3, -1)
    k = mixer.shift(before, "torch") + mixer.D1 * before
    q, k, v = (part.unflatten(-1, (16, 2)) for part in (q, k, v))
    A = torch.complex(-mixer.A_real_log.exp(), mixer.A_imag)
    Abar = torch.exp(mixer.log_dt.exp()[:, None] * A)
    C = torch.view_as_complex(mixer.C)
    assert torch.allclose(A.real, torch.tensor(-0.5, dtype=torch.float64))
    assert torch.allclose(A.imag[0] / math.pi, torch.arange(3, dtype=torch.float64))
    state, outputs = torch.zeros(2, 16, 2, 2, 3, dtype=torch.complex128), []
    for t in range(40):
        product = k[:, t, :, :, None] * v[:, t, :, None, :]
        state = Abar[:, None, None] * state + ((Abar - 1) / A)[:, None, None] * product[..., None]
        sums = 2 * (C[:, None, None] * state).sum(-1).real + mixer.D2[:, None, None] * product
        outputs.append((q[:, t, :, :, None] * sums).sum(-2))
    assert agree(mixer(x_BTD), mixer.out(torch.stack(outputs, 1).flatten(2)))


@pytest.mark.parametrize(
    "text", ["deltanet[eigenvalues=[-1,1]]", "gated_deltanet[heads=2]", "gla[heads=2]"]
)
def test_matrices_follow_their_recurrence(text):
    mixer, x_BTD = mixer_of(text)
    signals = mixer.project(x_BTD, ())
    q, k, v = (signals[name] for name in "qkv")
    state, outputs = torch.zeros(*k[:, 0].shape, v.shape[-1], dtype=torch.float64), []
    for t in range(40):
        if "log_decay" in signals:
            decay = signals["log_decay"][:, t].exp()
            state = state * (decay[..., None] if decay.ndim == 3 else decay[..., None, None])
        new = v[:, t]
        if "beta" in signals:
            held = (k[:, t, :, None] @ state)[..., 0, :]
            new = signals["beta"][:, t, :, None] * (new - held)
        state = state + k[:, t, :, :, None] * new[..., None, :]
        outputs.append((q[:, t, :, None] @ state)[..., 0, :])
    read = functional.rms_norm(torch.stack(outputs, 1), v.shape[-1:], eps=1e-5).flatten(2)
    assert agree(mixer(x_BTD), mixer.out(read * signals.get("gate", torch.ones(()))))


def test_signals_are_in_their_ranges():
    for eigenvalues, largest in (("[0,1]", 1), ("[-1,1]", 2)):
        mixer, x_BTD = mixer_of(f"deltanet[heads=4,eigenvalues={eigenvalues}]")
        signals = mixer.project(50 * x_BTD, ())
        assert signals["beta"].min() < 0.01 * largest
        assert 0.99 * largest < signals["beta"].max() <= largest
        for name in ("q", "k"):
            assert agree(signals[name].norm(dim=-1), torch.ones((), dtype=torch.float64))
    for name in ("gla", "gated_deltanet"):
        mixer, x_BTD = mixer_of(name)
        log_decay = mixer.project(x_BTD, ())["log_decay"]
        assert (log_decay < 0).all()
    mixer, x_BTD = mixer_of("gla")
    at_rest = mixer.project(0 * x_BTD, ())["log_decay"]
    assert at_rest.shape == (2, 40, 1, 16)
    assert agree(at_rest, torch.tensor(math.log(0.5) / 16, dtype=torch.float64))


@pytest.mark.parametrize(
    "text", ["deltanet", "gated_deltanet", "gla", "based[pattern=attention]",
             "base_conv[pattern=long]", "hyena", "h3[d_state=4]"],
)  # fmt: skip
def test_what_is_written_is_all_that_later_positions_see(text):
    """As it was written, nothing changes; and changed at one position, nothing before it does."""
    mixer, x_BTD = mixer_of(text)
    _, state = mixer.read(mixer.project(x_BTD[:, :7], ()), ())
    signals = mixer.project(x_BTD[:, 7:], state)
    written = mixer.written(signals, state)
    assert len(written) == len(mixer.writes) > 0
    as_it_was = mixer.reread(signals, written, state)
    assert agree(as_it_was, mixer(x_BTD)[:, 7:])
    for i, name in enumerate(mixer.writes):
        parts = [part.clone() for part in written]
        parts[i][:, 4] *= 0.5
        moved_T = (mixer.reread(signals, tuple(parts), state) - as_it_was).abs().amax((0, 2))
        assert moved_T[:4].max() < 1e-10, name
        assert moved_T[4:12].min() > 1e-10, name


@pytest.mark.parametrize("text", ["base_conv[pattern=long]", "hyena", "h3[d_state=4]"])
def test_skips_and_gates_are_not_written(text):
    """Without what was written, the output of a position depends on its own input alone."""
    mixer, x_BTD = mixer_of(text)
    signals = mixer.project(x_BTD, ())
    nothing = tuple(torch.zeros_like(part) for part in mixer.written(signals, ()))
    left_BTD = mixer.reread(signals, nothing, ())
    for name in ("normed", "u", "k"):
        if name in signals:
            signals = {**signals, name: signals[name].clone()}
            signals[name][:, 3] += 1
    moved_T = (mixer.reread(signals, nothing, ()) - left_BTD).abs().amax((0, 2))
    assert moved_T[3] > 1e-6
    assert moved_T[:3].max() == moved_T[4:].max() == 0


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


@pytest.mark.parametrize("name", ["based", "base_conv", "deltanet", "hyena", "h3"])
def test_tails_equal_hooks_where_layers_differ(name):
    """With the default pattern; a component that a layer lacks has no value in either engine."""
    rng = np.random.default_rng(0)
    clean = rng.integers(0, 7, (4, 9))
    corrupted = clean.copy()
    corrupted[:, 3] = (clean[:, 3] + 1) % 7
    model = mecheval.load_model(f"{name}[layers=2,width=16]", vocab_size=7).double()
    components = tuple(dict.fromkeys(site.component for site in model.taps()))
    grids = [
        recovery_grid(
            model, clean_BT=clean, corrupted_BT=corrupted, answers_B=np.array([0, 1, 2, 0]),
            foils_B=np.array([3, 4, 5, 6]), readout_B=np.array([8, 7, 8, 6]),
            components=components, engine=engine,
        )
        for engine in ("tails", "hooks")
    ]  # fmt: skip
    assert grids[0].execution.engine == "tails"
    assert np.isfinite(grids[1].patched).any()
    np.testing.assert_allclose(grids[0].patched, grids[1].patched, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("deltanet[heads=3]", "a width that heads divide"),
        ("deltanet[eigenvalues=[0,2]]", "eigenvalues=[0,1] or eigenvalues=[-1,1]"),
        ("deltanet[d_conv=-1]", "d_conv of at least 0"),
        ("deltanet[kernel=fast]", "choose one of auto, reference, fused"),
        ("deltanet[positions=rope]", "positions to be one of none, learned"),
        ("deltanet[mlp_ratio=-1]", "mlp_ratio from 0"),
        ("gated_deltanet[expand=0]", "expand of at least 1"),
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
        ("gla", "linear_attention:torch"),
        ("based", "linear_attention:torch"),
        ("hyena", "long_convolution:torch"),
        ("h3", "long_convolution:torch"),
    ],
)
def test_kernels_are_recorded(text, kernel):
    built = build(text)
    built(torch.zeros(1, 3, dtype=torch.long))
    assert built.kernels == (kernel,)
