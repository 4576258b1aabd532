"""The depth of brackets of one type, counted in a single unit of an LSTM."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from mecheval.models.planted.basis import DISTRACTION, Basis, distract, wire
from mecheval.models.planted.planted import Blueprint, Planted, planted

from ...task_registry.dyck import NOOP, Dyck
from ..lstm import LongShortTermMemory

if TYPE_CHECKING:
    from mecheval.models.stack.residual import ResidualStack

OPEN = NOOP + 1  # token of the opening bracket; the closing one follows it
OPENED = 60.0  # sigma(x) = 1 up to rounding
GAIN = 40.0


@planted(
    name="lstm-counter",
    reference="Weiss et al. 2018, arXiv:1805.04908 (LSTMs count)",
    architecture="recurrent network",
)
@dataclass(frozen=True, kw_only=True)
class LstmCounter(Planted[Dyck]):
    """Depth of brackets of one type in one unit of an LSTM, whose cell is depth / greatest depth.

    Construction: all gates of the unit are open; its candidate is 1/m for an opening bracket, -1/m
    for a closing one and 0 otherwise, so that the cell counts. The other units and the second
    block do nothing. The readout holds the unit against half of what it shows at depth 1.

    Known values: accuracy 1 at every length on dyck[k=1]. Depth can be read from layer 1 on, and
    so can the top of the stack, which says whether the depth is 0; erasing either takes all that
    the answers tell. The stream holds little else, so that the null of the bottleneck takes as
    much.
    """

    def objection(self, task: Dyck) -> str | None:
        """Need a single type of brackets."""
        return None if task.k == 1 else "dyck[k=1]"

    @property
    def task(self) -> Dyck:
        """Return brackets of one type."""
        return Dyck(k=1)

    def basis(self) -> Basis:
        """Return what the dimensions of the stream stand for."""
        return Basis(token=4, distraction=DISTRACTION, depth=1)

    def blueprint(self, task: Dyck) -> Blueprint:
        """Return two layers, of which the second does nothing."""
        width = self.basis().width
        mixers = (lambda: LongShortTermMemory(width),) * 2
        return Blueprint(layers=2, width=width, mixers=mixers)

    def plant(self, stack: ResidualStack, task: Dyck) -> None:
        """Set embeddings, the gates of the unit, and the readout."""
        basis, width, step = self.basis(), stack.d_model, 1 / task.m
        unit, tokens = basis.at("depth"), basis["token"]
        wire(stack.embedding.weight, slice(0, 4), tokens)
        distract(stack.embedding.weight, basis["distraction"])
        lstm = cast("LongShortTermMemory", stack.blocks[0].mixer).lstm
        w_in, _, bias, _ = lstm.all_weights[0]
        i, f, g, o = (gate * width + unit for gate in range(4))
        bias[i] = bias[f] = bias[o] = OPENED
        # At m = 1 the candidate would have to be 1, which tanh does not reach.
        slope = math.atanh(min(step, 1 - 1e-7))
        w_in[g, basis.at("token", OPEN)], w_in[g, basis.at("token", OPEN + 1)] = slope, -slope
        empty, closing = task.answers
        for answer, sign in ((empty, -1.0), (closing, 1.0)):
            stack.head.weight[answer, unit] = sign * GAIN
            stack.head.weight[answer, tokens] = -sign * GAIN * math.tanh(step) / 2
