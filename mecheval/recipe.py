"""A training recipe: everything that decides how weights come about, as one value in the report."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from mecheval.errors import UsageError
from mecheval.spec import configured

if TYPE_CHECKING:
    from collections.abc import Mapping

PROTOCOL = 4
"""Raised when the package's own procedure changes the weights that a recipe leads to, or the
numbers of a cell."""


_TINY = math.ulp(0.0)
_COUNT, _AMOUNT = "a whole number of at least", "a number of at least 0"
_RANGES = {
    "lr": (_TINY, math.inf, "a number above 0"),
    "lr_vectors": (_TINY, math.inf, "a number above 0"),
    "clip": (_TINY, math.inf, "a number above 0"),
    "weight_decay": (0, math.inf, _AMOUNT),
    "stop_at": (0, math.inf, f"{_AMOUNT}, above 1 to stop at no accuracy"),
    "gate": (0, 1, "an accuracy from 0 to 1, as more is never reached"),
    "warmup": (0, math.inf, f"{_COUNT} 0"),
    "steps": (0, math.inf, f"{_COUNT} 0"),
    "batch": (1, math.inf, f"{_COUNT} 1"),
    "check_every": (1, math.inf, f"{_COUNT} 1"),
}
"""Least and greatest value of a field, and both in words."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a model is trained on a task.

    Attributes:
        optimizer: ``adamw``, or ``muon`` for hidden matrices with AdamW for the rest.
        lr: Peak learning rate.
        lr_vectors: Learning rate of embeddings, head and vectors under ``muon``.
        betas: AdamW's decay rates, as (first, second moment).
        weight_decay: Decoupled weight decay of matrices.
        schedule: Shape of the learning rate after the warm-up, over ``steps``.
        warmup: Steps of linear warm-up.
        clip: Largest gradient norm.
        batch: Sequences per step.
        steps: Most steps.
        curriculum: Lengths of the training sequences as shares of the task's range, one per
            stage; a stage ends when its validation accuracy passes ``stop_at``.
        check_every: Steps between two validations.
        stop_at: Validation token accuracy at which training stops; above 1 it never does.
        gate: Test token accuracy below which the task counts as not learned; 0 for weights that
            are measured in any case.
        precision: Arithmetic of the forward and backward pass.
    """

    optimizer: Literal["adamw", "muon"] = "adamw"
    lr: float = 3e-3
    lr_vectors: float = 3e-3
    betas: tuple[float, float] = (0.9, 0.98)
    weight_decay: float = 0.0
    schedule: Literal["constant", "cosine", "linear"] = "constant"
    warmup: int = 30
    clip: float = 1.0
    batch: int = 32
    steps: int = 3000
    curriculum: tuple[float, ...] = (1.0,)
    check_every: int = 50
    stop_at: float = 0.995
    gate: float = 0.99
    precision: Literal["float32", "bfloat16"] = "float32"

    def __post_init__(self) -> None:
        """Check names and ranges.

        Raises:
            UsageError: A field is out of range.
        """
        allowed = {
            "optimizer": ("adamw", "muon"),
            "schedule": ("constant", "cosine", "linear"),
            "precision": ("float32", "bfloat16"),
        }
        for name, choices in allowed.items():
            if getattr(self, name) not in choices:
                raise UsageError(
                    f"Recipe has {name}={getattr(self, name)!r}; "
                    f"choose one of {', '.join(choices)}."
                )
        for name, (least, most, in_words) in _RANGES.items():
            value = getattr(self, name)
            if not least <= value <= most:
                raise UsageError(f"Recipe has {name}={value!r}; give {in_words}.")
        if len(self.betas) != 2 or not all(0 <= beta < 1 for beta in self.betas):
            raise UsageError(
                f"Recipe has betas={list(self.betas)}; give two of at least 0 and below 1."
            )
        if not self.curriculum or not all(0 <= share <= 1 for share in self.curriculum):
            raise UsageError(
                f"Recipe has curriculum={list(self.curriculum)}; give shares from 0 to 1."
            )

    def replace(self, args: Mapping[str, Any]) -> Recipe:
        """Return the recipe with some fields replaced, as ``--recipe lr=3e-3,steps=500`` asks.

        Raises:
            UsageError: A field is unknown or has the wrong type.
        """
        return configured(
            Recipe,
            {**dataclasses.asdict(self), **args},
            what="recipe",
            see="`mecheval show model NAME`",
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain JSON values."""
        return json.loads(json.dumps(dataclasses.asdict(self)))

    @property
    def sha256(self) -> str:
        """Return the hash of the canonical JSON."""
        return hashlib.sha256(json.dumps(self.to_dict(), sort_keys=True).encode()).hexdigest()
