"""Scans and convolutions: every implementation equals the definition, in values and gradients."""

import stat

import pytest
import torch
from forked import told
from scans import SHAPES, both_ranges, needs_c, random_scan, values_and_gradients, worst
from torch import Tensor

from mecheval.errors import UsageError
from mecheval.models.kernels import scan as scan_module
from mecheval.models.kernels.c import compile as compiling
from mecheval.models.kernels.c.compile import library
from mecheval.models.kernels.convolution import causal_convolution
from mecheval.models.kernels.scan import Scan, check_kernel, choose
from mecheval.models.kernels.selective import scan_step, selective_scan
from mecheval.models.kernels.ssd import dual_scan


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("heads", [False, True], ids=["mamba", "mamba2"])
@both_ranges
def test_portable_scan_equals_the_definition(shape, heads, signed):
    scan, scan_by = random_scan(shape, heads=heads), dual_scan if heads else selective_scan
    wanted = values_and_gradients(scan_by, scan, signed=signed, implementation="reference")
    found = values_and_gradients(scan_by, scan, signed=signed, implementation="torch")
    assert worst(found, wanted) < 1e-13
    single = Scan(*(value.float() for value in scan[:8]))
    found = values_and_gradients(scan_by, single, signed=signed, implementation="torch")
    assert worst(found, wanted) < 3e-6


@needs_c
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("heads", [False, True], ids=["mamba", "mamba2"])
@both_ranges
def test_c_scan_equals_the_definition(shape, heads, signed):
    scan, scan_by = random_scan(shape, heads=heads), dual_scan if heads else selective_scan
    wanted = values_and_gradients(scan_by, scan, signed=signed, implementation="reference")
    single = Scan(*(value.float() for value in scan[:8]))
    found = values_and_gradients(scan_by, single, signed=signed, implementation="c")
    assert worst(found, wanted) < 4e-6  # one gradient is a sum of 462 terms that cancel


@both_ranges
def test_gradients_of_the_portable_scans_are_derivatives(signed):
    for scan_by, heads in ((selective_scan, False), (dual_scan, True)):
        scan = random_scan((1, 5, 4, 2, 2), heads=heads)

        def output(*inputs: Tensor, scan_by=scan_by) -> Tensor:
            return scan_by(Scan(*inputs, signed=signed), implementation="torch")[0]

        assert torch.autograd.gradcheck(output, [value.requires_grad_() for value in scan[:8]])


@pytest.mark.parametrize("chunk", [3, 8, 32])
@both_ranges
def test_chunk_length_does_not_matter(chunk, signed):
    scan = random_scan((2, 19, 12, 4, 3), heads=True)
    wanted = values_and_gradients(dual_scan, scan, signed=signed, implementation="reference")
    found = values_and_gradients(
        dual_scan, scan, signed=signed, implementation="torch", chunk=chunk
    )
    assert worst(found, wanted) < 1e-13


@pytest.mark.parametrize("implementation", ["torch", pytest.param("c", marks=needs_c)])
def test_a_decay_of_zero_has_the_right_gradient(implementation):
    """At Delta A = -log 2 the decay 2 exp(Delta A) - 1 is 0; nothing may be divided by it."""
    scan = random_scan((2, 9, 8, 4, 2), heads=True, dtype=torch.float32)
    step_of_one = torch.log(torch.expm1(torch.ones(())))
    scan = scan._replace(
        delta_BTE=torch.zeros_like(scan.delta_BTE),
        A_EN=torch.full_like(scan.A_EN, -0.6931472),
        bias_E=torch.full_like(scan.bias_E, float(step_of_one)),
    )
    wanted = values_and_gradients(dual_scan, scan, signed=True, implementation="reference")
    found = values_and_gradients(dual_scan, scan, signed=True, implementation=implementation)
    assert worst(found, wanted) < 2e-6


@needs_c
def test_c_scan_takes_slices_without_copying_them_wrongly():
    """Inputs are usually parts of one projection, with a stride of their own."""
    scan = random_scan((3, 17, 24, 16, 2), dtype=torch.float32)
    wanted = values_and_gradients(selective_scan, scan, implementation="c")
    joined = torch.cat(scan[:5], -1).requires_grad_()
    parts = joined.split([value.shape[-1] for value in scan[:5]], -1)
    y_BTE, _ = selective_scan(Scan(*parts, *scan[5:]), implementation="c")
    assert torch.equal(y_BTE.double(), wanted[0])
    for x_BTE in (
        scan.x_BTE.transpose(0, 1).contiguous().transpose(0, 1),
        scan.x_BTE.transpose(1, 2).contiguous().transpose(1, 2),
        scan.x_BTE[:1].expand_as(scan.x_BTE),
    ):
        y_BTE, _ = selective_scan(scan._replace(x_BTE=x_BTE), implementation="c")
        copied = scan._replace(x_BTE=x_BTE.contiguous())
        wanted_BTE, _ = selective_scan(copied, implementation="c")
        assert torch.equal(y_BTE, wanted_BTE)


@needs_c
@pytest.mark.parametrize("heads", [False, True], ids=["mamba", "mamba2"])
def test_a_last_state_that_is_not_wanted_is_not_made(heads):
    run = dual_scan if heads else selective_scan
    scan = random_scan((2, 20, 6, 4, 2), heads=heads, dtype=torch.float32)
    wanted_BTE, last_BEN = run(scan, implementation="c")
    y_BTE, none_BEN = run(scan._replace(going_on=False), implementation="c")
    assert torch.equal(y_BTE, wanted_BTE)
    assert (len(last_BEN), len(none_BEN)) == (2, 0)


@needs_c
def test_c_scan_survives_extremes_and_keeps_nans():
    scan = random_scan((2, 20, 16, 16, 2), dtype=torch.float32)
    extreme = scan._replace(delta_BTE=40 * scan.delta_BTE, z_BTE=60 * scan.z_BTE)
    wide = Scan(*(value.double() for value in extreme[:8]))
    wanted = values_and_gradients(selective_scan, wide, implementation="reference")
    found = values_and_gradients(selective_scan, extreme, implementation="c")
    assert worst(found, wanted) < 5e-6
    for field in ("x_BTE", "delta_BTE", "z_BTE", "B_BTN"):
        broken = getattr(scan, field).clone()
        broken[0, 3] = torch.nan
        y_BTE, _ = selective_scan(scan._replace(**{field: broken}), implementation="c")
        assert y_BTE[0, 3].isnan().all(), field
        assert y_BTE[0, :3].isfinite().all()
        assert y_BTE[1].isfinite().all()


def test_signed_range_flips_signs_and_the_default_does_not():
    scan = random_scan((1, 1, 3, 2, 1))
    column = Scan(*(value[:, 0] for value in scan[:5]), *scan[5:])
    column = column._replace(delta_BTE=column.delta_BTE + 9, x_BTE=torch.zeros(1, 3).double())
    ones_BEN = torch.ones(1, 3, 2).double()
    assert (scan_step(column._replace(signed=True), ones_BEN)[1] < 0).all()
    assert (scan_step(column, ones_BEN)[1] > 0).all()


@needs_c
@pytest.mark.parametrize("taps", [1, 2, 4])
def test_c_convolution_equals_torch(taps):
    generator = torch.Generator().manual_seed(0)
    x_BTE = torch.randn(3, 9, 20, generator=generator)[..., 3:16]
    given = [x_BTE, torch.randn(13, taps, generator=generator), torch.ones(13)]
    results = []
    for implementation in ("torch", "c"):
        inputs = [value.detach().clone().requires_grad_() for value in given]
        y_BTE = causal_convolution(*inputs, implementation=implementation)
        (y_BTE * torch.arange(13)).sum().backward()
        results.append([y_BTE.detach(), *(value.grad for value in inputs)])
    assert worst(results[1], results[0]) < 1e-6


@needs_c
@pytest.mark.parametrize("field", Scan._fields[:8])
def test_the_c_scan_refuses_what_it_would_misread(field):
    double = random_scan((2, 9, 6, 4, 2))
    with pytest.raises(UsageError, match=r"float32 on the CPU.* was given float64"):
        selective_scan(double, implementation="c")
    scan = Scan(*(value.float() for value in double[:8]))
    selective_scan(scan, implementation="c")
    value = getattr(scan, field)
    short = scan._replace(**{field: value[:, :-1] if value.ndim == 3 else value[:-1]})
    with pytest.raises(UsageError, match=r"of shape \("):
        selective_scan(short, implementation="c")
    with pytest.raises(UsageError, match=r"takes state .*\(2, 4, 6\)"):
        selective_scan(scan, implementation="c", state_BEN=torch.zeros(1, 6, 4))


@needs_c
def test_the_c_convolution_refuses_what_it_would_misread():
    x_BTE, weight_EK, bias_E = torch.ones(2, 9, 5), torch.ones(5, 3), torch.ones(5)
    given = {"x_BTE": x_BTE, "weight_EK": weight_EK, "bias_E": bias_E}
    half_BTE = causal_convolution(x_BTE.bfloat16(), weight_EK, bias_E, implementation="c")
    assert half_BTE.dtype == torch.bfloat16
    for other in (
        {"x_BTE": x_BTE.double()}, {"x_BTE": x_BTE[..., :4]}, {"bias_E": bias_E[:4]},
        {"before_BKE": torch.ones(2, 3, 5)}, {"weight_EK": weight_EK.to("meta")},
    ):  # fmt: skip
        with pytest.raises(UsageError, match="C kernel causal_convolution takes"):
            causal_convolution(**{**given, **other}, implementation="c")


@pytest.mark.parametrize("taps", [1, 3, 8, 9])
@pytest.mark.parametrize(
    ("dtype", "error"), [(torch.float64, 1e-12), (torch.float32, 1e-5), (torch.bfloat16, 2e-2)]
)
@pytest.mark.parametrize("positions", [1, 6])
def test_convolution_is_its_definition(taps, dtype, error, positions):
    generator = torch.Generator().manual_seed(0)
    x_BTE, weight_EK, bias_E, before_BKE = (
        torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)
        for shape in ((2, positions, 5), (5, taps), (5,), (2, taps - 1, 5))
    )
    for bias, before in ((bias_E, before_BKE), (None, None)):
        kept = torch.zeros_like(before_BKE) if before is None else before
        padded_BTE = torch.cat([kept, x_BTE], 1).double()
        wanted_BTE = sum(
            padded_BTE[:, k : k + positions] * weight_EK[:, k].double() for k in range(taps)
        ) + (0 if bias is None else bias.double())
        y_BTE = causal_convolution(
            x_BTE, weight_EK, bias, implementation="torch", before_BKE=before
        )
        assert y_BTE.dtype == dtype
        assert (y_BTE - wanted_BTE).abs().max() <= error * wanted_BTE.abs().max()


def test_convolution_reads_the_present_last():
    x_BTE = torch.zeros(1, 5, 1)
    x_BTE[0, 2] = 1.0
    y_BTE = causal_convolution(
        x_BTE, torch.tensor([[4.0, 2.0, 1.0]]), torch.zeros(1), implementation="torch"
    )
    assert y_BTE[0, :, 0].tolist() == [0, 0, 1, 2, 4]


def test_choice_of_implementation(monkeypatch):
    monkeypatch.setattr(scan_module, "can_import", lambda name: True)
    on_cpu = torch.zeros(1)
    native = "c" if library().functions is not None else "torch"
    assert choose("reference", on_cpu) == "reference"
    assert choose("auto", on_cpu) == native
    assert choose("auto", on_cpu.double()) == "torch"
    with pytest.raises(UsageError, match="kernel=fused runs on a CUDA device"):
        choose("fused", on_cpu)


def test_unusable_kernels_are_refused_before_anything_is_built():
    with pytest.raises(UsageError, match="choose one of auto, reference, fused"):
        check_kernel("fast")  # type: ignore[arg-type]
    if not scan_module.can_import("mamba_ssm"):
        with pytest.raises(UsageError, match=r"pip install 'mecheval\[cuda\]'"):
            check_kernel("fused")


@needs_c
def test_many_processes_may_build_at_once(tmp_path):
    each = [told(library, MECHEVAL_CACHE=str(tmp_path)) for _ in range(3)]
    for process in each:
        assert "functions=<CDLL" in process.recv()
    assert [path.suffix for path in (tmp_path / "kernels").iterdir()] == [".so"]


def test_kernels_are_compiled_anew_for_another_compiler_or_flag(monkeypatch):
    monkeypatch.delenv("CC", raising=False)
    paths = [compiling._path()]
    monkeypatch.setenv("CC", "clang")
    paths.append(compiling._path())
    changes = {
        "_FLAGS": ("-O0",), "_TUNINGS": ((),), "_cpu": lambda: "another",
        "_threads": lambda: "another OpenMP",
    }  # fmt: skip
    for name, value in changes.items():
        monkeypatch.setattr(compiling, name, value)
        paths.append(compiling._path())
    monkeypatch.setattr(torch, "__version__", "another")
    paths.append(compiling._path())
    assert len(set(paths)) == len(paths)


@needs_c
def test_what_cannot_be_loaded_from_the_cache_is_compiled_anew(tmp_path, monkeypatch):
    monkeypatch.setenv("MECHEVAL_CACHE", str(tmp_path))
    compiling._path().parent.mkdir(parents=True)
    compiling._path().write_bytes(b"no library")
    assert "functions=<CDLL" in told(library).recv()


@needs_c
def test_a_compiler_without_the_threads_of_torch_makes_kernels_for_one(tmp_path):
    plain = tmp_path / "compiler"
    plain.write_text(
        '#!/bin/sh\nfor a in "$@"; do [ "$a" = -fopenmp ] && exit 1; done\nexec cc "$@"\n',
        encoding="utf-8",
    )
    plain.chmod(plain.stat().st_mode | stat.S_IXUSR)
    cache = str(tmp_path / "cache")
    loaded = told(library, MECHEVAL_CACHE=cache, CC=str(plain)).recv()
    assert "functions=<CDLL" in loaded
    assert "on one thread: no OpenMP" in loaded


def test_without_a_compiler_the_reason_is_kept(tmp_path):
    failing = tmp_path / "compiler"
    failing.write_text("#!/bin/sh\necho no such target >&2\nexit 1\n", encoding="utf-8")
    failing.chmod(failing.stat().st_mode | stat.S_IXUSR)
    cache = str(tmp_path / "cache")
    for compiler, reason in ((failing, "no such target"), ("/no/such/cc", "No such file")):
        loaded = told(library, MECHEVAL_CACHE=cache, CC=str(compiler)).recv()
        assert "functions=None" in loaded
        assert reason in loaded
    loaded = told(library, MECHEVAL_CACHE=cache, CC="", PATH="/nowhere").recv()
    assert "there is no C compiler" in loaded


def test_unwritable_cache_means_no_c_kernels(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("", encoding="utf-8")
    assert "functions=None" in told(library, MECHEVAL_CACHE=str(blocked)).recv()


@pytest.mark.gpu
@pytest.mark.parametrize("heads", [False, True], ids=["mamba", "mamba2"])
def test_fused_scan_equals_the_definition(heads):
    pytest.importorskip("mamba_ssm", reason="the fused kernels come with the extra 'cuda'")
    scan_by = dual_scan if heads else selective_scan
    shape = (2, 70, 64, 16, 2)
    scan = random_scan(shape, heads=heads, dtype=torch.float32, device="cuda")
    assert choose("auto", scan.x_BTE) == "mamba_ssm"
    wanted = values_and_gradients(
        scan_by, random_scan(shape, heads=heads), implementation="reference"
    )
    found = values_and_gradients(scan_by, scan, implementation="mamba_ssm")
    # The Triton kernel multiplies matrices in tf32.
    assert worst(found, wanted) < (1e-2 if heads else 1e-4)


@pytest.mark.gpu
@pytest.mark.parametrize("heads", [False, True], ids=["mamba", "mamba2"])
@both_ranges
def test_portable_scan_on_cuda_equals_the_definition(heads, signed):
    scan_by = dual_scan if heads else selective_scan
    shape = (2, 70, 64, 16, 2)
    wanted = values_and_gradients(
        scan_by, random_scan(shape, heads=heads), signed=signed, implementation="reference"
    )
    scan = random_scan(shape, heads=heads, dtype=torch.float64, device="cuda")
    found = values_and_gradients(scan_by, scan, signed=signed, implementation="torch")
    assert worst(found, wanted) < 1e-12
