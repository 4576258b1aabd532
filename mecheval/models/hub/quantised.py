"""Checkpoints whose weights are stored in few bits: unpacked into ordinary ones, or refused.

What is measured is what the stored numbers say, in the arithmetic of every other model: training
and patching need weights that can be added to, on any processor.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import torch

from mecheval.errors import UsageError
from mecheval.escape import quoted
from mecheval.models.hub.refusals import short

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import nn

_FIELD = "quantization_config"
_WAY_OUT = (
    "or give the checkpoint that it was made from, or one that was dequantised and saved with "
    "save_pretrained."
)
_UNPACKING = {"dequantize": True, "run_compressed": False}


def unpacking(config: Mapping[str, Any], *, name: str) -> dict[str, Any] | None:
    """Return the quantisation of a configuration, set so that weights are unpacked.

    Args:
        config: Contents of ``config.json``.
        name: The model's name, for messages.

    Returns:
        The field to load with; None for ordinary weights.

    Raises:
        UsageError: Its package is missing, or its weights cannot be unpacked.
    """
    found = config.get(_FIELD)
    if found is None and isinstance(config.get("text_config"), dict):
        found = config["text_config"].get(_FIELD)
    if found is None:
        return None
    if not isinstance(found, dict):
        raise UsageError(
            f"The quantization_config of '{name}' is no JSON object. Check config.json, or "
            "download the checkpoint again."
        )
    quantizer, found = _quantizer(dict(found), name)
    method = found.get("quant_method", "bitsandbytes")
    try:
        quantizer.validate_environment(dtype=torch.float32, device_map=None, weights_only=True)
    except Exception as error:  # ImportError mostly; some ask for a processor instead
        raise UsageError(
            f"The weights of '{name}' are quantised ({quoted(str(method))}) and cannot be unpacked "
            f"here ({short(error)}). Install what is missing, {_WAY_OUT}"
        ) from None
    if not (_has_own_way(quantizer) or _UNPACKING.keys() & found.keys()):
        raise UsageError(
            f"The weights of '{name}' are quantised ({quoted(str(method))}), which transformers "
            f"does not unpack. Update transformers, {_WAY_OUT}"
        )
    return found


def unpacked(module: Any, *, name: str) -> nn.Module:
    """Turn what is still quantised in a loaded model into ordinary weights.

    Raises:
        UsageError: Something stays quantised.
    """
    quantizer = getattr(module, "hf_quantizer", None)
    if quantizer is not None and _has_own_way(quantizer):
        module = module.dequantize()  # into the type of number that it was loaded in
    stuck = [key for key, value in module.named_parameters() if not value.is_floating_point()]
    if stuck:
        raise UsageError(
            f"The weights of '{name}' stay quantised when they are loaded ({stuck[0]}). Update "
            f"transformers, {_WAY_OUT}"
        )
    if quantizer is not None:
        module.hf_quantizer = None
        vars(module.config).pop(_FIELD, None)
    for parameter in module.parameters():
        parameter.requires_grad_(True)
    return module


def _quantizer(found: dict[str, Any], name: str) -> tuple[Any, dict[str, Any]]:
    from transformers.quantizers.auto import AutoHfQuantizer, AutoQuantizationConfig

    try:
        kind = type(AutoQuantizationConfig.from_dict(dict(found)))
        known = inspect.signature(kind).parameters
        found |= {key: value for key, value in _UNPACKING.items() if key in known}
        return AutoHfQuantizer.from_config(dict(found), pre_quantized=True), found
    except Exception as error:
        raise UsageError(
            f"The weights of '{name}' are quantised in a way that cannot be unpacked here "
            f"({short(error)}). Install or update what it names, {_WAY_OUT}"
        ) from None


def _has_own_way(quantizer: Any) -> bool:
    from transformers.quantizers.base import HfQuantizer

    return type(quantizer)._dequantize is not HfQuantizer._dequantize
