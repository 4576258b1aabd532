"""What decides how a dictionary is trained, beside its rows, its size and its seed."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Literal, get_args

from mecheval.errors import UsageError

Selection = Literal["topk", "batchtopk"]

_LEAST = {"n_rows": 1, "batch_size": 2, "warmup": 0, "dead_after": 1, "aux_weight": 0}
_FULL_RATE = 2e-3  # of Adam, for 1024 latents


@dataclass(frozen=True, kw_only=True)
class DictionaryRecipe:
    """How a dictionary is trained. Dictionaries are comparable under one recipe only.

    Attributes:
        selection: ``topk`` keeps the k largest latents of every row. ``batchtopk`` keeps the k B
            largest of every batch of B rows, and afterwards all that are above one threshold,
            which is set on training rows such that k of a row are, on average.
        n_rows: Rows to train on, at least one batch; data with fewer are gone through again, in
            another order.
        batch_size: Rows per step, or all where there are fewer.
        learning_rate: Of Adam; None is 2e-3 at 1024 latents, and goes with one over their root.
        warmup: Steps over which the rate rises; over the last fifth of all steps it falls to zero.
        dead_after: Rows without firing after which a latent is dead.
        aux_weight: Weight of how much of the residual dead latents leave unexplained (Gao et al.
            2024, arXiv:2406.04093, A.2); 0 to leave dead what is dead.

    Raises:
        UsageError: A field has a value that is not allowed.
    """

    selection: Selection = "topk"
    n_rows: int = 1_000_000
    batch_size: int = 4096
    learning_rate: float | None = None
    warmup: int = 20
    dead_after: int = 50_000
    aux_weight: float = 1 / 32

    def __post_init__(self) -> None:
        """Refuse what cannot be trained."""
        if self.selection not in get_args(Selection):
            raise UsageError(
                f"A dictionary cannot select by {self.selection!r}: choose 'topk' or 'batchtopk'."
            )
        for field in fields(self):
            value, least = getattr(self, field.name), _LEAST.get(field.name)
            whole = field.type == "int"
            if least is not None and not (_is_number(value, whole=whole) and value >= least):
                kind = "a whole number" if whole else "a number"
                raise UsageError(
                    f"{field.name} of a dictionary's recipe must be {kind} of at least {least}; "
                    f"got {value!r}."
                )
        rate = self.learning_rate
        if rate is not None and not (_is_number(rate, whole=False) and rate > 0):
            raise UsageError(
                f"learning_rate of a dictionary's recipe must be above 0, or None; got {rate!r}."
            )

    def rate(self, n_latents: int, step: int, n_steps: int) -> float:
        """Return the learning rate of a step, counted from 0."""
        full = self.learning_rate or _FULL_RATE * (1024 / n_latents) ** 0.5
        rising = (step + 1) / max(1, self.warmup)
        falling = (n_steps - step) / (n_steps / 5)
        return full * min(1.0, rising, falling)


def _is_number(value: object, *, whole: bool) -> bool:
    kinds = int if whole else (int, float)
    return isinstance(value, kinds) and not isinstance(value, bool) and math.isfinite(value)
