"""Whole blocks left out: their output is their input, or what they write is its mean.

Shape suffixes: ``L`` layers 0 to n, ``R`` rows, ``T`` positions, ``D`` residual width.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from mecheval.interventions import trace
from mecheval.metrics.bottleneck.information import Cells, lost
from mecheval.metrics.bottleneck.moments import CHUNK
from mecheval.models.sites import stream_sites

if TYPE_CHECKING:
    from torch import Tensor

    from mecheval.metrics.bottleneck.erased_runs import ErasedRuns
    from mecheval.metrics.subject import Subject


def without_blocks(runs: ErasedRuns, n_fit: int) -> dict[str, np.ndarray]:
    """Answer without each block in turn; what it costs stands at the layer that the block makes.

    Args:
        runs: The test sequences.
        n_fit: Training sequences over which the mean of a block's write is taken, position by
            position.

    Returns:
        By series the share of the information that is lost, and the token accuracy, ``(L,)`` each;
        NaN at layer 0, which no block makes.
    """
    mean_LTD = _mean_streams(runs.subject, n_fit)
    series = {}
    for name, write_LTD in (
        ("skip", np.zeros_like(np.diff(mean_LTD, axis=0))),
        ("mean", np.diff(mean_LTD, axis=0)),
    ):
        found = [_without(runs, block, write_TD) for block, write_TD in enumerate(write_LTD)]
        cost_L, accuracy_L = np.array([(np.nan, np.nan), *found]).T
        series |= {f"{name}_cost": cost_L, f"{name}_accuracy": accuracy_L}
    return series


def _without(runs: ErasedRuns, block: int, write_TD: np.ndarray) -> tuple[float, float]:
    device = runs.subject.model.device
    written_TD = torch.as_tensor(write_TD, dtype=torch.float32, device=device)

    def replaced(stream_RTD: Tensor, rows: slice) -> Tensor:
        return stream_RTD + written_TD.to(stream_RTD.dtype)

    row_B = np.arange(len(runs.batch))
    logits_BTA = runs.stream_edits.logits(block, row_B, replaced, enters=block + 1)
    answered, clean = runs.answered(logits_BTA, row_B), runs.clean
    before, behind = (Cells.of(runs.target_BT, of.given) for of in (clean, answered))
    return float(lost(before, behind, np.ones((1, len(row_B))))[0]), float(answered.token.mean())


def _mean_streams(subject: Subject, n_fit: int) -> np.ndarray:
    """Return the mean stream of training sequences at every layer and position, ``(L, T, D)``."""
    sites = stream_sites(subject.model.n_layers)
    batch = subject.examples("train", n_fit, purpose="eraser")
    total_LTD = np.zeros(1)
    for start in range(0, len(batch), CHUNK):
        chunk = batch.take(slice(start, start + CHUNK))
        streams = trace(subject.model, chunk.tokens_BT, sites, batch_size=subject.batch_size)
        sums = [np.sum(streams[site], 0, dtype=np.float64) for site in sites]
        total_LTD = total_LTD + np.stack(sums)
    return total_LTD / len(batch)
