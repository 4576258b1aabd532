"""Tiny models of families, built with drawn weights and wrapped."""

from __future__ import annotations

from typing import Any

import torch

from mecheval.models.drawing import drawing
from mecheval.models.families.by_hand import VARIANTS
from mecheval.models.families.shapes import tiny_config
from mecheval.models.wrapped.model import WrappedModel


def names() -> dict[str, str]:
    """Return the class of every causal family of the installed transformers, and our variants."""
    from transformers import CONFIG_MAPPING
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    classes = dict(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)
    found = {name: classes[name] for name in classes if name in CONFIG_MAPPING}
    return found | {name: found[of] for name, (of, _) in VARIANTS.items() if of in found}


def build(name: str, dtype: torch.dtype = torch.float32) -> WrappedModel:
    """Build a tiny model of a family with drawn weights, and wrap it.

    Raises:
        Exception: What transformers raises, or a sentence of ours, where that cannot be done.
    """
    family, changes = VARIANTS.get(name, (name, {}))
    with drawing(0):
        module = causal_module(tiny_config(family, **changes)).eval()
        draw_zeros(module)
    return WrappedModel(module.to(dtype))


def causal_module(config: Any) -> Any:
    """Build the causal model of a configuration, or of its text part where the class takes that."""
    from transformers import MODEL_FOR_CAUSAL_LM_MAPPING, AutoModelForCausalLM

    architecture: Any = MODEL_FOR_CAUSAL_LM_MAPPING[type(config)]
    if isinstance(config, architecture.config_class):
        return AutoModelForCausalLM.from_config(config)
    return architecture(config.get_text_config())


@torch.no_grad()
def draw_zeros(module: Any) -> None:
    """Draw matrices that begin as zeros: parts that they silence hide how a model is made."""
    for parameter in module.parameters():
        if parameter.dim() > 1 and not parameter.any():
            parameter.normal_(std=0.1)
