"""Checkpoints of the Hugging Face hub. Shapes and parameter counts are checked by a test.

EleutherAI publishes Pythia's last checkpoint under two names, the branch ``step143000`` and
``main``, with the same weights. ``main`` stands second because the branches of single steps were
uploaded before safetensors: where ``step143000`` has none, ``main`` is read and reported.

For the checkpoints in this file that come without a branch of that kind, ``main`` is the only name
that is known; reports carry the commit and the hash of the weights.
"""

from typing import Any

from mecheval.models.hub.pretrained import pretrained


def pythia(size: str, *, layers: int, width: int, heads: int) -> dict[str, Any]:
    """Return what is known of a Pythia: attention and MLP in parallel, four times as wide."""
    return {
        "repo": f"EleutherAI/pythia-{size}",
        "revisions": ("step143000", "main"),
        "reference": "Biderman et al. 2023, Pythia, arXiv:2304.01373",
        "license": "Apache-2.0",
        "config": {
            "model_type": "gpt_neox", "vocab_size": 50304, "max_position_embeddings": 2048,
            "num_hidden_layers": layers, "hidden_size": width, "num_attention_heads": heads,
            "intermediate_size": 4 * width,
        },
    }  # fmt: skip


def mamba(size: str, *, layers: int, width: int) -> dict[str, Any]:
    """Return what is known of a Mamba, whose step sizes have a sixteenth of the width as rank."""
    return {
        "repo": f"state-spaces/mamba-{size}-hf",
        "revisions": ("main",),
        "reference": "Gu and Dao 2023, Mamba, arXiv:2312.00752",
        "license": "Apache-2.0",
        "config": {
            "model_type": "mamba", "vocab_size": 50280, "state_size": 16,
            "num_hidden_layers": layers, "hidden_size": width, "time_step_rank": width // 16,
        },
    }  # fmt: skip


pretrained(
    name="pythia-70m",
    summary="Pythia, 6 layers: attention and MLP in parallel, rotary positions, the Pile.",
    **pythia("70m", layers=6, width=512, heads=8),
)
pretrained(
    name="pythia-160m",
    summary="Pythia, 12 layers: attention and MLP in parallel, rotary positions, the Pile.",
    **pythia("160m", layers=12, width=768, heads=12),
)
pretrained(
    name="pythia-410m",
    summary="Pythia, 24 layers of width 1024: attention and MLP in parallel, the Pile.",
    **pythia("410m", layers=24, width=1024, heads=16),
)
pretrained(
    name="pythia-1.4b",
    summary="Pythia, 24 layers of width 2048: attention and MLP in parallel, the Pile.",
    **pythia("1.4b", layers=24, width=2048, heads=16),
)
pretrained(
    name="mamba-130m",
    summary="Mamba, 24 layers without MLP, the Pile.",
    **mamba("130m", layers=24, width=768),
)
pretrained(
    name="mamba-370m",
    summary="Mamba, 48 layers of width 1024 without MLP, the Pile.",
    **mamba("370m", layers=48, width=1024),
)
pretrained(
    name="mamba-1.4b",
    summary="Mamba, 48 layers of width 2048 without MLP, the Pile.",
    **mamba("1.4b", layers=48, width=2048),
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
