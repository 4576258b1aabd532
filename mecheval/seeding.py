"""Named random streams drawn from one seed; there is no global random state.

``stream(seed, "pairs")`` and ``stream(seed, "probe_split")`` are independent, so that adding a
consumer of randomness never moves another one's numbers.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch

STREAMS = ("init", "train_data", "validation_data", "test_data", "pairs", "probe_data", "bootstrap")
"""The purposes that every report lists."""


def derive(seed: int, *names: str | int) -> int:
    """Derive a 63-bit seed for one purpose.

    Args:
        seed: The seed of the cell.
        names: The purpose, such as ``("train_data", 3)``; any sequence of words and numbers.
    """
    text = "/".join([str(seed), *map(str, names)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def stream(seed: int, *names: str | int) -> np.random.Generator:
    """Return the NumPy generator of one purpose; see :func:`derive`."""
    return np.random.default_rng(derive(seed, *names))


def torch_stream(seed: int, *names: str | int) -> torch.Generator:
    """Return the torch generator (on the CPU) of one purpose; see :func:`derive`."""
    import torch

    generator = torch.Generator()
    generator.manual_seed(derive(seed, *names))
    return generator


def listed(seed: int) -> dict[str, int]:
    """Return the derived seed of every purpose in :data:`STREAMS`, as reports list them."""
    return {name: derive(seed, name) for name in STREAMS}
