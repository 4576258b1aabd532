"""Training a sparse autoencoder on anyone's activations.

Statistics are fixed before: with a row ``x``, the mean of all rows (of those of its group where
there are groups) and the scale, what is trained on is ``z = (x - mean) / scale``.

Shape suffixes: ``N`` rows, ``D`` dimensions, ``B`` rows of a batch, ``U`` rows that count, ``G``
groups.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import numpy as np
import torch

from mecheval.dictionaries.coder import Coder
from mecheval.dictionaries.recipe import DictionaryRecipe
from mecheval.dictionaries.rows import Rows
from mecheval.dictionaries.statistics import Statistics
from mecheval.errors import UsageError
from mecheval.seeding import stream

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import ArrayLike
    from torch import Tensor

    from mecheval.dictionaries.dictionary import Dictionary

_BATCHES_OF_THRESHOLD = 16


def train_dictionary(
    X_ND: ArrayLike | Tensor,
    width: int = 8,
    k: int = 16,
    seed: int = 0,
    *,
    groups_N: ArrayLike | Tensor | None = None,
    recipe: DictionaryRecipe | None = None,
    name: str | None = None,
    device: str | torch.device = "cpu",
) -> Dictionary:
    """Train a sparse autoencoder on activations.

    The dictionary depends on the rows, their order, and the arguments; on one CPU and one number of
    threads it is the same to the bit.

    Args:
        X_ND: Activations, any real numbers of NumPy or torch; an array that is mapped into memory
            is read a batch at a time. Rows whose norm is above ten medians are left out.
        width: Latents for every dimension.
        k: Latents that may fire in a row; on average, with ``batchtopk``.
        seed: Seed of the first weights and of the order of rows.
        groups_N: A whole number from 0 for each row, such as its token. The dictionary is then of
            what is left of rows without the mean of their group.
        recipe: How it is trained.
        name: What the rows are of, such as a model and a site. Dictionaries of one seed begin with
            other weights where names differ: two that begin alike stay alike. A hash of the rows
            where there is none.
        device: Where it is trained; the dictionary stays there.

    Returns:
        The dictionary; ``about`` tells how it was made.

    Raises:
        UsageError: The rows are no finite matrix, or do not vary; an argument is not allowed; or
            the weights did not stay finite.

    Examples:
        >>> import numpy as np
        >>> import mecheval
        >>> on_NF = np.random.default_rng(0).random((2000, 8)) < 0.2
        >>> x_ND = on_NF @ np.random.default_rng(1).standard_normal((8, 8))
        >>> recipe = mecheval.DictionaryRecipe(n_rows=40_000, batch_size=500)
        >>> dictionary = mecheval.train_dictionary(x_ND, width=2, k=2, recipe=recipe)
        >>> dictionary.n_latents, dictionary.encode(x_ND).shape
        (16, (2000, 16))
    """
    recipe, place = recipe or DictionaryRecipe(), torch.device(device)
    rows = Rows.of(X_ND, groups_N)
    n_latents = _n_latents(rows, width, k)
    statistics = Statistics.of(rows, place)
    name = rows.digest() if name is None else name
    names = (name, seed)
    coder = Coder.new((n_latents, rows.n_dimensions), k, recipe, names, place)
    batches = _batches(rows, statistics, recipe, names, place)
    n_batch = min(recipe.batch_size, len(statistics.kept_U))
    n_steps = max(1, round(recipe.n_rows / n_batch))
    for step in range(n_steps):
        coder.step(next(batches), recipe.rate(n_latents, step, n_steps))
    threshold = None
    if recipe.selection == "batchtopk":
        n_batches = min(_BATCHES_OF_THRESHOLD, max(1, len(statistics.kept_U) // n_batch))
        threshold = coder.threshold([next(batches) for _ in range(n_batches)])
    about = {
        **asdict(recipe), "k": k, "seed": seed, "name": name, "trained_on": n_steps * n_batch,
        "n_left_out": len(rows) - len(statistics.kept_U),
    }  # fmt: skip
    return coder.finished(statistics, threshold, about)


def _n_latents(rows: Rows, width: int, k: int) -> int:
    """Return how many latents there are to be.

    Raises:
        UsageError: These are no whole numbers that fit the rows.
    """
    if not (isinstance(width, int) and width >= 1):
        raise UsageError(f"width is how many latents there are per dimension, from 1; got {width}.")
    n_latents = width * rows.n_dimensions
    if not (isinstance(k, int) and 1 <= k <= n_latents):
        raise UsageError(
            f"k is how many of {n_latents} latents ({width} for each of {rows.n_dimensions} "
            f"dimensions) may fire in a row; got {k}."
        )
    return n_latents


def _batches(
    rows: Rows,
    statistics: Statistics,
    recipe: DictionaryRecipe,
    names: tuple[str, int],
    device: torch.device,
) -> Iterator[Tensor]:
    """Yield batches of ``z`` without end; every pass over the rows has another order."""
    n_kept = len(statistics.kept_U)
    length = min(recipe.batch_size, n_kept)
    epoch = 0
    while True:
        order_U = stream(names[1], "dictionary_order", names[0], epoch).permutation(n_kept)
        for start in range(0, n_kept - length + 1, length):
            # In order, as a disk is read; all the same to a batch.
            chosen_B = np.sort(statistics.kept_U[order_U[start : start + length]])
            mean_BD = statistics.mean_D
            if statistics.means_GD is not None and rows.groups_N is not None:
                mean_BD = statistics.means_GD[torch.from_numpy(rows.groups_N[chosen_B]).to(device)]
            yield (rows.at(chosen_B, device) - mean_BD) / statistics.scale
        epoch += 1
