"""What counts as the same: by type of number, above rounding, below what faults do."""

from __future__ import annotations

import pytest
import torch

from mecheval.models.tolerance import CUT, PARTS, PATCHED, ROUNDING, Tolerance, alike


@pytest.mark.parametrize("limit", [PARTS, PATCHED, CUT])
def test_a_limit_is_above_rounding_and_coarser_for_coarser_numbers(limit: Tolerance) -> None:
    for dtype in (torch.float64, torch.float32):
        assert limit.of(dtype) > ROUNDING * torch.finfo(dtype).eps
    assert limit.float64 < limit.float32 < limit.half == limit.of(torch.bfloat16) < 0.1
    assert limit.of(torch.float16) == limit.half


def test_what_goes_through_more_layers_may_be_further_off() -> None:
    assert all(one <= other for one, other in zip(PARTS, PATCHED, strict=True))
    assert all(one <= other for one, other in zip(PATCHED, CUT, strict=True))


def test_runs_are_alike_up_to_rounding() -> None:
    logits_BTC = torch.linspace(-3, 3, 24).view(2, 3, 4)
    assert alike(logits_BTC, logits_BTC * (1 + 1e-6))
    assert alike(torch.tensor([torch.nan, torch.inf]), torch.tensor([torch.nan, torch.inf]))
    assert not alike(logits_BTC, logits_BTC * 1.01)
    assert not alike(logits_BTC, logits_BTC[:, :1])
