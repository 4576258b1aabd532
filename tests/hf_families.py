"""Tiny random models of many families of transformers, as they come out of their own classes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from mecheval.models.drawing import drawing
from mecheval.models.families.building import causal_module, draw_zeros
from mecheval.models.families.shapes import tiny_config

if TYPE_CHECKING:
    from torch import nn

FAMILIES = (
    "gpt2", "gpt_bigcode", "openai-gpt", "gptj", "gpt_neo", "gpt_neox", "llama", "olmo", "olmo2",
    "qwen2", "qwen3", "gemma", "gemma2", "gemma3_text", "phi", "phi3", "falcon", "mistral",
    "mixtral", "opt", "bloom", "mpt", "cohere", "granite", "ctrl", "bert", "mamba", "mamba2",
    "falcon_mamba", "rwkv", "xlstm", "recurrent_gemma", "jamba", "zamba", "zamba2", "falcon_h1",
    "nemotron_h", "bamba", "lfm2", "olmo_hybrid", "qwen3_next",
)  # fmt: skip
"""Families that are tested one by one; `mecheval doctor --families` measures all that there are."""

ALWAYS = (
    "gpt2", "gpt_neox", "llama", "gemma2", "bloom", "mixtral", "bert", "mamba", "mamba2", "rwkv",
    "xlstm", "recurrent_gemma", "jamba", "zamba2", "falcon_h1", "qwen3_next",
)  # fmt: skip
"""One of every kind among them: how positions are told, what beside attention there is."""

OWN: dict[str, dict[str, Any]] = {
    "recurrent_gemma": {"num_key_value_heads": 4},
    "jamba": {"num_hidden_layers": 4},
    "nemotron_h": {"layers_block_type": ["mamba", "mlp", "attention", "mlp"]},
    "qwen3_next": {
        "num_hidden_layers": 4, "layer_types": ["linear_attention"] * 3 + ["full_attention"],
        "moe_intermediate_size": 16, "shared_expert_intermediate_size": 16,
    },
}  # fmt: skip
"""Where golden hashes and tests hold another shape than the package's."""


def is_new() -> bool:
    import transformers

    return int(transformers.__version__.partition(".")[0]) >= 5


def reads_long_texts(family: str) -> bool:
    """Say whether the installed transformers runs a text that is longer than a chunk of a scan.

    Before 5 its xLSTM raises there: it calls a tensor, and cuts chunks of their own number.
    """
    return is_new() or family != "xlstm"


def known_here(family: str) -> None:
    """Skip the test where the installed transformers cannot run a family."""
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    if family not in CONFIG_MAPPING:
        pytest.skip(f"this transformers has no {family}")


def config_of(family: str, **changes: Any) -> Any:
    """Return the configuration of a tiny model of a family."""
    return tiny_config(family, **{**OWN.get(family, {}), **changes})


def build(family: str, seed: int = 0, **changes: Any) -> nn.Module:
    """Build a tiny random model of a family; the global random state is left as it was."""
    with drawing(seed):
        module = causal_module(config_of(family, **changes)).eval()
        draw_zeros(module)
    return module
