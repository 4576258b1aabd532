"""Networks whose weights are set by hand, so that it is known how they solve their task.

A planted model is a residual stack without norms, made of the mixers of the registered
architectures: what is tested on it is the machinery that measures any other model. Its weights
follow from the task, and are never trained.

Shape suffix: ``C`` vocabulary.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar, get_args

import numpy as np
import torch
from torch import nn

from mecheval.errors import UsageError
from mecheval.models.contract import Encoding, ModelIdentity
from mecheval.models.drawing import drawing
from mecheval.models.layers.linear import Mlp
from mecheval.models.planted.basis import blur, perturb, rotate
from mecheval.models.stack.architecture import Architecture
from mecheval.models.stack.declared import Declared, register
from mecheval.models.stack.shell import BARE, Shell
from mecheval.recipe import Recipe
from mecheval.tasks import Task

if TYPE_CHECKING:
    from collections.abc import Callable

    from mecheval.models.layers.mixer import Mixer
    from mecheval.models.stack.residual import ResidualStack

FOLDER = "planted"
"""Folder of the model registry that holds these models; their names begin with it."""

TaskT = TypeVar("TaskT", bound=Task)


@dataclass(frozen=True, kw_only=True)
class Blueprint(Architecture):
    """The shape of a planted network.

    Attributes:
        mixers: Builds the mixer of every layer.
        hidden: Hidden width of every layer's feed-forward part, 0 for none.
        context: Number of positions with an embedding of their own; 0 for no such embeddings.
    """

    own_shell: ClassVar[Shell] = BARE

    mixers: tuple[Callable[[], Mixer], ...] = ()
    hidden: tuple[int, ...] = ()
    context: int = 0

    @property
    def context_limit(self) -> int | None:
        """Return the number of positions that there is an embedding for, if there are any."""
        return self.context or None

    def mixer(self, layer: int) -> Mixer:
        """Build the mixer of a layer."""
        return self.mixers[layer]()

    def mlp(self, layer: int) -> nn.Module | None:
        """Build the feed-forward part of a layer, if it has one."""
        hidden = self.hidden[layer] if self.hidden else 0
        return Mlp(self.width, hidden, scale=1.0) if hidden else None


@dataclass(frozen=True)
class TaskEncoding(Encoding):
    """The symbols of a task as they are, and the task, which the weights follow from."""

    task: Task | None = None


@dataclass(frozen=True, kw_only=True)
class Planted(Declared, Generic[TaskT]):
    """A network with weights set by hand for one family of tasks; a subclass says which weights."""

    fits: ClassVar[tuple[type[Task], ...]]
    """The tasks that there are weights for: those in brackets, as of ``Planted[S3 | Z6]``."""

    size = FOLDER

    def __init_subclass__(cls) -> None:
        """Read the tasks off the base class."""
        super().__init_subclass__()
        for base in vars(cls).get("__orig_bases__", ()):
            for tasks in get_args(base):
                if not isinstance(tasks, TypeVar):
                    cls.fits = get_args(tasks) or (tasks,)

    @abstractmethod
    def blueprint(self, task: TaskT) -> Blueprint:
        """Return the shape of the network for a task."""

    @abstractmethod
    def plant(self, stack: ResidualStack, task: TaskT) -> None:
        """Set the weights of a network; all of them are zero before."""

    def objection(self, task: TaskT) -> str | None:
        """Say what the task would have to be, if there are no weights for this one."""
        return None

    def identity(self) -> ModelIdentity:
        """Return the name and all arguments: they and the task decide the weights."""
        return ModelIdentity(name=self.card.name, args=self.args, source="planted")

    def encode(self, task: Task) -> Encoding:
        """Take the task's symbols as they are.

        Raises:
            UsageError: There are no weights for this task.
        """
        tasks = " or ".join(cls.card.name for cls in self.fits)
        need = self.objection(task) if isinstance(task, self.fits) else tasks  # type: ignore[arg-type]
        if need is not None:
            raise UsageError(
                f"Model '{self.card.name}' has its weights set by hand for {need}, and was given "
                f"the task '{task.card.name}'. Give it one of those, or choose a model that is "
                "trained."
            )
        n_symbols = len(task.symbols)
        return TaskEncoding(code_C=np.arange(n_symbols), vocab_size=n_symbols, task=task)

    @property
    def task(self) -> Task:
        """Return a task that there are weights for."""
        return self.fits[0]()

    def example(self) -> Encoding:
        """Return the encoding of :attr:`task`."""
        return self.encode(self.task)

    def build(self, encoding: Encoding, *, seed: int) -> ResidualStack:
        """Build the network with its weights, in float32 on the CPU; the seed decides nothing.

        Raises:
            UsageError: The encoding is not that of a task.
        """
        stack = self.untrained(encoding, seed=seed)
        with torch.no_grad():
            for parameter in stack.parameters():
                parameter.zero_()
            self.plant(stack, encoding.task)  # type: ignore[attr-defined]
        return stack

    def untrained(self, encoding: Encoding, *, seed: int) -> ResidualStack:
        """Build the same network with weights drawn from the seed.

        Raises:
            UsageError: The encoding is not that of a task.
        """
        if not isinstance(encoding, TaskEncoding):
            tasks = " or ".join(f"'{cls.card.name}'" for cls in self.fits)
            raise UsageError(
                f"Model '{self.card.name}' has weights that follow from a task. Give it one: "
                f"task={tasks}."
            )
        with drawing(seed, "init"):
            return self.blueprint(encoding.task).stack(encoding.vocab_size)  # type: ignore[arg-type]


@dataclass(frozen=True, kw_only=True)
class Turnable(Planted[TaskT]):
    """A planted network whose residual stream can be blurred, and turned into another basis.

    Attributes:
        rotated: Seed of a random orthogonal matrix that every stream is multiplied by; 0 leaves it
            in the basis of the construction. The function computed is the same.
        noise: Standard deviation of what is added to every entry of the token embeddings, where
            0 and 1 are told apart: enough of it makes the network err, by the same mechanism.
        weight_noise: Standard deviation of what is added to every weight, relative to the largest
            of its row.
    """

    rotated: int = 0
    noise: float = 0.0
    weight_noise: float = 0.0

    def build(self, encoding: Encoding, *, seed: int) -> ResidualStack:
        """Build the network with its weights, blurred and turned if it is asked for."""
        stack = super().build(encoding, seed=seed)
        blur(stack.embedding.weight, self.noise)
        if self.weight_noise:
            perturb(stack, self.weight_noise)
        if self.rotated:
            rotate(stack, stack.d_model, self.rotated)
        return stack


PlantedClass = TypeVar("PlantedClass", bound=type[Planted[Any]])


def planted(
    *, name: str, reference: str, architecture: str
) -> Callable[[PlantedClass], PlantedClass]:
    """Register a planted model under a name.

    Args:
        name: The name behind ``planted/``; a literal, because listings read it from the source.
        reference: Where the construction is from, or what it is of.
        architecture: The family that its mixers belong to.
    """

    def registered(cls: PlantedClass) -> PlantedClass:
        register(
            cls, name, folder=f"{FOLDER}/", architecture=architecture, reference=reference,
            license="Apache-2.0", recipes={cls.size: Recipe(steps=0, gate=0.0)},
        )  # fmt: skip
        return cls

    return registered
