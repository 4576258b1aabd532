"""Random inputs of scans, and how what two implementations return is compared."""

import pytest
import torch
from torch import Tensor

from mecheval.models.kernels.c.compile import library
from mecheval.models.kernels.scan import Scan

needs_c = pytest.mark.skipif(library().functions is None, reason=library().origin)
both_ranges = pytest.mark.parametrize("signed", [False, True], ids=["[0,1]", "[-1,1]"])

SHAPES = [  # examples, positions, channels, states, heads
    (2, 1, 16, 16, 2),
    (3, 17, 40, 16, 4),
    (2, 33, 7, 5, 1),
    (2, 70, 48, 16, 3),
]


def random_scan(shape, *, heads: bool = False, dtype=torch.float64, device="cpu") -> Scan:
    examples, positions, channels, states, n_heads = shape
    generator = torch.Generator().manual_seed(0)

    def normal(*sizes: int) -> Tensor:
        return torch.randn(sizes, generator=generator, dtype=torch.float64)

    groups = n_heads if heads else channels
    A = -torch.exp(0.5 * (normal(groups) if heads else normal(channels, states)))
    scan = Scan(
        normal(examples, positions, channels), normal(examples, positions, groups),
        normal(examples, positions, channels), normal(examples, positions, states),
        normal(examples, positions, states), A, normal(groups), normal(groups),
    )  # fmt: skip
    return Scan(*(value.to(device, dtype) for value in scan[:8]))


def random_state(scan: Scan) -> Tensor:
    generator = torch.Generator().manual_seed(2)
    sizes = (*scan.x_BTE.shape[::2], scan.B_BTN.shape[2])
    return torch.randn(sizes, generator=generator, dtype=torch.float64).to(scan.x_BTE)


def values_and_gradients(scan_by, scan: Scan, *, signed: bool = False, **how) -> list[Tensor]:
    """Return the output, the last state and the gradients of all inputs of a random sum."""
    scan = Scan(*(value.detach().clone().requires_grad_() for value in scan[:8]), signed=signed)
    y_BTE, last_BEN = scan_by(scan, **how)
    generator = torch.Generator().manual_seed(1)
    weight_BTE = torch.randn(y_BTE.shape, generator=generator, dtype=torch.float64)
    (y_BTE * weight_BTE.to(y_BTE)).sum().backward()
    gradients = [value.grad for value in scan[:8]]
    assert all(gradient is not None for gradient in gradients)
    return [value.detach().double().cpu() for value in (y_BTE, last_BEN, *gradients)]


def worst(found: list[Tensor], wanted: list[Tensor]) -> float:
    """Return the largest error, relative to the largest wanted value of its tensor."""
    pairs = [(a.detach(), b.detach()) for a, b in zip(found, wanted, strict=True)]
    return max(float((a - b).abs().max() / b.abs().max().clamp_min(1e-3)) for a, b in pairs)
