"""Evidence for the rules of a mechanism, built by hand: a row per layer, a column per place."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mecheval.metrics.intervention.mechanism_rule import PLACES, Evidence

if TYPE_CHECKING:
    from collections.abc import Sequence

NONE = np.nan
KEY, BETWEEN, VALUE, NEXT, AFTER, QUERY, NOWHERE = np.vstack([np.eye(6), np.zeros(6)])


def evidence(
    block_in: Sequence,
    mixer_out: Sequence | None = None,
    conv_out: Sequence | None = None,
    memory: Sequence | None = None,
) -> Evidence:
    """Build one resample; what is not given is no site."""
    n_layers = len(block_in)
    nowhere = np.full((n_layers, len(PLACES)), NONE)
    arrays = [nowhere if rows is None else rows for rows in (block_in, mixer_out, conv_out)]
    arrays.append(np.full(n_layers, NONE) if memory is None else memory)
    return Evidence(*(np.array([array], float) for array in arrays))
