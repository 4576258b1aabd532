"""A torch module in memory as a configured source, with what tells it from any other.

Shape suffix: ``X`` any.
"""

from __future__ import annotations

import copy
import hashlib
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from mecheval import seeding
from mecheval.errors import UsageError
from mecheval.models.contract import (
    Encoding,
    ModelCard,
    ModelIdentity,
    ModelSource,
    SequenceModel,
    own_codes,
)
from mecheval.models.hub import added_tokens, tokens
from mecheval.models.hub.source import FINE_TUNING
from mecheval.models.wrapped.model import WrappedModel
from mecheval.models.wrapping import as_model
from mecheval.own_code.loose import file_of, loose_sha256
from mecheval.own_code.sources import source_sha256
from mecheval.text.naming import is_registrable

if TYPE_CHECKING:
    from mecheval.tasks import Task

_OF_OTHERS = {"site-packages", "dist-packages"}
_PLAIN = (bool, int, float, complex, str, type(None))
_VOLATILE = ("_name_or_path", "transformers_version", "dtype", "torch_dtype", "use_cache")
"""Fields of a configuration that say where a module came from, not what it computes."""


class ModuleSource(ModelSource):
    """A torch module in memory, with the weights that it has now."""

    def __init__(
        self, module: nn.Module, card: ModelCard | None = None, tokenizer: Any | None = None
    ) -> None:
        """Look into the module; it is copied whenever a model is built.

        Args:
            module: A module, or a model that was made of one.
            card: What is known of it; by default its class names it and it is fine-tuned like
                checkpoints.
            tokenizer: Its tokenizer; by default that which a model was made with, and none for a
                bare module.

        Raises:
            UsageError: The module is no model, or its card has no recipe.
        """
        if card is not None and not card.recipes:
            raise UsageError(
                f"The card of module '{card.name}' has no training recipe. Give it one: "
                "recipes={'own': Recipe(steps=0)} leaves the weights as they are."
            )
        self._model = as_model(module)
        self._is_named = card is not None
        self.card = card or _card_of(self._model.tree)
        self.size = next(iter(self.card.recipes))
        given = module.tokenizer if isinstance(module, WrappedModel) else None
        self._tokenizer = given if tokenizer is None else tokenizer

    def identity(self) -> ModelIdentity:
        """Return the name, and the hashes of the weights and of what computes with them.

        A module without a card has a name that many share, so the beginning of its hash stands
        beside it, as the revision.
        """
        weights = _weights_sha256(self._model.tree)
        code = _code_sha256(self._model.tree, self._tokenizer)
        content = hashlib.sha256(f"{weights} {code}".encode()).hexdigest()
        return ModelIdentity(
            name=self.card.name,
            args={},
            source="module",
            revision=None if self._is_named else content[:8],
            weights_sha256=weights,
            file_sha256=code,
        )

    @property
    def dtype(self) -> str:
        """Return the type of number of the module's first weight, if it can be measured in it."""
        floating = (p.dtype for p in self._model.parameters() if p.is_floating_point())
        return str(next(floating, torch.float32)).removeprefix("torch.")

    @property
    def context_limit(self) -> int | None:
        """Return the most positions that the module accepts, None if unbounded."""
        return self._model.context_limit

    def encode(self, task: Task) -> Encoding:
        """Map symbols to tokens of text; without a tokenizer a symbol's token id is its index.

        Raises:
            UsageError: A symbol is not a single token, or there are more than token ids.
        """
        name, size = self.card.name, self._model.vocab_size
        if self._tokenizer is None:
            return own_codes(task, vocab_size=size, name=name)
        try:
            return tokens.encode(task, self._tokenizer, symbols="text", vocab_size=size, name=name)
        except UsageError as error:
            said = str(error).partition(" Give ")[0]
            raise UsageError(
                f"{said} Leave the tokenizer out: then a symbol's token id is its index."
            ) from error

    def build(self, encoding: Encoding, *, seed: int) -> SequenceModel:
        """Copy the module to the CPU, in its own type of number, with rows for new tokens."""
        built = copy.deepcopy(self._model).to("cpu")
        if not encoding.added or not isinstance(built, WrappedModel):
            return built
        added_tokens.add_tokens(built.module, encoding.vocab_size, seed=seed)
        return WrappedModel(built.module, built.named_blocks)

    @torch.no_grad()
    def untrained(self, encoding: Encoding, *, seed: int) -> SequenceModel:
        """Copy the module with every weight drawn anew, with the mean and spread that it has."""
        built = self.build(encoding, seed=seed)
        for name, weight in built.named_parameters():
            if weight.is_floating_point():
                drawn = seeding.Draws(seed, "untrained", name).normal(tuple(weight.shape))
                spread = float(weight.double().std(correction=0))
                weight.copy_(torch.from_numpy(drawn * spread + float(weight.double().mean())))
        return built


def _card_of(module: nn.Module) -> ModelCard:
    name = type(module).__name__
    kind = getattr(getattr(module, "config", None), "model_type", None)
    return ModelCard(
        name=name if is_registrable(name) else "module",
        summary="A module in memory.",
        architecture=str(kind or name),
        reference="",
        license=None,
        recipes={"pretrained": FINE_TUNING},
    )


def _weights_sha256(module: nn.Module) -> str:
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        _add(digest, name, tensor)
    return digest.hexdigest()


def _add(digest: Any, name: str, tensor: Tensor) -> None:
    digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
    flat_X = tensor.detach().cpu().contiguous().flatten().view(torch.uint8)
    digest.update(np.ascontiguousarray(flat_X.numpy()).data)


def _code_sha256(module: nn.Module, tokenizer: Any | None) -> str:
    """Hash what computes with the weights: classes, their own code, what is set on them, and text.

    Classes of installed packages count by name, because the report has the versions.

    Raises:
        UsageError: Code of one's own lies in no file and cannot be read.
    """
    digest = hashlib.sha256()
    saved = module.state_dict().keys()
    for path, part in module.named_modules():
        cls = type(part)
        plain = {key: value for key, value in vars(part).items() if _is_plain(key, value)}
        text = (path, cls.__module__, cls.__qualname__, sorted(plain.items()))
        digest.update(f"{text}\n".encode())
    for name, tensor in sorted(module.named_buffers()):
        if name not in saved:
            _add(digest, name, tensor)
    for cls in sorted({type(part) for part in module.modules()}, key=lambda cls: cls.__qualname__):
        digest.update(f"{_own_code(cls)}\n".encode())
    described = [_configured(module), _vocabulary(tokenizer)]
    digest.update(json.dumps(described, sort_keys=True, default=str).encode())
    return digest.hexdigest()


def _own_code(cls: type) -> str | None:
    """Return the hash of the code of a class; None where it is an installed package's."""
    file = file_of(cls)
    if file is None:
        return loose_sha256(cls)
    if _OF_OTHERS & set(file.parts) or cls.__module__.startswith("mecheval."):
        return None
    return source_sha256(file, cls.__module__)


def _configured(module: nn.Module) -> dict[str, Any]:
    config: Any = getattr(module, "config", None)
    described = config.to_dict() if hasattr(config, "to_dict") else {}
    return {key: value for key, value in described.items() if key not in _VOLATILE}


def _vocabulary(tokenizer: Any | None) -> Any:
    """Return what decides which token a text is."""
    if tokenizer is None:
        return None
    fast = getattr(tokenizer, "backend_tokenizer", None)
    special = [getattr(tokenizer, f"{name}_token_id", None) for name in ("bos", "eos", "unk")]
    return [special, tokenizer.get_vocab() if fast is None else fast.to_str()]


def _is_plain(name: str, value: Any) -> bool:
    if name in vars(nn.Module()):  # as whether it is being trained
        return False
    values = value if isinstance(value, tuple | list) else (value,)
    return all(isinstance(one, _PLAIN) for one in values)
