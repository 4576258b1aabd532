"""Tiny configurations of any family of transformers: every size made small, by its name.

The defaults of a configuration's class say which sizes there are and which kinds of layers; each
size becomes a small one that fits the others, and of the layers one of every kind stays.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
from typing import TYPE_CHECKING, Any

from mecheval.models.families.by_hand import CHANGES

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

VOCABULARY, WIDTH, HEADS, LAYERS, POSITIONS = 61, 32, 4, 2, 64
MOST_LAYERS = 6

SIZES: dict[str, int] = {
    r"(.*_)?vocab_size(_per_layer_input)?": VOCABULARY,
    r"pad_token_id": 0,
    r"(bos|decoder_start|forced_bos)_token_id": 1,
    r"(eos|forced_eos)_token_id": 2,
    r".*_token_(id|index)": 3,
    # Widths of streams.
    r"hidden_size(_global|_per_layer_input)?|d_model|n_embd|emb_dim|(.*_)?embedding_(size|dim)"
    r"|word_embed_proj_dim|lru_width|(cross_)?attention_hidden_size|dim_model_base"
    r"|backbone_hidden_size": WIDTH,
    # Layers.
    r"(num_)?((hidden|encoder|decoder)_)?layers|n_layers?|num_layers_per_stack|num_blocks": LAYERS,
    r"n_(input|output|recurrent)_layers": 1,
    r".*(_layer_period|_every_n_layers|window_pattern)|layer_group_size": 2,
    r"(attn|expert)_layer_offset|first_k_dense_replace|num_dense_layers": 1,
    # Heads.
    r"((num|swa_num)_)?((en|de)coder_)?attention_heads|n_heads?|num_heads"
    r"|linear_num_(value_)?heads|mamba_(n|num)_heads|n_mamba_heads": HEADS,
    r"(swa_)?num_key_value_heads|num_kv_heads|kv_n_heads|linear_num_key_heads": 2,
    r"index(er)?_(n|kv)_heads": 2,
    r"qk_(nope|rope)_head_dim|rotary_dim": 4,
    r"mamba_(d_head|head_dim|headdim)": 16,
    r"(.*_)?head_dim|attention_head_size|kv_channels|dim_head|d_head|d_rel": 8,
    # Feed-forward parts and experts.
    r"(.*_)?(intermediate_size|ffn_dim|ffn_hidden_size|intermediate_size_mlp)|n_inner|d_inner|dff"
    r"|dim_ff|feed_forward_size|router_hidden_size": 48,
    r"(n_routed_|num_local_|moe_num_|num_)experts|zero_expert_num": 3,
    r"(num_)?(moe_)?(experts_per_tok(en)?|top_?k|k|top_k_experts)": 2,
    r"(n|num_expert)_group|topk_group|(n_|num_|moe_num_)shared_experts": 1,
    r"output_channels|nemo_conv_channels|(.*_)?out_channel": 32,
    # Memory, ranks, windows.
    r"(.*_)?(state_size|d_state)": 8,
    r"time_step_rank": 2,
    r"(.*_)?(rank|lowrank)": 4,
    r"attention_chunk_size": 4,
    r"(.*_)?(chunk_size|block_size)": 16,
    r"max_(position_embeddings|seq_len|(source|target)_positions)|n_positions|n_ctx|context_length"
    r"|model_max_length|original_max_position_embeddings": POSITIONS,
    r"sliding_window(_size)?|(.*_)?window_size|local_attention(_window_len)?|index_topk": 4,
}
"""Small sizes by the names that transformers gives them."""

TOKENS = ("pad_token_id", "bos_token_id", "eos_token_id")

PER_LAYER = (
    "layer_types", "mlp_layer_types", "layers_block_type", "indexer_types", "no_rope_layers",
    "layer_rope_theta", "activation_sparsity_pattern", "num_attention_heads_per_layer",
    "intermediate_size",
)  # fmt: skip
"""Settings that are lists with an entry for every layer."""


def tiny_config(family: str, **changes: Any) -> Any:
    """Return the configuration of a tiny model of a family.

    Args:
        family: A key of transformers' mapping from names to configurations.
        changes: Settings that are wanted otherwise.

    Raises:
        Exception: What the configuration's class raises on settings that it does not know.
    """
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    return _shrunk(CONFIG_MAPPING[family], family, changes)


def _shrunk(config_class: Any, path: str, changes: Mapping[str, Any], default: Any = None) -> Any:
    by_hand = {**CHANGES.get(path, {}), **changes}
    default = default if default is not None else _default(config_class, by_hand)
    names = _parameters(config_class)
    found = _named(default, names)
    small = {name: size for name in found if (size := small_size(name, found[name])) is not None}
    small |= _heads(found) | _layers(found, names, by_hand.get("num_hidden_layers"))
    if "is_decoder" in names | _inherited(config_class):
        small["is_decoder"] = True
    small |= by_hand
    for name, part in vars(default).items():
        if hasattr(part, "to_dict") and name not in by_hand:
            small[name] = _shrunk(type(part), f"{path}.{name}", {}, part).to_dict()
    return config_class(**small)


def _default(config_class: Any, by_hand: Mapping[str, Any]) -> Any:
    try:
        return config_class()
    except Exception:  # its defaults contradict each other: what is set by hand mends them
        return config_class(**by_hand)


def small_size(name: str, value: Any) -> int | None:
    """Return a small size in the place of a setting; None leaves it as it is."""
    if name in TOKENS:  # also where there is none, or a list of them
        return _of_name(name)
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    size = _of_name(name)
    return size if size is None or name.endswith(("_id", "_index")) else min(value, size)


def _of_name(name: str) -> int | None:
    return next((size for form, size in SIZES.items() if re.fullmatch(form, name)), None)


def _inherited(config_class: Any) -> set[str]:
    """Return what a class hands on to its bases: ``is_decoder`` before transformers 5."""
    own = inspect.signature(config_class.__init__).parameters.values()
    if dataclasses.is_dataclass(config_class) or not any(p.kind is p.VAR_KEYWORD for p in own):
        return set()
    return {name for base in config_class.__mro__[1:-1] for name in _parameters(base)}


def _parameters(config_class: Any) -> set[str]:
    if dataclasses.is_dataclass(config_class):
        return {field.name for field in dataclasses.fields(config_class)} | set(TOKENS)
    return set(inspect.signature(config_class.__init__).parameters) | set(TOKENS)


def _named(default: Any, names: Collection[str]) -> dict[str, Any]:
    """Return the settings by the names that the class takes them under."""
    aliases = {own: alias for alias, own in default.attribute_map.items() if alias in names}
    values = dict.fromkeys(TOKENS) | default.to_dict()
    found = {name if name in names else aliases.get(name, name): v for name, v in values.items()}
    return {name: value for name, value in found.items() if name in names}


def _heads(found: Mapping[str, Any]) -> dict[str, int]:
    """Let two heads share a key, but for keys that are made of a latent vector for each head."""
    shared = {"num_key_value_heads", "num_kv_heads", "kv_n_heads"} & set(found)
    most = HEADS if "kv_lora_rank" in found else HEADS // 2
    return {name: min(found[name], most) for name in shared if isinstance(found[name], int)}


def _layers(found: Mapping[str, Any], names: Collection[str], wanted: int | None) -> dict[str, Any]:
    """Keep one layer of every kind, in the order in which they come, and two at least.

    Where a number of layers is wanted, the kinds come in turn.
    """
    lists = {name: found[name] for name in PER_LAYER if isinstance(found.get(name), list | tuple)}
    count = max(map(len, lists.values()), default=0)
    lists = {name: values for name, values in lists.items() if len(values) == count}
    if not lists:
        return {}
    kinds = [repr(kind) for kind in zip(*lists.values(), strict=True)]
    kept = [kinds.index(kind) for kind in dict.fromkeys(kinds)][:MOST_LAYERS]
    kept = [kept[i % len(kept)] for i in range(wanted or max(len(kept), LAYERS))]
    small = {name: [_entry(name, values[i]) for i in kept] for name, values in lists.items()}
    number = {"num_hidden_layers": len(kept)} if "num_hidden_layers" in names else {}
    return {**small, **number}


def _entry(name: str, value: Any) -> Any:
    sizes = {"intermediate_size": 48, "num_attention_heads_per_layer": HEADS}
    return sizes.get(name, value)
