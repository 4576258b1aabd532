"""The pre-norm residual stack of all our own architectures; the sequence mixer is the argument.

Every block adds two things to the residual stream: ``mixer(norm(stream))`` and, if the architecture
has a feed-forward part, ``mlp(norm(stream))``. A norm and an untied head read the last stream out.
Norms are LayerNorm without parameters of its own, since a matrix follows each of them.

Shape suffixes: ``B`` examples, ``T`` positions, ``D`` residual width, ``C`` vocabulary.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from mecheval.errors import UsageError
from mecheval.models.contract import SequenceModel, Tap
from mecheval.models.sites import Site

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mecheval.models.stack.architecture import Architecture


class Mixer(nn.Module, ABC):
    """The part of a block that carries information between positions.

    A subclass writes :meth:`mix`; with :meth:`start` and :meth:`step` it also has a recurrent form.

    Attributes:
        kernels: Names of the kernels that the last :meth:`mix` used.
    """

    kernels: tuple[str, ...] = ()

    @abstractmethod
    def mix(self, normed_BTD: Tensor) -> tuple[Tensor, Any]:
        """Return the output ``(B, T, D)`` and the state after the last position.

        A mixer without a recurrent form returns None as its state.
        """

    def forward(self, normed_BTD: Tensor) -> Tensor:
        """Return the output ``(B, T, D)``."""
        return self.mix(normed_BTD)[0]

    def start(self, batch_size: int) -> Any:
        """Return the state before the first position."""
        raise NotImplementedError("abstract: this mixer has no recurrent form")

    def step(self, normed_BD: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Read one position; return the output ``(B, D)`` and a new state; keep the old one."""
        raise NotImplementedError("abstract: this mixer has no recurrent form")


class Mlp(nn.Module):
    """The feed-forward part of a Transformer: two matrices with a GELU between them."""

    def __init__(self, width: int, hidden: int, *, scale: float) -> None:
        """Draw the weights; ``scale`` multiplies those of the output."""
        super().__init__()
        self.up = projection(width, hidden)
        self.down = projection(hidden, width, scale=scale)

    def forward(self, normed_BTD: Tensor) -> Tensor:
        """Work on every position alone."""
        return self.down(functional.gelu(self.up(normed_BTD)))


class Block(nn.Module):
    """One layer: a mixer and perhaps a feed-forward part, each added to the stream."""

    def __init__(self, width: int, mixer: Mixer, mlp: nn.Module | None) -> None:
        """Put the parts behind norms."""
        super().__init__()
        self.mixer_norm = nn.LayerNorm(width, elementwise_affine=False)
        self.mixer = mixer
        self.mlp_norm = nn.LayerNorm(width, elementwise_affine=False) if mlp else None
        self.mlp = mlp

    def forward(self, stream_BTD: Tensor) -> Tensor:
        """Return the stream after the block."""
        return self._fed(stream_BTD + self.mixer(self.mixer_norm(stream_BTD)))

    def prefill(self, stream_BTD: Tensor) -> tuple[Tensor, Any]:
        """Return the stream after the block, and the mixer's state after the last position."""
        mixed_BTD, state = self.mixer.mix(self.mixer_norm(stream_BTD))
        return self._fed(stream_BTD + mixed_BTD), state

    def step(self, stream_BD: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Return the stream of one position after the block, and the mixer's new state."""
        mixed_BD, state = self.mixer.step(self.mixer_norm(stream_BD), state)
        return self._fed(stream_BD + mixed_BD), state

    def _fed(self, stream: Tensor) -> Tensor:
        if self.mlp is None or self.mlp_norm is None:
            return stream
        return stream + self.mlp(self.mlp_norm(stream))


class ResidualStack(SequenceModel):
    """A model of our own: embedding, blocks, norm, head."""

    def __init__(self, architecture: Architecture, vocab_size: int) -> None:
        """Draw the weights from torch's global generator; ``Architecture.build`` sets its seed.

        Args:
            architecture: Which mixers and feed-forward parts, how many, how wide.
            vocab_size: Number of token ids C.
        """
        super().__init__()
        self.n_layers, self.d_model = architecture.layers, architecture.width
        self.vocab_size, self.context_limit = vocab_size, architecture.context_limit
        self.embedding = _table(vocab_size, self.d_model, architecture.embedding_std)
        self.positions = (
            _table(self.context_limit, self.d_model, architecture.embedding_std)
            if self.context_limit is not None
            else None
        )
        self.layers = nn.ModuleList(
            Block(self.d_model, architecture.mixer(layer), architecture.mlp(layer))
            for layer in range(self.n_layers)
        )
        self.norm = nn.LayerNorm(self.d_model, elementwise_affine=False)
        self.head = projection(self.d_model, vocab_size)

    @property
    def blocks(self) -> Sequence[Block]:
        """Return the blocks in the order in which they run."""
        return list(self.layers)  # pyright: ignore[reportReturnType] - nn.ModuleList is untyped

    def forward(self, tokens_BT: Tensor) -> Tensor:
        """Return the logits of the next answer after every position, ``(B, T, C)``."""
        return self.resume(0, self.embed(tokens_BT))

    def embed(self, tokens_BT: Tensor) -> Tensor:
        """Return the stream before the first block, ``(B, T, D)``.

        Raises:
            UsageError: There are more positions than the model accepts.
        """
        self._check_length(tokens_BT.shape[1])
        stream_BTD = self.embedding(tokens_BT)
        if self.positions is None:
            return stream_BTD
        return stream_BTD + self.positions.weight[: tokens_BT.shape[1]]

    def resume(self, layer: int, stream_BTD: Tensor) -> Tensor:
        """Run the blocks from ``layer`` on and read out, from the stream that enters that block."""
        for block in self.blocks[layer:]:
            stream_BTD = block(stream_BTD)
        self._note_kernels()
        return self.readout(stream_BTD)

    def readout(self, stream_BTD: Tensor) -> Tensor:
        """Return the logits ``(B, T, C)`` of the stream after the last block."""
        return self.head(self.norm(stream_BTD))

    def taps(self) -> dict[Site, Tap]:
        """Return every site: all components but ``mlp_out`` where there is no feed-forward part."""
        found: dict[Site, Tap] = {}
        for layer, block in enumerate(self.blocks):
            path = f"layers.{layer}"
            places: list[tuple[str, nn.Module | None, Literal["input", "output"], str]] = [
                ("block_in", block, "input", path),
                ("mixer_in", block.mixer, "input", f"{path}.mixer"),
                ("mixer_out", block.mixer, "output", f"{path}.mixer"),
                ("mlp_out", block.mlp, "output", f"{path}.mlp"),
                ("block_out", block, "output", path),
            ]
            for component, module, side, name in places:
                if module is not None:
                    found[Site(layer, component)] = Tap(module, side, name, self.d_model)
        return found

    @property
    def streams(self) -> bool:
        """Return whether every mixer has a recurrent form."""
        return all(type(block.mixer).step is not Mixer.step for block in self.blocks)

    def start(self, batch_size: int) -> Any:
        """Return the state before the first token: its position, and the state of every mixer."""
        return 0, tuple(block.mixer.start(batch_size) for block in self.blocks)

    def step(self, tokens_B: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Read one token; return its logits ``(B, C)`` and a new state; keep the old one.

        Raises:
            UsageError: The token's position lies beyond what the model accepts.
        """
        position, before = state
        self._check_length(position + 1)
        stream_BD = self.embedding(tokens_B)
        if self.positions is not None:
            stream_BD = stream_BD + self.positions.weight[position]
        after = []
        for block, mixer_state in zip(self.blocks, before, strict=True):
            stream_BD, mixer_state = block.step(stream_BD, mixer_state)
            after.append(mixer_state)
        return self.readout(stream_BD), (position + 1, tuple(after))

    def prefill(self, tokens_BT: Tensor) -> tuple[Tensor, Any]:
        """Read all tokens at once; return the logits ``(B, T, C)`` and the state after the last."""
        stream_BTD, states = self.embed(tokens_BT), []
        for block in self.blocks:
            stream_BTD, state = block.prefill(stream_BTD)
            states.append(state)
        return self.readout(stream_BTD), (tokens_BT.shape[1], tuple(states))

    def _check_length(self, n_positions: int) -> None:
        if self.context_limit is not None and n_positions > self.context_limit:
            raise UsageError(
                f"This model has learned positions for {self.context_limit} tokens, and was given "
                f"{n_positions}. Set context={n_positions}, or use positions=rope."
            )

    def _note_kernels(self) -> None:
        self.kernels = tuple(
            dict.fromkeys(name for block in self.blocks for name in block.mixer.kernels)
        )


def projection(n_in: int, n_out: int, *, scale: float = 1.0) -> nn.Linear:
    """Return a matrix without bias, its weights drawn from N(0, scale^2 / n_in)."""
    linear = cast("nn.Linear", nn.utils.skip_init(nn.Linear, n_in, n_out, bias=False))
    nn.init.normal_(linear.weight, std=scale * n_in**-0.5)
    return linear


def _table(entries: int, width: int, std: float) -> nn.Embedding:
    table = nn.Embedding(entries, width, _weight=torch.empty(entries, width))
    nn.init.normal_(table.weight, std=std)
    return table
