"""Parity in a single unit of an LSTM, or in several that vote."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from mecheval.models.planted.basis import DISTRACTION, Basis, distract, wire
from mecheval.models.planted.planted import Blueprint, Planted, planted

from ...task_registry.parity import Parity
from ..lstm import LongShortTermMemory

if TYPE_CHECKING:
    from mecheval.models.stack.residual import ResidualStack

ONE = 2  # token
GAIN = 10.0  # logit of the right answer times 2
HALF = math.tanh(1.0) / 2  # of what the unit shows for an odd number of ones


@planted(
    name="lstm-parity",
    reference="Hochreiter and Schmidhuber 1997, doi:10.1162/neco.1997.9.8.1735 (the cell)",
    architecture="recurrent network",
)
@dataclass(frozen=True, kw_only=True)
class LstmParity(Planted[Parity]):
    """Parity in one unit of an LSTM, whose cell is 1 after an odd number of ones and 0 otherwise.

    Construction: with x the bit, h the unit's last output and M the sharpness, the gates are
    f = sigma(M (1/2 - x)), i = sigma(M (x - 1/2 - h / tanh 1)), o = sigma(M), and the candidate is
    tanh M: a 0 keeps the cell, a 1 forgets it and writes 1 if it was 0. The other units and the
    second block do nothing. The readout holds the unit against tanh(1) / 2.

    Known values: accuracy 1 at every length. Parity can be read from layer 1 on; erasing it there
    takes all that the answers tell. The stream holds token and state and nothing else, so that the
    null of the bottleneck hits the state as well, and no layer leaves it.
    Before block 1 the difference of a pair stands at the exchanged token, behind it at the readout,
    never in the middle: the cell carries it. Its states are points, and there is no horizon.

    Attributes:
        sharpness: Slope M of the gates. Below 8 the cell leaks: accuracy falls with length, and the
            mechanism stays what it is. The horizon lies at about 1, 3 and more than 8 training
            lengths for 4.5, 5 and 5.5.
    """

    sharpness: float = 60.0

    @property
    def units(self) -> int:
        """Return the number of units that compute the parity, each by itself."""
        return 1

    def basis(self) -> Basis:
        """Return what the dimensions of the stream stand for."""
        return Basis(token=3, distraction=DISTRACTION, parity=self.units)

    def blueprint(self, task: Parity) -> Blueprint:
        """Return two layers, of which the second does nothing."""
        width = self.basis().width
        mixers = (lambda: LongShortTermMemory(width),) * 2
        return Blueprint(layers=2, width=width, mixers=mixers)

    def plant(self, stack: ResidualStack, task: Parity) -> None:
        """Set embeddings, the gates of the unit, and the readout."""
        basis, width, slope = self.basis(), stack.d_model, self.sharpness
        bit, even, odd = basis.at("token", ONE), *task.answers
        wire(stack.embedding.weight, slice(0, 3), basis["token"])
        distract(stack.embedding.weight, basis["distraction"])
        lstm = cast("LongShortTermMemory", stack.blocks[0].mixer).lstm
        w_in, w_back, bias, _ = lstm.all_weights[0]
        for which in range(self.units):
            unit = basis.at("parity", which)
            i, f, g, o = (gate * width + unit for gate in range(4))
            w_in[f, bit], bias[f] = -slope, slope / 2
            w_in[i, bit], bias[i], w_back[i, unit] = slope, -slope / 2, -slope / math.tanh(1.0)
            bias[g] = bias[o] = slope
        for answer, sign in ((even, -1.0), (odd, 1.0)):
            stack.head.weight[answer, basis["parity"]] = sign * GAIN / self.units
            stack.head.weight[answer, basis["token"]] = -sign * GAIN * HALF


@planted(
    name="lstm-votes",
    reference="none (three of the units of planted/lstm-parity)",
    architecture="recurrent network",
)
@dataclass(frozen=True, kw_only=True)
class LstmVotes(LstmParity):
    """Parity in several units of an LSTM, of which the readout takes what most of them say.

    Construction: that of ``planted/lstm-parity`` with ``votes`` units that do not know of each
    other. The readout holds their mean against tanh(1) / 2.

    Known values: accuracy 1 at every length. No unit is needed: without any one of three the answer
    stays. Exchange takes all of them at once, and is as in ``planted/lstm-parity``: behind block 1
    donors of any parity leave chance, and donors of the same one cost nothing. So is all else that
    is known of that network: the class means of the units are one direction of the stream.

    Attributes:
        votes: Number of units, odd.
    """

    votes: int = 3

    def __post_init__(self) -> None:
        """Check that there is a majority."""
        self.check(self.votes >= 1 and self.votes % 2 == 1, "an odd number of votes")

    @property
    def units(self) -> int:
        """Return the number of votes."""
        return self.votes
