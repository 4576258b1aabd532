"""Checkpoints of the Hugging Face hub as entries of the model registry."""

from __future__ import annotations

import dataclasses
import sys
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mecheval.errors import UsageError, unknown
from mecheval.escape import line, quoted
from mecheval.models.contract import ModelCard, ModelIdentity, ModelSource, own_codes
from mecheval.models.hub import loading, locate, tokens
from mecheval.recipe import Recipe
from mecheval.registry import declare
from mecheval.text.naming import MOST_OF_NAME
from mecheval.text.quoting import HUB, hint_for

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mecheval.models.contract import Encoding, SequenceModel
    from mecheval.tasks import Task

CHOICES = {"weights": ("pretrained", "random"), "symbols": ("text", "added")}
"""Arguments of every checkpoint; the first value is the default."""

FINE_TUNING = Recipe(
    lr=5e-5, betas=(0.9, 0.999), schedule="linear", warmup=0, clip=1.0, batch=32, steps=2000
)
"""AdamW at 5e-5 with linear decay and gradients clipped at 1, as Li, Guo and Andreas fine-tune
Pythia and GPT-2 on state tracking (arXiv:2503.02854); batch and steps are our own."""

RECIPES = {"pretrained": FINE_TUNING, "random": FINE_TUNING.replace({"lr": 3e-4, "warmup": 100})}


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """What is declared of a checkpoint.

    Attributes:
        card: The model card; None for a checkpoint that is not registered.
        place: A directory, or the name of a repository of the hub.
        revisions: Revisions that hold the same weights, the preferred one first.
        config: ``model_type`` and the fields that give the same shape without a network.
    """

    card: ModelCard | None = None
    place: Path | str
    revisions: tuple[str, ...] = ("main",)
    config: Mapping[str, Any] | None = None

    def configure(
        self,
        args: Mapping[str, Any],
        *,
        name: str,
        revision: str | None = None,
        trust_remote_code: bool = False,
    ) -> Pretrained:
        """Build a source from command-line arguments.

        Raises:
            UsageError: An argument or its value is unknown.
        """
        for key, value in args.items():
            if key not in CHOICES:
                see = f"`mecheval show model {name}`"
                if key == "preset":  # it has none, so this is a part of a path
                    raise UsageError(
                        f"There is no preset {quoted(value)} of {name}. See {see}.{hint_for(name)}"
                    )
                raise unknown(f"argument of {name}", key, CHOICES, see=see)
            if value not in CHOICES[key]:
                raise UsageError(
                    f"Argument {key}={quoted(value)} of model '{name}' is not one of "
                    f"{', '.join(CHOICES[key])}. Write it like {name}[{key}={CHOICES[key][-1]}]."
                )
        return Pretrained(
            checkpoint=self,
            name=name,
            revision=revision,
            trust_remote_code=trust_remote_code,
            **args,
        )


def pretrained(
    *,
    name: str,
    summary: str,
    repo: str,
    revisions: tuple[str, ...],
    config: Mapping[str, Any],
    reference: str,
    license: str | None,
) -> Checkpoint:
    """Register a checkpoint of the hub under a name.

    Args:
        name: The name on the command line; a literal, because listings read it from the source.
        summary: One line for listings; a literal for the same reason.
        repo: The repository.
        revisions: Revisions that its publisher says hold the same weights. The first one that has
            safetensors is taken, and the report names it.
        config: ``model_type`` and what else of the configuration gives the shape.
        reference: The paper that the model is from.
        license: Licence of the weights.
    """
    card = ModelCard(
        name=name,
        summary=summary,
        architecture=str(config["model_type"]),
        reference=reference,
        license=license,
        recipes=RECIPES,
    )
    entry = Checkpoint(card=card, place=repo, revisions=revisions, config=config)
    declare("model", name, sys._getframe(1).f_globals["__name__"], entry)
    return entry


@dataclass(frozen=True, kw_only=True, eq=False)
class Pretrained(ModelSource):
    """A checkpoint with its arguments. Nothing is looked for before it is asked for.

    Attributes:
        checkpoint: What is declared of it.
        name: The name that was asked for.
        revision: The revision that was asked for, None for the declared one.
        weights: ``pretrained``, or ``random`` for the same shape with weights from the seed.
        symbols: ``text`` if symbols are tokens of the tokenizer, ``added`` if they are new ones.
        trust_remote_code: Whether the checkpoint's own Python code may run.
    """

    checkpoint: Checkpoint
    name: str
    revision: str | None = None
    weights: str = "pretrained"
    symbols: str = "text"
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
        """Return all arguments by name."""
        return {key: getattr(self, key) for key in CHOICES}

    @cached_property
    def located(self) -> locate.Located:
        """Return where the files are, downloading them if need be.

        Raises:
            UsageError: They cannot be reached.
        """
        place, wants_weights = self.checkpoint.place, self.weights == "pretrained"
        if isinstance(place, Path):
            return locate.locate_directory(place, expected=self.revision, weights=wants_weights)
        shape = f"{self.name}[weights=random] for the same shape with random weights, or "
        return locate.locate_repository(
            place,
            (self.revision,) if self.revision else self.checkpoint.revisions,
            ways_on=f"Use {shape if self.checkpoint.config else ''}hf:DIRECTORY for a checkpoint "
            "on disk.",
            code=self.trust_remote_code,
            weights=wants_weights,
        )

    @property
    def _is_declared_shape(self) -> bool:
        return self.weights == "random" and self.checkpoint.config is not None

    @cached_property
    def _config(self) -> Any:
        if self.weights == "random" and self.checkpoint.config is not None:
            return loading.named_config(self.checkpoint.config, name=self.name)
        return loading.load_config(
            self.located, name=self.name, trust_remote_code=self.trust_remote_code
        )

    def identity(self) -> ModelIdentity:
        """Find the weights (downloading them if need be) and return what identifies the model.

        Raises:
            UsageError: The weights cannot be reached.
        """
        if self._is_declared_shape:
            return ModelIdentity(name=self.name, args=self.args, source="random")
        located = self.located
        return ModelIdentity(
            name=self._name_in_reports,
            args=self.args,
            source="random" if self.weights == "random" else "pretrained",
            revision=located.revision,
            commit=located.commit,
            weights_sha256=located.weights_sha256 if self.weights == "pretrained" else None,
        )

    def encode(self, task: Task) -> Encoding:
        """Map a task's symbols to token ids.

        Random weights know no text: there a symbol's id is its index, unless tokens are added.

        Raises:
            UsageError: A symbol is not a single token of the model's tokenizer.
        """
        vocab_size = loading.vocabulary(self._config)
        if self.weights == "random" and self.symbols == "text":
            return own_codes(task, vocab_size=vocab_size, name=self.name)
        tokenizer = None
        if self.weights == "pretrained":
            tokenizer = loading.load_tokenizer(
                self.located, name=self.name, trust_remote_code=self.trust_remote_code
            )
        return tokens.encode(
            task, tokenizer, symbols=self.symbols, vocab_size=vocab_size, name=self.name
        )

    def build(self, encoding: Encoding, *, seed: int) -> SequenceModel:
        """Build the model in float32 on the CPU, with its weights or with weights from the seed.

        Raises:
            UsageError: The weights do not fit the configuration.
        """
        if self.weights == "random":
            return self.untrained(encoding, seed=seed)
        module = loading.load_weights(
            self.located, name=self.name, trust_remote_code=self.trust_remote_code
        )
        return _wrapped(module, encoding, seed=seed)

    def untrained(self, encoding: Encoding, *, seed: int) -> SequenceModel:
        """Build the same shape with weights drawn from the seed."""
        module = loading.draw_weights(
            self._config, seed=seed, trust_remote_code=self.trust_remote_code
        )
        return _wrapped(module, encoding, seed=seed)


def _wrapped(module: Any, encoding: Encoding, *, seed: int) -> SequenceModel:
    from mecheval.models.wrapped.model import WrappedModel

    if encoding.added:
        loading.add_tokens(module, encoding.vocab_size, seed=seed)
    with loading.quiet():
        return WrappedModel(module)
