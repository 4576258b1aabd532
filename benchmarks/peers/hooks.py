"""Plain hooks of torch on the bare model of transformers: one full forward per cell.

Shape suffixes: ``P`` pairs, ``T`` positions, ``D`` residual width.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from benchmarks.peers.contract import LAST_LOGITS, Donors, Idiom

if TYPE_CHECKING:
    from torch import Tensor, nn

    from benchmarks.peers.contract import Job


def idioms(job: Job) -> list[Idiom]:
    """Return the grid as people write it by hand, and with what transformers lets one leave out."""
    module, donors = job.build(), Donors()
    blocks = list(module.get_submodule(job.shape.blocks).children())

    def prepare() -> None:
        donors.record(module, job.shape.blocks, job.pairs.clean_PT)

    def patch(layer: int, position: int, **options: Any) -> Tensor:
        def replace(_: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            stream_PTD = args[0].clone()
            stream_PTD[:, position] = donors.streams[layer][:, position]
            return (stream_PTD, *args[1:])

        with torch.inference_mode(), blocks[layer].register_forward_pre_hook(replace):
            return job.read(module(job.pairs.corrupted_PT, **options).logits)

    def patch_tuned(layer: int, position: int) -> Tensor:
        return patch(layer, position, **LAST_LOGITS)

    return [
        Idiom("hooks", torch.__version__, "inference_mode", prepare, patch),
        Idiom(
            "hooks", torch.__version__, "no cache, `logits_to_keep=1`", prepare, patch_tuned, True
        ),
    ]
