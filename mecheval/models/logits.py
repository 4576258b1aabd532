"""Logits where they are read, in blocks of rows, so that a large vocabulary fits into memory.

A row is one position of one example. As long as all logits of a pass are small they are made in one
product, of which the wanted ones are taken; larger ones are made and read block by block. A block
has never few rows: libraries of linear algebra have kernels of their own for products of up to
seven rows or so, which round in another way, and from there on a row's logits are the same bits
whichever rows stand beside it (measured for MKL on a CPU with AVX-512, with one and two threads).

Shape suffixes: ``B`` examples, ``T`` positions, ``N`` rows, ``D`` width of the stream, ``C``
vocabulary, ``A`` answer tokens, ``P`` positions at which logits are wanted, ``X`` what is read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import Tensor

    from mecheval.models.contract import SequenceModel

BYTES = 16 << 20
"""Bytes of logits that are made at once."""

FEWEST = 16
"""Rows of a block at least."""


def at_positions(value_BTX: Tensor, positions_BP: Tensor) -> Tensor:
    """Return some positions of every example, ``(B, P, X)``."""
    row_B1 = torch.arange(len(positions_BP), device=positions_BP.device)[:, None]
    return value_BTX[row_B1, positions_BP]


def fit(n_rows: int, vocab_size: int, element_size: int) -> bool:
    """Say whether all logits of some rows may exist at once."""
    return n_rows * vocab_size * element_size <= BYTES


def blocks(n_rows: int, vocab_size: int, element_size: int) -> Iterator[slice]:
    """Yield rows whose logits may exist at once, in blocks of about one size."""
    most = max(2 * FEWEST, BYTES // (vocab_size * element_size))
    n_blocks = -(-n_rows // most)
    for block in range(n_blocks):
        yield slice(n_rows * block // n_blocks, n_rows * (block + 1) // n_blocks)


def of_run(model: SequenceModel, tokens_BT: Tensor) -> Iterator[Tensor]:
    """Yield all logits of a run, at some positions after others, ``(B, P, C)`` at a time."""
    size = next(model.parameters()).element_size()
    if fit(tokens_BT.numel(), model.vocab_size, size):
        yield model(tokens_BT)
        return
    most = max(1, BYTES // (len(tokens_BT) * model.vocab_size * size))
    for positions_P in torch.arange(tokens_BT.shape[1], device=model.device).split(most):
        yield model.logits_at(tokens_BT, positions_P.expand(len(tokens_BT), -1))


def read(row_ND: Tensor, vocab_size: int, take: Callable[[Tensor, slice], Tensor]) -> Tensor:
    """Read logits block by block.

    Args:
        row_ND: What logits are made of, row by row.
        vocab_size: Number of logits that each row gets.
        take: Makes the logits of some rows, which it is given with their place, and returns what
            is read from them, ``(N, X)``.

    Returns:
        What was read, ``(N, X)``.
    """
    places = blocks(len(row_ND), vocab_size, row_ND.element_size())
    parts = [take(row_ND[place], place) for place in places]
    return torch.cat(parts) if parts else take(row_ND, slice(0))


def of_answers(
    stream_BTD: Tensor,
    readout: Callable[[Tensor], Tensor],
    vocab_size: int,
    answers_A: Tensor,
    read_BT: Tensor | None,
) -> Tensor:
    """Return the logits ``(B, T, A)`` of some tokens, made with those of all others.

    Args:
        stream_BTD: What logits are made of.
        readout: Makes all logits ``(1, N, C)`` of some rows ``(1, N, D)``.
        vocab_size: Number of logits C.
        answers_A: The tokens whose logits are wanted.
        read_BT: Where they are; zeros stand elsewhere. Everywhere if None.
    """
    everywhere_BT = stream_BTD.new_ones(stream_BTD.shape[:2], dtype=torch.bool)
    here_BT = everywhere_BT if read_BT is None else read_BT

    def take(row_ND: Tensor, _: slice) -> Tensor:
        return readout(row_ND[None])[0][:, answers_A]

    taken_NA = read(stream_BTD[here_BT], vocab_size, take)
    logits_BTA = taken_NA.new_zeros(*here_BT.shape, len(answers_A))
    logits_BTA[here_BT] = taken_NA
    return logits_BTA
