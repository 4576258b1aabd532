"""The mixers of the study of retrieval follow their formulas, term by term."""

from __future__ import annotations

import math

import pytest
import torch
from own_models import agree, build, mixer_of
from torch.nn import functional

from mecheval.builtin.model_registry.based import taylor_features
from mecheval.models.kernels.long_convolution import long_convolution


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
@pytest.mark.parametrize("longest_sum", [0, 1000], ids=["transformed", "summed"])
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


@pytest.mark.parametrize("longest_sum", [0, 1000], ids=["transformed", "summed"])
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


@pytest.mark.parametrize("n_positions", [1, 2, 3, 12, 37])
def test_filter_of_h3_is_what_its_state_leaves(n_positions):
    mixer, _ = mixer_of("h3[d_state=6]")
    A = torch.complex(-mixer.A_real_log.exp(), mixer.A_imag)
    rates = mixer.log_dt.exp()[:, None] * A
    read = torch.view_as_complex(mixer.C) * torch.expm1(rates) / A
    found = mixer._filter(n_positions, skip=False)
    assert found.shape == (16, n_positions)
    for lag in range(n_positions):
        assert agree(found[:, lag], 2 * (read * torch.exp(lag * rates)).sum(-1).real)
    change = mixer._filter(n_positions, skip=True) - found
    assert agree(change[:, 0], mixer.D2)
    assert not change[:, 1:].any()


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


def test_rwkv7_follows_its_paper():
    """Position by position, with the state as in the paper: rows are channels of the values."""
    mixer, x_BTD = mixer_of("rwkv7[heads=2]")
    with torch.no_grad():
        mixer.bonus.normal_()
        mixer.replacement.uniform_(0.5, 1.5)
    before = torch.cat([torch.zeros_like(x_BTD[:, :1]), x_BTD[:, :-1]], 1)
    r, k, v, w, a, g = (x_BTD + share * (before - x_BTD) for share in mixer.shift.past)
    r, k, v = mixer.receptance(r), mixer.key(k), mixer.value(v)
    d = mixer.decay_bias + mixer.decay_out(torch.tanh(mixer.decay_in(w)))
    w = torch.exp(-math.exp(-0.5) * torch.sigmoid(d))
    a = torch.sigmoid(mixer.rate_bias + mixer.rate_out(mixer.rate_in(a)))
    g = mixer.gate_out(torch.sigmoid(mixer.gate_in(g)))
    kappa, k = k * mixer.removal, k * (1 + (a - 1) * mixer.replacement)
    heads = [value.unflatten(-1, (2, 16)) for value in (r, k, v, w, a, kappa)]
    bonus = mixer.bonus.unflatten(0, (2, 16))
    state, outputs = torch.zeros(2, 2, 16, 16, dtype=torch.float64), []
    for t in range(40):
        r, k, v, w, a, kappa = (value[:, t] for value in heads)
        kappa = kappa / kappa.norm(dim=-1, keepdim=True)
        change = torch.diag_embed(w) - kappa[..., :, None] * (a * kappa)[..., None, :]
        state = state @ change + v[..., :, None] * k[..., None, :]
        read = (state @ r[..., None])[..., 0]
        read = functional.layer_norm(read, (16,), eps=64e-5)
        outputs.append((read + (r * bonus * k).sum(-1, keepdim=True) * v).flatten(1))
    assert agree(mixer(x_BTD), mixer.out(torch.stack(outputs, 1) * g))


def test_rwkv7_starts_as_documented():
    mixer, _ = mixer_of("rwkv7")
    last, _ = mixer_of("rwkv7", 3)
    assert (mixer.shift.past[:, 0] == 1).all()
    for share in mixer.shift.past:
        assert (share[1:] < share[:-1]).all()
        assert 0 < share[-1] < 0.1
    assert (last.shift.past[:, 1:] < mixer.shift.past[:, 1:]).all()
    rates = torch.exp(-math.exp(-0.5) * mixer.decay_bias.sigmoid())
    assert rates[0] > 0.999 > 0.9 > rates[-1] > math.exp(-math.exp(-0.5))


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
    "text", ["deltanet", "deltaproduct", "gated_deltanet", "gated_deltaproduct", "gla",
             "based[pattern=attention]", "base_conv[pattern=long]", "hyena", "h3[d_state=4]",
             "rwkv7", "rwkv7[heads=2]"],
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


@pytest.mark.parametrize("text", ["base_conv[pattern=long]", "hyena", "h3[d_state=4]", "rwkv7"])
def test_skips_and_gates_are_not_written(text):
    """Without what was written, the output of a position depends on its own input alone."""
    mixer, x_BTD = mixer_of(text)
    if hasattr(mixer, "bonus"):  # which starts at 0
        torch.nn.init.ones_(mixer.bonus)
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
