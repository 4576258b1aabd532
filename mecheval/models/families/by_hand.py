"""What a configuration needs beyond sizes that are made small by their names.

A part of a configuration is named with dots: ``gemma3.text_config``.
"""

from __future__ import annotations

from typing import Any

HYBRID = {"layer_types": ["linear_attention", "full_attention"]}
SSD = {"mamba_n_heads": 4, "mamba_d_head": 16}
ROPE = {"rope_type": "default", "rope_theta": 10000.0}
INDEXER = {
    "indexer_n_heads": 2, "indexer_kv_heads": 1, "indexer_head_dim": 8, "indexer_budget": 4,
    "indexer_compress_ratio": 2,
}  # fmt: skip

HASHED = {
    "ple_layer_ids": [1], "ple_embed_dim": 32, "heads_per_ngram": 2, "ngram_vocab_size_base": 20,
    "make_ngram_vocab_size_divisible_by": 4, "split_ngram_parts": 1,
}  # fmt: skip
SHARED = {
    "num_hidden_layers": 4,
    "layer_types": ["sliding_attention", "full_attention"] * 2,
    "num_kv_shared_layers": 2,
    "per_layer_config": {"1": {"head_dim": 16}, "3": {"head_dim": 16}},
}
WIDER = {"2": {"num_attention_heads": 2, "num_key_value_heads": 2, "kv_lora_rank": 6}}

CHANGES: dict[str, dict[str, Any]] = {
    "bamba": SSD | {"attn_layer_indices": [1]},
    "blt": {"encoder_hash_byte_group_vocab": 53},
    "cohere_compass_text": {
        "rope_parameters": {"full_attention": ROPE, "sliding_attention": ROPE},
        "layer_types": ["sliding_attention", "full_attention"],
    },
    "dbrx": {
        "attn_config": {"kv_n_heads": 2, "clip_qkv": 8, "rope_theta": 10000.0},
        "ffn_config": {"ffn_hidden_size": 48, "moe_num_experts": 3, "moe_top_k": 2},
    },
    "deepseek_v2": {"num_experts_per_tok": 2},
    "dory": {
        "num_hidden_layers": 4,
        "n_recurrent_layers": 2,
        "layer_types": ["sliding_attention", "full_attention"] * 2,
    },
    "dots1": {
        "n_routed_experts": 3,
        "num_experts_per_tok": 2,
        "n_shared_experts": 1,
        "first_k_dense_replace": 1,
    },
    "dots3_note.audio_config": {"adapter_input_size": 32, "adapter_out_dim": 32},
    "dots3_note.text_config": {"per_layer_config": WIDER},
    "dots3_note.vision_config": {
        "adapter_in_dim": 32,
        "adapter_out_dim": 32,
        "per_layer_config": {},
    },
    "dots3_note_text": {"per_layer_config": WIDER},
    "falcon_h1": SSD | {"mamba_d_ssm": 64},
    "gemma3n_text": {
        "num_hidden_layers": 4,
        "layer_types": ["sliding_attention", "full_attention"] * 2,
        "num_kv_shared_layers": 2,
        "intermediate_size": [48] * 4,
        "activation_sparsity_pattern": [0.95, 0.0, 0.0, 0.0],
    },
    "gemma4.text_config": SHARED,
    "gemma4_text": SHARED,
    "glm_moe_dsa": {
        "num_hidden_layers": 3,
        "layer_types": ["indexed_attention"] * 3,
        "mlp_layer_types": ["dense", "sparse", "sparse"],
        "indexer_types": ["full", "full", "shared"],
    },
    "gpt_neo": {"attention_types": [[["global", "local"], 1]]},
    "granitemoehybrid": SSD | HYBRID,
    "hrm_text": {"num_layers_per_stack": None},
    "longcat_flash": {"head_dim": 4},
    "mamba2": {"num_heads": 4, "head_dim": 16, "n_groups": 1},
    "minimax_m3_vl_text": {
        "layer_types": ["full_attention", "minimax_m3_sparse"],
        "mlp_layer_types": ["dense", "sparse"],
        "index_block_size": 4,
        "index_topk_blocks": 2,
    },
    "nemotron": {"num_key_value_heads": 2},
    "nemotron_h": {"n_groups": 1, "mamba_head_dim": 16},
    "qwen4_exp_text": INDEXER | HASHED,
    "qwen4_exp.text_config": INDEXER | HASHED,
    "recurrent_gemma": {"num_hidden_layers": 3},
    "reformer": {
        "axial_pos_embds_dim": [16, 16],
        "axial_pos_shape": [8, 8],
        "attn_layers": ["local", "lsh"],
    },
    "hunyuan_v1_dense": {"head_dim": 8},
    "hunyuan_v1_moe": {"head_dim": 8},
    "ministral": {"head_dim": 8},
    "lfm2": {"layer_types": ["conv", "full_attention"], "block_multiple_of": 16},
    "lfm2_moe": {"layer_types": ["conv", "full_attention"], "num_dense_layers": 1},
    "xlstm": {"hidden_size": 64, "embedding_dim": 64, "qk_dim_factor": 1.0},
    "xmod": {"default_language": "en_XX"},
    "zamba": {
        "num_hidden_layers": 4,
        "layers_block_type": ["mamba", "hybrid"] * 2,
        "attention_hidden_size": 64,
        "attention_head_dim": 16,
    },
}
