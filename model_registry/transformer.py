"""Transformer: causal softmax attention (Vaswani et al. 2017, arXiv:1706.03762), pre-norm.

Glossary (paper -> code): d_model -> width; h -> heads; d_k = d_v = width / heads; W^Q, W^K, W^V ->
``qkv`` (one matrix); W^O -> ``out``; FFN -> ``Mlp`` of width ``mlp_ratio * width``, with GELU
instead of ReLU; positional encoding -> ``positions``: rotary (Su et al. 2021, arXiv:2104.09864),
none (Kazemnejad et al. 2023, arXiv:2305.19466), or a learned table added to the embedding.
Differences from the paper: norms come before the parts and, in our own shell, have no parameters of
their own; there are no biases and no dropout.

Official implementation: https://github.com/tensorflow/tensor2tensor

Shape suffixes: ``B`` examples, ``T`` positions (``S`` those read from), ``D`` width, ``H`` heads,
``K`` width of a head.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from mecheval.models.contract import Tap
from mecheval.models.kernels.vmap_rules import folded
from mecheval.models.layers.key_values import KeyValueMixing
from mecheval.models.layers.linear import affine, projection
from mecheval.models.layers.mixer import Mixer
from mecheval.models.layouts import Columns
from mecheval.models.mixing import LAST, Edit, Only, Signals, State, at, unchanged
from mecheval.models.stack.architecture import Architecture, model
from mecheval.recipe import Recipe

ROPE_BASE = 10000.0


class Attention(KeyValueMixing, Mixer):
    """Every position reads the values of earlier positions, weighted by query-key products."""

    kernels = ("attention:scaled_dot_product",)

    def __init__(
        self, width: int, heads: int, *, rotary: bool, scale: float, bias: bool = False
    ) -> None:
        """Draw the weights; ``scale`` multiplies those of the output, ``bias`` gives it a bias."""
        super().__init__()
        self.heads, self.rotary = heads, rotary
        self.qkv = projection(width, 3 * width)
        self.out = (affine if bias else projection)(width, width, scale=scale)

    def project(self, normed_BTD: Tensor, state: State, *, edit: Edit = unchanged) -> Signals:
        """Return queries, keys and values, ``(B, T, H, K)`` each, turned if rotary."""
        parts = zip(("q", "k", "v"), self.qkv(normed_BTD).chunk(3, -1), strict=True)
        q_BTHK, k_BTHK, v_BTHK = (
            edit(name, value_BTD).unflatten(-1, (self.heads, -1)) for name, value_BTD in parts
        )
        if self.rotary:
            first = state[0].shape[1] if state else 0
            q_BTHK, k_BTHK = rotate(torch.stack([q_BTHK, k_BTHK], 2), first).unbind(2)
        return {"q": q_BTHK, "k": k_BTHK, "v": v_BTHK}

    def attend(self, q_BTHK: Tensor, keys_BSHK: Tensor, values_BSHK: Tensor, only: Only) -> Tensor:
        """Weigh values by the softmax over products of queries and keys."""
        return attend(q_BTHK, keys_BSHK, values_BSHK, only=only).flatten(2)

    def taps(self) -> dict[str, Tap]:
        """Return queries, keys and values, and what the heads read."""
        width = self.out.in_features
        found = {"z": Tap(self.out, "input", "out", width)}
        for i, name in enumerate(("q", "k", "v")):
            columns = Columns(tuple(range(i * width, (i + 1) * width)))
            found[name] = Tap(self.qkv, "output", "qkv", width, columns)
        return found


def attend(q_BTHK: Tensor, keys_BSHK: Tensor, values_BSHK: Tensor, *, only: Only = None) -> Tensor:
    """Return what the last positions read from all, ``(B, T, H, K)``."""
    q_BHTK, k_BHSK, v_BHSK = (x.transpose(1, 2) for x in (q_BTHK, keys_BSHK, values_BSHK))
    n, total = q_BTHK.shape[1], keys_BSHK.shape[1]
    if only is LAST:
        return functional.scaled_dot_product_attention(q_BHTK[:, :, -1:], k_BHSK, v_BHSK).transpose(
            1, 2
        )
    if only is None and n == total:
        causal = functools.partial(functional.scaled_dot_product_attention, is_causal=True)
        read_BHTK = folded(causal, q_BHTK, k_BHSK, v_BHSK)
        return read_BHTK.transpose(1, 2)
    if only is None:
        last_BT = torch.arange(total - n, total, device=q_BTHK.device)[None]
    else:
        q_BHTK = at(q_BTHK, only).transpose(1, 2)
        last_BT = (total - n + only.to(q_BTHK.device))[:, None]
    seen_BTS = torch.arange(total, device=q_BTHK.device) <= last_BT[..., None]
    read_BHTK = functional.scaled_dot_product_attention(
        q_BHTK, k_BHSK, v_BHSK, attn_mask=seen_BTS[:, None]
    )
    return read_BHTK.transpose(1, 2)


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
    """

    position_kinds: ClassVar[tuple[str, ...]] = ("rope", "none", "learned")
    later: ClassVar[frozenset[str]] = frozenset({"shell"})

    heads: int = 4
    positions: str = "rope"
    mlp_ratio: int = 4

    def __post_init__(self) -> None:
        """Check heads and positions."""
        super().__post_init__()
        self.check_heads(self.heads)
        self.check(
            self.positions != "rope" or self.width // self.heads % 2 == 0,
            "an even width per head for rotary positions",
        )

    def mixer(self, layer: int) -> Attention:
        """Build the attention of a layer."""
        return Attention(
            self.width, self.heads, rotary=self.positions == "rope", scale=self.residual_scale,
            bias=self.shell_of(layer).biases,
        )  # fmt: skip
