"""What a model holds at places, recorded in one pass, in memory that is known beforehand.

Shape suffixes: ``B`` sequences, ``T`` positions, ``N`` places (a position of a sequence), ``C``
symbols of the task, ``D`` residual width, ``W`` numbers of a row, ``X`` those that are kept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np

from mecheval import seeding

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from mecheval.interventions.memory_sites import Memory, MemorySite
    from mecheval.metrics.pairs.places import Component, Places
    from mecheval.models.contract import SequenceModel
    from mecheval.models.decomposition import Refusal

MEMORY = 1 << 30
"""Bytes for what places hold at one site of memory, which may be wide: a matrix in every head."""

FEWEST = 32
"""Numbers of a row of which fewer say nothing of it."""


def record(
    model: SequenceModel,
    code_C: np.ndarray,
    places: Places,
    layers: Sequence[int],
    *,
    batch_size: int,
    component: Component = "block_out",
    n_numbers: int | None = None,
) -> list[np.ndarray]:
    """Run a model, and keep what it holds at places, each ``(N, X)`` in float32.

    Args:
        model: The model.
        code_C: Its token id of every symbol.
        places: Where.
        layers: Behind how many blocks; of memory it is the last one of these.
        batch_size: Sequences per forward pass.
        component: Which site.
        n_numbers: Most numbers of a row of memory that are kept, see :func:`numbers_of`; all of
            them where None.
    """
    tokens_BT = code_C[places.symbols_BT]
    order_N = np.argsort(places.row_N, kind="stable")
    ends_B = np.searchsorted(places.row_N[order_N], np.arange(len(tokens_BT) + 1))
    keep = _Streams(model, layers) if component == "block_out" else _Memory(
        model, layers, component, n_numbers
    )  # fmt: skip
    found = [np.empty((len(order_N), width), np.float32) for width in keep.widths]
    for first in range(0, len(tokens_BT), batch_size):
        last = min(first + batch_size, len(tokens_BT))
        here_N = order_N[ends_B[first] : ends_B[last]]
        at = places.row_N[here_N] - first, places.position_N[here_N]
        for kept_NX, rows_NX in zip(found, keep(tokens_BT[first:last], at), strict=True):
            kept_NX[here_N] = rows_NX
    return found


def row_widths(
    model: SequenceModel, layers: Sequence[int], component: Component
) -> list[int] | Refusal:
    """Return how many numbers a row of a site has at some layers, or why it is none.

    Args:
        model: The model.
        layers: The layers, counted from 1.
        component: The site.
    """
    from mecheval.interventions.memory_sites import MemorySite, memory_site  # imports torch

    if component == "block_out":
        return [model.d_model] * len(layers)
    found = [memory_site(model, layer - 1, component) for layer in layers]
    refused = [each for each in found if not isinstance(each, MemorySite)]
    return refused[0] if refused else [each.width for each in cast("list[MemorySite]", found)]


def numbers_of(width: int, most: int | None) -> np.ndarray | None:
    """Return which numbers of a row are kept, ``(X,)`` in order; None where all are.

    They are drawn, the same ones for all rows of a width: evenly spaced ones would be of the same
    few states of every channel.
    """
    if most is None or width <= most:
        return None
    return np.sort(seeding.stream(0, "numbers of a row", width, most).permutation(width)[:most])


def drawn_numbers(widths: Sequence[int], most: int | None) -> list[str]:
    """Say of which numbers of rows a dictionary is, where it is not of all."""
    return [
        f"of the {width} numbers of a row {most} are recorded, drawn once: all of them of so many "
        "training places would not fit into memory"
        for width in dict.fromkeys(widths)
        if most is not None and width > most
    ]


def most_numbers(n_places: int) -> int:
    """Return how many numbers of each row of memory are kept where so many places are recorded."""
    return MEMORY // (4 * n_places)


class _Streams:
    """Keeps the residual stream."""

    def __init__(self, model: SequenceModel, layers: Sequence[int]) -> None:
        from mecheval.models.sites import stream_sites

        self._model, all_sites = model, stream_sites(model.n_layers)
        self._sites = [all_sites[layer] for layer in layers]
        self.widths = [model.d_model] * len(layers)

    def __call__(
        self, tokens_BT: np.ndarray, at: tuple[np.ndarray, np.ndarray]
    ) -> list[np.ndarray]:
        """Return the rows of places of some sequences."""
        import torch

        from mecheval.interventions.activations import activations

        place_N = torch.from_numpy(at[0] * tokens_BT.shape[1] + at[1]).to(self._model.device)

        def keep(value_BTD: Tensor) -> Tensor:
            return value_BTD.flatten(0, 1).index_select(0, place_N).float()

        given_BT = torch.as_tensor(tokens_BT, device=self._model.device)
        found = activations(
            self._model, given_BT, self._sites, batch_size=len(tokens_BT), keep=keep
        )
        return [found[site].cpu().numpy() for site in self._sites]


class _Memory:
    """Keeps what is written, or remembered."""

    def __init__(
        self,
        model: SequenceModel,
        layers: Sequence[int],
        component: Memory,
        n_numbers: int | None,
    ) -> None:
        from mecheval.interventions.memory_sites import MemorySite, memory_site
        from mecheval.models.sites import stream_sites

        self._model = model
        self._sites = [stream_sites(model.n_layers)[layer - 1] for layer in layers]
        found = [memory_site(model, layer - 1, component) for layer in layers]
        self._memory = cast("list[MemorySite]", found)
        if not all(isinstance(each, MemorySite) for each in found):
            raise ValueError("A layer has no such rows: row_widths() says so beforehand.")
        self._numbers = [numbers_of(each.width, n_numbers) for each in self._memory]
        self.widths = [
            each.width if kept_X is None else len(kept_X)
            for each, kept_X in zip(self._memory, self._numbers, strict=True)
        ]

    def __call__(
        self, tokens_BT: np.ndarray, at: tuple[np.ndarray, np.ndarray]
    ) -> list[np.ndarray]:
        """Return the rows of places of some sequences."""
        import torch

        from mecheval.interventions.activations import activations

        given_BT = torch.as_tensor(tokens_BT, device=self._model.device)
        found = activations(self._model, given_BT, self._sites, batch_size=len(tokens_BT))
        rows = []
        with torch.inference_mode():
            for site, memory, kept_X, width in zip(
                self._sites, self._memory, self._numbers, self.widths, strict=True
            ):
                kept_NX = np.empty((len(at[0]), width), np.float32)
                for first, row_BUW in memory.rows(found[site], given_BT):
                    here_N = np.flatnonzero((at[1] >= first) & (at[1] < first + row_BUW.shape[1]))
                    chosen_NW = _picked(row_BUW, (at[0][here_N], at[1][here_N] - first))
                    kept_NX[here_N] = chosen_NW if kept_X is None else chosen_NW[:, kept_X]
                rows.append(kept_NX)
        return rows


def _picked(value_BTX: Tensor, at: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """Return the rows at places, in float32."""
    import torch

    row_N, position_N = (torch.from_numpy(each).to(value_BTX.device) for each in at)
    return value_BTX[row_N, position_N].float().cpu().numpy()
