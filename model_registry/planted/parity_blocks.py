"""Parity as the sign of a state, written to the stream at chosen blocks and positions."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, cast

from mecheval.models.planted.basis import DISTRACTION, Basis, distract, wire
from mecheval.models.planted.planted import Blueprint, Turnable, planted

from ...task_registry.parity import Parity
from ..mamba import Mamba, SelectiveStateSpace
from .parts import plant_sign

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import nn

    from mecheval.models.stack.residual import ResidualStack

BEGIN, ONE = 0, 2  # tokens
GAIN = 5.0  # logit of the right answer, and minus that of the wrong one


class Writes(NamedTuple):
    """Where a block writes the parity.

    Attributes:
        to: The group of the stream; None for a block that does nothing.
        phase: Only to positions with this remainder; None for all.
    """

    to: str | None = None
    phase: int | None = None


@dataclass(frozen=True, kw_only=True)
class SignNetwork(Turnable[Parity]):
    """Blocks of Mamba with eigenvalues in [-1, 1] that know the parity as the sign of a state.

    The state is 1 after BOS, and a 1 multiplies it by -1.
    """

    @property
    @abstractmethod
    def writes(self) -> tuple[Writes, ...]:
        """Return what each block writes."""

    @property
    def read(self) -> Mapping[str, float]:
        """Return how much each group of the stream that the answer is read from counts."""
        return {"answer": 1.0}

    @property
    def phases(self) -> int:
        """Return by how many remainders positions are told apart."""
        return 1

    def basis(self) -> Basis:
        """Return what the dimensions of the stream stand for."""
        return Basis(token=3, phase=self.phases, distraction=DISTRACTION, memory=1, answer=1)

    def blueprint(self, task: Parity) -> Blueprint:
        """Return blocks without a convolution, and an embedding for every position of the tests."""
        n_layers, width = len(self.writes), self.basis().width

        def mixer() -> SelectiveStateSpace:
            arguments = Mamba(
                layers=n_layers, width=width, expand=1, d_state=1, d_conv=0, eigenvalues=(-1, 1)
            )
            return SelectiveStateSpace(arguments)

        context = 1 + max(task.test_lengths.values())
        return Blueprint(layers=n_layers, width=width, mixers=(mixer,) * n_layers, context=context)

    def plant(self, stack: ResidualStack, task: Parity) -> None:
        """Set embeddings, blocks and the readout."""
        basis = self.basis()
        positions = cast("nn.Embedding", stack.positions).weight
        wire(stack.embedding.weight, slice(0, 3), basis["token"])
        for phase in range(self.phases):
            positions[phase :: self.phases, basis.at("phase", phase)] = 1.0
        distract(stack.embedding.weight, basis["distraction"])
        distract(positions, basis["distraction"])
        for block, writes in zip(stack.blocks, self.writes, strict=True):
            if writes.to is not None:
                self._plant_block(cast("SelectiveStateSpace", block.mixer), writes)
        even, odd = task.answers
        for group, share in self.read.items():
            stack.head.weight[even, basis.at(group)] = GAIN * share
            stack.head.weight[odd, basis.at(group)] = -GAIN * share

    def _plant_block(self, mixer: SelectiveStateSpace, writes: Writes) -> None:
        basis = self.basis()
        shown, phase = basis["phase"], writes.phase
        if phase is not None:
            shown = slice(basis.at("phase", phase), basis.at("phase", phase) + 1)
        plant_sign(
            mixer, to=basis[str(writes.to)], begin=basis.at("token", BEGIN),
            flips=[basis.at("token", ONE)], constant=basis["phase"], shown=shown,
        )  # fmt: skip


@planted(
    name="parity-at-block",
    reference="none (formal_languages A8: a state that is written at one block)",
    architecture="state-space model",
)
@dataclass(frozen=True, kw_only=True)
class ParityAtBlock(SignNetwork):
    """Parity that one block writes to the stream, and the others leave alone.

    Construction: blocks of Mamba with eigenvalues in [-1, 1] and no convolution. A state is 1 after
    BOS; at a 1 the step size is 20, which multiplies it by 2 exp(-20) - 1, and at a 0 it stays.
    Block ``block`` adds it to the stream, from where the readout takes the sign; the weights of the
    others are zero. Further dimensions hold small random functions of token and position.

    Known values: accuracy 1. Parity can be read from layer ``block`` on and nowhere before, so the
    rise over layers is a single step: COM block / layers, C_H 1. Layer ``block`` is the bottleneck,
    and erasing parity there takes all information; null if that is the last layer, behind which
    there is only the readout.
    Recovery at the stream is 1 at the exchanged token before that block, and 1 at the readout
    behind it; at the middle it is 0, since the state moves inside the mixer.

    Attributes:
        block: The block that writes, from 1.
        layers: Number of blocks.
    """

    block: int = 2
    layers: int = 4

    def __post_init__(self) -> None:
        """Check that there is such a block."""
        self.check(1 <= self.block <= self.layers, "a block from 1 to layers")

    @property
    def writes(self) -> tuple[Writes, ...]:
        """Return one block that writes."""
        return tuple(
            Writes("answer") if i + 1 == self.block else Writes() for i in range(self.layers)
        )


@planted(
    name="parity-spread",
    reference="none (formal_languages A8: a state that is spread over blocks)",
    architecture="state-space model",
)
@dataclass(frozen=True, kw_only=True)
class ParitySpread(SignNetwork):
    """Parity that every block writes to its own share of the positions.

    Construction: as ``planted/parity-at-block``, but every block writes, the i-th to positions
    whose remainder modulo ``blocks`` is i.

    Known values: accuracy 1. Readability rises by 1 / blocks at every block: C_H 0, COM
    (blocks + 1) / (2 blocks). Erasing parity behind block i leaves an accuracy of
    1 - i / (2 blocks); the bottleneck is the last layer that something follows.

    Attributes:
        blocks: Number of blocks.
    """

    blocks: int = 4

    def __post_init__(self) -> None:
        """Check that there is something to spread over."""
        self.check(self.blocks >= 2, "2 blocks or more")

    @property
    def phases(self) -> int:
        """Return the number of blocks."""
        return self.blocks

    @property
    def writes(self) -> tuple[Writes, ...]:
        """Return a share of the positions for every block."""
        return tuple(Writes("answer", phase) for phase in range(self.blocks))


@planted(
    name="parity-distractor",
    reference="none (the standard test of a probe against a cause)",
    architecture="state-space model",
)
@dataclass(frozen=True, kw_only=True)
class ParityDistractor(SignNetwork):
    """Parity in two memories of which one is read: what a probe finds, and what is used.

    Construction: as ``planted/parity-at-block``, with three blocks. The first writes the parity
    to a memory, the third to the answer. Nothing reads the memory.

    Twin (``reads=memory``): the readout takes the memory instead, and nothing reads the answer. The
    streams of the two are the same at every layer; nothing that only looks at them can tell them
    apart.

    Known values: accuracy 1, and readability of parity 1 from layer 1 on, for both. Erasing parity
    at layer 1 or 2 takes nothing (no layer leaves the null of the bottleneck), and everything in
    the twin (bottleneck 1/3). The first block's output recovers 0 at the readout, and 1 in the
    twin.

    Attributes:
        reads: ``answer``, or ``memory`` in the twin.
    """

    reads: str = "answer"

    def __post_init__(self) -> None:
        """Check what is read."""
        self.check(self.reads in ("answer", "memory"), "reads=answer or reads=memory")

    @property
    def read(self) -> Mapping[str, float]:
        """Return the group that the readout takes."""
        return {self.reads: 1.0}

    @property
    def writes(self) -> tuple[Writes, ...]:
        """Return a block for the memory and one for the answer."""
        return (Writes("memory"), Writes(), Writes("answer"))


@planted(
    name="parity-twice",
    reference="none (a state that is computed a second time)",
    architecture="state-space model",
)
@dataclass(frozen=True, kw_only=True)
class ParityTwice(SignNetwork):
    """Parity that two blocks compute from the tokens, each by itself; the readout adds them up.

    Construction: as ``planted/parity-at-block``, with three blocks. The first writes the parity to
    a memory, the second to the answer, and the third does nothing. In the readout the memory has
    the weight ``first``, the answer the rest.

    Known values: accuracy 1, and readability of parity 1 from layer 1 on. The first block's output
    recovers ``first`` of the answer at the readout, the second one's the rest. Whichever weighs
    more decides alone where the two differ. So donors of any parity at layer 1 cost nothing with
    ``first`` below 1/2: the second block computes the parity again, which looks like no use of the
    first. With ``first`` above 1/2 they leave chance there, where erasing the memory costs nothing.
    At layer 2 both come from one donor, and leave chance. Donors of the same parity cost nothing
    anywhere.

    Attributes:
        first: Weight of the first copy, between 0 and 1; not 1/2, where neither would decide.
    """

    first: float = 0.25

    def __post_init__(self) -> None:
        """Check the weight."""
        self.check(0.0 < self.first < 1.0 and self.first != 0.5, "a first between 0 and 1, not 0.5")

    @property
    def read(self) -> Mapping[str, float]:
        """Return both copies."""
        return {"memory": self.first, "answer": 1.0 - self.first}

    @property
    def writes(self) -> tuple[Writes, ...]:
        """Return two blocks that write."""
        return (Writes("memory"), Writes("answer"), Writes())
