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

from mecheval.errors import ContractError, unknown
from mecheval.later import deciding
from mecheval.models.contract import Encoding, ModelIdentity
from mecheval.models.drawing import drawing
from mecheval.models.layers.linear import Mlp, table
from mecheval.models.stack.declared import Declared, register
from mecheval.models.stack.residual import Block, ResidualStack
from mecheval.models.stack.shell import OWN, PAPER, SHELLS, Shell
from mecheval.recipe import Recipe

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import nn

    from mecheval.models.layers.mixer import Mixer
    from mecheval.tasks import Task

DEFAULT_SIZE = "tiny"

SIZES: Mapping[str, Mapping[str, Any]] = {
    "tiny": {"layers": 4, "width": 32},
    "formal": {"layers": 4, "width": 128},
}
"""Sizes of an architecture: for a first look, and for the study of formal languages."""

RECIPES = {
    "tiny": Recipe(lr=1e-2),
    "formal": Recipe(lr=3e-3, warmup=100, steps=5000),
}
"""How most architectures are trained at these sizes."""


@dataclass(frozen=True, kw_only=True)
class Architecture(Declared):
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

    def check_heads(self, heads: int) -> None:
        """Check that the width can be shared out among heads.

        Raises:
            UsageError: It cannot.
        """
        self.check(heads >= 1 and self.width % heads == 0, "a width that heads divide")

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

    @classmethod
    def defaults(cls, args: Mapping[str, Any], *, name: str) -> Mapping[str, Any]:
        """Return the arguments of the size that is asked for."""
        size = args.get("size", DEFAULT_SIZE)
        if size not in cls.card.sizes:
            see = f"`mecheval show model {name}`"
            raise unknown(f"size of {name}", str(size), cls.card.sizes, see=see)
        return {**cls.card.sizes[size], "size": size}

    def identity(self) -> ModelIdentity:
        """Return the name and the arguments: the weights come from the seed."""
        fields = dataclasses.fields(self)
        later = {field.name: field.default for field in fields if field.name in self.later}
        args = deciding(self.args, later)
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
            return self.stack(encoding.vocab_size)

    def stack(self, vocab_size: int) -> ResidualStack:
        """Build the model, its weights drawn in this order: table, positions, blocks, head."""
        shell = self.shell_of(0)  # outside the blocks all layers' shells are alike
        std, context = shell.embedding_std or self.embedding_std, self.context_limit
        embedding = table(vocab_size, self.width, std)
        positions = None if context is None else table(context, self.width, std)
        blocks = [self.block(layer) for layer in range(self.layers)]
        norm, head = shell.last_norm(self.width), shell.head(embedding)
        return ResidualStack(embedding, blocks, norm, head, positions=positions)


ArchitectureClass = TypeVar("ArchitectureClass", bound=type[Architecture])


def model(
    *,
    name: str,
    reference: str,
    architecture: str,
    recipes: Mapping[str, Recipe] = RECIPES,
    sizes: Mapping[str, Mapping[str, Any]] = SIZES,
    license: str | None = "Apache-2.0",
) -> Callable[[ArchitectureClass], ArchitectureClass]:
    """Register an architecture under a name.

    Args:
        name: The name on the command line; a literal, because listings read it from the source.
        reference: The paper that the architecture is from.
        architecture: Its family, such as "state-space model".
        recipes: How a model of each size is trained; :data:`RECIPES` suits most.
        sizes: The arguments of each size; ``tiny`` is the one taken when none is asked for.
        license: Licence of the code.
    """

    def registered(cls: ArchitectureClass) -> ArchitectureClass:
        if set(recipes) != set(sizes) or DEFAULT_SIZE not in sizes:
            raise ContractError(
                f"Model '{name}' has the sizes {', '.join(sizes)} and recipes for "
                f"{', '.join(recipes)}. Give the same names to both, '{DEFAULT_SIZE}' among them."
            )
        register(
            cls, name, architecture=architecture, reference=reference, license=license,
            recipes=recipes, sizes=sizes,
        )  # fmt: skip
        return cls

    return registered
