"""The grid equals plain hooks on models of transformers, loaded from files in the hub's format."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

import mecheval

if TYPE_CHECKING:
    from pathlib import Path

BLOCKS = {
    "llama": "model.layers",
    "gpt2": "transformer.h",
    "gpt_neox": "gpt_neox.layers",
    "mamba": "backbone.layers",
    "falcon_h1": "model.layers",
}
SHAPES = {
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64},
    "mamba": {
        "hidden_size": 32, "num_hidden_layers": 2, "state_size": 8, "initializer_range": 0.02,
    },
    "falcon_h1": {
        "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "mamba_d_ssm": 64, "mamba_n_heads": 4,
        "mamba_d_head": 16, "mamba_n_groups": 1, "mamba_d_state": 8, "mamba_chunk_size": 16,
    },
}  # fmt: skip
DEFAULT = {
    "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
    "num_attention_heads": 4, "max_position_embeddings": 64,
}  # fmt: skip


def saved(family: str, folder: Path) -> torch.nn.Module:
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.for_model(family, vocab_size=61, **SHAPES.get(family, DEFAULT))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = AutoModelForCausalLM.from_config(config)
    module.save_pretrained(folder)
    return module.eval()


@pytest.mark.parametrize("family", BLOCKS)
@torch.inference_mode()
def test_every_cell_equals_a_plain_forward(family: str, tmp_path: Path) -> None:
    bare = saved(family, tmp_path)
    rng = np.random.default_rng(0)
    clean_BT = torch.as_tensor(rng.integers(3, 61, (3, 7)))
    corrupted_BT = clean_BT.clone()
    corrupted_BT[[0, 1, 2], [0, 2, 4]] = 2
    answers_B, foils_B, readout_B = (torch.tensor(v) for v in ([3, 4, 5], [6, 7, 8], [6, 6, 5]))
    model = mecheval.load_model(f"hf:{tmp_path}")
    with torch.enable_grad():  # without gradients a Mamba runs on other kernels
        torch.testing.assert_close(model(clean_BT), bare(clean_BT).logits, rtol=0, atol=0)
    grid = mecheval.recovery_grid(model, clean_BT, corrupted_BT, answers_B, foils_B, readout_B)

    def difference(logits_BTC: torch.Tensor) -> np.ndarray:
        row_B = torch.arange(3)
        at_BC = logits_BTC[row_B, readout_B]
        return (at_BC[row_B, answers_B] - at_BC[row_B, foils_B]).numpy()

    np.testing.assert_allclose(grid.clean, difference(bare(clean_BT).logits), atol=1e-6)
    blocks = bare.get_submodule(BLOCKS[family])
    for layer, block in enumerate(blocks):
        for position in range(7):
            seen = []

            def record(module, args, kwargs, seen=seen):
                seen.append((args[0] if args else kwargs["hidden_states"]).clone())

            def patch(module, args, kwargs, seen=seen, position=position):
                stream_BTD = (args[0] if args else kwargs["hidden_states"]).clone()
                stream_BTD[:, position] = seen[0][:, position]
                if args:
                    return (stream_BTD, *args[1:]), kwargs
                return args, {**kwargs, "hidden_states": stream_BTD}

            with block.register_forward_pre_hook(record, with_kwargs=True):
                bare(clean_BT)
            with block.register_forward_pre_hook(patch, with_kwargs=True):
                expected_B = difference(bare(corrupted_BT).logits)
            scale = np.abs(expected_B).max()
            np.testing.assert_allclose(
                grid.patched[0, layer, position], expected_B, rtol=1e-4, atol=1e-4 * scale
            )
