"""Dictionaries as files, in the format of sae-lens: ``cfg.json`` and ``sae_weights.safetensors``.

There ``W_enc`` is (d_in, d_sae), ``W_dec`` (d_sae, d_in), and the codes of a row ``x`` are
``(x - b_dec) W_enc + b_enc``, of which the ``k`` largest (``topk``), or those above a ``threshold``
(``jumprelu``, as BatchTopK ends) or above zero (``standard``) fire. Means of groups, which sae-lens
does not know, are in a file of their own.

Shape suffixes: ``D`` dimensions, ``M`` latents, ``G`` groups.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from mecheval.errors import StorageError
from mecheval.escape import quoted

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from mecheval.dictionaries.dictionary import Dictionary

CONFIG, WEIGHTS, MEANS = "cfg.json", "sae_weights.safetensors", "group_means.safetensors"

_UNFIT = (ValueError, KeyError, TypeError, AttributeError)  # what files of others may lead to
_OWN = "mecheval"  # name of our part of the metadata
_VERSION = "6.0.0"  # of sae-lens, from which on its files are as ours
_ARCHITECTURES = ("topk", "jumprelu", "standard")
_AS_IT_IS: Mapping[str, tuple[object, ...]] = {
    "normalize_activations": (None, False, "none"),
    "finetuning_scaling_factor": (None, False),
}
"""What would make other codes of a row if it were anything else."""


def write(dictionary: Dictionary, folder: Path) -> None:
    """Write a dictionary into a folder, which is made if it is not there.

    Raises:
        StorageError: It cannot be written.
    """
    weights = {
        "W_enc": dictionary.encoder_MD.T,
        "b_enc": dictionary.encoder_bias_M,
        "W_dec": dictionary.decoder_MD,
        "b_dec": dictionary.decoder_bias_D,
    }
    if dictionary.threshold_M is not None:
        weights["threshold"] = dictionary.threshold_M
    try:
        folder.mkdir(parents=True, exist_ok=True)
        save_file(_plain(weights), folder / WEIGHTS)
        if dictionary.means_GD is not None:
            save_file(_plain({"means": dictionary.means_GD}), folder / MEANS)
        text = json.dumps(_config(dictionary), indent=2, allow_nan=False)
        (folder / CONFIG).write_text(f"{text}\n", encoding="utf-8")
    except (OSError, SafetensorError) as error:
        raise StorageError(
            f"The dictionary cannot be written to {quoted(folder)}: {error}."
        ) from error


def read(folder: Path) -> dict[str, Any]:
    """Return the fields of the dictionary that a folder holds, of ours or of sae-lens.

    Raises:
        StorageError: It holds none, or one whose codes are made in another way.
    """
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        if not isinstance(config, dict):
            raise TypeError(f"{CONFIG} is no table")
        config = _renamed(config)
        _check_config(config)
        weights = {n: v.float() for n, v in load_file(folder / WEIGHTS).items()}
        fields = _fields(config, weights)
        own = (config.get("metadata") or {}).get(_OWN)
        return {**fields, **({"about": config} if own is None else _own_fields(own, folder))}
    except (OSError, SafetensorError, RecursionError, *_UNFIT) as error:
        what = f"{error} is missing" if isinstance(error, KeyError) else error
        raise StorageError(
            f"{quoted(folder)} holds no dictionary that can be read: {what}. It needs {CONFIG} and "
            f"{WEIGHTS} as sae-lens writes them, of architecture {', '.join(_ARCHITECTURES)}."
        ) from error


def _config(dictionary: Dictionary) -> dict[str, Any]:
    limit = dictionary.norm_limit
    own = {
        "norm_limit": limit if math.isfinite(limit) else None,
        "group_means": dictionary.means_GD is not None,
        "about": dict(dictionary.about),
    }
    config = {
        "architecture": "topk" if dictionary.threshold_M is None else "jumprelu",
        "d_in": dictionary.n_dimensions,
        "d_sae": dictionary.n_latents,
        "dtype": "float32",
        "device": "cpu",
        "apply_b_dec_to_input": True,
        "normalize_activations": "none",
        "reshape_activations": "none",
        "metadata": {"sae_lens_version": _VERSION, _OWN: own},
    }
    if dictionary.threshold_M is None:
        config |= {"k": dictionary.k, "rescale_acts_by_decoder_norm": False}
    return config


def _plain(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach().cpu().contiguous() for name, value in tensors.items()}


def _renamed(config: dict[str, Any]) -> dict[str, Any]:
    """Return a configuration of before version 6 under the names of today."""
    function = config.get("activation_fn", config.get("activation_fn_str", "relu"))
    found = {"architecture": "standard", **config}
    if found["architecture"] == "standard" and function == "topk":
        found |= {"architecture": "topk", "k": config["activation_fn_kwargs"]["k"]}
    elif function not in ("relu", "topk"):
        raise ValueError(f"its latents fire by {quoted(function)}")
    return found


def _check_config(config: dict[str, Any]) -> None:
    if config["architecture"] not in _ARCHITECTURES:
        raise ValueError(f"its architecture is {quoted(config['architecture'])}")
    for name, allowed in _AS_IT_IS.items():
        if config.get(name) not in allowed:
            raise ValueError(f"{name} is {quoted(config[name])}, and must be none")


def _fields(config: dict[str, Any], weights: dict[str, Tensor]) -> dict[str, Any]:
    """Return weights under our names, such that codes and rows are the same.

    Raises:
        ValueError: They do not fit each other or the configuration.
    """
    kind = config["architecture"]
    names = {"W_enc", "b_enc", "W_dec", "b_dec"} | ({"threshold"} if kind == "jumprelu" else set())
    if set(weights) != names:
        raise ValueError(f"{WEIGHTS} must hold {sorted(names)}, and holds {sorted(weights)}")
    n_dimensions, n_latents = config["d_in"], config["d_sae"]
    shapes = {"W_enc": (n_dimensions, n_latents), "W_dec": (n_latents, n_dimensions),
              "b_dec": (n_dimensions,)}  # fmt: skip
    for name, value in weights.items():
        if tuple(value.shape) != shapes.get(name, (n_latents,)) or not value.isfinite().all():
            raise ValueError(f"{name} is of shape {tuple(value.shape)}, or not finite")
    encoder_MD, bias_M = weights["W_enc"].T, weights["b_enc"]
    decoder_MD, decoder_bias_D = weights["W_dec"], weights["b_dec"]
    if config.get("rescale_acts_by_decoder_norm"):
        norm_M = decoder_MD.norm(dim=1)
        if not (norm_M > 0).all():
            raise ValueError("rows of W_dec are zero, and its norms are divided by")
        encoder_MD, bias_M = encoder_MD * norm_M[:, None], bias_M * norm_M
        decoder_MD = decoder_MD / norm_M[:, None]
    if not config.get("apply_b_dec_to_input", True):
        shift_M = encoder_MD.double() @ decoder_bias_D.double()
        bias_M = (bias_M.double() + shift_M).float()
    found = (encoder_MD.contiguous(), bias_M, decoder_MD, decoder_bias_D)
    names_of_ours = ("encoder_MD", "encoder_bias_M", "decoder_MD", "decoder_bias_D")
    return {**dict(zip(names_of_ours, found, strict=True)), **_choice(config, weights, n_latents)}


def _choice(config: dict[str, Any], weights: dict[str, Tensor], n_latents: int) -> dict[str, Any]:
    """Return what decides which latents fire."""
    if config["architecture"] == "topk":
        k = config["k"]
        if not (isinstance(k, int) and 1 <= k <= n_latents):
            raise ValueError(f"k must be a whole number from 1 to {n_latents}, and is {quoted(k)}")
        return {"k": k}
    return {"threshold_M": weights.get("threshold", torch.zeros(n_latents))}


def _own_fields(own: dict[str, Any], folder: Path) -> dict[str, Any]:
    limit, means_GD = own["norm_limit"], None
    if own["group_means"]:
        means_GD = load_file(folder / MEANS)["means"]
    return {
        "norm_limit": math.inf if limit is None else float(limit),
        "means_GD": means_GD,
        "about": own["about"],
    }
