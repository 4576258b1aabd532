"""Induction by two parts: one hands every value its key, and one matches a key and copies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from mecheval.models.planted.basis import Basis
from mecheval.models.planted.planted import Blueprint, Turnable, planted

from ...task_registry.ar import AssociativeRecall
from ..mamba import Mamba, SelectiveStateSpace
from ..transformer import Attention
from .parts import plant_copy, plant_ends, plant_head, plant_shift

if TYPE_CHECKING:
    from torch import nn

    from mecheval.models.layers.mixer import Mixer
    from mecheval.models.stack.residual import ResidualStack

GAIN = 10.0  # logit of a value that is copied whole
WIDEST = 1024  # a wider stream takes too long to be of use
HALVES = ("none", "previous", "induction", "both")
TAPS = 4


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
    With more layers the two stand in the middle, and the others do nothing. With ``halves`` one of
    them, or both, is two parts in two layers, each of which copies one half of every number.

    Twin (``carrier=convolution``): the part that hands on the key is a layer of Mamba, whose short
    convolution has a single tap of 1 at lag 1, and whose state stays empty.

    Known values: accuracy 1. The memory of layer 0 takes up a key at its own position (write offset
    0) and a value never to any effect; the memory of layer 1 takes up the key one position later,
    at its value (+1), and the value at its own position (0). With a value exchanged, all of the
    difference stands at its position before layer 1, and at the query after it. ``bound`` can be
    read at the query after layer 1 alone, ``key`` at a value from layer 1 on.
    Attention from a value to its key is 1 in layer 0, from a query to its value 1 in layer 1, and
    the path through both heads carries all of the difference that another key makes.
    Whatever the arguments, key and value are bound by an earlier layer, by its mixer or, in the
    twin, by its convolution, and are retrieved by induction.

    Attributes:
        sharpness: Score of a match; below 10 attention leaks to other positions.
        layers: Number of layers.
        heads: Heads of every attention; only one of a layer does anything.
        halves: What is split over two layers: ``previous`` (what hands on the key), ``induction``
            (what matches and copies), ``both``, or ``none``.
        carrier: What hands on the key: ``attention`` or ``convolution``.
    """

    sharpness: float = 60.0
    layers: int = 2
    heads: int = 1
    halves: str = "none"
    carrier: str = "attention"

    def __post_init__(self) -> None:
        """Check the arguments."""
        self.check(self.halves in HALVES, f"halves among {', '.join(HALVES)}")
        self.check(self.carrier in ("attention", "convolution"), "carrier=attention or convolution")
        self.check(self.heads >= 1, "one head or more")
        self.check(self.layers >= self.n_parts, f"{self.n_parts} layers or more")

    @property
    def n_parts(self) -> int:
        """Return the number of layers that do something."""
        return len(self.shares("previous")) + len(self.shares("induction"))

    def shares(self, part: str) -> list[float]:
        """Return how much each layer of a part copies."""
        return [0.5, 0.5] if self.halves in (part, "both") else [1.0]

    @property
    def carriers(self) -> range:
        """Return the layers that hand on the key; those that match and copy stand behind them."""
        first = (self.layers - self.n_parts) // 2
        return range(first, first + len(self.shares("previous")))

    def objection(self, task: AssociativeRecall) -> str | None:
        """Need queries by key, and a stream that is not too wide."""
        if task.query != "key" or self.basis(task).width > WIDEST:
            return "ar with query=key and a few hundred keys and values at most"
        return None

    def basis(self, task: AssociativeRecall) -> Basis:
        """Return what the dimensions of the stream stand for; every head has room for positions."""
        places = _n_positions(task)
        named = 2 * task.keys + 2 * task.values + places
        widest = max(task.keys, task.values, places)
        room = 0 if self.heads == 1 else self.heads * max(widest, -(-named // self.heads)) - named
        return Basis(
            key=task.keys, value=task.values, position=places, previous=task.keys,
            answer=task.values, room=room,
        )  # fmt: skip

    def blueprint(self, task: AssociativeRecall) -> Blueprint:
        """Return the layers, with an embedding for every position of the tests."""
        width = self.basis(task).width

        def attention() -> Mixer:
            return Attention(width, self.heads, rotary=False, scale=1.0)

        def convolution() -> Mixer:
            return SelectiveStateSpace(
                Mamba(layers=1, width=width, expand=1, d_state=1, d_conv=TAPS)
            )

        carrier = attention if self.carrier == "attention" else convolution
        mixers = tuple(carrier if i in self.carriers else attention for i in range(self.layers))
        return Blueprint(layers=self.layers, width=width, mixers=mixers, context=_n_positions(task))

    def plant(self, stack: ResidualStack, task: AssociativeRecall) -> None:
        """Set embeddings, what hands on keys, what matches them and copies, and the readout."""
        basis = self.basis(task)
        key, value = basis["key"], basis["value"]
        plant_ends(stack, basis, task, gain=GAIN)
        for layer, share in zip(self.carriers, self.shares("previous"), strict=True):
            self._carry(stack.blocks[layer].mixer, basis, share)
        for layer, share in enumerate(self.shares("induction"), self.carriers.stop):
            mixer, head = cast("Attention", stack.blocks[layer].mixer), self.heads - 1
            match = (key, key), (key, basis["previous"])
            plant_head(mixer, query=match[0], key=match[1], score=self.sharpness, head=head)
            plant_copy(mixer, to=basis["answer"], source=value, share=share, head=head)

    def _carry(self, mixer: nn.Module, basis: Basis, share: float) -> None:
        """Let a layer hand the key of the position before to every position."""
        key, place, previous = basis["key"], basis["position"], basis["previous"]
        if isinstance(mixer, SelectiveStateSpace):
            plant_shift(mixer, to=previous, source=key, constant=place, share=share)
            return
        attention = cast("Attention", mixer)
        before = slice(place.start, place.stop - 1), slice(place.start + 1, place.stop)
        plant_head(attention, query=before, key=(place, place), score=self.sharpness)
        plant_copy(attention, to=previous, source=key, share=share)


def _n_positions(task: AssociativeRecall) -> int:
    return 1 + max(task.test_lengths.values())
