"""Tiny random models of many families of transformers, as they come out of their own classes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from mecheval.models.drawing import drawing

if TYPE_CHECKING:
    from torch import nn

TOKENS = {"vocab_size": 61, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
WIDE = {
    "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
    "num_attention_heads": 4, "max_position_embeddings": 64,
}  # fmt: skip
GROUPED = WIDE | {"num_key_value_heads": 2}
HEADED = GROUPED | {"head_dim": 8}
EXPERTS = {"num_local_experts": 3, "num_experts_per_tok": 2}
GPT = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64}
SELECTIVE = {"hidden_size": 32, "num_hidden_layers": 2, "state_size": 8}
MIXED_SSD = {
    "mamba_n_heads": 4, "mamba_d_head": 16, "mamba_n_groups": 1, "mamba_d_state": 8,
    "mamba_chunk_size": 16,
}  # fmt: skip
DELTA = {
    "linear_key_head_dim": 8, "linear_value_head_dim": 8, "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
}  # fmt: skip
ZAMBA = {
    "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 4, "num_attention_heads": 4,
    "num_key_value_heads": 4, "attention_head_dim": 16, "mamba_d_state": 8,
    "max_position_embeddings": 64, "layers_block_type": ["mamba", "hybrid", "mamba", "hybrid"],
}  # fmt: skip

FAMILIES: dict[str, dict[str, Any]] = {
    "gpt2": GPT,
    "gpt_bigcode": GPT,
    "openai-gpt": GPT,
    "gptj": GPT | {"rotary_dim": 4},
    "gpt_neo": {
        "hidden_size": 32, "num_layers": 2, "num_heads": 4, "intermediate_size": 48,
        "attention_types": [[["global", "local"], 1]], "window_size": 4,
        "max_position_embeddings": 64,
    },
    "gpt_neox": WIDE,
    "llama": GROUPED,
    "olmo": GROUPED,
    "olmo2": GROUPED,
    "qwen2": GROUPED,
    "qwen3": HEADED,
    "gemma": HEADED,
    "gemma2": HEADED,
    "gemma3_text": HEADED,
    "phi": GROUPED,
    "phi3": GROUPED,
    "falcon": {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4},
    "mistral": GROUPED,
    "mixtral": GROUPED | EXPERTS,
    "opt": {
        "hidden_size": 32, "ffn_dim": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
        "max_position_embeddings": 64, "word_embed_proj_dim": 32,
    },
    "bloom": {"hidden_size": 32, "n_layer": 2, "n_head": 4},
    "mpt": {"d_model": 32, "n_layers": 2, "n_heads": 4, "max_seq_len": 64},
    "cohere": GROUPED,
    "granite": GROUPED | {"residual_multiplier": 0.3, "logits_scaling": 5.0},
    "ctrl": {"n_embd": 32, "dff": 48, "n_layer": 2, "n_head": 4, "n_positions": 64},
    "bert": WIDE | {"is_decoder": True},
    "mamba": SELECTIVE,
    "mamba2": SELECTIVE | {"num_heads": 4, "head_dim": 16, "n_groups": 1, "chunk_size": 16},
    "falcon_mamba": SELECTIVE,
    "rwkv": {
        "hidden_size": 32, "attention_hidden_size": 32, "intermediate_size": 48,
        "num_hidden_layers": 2, "context_length": 64,
    },
    "xlstm": {
        "hidden_size": 64, "embedding_dim": 64, "num_hidden_layers": 2, "num_blocks": 2,
        "num_heads": 4, "qk_dim_factor": 1.0, "v_dim_factor": 1.0, "chunk_size": 16,
    },
    "recurrent_gemma": {
        "hidden_size": 32, "intermediate_size": 96, "num_hidden_layers": 3,
        "num_attention_heads": 4, "lru_width": 32, "attention_window_size": 64,
    },
    "jamba": GROUPED | {
        "num_hidden_layers": 4, "attn_layer_period": 2, "attn_layer_offset": 1,
        "expert_layer_period": 2, "expert_layer_offset": 1, "num_experts": 3,
        "num_experts_per_tok": 2, "mamba_d_state": 8, "mamba_dt_rank": 4,
        "use_mamba_kernels": False,
    },
    "zamba": ZAMBA | {
        "n_mamba_heads": 2, "mamba_dt_rank": 4, "attn_layer_period": 2, "attn_layer_offset": 1,
        "use_mamba_kernels": False,
    },
    "zamba2": ZAMBA | {
        "n_mamba_heads": 4, "mamba_headdim": 16, "mamba_ngroups": 1, "chunk_size": 16,
        "num_mem_blocks": 1, "adapter_rank": 4,
    },
    "falcon_h1": HEADED | MIXED_SSD | {"mamba_d_ssm": 64},
    "nemotron_h": HEADED | {
        "layers_block_type": ["mamba", "mlp", "attention", "mlp"], "mamba_num_heads": 4,
        "mamba_head_dim": 16, "ssm_state_size": 8, "n_groups": 1, "chunk_size": 16,
    },
    "bamba": GROUPED | MIXED_SSD | {"attn_layer_indices": [1]},
    "lfm2": GROUPED | {"full_attn_idxs": [1], "block_ff_dim": 48},
    "olmo_hybrid": GROUPED | DELTA | {"layer_types": ["linear_attention", "full_attention"]},
    "qwen3_next": HEADED | DELTA | {
        "num_hidden_layers": 4, "num_experts": 3, "num_experts_per_tok": 2,
        "moe_intermediate_size": 16, "shared_expert_intermediate_size": 16,
    },
}  # fmt: skip


def is_new() -> bool:
    import transformers

    return int(transformers.__version__.partition(".")[0]) >= 5


def known_here(family: str) -> None:
    """Skip the test where the installed transformers cannot run a family."""
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    if family not in CONFIG_MAPPING:
        pytest.skip(f"this transformers has no {family}")
    if family == "recurrent_gemma" and not is_new():
        pytest.skip("its state stays from call to call before transformers 5")


def config_of(family: str, **changes: Any) -> Any:
    """Return the configuration of a tiny model of a family."""
    from transformers import AutoConfig

    return AutoConfig.for_model(family, **{**TOKENS, **FAMILIES[family], **changes})


def build(family: str, seed: int = 0, **changes: Any) -> nn.Module:
    """Build a tiny random model of a family; the global random state is left as it was."""
    from transformers import AutoModelForCausalLM

    with drawing(seed):
        return AutoModelForCausalLM.from_config(config_of(family, **changes)).eval()
