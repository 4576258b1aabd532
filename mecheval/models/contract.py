"""What the harness and the engine need of a model, and what a model card declares.

Shape suffixes: ``B`` batch, ``T`` position, ``D`` residual width, ``C`` vocabulary, ``P`` positions
at which logits are wanted, ``A`` answer tokens.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor, nn

from mecheval.errors import UsageError
from mecheval.models.decomposition import Refusal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mecheval.models.decomposition import Decomposition, Replay
    from mecheval.models.sites import Site
    from mecheval.recipe import Recipe
    from mecheval.tasks import Task


class Layout(ABC):
    """How an activation ``(B, T, width)`` lies in the tensor that a module takes or returns."""

    @abstractmethod
    def get(self, tensor: Tensor) -> Tensor:
        """Return the activation ``(B, T, width)``."""

    @abstractmethod
    def put(self, tensor: Tensor, value_BTD: Tensor) -> Tensor:
        """Return a copy of the tensor with the activation replaced."""


@dataclass(frozen=True)
class Tap:
    """The place in the module tree where a site's activation can be read and replaced.

    Attributes:
        module: The module that is hooked.
        side: Whether the activation is the module's first tensor argument or its first output; or
            the output of the torch function that is given its weight, where the module itself is
            not called.
        path: The module's name in the real module tree.
        width: Size of the activation's last dimension.
        layout: How the activation lies in that tensor; None if it is the tensor.
        holds: What it holds, where that is another thing than its component says.
    """

    module: nn.Module
    side: Literal["input", "output", "function"]
    path: str
    width: int
    layout: Layout | None = None
    holds: str = ""


class SequenceModel(nn.Module, ABC):
    """A causal model of token sequences, as the engine sees it.

    Attributes:
        n_layers: Number of blocks.
        d_model: Width D of the residual stream.
        vocab_size: Number of token ids C.
        context_limit: Most positions T that the model accepts, None if unbounded.
        kernels: Names of the kernels that its forward uses, for the report.
        needs_whole_input: Whether logits change when the input is cut behind them, although no
            later token changes them; found out by :mod:`mecheval.models.admission`.
    """

    n_layers: int
    d_model: int
    vocab_size: int
    context_limit: int | None = None
    kernels: tuple[str, ...] = ()
    needs_whole_input: bool = False

    @abstractmethod
    def forward(self, tokens_BT: Tensor) -> Tensor:
        """Return the logits of the next answer after every position, ``(B, T, C)``."""

    def logits_at(self, tokens_BT: Tensor, positions_BP: Tensor) -> Tensor:
        """Return the logits ``(B, P, C)`` at some positions of every example; there may be none.

        A model whose vocabulary can be large makes no others, as its logits at all positions would
        be larger than all that it computes on the way to them.
        """
        row_B1 = torch.arange(len(positions_BP), device=positions_BP.device)[:, None]
        return self(tokens_BT)[row_B1, positions_BP]

    def answer_logits(
        self, tokens_BT: Tensor, answers_A: Tensor, read_BT: Tensor | None = None
    ) -> Tensor:
        """Return the logits ``(B, T, A)`` of some tokens, without keeping those of all others.

        Args:
            tokens_BT: Token ids.
            answers_A: The tokens whose logits are wanted.
            read_BT: Where they are; at other positions may stand anything. Everywhere if None.
        """
        return self(tokens_BT)[..., answers_A]

    @property
    @abstractmethod
    def blocks(self) -> Sequence[nn.Module]:
        """Return the blocks in the order in which they run."""

    @abstractmethod
    def taps(self) -> Mapping[Site, Tap]:
        """Return every site that exists in this model."""

    def decomposition(self) -> Decomposition | Refusal:
        """Return the model in parts that run one by one, or why it can only run whole."""
        return Refusal("the model cannot be taken apart")

    def replay(self, tokens_PT: Tensor) -> Replay | Refusal:
        """Record the blocks' arguments of a run, to call them again; or why that is not exact."""
        return Refusal("its blocks cannot be called one by one")

    @property
    def streams(self) -> bool:
        """Return whether :meth:`start` and :meth:`step` are available."""
        return False

    def start(self, batch_size: int) -> Any:
        """Return the state before the first token."""
        raise NotImplementedError("abstract: this model has no recurrent form")

    def step(self, tokens_B: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Read one token; return its logits ``(B, C)`` and the new state."""
        raise NotImplementedError("abstract: this model has no recurrent form")

    @property
    def exchanges(self) -> tuple[str, ...]:
        """Return which of ``state`` and ``cache`` :meth:`exchanged` can take from another run."""
        return ()

    def exchanged(self, state: Any, donor: Any, layer: int, component: str) -> Any:
        """Return a state of :meth:`step` with what one layer remembers taken from another.

        Args:
            state: A state; it stays valid.
            donor: Another one, after as many tokens.
            layer: The layer.
            component: ``cache`` for all that it remembers, ``state`` for that without the last
                inputs of a short convolution.
        """
        raise NotImplementedError("abstract: the memory of one layer cannot be told from the rest")

    @property
    def device(self) -> torch.device:
        """Return the device of the parameters."""
        return next(self.parameters()).device


@dataclass(frozen=True)
class ModelIdentity:
    """Everything about a model that decides a cell's numbers; part of the cell key."""

    name: str
    args: Mapping[str, Any]
    source: Literal["scratch", "pretrained", "random", "module", "planted"]
    revision: str | None = None
    commit: str | None = None
    weights_sha256: str | None = None


@dataclass(frozen=True)
class Encoding:
    """How a task's symbols become a model's token ids.

    Attributes:
        code_C: Token id of every symbol of the task, in the task's order.
        vocab_size: Number of token ids that the model must have.
        added: Symbols that became new tokens of a pretrained vocabulary.
    """

    code_C: np.ndarray
    vocab_size: int
    added: tuple[str, ...] = ()


def own_codes(task: Task, *, vocab_size: int, name: str) -> Encoding:
    """Let every symbol be the token id of its index, for weights that know no text.

    Raises:
        UsageError: The task has more symbols than the model has token ids.
    """
    n_symbols = len(task.symbols)
    if n_symbols > vocab_size:
        raise UsageError(
            f"Task '{task.card.name}' has {n_symbols} symbols, but '{name}' has only {vocab_size} "
            "token ids. Give the model a larger vocabulary."
        )
    return Encoding(code_C=np.arange(n_symbols), vocab_size=vocab_size)


@dataclass(frozen=True, kw_only=True)
class ModelCard:
    """What is known of a model without building it; unknown facts are written as None."""

    name: str
    summary: str
    architecture: str
    reference: str
    license: str | None
    recipes: Mapping[str, Recipe]
    sizes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


class ModelSource(ABC):
    """A configured entry of the model registry: it can say what it is, and build itself."""

    card: ClassVar[ModelCard] | ModelCard
    size: str

    @property
    def recipe(self) -> Recipe:
        """Return the training recipe of this entry at its size."""
        return self.card.recipes[self.size]

    @abstractmethod
    def identity(self) -> ModelIdentity:
        """Find the weights (downloading them if need be) and return what identifies the model.

        Raises:
            UsageError: The weights cannot be reached.
        """

    @abstractmethod
    def encode(self, task: Task) -> Encoding:
        """Map a task's symbols to token ids.

        Raises:
            UsageError: A symbol is not a single token of the model's tokenizer.
        """

    @property
    def address(self) -> str:
        """Return a name under which every process on this machine finds the same model."""
        return self.identity().name

    @property
    def labels(self) -> Mapping[str, str]:
        """Return what tells the model apart in tables beside the arguments that were given."""
        return {}

    def notes(self, dtype: str) -> tuple[str, ...]:
        """Return what to know of the model before it is measured in a type of number."""
        return ()

    def example(self) -> Encoding:
        """Return some encoding to build the model for, where its task does not matter."""
        return Encoding(code_C=np.arange(8), vocab_size=8)

    @abstractmethod
    def build(self, encoding: Encoding, *, seed: int) -> SequenceModel:
        """Build the model in float32 on the CPU: initialised from the seed, or with its weights."""

    def untrained(self, encoding: Encoding, *, seed: int) -> SequenceModel:
        """Build the same shape with weights drawn from the seed, which a metric is held against."""
        return self.build(encoding, seed=seed)
