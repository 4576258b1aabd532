"""Drawing weights: what torch draws while a model is built comes from a stream of ours.

Shape suffixes: ``X`` any shape, ``N``, ``M`` sizes of a matrix.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from mecheval import exact, seeding

if TYPE_CHECKING:
    from collections.abc import Iterator

aten = torch.ops.aten


@contextmanager
def drawing(seed: int, *names: str | int) -> Iterator[None]:
    """Let torch draw from the stream of one purpose; the global random state is left as it was.

    Inside, in this thread, what decides the weights that are drawn has the same bits on every
    processor, with any number of threads, any switches and in every version of torch:

    - uniform and normal numbers are :class:`.seeding.Draws`, made in float64 on the CPU and
      rounded, whoever asks torch for them: ``torch.nn.init``, modules, transformers (which numbers
      those ask for, and what they make of them, can differ between their versions);
    - ``exp``, ``expm1``, ``log``, ``log1p``, ``erfinv``, ``linspace`` and the QR decomposition (for
      orthogonal matrices) are those of :mod:`mecheval.exact` in float64, rounded;
    - sums, differences, products, quotients and square roots of single elements are torch's: IEEE
      754 says what they are.

    The rest is torch's, and rounds as it pleases: sums over elements, matrix products, powers and
    angles. What else draws (``randint``, ``randperm``, ``bernoulli_``) takes torch's generator,
    seeded likewise: the same numbers again on one machine with one version. A draw from a generator
    that is handed to it is left alone.

    Args:
        seed: The seed of the cell.
        names: The purpose; see :func:`mecheval.seeding.derive`.
    """
    with torch.random.fork_rng(devices=[]):
        # Not torch.manual_seed, which would also seed every GPU.
        torch.default_generator.manual_seed(seeding.derive(seed, *names))
        with _Drawing(seeding.Draws(seed, *names)):
            yield


class _Drawing(TorchDispatchMode):
    """Puts our draws and functions in the place of torch's, beneath whoever calls them."""

    def __init__(self, draws: seeding.Draws) -> None:
        super().__init__()
        self.draws = draws

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Say that torch need not import its compiler, for seconds, to keep it away from here."""
        return False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Call a function of torch, or what stands for it here."""
        kwargs = kwargs or {}
        if func in _DRAWS and kwargs.get("generator") is None:
            draw, *parameters = _DRAWS[func](*args)
            made_X = args[0] if func._schema.name.endswith("_") else func(*args, **kwargs)
            return self._drawn(made_X, draw, *parameters)
        if func in _FUNCTIONS and not args[0].is_meta:
            values_X = _FUNCTIONS[func](_doubles(args[0]))
            return _put(func(*args, **kwargs), values_X)
        if func is aten.linspace.default:
            return _put(func(*args, **kwargs), _evenly(*args[:3]))
        if func is aten.linalg_qr.default and args[0].shape[-2] >= args[0].shape[-1]:
            return tuple(map(_put, func(*args, **kwargs), exact.qr(_doubles(args[0]))))
        return func(*args, **kwargs)

    def _drawn(self, made_X: Any, kind: str, one: Any, other: Any) -> Any:
        """Fill a tensor with uniform numbers between two, or normal ones of a mean and a spread."""
        if made_X.is_meta or made_X.is_complex():
            return made_X
        dtype = np.float64 if made_X.dtype == torch.float64 else np.float32
        shape = tuple(made_X.shape)
        if kind == "uniform":
            return _put(made_X, self.draws.uniform(shape, one, other, dtype))
        if isinstance(one, Tensor) or isinstance(other, Tensor):
            return _put(made_X, _doubles(one) + _doubles(other) * self.draws.normal(shape))
        return _put(made_X, self.draws.normal(shape, one, other, dtype))


def _uniform_(tensor: Tensor, low: float = 0.0, high: float = 1.0) -> tuple[str, float, float]:
    return "uniform", low, high


def _normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0) -> tuple[str, float, float]:
    return "normal", mean, std


def _normal(mean: Any, std: Any = 1.0, size: Any = None) -> tuple[str, Any, Any]:
    return "normal", mean, std


def _standard(kind: str) -> Any:
    return lambda like: (kind, 0.0, 1.0)


_DRAWS = {
    aten.uniform_.default: _uniform_,
    aten.rand.default: _standard("uniform"),
    aten.rand_like.default: _standard("uniform"),
    aten.normal_.default: _normal_,
    aten.randn.default: _standard("normal"),
    aten.randn_like.default: _standard("normal"),
    aten.normal.float_float: _normal,
    aten.normal.Tensor_float: _normal,
    aten.normal.float_Tensor: _normal,
    aten.normal.Tensor_Tensor: _normal,
}
"""What torch draws with: the distribution, and its two parameters, of the arguments."""

_FUNCTIONS = {
    overload: getattr(exact, name)
    for name in ("exp", "expm1", "log", "log1p", "erfinv")
    for overload in (getattr(aten, name).default, getattr(aten, f"{name}_").default)
}


def _put(made_X: Tensor, values_X: np.ndarray) -> Tensor:
    """Write rounded values into a tensor."""
    return made_X.copy_(torch.from_numpy(np.asarray(values_X, order="C")))


def _doubles(value: Any) -> Any:
    return value.detach().double().cpu().numpy() if isinstance(value, Tensor) else float(value)


def _evenly(start: float, end: float, steps: int) -> np.ndarray:
    """Return whole multiples of one step from the start on, and the end."""
    width = (float(end) - float(start)) / max(steps - 1, 1)
    found_N = float(start) + width * np.arange(steps, dtype=np.float64)
    found_N[1:][-1:] = end
    return found_N
