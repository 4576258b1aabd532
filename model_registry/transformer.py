"""Transformer: causal softmax attention (Vaswani et al. 2017, arXiv:1706.03762), pre-norm.

Glossary (paper -> code): d_model -> width; h -> heads; d_k = d_v = width / heads; W^Q, W^K, W^V ->
``qkv`` (one matrix); W^O -> ``out``; FFN -> ``Mlp`` of width ``mlp_ratio * width``, with GELU
instead of ReLU; positional encoding -> ``positions``: rotary (Su et al. 2021, arXiv:2104.09864),
none (Kazemnejad et al. 2023, arXiv:2305.19466), or a learned table added to the embedding.
Differences from the paper: norms come before the parts and have no parameters of their own; there
are no biases and no dropout.

Official implementation: https://github.com/tensorflow/tensor2tensor

Shape suffixes: ``B`` examples, ``T`` positions, ``D`` width, ``H`` heads, ``K`` width of a head.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from mecheval.models.stack.architecture import Architecture, model
from mecheval.models.stack.residual import Mixer, Mlp, projection
from mecheval.training.recipe import Recipe

POSITIONS = ("rope", "none", "learned")
ROPE_BASE = 10000.0

State = tuple[Tensor, Tensor]
"""Keys and values of all positions so far, each ``(B, T, H, K)``."""


class Attention(Mixer):
    """Every position reads the values of earlier positions, weighted by query-key products."""

    kernels = ("attention:scaled_dot_product",)

    def __init__(self, width: int, heads: int, *, rotary: bool, scale: float) -> None:
        """Draw the weights; ``scale`` multiplies those of the output."""
        super().__init__()
        self.heads, self.rotary = heads, rotary
        self.qkv = projection(width, 3 * width)
        self.out = projection(width, width, scale=scale)

    def mix(self, normed_BTD: Tensor) -> tuple[Tensor, State]:
        """Attend to the position itself and all earlier ones."""
        q_BTHK, k_BTHK, v_BTHK = self._project(normed_BTD, first=0)
        read_BHTK = functional.scaled_dot_product_attention(
            q_BTHK.transpose(1, 2), k_BTHK.transpose(1, 2), v_BTHK.transpose(1, 2), is_causal=True
        )
        return self.out(read_BHTK.transpose(1, 2).flatten(2)), (k_BTHK, v_BTHK)

    def start(self, batch_size: int) -> State:
        """Return no keys and no values."""
        width = self.out.weight.shape[0]
        none_BTHK = self.out.weight.new_zeros(batch_size, 0, self.heads, width // self.heads)
        return none_BTHK, none_BTHK

    def step(self, normed_BD: Tensor, state: State) -> tuple[Tensor, State]:
        """Add one key and value, and attend to all of them."""
        q_BTHK, k_BTHK, v_BTHK = self._project(normed_BD[:, None], first=state[0].shape[1])
        keys_BTHK, values_BTHK = torch.cat([state[0], k_BTHK], 1), torch.cat([state[1], v_BTHK], 1)
        read_BHTK = functional.scaled_dot_product_attention(
            q_BTHK.transpose(1, 2), keys_BTHK.transpose(1, 2), values_BTHK.transpose(1, 2)
        )
        return self.out(read_BHTK.flatten(1)), (keys_BTHK, values_BTHK)

    def _project(self, normed_BTD: Tensor, *, first: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return queries, keys and values of positions ``first`` on, turned if rotary."""
        qkv_BT3HK = self.qkv(normed_BTD).unflatten(-1, (3, self.heads, -1))
        qk_BT2HK, v_BTHK = qkv_BT3HK[:, :, :2], qkv_BT3HK[:, :, 2]
        if self.rotary:
            qk_BT2HK = rotate(qk_BT2HK, first)
        return qk_BT2HK[:, :, 0], qk_BT2HK[:, :, 1], v_BTHK


def rotate(x_BT2HK: Tensor, first: int) -> Tensor:
    """Turn each pair of neighbouring entries by an angle that grows with the position."""
    exact = x_BT2HK if x_BT2HK.dtype in (torch.float32, torch.float64) else x_BT2HK.float()
    pairs_BT2HK = torch.view_as_complex(exact.unflatten(-1, (-1, 2)))
    last = first + x_BT2HK.shape[1]
    turns_TK = _turns(_capacity(last), x_BT2HK.shape[-1], pairs_BT2HK.dtype, x_BT2HK.device)
    turned = torch.view_as_real(pairs_BT2HK * turns_TK[first:last, None, None])
    return turned.flatten(-2).to(x_BT2HK.dtype)


def _capacity(n_positions: int) -> int:
    return 1 << (n_positions - 1).bit_length()


@functools.lru_cache(maxsize=64)
def _turns(n_positions: int, width: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    # A table made in inference mode could not be used in training later on.
    with torch.inference_mode(False):
        rates_K = ROPE_BASE ** (-torch.arange(0, width, 2, dtype=torch.float64) / width)
        angles_TK = torch.arange(n_positions, dtype=torch.float64)[:, None] * rates_K
        return torch.polar(torch.ones_like(angles_TK), angles_TK).to(device, dtype)


@model(
    name="transformer",
    reference="Vaswani et al. 2017, arXiv:1706.03762",
    architecture="attention",
    sizes={"tiny": {"layers": 4, "width": 32}, "formal": {"layers": 4, "width": 128}},
    recipes={
        "tiny": Recipe(lr=3e-3, betas=(0.9, 0.999)),
        "formal": Recipe(lr=1e-3, betas=(0.9, 0.999), warmup=100, steps=5000),
    },
)
@dataclass(frozen=True, kw_only=True)
class Transformer(Architecture):
    """Causal softmax attention and a feed-forward part in every block.

    Attributes:
        heads: Number of attention heads.
        positions: How positions are told apart: ``rope``, ``none`` or ``learned``.
        context: Number of learned positions, BOS included; of no effect otherwise.
        mlp_ratio: Width of the feed-forward part relative to the stream.
    """

    heads: int = 4
    positions: str = "rope"
    context: int = 256
    mlp_ratio: int = 4

    def __post_init__(self) -> None:
        """Check heads and positions."""
        super().__post_init__()
        self.check(self.positions in POSITIONS, f"positions to be one of {', '.join(POSITIONS)}")
        self.check(self.heads >= 1 and self.width % self.heads == 0, "a width that heads divide")
        self.check(
            self.positions != "rope" or self.width // self.heads % 2 == 0,
            "an even width per head for rotary positions",
        )
        self.check(self.context >= 1 and self.mlp_ratio >= 1, "context and mlp_ratio of at least 1")

    @property
    def context_limit(self) -> int | None:
        """Return the number of learned positions."""
        return self.context if self.positions == "learned" else None

    def mixer(self, layer: int) -> Attention:
        """Build the attention of a layer."""
        return Attention(
            self.width, self.heads, rotary=self.positions == "rope", scale=self.residual_scale
        )

    def mlp(self, layer: int) -> nn.Module:
        """Build the feed-forward part of a layer."""
        return Mlp(self.width, self.mlp_ratio * self.width, scale=self.residual_scale)
