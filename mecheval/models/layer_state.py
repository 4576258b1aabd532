"""What one layer remembers after a position: read from a run, and put into another one.

Shape suffixes: ``B`` examples, ``T`` positions, ``D`` residual width, ``C`` vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mecheval.errors import UsageError
from mecheval.models.decomposition import Decomposition, Refusal
from mecheval.models.hooks import visiting
from mecheval.models.sites import Site

if TYPE_CHECKING:
    from mecheval.models.contract import SequenceModel
    from mecheval.models.decomposition import Layer
    from mecheval.models.mixing import Mixing, State


@dataclass(frozen=True)
class LayerState:
    """The memory of one layer after a position; its tensors may be changed.

    Attributes:
        layer: The layer.
        position: The last position that it has read.
        parts: Its tensors by name, the examples first: ``k`` and ``v`` of attention, ``h`` and
            ``c`` of an LSTM, ``state`` of others; in front of it, where the mixer has a short
            convolution, ``recent``, the last inputs of that. Where a module remembers by the
            model's own cache, they are called as there.
    """

    layer: int
    position: int
    parts: dict[str, Tensor]

    def __getitem__(self, name: str) -> Tensor:
        """Return one of the tensors."""
        return self.parts[name]

    def __str__(self) -> str:
        """Say what is in it."""
        shapes = ", ".join(f"{name} {tuple(part.shape)}" for name, part in self.parts.items())
        return f"layer {self.layer} after position {self.position}: {shapes}"


@torch.no_grad()
def read_state(
    model: SequenceModel, tokens_BT: Tensor, layer: int, position: int = -1
) -> LayerState:
    """Return what a layer remembers after a position of a run; see :meth:`SequenceModel.state`."""
    tokens_BT = torch.as_tensor(tokens_BT, device=model.device)
    part, last = _layer(model, layer), _position(position, tokens_BT)
    # Of the whole run: some models compute otherwise for a shorter input.
    stream_BTD = _stream(model, tokens_BT, layer)
    normed_BTD = part.entered(stream_BTD, part.given(tokens_BT))[:, : last + 1]
    memory = part.mixing.advance(part.mixing.project(normed_BTD, ()), ())
    return _named(part.mixing, memory, layer, last)


@torch.no_grad()
def continued(model: SequenceModel, tokens_BT: Tensor, state: LayerState) -> Tensor:
    """Return the logits of a run with another memory; see :meth:`SequenceModel.continued`."""
    tokens_BT = torch.as_tensor(tokens_BT, device=model.device)
    _layer(model, state.layer)
    n_read = _position(state.position, tokens_BT) + 1
    stream_BTD = _stream(model, tokens_BT, state.layer)
    decomposition = _decomposed(model)
    first, *later = decomposition.layers[state.layer :]
    normed_BTD = first.entered(stream_BTD, first.given(tokens_BT))
    mixed_BTD = _exchanged(first.mixing, normed_BTD, n_read, state)
    stream_BTD = first.handed_on(first.leave(stream_BTD, mixed_BTD))
    for part in later:
        stream_BTD = part.run(stream_BTD, part.given(tokens_BT))
    logits_NC = decomposition.readout(stream_BTD.flatten(0, 1), None)
    return logits_NC.unflatten(0, stream_BTD.shape[:2])


def _exchanged(mixing: Mixing, normed_BTD: Tensor, n_read: int, state: LayerState) -> Tensor:
    """Return a mixer's output: up to the position its own, behind it from the other memory.

    Raises:
        UsageError: The other memory has other parts.
    """
    early = mixing.project(normed_BTD[:, :n_read], ())
    own = _named(mixing, mixing.advance(early, ()), state.layer, state.position)
    shapes = {name: part.shape for name, part in own.parts.items()}
    if {name: part.shape for name, part in state.parts.items()} != shapes:
        raise UsageError(f"The state is of {state}, where the run has that of {own}.")
    parts = [mixing.output(early, ())]
    if n_read < normed_BTD.shape[1]:
        memory = tuple(state.parts[name].to(part) for name, part in own.parts.items())
        parts.append(mixing.output(mixing.project(normed_BTD[:, n_read:], memory), memory))
    return torch.cat(parts, 1)


def _named(mixing: Mixing, memory: State, layer: int, position: int) -> LayerState:
    n_behind = len(memory) - mixing.n_recent
    usual = (*_numbered("recent", mixing.n_recent), *_numbered("state", n_behind))
    names = mixing.remembers or usual
    return LayerState(layer, position, dict(zip(names, memory, strict=True)))


def _numbered(name: str, n: int) -> tuple[str, ...]:
    return (name,) if n == 1 else tuple(f"{name}_{i}" for i in range(n))


def _stream(model: SequenceModel, tokens_BT: Tensor, layer: int) -> Tensor:
    """Return the stream before a layer, in a run of the whole model."""
    seen: list[Tensor] = []
    with visiting(
        {model.taps()[Site(layer, "block_in")]: lambda value: seen.append(value.clone())}
    ):
        model.eval().logits_at(tokens_BT, tokens_BT[:, :1] * 0)
    return seen[0]


def _decomposed(model: SequenceModel) -> Decomposition:
    """Return a model in parts.

    Raises:
        UsageError: It cannot be taken apart.
    """
    model.check_blocks()
    found = model.decomposition()
    if isinstance(found, Refusal):
        raise UsageError(
            f"What a layer of this model remembers cannot be told from the rest ({found.reason}). "
            "model.start() and model.step() give the memory of all layers, where the model has a "
            "cache; recovery_grid(components=['cache']) exchanges that of one."
        )
    return found


def _layer(model: SequenceModel, layer: int) -> Layer:
    layers = _decomposed(model).layers
    if not 0 <= layer < len(layers):
        raise UsageError(f"The model has layers 0 to {len(layers) - 1}; got {layer}.")
    return layers[layer]


def _position(position: int, tokens_BT: Tensor) -> int:
    if tokens_BT.dim() != 2 or not -tokens_BT.shape[1] <= position < tokens_BT.shape[1]:
        raise UsageError(
            f"A state needs token ids (B, T) and a position from 0 to T - 1; got "
            f"{tuple(tokens_BT.shape)} and {position}."
        )
    return position % tokens_BT.shape[1]
