"""Text decoders inside models that read images are loaded, and measured on tokens alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from hf_families import known_here
from hf_tokenizers import character_tokenizer

from mecheval.errors import UsageError
from mecheval.harness.cell import run_cell
from mecheval.harness.plan import plan
from mecheval.harness.request import Request
from mecheval.interventions import recovery_grid
from mecheval.models.drawing import drawing
from mecheval.models.hub.kinds import auto_class
from mecheval.models.load import resolve
from mecheval.spec import parse_spec

if TYPE_CHECKING:
    from pathlib import Path

    from mecheval.registry import Registry
    from mecheval.tasks import Task

TOKENS = {"vocab_size": 61, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
GROUPED = {
    "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 64,
}  # fmt: skip
HEADED = GROUPED | {"head_dim": 8}
SEEING = {
    "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1, "num_attention_heads": 4,
    "image_size": 28, "patch_size": 14,
}  # fmt: skip
WRAPPED: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "gemma3": (HEADED, SEEING),
    "llava": (GROUPED | {"model_type": "llama"}, SEEING | {"model_type": "clip_vision_model"}),
    "idefics3": (GROUPED | {"model_type": "llama"}, SEEING),
    "smolvlm": (GROUPED | {"model_type": "llama"}, SEEING),
    "qwen2_5_vl": (
        GROUPED | {"rope_scaling": {"type": "default", "mrope_section": [1, 1, 2]}},
        {"depth": 1, "hidden_size": 32, "num_heads": 4, "intermediate_size": 48,
         "out_hidden_size": 32},
    ),
}  # fmt: skip


@pytest.fixture(params=WRAPPED)
def wrapped(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Write a tiny random checkpoint of a kind that reads images and text."""
    from transformers import AutoConfig

    known_here(request.param)
    text, vision = WRAPPED[request.param]
    config = AutoConfig.for_model(
        request.param, text_config=TOKENS | text | {"initializer_range": 0.2}, vision_config=vision
    )
    with drawing(0):
        kind = auto_class({"model_type": request.param}, runs_code=False)
        module: Any = kind.from_config(config)
    folder = tmp_path / request.param
    module.save_pretrained(folder)
    character_tokenizer().save_pretrained(folder)
    return folder


def test_the_decoder_inside_is_found_and_measured(
    wrapped: Path, registry: Registry, dyck: Task
) -> None:
    source: Any = resolve(parse_spec(f"hf:{wrapped}"), registry)
    encoding = source.encode(dyck)
    model = source.build(encoding, seed=0)
    assert (encoding.vocab_size, model.vocab_size, model.n_layers) == (61, 61, 2)
    rng = np.random.default_rng(0)
    clean_BT = rng.integers(4, 30, size=(3, 9))
    corrupted_BT = clean_BT.copy()
    corrupted_BT[:, 2] = 4 + (corrupted_BT[:, 2] - 3) % 26
    with torch.no_grad():
        logits_BTC = model(torch.as_tensor(clean_BT))
        assert torch.equal(logits_BTC, model.module(torch.as_tensor(clean_BT)).logits)
    answers_B, foils_B, readout_B = [5, 6, 7], [8, 9, 10], [8, 8, 8]
    grid = recovery_grid(model, clean_BT, corrupted_BT, answers_B, foils_B, readout_B)
    hooks = recovery_grid(
        model, clean_BT, corrupted_BT, answers_B, foils_B, readout_B, engine="hooks"
    )
    assert np.allclose(grid.patched, hooks.patched, atol=1e-4)
    assert not np.allclose(grid.patched[0, 0, 2], grid.corrupted, atol=1e-4)


def test_a_cell_of_one_is_measured(wrapped: Path) -> None:
    request = Request(
        models=(parse_spec(f"hf:{wrapped}"),),
        tasks=(parse_spec("parity[min_length=4,max_length=8,longer=[2]]"),),
        metrics=(parse_spec("behaviour"), parse_spec("recovery")),
        recipe={"steps": 2, "gate": 0.0},
        limit=8,
    )
    (cell,) = plan(request)
    report = run_cell(cell, lambda _: None)
    assert report.status == "success", report.error
    assert report.metrics


def test_an_encoder_and_decoder_is_refused(registry: Registry, tmp_path: Path, dyck: Task) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "t5"}')
    source = resolve(parse_spec(f"hf:{tmp_path}[weights=random]"), registry)
    with pytest.raises(UsageError, match="'t5' is not a causal language model"):
        source.encode(dyck)
