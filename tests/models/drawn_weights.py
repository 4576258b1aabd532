"""What is drawn from a seed: models of all kinds, and the hashes of their weights.

Run as a program with names it prints their hashes, and the vector unit that torch used.
"""

from __future__ import annotations

import json
import sys
from functools import partial
from typing import TYPE_CHECKING

import torch
from own_models import OWN, build

import mecheval
from mecheval.models.hub import added_tokens, loading
from mecheval.models.load import resolve
from mecheval.registry import Registry
from mecheval.spec import parse_spec
from mecheval.training.checkpoints import state_sha256

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import nn

ARCHITECTURES = [
    *OWN,
    *(f"{name}[shell=paper]" for name in OWN),
    "hyena[filter_std=0.02]", "base_conv[filter_std=0.02]", "mamba[layers=3,positions=learned]",
]  # fmt: skip
PLANTED = {
    "planted/induction[rotated=3,noise=0.1]": "ar[keys=12,values=12,pairs=6]",
    "planted/transformer-dyck[rotated=3]": "dyck",
    "planted/mamba2-recall": "ar[keys=12,values=12,pairs=6]",
}
FAMILIES = ("gpt_neox", "gpt2", "llama", "mamba", "mamba2", "recurrent_gemma", "qwen3_next")


def models() -> dict[str, Callable[[], nn.Module]]:
    """Return how to draw each model."""
    return {
        **{text: partial(build, text, 7) for text in ARCHITECTURES},
        **{text: partial(planted, text, task) for text, task in PLANTED.items()},
        **{family: partial(of_transformers, family) for family in FAMILIES},
        "gpt2 with added tokens": partial(of_transformers, "gpt2", n_added=3),
    }


def planted(text: str, task: str) -> nn.Module:
    source = resolve(parse_spec(text), Registry())
    return source.build(source.encode(mecheval.load_task(task)), seed=0)


def of_transformers(family: str, n_added: int = 0) -> nn.Module:
    from hf_families import config_of

    module = loading.draw_weights(config_of(family), seed=0)
    if n_added:
        added_tokens.add_tokens(
            module, loading.vocabulary(module.config, name=family) + n_added, seed=0
        )
    return module


def hashes(names: Sequence[str]) -> dict[str, str]:
    return {name: state_sha256(models()[name]()) for name in names}


if __name__ == "__main__":
    names = [argument for argument in sys.argv[1:] if argument != "--switches"]
    if len(names) < len(sys.argv) - 1:
        torch.set_float32_matmul_precision("medium")
        torch.set_flush_denormal(True)
        torch.backends.mkldnn.enabled = False
        torch.use_deterministic_algorithms(True)
    capability = torch.backends.cpu.get_cpu_capability().lower()
    print(json.dumps({"capability": capability, "hashes": hashes(names)}))
