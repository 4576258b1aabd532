"""pyvene: an IntervenableModel per layer.

Mamba is not among the models that pyvene knows; it runs after its class is registered without any
named components, with the block addressed by its path.

Shape suffixes: ``P`` pairs, ``T`` positions, ``D`` residual width.
"""

from __future__ import annotations

from functools import cache
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import torch

from benchmarks.peers.contract import LAST_LOGITS, Donors, Idiom

if TYPE_CHECKING:
    from torch import Tensor, nn

    from benchmarks.peers.contract import Job


def idioms(job: Job) -> list[Idiom]:
    """Return the tutorial's grid, the same with cached sources, and with fewer logits."""
    import pyvene

    module, donors = job.build(), Donors()
    kind = type(module)
    if kind not in pyvene.type_to_module_mapping:
        pyvene.type_to_module_mapping[kind] = {}
        pyvene.type_to_dimension_mapping[kind] = {}
    tokens_PT, sources_PT = job.pairs.corrupted_PT, job.pairs.clean_PT

    @cache
    def model_at(layer: int) -> Any:
        return pyvene.IntervenableModel(_config(pyvene, module, job, layer), model=module)

    def prepare() -> None:
        donors.record(module, job.shape.blocks, sources_PT)

    def from_source(layer: int, position: int) -> Tensor:
        with torch.inference_mode():
            _, patched = model_at(layer)(
                {"input_ids": tokens_PT},
                [{"input_ids": sources_PT}],
                {"sources->base": position},
            )
            return job.read(patched.logits)

    def from_cache(layer: int, position: int, **options: Any) -> Tensor:
        with torch.inference_mode():
            model, donor_PTD = model_at(layer), donors.streams[layer][:, position : position + 1]
            _, patched = model(
                {"input_ids": tokens_PT, **options},
                unit_locations={"sources->base": (None, position)},
                source_representations={model.sorted_keys[0]: donor_PTD},
            )
            return job.read(patched.logits)

    def from_cache_tuned(layer: int, position: int) -> Tensor:
        return from_cache(layer, position, **LAST_LOGITS)

    found = version("pyvene")
    return [
        Idiom("pyvene", found, "tutorial: source run in every cell", lambda: None, from_source),
        Idiom("pyvene", found, "cached `source_representations`", prepare, from_cache),
        Idiom(
            "pyvene", found, "the same, `logits_to_keep=1`", prepare, from_cache_tuned, tuned=True
        ),
    ]


def _config(pyvene: Any, module: nn.Module, job: Job, layer: int) -> Any:
    if pyvene.type_to_module_mapping[type(module)]:
        site = {"layer": layer, "component": "block_input"}
    else:
        site = {"component": f"{job.shape.blocks}[{layer}].input"}
    return pyvene.IntervenableConfig(
        [{**site, "unit": "pos", "max_number_of_units": 1}],
        intervention_types=pyvene.VanillaIntervention,
    )
