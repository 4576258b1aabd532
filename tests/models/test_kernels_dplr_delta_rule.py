"""The generalised delta rule: its definition, chunks, and the rules that it contains."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest
import torch
from torch.nn import functional

from mecheval.models.kernels.delta import delta_rule
from mecheval.models.kernels.dplr_delta_rule import Writes, dplr_delta_rule

SHAPES = [(2, 1, 1, 3, 4), (2, 7, 2, 4, 3), (1, 45, 2, 8, 5), (2, 100, 1, 6, 6)]


def random_writes(shape, *, strongest: float = 0.6, dtype=torch.float64):
    """Return queries and writes, with decays down to exp(-strongest) and removals as in RWKV-7."""
    examples, positions, heads, width, values = shape
    generator = torch.Generator().manual_seed(0)

    def draw(*sizes: int):
        return torch.randn(examples, positions, heads, *sizes, generator=generator, dtype=dtype)

    p = functional.normalize(draw(width), dim=-1)
    writes = Writes(-strongest * draw(width).sigmoid(), p, draw(width).sigmoid() * p,
                    draw(width), draw(values))  # fmt: skip
    return draw(width), writes


def looped(q, writes, state):
    """Multiply the matrices out as the definition has them."""
    outputs = []
    for t in range(q.shape[1]):
        log_w, p, c, k, v = (value[:, t] for value in writes)
        change = torch.diag_embed(log_w.exp()) - c[..., :, None] * p[..., None, :]
        state = change @ state + k[..., :, None] * v[..., None, :]
        outputs.append((q[:, t, :, None] @ state)[..., 0, :])
    return torch.stack(outputs, 1), state


@pytest.mark.parametrize("implementation", ["reference", "torch"])
@pytest.mark.parametrize("shape", [*SHAPES, (1, 80, 2, 48, 3)])
@pytest.mark.parametrize("started", [False, True])
def test_definition(shape, implementation, started):
    q, writes = random_writes(shape)
    state = torch.randn(shape[0], *shape[2:], dtype=torch.float64)
    expected = looped(q, writes, state if started else torch.zeros_like(state))
    found = dplr_delta_rule(
        q, writes, state_BHKV=state if started else None, implementation=implementation
    )
    for one, other in zip(found, expected, strict=True):
        assert torch.allclose(one, other, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("started", [False, True])
def test_what_nobody_reads_ends_in_the_same_state(shape, started):
    q, writes = random_writes(shape)
    state = torch.randn(shape[0], *shape[2:], dtype=torch.float64) if started else None
    _, wanted = dplr_delta_rule(q, writes, state_BHKV=state, implementation="torch")
    _, last = dplr_delta_rule(None, writes, state_BHKV=state, implementation="torch")
    assert torch.equal(last, wanted)


def gradients(q, writes, implementation) -> list[torch.Tensor]:
    """Return outputs, last state and the gradients of random sums of both, in float64."""
    given = [value.detach().clone().requires_grad_() for value in (q, *writes)]
    outputs = dplr_delta_rule(given[0], Writes(*given[1:]), implementation=implementation)
    generator = torch.Generator().manual_seed(2)
    total = torch.zeros((), dtype=torch.float64)
    for one in outputs:
        total = total + (one.double() * torch.randn(one.shape, generator=generator).double()).sum()
    return [value.detach().double() for value in (*outputs, *torch.autograd.grad(total, given))]


def assert_exact_in_float32(q, writes, tolerance: float) -> None:
    """Compare chunks in float32, values and gradients, with the definition in float64."""
    expected = gradients(q, writes, "reference")
    single = Writes(*(value.float() for value in writes))
    for found, wanted in zip(gradients(q.float(), single, "torch"), expected, strict=True):
        assert (found - wanted).abs().max() < tolerance * wanted.abs().max()


@pytest.mark.parametrize("shape", [(2, 200, 2, 16, 8), (2, 71, 1, 64, 8)])
def test_the_strongest_decays_keep_their_precision_in_float32(shape):
    """The chunks divide by products of decays, down to exp(-1) per position."""
    q, writes = random_writes(shape, strongest=1.0)
    strong = writes._replace(log_decay=torch.full_like(writes.log_decay, -1.0))
    large = strong._replace(k=1e5 * strong.k, v=1e5 * strong.v)
    for given in (writes, strong, large):
        assert_exact_in_float32(q, given, 1e-5)


@pytest.mark.parametrize("shape", [(2, 100, 2, 16, 8), (2, 71, 1, 64, 8)])
def test_nearly_equal_directions_are_safe_in_single_precision(shape):
    """A write that is removed whole by all later ones, without decay."""
    q, writes = random_writes(shape)
    p = functional.normalize(writes.direction[:, :1] + 0.02 * writes.direction, dim=-1)
    none = torch.zeros_like(p)
    assert_exact_in_float32(q, Writes(none, p, 0.99 * p, writes.k, writes.v), 1e-5)


def test_it_contains_the_delta_rule():
    q, writes = random_writes((2, 50, 2, 8, 5))
    beta = torch.rand(2, 50, 2, dtype=torch.float64)
    k = writes.direction
    expected = delta_rule(q, k, writes.v, beta, implementation="torch")
    as_writes = Writes(
        torch.zeros_like(k), k, beta[..., None] * k, k, beta[..., None] * writes.v
    )  # fmt: skip
    found = dplr_delta_rule(q, as_writes, implementation="torch")
    for one, other in zip(found, expected, strict=True):
        assert torch.allclose(one, other, rtol=1e-9, atol=1e-10)


def test_gradients_of_chunks_are_those_of_the_definition():
    gradients = []
    for implementation in ("reference", "torch"):
        q, writes = random_writes((2, 45, 2, 4, 3))
        state = torch.randn(2, 2, 4, 3, generator=torch.Generator().manual_seed(1)).double()
        given = [value.requires_grad_() for value in (q, *writes, state)]
        y, last = dplr_delta_rule(q, writes, state_BHKV=state, implementation=implementation)
        (y.square().sum() + last.square().sum()).backward()
        gradients.append([value.grad for value in given])
    for one, other in zip(*gradients, strict=True):
        assert torch.allclose(one, other, rtol=1e-8, atol=1e-8)


def test_gradients_are_derivatives():
    q, writes = random_writes((1, 5, 2, 3, 2))
    state = torch.randn(1, 2, 3, 2, generator=torch.Generator().manual_seed(1)).double()

    def outputs(q, state, *values):
        return dplr_delta_rule(q, Writes(*values), state_BHKV=state, implementation="torch")

    given = [value.requires_grad_() for value in (q, state, *writes)]
    assert torch.autograd.gradcheck(outputs, given)


def test_half_precision_is_kept_outside_only():
    q, writes = random_writes((1, 20, 1, 8, 4), dtype=torch.bfloat16)
    y, last = dplr_delta_rule(q, writes, implementation="torch")
    assert (y.dtype, last.dtype) == (torch.bfloat16, torch.float32)


def added_along_b(q, k, v, *, a, b, gk, scale, initial_state, output_final_state):
    """Do what the package documents: add along ``b`` what the state holds along ``a``."""
    state, outputs = initial_state, []
    for t in range(q.shape[1]):
        held = (a[:, t, :, None] @ state)[..., 0, :]
        state = gk[:, t].exp()[..., None] * state + b[:, t, ..., None] * held[..., None, :]
        state = state + k[:, t, ..., None] * v[:, t, :, None]
        outputs.append(scale * (q[:, t, :, None] @ state)[..., 0, :])
    return torch.stack(outputs, 1), state if output_final_state else None


def test_the_package_is_given_the_same_rule(monkeypatch):
    called = []

    def chunk_dplr_delta_rule(*args, **how):
        called.append(how["gk"].dtype)
        return added_along_b(*args, **how)

    name = "fla.ops.generalized_delta_rule"
    module = SimpleNamespace(chunk_dplr_delta_rule=chunk_dplr_delta_rule)
    monkeypatch.setitem(sys.modules, "fla", SimpleNamespace(ops=None))
    monkeypatch.setitem(sys.modules, "fla.ops", SimpleNamespace())
    monkeypatch.setitem(sys.modules, name, module)
    q, writes = random_writes((2, 9, 2, 4, 3), dtype=torch.float32)
    state = torch.randn(2, 2, 4, 3)
    found = dplr_delta_rule(q, writes, state_BHKV=state, implementation="fla")
    expected = dplr_delta_rule(q, writes, state_BHKV=state, implementation="reference")
    for one, other in zip(found, expected, strict=True):
        assert torch.allclose(one, other, rtol=1e-4, atol=1e-5)
    assert called == [torch.float32]


@pytest.mark.gpu
@pytest.mark.parametrize("implementation", ["torch", "fla"])
def test_on_cuda_it_equals_the_definition(implementation):
    if implementation == "fla":
        pytest.importorskip("fla", reason="the fused kernels come with the extra 'cuda'")
    q, writes = random_writes((2, 70, 2, 16, 16), dtype=torch.float32)
    state = torch.randn(2, 2, 16, 16)
    expected = dplr_delta_rule(q, writes, state_BHKV=state, implementation="reference")
    dtype = torch.float16 if implementation == "fla" else torch.float32
    given = [value.cuda().to(dtype) for value in (q, *writes)]
    found = dplr_delta_rule(
        given[0], Writes(*given[1:]), state_BHKV=state.cuda(), implementation=implementation
    )
    for one, other in zip(found, expected, strict=True):
        assert (one.cpu().float() - other).abs().max() < 2e-2 * other.abs().max()
