"""Recording every module call of one forward pass, and replaying one of them on another stream.

Shape suffixes: ``B`` examples, ``T`` positions, ``D`` width, ``C`` vocabulary, ``H`` heads, ``K``
width of a head, ``E`` channels.
"""

from __future__ import annotations

import inspect
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from mecheval import seeding
from mecheval.models.convolution_hooks import Convolving, is_short_convolution
from mecheval.models.hooks import stream_argument
from mecheval.models.tolerance import CARRIED
from mecheval.models.wrapped.recording.attention_functions import watching
from mecheval.models.wrapped.recording.module_state import left_as_found

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping


def run(module: nn.Module, tokens_BT: Tensor) -> Tensor:
    """Call a module that maps tokens to logits, without a cache, and return the logits.

    What it notes down beside them is put back.
    """
    with left_as_found(module):
        return logits_of(module(tokens_BT, **without_cache(module)))


def without_cache(module: nn.Module) -> dict[str, Any]:
    """Return the arguments that make a module keep no cache, where it knows such an argument."""
    parameters = inspect.signature(module.forward).parameters
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    configured = hasattr(getattr(module, "config", None), "use_cache")
    return {"use_cache": False} if "use_cache" in parameters or (takes_any and configured) else {}


def logits_of(output: Any) -> Tensor:
    """Return the logits from a model's output: a tensor, a tuple, or an object with ``logits``."""
    if isinstance(output, Tensor):
        return output
    return output.logits if hasattr(output, "logits") else output[0]


@dataclass(frozen=True)
class Attended:
    """One call of an attention function.

    Attributes:
        module: The attention module that called it.
        q_BHTK: Queries, as they are compared with keys.
        k_BHTK: Keys; there can be fewer heads of them.
        v_BHTK: Values.
        read_BTHK: What the heads read.
    """

    module: nn.Module
    q_BHTK: Tensor
    k_BHTK: Tensor
    v_BHTK: Tensor
    read_BTHK: Tensor


@dataclass(eq=False)
class Call:
    """One call of a module during a recorded forward pass.

    Attributes:
        module: The module that was called.
        path: Its name in the module tree.
        counts: How often every module was called in the whole pass.
        order: Number of calls that began earlier.
        args: Copies of its positional arguments.
        kwargs: Copies of its keyword arguments.
        given: Its tensor arguments themselves, to tell whether two calls share a tensor.
        parent: The call inside which it happened.
        children: The calls that it made.
        output: Its output as a stream: the output itself or the first item of it, copied.
        returned: That output itself.
        attended: The calls of attention functions that its module made itself.
        convolved: Short convolutions that its module ran: with the weights of which module, the
            path of that, and the output ``(B, E, T + extra)``.
    """

    module: nn.Module
    path: str
    counts: Counter[nn.Module]
    order: int
    args: tuple
    kwargs: dict[str, Any]
    given: list[Tensor]
    parent: Call | None
    children: list[Call] = field(default_factory=list)
    output: Any = None
    returned: Any = None
    attended: list[Attended] = field(default_factory=list)
    convolved: list[tuple[nn.Module, str, Tensor]] = field(default_factory=list)

    @property
    def stream_BTD(self) -> Tensor | None:
        """Return the stream that the module was called with, if any."""
        try:
            return stream_argument(self.args, self.kwargs)[1]
        except LookupError:
            return None

    @property
    def shared(self) -> str | None:
        """Return why its activations are no site, if its module is called several times."""
        times = self.counts[self.module]
        return f"{self.path} is shared: it runs {times} times" if times > 1 else None

    @property
    def given_stream(self) -> Tensor | None:
        """Return the tensor itself behind :attr:`stream_BTD`."""
        return next((t for t in self.given if t.is_floating_point() and t.dim() == 3), None)

    def descendants(self) -> Iterator[Call]:
        """Yield the calls made inside this one, in the order in which they began."""
        for child in self.children:
            yield child
            yield from child.descendants()

    def replay(self, stream_BTD: Tensor) -> Tensor:
        """Call the module again with another stream and all other arguments as recorded.

        Attention that is given the same tensor as query, key and value gets the other one thrice.
        """
        given = iter(self.given)

        def replaced(value: Any) -> Any:
            if isinstance(value, Tensor) and is_same(next(given), self.given_stream):
                return stream_BTD
            return _copied(value)

        args = tuple(replaced(value) for value in self.args)
        kwargs = {name: replaced(value) for name, value in self.kwargs.items()}
        with left_as_found(self.module):
            return first_item(self.module(*args, **kwargs))


def record(module: nn.Module, tokens_BT: Tensor) -> Call:
    """Run a module once and return the tree of all module calls.

    The root is the module's own call, with the logits as its output.
    """
    recorder = _Recorder(module)
    short = [part for part in module.modules() if is_short_convolution(part)]
    visits = [(part, recorder.convolution(part)) for part in short]
    with ExitStack() as stack:
        for part in module.modules():
            before = part.register_forward_pre_hook(recorder.before, with_kwargs=True)
            stack.enter_context(before)
            stack.enter_context(part.register_forward_hook(recorder.after))
        stack.enter_context(watching(module.modules(), recorder.attended))
        stack.enter_context(Convolving(visits))
        root_output = run(module, tokens_BT)
    root = recorder.roots[0]
    root.output = root_output
    return root


class _Recorder:
    """Builds the tree of calls."""

    def __init__(self, module: nn.Module) -> None:
        self.paths = {part: path for path, part in module.named_modules()}
        self.roots: list[Call] = []
        self.open: list[Call] = []
        self.counts: Counter[nn.Module] = Counter()

    def before(self, called: nn.Module, args: tuple, kwargs: dict[str, Any]) -> None:
        parent = self.open[-1] if self.open else None
        given = tensors_of(args, kwargs)
        # Copies, because modules write into what they are given; the tensors themselves as well,
        # because whether two calls share one is seen by where it lies.
        call = Call(
            called, self.paths[called], self.counts, self.counts.total(),
            _copied(args), _copied(kwargs), given, parent,
        )  # fmt: skip
        self.counts[called] += 1
        (parent.children if parent else self.roots).append(call)
        self.open.append(call)

    def after(self, called: nn.Module, args: tuple, output: Any) -> None:
        call = self.open.pop()
        call.returned = first_item(output)
        call.output = _copied(call.returned)

    def attended(self, module: nn.Module, *given: Any) -> None:
        q_BHTK, k_BHTK, v_BHTK, _, _, output = given
        heads = (tensor.clone() for tensor in (q_BHTK, k_BHTK, v_BHTK, first_item(output)))
        self.open[-1].attended.append(Attended(module, *heads))

    def convolution(self, part: nn.Module) -> Callable[[Tensor], None]:
        path = self.paths[part]
        return lambda output: self.open[-1].convolved.append((part, path, output.clone()))


def tensors_of(args: tuple, kwargs: Mapping[str, Any]) -> list[Tensor]:
    """Return the arguments that are tensors."""
    return [value for value in (*args, *kwargs.values()) if isinstance(value, Tensor)]


def first_item(output: Any) -> Any:
    """Return a module's output where it is a tensor, the first item of it otherwise."""
    return output[0] if isinstance(output, tuple | list) and output else output


def is_same(one: Any, other: Any) -> bool:
    """Say whether two tensors are one piece of memory seen alike."""
    return (
        isinstance(one, Tensor)
        and isinstance(other, Tensor)
        and one.data_ptr() == other.data_ptr()
        and one.shape == other.shape
        and one.stride() == other.stride()
    )


def reach(call: Call) -> int:
    """Measure how many positions beyond the changed ones a module carries a change of its stream.

    The first half of the stream is replaced by noise of the same size. Rounding is not counted: a
    mixture of experts groups its tokens in another way when some of them change.

    Returns:
        0 for a module that works on every position alone, 1 for one that looks at the previous
        position only, more for one that carries information along the sequence.
    """
    stream_BTD = call.stream_BTD
    if stream_BTD is None:
        return 0
    half = stream_BTD.shape[1] // 2
    changed_BTD = stream_BTD.clone()
    changed_BTD[:, :half] = noise_like(stream_BTD[:, :half]) * stream_BTD.std()
    before_BTD, after_BTD = call.replay(stream_BTD.clone()), call.replay(changed_BTD)
    moved_T = (after_BTD - before_BTD).abs().amax((0, 2)) > CARRIED * before_BTD.abs().max()
    beyond = moved_T[half:].nonzero()
    return int(beyond.max()) + 1 if len(beyond) else 0


def noise_like(stream_BTD: Tensor) -> Tensor:
    """Return standard normal numbers of a stream's shape, type and device; always the same ones."""
    drawn_BTD = seeding.Draws(0, "noise").normal(tuple(stream_BTD.shape), dtype=np.float32)
    return torch.from_numpy(drawn_BTD).to(stream_BTD)


def nested(value: Any, change: Callable[[Any], Any]) -> Any:
    """Return a nested value with another one wherever a change makes one of what stands there."""
    changed = change(value)
    if changed is not value:
        return changed
    if type(value) in (tuple, list):
        return type(value)(nested(item, change) for item in value)
    if type(value) is dict:
        return {key: nested(item, change) for key, item in value.items()}
    return value


def _copied(value: Any) -> Any:
    return nested(value, lambda item: item.clone() if isinstance(item, Tensor) else item)
