"""Convolutions with a module's weight, also where the module itself is not called.

transformers gives the weight of a short convolution to a function, so that a fused kernel can take
it. Plain torch then runs ``conv1d``, which is what is seen here.

Shape suffixes: ``B`` examples, ``T`` positions, ``E`` channels.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Any

from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

See = Callable[[Tensor], Tensor | None]
"""Sees an output ``(B, E, T + extra)``; returns its replacement, or None to leave it as it is."""


class _Entered(threading.local):
    """The modes of this thread, the outermost first."""

    def __init__(self) -> None:
        self.modes: list[Convolving] = []


class Convolving(TorchFunctionMode):
    """While entered, shows the outputs of convolutions with the weights of some modules."""

    def __init__(self, visits: Iterable[tuple[nn.Module, See]]) -> None:
        """Take modules with a weight, each with what is to see its outputs."""
        super().__init__()
        self.visits: list[tuple[Any, See]] = list(visits)

    def __torch_function__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run a torch function, and show its output if it is such a convolution."""
        kwargs = kwargs or {}
        output = func(*args, **kwargs)
        if func is not functional.conv1d:
            return output
        return self._shown(args[1] if len(args) > 1 else kwargs["weight"], output)

    def __enter__(self) -> Convolving:
        """Start to show outputs."""
        _entered.modes.append(self)
        return super().__enter__()

    def __exit__(self, *raised: Any) -> None:
        """Stop to show outputs."""
        _entered.modes.remove(self)
        super().__exit__(*raised)

    def _shown(self, weight: Tensor, output: Tensor) -> Tensor:
        for module, see in self.visits:
            if module.weight.data_ptr() == weight.data_ptr():
                changed = see(output)
                output = output if changed is None else changed
        return output


_entered = _Entered()


def shown(weight: Tensor, output: Tensor) -> Tensor:
    """Show the output of a convolution that another function than torch's has computed."""
    for mode in _entered.modes:
        output = mode._shown(weight, output)
    return output


def is_short_convolution(module: nn.Module) -> bool:
    """Say whether a module convolves every channel on its own along the positions."""
    return isinstance(module, nn.Conv1d) and 1 < module.groups == module.in_channels
