"""Traces and edited forward passes, in batches of examples.

Shape suffixes: ``B`` examples, ``T`` positions, ``D`` width of a site, ``A`` answer tokens, ``C``
vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import torch
from torch import Tensor

from mecheval.errors import UsageError
from mecheval.models.hooks import visiting
from mecheval.models.wrapping import as_model

if TYPE_CHECKING:
    from torch import nn

    from mecheval.models.contract import SequenceModel, Tap
    from mecheval.models.sites import Site

Edit = Callable[[Tensor], Tensor]
"""Maps a site's activation ``(B, T, D)`` to what replaces it."""

At = TypeVar("At", bound="Site | str")
"""A site, or the path of a module."""

BATCH_SIZE = 128


def taps_of(model: SequenceModel, sites: Sequence[Site | str]) -> list[Tap]:
    """Return the taps of sites, and of modules by their paths.

    Raises:
        UsageError: The model has no such site or module.
    """
    taps = model.taps()
    for site in sites:
        if not isinstance(site, str) and site not in taps:
            model.check_blocks()
            has = ", ".join(sorted({known.component for known in taps}))
            raise UsageError(
                f"The model has no site {site}: it has {model.n_layers} layers (from 0) "
                f"with the components {has}."
            )
    return [model.tap(site) if isinstance(site, str) else taps[site] for site in sites]


@torch.inference_mode()
def observed(
    model: SequenceModel,
    tokens_BT: Tensor,
    sites: Sequence[Site],
    *,
    readout_B: Tensor,
    read: Callable[[Tensor, Tensor], Tensor],
    batch_size: int = BATCH_SIZE,
) -> tuple[dict[Site, Tensor], Tensor]:
    """Record the activations ``(B, T, D)`` at sites, on the model's device and in its type.

    Args:
        model: The model; put into evaluation mode.
        tokens_BT: Token ids.
        sites: Where to record.
        readout_B: The position of each example whose logits are read.
        read: Maps the logits ``(R, C)`` of some examples at their readouts, and their rows in
            ``tokens_BT``, to what is returned of them, ``(R, ...)``.
        batch_size: Examples per forward pass.

    Raises:
        UsageError: The model has no such site.
    """
    taps = taps_of(model, sites)
    kept: dict[Site, list[Tensor]] = {site: [] for site in sites}
    visits = {tap: _keeper(kept[site]) for site, tap in zip(sites, taps, strict=True)}
    row_B, found = torch.arange(len(tokens_BT), device=model.device), []
    with visiting(visits):
        for rows, batch_BT in _batches(model, tokens_BT, batch_size):
            logits_R1C = model.logits_at(batch_BT, readout_B[rows, None])
            found.append(read(logits_R1C[:, 0], row_B[rows]))
    return {site: torch.cat(parts) for site, parts in kept.items()}, torch.cat(found)


@torch.inference_mode()
def activations(
    model: SequenceModel,
    tokens_BT: Tensor,
    sites: Sequence[Site],
    *,
    batch_size: int = BATCH_SIZE,
    keep: Callable[[Tensor], Tensor] = torch.clone,
) -> dict[Site, Tensor]:
    """Record the activations ``(B, T, D)`` at sites and nothing else; see :func:`observed`.

    What lies behind the last of them is not run. Of every batch ``keep`` may return a part instead,
    which must be a copy.
    """
    taps = taps_of(model, sites)
    kept: dict[Site, list[Tensor]] = {site: [] for site in sites}

    def keeper(site: Site) -> Callable[[Tensor], None]:
        def see(value_BTD: Tensor) -> None:
            kept[site].append(keep(value_BTD))
            if len({len(parts) for parts in kept.values()}) == 1:
                raise _Recorded

        return see

    with visiting({tap: keeper(site) for site, tap in zip(sites, taps, strict=True)}):
        for _, batch_BT in _batches(model, tokens_BT, batch_size):
            with suppress(_Recorded):
                model.logits_at(batch_BT, batch_BT[:, :0])
    return {site: parts[0] if len(parts) == 1 else torch.cat(parts) for site, parts in kept.items()}


class _Recorded(Exception):  # noqa: N818 - it is no error
    """Ends a pass of which everything that was asked for has been recorded."""


def _keeper(kept: list[Tensor]) -> Callable[[Tensor], None]:
    return lambda value_BTD: kept.append(value_BTD.clone())


@torch.inference_mode()
def trace(
    model: SequenceModel | nn.Module,
    tokens_BT: np.ndarray | Tensor,
    sites: Sequence[At],
    *,
    positions_B: np.ndarray | None = None,
    batch_size: int = BATCH_SIZE,
) -> dict[At, np.ndarray]:
    """Record the activations at sites.

    Args:
        model: The model, or a module that :func:`mecheval.wrap` makes one of; put into evaluation
            mode.
        tokens_BT: Token ids.
        sites: Where to record: sites, such as ``Site(0, "mixer_out")``, or paths of modules whose
            output is recorded, such as ``"encoder.layer.1"``.
        positions_B: One position per example; all positions are kept where None.
        batch_size: Examples per forward pass.

    Returns:
        Per site an array ``(B, T, D)``, or ``(B, D)`` with ``positions_B``; float64 if the
        model is, float32 otherwise.

    Raises:
        UsageError: It is no model, or has no such site or module.

    Examples:
        >>> import mecheval, torch
        >>> from mecheval.models.sites import Site
        >>> model = mecheval.load_model("lstm[layers=2,width=16]", vocab_size=7)
        >>> tokens_BT = torch.tensor([[0, 1, 2, 3], [0, 3, 2, 1]])
        >>> found = mecheval.trace(model, tokens_BT, [Site(1, "mixer_out"), "layers.1.mixer"])
        >>> found[Site(1, "mixer_out")].shape
        (2, 4, 16)
        >>> bool((found[Site(1, "mixer_out")] == found["layers.1.mixer"]).all())
        True
    """
    model = as_model(model)
    taps = taps_of(model, sites)
    kept: dict[At, list[np.ndarray]] = {site: [] for site in sites}

    def keeper(site: At, rows: slice) -> Callable[[Tensor], None]:
        def keep(stream_BTD: Tensor) -> None:
            if positions_B is not None:
                chosen_B = torch.as_tensor(positions_B[rows], device=stream_BTD.device)
                stream_BTD = stream_BTD[torch.arange(len(chosen_B)), chosen_B]
            exact = stream_BTD.dtype == torch.float64
            kept[site].append((stream_BTD if exact else stream_BTD.float()).cpu().numpy().copy())

        return keep

    for rows, batch_BT in _batches(model, tokens_BT, batch_size):
        visits = {tap: keeper(site, rows) for site, tap in zip(sites, taps, strict=True)}
        with visiting(visits):
            model.logits_at(batch_BT, batch_BT[:, :0])  # none are wanted
    return {site: np.concatenate(parts) for site, parts in kept.items()}


@torch.inference_mode()
def answer_logits(
    model: SequenceModel | nn.Module,
    tokens_BT: np.ndarray | Tensor,
    answers_A: Sequence[int] | np.ndarray,
    *,
    edits: Mapping[At, Edit] | None = None,
    read_BT: np.ndarray | None = None,
    batch_size: int = BATCH_SIZE,
) -> np.ndarray:
    """Run the model, with edits at sites if given, and read the logits of the answer tokens.

    Those of other tokens are never kept, so that memory does not grow with the vocabulary.

    Args:
        model: The model, or a module that :func:`mecheval.wrap` makes one of; put into evaluation
            mode.
        tokens_BT: Token ids.
        answers_A: Token ids that can be an answer.
        edits: What to do to the activation of a site, or to the output of a module by its path, for
            all examples alike.
        read_BT: Where logits are wanted; at other positions may stand anything. A large vocabulary
            costs less with few of them. Everywhere if None.
        batch_size: Examples per forward pass.

    Returns:
        Logits of shape ``(B, T, A)`` in float32.

    Raises:
        UsageError: It is no model, or has no such site or module.

    Examples:
        >>> import mecheval, torch
        >>> from mecheval.interventions import answer_logits
        >>> from mecheval.models.sites import Site
        >>> model = mecheval.load_model("lstm[layers=2,width=16]", vocab_size=7)
        >>> tokens_BT = torch.tensor([[0, 1, 2, 3]])
        >>> edits = {Site(0, "block_out"): torch.zeros_like}
        >>> answer_logits(model, tokens_BT, [5, 6], edits=edits).shape
        (1, 4, 2)
    """
    model, edits = as_model(model), edits or {}
    visits = dict(zip(taps_of(model, list(edits)), edits.values(), strict=True))
    chosen_A = torch.as_tensor(np.asarray(answers_A), device=model.device)
    parts = []
    with visiting(visits):
        for rows, batch_BT in _batches(model, tokens_BT, batch_size):
            where_BT = None if read_BT is None else torch.as_tensor(read_BT[rows]).to(model.device)
            logits_BTA = model.answer_logits(batch_BT, chosen_A, where_BT)
            parts.append(logits_BTA.float().cpu().numpy())
    return np.concatenate(parts)


def _batches(
    model: SequenceModel, tokens_BT: np.ndarray | Tensor, batch_size: int
) -> Iterator[tuple[slice, Tensor]]:
    model.eval()
    tokens_BT = torch.as_tensor(tokens_BT, device=model.device)
    for rows in slices(len(tokens_BT), batch_size):
        yield rows, tokens_BT[rows]


def slices(n: int, size: int) -> list[slice]:
    """Cut ``n`` rows into slices of at most ``size``."""
    return [slice(first, min(first + size, n)) for first in range(0, n, size)]
