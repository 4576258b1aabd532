"""Products in a group by an LSTM whose units are the pairs of a state and a symbol.

Shape suffixes: ``G`` elements of the group, ``D`` residual width.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np

from mecheval.models.planted.basis import DISTRACTION, Basis, distract, wire
from mecheval.models.planted.planted import Blueprint, Planted, planted

from ...task_registry.group import GroupProduct
from ...task_registry.parity import Parity
from ...task_registry.s3 import S3
from ...task_registry.z6 import Z6
from ..lstm import LongShortTermMemory

if TYPE_CHECKING:
    from mecheval.models.stack.residual import ResidualStack

GroupTask = S3 | Z6 | GroupProduct | Parity

GAIN = 10.0  # logit of the right answer
SHOWN = math.tanh(1.0)  # by a unit whose cell is 1
WIDEST = 1024  # a wider network takes too long to be of use


@planted(
    name="lstm-group",
    reference="Minsky 1967, Computation: Finite and Infinite Machines (any automaton by threshold "
    "units for pairs of a state and a letter)",
    architecture="recurrent network",
)
@dataclass(frozen=True, kw_only=True)
class LstmGroup(Planted[GroupTask]):
    """Products in a group by an LSTM with a unit for every pair of a state and a symbol.

    Construction: the unit of a state g and a symbol x is on where x is read in the state g. With M
    the sharpness and h / tanh 1 summed over the units that lead to g, its gates are
    i = sigma(M (h / tanh 1 + x - 3/2)), f = sigma(-M), o = sigma(M), and the candidate is tanh M:
    its cell is 1 then, and 0 otherwise. A further unit is on at BOS and leads to the identity. The
    second block does nothing. The readout adds up the units that lead to an element.

    Known values: accuracy 1 at every length. The element and its quotients can be read from layer 1
    on, and donors of the same element cost nothing there. A symbol of any distance has reached the
    readout behind block 1, and its memory is of one size at every position: the verdict is
    *sequential*.

    Attributes:
        sharpness: Slope M of the gates.
    """

    sharpness: float = 60.0

    def objection(self, task: GroupTask) -> str | None:
        """Need a group that is not too large, and words without states that are shown."""
        if task.reveal_rate or self.basis(task).width > WIDEST:
            return "words of a group of at most a few dozen elements, with reveal_rate=0"
        return None

    def basis(self, task: GroupTask) -> Basis:
        """Return what the dimensions of the stream stand for: units are pairs, and one for BOS."""
        n_pairs = len(task.elements) * len(task.drawn_A)
        return Basis(token=len(task.symbols), distraction=DISTRACTION, unit=n_pairs + 1)

    def blueprint(self, task: GroupTask) -> Blueprint:
        """Return two layers, of which the second does nothing."""
        width = self.basis(task).width
        mixers = (lambda: LongShortTermMemory(width),) * 2
        return Blueprint(layers=2, width=width, mixers=mixers)

    def plant(self, stack: ResidualStack, task: GroupTask) -> None:
        """Set embeddings, the gates of the units, and the readout."""
        basis, width, slope = self.basis(task), stack.d_model, self.sharpness
        wire(stack.embedding.weight, slice(0, len(task.symbols)), basis["token"])
        distract(stack.embedding.weight, basis["distraction"])
        pairs = [(g, x) for g in range(len(task.elements)) for x in task.drawn_A.tolist()]
        leads_to = np.array([0, *(int(task.product[g, x]) for g, x in pairs)])
        first = basis["unit"].start
        lstm = cast("LongShortTermMemory", stack.blocks[0].mixer).lstm
        w_in, w_back, bias, _ = lstm.all_weights[0]
        for gate, value in ((1, -slope), (2, slope), (3, slope)):  # forget, candidate, output
            bias[gate * width + first : gate * width + basis["unit"].stop] = value
        w_in[first, basis.at("token", 0)], bias[first] = slope, -slope / 2
        for unit, (g, x) in enumerate(pairs, start=first + 1):
            w_in[unit, basis.at("token", task.answers[x])] = slope
            w_back[unit, first + np.flatnonzero(leads_to == g)] = slope / SHOWN
            bias[unit] = -1.5 * slope
        for state, answer in enumerate(task.answers):
            stack.head.weight[answer, first + np.flatnonzero(leads_to == state)] = GAIN / SHOWN
