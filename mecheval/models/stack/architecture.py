"""How an architecture of our own is declared: a frozen dataclass of arguments under ``@model``.

Shape suffixes: ``C`` vocabulary.
"""

from __future__ import annotations

import dataclasses
import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import numpy as np

from mecheval.errors import ContractError, UsageError, unknown
from mecheval.models.contract import Encoding, ModelCard, ModelIdentity, ModelSource
from mecheval.models.drawing import drawing
from mecheval.models.layers.linear import Mlp
from mecheval.models.stack.residual import Block, ResidualStack
from mecheval.models.stack.shell import OWN, PAPER, SHELLS, Shell
from mecheval.registry import declare
from mecheval.spec import configured

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import nn

    from mecheval.models.layers.mixer import Mixer
    from mecheval.recipe import Recipe
    from mecheval.tasks import Task

DEFAULT_SIZE = "tiny"


@dataclass(frozen=True, kw_only=True)
class Architecture(ModelSource):
    """A residual stack with its arguments; a subclass adds arguments of its own and the mixer.

    Attributes:
        layers: Number of blocks.
        width: Width D of the residual stream.
        mlp_ratio: Width of the feed-forward part relative to the stream; 0 is no such part.
        positions: ``none``, or ``learned`` for a table added to the embedding.
        context: Number of learned positions, BOS included; of no effect otherwise.
        shell: What is around the mixers: ``own``, or ``paper`` for that of the study of retrieval
            (arXiv:2505.15105): a tied head, norms and biases with parameters, weights of 0.02.
        size: Entry of the card's sizes and recipes; a label, not an argument.
    """

    own_shell: ClassVar[Shell] = OWN
    paper_shell: ClassVar[Shell] = PAPER

    position_kinds: ClassVar[tuple[str, ...]] = ("none", "learned")

    of_parts: ClassVar[bool] = False
    """Whether the layers are those of other architectures."""

    later: ClassVar[frozenset[str]] = frozenset({"mlp_ratio", "positions", "context", "shell"})
    """Arguments that came later than the architecture, and are no part of its identity at their
    defaults: what was trained before is found again."""

    embedding_std: ClassVar[float] = 1.0
    """Standard deviation of embeddings; 0.02 suits state-space models, and slows attention down."""

    layers: int = 4
    width: int = 64
    mlp_ratio: int = 0
    positions: str = "none"
    context: int = 256
    shell: str = "own"
    size: str = dataclasses.field(default=DEFAULT_SIZE, compare=False)

    def __post_init__(self) -> None:
        """Check the arguments; subclasses check their own and call this.

        Raises:
            UsageError: An argument is out of range.
        """
        kinds = ", ".join(self.position_kinds)
        self.check(self.layers >= 1 and self.width >= 1, "layers and width of at least 1")
        self.check(self.mlp_ratio >= 0, "mlp_ratio of at least 0")
        self.check(self.positions in self.position_kinds, f"positions to be one of {kinds}")
        self.check(self.positions != "learned" or self.context >= 1, "context of at least 1")
        self.check(self.shell in SHELLS, f"shell to be one of {', '.join(SHELLS)}")

    @abstractmethod
    def mixer(self, layer: int) -> Mixer:
        """Build the sequence mixer of a layer, its weights drawn as torch draws them.

        Under :meth:`build` they come from the seed: see :func:`mecheval.models.drawing.drawing`.
        """

    def mlp(self, layer: int) -> nn.Module | None:
        """Build the feed-forward part of a layer, if there is one."""
        if not self.mlp_ratio:
            return None
        return Mlp(
            self.width, self.mlp_ratio * self.width, scale=self.residual_scale,
            bias=self.shell_of(layer).biases,
        )  # fmt: skip

    def shell_of(self, layer: int) -> Shell:
        """Return what is around the mixer of a layer."""
        return self.paper_shell if self.shell == "paper" else self.own_shell

    def block(self, layer: int) -> Block:
        """Build a layer, and draw its weights."""
        shell = self.shell_of(layer)
        block = Block(self.width, self.mixer(layer), self.mlp(layer), shell=shell)
        if shell.redraw is not None:
            shell.redraw(block, self.layers)
        return block

    @property
    def context_limit(self) -> int | None:
        """Return the number of learned positions, None without learned positions."""
        return self.context if self.positions == "learned" else None

    @property
    def residual_scale(self) -> float:
        """Return by how much weights that write to the stream are smaller: 1 / sqrt(2 layers)."""
        return 1 / math.sqrt(2 * self.layers)

    @property
    def args(self) -> dict[str, Any]:
        """Return all arguments by name."""
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name != "size"}

    def identity(self) -> ModelIdentity:
        """Return the name and the arguments: the weights come from the seed."""
        default = {field.name: field.default for field in dataclasses.fields(self)}
        args = {
            name: value
            for name, value in self.args.items()
            if name not in self.later or value != default[name]
        }
        return ModelIdentity(name=self.card.name, args=args, source="scratch")

    def encode(self, task: Task) -> Encoding:
        """Take the task's symbols as they are."""
        return self.vocabulary(len(task.symbols))

    def vocabulary(self, size: int) -> Encoding:
        """Return an encoding of ``size`` token ids that stand for themselves."""
        return Encoding(code_C=np.arange(size), vocab_size=size)

    def build(self, encoding: Encoding, *, seed: int) -> ResidualStack:
        """Build the model in float32 on the CPU; the global random state is left as it was."""
        with drawing(seed, "init"):
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
