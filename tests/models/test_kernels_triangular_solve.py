"""Systems of equations by substitution, and products of rows: values and gradients."""

import pytest
import torch

from mecheval.models.kernels.chunks import overlaps
from mecheval.models.kernels.triangular_solve import substituted, unit_inverse


def drawn(*sizes: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(sum(sizes))
    return torch.randn(sizes, generator=generator, dtype=torch.float64, requires_grad=True)


def test_the_inverse_looks_below_the_diagonal_only():
    factors = drawn(2, 3, 7, 7)
    matrix = torch.eye(7).double() + factors.tril(-1)
    inverse = unit_inverse(factors)
    assert torch.allclose(inverse @ matrix, torch.eye(7).double().expand_as(matrix), atol=1e-12)
    assert not inverse.requires_grad


def test_the_solution_and_its_gradients():
    factors, right = drawn(2, 5, 5), drawn(2, 5, 3)

    def solve(factors: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        return substituted(factors, unit_inverse(factors), right)

    matrix = torch.eye(5).double() + factors.tril(-1)
    assert torch.allclose(matrix @ solve(factors, right), right)
    assert torch.autograd.gradcheck(solve, (factors, right))


@pytest.mark.parametrize("diagonal", [None, 0, -1])
def test_overlaps_are_products_of_rows(diagonal):
    read, keys = drawn(2, 2, 4, 3), drawn(2, 2, 4, 3).detach().flip(0).requires_grad_()
    wanted = torch.einsum("bhlk,bhsk->bhls", read, keys)
    found = overlaps(read, keys, diagonal=diagonal)
    assert torch.allclose(found, wanted if diagonal is None else wanted.tril(diagonal))
    assert torch.autograd.gradcheck(lambda *rows: overlaps(*rows, diagonal=diagonal), (read, keys))
