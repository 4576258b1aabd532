"""Random-weight models of published shapes, and pairs of prompts that differ in one token.

Weights need not be trained: the cost of a grid does not depend on their values, and random ones
need no download. Shape suffixes: ``P`` pairs, ``T`` positions, ``C`` vocabulary.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from transformers import (
    AutoModelForCausalLM,
    GPT2Config,
    GPTNeoXConfig,
    LlamaConfig,
    Mamba2Config,
    MambaConfig,
    PretrainedConfig,
)

from mecheval.models.drawing import drawing


@dataclass(frozen=True)
class Shape:
    """A model to build.

    Attributes:
        name: Name of the published checkpoint whose shape it has.
        hub: Its name on the Hugging Face hub, which some peers want to be told.
        config: Configuration of transformers.
        blocks: Path of the list of blocks in the module.
    """

    name: str
    hub: str
    config: PretrainedConfig
    blocks: str

    def build(self) -> nn.Module:
        """Return the model in evaluation mode, with the same random weights at every call."""
        config = copy.deepcopy(self.config)  # TransformerLens writes into that of its model
        with drawing(0):
            return AutoModelForCausalLM.from_config(config).eval().requires_grad_(False)


def neox_shape(**sizes: Any) -> Shape:
    """Return the shape of pythia-160m, with other sizes where they are given."""
    chosen: dict[str, Any] = {
        "vocab_size": 50304, "hidden_size": 768, "num_hidden_layers": 12,
        "num_attention_heads": 12, "intermediate_size": 3072, "rotary_pct": 0.25, **sizes,
    }  # fmt: skip
    config = GPTNeoXConfig(use_parallel_residual=True, **chosen)
    return Shape("pythia-160m", "EleutherAI/pythia-160m", config, "gpt_neox.layers")


def mamba_shape(**sizes: Any) -> Shape:
    """Return the shape of mamba-130m, with other sizes where they are given.

    ``initializer_range`` is 0.05. With the 0.1 that transformers has as its default the random
    network is chaotic: relative noise of 1e-6 in the embeddings has grown 900-fold at the logits
    (nine-fold with 0.05), so that float32 grids could not be compared. With 0.02 a changed token
    hardly reaches the last logits.
    """
    chosen: dict[str, Any] = {
        "vocab_size": 50280, "hidden_size": 768, "num_hidden_layers": 24, "state_size": 16, **sizes,
    }  # fmt: skip
    config = MambaConfig(initializer_range=0.05, **chosen)
    return Shape("mamba-130m", "state-spaces/mamba-130m-hf", config, "backbone.layers")


def mamba2_shape() -> Shape:
    """Return the shape of mamba2-130m; see :func:`mamba_shape` for ``initializer_range``."""
    config = Mamba2Config(
        vocab_size=50288, hidden_size=768, num_hidden_layers=24, num_heads=24, head_dim=64,
        n_groups=1, state_size=128, expand=2, initializer_range=0.05,
    )  # fmt: skip
    return Shape("mamba2-130m", "AntonV/mamba2-130m-hf", config, "backbone.layers")


def gpt2_shape() -> Shape:
    """Return the shape of gpt2."""
    return Shape("gpt2", "openai-community/gpt2", GPT2Config(), "transformer.h")


def llama_shape() -> Shape:
    """Return the shape of SmolLM2-135M, a Llama with nine heads in three groups."""
    config = LlamaConfig(
        vocab_size=49152, hidden_size=576, intermediate_size=1536, num_hidden_layers=30,
        num_attention_heads=9, num_key_value_heads=3, tie_word_embeddings=True,
    )  # fmt: skip
    return Shape("smollm2-135m", "HuggingFaceTB/SmolLM2-135M", config, "model.layers")


SHAPES = {
    "pythia-160m": neox_shape,
    "mamba-130m": mamba_shape,
    "mamba2-130m": mamba2_shape,
    "gpt2": gpt2_shape,
    "smollm2-135m": llama_shape,
}


class Pairs(NamedTuple):
    """Prompts that differ in one token, read out at the last position.

    Attributes:
        clean_PT: Tokens of the clean prompts.
        corrupted_PT: Tokens of their counterfactuals.
        changed_P: Position of the token in which they differ.
        answers_P: Token whose logit counts for the clean answer.
        foils_P: Token whose logit counts against it.
    """

    clean_PT: Tensor
    corrupted_PT: Tensor
    changed_P: Tensor
    answers_P: Tensor
    foils_P: Tensor

    def read(self, logits_PC: Tensor) -> Tensor:
        """Return logit(answer) - logit(foil) from the logits at the last position."""
        row_P = torch.arange(len(self.answers_P), device=logits_PC.device)
        return logits_PC[row_P, self.answers_P] - logits_PC[row_P, self.foils_P]

    def to(self, device: str) -> Pairs:
        """Return the same pairs on a device."""
        return Pairs(*(part.to(device) for part in self))


def draw_pairs(
    vocabulary: int, n_pairs: int, length: int, *, changed: int | None = None, seed: int = 0
) -> Pairs:
    """Draw prompts of random tokens.

    Args:
        vocabulary: Number of tokens C.
        n_pairs: Number of pairs P.
        length: Number of positions T.
        changed: Position of the token in which the prompts of a pair differ; where None, drawn
            uniformly from 2 to 7 for every pair (from what there is of it in shorter prompts).
        seed: Seed of the draw.
    """
    rng = torch.Generator().manual_seed(seed)
    clean_PT = torch.randint(vocabulary, (n_pairs, length), generator=rng)
    low, high = (min(2, length - 1), min(8, length)) if changed is None else (changed, changed + 1)
    changed_P = torch.randint(low, high, (n_pairs,), generator=rng)
    # Adding 1 to vocabulary - 1 gives another token for sure.
    shift_P = torch.randint(1, vocabulary, (n_pairs,), generator=rng)
    row_P, corrupted_PT = torch.arange(n_pairs), clean_PT.clone()
    corrupted_PT[row_P, changed_P] = (clean_PT[row_P, changed_P] + shift_P) % vocabulary
    answers_P = torch.randint(vocabulary, (n_pairs,), generator=rng)
    shift_P = torch.randint(1, vocabulary, (n_pairs,), generator=rng)
    return Pairs(clean_PT, corrupted_PT, changed_P, answers_P, (answers_P + shift_P) % vocabulary)
