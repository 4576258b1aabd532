"""How far two ways to the same numbers may differ, relative to the largest of them."""

from __future__ import annotations

import torch

_BY_DTYPE = {torch.float64: 1e-10, torch.float32: 1e-5}
_COARSE = 3e-2  # half precision


def tolerance(dtype: torch.dtype) -> float:
    """Return the largest difference that rounding can make in a type of number."""
    return _BY_DTYPE.get(dtype, _COARSE)
