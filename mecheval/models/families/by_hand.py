"""What a family's configuration needs beyond sizes that are made small by their names.

A part of a configuration is named with dots: ``gemma4.text_config``.
"""

from __future__ import annotations

from typing import Any

ROPE = {"rope_type": "default", "rope_theta": 10000.0}
EXPERTS = {"num_experts_per_tok": 2, "first_k_dense_replace": 1}
SSD = {"mamba_n_heads": 4, "mamba_d_head": 16}
TWICE = {"layer_types": ["sliding_attention", "full_attention"] * 2, "num_hidden_layers": 4}
SHARED = TWICE | {
    "num_kv_shared_layers": 2,
    "per_layer_config": {"1": {"head_dim": 16}, "3": {"head_dim": 16}},
}
INDEXED = {
    "indexer_n_heads": 2, "indexer_kv_heads": 1, "indexer_head_dim": 8, "indexer_budget": 4,
    "indexer_compress_ratio": 2, "ple_layer_ids": [1], "ple_embed_dim": 32, "heads_per_ngram": 2,
    "ngram_vocab_size_base": 20, "make_ngram_vocab_size_divisible_by": 4, "split_ngram_parts": 1,
}  # fmt: skip
LATENT = {
    "per_layer_config": {
        "2": {"num_attention_heads": 2, "num_key_value_heads": 2, "kv_lora_rank": 6}
    }
}

CHANGES: dict[str, dict[str, Any]] = {
    "bamba": SSD | {"attn_layer_indices": [1]},
    "blt": {"encoder_hash_byte_group_vocab": 53},
    "cohere_compass_text": {
        "layer_types": ["sliding_attention", "full_attention"],
        "rope_parameters": {"sliding_attention": ROPE, "full_attention": ROPE},
    },
    "dbrx": {
        "attn_config": {"kv_n_heads": 2, "clip_qkv": 8, "rope_theta": 10000.0},
        "ffn_config": {"ffn_hidden_size": 48, "moe_num_experts": 3, "moe_top_k": 2},
    },
    "deepseek_v2": EXPERTS,
    "dory": TWICE | {"n_recurrent_layers": 2},
    "dots1": EXPERTS | {"n_routed_experts": 3, "n_shared_experts": 1},
    "dots3_note.audio_config": {"adapter_input_size": 32, "adapter_out_dim": 32},
    "dots3_note.text_config": LATENT,
    "dots3_note.vision_config": {
        "adapter_in_dim": 32, "adapter_out_dim": 32, "per_layer_config": {}
    },
    "dots3_note_text": LATENT,
    "falcon_h1": SSD | {"mamba_d_ssm": 64},
    "gemma3n_text": TWICE | {
        "num_kv_shared_layers": 2, "intermediate_size": [48] * 4,
        "activation_sparsity_pattern": [0.95, 0.0, 0.0, 0.0],
    },
    "gemma4.text_config": SHARED,
    "gemma4_assistant": {
        "backbone_hidden_size": 32,
        "text_config": {
            "vocab_size": 61, "vocab_size_per_layer_input": 0, "hidden_size": 32,
            "hidden_size_per_layer_input": 0, "intermediate_size": 48, "num_hidden_layers": 2,
            "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8,
        },
    },
    "gemma4_text": SHARED,
    "glm_moe_dsa": {
        "layer_types": ["indexed_attention"] * 3, "indexer_types": ["full", "full", "shared"],
        "mlp_layer_types": ["dense", "sparse", "sparse"], "num_hidden_layers": 3,
    },
    "gpt_neo": {"attention_types": [[["global", "local"], 1]]},
    "granite": {"residual_multiplier": 0.3, "logits_scaling": 5.0},
    "granitemoehybrid": SSD | {"layer_types": ["mamba", "attention"]},
    "hrm_text": {"num_layers_per_stack": None},
    "hunyuan_v1_dense": {"head_dim": 8},
    "hunyuan_v1_moe": {"head_dim": 8},
    "jamba": {"use_mamba_kernels": False},
    "lfm2": {"layer_types": ["conv", "full_attention"], "block_multiple_of": 16},
    "lfm2_moe": {"layer_types": ["conv", "full_attention"], "num_dense_layers": 1},
    "longcat_flash": {"head_dim": 4},
    "mamba2": {"num_heads": 4, "head_dim": 16, "n_groups": 1},
    "minimax_m3_vl_text": {
        "layer_types": ["full_attention", "minimax_m3_sparse"], "index_block_size": 4,
        "mlp_layer_types": ["dense", "sparse"], "index_topk_blocks": 2,
    },
    "ministral": {"head_dim": 8},
    "nemotron": {"num_key_value_heads": 2},
    "nemotron_h": {"n_groups": 1},
    "qwen4_exp.text_config": INDEXED,
    "qwen4_exp_text": INDEXED,
    "recurrent_gemma": {"num_hidden_layers": 3, "intermediate_size": 96},
    "reformer": {
        "axial_pos_embds_dim": [16, 16], "axial_pos_shape": [8, 8], "attn_layers": ["local", "lsh"]
    },
    "transfo-xl": {"cutoffs": [20, 40]},
    "xlstm": {"hidden_size": 64, "embedding_dim": 64, "qk_dim_factor": 1.0},
    "xmod": {"default_language": "en_XX"},
    "zamba": {
        "layers_block_type": ["mamba", "hybrid"] * 2, "num_hidden_layers": 4,
        "attention_hidden_size": 64, "attention_head_dim": 16, "use_mamba_kernels": False,
    },
    "zamba2": {"num_hidden_layers": 4},
}  # fmt: skip
"""Settings by family, over those that :mod:`.shapes` finds."""


def _rope(kind: str, **more: Any) -> dict[str, Any]:
    """Return rotary positions of a kind, trained for fewer positions than a run has."""
    kinds = {**ROPE, "rope_type": kind, **more}
    return {"max_position_embeddings": 8, "rope_parameters": kinds, "rope_scaling": kinds}


_LONG = {"original_max_position_embeddings": 8, "factor": 2.0}
_FACTORS = {"short_factor": [1.0] * 4, "long_factor": [1.0, 1.5, 2.0, 4.0]}
_LONGROPE = _rope("longrope", **_LONG, **_FACTORS) | {"original_max_position_embeddings": 8}

VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "llama[rope=dynamic]": ("llama", _rope("dynamic", factor=2.0)),
    "llama[rope=linear]": ("llama", _rope("linear", factor=2.0)),
    "llama[rope=llama3]": (
        "llama", _rope("llama3", low_freq_factor=1.0, high_freq_factor=4.0, **_LONG)
    ),
    "llama[rope=longrope]": ("llama", _LONGROPE),
    "llama[rope=yarn]": ("llama", _rope("yarn", **_LONG)),
    "phi3[rope=longrope]": ("phi3", _LONGROPE),
}  # fmt: skip
"""Further rows: what some checkpoints of a family set, and what then is different."""

_DRAFTS = "it drafts tokens for a larger model, whose hidden states it is given in place of tokens"
_CODES = "it reads codes of sounds, several at each position"
UNFIT = {
    "gemma3n": "its text decoder is gemma3n_text; what wraps it needs the package timm",
    "gemma4_assistant": _DRAFTS,
    "gemma4_unified_assistant": _DRAFTS,
    "musicgen": _CODES,
    "musicgen_melody": _CODES,
    "qdqbert": "it needs the package pytorch-quantization",
}
"""Families of which no model maps token ids to logits, and why."""
