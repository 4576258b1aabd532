"""Models that nobody made for this package: plain modules from tokens to logits."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

if TYPE_CHECKING:
    from collections.abc import Callable

WIDTH, VOCABULARY = 24, 13


class Recurrent(nn.Module):
    """Embedding, GRUs, norm, head; the blocks in a list or as attributes."""

    def __init__(self, in_list: bool, residual: bool = False) -> None:
        super().__init__()
        layers = [nn.GRU(WIDTH, WIDTH, batch_first=True) for _ in range(3)]
        self.in_list = in_list
        self.embedding = nn.Embedding(VOCABULARY, WIDTH)
        if in_list:
            self.layers = nn.ModuleList(layers)
        else:
            self.first, self.second, self.third = layers
        self.norm, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, VOCABULARY)
        self.residual = residual

    def forward(self, tokens_BT: Tensor) -> Tensor:
        x_BTD = self.embedding(tokens_BT)
        layers = self.layers if self.in_list else (self.first, self.second, self.third)
        for layer in layers:
            x_BTD = layer(x_BTD)[0] + (x_BTD if self.residual else 0)
        return self.head(self.norm(x_BTD))


class Attention(nn.Module):
    """An encoder of torch with a causal mask and learned positions."""

    def __init__(self, norm_first: bool) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(WIDTH, 4, 48, batch_first=True, norm_first=norm_first)
        self.tokens, self.positions = nn.Embedding(VOCABULARY, WIDTH), nn.Embedding(40, WIDTH)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(WIDTH, VOCABULARY)

    def forward(self, tokens_BT: Tensor) -> Tensor:
        n = tokens_BT.shape[1]
        mask_TT = nn.Transformer.generate_square_subsequent_mask(n)
        x_BTD = self.tokens(tokens_BT) + self.positions(torch.arange(n))
        return self.head(self.encoder(x_BTD, mask=mask_TT, is_causal=True))


class SharedMixer(nn.Module):
    """A model whose blocks share one recurrent network and have an MLP of their own each."""

    class Block(nn.Module):
        def __init__(self, mixer: nn.Module) -> None:
            super().__init__()
            self.mixer, self.norm = mixer, nn.LayerNorm(WIDTH)
            self.up, self.down = nn.Linear(WIDTH, 40), nn.Linear(40, WIDTH)

        def forward(self, x_BTD: Tensor) -> Tensor:
            x_BTD = x_BTD + self.mixer(self.norm(x_BTD))[0]
            return x_BTD + self.down(torch.relu(self.up(x_BTD)))

    def __init__(self) -> None:
        super().__init__()
        shared = nn.GRU(WIDTH, WIDTH, batch_first=True)
        self.embedding = nn.Embedding(VOCABULARY, WIDTH)
        self.blocks = nn.Sequential(self.Block(shared), self.Block(shared))
        self.head = nn.Linear(WIDTH, VOCABULARY)

    def forward(self, tokens_BT: Tensor) -> Tensor:
        return self.head(self.blocks(self.embedding(tokens_BT)))


class Normed(nn.Module):
    """A part behind a norm."""

    def __init__(self, part: nn.Module) -> None:
        super().__init__()
        self.norm, self.part = nn.LayerNorm(WIDTH), part

    def forward(self, x_BTD: Tensor) -> Tensor:
        written = self.part(self.norm(x_BTD))
        return written[0] if isinstance(written, tuple) else written


class Residual(nn.Module):
    """A part whose output is added to its input."""

    def __init__(self, part: nn.Module) -> None:
        super().__init__()
        self.part = part

    def forward(self, x_BTD: Tensor) -> Tensor:
        return x_BTD + self.part(x_BTD)


class Nested(nn.Module):
    """Blocks that are sequences of residual modules around normed parts."""

    def __init__(self) -> None:
        super().__init__()

        def block() -> nn.Module:
            mixer = nn.GRU(WIDTH, WIDTH, batch_first=True)
            mlp = nn.Sequential(nn.Linear(WIDTH, 40), nn.ReLU(), nn.Linear(40, WIDTH))
            return nn.Sequential(Residual(Normed(mixer)), Residual(Normed(mlp)))

        self.embedding = nn.Embedding(VOCABULARY, WIDTH)
        self.blocks = nn.ModuleList([block(), block()])
        self.head = nn.Linear(WIDTH, VOCABULARY)

    def forward(self, tokens_BT: Tensor) -> Tensor:
        x_BTD = self.embedding(tokens_BT)
        for block in self.blocks:
            x_BTD = block(x_BTD)
        return self.head(x_BTD)


class Stacked(nn.Module):
    """Two blocks of one kind between an embedding and a head."""

    def __init__(self, block: Callable[[], nn.Module]) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, WIDTH)
        self.blocks = nn.ModuleList([block(), block()])
        self.head = nn.Linear(WIDTH, VOCABULARY)

    def forward(self, tokens_BT: Tensor) -> Tensor:
        x_BTD = self.embedding(tokens_BT)
        for block in self.blocks:
            x_BTD = block(x_BTD)
        return self.head(x_BTD)


class Side(nn.Module):
    """A mixer that adds a stream of its own to what it returns, or none."""

    def __init__(self, join: nn.Module | None = None) -> None:
        super().__init__()
        self.cell, self.join = nn.GRU(WIDTH, WIDTH, batch_first=True), join

    def forward(self, x_BTD: Tensor) -> Tensor:
        mixed_BTD = self.cell(x_BTD)[0]
        return mixed_BTD if self.join is None else self.join(mixed_BTD, x_BTD)


class NormedSum(nn.Module):
    """A norm of the sum of two streams."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(WIDTH)

    def forward(self, one_BTD: Tensor, other_BTD: Tensor) -> Tensor:
        return self.norm(one_BTD + other_BTD)


class OneMixer(nn.Module):
    """A block of a norm and a mixer."""

    def __init__(self, mixer: nn.Module | None = None) -> None:
        super().__init__()
        self.norm, self.mixer = nn.LayerNorm(WIDTH), mixer or Side()

    def forward(self, x_BTD: Tensor) -> Tensor:
        return x_BTD + self.mixer(self.norm(x_BTD))


class TwoMixers(OneMixer):
    """A block with a second mixer beside the first."""

    def __init__(self) -> None:
        super().__init__()
        self.second = Side()

    def forward(self, x_BTD: Tensor) -> Tensor:
        normed_BTD = self.norm(x_BTD)
        return x_BTD + self.mixer(normed_BTD) + self.second(normed_BTD)


class Projected(OneMixer):
    """A block that projects its mixer's output itself."""

    def __init__(self) -> None:
        super().__init__()
        self.out = nn.Linear(WIDTH, WIDTH)

    def forward(self, x_BTD: Tensor) -> Tensor:
        return x_BTD + self.out(self.mixer(self.norm(x_BTD)))


class Adding(nn.Module):
    """A part that adds the stream to what it makes of its input: a mixer, or a feed-forward one."""

    def __init__(self, *, mixing: bool) -> None:
        super().__init__()
        self.first = Side() if mixing else nn.Linear(WIDTH, WIDTH)
        self.out = nn.Linear(WIDTH, WIDTH)

    def forward(self, normed_BTD: Tensor, stream_BTD: Tensor) -> Tensor:
        return self.out(self.first(normed_BTD).tanh()) + stream_BTD


class AddsInside(nn.Module):
    """A block whose parts add the residual stream themselves."""

    def __init__(self) -> None:
        super().__init__()
        self.norms = nn.ModuleList([nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)])
        self.mixer, self.feed = Adding(mixing=True), Adding(mixing=False)

    def forward(self, x_BTD: Tensor) -> Tensor:
        x_BTD = self.mixer(self.norms[0](x_BTD), x_BTD)
        return self.feed(self.norms[1](x_BTD), x_BTD)


class GatedAttention(nn.Module):
    """Attention by the function of transformers; what the heads read is gated before it goes on."""

    is_causal = True

    def __init__(self) -> None:
        super().__init__()
        self.config = SimpleNamespace(_attn_implementation="sdpa")
        self.q, self.k, self.v, self.gate, self.out = (nn.Linear(WIDTH, WIDTH) for _ in range(5))

    def forward(self, x_BTD: Tensor) -> Tensor:
        projected = (part(x_BTD) for part in (self.q, self.k, self.v))
        heads = (part_BTD.unflatten(-1, (4, -1)).transpose(1, 2) for part_BTD in projected)
        read_BTHK, _ = ALL_ATTENTION_FUNCTIONS["sdpa"](self, *heads, None, scaling=0.5)
        return self.out(self.gate(x_BTD).sigmoid() * read_BTHK.flatten(2))
