"""Matrices, tables and the feed-forward part, and how their weights are drawn.

Shape suffixes: ``B`` examples, ``T`` positions, ``D`` residual width.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, TypeGuard

import torch
from torch import nn
from torch.nn import functional

if TYPE_CHECKING:
    from torch import Tensor

READING, WRITING = ("qkv", "in_proj", "up", "head"), ("out", "out_proj", "down")
"""Names of matrices that read the residual stream, and of those that write to it."""

_FORWARD = nn.Linear.forward


class Mlp(nn.Module):
    """The feed-forward part of a Transformer: two matrices with a GELU between them."""

    def __init__(self, width: int, hidden: int, *, scale: float, bias: bool = False) -> None:
        """Draw the weights; ``scale`` multiplies those of the output; biases start at 0."""
        super().__init__()
        draw = affine if bias else projection
        self.up = draw(width, hidden)
        self.down = draw(hidden, width, scale=scale)

    def forward(self, normed_BTD: Tensor) -> Tensor:
        """Work on every position alone."""
        return self.down(functional.gelu(self.up(normed_BTD)))


def projection(n_in: int, n_out: int, *, scale: float = 1.0) -> nn.Linear:
    """Return a matrix without bias, its weights drawn from N(0, scale^2 / n_in)."""
    linear = nn.Linear(n_in, n_out, bias=False, device="meta")  # which draws nothing
    linear.weight = nn.Parameter(torch.empty(n_out, n_in))
    nn.init.normal_(linear.weight, std=scale / math.sqrt(n_in))
    return linear


def affine(n_in: int, n_out: int, *, scale: float = 1.0) -> nn.Linear:
    """Return a matrix drawn as by :func:`projection`, with a bias that starts at 0."""
    linear = projection(n_in, n_out, scale=scale)
    linear.bias = nn.Parameter(linear.weight.new_zeros(n_out))
    return linear


def some_columns(linear: nn.Module, x_BTD: Tensor, columns: slice) -> Tensor:
    """Return some columns of what a matrix makes, without making the others where it is plain.

    One that is hooked, by itself or as all modules are, quantised or has an adapter is called as it
    is.
    """
    if not _is_plain(linear):
        return linear(x_BTD)[..., columns]
    bias = None if linear.bias is None else linear.bias[columns]
    return functional.linear(x_BTD, linear.weight[columns], bias)


def _is_plain(linear: nn.Module) -> TypeGuard[nn.Linear]:
    own = vars(linear)
    if type(linear) is not nn.Linear or type(linear.weight) is not nn.Parameter:
        return False
    hooked = any(own.get(name) for name in ("_forward_hooks", "_forward_pre_hooks", "forward"))
    everywhere = nn.Linear.forward is not _FORWARD or nn.modules.module._has_any_global_hook()
    return not (hooked or everywhere)


def table(entries: int, width: int, std: float) -> nn.Embedding:
    """Return embeddings drawn from N(0, std^2)."""
    embedding = nn.Embedding(entries, width, _weight=torch.empty(entries, width))
    nn.init.normal_(embedding.weight, std=std)
    return embedding
