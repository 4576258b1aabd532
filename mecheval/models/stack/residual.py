"""The pre-norm residual stack of all our own architectures; the sequence mixer is the argument.

Every block adds two things to the residual stream: ``mixer(norm(stream))`` and, if the architecture
has a feed-forward part, ``mlp(norm(stream))``. A norm and an untied head read the last stream out.
By default norms are LayerNorm without parameters of its own, since a matrix follows each of them;
:mod:`.shell` has what else there can be around the mixers.

Shape suffixes: ``B`` examples, ``T`` positions, ``D`` residual width, ``C`` vocabulary, ``P``
positions at which logits are wanted, ``A`` answer tokens.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn

from mecheval.errors import UsageError
from mecheval.models import logits
from mecheval.models.contract import SequenceModel, Tap
from mecheval.models.decomposition import Decomposition, Layer, chosen_logits
from mecheval.models.sites import Site

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mecheval.models.layers.mixer import Mixer
    from mecheval.models.mixing import State
    from mecheval.models.stack.shell import Shell, TiedHead


class Block(nn.Module):
    """One layer: a mixer and perhaps a feed-forward part, each added to the stream."""

    def __init__(self, width: int, mixer: Mixer, mlp: nn.Module | None, *, shell: Shell) -> None:
        """Put the parts behind the norms of a shell."""
        super().__init__()
        self.mixer_norm = shell.norm(width)
        self.mixer = mixer
        mixer.inner = tuple(mixer.taps())
        self.mlp_norm = shell.norm(width) if mlp else None
        self.mlp = mlp

    def forward(self, stream_BTD: Tensor) -> Tensor:
        """Return the stream after the block."""
        return self._through_mlp(stream_BTD + self.mixer(self.mixer_norm(stream_BTD)))

    def run(self, stream_BTD: Tensor, state: State) -> tuple[Tensor, State]:
        """Return the stream after the block, and the mixer's state after the last position."""
        normed_BTD = self.mixer_norm(stream_BTD)
        mixed_BTD, state = self.mixer.read(self.mixer.project(normed_BTD, state), state)
        return self._through_mlp(stream_BTD + mixed_BTD), state

    def decomposition(self) -> Layer:
        """Return the block in parts."""
        return Layer(
            mixing=self.mixer,
            enter=self.mixer_norm,
            join=torch.add,
            feed=None if self.mlp is None else self._feed,
            close=None if self.mlp is None else torch.add,
        )

    def _through_mlp(self, stream_BTD: Tensor) -> Tensor:
        return stream_BTD if self.mlp is None else stream_BTD + self._feed(stream_BTD)

    def _feed(self, stream_BTD: Tensor) -> Tensor:
        if self.mlp is None or self.mlp_norm is None:
            return torch.zeros_like(stream_BTD)
        return self.mlp(self.mlp_norm(stream_BTD))


class ResidualStack(SequenceModel):
    """A model of our own: embedding, blocks, norm, head."""

    made_of_parts = True

    def __init__(
        self,
        embedding: nn.Embedding,
        blocks: Sequence[Block],
        norm: nn.Module,
        head: nn.Linear | TiedHead,
        *,
        positions: nn.Embedding | None = None,
    ) -> None:
        """Take the parts.

        Args:
            embedding: Of the C token ids, D wide.
            blocks: The layers in order.
            norm: What the last stream goes through.
            head: Maps it to the logits.
            positions: What is added to the embedding of tokens; a model without it has no limit.
        """
        super().__init__()
        self.n_layers, self.d_model = len(blocks), embedding.embedding_dim
        self.vocab_size = embedding.num_embeddings
        self.context_limit = None if positions is None else positions.num_embeddings
        self.embedding, self.positions = embedding, positions
        self.layers = nn.ModuleList(blocks)
        self.norm, self.head = norm, head

    @property
    def blocks(self) -> Sequence[Block]:
        """Return the blocks in the order in which they run."""
        return list(self.layers)  # pyright: ignore[reportReturnType] - nn.ModuleList is untyped

    def forward(self, tokens_BT: Tensor) -> Tensor:
        """Return the logits of the next answer after every position, ``(B, T, C)``."""
        return self.resume(0, self.embed(tokens_BT))

    def logits_at(self, tokens_BT: Tensor, positions_BP: Tensor) -> Tensor:
        """Return the logits ``(B, P, C)`` at some positions of every example; there may be none."""
        stream_BTD = self._through(0, self.embed(tokens_BT))
        if self._all_fit(stream_BTD):
            return logits.at_positions(self.readout(stream_BTD), positions_BP)
        return self.readout(logits.at_positions(stream_BTD, positions_BP))

    def answer_logits(
        self, tokens_BT: Tensor, answers_A: Tensor, read_BT: Tensor | None = None
    ) -> Tensor:
        """Return the logits ``(B, T, A)`` of some tokens, those of all others block by block."""
        stream_BTD = self._through(0, self.embed(tokens_BT))
        if self._all_fit(stream_BTD):
            return self.readout(stream_BTD)[..., answers_A]
        return logits.of_answers(stream_BTD, self.readout, self.vocab_size, answers_A, read_BT)

    def embed(self, tokens_BT: Tensor, *, first: int = 0) -> Tensor:
        """Return the stream before the first block, ``(B, T, D)``, of positions ``first`` on.

        Raises:
            UsageError: There are more positions than the model accepts.
        """
        last = first + tokens_BT.shape[1]
        self._check_length(last)
        stream_BTD = self.embedding(tokens_BT)
        if self.positions is None:
            return stream_BTD
        return stream_BTD + self.positions.weight[first:last]

    def resume(self, layer: int, stream_BTD: Tensor) -> Tensor:
        """Run the blocks from ``layer`` on and read out, from the stream that enters that block."""
        return self.readout(self._through(layer, stream_BTD))

    def readout(self, stream_BTD: Tensor) -> Tensor:
        """Return the logits ``(B, T, C)`` of the stream after the last block."""
        return self.head(self.norm(stream_BTD))

    def taps(self) -> dict[Site, Tap]:
        """Return every site: the stream around each block, its parts, and the mixer's own."""
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
            for component, tap in block.mixer.taps().items():
                found[Site(layer, component)] = replace(tap, path=f"{path}.mixer.{tap.path}")
        return found

    @property
    def streams(self) -> bool:
        """Return True: every mixer has a memory, or keeps its past."""
        return True

    def start(self, batch_size: int) -> Any:
        """Return the state before the first token: its position, and the state of every mixer."""
        return 0, ((),) * self.n_layers

    def step(self, tokens_B: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Read one token; return its logits ``(B, C)`` and a new state; keep the old one.

        Raises:
            UsageError: The token's position lies beyond what the model accepts.
        """
        logits_BTC, state = self.run(tokens_B[:, None], state)
        return logits_BTC[:, 0], state

    @property
    def exchanges(self) -> tuple[str, ...]:
        """Return both: every mixer has a state of its own, what is recent in front."""
        return "state", "cache"

    def exchanged(self, state: Any, donor: Any, layer: int, component: str) -> Any:
        """Return a state with that of one mixer taken from another."""
        (n_positions, own), (_, other) = state, donor
        n_kept = self.blocks[layer].mixer.n_recent if component == "state" else 0
        mixed = (*own[layer][:n_kept], *other[layer][n_kept:])
        return n_positions, (*own[:layer], mixed, *own[layer + 1 :])

    def run(self, tokens_BT: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Read tokens that follow a state; return their logits ``(B, T, C)`` and a new state.

        Raises:
            UsageError: A token's position lies beyond what the model accepts.
        """
        first, before = state
        stream_BTD, after = self.embed(tokens_BT, first=first), []
        for block, mixer_state in zip(self.blocks, before, strict=True):
            stream_BTD, mixer_state = block.run(stream_BTD, mixer_state)
            after.append(mixer_state)
        self._note_kernels()
        return self.readout(stream_BTD), (first + tokens_BT.shape[1], tuple(after))

    def decomposition(self) -> Decomposition:
        """Return the model in parts."""

        def readout(stream_BD: Tensor, tokens_BA: Tensor | None) -> Tensor:
            normed_BD = self.norm(stream_BD)
            if tokens_BA is None:
                return self.head(normed_BD)
            return chosen_logits(normed_BD, tokens_BA, self.head.weight)

        return Decomposition(tuple(block.decomposition() for block in self.blocks), readout)

    def _through(self, layer: int, stream_BTD: Tensor) -> Tensor:
        for block in self.blocks[layer:]:
            stream_BTD = block(stream_BTD)
        self._note_kernels()
        return stream_BTD

    def _all_fit(self, stream_BTD: Tensor) -> bool:
        n_rows = stream_BTD.shape[:2].numel()
        return logits.fit(n_rows, self.vocab_size, stream_BTD.element_size())

    def _check_length(self, n_positions: int) -> None:
        if self.context_limit is not None and n_positions > self.context_limit:
            raise UsageError(
                f"This model has learned positions for {self.context_limit} tokens, and was given "
                f"{n_positions}. Set context={n_positions}, or other positions than learned ones."
            )

    def _note_kernels(self) -> None:
        self.kernels = tuple(
            dict.fromkeys(name for block in self.blocks for name in block.mixer.kernels)
        )
