"""Whether parts do together what the whole did in a recorded run.

Shape suffixes: ``B`` examples, ``T`` positions, ``D`` width of the stream, ``E`` width of what is
given beside it, ``X`` both, ``R`` rows, ``A`` answer tokens, ``C`` vocabulary.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mecheval.models.mixing import LAST, at
from mecheval.models.tolerance import PARTS, ROUNDING
from mecheval.models.wrapped.recording.inseparable import Inseparable

if TYPE_CHECKING:
    from mecheval.models.decomposition import Layer
    from mecheval.models.mixing import State
    from mecheval.models.wrapped.decomposition.readout import RealReadout


def check_layer(
    layer: Layer,
    stream_BTD: Tensor,
    after_BTD: Tensor,
    *,
    dtype: torch.dtype,
    beside_BTE: Tensor | None = None,
) -> None:
    """Check a block's parts: on all positions, on the later half, and on single positions.

    Modules know ways of their own for one token. So where nothing is known of a mixer but what its
    module returns, one token also stands before the rest, and behind it. Where a mixer is run from
    the start, shorter runs must be the beginning of longer ones.

    Args:
        layer: The parts.
        stream_BTD: A stream before the block.
        after_BTD: The stream after it.
        dtype: The type of number that the block computes in.
        beside_BTE: What its mixer is given beside the stream.

    Raises:
        Inseparable: The parts do something else than the block.
    """
    mixing, n_positions = layer.mixing, stream_BTD.shape[1]
    entered_BTX = layer.entered(stream_BTD, beside_BTE)
    pairs = [(layer.run(stream_BTD, beside_BTE), after_BTD)]
    half = n_positions // 2
    remembered = mixing.advance(mixing.project(entered_BTX, ()), ())
    for first in (half, 1, n_positions - 1) if mixing.opaque else (half,):
        late_BTD, wanted_BTD = stream_BTD[:, first:], after_BTD[:, first:]
        early_BTX, late_BTX = entered_BTX[:, :first], entered_BTX[:, first:]
        state = mixing.advance(mixing.project(early_BTX, ()), ())
        signals = mixing.project(late_BTX, state)
        later_BTD, after = mixing.read(signals, state)
        _check_state(after, remembered, dtype=dtype)
        # Another position in every example, so that one that is off by one does not pass.
        only = torch.arange(len(stream_BTD), device=stream_BTD.device) % late_BTD.shape[1]
        single_B1D = mixing.output(signals, state, only=only)
        pairs += [
            (layer.leave(late_BTD, later_BTD), wanted_BTD),
            (layer.leave(at(late_BTD, only), single_B1D), at(wanted_BTD, only)),
        ]
        last_B1D = mixing.output_from(late_BTX, state, only=LAST)
        pairs.append((layer.leave(at(late_BTD, LAST), last_B1D), at(wanted_BTD, LAST)))
    # Relative to what the block adds: beside a large stream an error of its own would not show.
    added = float((after_BTD - stream_BTD).abs().max())
    for made_BTD, wanted_BTD in pairs:
        check_same(made_BTD, wanted_BTD, dtype=dtype, what="its parts", scale=added)
    if mixing.from_start:
        early_BTE = None if beside_BTE is None else beside_BTE[:, :half]
        shorter_BTD, wanted_BTD = layer.run(stream_BTD[:, :half], early_BTE), after_BTD[:, :half]
        check_same(shorter_BTD, wanted_BTD, dtype=dtype, what="shorter runs", scale=added)


def _check_state(made: State, wanted: State, *, dtype: torch.dtype) -> None:
    """Check what is remembered: of drawn weights, outputs can depend on it by less than rounding.

    Raises:
        Inseparable: It is another memory.
    """
    shapes = ([part.shape for part in state] for state in (made, wanted))
    if next(shapes) != next(shapes):
        return  # the same memory in another form
    for one, other in zip(made, wanted, strict=True):
        if other.is_floating_point() and other.numel():
            check_same(one, other, dtype=dtype, what="the memories of its parts")


def check_readout(
    readout: RealReadout, last_BTD: Tensor, logits_BTC: Tensor, *, dtype: torch.dtype
) -> None:
    """Check what follows the blocks, on all logits and on some.

    Raises:
        Inseparable: It does something else than the model, or the head has no weight per token.
    """
    stream_RD, logits_RC = last_BTD.flatten(0, 1), logits_BTC.flatten(0, 1)
    # Other tokens in every row, so that exchanged rows or columns do not pass.
    rows_R1 = torch.arange(len(stream_RD), device=stream_RD.device)[:, None]
    tokens_RA = torch.cat([rows_R1, 2 * rows_R1], 1) % logits_RC.shape[1]
    check_same(readout(stream_RD), logits_RC, dtype=dtype, what="norm and head")
    some_RA = logits_RC.gather(1, tokens_RA)
    check_same(readout(stream_RD, tokens_RA), some_RA, dtype=dtype, what="the head's rows")


def check_same(
    made: Tensor, wanted: Tensor, *, dtype: torch.dtype, what: str, scale: float | None = None
) -> None:
    """Check numbers against the model's own.

    Args:
        made: What was computed in parts.
        wanted: What the model computed.
        dtype: The type of number that it was computed in.
        what: What computed it, for the reason.
        scale: What differences are relative to; the largest number if None.

    Raises:
        Inseparable: They are others.
    """
    if made.shape != wanted.shape:
        raise Inseparable(f"{what} return {tuple(made.shape)}, not {tuple(wanted.shape)}")
    largest = float(wanted.abs().max())
    scale = largest if scale is None else scale
    difference = float((made.double() - wanted.double()).abs().max())
    # What a block adds can be less than the rounding of the sum with the stream.
    limit = PARTS.of(dtype) * scale + ROUNDING * torch.finfo(dtype).eps * largest
    if not difference <= limit:
        raise Inseparable(f"{what} are off by {difference / scale:.1e}")
