"""Whether what a layer remembers is of one size at every position, or grows with the prefix."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from mecheval.errors import UsageError

if TYPE_CHECKING:
    from mecheval.metrics.subject import Subject


def of_one_size(subject: Subject, tokens_BT: np.ndarray) -> np.ndarray | str:
    """Say of every layer whether its memory is of one size, ``(n,)``; or why that is not known.

    What is of one size is carried from position to position; what grows, such as keys and values of
    attention, keeps every position apart.

    Args:
        subject: The model.
        tokens_BT: Token ids; the first run is looked at, at half of its length and at its end.
    """
    run_1T = torch.as_tensor(tokens_BT[:1], device=subject.model.device)
    last = run_1T.shape[1] - 1
    try:
        shapes = [
            [
                [part.shape for part in subject.model.state(run_1T, layer, position).parts.values()]
                for position in (last // 2, last)
            ]
            for layer in range(subject.model.n_layers)
        ]
    except UsageError as error:  # it does not come apart: that is said, and no verdict rests on it
        return str(error)
    return np.array([early == late for early, late in shapes])
