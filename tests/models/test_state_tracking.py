"""What lets an architecture track a state: reflections, negative eigenvalues, rotations."""

from __future__ import annotations

import pytest
import torch
from own_models import agree, build, mixer_of
from torch.nn import functional


def transition(mixer, normed_1TD):
    """Return what a mixer does to its long-range memory at the last position, as a matrix.

    The memory behind it is linear in the memory before it, once what is written is taken off.
    """
    *recent, memory_1X = mixer.advance(mixer.project(normed_1TD[:, :-1], ()), ())
    size = memory_1X.numel()
    units_XX = torch.eye(size, dtype=torch.float64).reshape(size, *memory_1X.shape[1:])
    recent_X = [part.expand(size, *part.shape[1:]) for part in recent]
    last_X1D = normed_1TD[:, -1:].expand(size, -1, -1)

    def after(memory_X):
        state = (*recent_X, memory_X)
        return mixer.advance(mixer.project(last_X1D, state), state)[-1].flatten(1)

    return (after(units_XX) - after(torch.zeros_like(units_XX))).detach().T


def eigenvalues_of(text: str, strength: float):
    """Return the eigenvalues of transitions on inputs of some strength, of 30 positions."""
    mixer, x_BTD = mixer_of(text)
    transitions = [transition(mixer, strength * x_BTD[:1, t : t + 5]) for t in range(30)]
    return torch.linalg.eigvals(torch.stack(transitions))


NEGATIVE = {
    "mamba": "expand=1,d_state=2", "mamba2": "expand=1,d_state=2", "deltanet": "heads=8",
    "gated_deltanet": "heads=8,expand=1", "deltaproduct": "heads=8,n_h=1",
    "gated_deltaproduct": "heads=8,n_h=1,expand=1",
}  # fmt: skip


@pytest.mark.parametrize("name", NEGATIVE)
def test_the_range_of_eigenvalues_is_what_it_says(name):
    """With strong inputs they reach both ends of the range, and never leave it."""
    for lowest in (0, -1):
        found = eigenvalues_of(f"{name}[{NEGATIVE[name]},eigenvalues=[{lowest},1]]", 300.0)
        assert found.imag.abs().max() < 1e-6
        assert lowest - 1e-9 <= found.real.min() < lowest + 0.05
        assert 0.95 < found.real.max() <= 1 + 1e-9


@pytest.mark.parametrize("name", ["deltaproduct", "gated_deltaproduct"])
def test_two_reflections_turn_and_one_does_not(name):
    how = "heads=8,eigenvalues=[-1,1]" + (",expand=1" if name[0] == "g" else "")
    turning = eigenvalues_of(f"{name}[{how},n_h=2]", 30.0)
    assert turning.abs().max() <= 1 + 1e-9
    assert turning.imag.abs().max() > 0.5
    assert eigenvalues_of(f"{name}[{how},n_h=1]", 30.0).imag.abs().max() < 1e-6
    unsigned = eigenvalues_of(f"{name}[{how.replace('-1', '0')},n_h=2]", 30.0)
    assert unsigned.imag.abs().max() < 1e-6  # as of any product of two such matrices
    assert unsigned.real.min() > -1e-9


@pytest.mark.parametrize(
    ("product", "single"),
    [
        ("deltaproduct[n_h=1,heads=2,eigenvalues=[-1,1]]", "deltanet[heads=2,eigenvalues=[-1,1]]"),
        ("gated_deltaproduct[n_h=1,d_conv=0]", "gated_deltanet[d_conv=0]"),
    ],
)
def test_one_write_is_the_delta_rule_bit_for_bit(product, single):
    tokens_BT = torch.randint(6, (3, 70), generator=torch.Generator().manual_seed(0))
    built = [build(text) for text in (product, single)]
    weights, wanted = (model.state_dict() for model in built)
    assert list(weights) == list(wanted)
    assert all(torch.equal(weights[name], wanted[name]) for name in wanted)
    logits = [model(tokens_BT) for model in built]
    assert torch.equal(*logits)
    gradients = [
        torch.autograd.grad(logits_BTC.square().sum(), list(model.parameters()))
        for model, logits_BTC in zip(built, logits, strict=True)
    ]
    assert all(map(torch.equal, *gradients))


@pytest.mark.parametrize("kernel", ["auto", "reference"])
@pytest.mark.parametrize("name", ["deltaproduct", "gated_deltaproduct"])
def test_writes_of_a_position_follow_each_other(name, kernel):
    """Householder by Householder, as in the paper; a decay comes before them, once."""
    mixer, x_BTD = mixer_of(f"{name}[n_h=3,heads=2,eigenvalues=[-1,1],kernel={kernel}]")
    signals = mixer.project(x_BTD, ())
    q, k, v, beta = (signals[part] for part in ("q", "k", "v", "beta"))
    state, outputs = torch.zeros(2, 2, 16, v.shape[-1], dtype=torch.float64), []
    for t in range(40):
        if "log_decay" in signals:
            state = signals["log_decay"][:, t].exp()[..., None, None] * state
        for n in range(3):
            key, part = k[:, t, :, n], beta[:, t, :, n, None, None]
            assert agree(key.norm(dim=-1), torch.ones((), dtype=torch.float64))
            turn = torch.eye(16) - part * key[..., :, None] * key[..., None, :]
            state = turn @ state + part * key[..., :, None] * v[:, t, :, n, None, :]
        outputs.append((q[:, t, :, None] @ state)[..., 0, :])
    read = functional.rms_norm(torch.stack(outputs, 1), v.shape[-1:], eps=1e-5).flatten(2)
    assert agree(mixer(x_BTD), mixer.out(read * signals.get("gate", torch.ones(()))))
