"""Checkpoints of the Hugging Face hub. Shapes and parameter counts are checked by a test.

EleutherAI publishes Pythia's last checkpoint under two names, the branch ``step143000`` and
``main``, with the same weights. ``main`` stands second because the branches of single steps were
uploaded before safetensors: where ``step143000`` has none, ``main`` is read and reported.

For the checkpoints in this file that come without a branch of that kind, ``main`` is the only name
that is known; reports carry the commit and the hash of the weights.
"""

from typing import Any

from mecheval.models.hub.pretrained import pretrained

PYTHIA = "Biderman et al. 2023, Pythia, arXiv:2304.01373"
MAMBA = "Gu and Dao 2023, Mamba, arXiv:2312.00752"


def _pythia(layers: int, width: int, heads: int) -> dict[str, Any]:
    """Return what is known of a Pythia of a size."""
    config = {
        "model_type": "gpt_neox", "vocab_size": 50304, "max_position_embeddings": 2048,
        "num_hidden_layers": layers, "hidden_size": width, "num_attention_heads": heads,
        "intermediate_size": 4 * width,
    }  # fmt: skip
    return {
        "config": config, "revisions": ("step143000", "main"), "reference": PYTHIA,
        "license": "Apache-2.0",
    }  # fmt: skip


def _mamba(layers: int, width: int) -> dict[str, Any]:
    """Return what is known of a Mamba of a size."""
    config = {
        "model_type": "mamba", "vocab_size": 50280, "state_size": 16,
        "num_hidden_layers": layers, "hidden_size": width, "time_step_rank": width // 16,
    }  # fmt: skip
    return {"config": config, "revisions": ("main",), "reference": MAMBA, "license": "Apache-2.0"}


pretrained(
    name="pythia-70m",
    summary="Pythia, 6 layers: attention and MLP in parallel, rotary positions, the Pile.",
    repo="EleutherAI/pythia-70m",
    **_pythia(layers=6, width=512, heads=8),
)
pretrained(
    name="pythia-160m",
    summary="Pythia, 12 layers: attention and MLP in parallel, rotary positions, the Pile.",
    repo="EleutherAI/pythia-160m",
    **_pythia(layers=12, width=768, heads=12),
)
pretrained(
    name="pythia-410m",
    summary="Pythia, 24 layers of width 1024: attention and MLP in parallel, the Pile.",
    repo="EleutherAI/pythia-410m",
    **_pythia(layers=24, width=1024, heads=16),
)
pretrained(
    name="pythia-1.4b",
    summary="Pythia, 24 layers of width 2048: attention and MLP in parallel, the Pile.",
    repo="EleutherAI/pythia-1.4b",
    **_pythia(layers=24, width=2048, heads=16),
)

pretrained(
    name="gpt2",
    summary="GPT-2, 12 layers: learned positions, WebText.",
    repo="openai-community/gpt2",
    revisions=("main",),
    config={
        "model_type": "gpt2",
        "vocab_size": 50257,
        "n_positions": 1024,
        "n_embd": 768,
        "n_layer": 12,
        "n_head": 12,
    },
    reference="Radford et al. 2019, Language Models are Unsupervised Multitask Learners",
    license="MIT",
)

pretrained(
    name="mamba-130m",
    summary="Mamba, 24 layers without MLP, the Pile.",
    repo="state-spaces/mamba-130m-hf",
    **_mamba(layers=24, width=768),
)
pretrained(
    name="mamba-370m",
    summary="Mamba, 48 layers of width 1024 without MLP, the Pile.",
    repo="state-spaces/mamba-370m-hf",
    **_mamba(layers=48, width=1024),
)
pretrained(
    name="mamba-1.4b",
    summary="Mamba, 48 layers of width 2048 without MLP, the Pile.",
    repo="state-spaces/mamba-1.4b-hf",
    **_mamba(layers=48, width=2048),
)

# state-spaces/mamba2-130m has no configuration that transformers reads; this is a conversion of
# it by a maintainer of that code. The licence is the one of the original weights.
pretrained(
    name="mamba2-130m",
    summary="Mamba-2, 24 layers without MLP, the Pile; converted to transformers' format.",
    repo="AntonV/mamba2-130m-hf",
    revisions=("main",),
    config={
        "model_type": "mamba2",
        "vocab_size": 50288,
        "num_hidden_layers": 24,
        "hidden_size": 768,
        "state_size": 128,
        "num_heads": 24,
        "head_dim": 64,
        "n_groups": 1,
        "tie_word_embeddings": True,
    },
    reference="Dao and Gu 2024, Transformers are SSMs, arXiv:2405.21060",
    license="Apache-2.0",
)
