"""Scans and convolutions that go on from a state: in pieces they equal the whole."""

import pytest
import torch
from scans import both_ranges, needs_c, random_scan, random_state, values_and_gradients, worst
from torch import Tensor

from mecheval.models.kernels import selective
from mecheval.models.kernels.c import functions
from mecheval.models.kernels.convolution import causal_convolution
from mecheval.models.kernels.scan import Scan
from mecheval.models.kernels.selective import selective_scan
from mecheval.models.kernels.ssd import dual_scan
from mecheval.models.layers.short_convolution import ShortConvolution

both_scans = pytest.mark.parametrize("heads", [False, True], ids=["mamba", "mamba2"])
every_implementation = pytest.mark.parametrize(
    "implementation", ["reference", "torch", pytest.param("c", marks=needs_c)]
)
SHAPE = (3, 41, 24, 5, 2)


def part(scan: Scan, positions: slice) -> Scan:
    return Scan(*(value[:, positions] for value in scan[:5]), *scan[5:])


@both_scans
@every_implementation
@both_ranges
@pytest.mark.parametrize("cut", [1, 20, 40])
def test_a_scan_in_two_pieces_equals_the_whole(heads, implementation, signed, cut):
    scan_by = dual_scan if heads else selective_scan
    scan = random_scan(SHAPE, heads=heads, dtype=torch.float32)._replace(signed=signed)
    how = {"implementation": implementation}
    y_BTE, last_BEN = scan_by(scan, **how)
    first_BTE, between_BEN = scan_by(part(scan, slice(cut)), **how)
    second_BTE, end_BEN = scan_by(part(scan, slice(cut, None)), **how, state_BEN=between_BEN)
    joined_BTE = torch.cat([first_BTE, second_BTE], 1)
    assert worst([joined_BTE, end_BEN], [y_BTE, last_BEN]) < 2e-6


@both_scans
@every_implementation
@both_ranges
def test_gradients_of_the_inputs_know_the_state(heads, implementation, signed):
    scan_by = dual_scan if heads else selective_scan
    scan = random_scan(SHAPE, heads=heads)
    wanted = values_and_gradients(
        scan_by, scan, signed=signed, implementation="reference", state_BEN=random_state(scan)
    )
    single = Scan(*(value.float() for value in scan[:8]))
    found = values_and_gradients(
        scan_by, single, signed=signed, implementation=implementation,
        state_BEN=random_state(scan).float(),
    )  # fmt: skip
    assert worst(found, wanted) < 3e-6


@both_scans
@both_ranges
def test_gradients_of_both_states_are_derivatives(heads, signed):
    scan_by = dual_scan if heads else selective_scan
    scan = random_scan((1, 5, 4, 2, 2), heads=heads)

    def run(state_BEN: Tensor, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        return scan_by(Scan(*inputs, signed=signed), implementation="torch", state_BEN=state_BEN)

    inputs = [value.requires_grad_() for value in (random_state(scan), *scan[:8])]
    assert torch.autograd.gradcheck(run, inputs)


@both_scans
@every_implementation
def test_a_state_that_needs_a_gradient_gets_one(heads, implementation):
    scan_by = dual_scan if heads else selective_scan
    scan = random_scan(SHAPE, heads=heads, dtype=torch.float32)
    gradients = []
    for way in ("reference", implementation):
        state_BEN = random_state(scan).requires_grad_()
        y_BTE, _ = scan_by(scan, implementation=way, state_BEN=state_BEN)
        gradients.append(torch.autograd.grad(y_BTE.square().sum(), state_BEN)[0])
    assert worst(gradients[1:], gradients[:1]) < 3e-6


def test_a_kernel_without_initial_state_is_not_asked_for_one(monkeypatch):
    def fused(scan: Scan) -> tuple[Tensor, Tensor]:
        return torch.zeros(()), torch.zeros(())

    monkeypatch.setattr(selective, "_fused", fused)
    scan = random_scan(SHAPE)
    state_BEN = random_state(scan)
    how = {"implementation": "mamba_ssm"}
    assert selective_scan(scan, **how)[0].ndim == 0
    y_BTE, _ = selective_scan(scan, **how, state_BEN=state_BEN)
    wanted_BTE, _ = selective_scan(scan, implementation="reference", state_BEN=state_BEN)
    assert worst([y_BTE], [wanted_BTE]) < 1e-13


@every_implementation
@pytest.mark.parametrize("taps", [1, 2, 4])
@pytest.mark.parametrize("cut", [1, 2, 6])
def test_a_convolution_in_pieces_equals_the_whole(implementation, taps, cut):
    generator = torch.Generator().manual_seed(0)
    conv = ShortConvolution(20, taps)
    for parameter in conv.parameters():
        parameter.data.normal_(generator=generator)
    x_BTE = torch.randn(3, 9, 20, generator=generator)
    before_BKE = conv.tail(x_BTE[:, :2])
    whole_BTE = conv(x_BTE, implementation)
    pieces = [conv(x_BTE[:, :2], implementation)]
    for piece_BTE in x_BTE[:, 2:].split(cut, 1):
        pieces.append(conv(piece_BTE, implementation, before_BKE))
        before_BKE = conv.tail(piece_BTE, before_BKE)
    assert worst([torch.cat(pieces, 1)], [whole_BTE]) < 1e-6
    assert torch.equal(before_BKE, conv.tail(x_BTE))


@needs_c
@pytest.mark.parametrize("biased", [True, False])
def test_c_convolution_with_inputs_before_the_first_equals_torch(biased):
    generator = torch.Generator().manual_seed(0)
    sizes = [(3, 9, 13), (13, 4), *([(13,)] if biased else [])]
    given = [torch.randn(size, generator=generator) for size in sizes]
    before_BKE = torch.randn(3, 3, 13, generator=generator)
    results = []
    for implementation in ("torch", "c"):
        inputs = [value.clone().requires_grad_() for value in given]
        x_BTE, weight_EK, bias_E = (*inputs, None)[:3]
        y_BTE = causal_convolution(
            x_BTE, weight_EK, bias_E, implementation=implementation, before_BKE=before_BKE
        )
        (y_BTE * torch.arange(13)).sum().backward()
        results.append([y_BTE.detach(), *(value.grad for value in inputs)])
    assert worst(results[1], results[0]) < 1e-6


@every_implementation
def test_inputs_before_the_first_that_need_a_gradient_get_one(implementation):
    x_BTE, weight_EK = torch.zeros(1, 4, 2), torch.tensor([[4.0, 2.0, 1.0]] * 2)
    before_BKE = torch.zeros(1, 2, 2, requires_grad=True)
    y_BTE = causal_convolution(
        x_BTE, weight_EK, None, implementation=implementation, before_BKE=before_BKE
    )
    y_BTE.sum().backward()
    assert before_BKE.grad is not None
    assert before_BKE.grad[0, :, 0].tolist() == [4, 6]


def test_a_tail_does_not_keep_its_inputs_in_memory():
    conv = ShortConvolution(2, 3)
    x_BTE = torch.zeros(1, 50, 2)
    assert conv.tail(x_BTE).untyped_storage().nbytes() == 2 * 2 * 4


@needs_c
@both_scans
def test_threads_change_no_bit(heads, monkeypatch):
    scan_by = dual_scan if heads else selective_scan
    scan = random_scan((5, 6, 24, 4, 2), heads=heads, dtype=torch.float32)
    results = []
    for threads in (1, 3):
        monkeypatch.setattr(functions, "_SMALLEST_SHARE", 1)
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        assert functions._threads(5, 100, 1).value == threads
        results.append(scan_by(scan, implementation="c", state_BEN=random_state(scan)))
    assert all(map(torch.equal, *results))


@needs_c
@pytest.mark.parametrize("before", [True, False])
def test_threads_change_no_bit_of_a_convolution(before, monkeypatch):
    x_BTE, weight_EK, bias_E = torch.randn(5, 6, 24), torch.randn(24, 4), torch.randn(24)
    before_BKE = torch.randn(5, 3, 24) if before else None
    results = []
    for threads in (1, 3):
        monkeypatch.setattr(functions, "_SMALLEST_CONVOLUTION", 1)
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        results.append(
            causal_convolution(x_BTE, weight_EK, bias_E, implementation="c", before_BKE=before_BKE)
        )
    assert torch.equal(*results)


@every_implementation
@both_scans
@pytest.mark.parametrize("stated", [True, False])
def test_a_scan_that_nobody_reads_ends_in_the_same_state(heads, implementation, stated):
    scan_by = dual_scan if heads else selective_scan
    scan = random_scan((3, 21, 24, 4, 2), heads=heads, dtype=torch.float32)
    state_BEN = random_state(scan) if stated else None
    _, wanted_BEN = scan_by(scan, implementation=implementation, state_BEN=state_BEN)
    nothing = torch.full_like(scan.z_BTE, torch.nan), torch.full_like(scan.C_BTN, torch.nan)
    unread = scan._replace(z_BTE=nothing[0], C_BTN=nothing[1], reading=False)
    _, last_BEN = scan_by(unread, implementation=implementation, state_BEN=state_BEN)
    torch.testing.assert_close(last_BEN, wanted_BEN, rtol=0, atol=0)


@needs_c
@pytest.mark.parametrize("training", [True, False])
def test_nothing_is_kept_for_a_backward_that_cannot_come(training, monkeypatch):
    asked, compiled = [], functions._functions()

    class Recorder:
        def __getattr__(self, name: str):
            asked.append(name)
            return getattr(compiled, name)

    monkeypatch.setattr(functions, "_functions", Recorder)
    scan = random_scan(SHAPE, dtype=torch.float32)
    scan = scan._replace(D_E=scan.D_E.requires_grad_())
    with torch.set_grad_enabled(training):
        selective_scan(scan, implementation="c")
    assert "selective_scan_forward" in asked
    assert ("selective_scan_checkpoint_size" in asked) == training


@pytest.mark.gpu
@both_scans
def test_fused_scan_goes_on_from_a_state(heads):
    pytest.importorskip("mamba_ssm", reason="the fused kernels come with the extra 'cuda'")
    scan_by = dual_scan if heads else selective_scan
    shape, results = (2, 70, 64, 16, 2), []
    for dtype, device, way in (
        (torch.float64, "cpu", "reference"),
        (torch.float32, "cuda", "mamba_ssm"),
    ):
        scan = random_scan(shape, heads=heads, dtype=dtype, device=device)
        state_BEN = random_state(scan).requires_grad_()
        y_BTE, last_BEN = scan_by(scan, implementation=way, state_BEN=state_BEN)
        [gradient] = torch.autograd.grad(y_BTE.square().sum(), state_BEN)
        results.append([value.double().cpu() for value in (y_BTE, last_BEN, gradient)])
    # The Triton kernel multiplies matrices in tf32.
    assert worst(results[1], results[0]) < (1e-2 if heads else 1e-4)
