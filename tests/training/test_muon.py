"""Muon: the steps of torch's, but for its bfloat16; on all matrices of a shape at once."""

from __future__ import annotations

import pytest
import torch

from mecheval.training.muon import Muon, orthogonal

SHAPES = [(12, 8), (8, 8), (8, 12), (12, 8)]


def drawn(seed: int) -> list[torch.nn.Parameter]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.nn.Parameter(torch.randn(shape, generator=generator)) for shape in SHAPES]


def test_steps_are_those_of_torch() -> None:
    own, other = drawn(0), drawn(0)
    ours = Muon(own, lr=1e-2, weight_decay=0.1)
    theirs = torch.optim.Muon(other, lr=1e-2, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
    for step in range(3):
        for mine, its, gradient in zip(own, other, drawn(step + 1), strict=True):
            mine.grad, its.grad = gradient.detach().clone(), gradient.detach().clone()
        ours.step()
        theirs.step()
    for mine, its, before in zip(own, other, drawn(0), strict=True):
        moved = (its - before).detach().abs().max()
        assert float((mine - its).detach().abs().max() / moved) < 0.05  # bfloat16 has three digits
        assert float((mine - before).detach().abs().max() / moved) > 0.5


@pytest.mark.parametrize("shape", [(3, 8, 12), (2, 12, 8), (1, 8, 8)])
def test_singular_values_come_near_one(shape: tuple[int, ...]) -> None:
    matrices = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    values = torch.linalg.svdvals(orthogonal(matrices))
    assert 0.3 < float(values.min()) <= float(values.max()) < 1.25
    left, _, right = torch.linalg.svd(matrices, full_matrices=False)
    assert float((left @ right * orthogonal(matrices)).sum((-2, -1)).min()) > 0.6 * min(shape[1:])


def test_matrices_without_a_gradient_stay() -> None:
    matrices = drawn(0)
    matrices[1].grad = torch.ones_like(matrices[1])
    before = [matrix.detach().clone() for matrix in matrices]
    Muon(matrices, lr=0.1, weight_decay=0.5).step()
    same = [torch.equal(old, new) for old, new in zip(before, matrices, strict=True)]
    assert same == [True, False, True, True]
