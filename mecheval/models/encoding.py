"""How the symbols of a task become the token ids of a model.

Shape suffix: ``C`` vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mecheval.errors import UsageError

if TYPE_CHECKING:
    from mecheval.tasks import Task


@dataclass(frozen=True)
class Encoding:
    """How a task's symbols become a model's token ids.

    Attributes:
        code_C: Token id of every symbol of the task, in the task's order.
        vocab_size: Number of token ids that the model must have.
        added: Symbols that became new tokens of a pretrained vocabulary.
    """

    code_C: np.ndarray
    vocab_size: int
    added: tuple[str, ...] = ()


def own_codes(task: Task, *, vocab_size: int, name: str) -> Encoding:
    """Let every symbol be the token id of its index, for weights that know no text.

    Raises:
        UsageError: The task has more symbols than the model has token ids.
    """
    n_symbols = len(task.symbols)
    if n_symbols > vocab_size:
        raise UsageError(
            f"Task '{task.card.name}' has {n_symbols} symbols, but '{name}' has only {vocab_size} "
            "token ids. Give the model a larger vocabulary."
        )
    return Encoding(code_C=np.arange(n_symbols), vocab_size=vocab_size)
