"""A torch module of the user's own as a configured source."""

from __future__ import annotations

import copy
import hashlib
from typing import TYPE_CHECKING

import torch

from mecheval.errors import UsageError
from mecheval.models.contract import (
    Encoding,
    ModelCard,
    ModelIdentity,
    ModelSource,
    SequenceModel,
    own_codes,
)
from mecheval.models.wrapped.discovery.structure import find_structure
from mecheval.models.wrapped.model import WrappedModel

if TYPE_CHECKING:
    from torch import nn

    from mecheval.tasks import Task


class ModuleSource(ModelSource):
    """A torch module of the user's own, with the weights that it has now."""

    def __init__(self, module: nn.Module, card: ModelCard) -> None:
        """Look into the module; it is copied whenever a model is built.

        Raises:
            UsageError: The module has no blocks that can be told apart, or its card no recipe.
        """
        if not card.recipes:
            raise UsageError(
                f"The card of module '{card.name}' has no training recipe. Give it one: "
                "recipes={'own': Recipe(steps=0)} leaves the weights as they are."
            )
        self.card = card
        self.size = next(iter(card.recipes))
        self._module = module
        self._vocab_size = find_structure(module).vocab_size

    def identity(self) -> ModelIdentity:
        """Return the name and the hash of the weights."""
        return ModelIdentity(
            name=self.card.name, args={}, source="module", weights_sha256=_hashed(self._module)
        )

    def encode(self, task: Task) -> Encoding:
        """Let every symbol be the token id of its index.

        Raises:
            UsageError: The task has more symbols than the module has token ids.
        """
        return own_codes(task, vocab_size=self._vocab_size, name=self.card.name)

    def build(self, encoding: Encoding, *, seed: int) -> SequenceModel:
        """Wrap a copy of the module, in float32 on the CPU."""
        return WrappedModel(copy.deepcopy(self._module).to("cpu", torch.float32))


def _hashed(module: nn.Module) -> str:
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
