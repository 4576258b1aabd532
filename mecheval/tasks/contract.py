"""What a task declares: a generator, counterfactuals, a behavioural and mechanistic metrics."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, get_args

from mecheval.errors import ContractError, UsageError, unknown
from mecheval.later import deciding
from mecheval.recipe import GatedOn
from mecheval.registry import declare
from mecheval.spec import Spec, configured, parse_spec
from mecheval.text.lone_word import argument_for

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import datasets
    import numpy as np

    from mecheval.tasks.batch import Batch
    from mecheval.tasks.splits import Split
    from mecheval.tasks.treecall.ceiling import Ceiling

BOS = "<bos>"
"""The first symbol of every task and the first token of every sequence.

Without it, attention without absolute positions cannot tell 1 from 11 from 111: all values in an
all-ones prefix are equal, and so is every output.
"""


RANGE = MappingProxyType({"min_length": 3, "max_length": 40})
"""The preset ``range`` of tasks of state tracking: lengths of training as in Grazzi et al. 2025."""


@dataclass(frozen=True)
class TaskCard:
    """What is known of a task without running it; metrics are named, with parameters."""

    name: str
    version: int
    summary: str
    reference: str
    behaviour: Spec
    mechanisms: tuple[Spec, ...]


@dataclass(frozen=True, kw_only=True)
class Task(ABC):
    """A family of token sequences with a known state behind every position.

    A subclass is a frozen dataclass whose fields are the task's parameters.

    Attributes:
        min_length: Fewest symbols of a training sequence (BOS not counted).
        max_length: Most symbols of a training sequence; the length of the in-distribution test.
        longer: Factors of ``max_length`` at which longer tests are made.
    """

    card: ClassVar[TaskCard]
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    """Parameters by the name of a preset, which ``NAME[PRESET]`` chooses."""
    ambiguous: ClassVar[bool] = False
    """Whether one sequence of symbols can come with several right answers or latent states."""
    separate: ClassVar[bool] = False
    """Whether :meth:`sample_split` alone keeps the splits apart, by files that it takes examples
    from; elsewhere the hashes of sequences do."""
    queried: ClassVar[bool] = False
    """Whether answers are asked for behind a text, however short: floors then count them all."""
    gate_on: ClassVar[GatedOn] = "token"
    """Which accuracy says whether it was learned, where a recipe does not say otherwise: that of
    all scored positions, or that of the last. Where a state is tracked, answers are easy near the
    beginning of a sequence, and only those at its end say that the state was kept."""
    later: ClassVar[tuple[str, ...]] = ()
    """Parameters that a published version got later: ``params`` holds those that are not as by
    default, so that what was measured without them keeps its name."""

    min_length: int = 16
    max_length: int = 16
    longer: tuple[int, ...] = (2, 4)

    def __post_init__(self) -> None:
        """Check the length range; subclasses check their own parameters and call this.

        Raises:
            UsageError: A parameter is out of range.
        """
        if not 1 <= self.min_length <= self.max_length:
            raise UsageError(
                f"Task '{self.card.name}' got min_length={self.min_length} and "
                f"max_length={self.max_length}; give 1 <= min_length <= max_length."
            )
        if any(type(factor) is not int or factor < 1 for factor in self.longer):
            raise UsageError(
                f"Task '{self.card.name}' got longer={list(self.longer)}; give whole numbers of at "
                "least 1."
            )

    @property
    @abstractmethod
    def symbols(self) -> tuple[str, ...]:
        """Return all symbols of the task; the first is :data:`BOS`."""

    @property
    def shortest(self) -> int:
        """Return the fewest symbols that an example can have, whatever lengths are asked for."""
        return 1

    @property
    @abstractmethod
    def answers(self) -> tuple[int, ...]:
        """Return the indices of the symbols that can be a target."""

    @property
    @abstractmethod
    def variables(self) -> Mapping[str, int]:
        """Return the number of values of every latent variable."""

    @property
    def strings(self) -> tuple[str, ...]:
        """Return the text of every symbol for models with a tokenizer; the first is unused.

        None at all say that any tokens will do, each standing for one symbol.
        """
        return self.symbols

    @property
    def in_words(self) -> bool:
        """Say whether symbols without strings become words, and not any tokens of a tokenizer."""
        return False

    @property
    def data_sha256(self) -> str | None:
        """Return the hash of files that examples are taken from; None where none are."""
        return None

    @property
    def chance(self) -> float:
        """Return the accuracy of a uniform guess among the answers."""
        return 1.0 / len(self.answers)

    @property
    def test_lengths(self) -> dict[str, int]:
        """Return the number of symbols of every test, by factor: ``{"1x": 16, "2x": 32}``."""
        return {f"{factor}x": factor * self.max_length for factor in (1, *self.longer)}

    @property
    def params(self) -> dict[str, Any]:
        """Return all parameters by name, but for those of :attr:`later` at their defaults."""
        later = {f.name: f.default for f in dataclasses.fields(self) if f.name in self.later}
        return deciding(dataclasses.asdict(self), later)

    @abstractmethod
    def sample(self, rng: np.random.Generator, n: int, length: int) -> Batch:
        """Draw ``n`` examples of ``length`` symbols (so ``length + 1`` positions)."""

    def sample_split(self, rng: np.random.Generator, n: int, length: int, split: Split) -> Batch:
        """Draw examples for a split, for tasks whose splits differ in more than their sequences.

        Whatever this returns, only sequences whose hash belongs to the split are kept, but for
        tasks that are :attr:`separate`.
        """
        return self.sample(rng, n, length)

    def split_key(self, tokens_BT: np.ndarray) -> np.ndarray:
        """Return what decides the split of every sequence, ``(B, ...)``: all of its symbols.

        Tasks that ask several questions of one text let the text alone decide, so that none of
        training is asked about again in a test.
        """
        return tokens_BT

    @abstractmethod
    def counterfactual(self, batch: Batch, rng: np.random.Generator) -> Batch:
        """Change every example minimally so that its answer at the readout is another one.

        Examples that cannot be changed may come back as they are, with their labels. They are
        dropped from pairs, and so are those that change at the readout or behind it; ``mecheval
        validate`` says how many. What is changed and keeps its answer breaks the contract.
        """

    @property
    def counterfactuals(self) -> tuple[str, ...]:
        """Return the kinds of counterfactual; the first is what :meth:`counterfactual` makes."""
        return ("default",)

    def counterfactual_of(self, kind: str, batch: Batch, rng: np.random.Generator) -> Batch:
        """Make a counterfactual of one kind; tasks with several kinds write this.

        A change after which there is no right answer at the readout leaves the target there
        unscored, and gives a foil instead.
        """
        return self.counterfactual(batch, rng)

    def guesses(self, batch: Batch) -> Mapping[str, Mapping[str, np.ndarray]]:
        """Return what rules of thumb of this task say, which gives it floors of its own.

        Returns:
            By the name of a rule and of a target: values ``(B, T)`` of a variable, or for
            ``answer`` indices into the answers.
        """
        return {}

    def ceiling(self, *, n: int = 200, seed: int = 0) -> Ceiling | None:
        """Estimate the accuracy of the best possible model from ``n`` sequences.

        Returns:
            None where it is not known how; a task whose sequences decide their answers needs none.

        Raises:
            UsageError: The estimate would not be exact for these parameters.
        """
        return None

    def to_datasets(
        self, *, n_train: int = 4096, n_test: int = 1024, seed: int = 0
    ) -> datasets.DatasetDict:
        """Draw the splits as Hugging Face data sets; see :func:`mecheval.tasks.export.to_datasets`.

        Args:
            n_train: Rows of ``train``.
            n_test: Rows of ``validation``, ``test`` and every longer test.
            seed: Decides the examples.
        """
        from mecheval.tasks.export import to_datasets

        return to_datasets(self, n_train=n_train, n_test=n_test, seed=seed)


TaskClass = TypeVar("TaskClass", bound=type[Task])


def task(
    *,
    name: str,
    version: int,
    reference: str,
    mechanisms: Sequence[str | Spec],
    behaviour: str | Spec = "behaviour",
) -> Callable[[TaskClass], TaskClass]:
    """Register a task class under a name.

    Args:
        name: The name on the command line; a literal, because listings read it from the source.
        version: Raised whenever the generator's output changes; a golden hash test holds that.
        reference: The paper that the task is from.
        mechanisms: The mechanistic metrics that are measured on it where none are named, as on
            the command line: ``"bottleneck[eraser=inlp]"``.
        behaviour: The behavioural metric.
    """

    def register(cls: TaskClass) -> TaskClass:
        summary = (cls.__doc__ or "").strip().partition("\n")[0]
        if not summary:
            raise ContractError(f"Task '{name}' has no docstring. Say in one line what it is.")
        if cls.gate_on not in get_args(GatedOn):
            raise ContractError(
                f"Task '{name}' has gate_on={cls.gate_on!r}; give one of "
                f"{', '.join(get_args(GatedOn))}."
            )
        specs = tuple(map(_spec, mechanisms))
        cls.card = TaskCard(name, version, summary, reference, _spec(behaviour), specs)
        declare("task", name, cls.__module__, cls)
        return cls

    return register


def _spec(given: str | Spec) -> Spec:
    return given if isinstance(given, Spec) else parse_spec(given)


def configure(cls: type[Task], args: Mapping[str, Any], *, name: str) -> Task:
    """Build a task from command-line arguments; ``preset`` picks defaults for the others.

    Raises:
        UsageError: An argument or preset is unknown, or a value has the wrong type.
    """
    see = f"`mecheval show task {name}`"
    if "preset" in args and cls.presets:
        args = dict(args)
        preset = str(args.pop("preset"))  # a name of digits is read as a number
        if preset not in cls.presets:
            build = partial(configured, cls, what=name, see=see)
            meant = argument_for(preset, cls, of=name, build=build)
            raise unknown(f"preset of {name}", preset, cls.presets, see=see, hint=meant)
        args = {**cls.presets[preset], **args}
    return configured(cls, args, what=name, see=see)
