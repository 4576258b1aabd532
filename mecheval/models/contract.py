"""What the harness and the engine need of a model, and of what builds one.

Shape suffixes: ``B`` batch, ``T`` position, ``D`` residual width, ``C`` vocabulary, ``P`` positions
at which logits are wanted, ``A`` answer tokens.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor, nn

from mecheval.errors import UsageError, unknown
from mecheval.models.card import ModelCard as ModelCard  # noqa: TC001 - others look here
from mecheval.models.card import ModelIdentity as ModelIdentity  # noqa: TC001
from mecheval.models.decomposition import Refusal
from mecheval.models.encoding import Encoding as Encoding
from mecheval.models.encoding import own_codes as own_codes
from mecheval.models.logits import at_positions
from mecheval.models.taps import Layout as Layout
from mecheval.models.taps import Tap as Tap

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mecheval.models.decomposition import Decomposition, Replay
    from mecheval.models.layer_state import LayerState
    from mecheval.models.sites import Site
    from mecheval.recipe import Recipe
    from mecheval.tasks import Task


class SequenceModel(nn.Module, ABC):
    """A causal model of token sequences, as the engine sees it.

    Attributes:
        n_layers: Number of blocks.
        d_model: Width D of the residual stream.
        vocab_size: Number of token ids C.
        context_limit: Most positions T that the model accepts, None if unbounded.
        kernels: Names of the kernels that its forward uses, for the report.
        no_blocks: Why there are no layers, where none were found: then nothing of layers is known.
        needs_whole_input: Whether logits change when the input is cut behind them, although no
            later token changes them; found out by :mod:`mecheval.models.admission`.
        made_of_parts: Whether :meth:`decomposition` has nothing to find out, and costs nothing.
    """

    n_layers: int
    d_model: int
    vocab_size: int
    context_limit: int | None = None
    kernels: tuple[str, ...] = ()
    no_blocks: str | None = None
    needs_whole_input: bool = False
    made_of_parts: bool = False

    @abstractmethod
    def forward(self, tokens_BT: Tensor) -> Tensor:
        """Return the logits of the next answer after every position, ``(B, T, C)``."""

    def logits_at(self, tokens_BT: Tensor, positions_BP: Tensor) -> Tensor:
        """Return the logits ``(B, P, C)`` at some positions of every example; there may be none.

        A model whose vocabulary can be large makes no others, as its logits at all positions would
        be larger than all that it computes on the way to them.
        """
        return at_positions(self(tokens_BT), positions_BP)

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

    def check_blocks(self) -> None:
        """Check that the model has layers that can be asked for.

        Raises:
            UsageError: No blocks were found in it.
        """
        if self.no_blocks is not None:
            raise UsageError(
                f"{self.no_blocks[:1].upper()}{self.no_blocks[1:]}. So there are no layers to ask "
                "for. Name the modules to take for the blocks, mecheval.wrap(module, blocks=[...]),"
                " or look at any module by its path: mecheval.trace(model, tokens_BT, [path])."
            )

    @property
    def tree(self) -> nn.Module:
        """Return the module in which the paths of taps begin."""
        return self

    def tap(self, path: str, side: Literal["input", "output"] = "output") -> Tap:
        """Return the place behind a module, or before it, by its path in the module tree.

        Its width is not known before a run, and -1.

        Raises:
            UsageError: There is no such module.
        """
        known = dict(self.tree.named_modules())
        if path not in known:
            raise unknown("module", path, known, see="`named_modules()` of the model")
        return Tap(known[path], side, path, width=-1)

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

    def state(self, tokens_BT: Tensor, layer: int, position: int = -1) -> LayerState:
        """Return what the mixer of one layer remembers after a position of a run.

        Args:
            tokens_BT: Token ids.
            layer: The layer.
            position: The last position that is read; the last one of all by default.

        Raises:
            UsageError: There is no such layer or position, or the model cannot be taken apart.

        Examples:
            >>> import mecheval, torch
            >>> model = mecheval.load_model("mamba[layers=2,width=16]", vocab_size=7)
            >>> clean_BT, other_BT = torch.tensor([[1, 2, 3, 4]]), torch.tensor([[1, 5, 3, 4]])
            >>> state = model.state(clean_BT, layer=1, position=2)
            >>> print(state)
            layer 1 after position 2: recent (1, 3, 32), state (1, 32, 16)
            >>> model.continued(other_BT, state).shape  # its logits with that memory
            torch.Size([1, 4, 7])
        """
        from mecheval.models.layer_state import read_state

        return read_state(self, tokens_BT, layer, position)

    def continued(self, tokens_BT: Tensor, state: LayerState) -> Tensor:
        """Return the logits ``(B, T, C)`` of a run in which one layer remembers something else.

        The run goes on behind the state's position as if its layer had remembered that; up to there
        it is as it was. With the state of the same tokens the logits are those of the run.

        Args:
            tokens_BT: Token ids of the whole run.
            state: What :meth:`state` returned for this or other tokens, changed or not.

        Raises:
            UsageError: As for :meth:`state`, or the state is of another shape.

        Examples:
            >>> import mecheval, torch
            >>> model = mecheval.load_model("lstm[layers=2,width=16]", vocab_size=7)
            >>> tokens_BT = torch.tensor([[1, 2, 3, 4]])
            >>> state = model.state(tokens_BT, layer=0, position=1)
            >>> _ = state["c"].zero_()  # what the cell holds after two tokens is forgotten
            >>> model.continued(tokens_BT, state).isclose(model(tokens_BT)).all(-1)
            tensor([[ True,  True, False, False]])
        """
        from mecheval.models.layer_state import continued

        return continued(self, tokens_BT, state)

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
    def dtype(self) -> str:
        """Return the type of number that :meth:`build` gives the weights."""
        return "float32"

    @property
    def labels(self) -> Mapping[str, str]:
        """Return what tells the model apart in tables beside the arguments that were given."""
        return {}

    @property
    def context_limit(self) -> int | None:
        """Return the most positions that the model will accept, None if unbounded or not known."""
        return None

    @property
    def tokenizer_place(self) -> str | None:
        """Return the folder of its tokenizer; None where it reads symbols without one."""
        return None

    def notes(self, dtype: str) -> tuple[str, ...]:
        """Return what to know of the model before it is measured in a type of number."""
        return ()

    def example(self) -> Encoding:
        """Return some encoding to build the model for, where its task does not matter."""
        return Encoding(code_C=np.arange(8), vocab_size=8)

    @abstractmethod
    def build(self, encoding: Encoding, *, seed: int) -> SequenceModel:
        """Build the model on the CPU: initialised from the seed, or with its weights."""

    def untrained(self, encoding: Encoding, *, seed: int) -> SequenceModel:
        """Build the same shape with weights drawn from the seed, which a metric is held against."""
        return self.build(encoding, seed=seed)
