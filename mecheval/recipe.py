"""A training recipe: everything that decides how weights come about, as one value in the report."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from mecheval.errors import UsageError
from mecheval.later import deciding
from mecheval.spec import configured

if TYPE_CHECKING:
    from collections.abc import Mapping

PROTOCOL = 4
"""Raised when the package's own procedure changes the weights that a recipe leads to, or the
numbers of a cell."""

GatedOn = Literal["token", "last", "loss"]
GATED: Mapping[str, str] = {
    "token": "token accuracy",
    "last": "last-position accuracy",
    "loss": "held-out loss",
}
"""What a gate can be on, and what that is called."""

LATER: Mapping[str, Any] = {
    "gate_on": "token",
    "stop_length": 1,
    "patience": 0,
    "least_rise": 0.01,
    "margin": 0.02,
    "stop_loss": 0.0,
}
"""Fields that recipes did not have at first, at the values that leave the procedure as it was.

At these values they are no part of the canonical form, so that the keys of older cells and of
cached weights stay what they are. What stands here never changes, also where a default does.
"""


def whole(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a canonical form with those that it leaves out."""
    return {**LATER, **fields}


_TINY = math.ulp(0.0)
_COUNT, _AMOUNT = "a whole number of at least", "a number of at least 0"
_RANGES = {
    "lr": (_TINY, math.inf, "a number above 0"),
    "lr_vectors": (_TINY, math.inf, "a number above 0"),
    "clip": (_TINY, math.inf, "a number above 0"),
    "weight_decay": (0, math.inf, _AMOUNT),
    "stop_at": (0, math.inf, f"{_AMOUNT}, above 1 to stop at no accuracy"),
    "gate": (0, 1, "an accuracy from 0 to 1, as more is never reached"),
    "stop_loss": (0, math.inf, f"{_AMOUNT}, which is never reached"),
    "margin": (0, math.inf, f"{_AMOUNT}, in nats per token"),
    "warmup": (0, math.inf, f"{_COUNT} 0"),
    "steps": (0, math.inf, f"{_COUNT} 0"),
    "batch": (1, math.inf, f"{_COUNT} 1"),
    "check_every": (1, math.inf, f"{_COUNT} 1"),
    "stop_length": (1, math.inf, f"{_COUNT} 1"),
    "patience": (0, math.inf, f"{_COUNT} 0, which never ends a training"),
    "least_rise": (0, 1, "an accuracy from 0 to 1, as no more can be gained"),
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
        stop_at: Validation accuracy at which training stops; above 1 it never does.
        gate: Test accuracy at the training length below which the task counts as not learned; 0
            for weights that are measured in any case. What is below its floor without a model is
            not learned either.
        precision: Arithmetic of the forward and backward pass.
        gate_on: Of which accuracy ``gate`` and ``stop_at`` speak: ``token`` (all scored positions),
            ``last`` (the last one of each sequence), or ``task``, which is what the task declares.
            With ``loss`` the task is learned where the held-out loss is ``margin`` below its best
            floor, whatever gate there is but 0.
        stop_length: Length of the validation sequences, in multiples of the training length. A
            shortcut that fails on longer words does not end the training where this is 2.
        patience: Validations without a rise after which training ends; 0 for none.
        least_rise: How much better than all before it (of the same stage) the best of the last
            ``patience`` validation accuracies must be to count as a rise.
        margin: By how many nats per token the held-out loss must be below its best floor.
        stop_loss: Validation loss in nats per token at which training stops where the gate is on
            the loss, so that models are compared at one loss; 0 for none. Patience is of the loss
            then, and ``least_rise`` what it must fall by.
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
    gate_on: GatedOn | Literal["task"] = "task"
    stop_length: int = 1
    patience: int = 0
    least_rise: float = 0.01
    margin: float = 0.02
    stop_loss: float = 0.0

    def __post_init__(self) -> None:
        """Check names and ranges.

        Raises:
            UsageError: A field is out of range.
        """
        allowed = {
            "optimizer": ("adamw", "muon"),
            "schedule": ("constant", "cosine", "linear"),
            "precision": ("float32", "bfloat16"),
            "gate_on": (*GATED, "task"),
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

    def on(self, gate_on: GatedOn) -> Recipe:
        """Return the recipe as it is on a task, whose gate is on that accuracy by default."""
        return dataclasses.replace(self, gate_on=gate_on) if self.gate_on == "task" else self

    def fields(self) -> dict[str, Any]:
        """Return all fields as plain JSON values."""
        return json.loads(json.dumps(dataclasses.asdict(self)))

    def to_dict(self) -> dict[str, Any]:
        """Return the canonical form: the fields, but for those of :data:`LATER` that do nothing."""
        return deciding(self.fields(), LATER)

    @property
    def sha256(self) -> str:
        """Return the hash of the canonical form."""
        return hashlib.sha256(json.dumps(self.to_dict(), sort_keys=True).encode()).hexdigest()
