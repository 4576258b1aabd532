"""Induction by two layers of attention: a previous-token head, and one that matches and copies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, cast

from mecheval.models.stack.basis import Basis, wire
from mecheval.models.stack.planted import Blueprint, Turnable, planted

from ...task_registry.ar import AssociativeRecall
from ..transformer import Attention
from .parts import plant_copy, plant_head

if TYPE_CHECKING:
    from torch import nn

    from mecheval.models.stack.residual import ResidualStack
    from mecheval.tasks import Task

GAIN = 10.0  # logit of a value that is copied whole
WIDEST = 1024  # a wider stream takes too long to be of use


@planted(
    name="induction",
    reference="Olsson et al. 2022, arXiv:2209.11895 (the circuit)",
    architecture="attention",
)
@dataclass(frozen=True, kw_only=True)
class Induction(Turnable[AssociativeRecall]):
    """Associative recall by induction: attention copies keys to their values, then matches them.

    Construction: the stream is [key | value | position | previous | answer], with one-hots for
    tokens and positions. The head of layer 0 asks for the position before its own and copies the
    key that stands there into ``previous``, so that every value knows its key. The head of layer 1
    asks with the key of a query for the position with that key in ``previous``, and copies the
    value there into ``answer``, which the readout multiplies by 10.

    Known values: accuracy 1. The memory of layer 0 takes up a key at its own position (write offset
    0) and a value never to any effect; the memory of layer 1 takes up the key one position later,
    at its value (+1), and the value at its own position (0). With a value exchanged, all of the
    difference stands at its position before layer 1, and at the query after it. ``bound`` can be
    read at the query after layer 1 alone, ``key`` at a value from layer 1 on.
    Attention from a value to its key is 1 in layer 0, from a query to its value 1 in layer 1, and
    the path through both heads carries all of the difference that another key makes.

    Attributes:
        sharpness: Score of a match; below 10 attention leaks to other positions.
    """

    fits: ClassVar[tuple[type[Task], ...]] = (AssociativeRecall,)

    sharpness: float = 60.0

    def objection(self, task: AssociativeRecall) -> str | None:
        """Need queries by key, and a stream that is not too wide."""
        if task.query != "key" or self.basis(task).width > WIDEST:
            return "ar with query=key and a few hundred keys and values at most"
        return None

    def basis(self, task: AssociativeRecall) -> Basis:
        """Return what the dimensions of the stream stand for."""
        return Basis(
            key=task.keys, value=task.values, position=_n_positions(task), previous=task.keys,
            answer=task.values,
        )  # fmt: skip

    def blueprint(self, task: AssociativeRecall) -> Blueprint:
        """Return two layers of attention, with an embedding for every position of the tests."""
        width = self.basis(task).width

        def attention() -> Attention:
            return Attention(width, 1, rotary=False, scale=1.0)

        return Blueprint(
            layers=2, width=width, mixers=(attention, attention), context=_n_positions(task)
        )

    def plant(self, stack: ResidualStack, task: AssociativeRecall) -> None:
        """Set embeddings, the two heads, and the readout."""
        basis = self.basis(task)
        key, value, place = basis["key"], basis["value"], basis["position"]
        tokens = {side: slice(first, first + n) for side in ("key", "value")
                  for first, n in [task.side(side)]}  # fmt: skip
        for side, symbols in tokens.items():
            wire(stack.embedding.weight, symbols, basis[side])
        wire(cast("nn.Embedding", stack.positions).weight, slice(0, _n_positions(task)), place)
        first, second = (cast("Attention", block.mixer) for block in stack.blocks)
        before = slice(place.start, place.stop - 1), slice(place.start + 1, place.stop)
        plant_head(first, query=before, key=(place, place), score=self.sharpness)
        plant_copy(first, to=basis["previous"], source=key)
        plant_head(second, query=(key, key), key=(key, basis["previous"]), score=self.sharpness)
        plant_copy(second, to=basis["answer"], source=value)
        wire(stack.head.weight, tokens["value"], basis["answer"], GAIN)


def _n_positions(task: AssociativeRecall) -> int:
    return 1 + max(task.test_lengths.values())
