"""Every site of a model, with its shape and the module where it lives.

Shape suffixes: ``B`` examples, ``T`` positions, ``D`` width of the stream.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from mecheval.models.decomposition import Refusal
from mecheval.models.sites import Site, SiteInfo
from mecheval.models.wrapping import as_model

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import nn

    from mecheval.models.contract import SequenceModel
    from mecheval.models.decomposition import Layer
    from mecheval.models.mixing import State

POSITIONS = 11  # a size that no axis of a model is likely to have


@torch.inference_mode()
def site_infos(model: SequenceModel | nn.Module) -> list[SiteInfo]:
    """Return every site: the tensors of the forward pass, and what mixers write and remember.

    Raises:
        UsageError: It is no model, or no blocks were found in it.
    """
    model = as_model(model)
    model.check_blocks()
    taps = model.taps()
    found = [
        SiteInfo(site, tap.path, tap.side, f"{tap.holds} (B, T, {tap.width})".strip())
        for site, tap in taps.items()
    ]
    decomposition = model.decomposition()
    if isinstance(decomposition, Refusal):
        paths = [taps[Site(index, "block_in")].path for index in range(model.n_layers)]
        return found + [
            SiteInfo(Site(index, component), path, "memory", "as the model keeps it")
            for index, path in enumerate(paths)
            for component in model.exchanges
        ]
    for index, layer in enumerate(decomposition.layers):
        mixer = taps.get(Site(index, "mixer_out"))
        path = "" if mixer is None else mixer.path
        for component, names, shapes in _memory(model, layer):
            shape = " ".join(
                f"{name} {_shown(part)}" if name else _shown(part)
                for name, part in zip(names, shapes, strict=True)
            )
            found.append(SiteInfo(Site(index, component), path, "memory", shape))
    return found


def _memory(
    model: SequenceModel, layer: Layer
) -> Iterator[tuple[str, tuple[str, ...], list[tuple[Any, ...]]]]:
    """Yield the memory sites of a layer with the names and shapes of their parts."""
    parameter = next(model.parameters())
    stream_BTD = parameter.new_zeros(1, POSITIONS, model.d_model)
    tokens_BT = torch.zeros(1, POSITIONS, dtype=torch.long, device=parameter.device)
    normed_BTD, mixing = layer.entered(stream_BTD, layer.given(tokens_BT)), layer.mixing
    signals = mixing.project(normed_BTD, ())
    state = mixing.advance(signals, ())
    if mixing.writes:
        written = mixing.written(signals, ())
        yield "write", mixing.writes, [("B", "T", *part.shape[2:]) for part in written]
    if mixing.tells_recent:
        yield "state", ("",) * (len(state) - mixing.n_recent), _shapes(state[mixing.n_recent :])
    yield "cache", ("",) * len(state), _shapes(state)


def _shapes(state: State) -> list[tuple[Any, ...]]:
    """Return shapes with the examples as B, and with T where keys or values grow."""
    return [
        ("B", *("T" if size == POSITIONS else size for size in part.shape[1:])) for part in state
    ]


def _shown(shape: tuple[Any, ...]) -> str:
    return f"({', '.join(str(size) for size in shape)})"
