"""Attention weights of any mixer that attends, read off its own outputs.

What a head reads is linear in the values. With values that are one-hot in their position, what it
reads are its weights: with the mixer's own scale, mask, shared keys or feature map, whatever it is.

Shape suffixes: ``B`` runs, ``T`` positions (``S`` those read from), ``H`` heads, ``V`` width of a
value.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from mecheval.models.mixing import Edit, Mixing, Only, Signals

_ROUNDING = 1e-2


def heads_of(mixing: Mixing, signals: Signals) -> int:
    """Return the number of heads whose outputs lie side by side; 0 for a mixer without heads.

    Args:
        mixing: The mixer.
        signals: Signals of some positions.
    """
    q_BTHK, v_BTHV = signals.get("q"), signals.get("v")
    if q_BTHK is None or v_BTHV is None or q_BTHK.dim() != 4 or v_BTHV.dim() != 4:
        return 0
    return q_BTHK.shape[2]


def read_by_heads(
    mixing: Mixing, signals: Signals, *, only: Only = None, edit: Edit | None = None
) -> tuple[Tensor, Tensor]:
    """Read from all positions at once, and look at what the heads read.

    Args:
        mixing: A mixer with heads.
        signals: Signals of a whole sequence.
        only: One position per run at which the output is wanted.
        edit: What to go on with in the place of what the heads read.

    Returns:
        The mixer's output ``(B, T, D)``, and what the heads read ``(B, T, H V)``, before the edit.

    Raises:
        LookupError: The mixer does not show what its heads read.
    """
    seen: list[Tensor] = []

    def see(component: str, value_BTX: Tensor) -> Tensor:
        if component != "z":
            return value_BTX
        seen.append(value_BTX)
        return value_BTX if edit is None else edit(component, value_BTX)

    output_BTD = mixing.output(signals, (), only=only, edit=see)
    if len(seen) != 1:
        raise LookupError(f"{type(mixing).__name__} does not show what its heads read.")
    return output_BTD, seen[0]


def attention_weights(mixing: Mixing, signals: Signals) -> Tensor | None:
    """Return how much every head reads from every position, ``(B, H, T, S)``.

    Args:
        mixing: The mixer.
        signals: Its signals at all positions of some runs.

    Returns:
        None for a mixer that does not attend: without heads, or whose heads do not read a mean of
        values with weights of at least 0 that add up to 1 (or less, with a sink): linear attention
        whose outputs are normed is none, with a normaliser it is.
    """
    heads = heads_of(mixing, signals)
    if not heads:
        return None
    v_BTHV = signals["v"]
    n_positions, width = v_BTHV.shape[1], v_BTHV.shape[3]
    parts = []
    for first in range(0, n_positions, width):
        read_from = torch.arange(first, min(first + width, n_positions), device=v_BTHV.device)
        shown_BTHV = torch.zeros_like(v_BTHV)
        shown_BTHV[:, read_from, :, read_from - first] = 1.0
        try:
            _, read_BTX = read_by_heads(mixing, {**signals, "v": shown_BTHV})
        except LookupError:
            return None
        read_BTHV = read_BTX.unflatten(-1, (heads, -1))
        if read_BTHV.shape[-1] != width:
            return None
        parts.append(read_BTHV[..., : len(read_from)])
    weights_BHTS = torch.cat(parts, -1).transpose(1, 2)
    total_BHT = weights_BHTS.sum(-1)
    means = weights_BHTS.min() >= -_ROUNDING and total_BHT.max() <= 1 + _ROUNDING
    return weights_BHTS if means else None


def uniform_attention(mixing: Mixing, signals: Signals) -> Tensor:
    """Return the weights of heads that read as much from every position that they can see.

    What a head can see is what it reads from with queries and keys of zeros, which tell no two
    positions apart: all up to its own, but for those that a window hides. What a sink takes is
    counted as read.

    Args:
        mixing: A mixer that attends.
        signals: Its signals at all positions of some runs.

    Returns:
        ``(1, H, T, S)``, because masks are the same in all runs. With all positions up to the
        head's own for a mixer that reads nothing with zeros, such as the square of a product.
    """
    one_run = {name: value_BTX[:1] for name, value_BTX in signals.items()}
    alike = {name: torch.zeros_like(one_run[name]) for name in ("q", "k")}
    weights_1HTS = attention_weights(mixing, {**one_run, **alike})
    if weights_1HTS is None:
        n_positions, heads = signals["v"].shape[1], heads_of(mixing, signals)
        weights_1HTS = signals["v"].new_ones(1, heads, n_positions, n_positions).tril()
    seen_1HTS = (weights_1HTS > 0).to(weights_1HTS)
    return seen_1HTS / seen_1HTS.sum(-1, keepdim=True)


def head_weights(
    weights_BHTS: Tensor, *, key_B: Tensor, value_B: Tensor, readout_B: Tensor
) -> dict[str, Tensor]:
    """Return the mean weights that name a head, ``(B, H)`` each.

    Args:
        weights_BHTS: Attention weights.
        key_B: Position of a key.
        value_B: Position of its value.
        readout_B: Position of the query.

    Returns:
        ``value_to_key``: from the value to its key. ``previous_token``: from every position up to
        the query to the one before it. ``induction``: from the query to the value.
    """
    row_B = torch.arange(len(weights_BHTS), device=weights_BHTS.device)
    position_T = torch.arange(1, weights_BHTS.shape[2], device=weights_BHTS.device)
    before_BHT = weights_BHTS.diagonal(-1, 2, 3)
    counted_B1T = (position_T <= readout_B[:, None])[:, None].to(before_BHT)
    return {
        "value_to_key": weights_BHTS[row_B, :, value_B, key_B],
        "previous_token": (before_BHT * counted_B1T).sum(-1) / counted_B1T.sum(-1),
        "induction": weights_BHTS[row_B, :, readout_B, value_B],
    }
