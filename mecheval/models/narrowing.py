"""Whether a computation in float64 brings something to float32 on the way."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

if TYPE_CHECKING:
    from collections.abc import Callable


def narrows(compute: Callable[[], object]) -> bool:
    """Say whether a function makes some tensor in float32."""
    with _Watch() as watch:
        compute()
    return watch.seen


class _Watch(TorchFunctionMode):
    """Sees whether any function returns a tensor in float32."""

    seen = False

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = func(*args, **(kwargs or {}))
        self.seen |= isinstance(output, Tensor) and output.dtype == torch.float32
        return output
