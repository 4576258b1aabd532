"""Two ways to one answer: half by direct retrieval, half by induction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from mecheval.models.planted.basis import Basis
from mecheval.models.planted.planted import Blueprint, Turnable, planted

from ...task_registry.ar import AssociativeRecall
from ..transformer import Attention
from .mamba_recall import plant_recall, recalling
from .parts import plant_copy, plant_ends, plant_head

if TYPE_CHECKING:
    from mecheval.models.stack.residual import ResidualStack

    from ..mamba import SelectiveStateSpace

SCORE = 60.0  # of a match, before the softmax


@planted(
    name="two-ways",
    reference="none (the parts of planted/mamba-recall and planted/induction)",
    architecture="hybrid",
)
@dataclass(frozen=True, kw_only=True)
class TwoWays(Turnable[AssociativeRecall]):
    """Associative recall of which a layer of Mamba does one half, and two of attention the other.

    Construction: the stream is that of ``planted/induction``. Layer 0 is the layer of
    ``planted/mamba-recall``, layers 1 and 2 are the heads of ``planted/induction``. Both copy half
    of a value's number into ``answer``, which the readout multiplies by ``gain``.

    Known values: accuracy 1. Retrieval is mixed: before layer 2 half of the answer is at the query,
    and the association stands at the value. Several things bind: the own convolution of layer 0 and
    the mixer of layer 1. With the gain of 10, one half is enough to give the answer; with a gain of
    5 neither is.

    Attributes:
        gain: Logit of a value that is copied by both.
    """

    gain: float = 10.0

    def __post_init__(self) -> None:
        """Check the gain."""
        self.check(self.gain > 0, "a gain above 0")

    def objection(self, task: AssociativeRecall) -> str | None:
        """Need queries by key, and a stream that is not too wide."""
        if task.query != "key" or self.basis(task).width > 512:
            return "ar with query=key and a few hundred keys and values at most"
        return None

    def basis(self, task: AssociativeRecall) -> Basis:
        """Return what the dimensions of the stream stand for."""
        places = 1 + max(task.test_lengths.values())
        return Basis(
            key=task.keys, value=task.values, position=places, previous=task.keys,
            answer=task.values,
        )  # fmt: skip

    def blueprint(self, task: AssociativeRecall) -> Blueprint:
        """Return a layer of Mamba and two of attention."""
        basis = self.basis(task)

        def attention() -> Attention:
            return Attention(basis.width, 1, rotary=False, scale=1.0)

        place = basis["position"]
        return Blueprint(
            layers=3, width=basis.width, context=place.stop - place.start,
            mixers=(lambda: recalling(basis.width, task), attention, attention),
        )  # fmt: skip

    def plant(self, stack: ResidualStack, task: AssociativeRecall) -> None:
        """Set embeddings, the three layers, and the readout."""
        basis = self.basis(task)
        key, value, place, previous, answer = (
            basis[group] for group in ("key", "value", "position", "previous", "answer")
        )
        plant_ends(stack, basis, task, gain=self.gain)
        direct, carrier, copier = (block.mixer for block in stack.blocks)
        plant_recall(cast("SelectiveStateSpace", direct), basis, constant=place, share=0.5)
        carrier, copier = cast("Attention", carrier), cast("Attention", copier)
        before = slice(place.start, place.stop - 1), slice(place.start + 1, place.stop)
        plant_head(carrier, query=before, key=(place, place), score=SCORE)
        plant_copy(carrier, to=previous, source=key)
        plant_head(copier, query=(key, key), key=(key, previous), score=SCORE)
        plant_copy(copier, to=answer, source=value, share=0.5)
