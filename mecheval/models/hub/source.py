"""A checkpoint as a configured source: what it is, how symbols become tokens, and its weights."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from mecheval.escape import line
from mecheval.models.contract import ModelCard, ModelIdentity, ModelSource, own_codes
from mecheval.models.hub import adapters, added_tokens, loading, tokens
from mecheval.models.hub.arguments import CHOICES
from mecheval.models.hub.calling import quiet
from mecheval.models.hub.contents import Wanted
from mecheval.models.hub.locate import Located, locate_directory
from mecheval.models.hub.repository import locate_repository
from mecheval.models.wrapped.configured import positions_of
from mecheval.recipe import Recipe
from mecheval.text.naming import MOST_OF_NAME
from mecheval.text.quoting import HUB

if TYPE_CHECKING:
    from mecheval.models.contract import Encoding, SequenceModel
    from mecheval.models.hub.pretrained import Checkpoint
    from mecheval.tasks import Task

FINE_TUNING = Recipe(
    lr=5e-5, betas=(0.9, 0.999), schedule="linear", warmup=0, clip=1.0, batch=32, steps=2000
)
"""AdamW at 5e-5 with linear decay and gradients clipped at 1, as Li, Guo and Andreas fine-tune
Pythia and GPT-2 on state tracking (arXiv:2503.02854); batch and steps are our own."""

RECIPES = {"pretrained": FINE_TUNING, "random": FINE_TUNING.replace({"lr": 3e-4, "warmup": 100})}


@dataclass(frozen=True, kw_only=True, eq=False)
class Pretrained(ModelSource):
    """A checkpoint with its arguments. Nothing is looked for before it is asked for.

    Attributes:
        checkpoint: What is declared of it.
        name: The name that was asked for.
        revision: The revision that was asked for, None for the declared one.
        weights: ``pretrained``, or ``random`` for the same shape with weights from the seed.
        symbols: ``text`` if symbols are tokens of the tokenizer, ``added`` if they are new ones.
        adapter: ``merged`` into the weights, ``ignored``, or ``none``: then one that lies there is
            refused.
        attention: Implementation of attention; ``own`` is the configuration's or the default.
        gguf: Name of the GGUF file that holds the weights, where there are several.
        trust_remote_code: Whether the checkpoint's own Python code may run.
    """

    checkpoint: Checkpoint
    name: str
    revision: str | None = None
    weights: str = "pretrained"
    symbols: str = "text"
    adapter: str = "none"
    attention: str = loading.OWN
    gguf: str | None = None
    trust_remote_code: bool = False
    size: str = field(init=False)

    def __post_init__(self) -> None:
        """Choose the recipe by where the weights come from."""
        object.__setattr__(self, "size", self.weights)

    @cached_property
    def card(self) -> ModelCard:  # type: ignore[override] - read when it is asked for
        """Return the model card; that of an unregistered checkpoint is read from its files."""
        if self.checkpoint.card is not None:
            return dataclasses.replace(self.checkpoint.card, name=self.name)
        place = self.checkpoint.place
        return ModelCard(
            name=self.name,
            summary="A causal language model in the format of transformers.",
            architecture=str(self.located.config.get("model_type")),
            reference=f"https://huggingface.co/{place}" if isinstance(place, str) else str(place),
            license=None,
            recipes=RECIPES,
        )

    @property
    def address(self) -> str:
        """Return the name; that of a directory has its whole path."""
        place = self.checkpoint.place
        return f"{HUB}{place.resolve()}" if isinstance(place, Path) else self.name

    @property
    def _name_in_reports(self) -> str:
        """Return the name; of a directory the last part alone, for its content tells what it is."""
        place = self.checkpoint.place
        if not isinstance(place, Path):
            return self.name
        return HUB + (line(place.resolve().name)[:MOST_OF_NAME] or "/")

    @property
    def args(self) -> dict[str, Any]:
        """Return all arguments by name; nothing is looked for.

        A GGUF file is told by its content, and weights without their adapter are the same whether
        it lay beside them or not.
        """
        given = {key: getattr(self, key) for key in CHOICES}
        given["adapter"] = "merged" if self.adapter == "merged" else "none"
        return given

    @property
    def labels(self) -> dict[str, str]:
        """Return what tells the model apart in tables beside its arguments."""
        return {"code": "own"} if not self._is_declared_shape and self.located.runs_code else {}

    def notes(self, dtype: str) -> tuple[str, ...]:
        """Say if what is measured in a type of number was stored in a finer one."""
        if self.weights == "random" or loading.stored_dtype(self.located) != torch.float64:
            return ()
        if dtype == "float64":
            return ()
        return (f"{self.name} is stored in float64 and measured in {dtype}: see --dtype float64",)

    @cached_property
    def located(self) -> Located:
        """Return where the files are, downloading them if need be.

        Raises:
            UsageError: They cannot be reached, or an adapter cannot be merged.
        """
        wanted = Wanted(
            weights=self.weights == "pretrained",
            code=self.trust_remote_code,
            adapter=self.adapter,
            gguf=self.gguf,
        )
        place, revision = self.checkpoint.place, self.revision
        if isinstance(place, Path):
            found = locate_directory(place, expected=revision, wanted=wanted)
        else:
            shape = f"{self.name}[weights=random] for the same shape with random weights, or "
            found = locate_repository(
                place,
                (revision,) if revision else self.checkpoint.revisions,
                ways_on=f"Use {shape if self.checkpoint.config else ''}hf:DIRECTORY for a "
                "checkpoint on disk.",
                wanted=wanted,
            )
        found = dataclasses.replace(found, name=self.name)
        adapters.check_mergeable(found)
        return adapters.with_base(found, wanted)

    @property
    def _is_declared_shape(self) -> bool:
        return self.weights == "random" and self.checkpoint.config is not None

    @cached_property
    def _config(self) -> Any:
        if self._is_declared_shape:
            return loading.named_config(self.checkpoint.config or {}, name=self.name)
        return loading.load_config(self.located, attention=self.attention)

    def identity(self) -> ModelIdentity:
        """Find the weights (downloading them if need be) and return what identifies the model.

        Raises:
            UsageError: The weights cannot be reached.
        """
        if self._is_declared_shape:
            return ModelIdentity(name=self.name, args=self.args | self.labels, source="random")
        located = self.located
        return ModelIdentity(
            name=self._name_in_reports,
            args=self.args | self.labels,
            source="random" if self.weights == "random" else "pretrained",
            revision=located.revision,
            commit=located.commit,
            weights_sha256=located.weights_sha256 if self.weights == "pretrained" else None,
        )

    @property
    def context_limit(self) -> int | None:
        """Return the most positions that the configuration allows, None if unbounded."""
        return positions_of(self._config)

    @property
    def tokenizer_place(self) -> str | None:
        """Return the folder of its tokenizer; None where it reads symbols without one."""
        if self.weights == "random" or self.symbols != "text" or self.located.gguf is not None:
            return None
        return str(self.located.path) if self.located.has_tokenizer else None

    def encode(self, task: Task) -> Encoding:
        """Map a task's symbols to token ids.

        Random weights know no text: there a symbol's id is its index, unless tokens are added.

        Raises:
            UsageError: A symbol is not a single token of the model's tokenizer.
        """
        vocab_size = loading.vocabulary(self._config, name=self.name)
        if self.weights == "random" and self.symbols == "text":
            return own_codes(task, vocab_size=vocab_size, name=self.name)
        text = self.weights == "pretrained"
        tokenizer = loading.load_tokenizer(self.located) if text else None
        return tokens.encode(
            task, tokenizer, symbols=self.symbols, vocab_size=vocab_size, name=self.name
        )

    def build(self, encoding: Encoding, *, seed: int) -> SequenceModel:
        """Build the model on the CPU, with its weights or with weights from the seed.

        It is in float32, or in float64 where that is how its weights are stored.

        Raises:
            UsageError: The weights do not fit the configuration.
        """
        if self.weights == "random":
            return self.untrained(encoding, seed=seed)
        module = loading.load_weights(self.located, attention=self.attention)
        return _wrapped(module, encoding, seed=seed)

    def untrained(self, encoding: Encoding, *, seed: int) -> SequenceModel:
        """Build the same shape with weights drawn from the seed."""
        module = loading.draw_weights(
            self._config,
            seed=seed,
            attention=self.attention,
            located=None if self._is_declared_shape else self.located,
        )
        return _wrapped(module, encoding, seed=seed)


def _wrapped(module: Any, encoding: Encoding, *, seed: int) -> SequenceModel:
    from mecheval.models.wrapped.model import WrappedModel

    if encoding.added:
        added_tokens.add_tokens(module, encoding.vocab_size, seed=seed)
    with quiet():
        return WrappedModel(module)
