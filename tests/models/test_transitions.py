"""What lets an architecture track a state: reflections, negative eigenvalues, rotations."""

from __future__ import annotations

import pytest
import torch
from own_models import REGISTRY, agree, build, keeps_the_contract, mixer_of, tails_equal_hooks
from torch.nn import functional

from mecheval.errors import UsageError


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


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize(
    "text",
    ["mamba2[rotation=true,", "mamba2[rotation=true,d_conv=0,d_state=6,eigenvalues=[-1,1],",
     "mamba2[rotation=true,kernel=reference,"],
)  # fmt: skip
def test_rotating_states_keep_the_contract(text, dtype):
    built = build(f"{text}layers=2,width=16,expand=2]", 7).to(dtype)
    keeps_the_contract(built)
    if dtype == torch.float64:
        tails_equal_hooks(built)


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


@pytest.mark.parametrize("eigenvalues", ["[0,1]", "[-1,1]"])
def test_a_rotating_state_follows_its_recurrence(eigenvalues):
    """In the frame that does not turn, from zeros and from a state, whatever runs the scan."""
    how = f"rotation=true,d_state=6,head_dim=16,eigenvalues={eigenvalues}"
    mixer, x_BTD = mixer_of(f"mamba2[{how}]")
    signals = mixer.project(x_BTD, ())
    delta = functional.softplus(signals["delta"] + mixer.dt_bias).repeat_interleave(16, -1)
    decay = torch.exp(-delta * mixer.A_log.exp().repeat_interleave(16))
    decay = 2 * decay - 1 if eigenvalues == "[-1,1]" else decay
    turn = torch.polar(torch.ones_like(signals["theta"]), signals["theta"])
    state, outputs, states = torch.zeros(2, 64, 3, dtype=torch.complex128), [], []
    for t in range(40):
        B, C = (torch.complex(*signals[name][:, t].chunk(2, -1)) for name in ("B", "C"))
        new = (delta * signals["x"])[:, t, :, None] * B[:, None]
        state = decay[:, t, :, None] * turn[:, t, None] * state + new
        outputs.append((C.conj()[:, None] * state).sum(-1).real)
        states.append(torch.cat([state.real, state.imag], -1))
    z = torch.stack(outputs, 1) + mixer.D.repeat_interleave(16) * signals["x"]
    wanted = mixer.out(z * functional.silu(signals["gate"]))
    assert agree(mixer(x_BTD), wanted)
    early, memory = mixer.read(mixer.project(x_BTD[:, :17], ()), ())
    assert agree(memory[1], states[16])
    late, memory = mixer.read(mixer.project(x_BTD[:, 17:], memory), memory)
    assert agree(memory[1], states[39])
    assert agree(torch.cat([early, late], 1), wanted)
    for kernel in ("auto", "reference"):  # in float32 the first is C, where there is a compiler
        single, _ = mixer_of(f"mamba2[{how},kernel={kernel}]")
        found = single.float()(x_BTD.float()).double()
        assert torch.allclose(found, wanted, rtol=1e-4, atol=1e-5 * wanted.abs().max().item())


def test_a_rotating_state_turns_by_any_angle_and_never_grows():
    found = eigenvalues_of("mamba2[rotation=true,expand=1,d_state=4]", 3.0)
    assert found.abs().max() <= 1 + 1e-9
    assert found.imag.abs().max() > 0.9
    assert found.real.min() < -0.9
    assert found.real.max() > 0.9


def test_without_rotation_it_is_the_model_that_it_was():
    still, turning = (build(f"mamba2[{how}]") for how in ("d_state=4", "d_state=4,rotation=true"))
    more = dict(turning.named_parameters())
    shapes = [more.pop(f"layers.{layer}.mixer.turn.weight").shape for layer in range(4)]
    assert shapes == [(2, 32)] * 4
    assert list(more) == [name for name, _ in still.named_parameters()]
    configure = REGISTRY.load("model", "mamba2").configure
    assert "rotation" not in configure({}, name="mamba2").identity().args
    assert configure({"rotation": True}, name="mamba2").identity().args["rotation"] is True
    with pytest.raises(UsageError, match="an even d_state for rotation=true"):
        configure({"rotation": True, "d_state": 3}, name="mamba2")


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
