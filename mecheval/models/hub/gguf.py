"""GGUF files, read by transformers' own reader; they hold configuration and tokenizer too."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mecheval.errors import UsageError, require
from mecheval.models.hub.refusals import short

if TYPE_CHECKING:
    from pathlib import Path


def read_config(file: Path) -> dict[str, Any]:
    """Return the configuration that transformers makes of a GGUF file.

    Raises:
        UsageError: The package gguf is missing, or the file is of a kind that is not read.
    """
    return _read(file)["config"]


def has_tokenizer(file: Path) -> bool:
    """Return whether a GGUF file holds a tokenizer's vocabulary."""
    return bool(_read(file).get("tokenizer", {}).get("tokens"))


def loading_options() -> dict[str, Any]:
    """Return the arguments that make transformers unpack all weights when it loads them."""
    import transformers

    packed = getattr(transformers, "GgufConfig", None)  # before it, all were unpacked
    return {} if packed is None else {"quantization_config": packed(dequantize=True)}


def _read(file: Path) -> dict[str, Any]:
    require("gguf", extra="gguf")
    from transformers.modeling_gguf_pytorch_utils import load_gguf_checkpoint

    try:
        return load_gguf_checkpoint(str(file), return_tensors=False)
    except Exception as error:  # its reader raises what its parts raise
        raise UsageError(
            f"The GGUF file {file} cannot be read by transformers ({short(error)}). Update "
            "transformers, or give the checkpoint that the file was made from."
        ) from None
