"""Operations that are computed in float32 although a run is in half precision (autocast)."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor


@contextmanager
def full_precision_on_cpu(value: Tensor) -> Iterator[Tensor]:
    """Leave autocast on a CPU, with the value in at least float32.

    torch's recurrent layers fail in bfloat16 on many CPUs, and are no faster in it on the others.
    """
    if value.device.type != "cpu":
        yield value
        return
    with torch.autocast("cpu", enabled=False):
        yield value if value.dtype == torch.float64 else value.float()
