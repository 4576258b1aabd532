"""nnsight: one trace per cell, and `skip()` of the blocks below the patched one.

Shape suffixes: ``P`` pairs, ``T`` positions, ``D`` residual width.
"""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Any

import torch

from benchmarks.peers.contract import LAST_LOGITS, Donors, Idiom

if TYPE_CHECKING:
    from torch import Tensor

    from benchmarks.peers.contract import Job


def idioms(job: Job) -> list[Idiom]:
    """Return the trace of the documentation, and the two ways to leave out what it repeats."""
    import nnsight

    module, clean, corrupted = job.build(), Donors(), Donors()
    tokens_PT = job.pairs.corrupted_PT

    def prepare() -> None:
        with torch.inference_mode():
            clean.record(model._module, job.shape.blocks, job.pairs.clean_PT)

    def prepare_both() -> None:
        prepare()
        with torch.inference_mode():
            corrupted.record(model._module, job.shape.blocks, tokens_PT)

    model = nnsight.NNsight(module)
    blocks = list(attrgetter(job.shape.blocks)(model))

    def traced(layer: int, position: int) -> Tensor:
        donor_PD = clean.streams[layer][:, position]
        with torch.inference_mode(), model.trace(tokens_PT):
            blocks[layer].input[:, position] = donor_PD
            logits_PTC = model.output.logits.save()
        return job.read(logits_PTC)  # pyright: ignore[reportPossiblyUnboundVariable] - saved

    def skipping(layer: int, position: int, **options: Any) -> Tensor:
        patched_PTD = corrupted.streams[layer].clone()
        patched_PTD[:, position] = clean.streams[layer][:, position]
        with torch.inference_mode(), model.trace(tokens_PT, **options):
            for below in blocks[:layer]:
                below.skip(patched_PTD)
            if layer == 0:
                blocks[0].input = patched_PTD
            logits_PTC = model.output.logits.save()
        return job.read(logits_PTC)  # pyright: ignore[reportPossiblyUnboundVariable] - saved

    def skipping_tuned(layer: int, position: int) -> Tensor:
        return skipping(layer, position, **LAST_LOGITS)

    found = nnsight.__version__
    return [
        Idiom("nnsight", found, "one trace per cell", prepare, traced),
        Idiom("nnsight", found, "`skip()` below the layer", prepare_both, skipping),
        Idiom("nnsight", found, "the same, `logits_to_keep=1`", prepare_both, skipping_tuned, True),
    ]
