"""Linear attention and the delta rule: chunks equal the definitions, in values and gradients."""

import sys
from types import SimpleNamespace

import pytest
import torch
from scans import worst
from torch import Tensor
from torch.nn import functional

from mecheval.errors import UsageError
from mecheval.models.kernels import fla, scan
from mecheval.models.kernels.delta import delta_rule
from mecheval.models.kernels.fla import choose_linear
from mecheval.models.kernels.linear import linear_attention
from mecheval.models.kernels.scan import check_kernel

DECAYS = ("none", "head", "channel")
SHAPES = [  # examples, positions, heads, width of keys, width of values
    (2, 1, 2, 3, 5),
    (2, 19, 2, 8, 4),
    (1, 33, 3, 4, 7),
    (2, 75, 1, 5, 5),
    (1, 80, 2, 48, 3),  # as wide as a chunk is long
]
every_shape = pytest.mark.parametrize("shape", SHAPES, ids=str)
stated = pytest.mark.parametrize("stated", [False, True], ids=["zeros", "state"])


class Arguments:
    """Random inputs in float64: unit keys, and what may or may not be given."""

    def __init__(self, shape, seed: int = 0):
        examples, positions, heads, keys, values = shape
        self.generator = torch.Generator().manual_seed(seed)
        self.q = self.normal(examples, positions, heads, keys)
        self.k = functional.normalize(self.normal(examples, positions, heads, keys), dim=-1)
        self.v = self.normal(examples, positions, heads, values)
        self.beta = self.uniform(examples, positions, heads)
        self.state = self.normal(examples, heads, keys, values)

    def normal(self, *sizes: int) -> Tensor:
        return torch.randn(sizes, generator=self.generator, dtype=torch.float64)

    def uniform(self, *sizes: int) -> Tensor:
        return torch.rand(sizes, generator=self.generator, dtype=torch.float64)

    def log_decay(self, kind: str, strongest: float = 0.1) -> Tensor | None:
        """Draw decays between the strongest and 1, alike for all orders of magnitude."""
        if kind == "none":
            return None
        sizes = self.k.shape if kind == "channel" else self.k.shape[:3]
        return self.uniform(*sizes) * torch.tensor(strongest).log().double()


def results(run, inputs: dict[str, Tensor | None], dtype=torch.float64, **how) -> list[Tensor]:
    """Return outputs, last state and the gradients of all inputs of random sums of both."""
    given = {
        name: value.detach().to(dtype).requires_grad_()
        for name, value in inputs.items()
        if value is not None
    }
    outputs = run(**given, **how)
    generator = torch.Generator().manual_seed(1)
    total = torch.zeros((), dtype=torch.float64)
    for output in outputs:
        weights = torch.randn(output.shape, generator=generator, dtype=torch.float64)
        total = total + (output.double().cpu() * weights).sum()
    gradients = torch.autograd.grad(total, list(given.values()))
    return [value.detach().double().cpu() for value in (*outputs, *gradients)]


def attention_inputs(given: Arguments, kind: str, stated: bool, **how) -> dict[str, Tensor | None]:
    return {
        "q_BTHK": given.q, "k_BTHK": given.k, "v_BTHV": given.v,
        "log_decay": given.log_decay(kind, **how),
        "state_BHKV": given.state if stated else None,
    }  # fmt: skip


def delta_inputs(given: Arguments, gated: bool, stated: bool, top: float = 1) -> dict:
    return {
        "q_BTHK": given.q, "k_BTHK": given.k, "v_BTHV": given.v, "beta_BTH": top * given.beta,
        "log_decay_BTH": given.log_decay("head" if gated else "none"),
        "state_BHKV": given.state if stated else None,
    }  # fmt: skip


@every_shape
@pytest.mark.parametrize("kind", DECAYS)
@stated
def test_chunked_attention_equals_the_definition(shape, kind, stated):
    inputs = attention_inputs(Arguments(shape), kind, stated)
    wanted = results(linear_attention, inputs, implementation="reference")
    found = results(linear_attention, inputs, implementation="torch")
    assert worst(found, wanted) < 1e-13
    found = results(linear_attention, inputs, torch.float32, implementation="torch")
    assert worst(found, wanted) < 2e-6


@every_shape
@pytest.mark.parametrize("gated", [False, True], ids=["plain", "gated"])
@stated
@pytest.mark.parametrize("top", [1, 2])
def test_chunked_delta_rule_equals_the_definition(shape, gated, stated, top):
    inputs = delta_inputs(Arguments(shape), gated, stated, top)
    wanted = results(delta_rule, inputs, implementation="reference")
    found = results(delta_rule, inputs, implementation="torch")
    assert worst(found, wanted) < 1e-13
    found = results(delta_rule, inputs, torch.float32, implementation="torch")
    assert worst(found, wanted) < 4e-6


@pytest.mark.parametrize("kind", ["none", "head", "channel", "plain delta", "gated delta"])
def test_gradients_are_derivatives(kind):
    given = Arguments((1, 5, 2, 3, 2))
    if "delta" in kind:
        run, inputs = delta_rule, delta_inputs(given, kind == "gated delta", stated=True)
    else:
        run, inputs = linear_attention, attention_inputs(given, kind, stated=True)
    names = [name for name, value in inputs.items() if value is not None]

    def outputs(*values: Tensor) -> tuple[Tensor, Tensor]:
        return run(**dict(zip(names, values, strict=True)), implementation="torch")

    assert torch.autograd.gradcheck(outputs, [inputs[name].requires_grad_() for name in names])


def test_attention_is_the_sum_it_is_defined_by():
    given = Arguments((1, 6, 1, 3, 2))
    log_decay = given.log_decay("channel")
    found, _ = linear_attention(
        given.q, given.k, given.v, log_decay=log_decay, implementation="reference"
    )
    wanted = torch.zeros_like(found)
    for t in range(6):
        for s in range(t + 1):
            left_K = log_decay[0, s + 1 : t + 1, 0].sum(0).exp()
            score = (given.q[0, t, 0] * left_K * given.k[0, s, 0]).sum()
            wanted[0, t, 0] += score * given.v[0, s, 0]
    assert worst([found], [wanted]) < 1e-14


def test_delta_rule_is_the_recurrence_of_gated_deltanet():
    """S_t = S_{t-1} a_t (I - beta_t k_t k_t^T) + beta_t v_t k_t^T: equation 10, transposed."""
    given = Arguments((1, 6, 1, 3, 2))
    log_decay = given.log_decay("head")
    found, last = delta_rule(
        given.q, given.k, given.v, given.beta, log_decay_BTH=log_decay, implementation="reference"
    )
    S_VK = torch.zeros(2, 3).double()
    for t in range(6):
        k_K, beta, a = given.k[0, t, 0], given.beta[0, t, 0], log_decay[0, t, 0].exp()
        S_VK = S_VK @ (a * (torch.eye(3) - beta * torch.outer(k_K, k_K)))
        S_VK = S_VK + beta * torch.outer(given.v[0, t, 0], k_K)
        assert torch.allclose(found[0, t, 0], S_VK @ given.q[0, t, 0], atol=1e-14)
    assert torch.allclose(last[0, 0], S_VK.T, atol=1e-14)


def test_with_beta_of_one_a_key_holds_its_last_value_alone():
    given = Arguments((1, 40, 1, 4, 3))
    keys = torch.eye(4).double()[torch.arange(40) % 3][None, :, None]
    found, _ = delta_rule(keys, keys, given.v, torch.ones(1, 40, 1), implementation="torch")
    assert worst([found], [given.v]) < 1e-14


@pytest.mark.parametrize("kind", ["head", "channel"])
@pytest.mark.parametrize("strongest", [1e-4, 1e-20])
@pytest.mark.parametrize("constant", [False, True], ids=["any", "all"])
def test_strong_decays_stay_finite_and_exact_in_single_precision(kind, strongest, constant):
    inputs = attention_inputs(Arguments((2, 70, 2, 8, 8)), kind, stated=True, strongest=strongest)
    if constant:
        log_decay = inputs["log_decay"]
        inputs["log_decay"] = torch.full_like(log_decay, float(torch.tensor(strongest).log()))
    wanted = results(linear_attention, inputs, implementation="reference")
    found = results(linear_attention, inputs, torch.float32, implementation="torch")
    assert all(value.isfinite().all() for value in found)
    assert worst(found, wanted) < 2e-6


@pytest.mark.parametrize("gated", [False, True], ids=["plain", "gated"])
@pytest.mark.parametrize(("beta", "tolerance"), [(0.99, 1e-5), (1.99, 5e-5)])
@pytest.mark.parametrize(("positions", "width"), [(130, 16), (71, 64)], ids=["chunks", "chunk"])
def test_nearly_equal_keys_are_safe_in_single_precision(gated, beta, tolerance, positions, width):
    """Inverting I + A by powers of A loses 10 % here at 32 positions, and everything at 64."""
    given = Arguments((2, positions, 2, width, 8))
    common = functional.normalize(given.normal(2, 1, 2, width), dim=-1)
    given.k = functional.normalize(common + 0.02 * given.k, dim=-1)
    assert (given.k * common).sum(-1).min() > 0.99
    given.beta = torch.full_like(given.beta, beta)
    inputs = delta_inputs(given, gated, stated=True)
    wanted = results(delta_rule, inputs, implementation="reference")
    found = results(delta_rule, inputs, torch.float32, implementation="torch")
    assert worst(found, wanted) < tolerance


@pytest.mark.parametrize("kind", ["none", "head", "channel", "delta"])
@pytest.mark.parametrize("implementation", ["reference", "torch"])
@pytest.mark.parametrize("cut", [1, 40])
def test_two_pieces_equal_the_whole(kind, implementation, cut):
    given = Arguments((2, 41, 2, 4, 3))
    if kind == "delta":
        run, inputs = delta_rule, delta_inputs(given, gated=True, stated=True)
    else:
        run, inputs = linear_attention, attention_inputs(given, kind, stated=True)
    state = inputs.pop("state_BHKV")
    inputs = {name: value for name, value in inputs.items() if value is not None}
    whole, last = run(**inputs, state_BHKV=state, implementation=implementation)
    pieces = []
    for part in (slice(cut), slice(cut, None)):
        there = {name: value[:, part] for name, value in inputs.items()}
        piece, state = run(**there, state_BHKV=state, implementation=implementation)
        pieces.append(piece)
    assert worst([torch.cat(pieces, 1), state], [whole, last]) < 1e-13


@every_shape
@pytest.mark.parametrize("kind", ["none", "head", "channel", "plain delta", "gated delta"])
@pytest.mark.parametrize("implementation", ["reference", "torch"])
@stated
def test_what_nobody_reads_ends_in_the_same_state(shape, kind, implementation, stated):
    given, (_, _, delta) = Arguments(shape), kind.partition(" ")
    if delta:
        run, inputs = delta_rule, delta_inputs(given, gated=kind[0] == "g", stated=stated)
    else:
        run, inputs = linear_attention, attention_inputs(given, kind, stated)
    _, wanted = run(**inputs, implementation=implementation)
    _, last = run(**{**inputs, "q_BTHK": None}, implementation=implementation)
    assert worst([last], [wanted]) < 1e-13


@pytest.mark.parametrize("run", [linear_attention, delta_rule])
def test_half_precision_is_summed_in_single(run):
    given = Arguments((1, 40, 1, 4, 3))
    extra = {"beta_BTH": given.beta} if run is delta_rule else {}
    wide = {"q_BTHK": given.q, "k_BTHK": given.k, "v_BTHV": given.v, **extra}
    half = {name: value.bfloat16() for name, value in wide.items()}
    found, last = run(**half, implementation="torch")
    single = {name: value.float() for name, value in half.items()}
    wanted, wanted_last = run(**single, implementation="torch")
    assert found.dtype == torch.bfloat16
    assert torch.equal(found, wanted.bfloat16())
    assert torch.equal(last, wanted_last)


def test_choice_of_implementation(monkeypatch):
    monkeypatch.setattr(scan, "can_import", lambda name: True)
    on_cpu = torch.zeros(1)
    assert choose_linear("reference", on_cpu) == "reference"
    assert choose_linear("auto", on_cpu) == "torch"
    with pytest.raises(UsageError, match="CUDA device in float16 or bfloat16 only"):
        choose_linear("fused", on_cpu.half())
    for dtype, chosen in ((torch.bfloat16, "fla"), (torch.float32, "torch")):
        on_cuda = SimpleNamespace(is_cuda=True, dtype=dtype)
        assert choose_linear("auto", on_cuda) == chosen  # type: ignore[arg-type]


def test_a_missing_package_is_named_before_anything_is_built():
    if not scan.can_import("fla.ops"):
        with pytest.raises(UsageError, match=r"'fla'.*pip install 'mecheval\[cuda\]'"):
            check_kernel("fused", fla.PACKAGE)


@pytest.mark.parametrize("kind", ["simple_gla", "gla", "delta_rule", "gated_delta_rule"])
def test_the_package_is_called_without_scaling_and_with_wide_states(kind, monkeypatch):
    calls = []
    module = SimpleNamespace(**{f"chunk_{kind}": lambda *args, **how: calls.append((args, how))})
    monkeypatch.setitem(sys.modules, "fla", SimpleNamespace(ops=None))
    monkeypatch.setitem(sys.modules, "fla.ops", SimpleNamespace())
    monkeypatch.setitem(sys.modules, f"fla.ops.{kind}", module)
    given = Arguments((1, 4, 1, 3, 2))
    log_decay = given.log_decay("channel" if kind == "gla" else "head").half()
    half = [value.half() for value in (given.q, given.k, given.v)]
    rest = {"state_BHKV": given.state, "implementation": "fla"}
    if "delta" in kind:
        gate = log_decay if kind.startswith("gated") else None
        delta_rule(*half, given.beta, log_decay_BTH=gate, **rest)
    else:
        linear_attention(*half, log_decay=log_decay, **rest)
    [(args, how)] = calls
    assert all(map(torch.equal, args, half))
    assert how["scale"] == 1.0
    assert how["output_final_state"]
    assert how["initial_state"].dtype == torch.float32
    assert ("g" in how) == (kind != "delta_rule")
    assert "g" not in how or how["g"].dtype == torch.float32
    assert ("beta" in how) == ("delta" in kind)


@pytest.mark.gpu
@pytest.mark.parametrize("kind", ["none", "head", "channel", "plain delta", "gated delta"])
def test_fused_kernels_equal_the_definition(kind):
    pytest.importorskip("fla", reason="the fused kernels come with the extra 'cuda'")
    given = Arguments((2, 70, 2, 16, 16))
    if "delta" in kind:
        run, inputs = delta_rule, delta_inputs(given, kind == "gated delta", stated=True)
    else:
        run, inputs = linear_attention, attention_inputs(given, kind, stated=True)
    wanted = results(run, inputs, implementation="reference")
    on_cuda = {name: None if value is None else value.cuda() for name, value in inputs.items()}
    assert choose_linear("auto", on_cuda["v_BTHV"].half()) == "fla"
    found = results(run, on_cuda, torch.float16, implementation="fla")
    assert worst(found, wanted) < 2e-2


@pytest.mark.gpu
@pytest.mark.parametrize("kind", ["none", "head", "channel", "plain delta", "gated delta"])
def test_chunks_on_cuda_equal_the_definition(kind):
    given = Arguments((2, 70, 2, 16, 16))
    if "delta" in kind:
        run, inputs = delta_rule, delta_inputs(given, kind == "gated delta", stated=True)
    else:
        run, inputs = linear_attention, attention_inputs(given, kind, stated=True)
    wanted = results(run, inputs, implementation="reference")
    on_cuda = {name: None if value is None else value.cuda() for name, value in inputs.items()}
    assert worst(results(run, on_cuda, implementation="torch"), wanted) < 1e-12
