"""Sparse products against dense autograd, and codes against dense arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from mecheval.dictionaries import SparseCodes
from mecheval.dictionaries.active import Explained, all_above, largest_of_batch, largest_of_rows
from mecheval.errors import StorageError, UsageError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("choice", ["rows", "batch", "above"])
def test_sparse_gradients_are_those_of_dense_autograd(choice: str) -> None:
    rng = torch.Generator().manual_seed(0)
    shapes = (40, 7), (40,), (40, 7), (7,)
    weights = [torch.randn(s, generator=rng, dtype=torch.float64).requires_grad_() for s in shapes]
    encoder, bias, decoder, centre = weights
    rows = torch.randn((30, 7), generator=rng, dtype=torch.float64)
    before = (rows - centre) @ encoder.T + bias
    pattern, values = {
        "rows": lambda x: largest_of_rows(x, 25),  # more than half: some are below zero
        "batch": lambda x: largest_of_batch(x, 5),
        "above": lambda x: all_above(x, torch.full((40,), 1.0, dtype=torch.float64)),
    }[choice](before.detach())
    places = torch.repeat_interleave(torch.arange(30), pattern.ends_R.diff()), pattern.latents_E
    mask = torch.zeros_like(before).index_put(places, torch.tensor(1.0, dtype=torch.float64))
    dense = (before * mask).clamp(min=0) @ decoder
    sparse = Explained.apply(rows, pattern, values, *weights)
    torch.testing.assert_close(sparse, dense, rtol=1e-12, atol=1e-12)
    target = torch.randn((30, 7), generator=rng, dtype=torch.float64)
    found = torch.autograd.grad((sparse - target).square().sum(), weights)
    wanted = torch.autograd.grad((dense - target).square().sum(), weights)
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-10)


def test_codes_hold_what_fires(tmp_path: Path) -> None:
    codes = SparseCodes.from_topk(
        np.float32([[2, 1], [3, 0], [0, -1]]), [[4, 1], [1, 0], [2, 3]], 6
    )
    dense = np.zeros((3, 6))
    dense[0, 4], dense[0, 1], dense[1, 1] = 2, 1, 3
    assert (codes.csr.toarray() == dense).all()
    assert codes.csr.data.dtype == np.float32
    assert codes.csr.indices.dtype == np.int32
    assert codes.l0 == 1
    assert (codes.sums() == dense.sum(0)).all()
    assert (codes.squares() == (dense**2).sum(0)).all()
    assert (codes.select([1, 0]).csr.toarray() == dense[[1, 0]]).all()
    codes.save(tmp_path / "codes")
    assert (SparseCodes.load(tmp_path / "codes").csr.toarray() == dense).all()


def test_wrong_codes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="one shape"):
        SparseCodes.from_topk([[1.0]], [[1, 2]], 4)
    with pytest.raises(UsageError, match="from 0 to 3"):
        SparseCodes.from_topk([[1.0]], [[4]], 4)
    with pytest.raises(StorageError, match="holds no codes"):
        SparseCodes.load(tmp_path / "nothing")
