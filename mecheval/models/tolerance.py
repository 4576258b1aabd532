"""How far numbers may differ that ought to be the same: all limits in one table, with the reasons.

Each is a share of the largest number of those that are compared, which of whole runs is the largest
logit. They lie well above what rounding does and far below what a fault does: a mask, a position or
a memory that is not the model's moves numbers by their own size.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Tolerance(NamedTuple):
    """A limit by type of number; ``half`` is for float16 and bfloat16, and all that is coarser."""

    float64: float
    float32: float
    half: float

    def of(self, dtype: torch.dtype) -> float:
        """Return the limit for a type of number."""
        return {torch.float64: self.float64, torch.float32: self.float32}.get(dtype, self.half)


ROUNDING = 16
"""By how many units in the last place of the largest number two sums can differ."""

PARTS = Tolerance(1e-10, 1e-5, 3e-2)
"""One block in parts, or the same pass on other kernels: the same sums in another order."""

PATCHED = Tolerance(1e-9, 1e-4, 3e-2)
"""Patched runs of an engine against plain hooks: what :data:`PARTS` allows goes through all later
blocks on its way to the logits."""

CUT = Tolerance(1e-6, 1e-4, 3e-2)
"""A run whose input was cut behind what is read of it, against the whole one: no more than what
engines may be off by, too. Models in float64 that compute parts in float32 are cut as well."""

NARROWED = 1e-6
"""In the place of :data:`PATCHED` for models in float64 that compute parts in float32, which rounds
by 6e-8."""

STEPWISE = 1e-4
"""Runs token by token against whole ones, in any type: a recurrence and its parallel form add up in
another order."""

LATER = 1e-3
"""What a later token may do to an earlier logit of a causal model: beside rounding, a mixture of
experts groups its tokens in another way when some of them change."""

CARRIED = 1e-5
"""What counts as no change of a stream that a module carries from position to position."""


def alike(one: Tensor, other: Tensor) -> bool:
    """Say whether two runs that should be one agree: up to 1e-4 of each number, and to 1e-5."""
    if one.shape != other.shape:
        return False
    return torch.allclose(one.float(), other.float(), rtol=1e-4, atol=1e-5, equal_nan=True)
