"""How an architecture of our own is declared: a frozen dataclass of arguments under ``@model``.

Shape suffixes: ``C`` vocabulary.
"""

from __future__ import annotations

import dataclasses
from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import numpy as np
import torch
from torch import nn

from mecheval import seeding
from mecheval.errors import ContractError, UsageError, unknown
from mecheval.models.contract import Encoding, ModelCard, ModelIdentity, ModelSource
from mecheval.models.stack.residual import Mixer, ResidualStack
from mecheval.registry import declare
from mecheval.spec import configured

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mecheval.tasks import Task
    from mecheval.training.recipe import Recipe

DEFAULT_SIZE = "tiny"


@dataclass(frozen=True, kw_only=True)
class Architecture(ModelSource):
    """A residual stack with its arguments; a subclass adds arguments of its own and the mixer.

    Attributes:
        layers: Number of blocks.
        width: Width D of the residual stream.
        size: Entry of the card's sizes and recipes; a label, not an argument.
    """

    norms: ClassVar[bool] = True
    """Whether there are norms before mixers, feed-forward parts and the head."""

    embedding_std: ClassVar[float] = 1.0
    """Standard deviation of embeddings; 0.02 suits state-space models, and slows attention down."""

    layers: int = 4
    width: int = 64
    size: str = dataclasses.field(default=DEFAULT_SIZE, compare=False)

    def __post_init__(self) -> None:
        """Check the arguments; subclasses check their own and call this.

        Raises:
            UsageError: An argument is out of range.
        """
        self.check(self.layers >= 1 and self.width >= 1, "layers and width of at least 1")

    @abstractmethod
    def mixer(self, layer: int) -> Mixer:
        """Build the sequence mixer of a layer, drawing weights from torch's global generator."""

    def mlp(self, layer: int) -> nn.Module | None:
        """Build the feed-forward part of a layer, if there is one."""
        return None

    @property
    def context_limit(self) -> int | None:
        """Return the number of learned positions, None without learned positions."""
        return None

    @property
    def residual_scale(self) -> float:
        """Return by how much weights that write to the stream are smaller: 1 / sqrt(2 layers)."""
        return (2 * self.layers) ** -0.5

    @property
    def args(self) -> dict[str, Any]:
        """Return all arguments by name."""
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name != "size"}

    def identity(self) -> ModelIdentity:
        """Return the name and all arguments: the weights come from the seed."""
        return ModelIdentity(name=self.card.name, args=self.args, source="scratch")

    def encode(self, task: Task) -> Encoding:
        """Take the task's symbols as they are."""
        return self.vocabulary(len(task.symbols))

    def vocabulary(self, size: int) -> Encoding:
        """Return an encoding of ``size`` token ids that stand for themselves."""
        return Encoding(code_C=np.arange(size), vocab_size=size)

    def build(self, encoding: Encoding, *, seed: int) -> ResidualStack:
        """Build the model in float32 on the CPU; the global random state is left as it was."""
        with torch.random.fork_rng(devices=[]):
            # Not torch.manual_seed, which would also seed every GPU.
            torch.default_generator.manual_seed(seeding.derive(seed, "init"))
            return ResidualStack(self, encoding.vocab_size)

    def check(self, holds: bool, needs: str) -> None:
        """Check a condition on the arguments.

        Raises:
            UsageError: It does not hold; the message says what the model needs.
        """
        if not holds:
            given = ", ".join(f"{name}={value}" for name, value in self.args.items())
            raise UsageError(f"Model '{self.card.name}' needs {needs}; it was given {given}.")


ArchitectureClass = TypeVar("ArchitectureClass", bound=type[Architecture])


def model(
    *,
    name: str,
    reference: str,
    architecture: str,
    recipes: Mapping[str, Recipe],
    sizes: Mapping[str, Mapping[str, Any]],
    license: str | None = "Apache-2.0",
) -> Callable[[ArchitectureClass], ArchitectureClass]:
    """Register an architecture under a name.

    Args:
        name: The name on the command line; a literal, because listings read it from the source.
        reference: The paper that the architecture is from.
        architecture: Its family, such as "state-space model".
        recipes: How a model of each size is trained.
        sizes: The arguments of each size; ``tiny`` is the one taken when none is asked for.
        license: Licence of the code.
    """

    def register(cls: ArchitectureClass) -> ArchitectureClass:
        summary = (cls.__doc__ or "").strip().partition("\n")[0]
        if not summary:
            raise ContractError(f"Model '{name}' has no docstring. Say in one line what it is.")
        if set(recipes) != set(sizes) or DEFAULT_SIZE not in sizes:
            raise ContractError(
                f"Model '{name}' has the sizes {', '.join(sizes)} and recipes for "
                f"{', '.join(recipes)}. Give the same names to both, '{DEFAULT_SIZE}' among them."
            )
        cls.card = ModelCard(
            name=name, summary=summary, architecture=architecture, reference=reference,
            license=license, recipes=recipes, sizes=sizes,
        )  # fmt: skip
        declare("model", name, cls.__module__, cls)
        return cls

    return register


def configure_model(
    cls: type[Architecture], args: Mapping[str, Any], *, name: str | None = None
) -> Architecture:
    """Build an architecture from command-line arguments.

    Args:
        cls: The registered class.
        args: Its arguments; ``size`` picks defaults for the others.
        name: The registered name where it differs from the declared one, such as ``local/mine``.

    Raises:
        UsageError: An argument or size is unknown, or a value is of the wrong type or out of range.
    """
    name = name or cls.card.name
    size = args.get("size", DEFAULT_SIZE)
    if size not in cls.card.sizes:
        see = f"`mecheval show model {name}`"
        raise unknown(f"size of {name}", str(size), cls.card.sizes, see=see)
    values = {**cls.card.sizes[size], **args, "size": size}
    chosen = configured(cls, values, what=name, see=f"`mecheval show model {name}`")
    if name != cls.card.name:
        object.__setattr__(chosen, "card", dataclasses.replace(cls.card, name=name))
    return chosen
