"""New rows of embedding and head for symbols that a checkpoint has no token for.

Shape suffixes: ``C`` vocabulary, ``D`` embedding width.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from mecheval import exact, seeding
from mecheval.models.hub.calling import explained, quiet, restored

if TYPE_CHECKING:
    from collections.abc import Iterator

_COLUMNS = 64  # of a table at a time, in float64


@torch.no_grad()
def add_tokens(module: Any, vocab_size: int, *, seed: int) -> None:
    """Append rows to the embedding and the head of a model of transformers.

    Every coordinate of a new row is drawn with the mean and spread that it has in the old rows,
    so that a new symbol looks like any other token and no two symbols look alike.

    Args:
        module: The model.
        vocab_size: Number of rows afterwards.
        seed: Decides the rows.

    Raises:
        UsageError: The model does not say which module its embedding is.
    """
    problem = f"The embedding of {type(module).__name__} takes no new tokens"
    with quiet(), explained(problem, "Use symbols=text."), restored():
        old = module.get_input_embeddings().weight.shape[0]
        module.resize_token_embeddings(vocab_size, mean_resizing=False)
    draws = seeding.Draws(seed, "added_tokens")
    tables = {id(part.weight): part for part in _tables(module)}
    for part in tables.values():
        _fill(part.weight, old, draws)
        bias_C: Any = getattr(part, "bias", None)
        if bias_C is not None:
            bias_C[old:] = float(exact.total(_doubles(bias_C[:old])) / old)


def _tables(module: Any) -> Iterator[Any]:
    for part in (module.get_input_embeddings(), module.get_output_embeddings()):
        if part is not None:
            yield part


def _fill(weight_CD: Tensor, old: int, draws: seeding.Draws) -> None:
    drawn_CD = draws.normal(tuple(weight_CD[old:].shape))
    for first in range(0, weight_CD.shape[1], _COLUMNS):
        columns = slice(first, first + _COLUMNS)
        known_CD = _doubles(weight_CD[:old, columns])
        mean_D = exact.total(known_CD) / old
        spread_D = np.sqrt(exact.total(np.square(known_CD - mean_D)) / max(old - 1, 1))
        made_CD = mean_D + spread_D * drawn_CD[:, columns]
        weight_CD[old:, columns] = torch.from_numpy(made_CD).to(weight_CD)


def _doubles(weight: Tensor) -> np.ndarray:
    return weight.double().cpu().numpy()
