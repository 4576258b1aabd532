"""Tiny configurations: every causal family of the installed transformers has one that is small."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hf_families import is_new

from mecheval.models.families.building import build, causal_module, names
from mecheval.models.families.by_hand import CHANGES, UNFIT, VARIANTS
from mecheval.models.families.shapes import PER_LAYER, small_size, tiny_config

pytestmark = pytest.mark.filterwarnings("ignore")
FAMILIES = [name for name in names() if name not in VARIANTS]
LARGEST = 1_000_000
"""Most parameters of a tiny model, towers for pictures and sounds included."""


def default_of(family: str) -> Any:
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    return CONFIG_MAPPING[family]()


def kinds_of_layers(config: Any) -> dict[str, set[str]]:
    lists = {name: config.get_text_config().to_dict().get(name) for name in PER_LAYER}
    return {
        name: set(kinds)
        for name, kinds in lists.items()
        if isinstance(kinds, list) and isinstance(kinds[0], str)
    }


BROKEN_BEFORE_5 = {"mllama", "phi4_multimodal", "speech_to_text_2"}
"""Families whose own defaults do not make a model before transformers 5."""


@pytest.mark.parametrize("family", FAMILIES)
def test_every_model_is_small(family: str) -> None:
    if family in UNFIT or (family in BROKEN_BEFORE_5 and not is_new()):
        return
    config = tiny_config(family)
    try:
        with torch.device("meta"):
            module = causal_module(config)
    except NotImplementedError:  # it looks into its weights while it is built
        module = causal_module(config)
    assert sum(part.numel() for part in module.parameters()) < LARGEST


@pytest.mark.parametrize("family", FAMILIES)
def test_every_kind_of_layer_stays(family: str) -> None:
    if family in UNFIT:
        return
    wanted, tiny = kinds_of_layers(default_of(family)), kinds_of_layers(tiny_config(family))
    for name in wanted:
        assert wanted[name] <= tiny[name]


@pytest.mark.parametrize("family", ["llama", "gemma3", "mixtral", "bart", "mamba2", "bert"])
def test_models_run(family: str) -> None:
    model = build(family)
    with torch.no_grad():
        assert model(torch.arange(4, 16)[None]).isfinite().all()


@pytest.mark.parametrize(
    ("name", "value", "small"),
    [
        ("hidden_size", 4096, 32),
        ("num_attention_heads", 3, 3),
        ("vocab_size_per_layer_input", 262_144, 61),
        ("vocab_size_per_layer_input", 0, 0),
        ("moe_intermediate_size", 1407, 48),
        ("qk_rope_head_dim", 64, 4),
        ("index_head_dim", 128, 8),
        ("attention_chunk_size", 8192, 4),
        ("mamba_chunk_size", 256, 16),
        ("image_token_id", 151_655, 3),
        ("pad_token_id", None, 0),
        ("eos_token_id", [2, 3], 2),
        ("rope_theta", 10_000, None),
        ("tie_word_embeddings", True, None),
        ("sliding_window", None, None),
    ],
)
def test_sizes_by_their_names(name: str, value: object, small: int | None) -> None:
    assert small_size(name, value) == small


def test_changes_win() -> None:
    assert tiny_config("llama", num_hidden_layers=5, head_dim=4).num_hidden_layers == 5
    assert tiny_config("gemma2", sliding_window=7).sliding_window == 7


def test_what_is_set_by_hand_names_families() -> None:
    """Names of families that this transformers does not have are those of another version."""
    known = {*FAMILIES, *(of for of, _ in VARIANTS.values())}
    found = {name.partition(".")[0] for name in [*CHANGES, *UNFIT]}
    assert len(found & known) >= len(found) / 2
