"""Products in a group by partial products over windows that double from layer to layer.

Shape suffixes: ``G`` elements of a group, ``N`` those of a subgroup, ``D`` residual width.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np

from mecheval.models.planted.basis import DISTRACTION, Basis, distract, wire
from mecheval.models.planted.planted import Blueprint, Turnable, planted

from ...task_registry.group import GroupProduct
from ...task_registry.parity import Parity
from ...task_registry.s3 import S3
from ...task_registry.z6 import Z6
from ..mamba import Mamba, SelectiveStateSpace
from ..transformer import Attention
from .parts import plant_copy, plant_head, plant_product, plant_sign, plant_switch

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor, nn

    from mecheval.models.layers.linear import Mlp
    from mecheval.models.layers.mixer import Mixer
    from mecheval.models.stack.residual import Block, ResidualStack
    from mecheval.tasks import Task

GroupTask = S3 | Z6 | GroupProduct | Parity

GAIN = 10.0  # logit of the right answer
SCORE = 60.0  # of the position that is looked for, before the softmax
WIDEST = 4096  # more units of a layer take too long to be of use


@dataclass(frozen=True, kw_only=True)
class Scanning(Turnable[GroupTask]):
    """Blocks of attention that multiply windows, behind blocks that write the sign."""

    @property
    def task(self) -> Task:
        """Return s3 without longer tests, which would need further blocks."""
        return S3(longer=())

    @property
    def sign_groups(self) -> tuple[str, ...]:
        """Return where each of the first blocks writes the sign."""
        return ()

    def scanned(self, task: GroupTask) -> np.ndarray:
        """Return the table of the group that windows are multiplied in."""
        return task.product

    def objection(self, task: GroupTask) -> str | None:
        """Need a group that is not too large, and words without states that are shown."""
        if task.reveal_rate or self.hidden(task) > WIDEST:
            return "words of a group of at most a few dozen elements, with reveal_rate=0"
        if self.sign_groups and sign_of(task) is None:
            return "words of a group with a subgroup of half of its elements (s3, z6)"
        return None

    def hidden(self, task: GroupTask) -> int:
        """Return the number of units that multiply: two for every pair of elements."""
        return 2 * len(self.scanned(task)) ** 2

    def basis(self, task: GroupTask) -> Basis:
        """Return what the dimensions of the stream stand for."""
        size = len(self.scanned(task))
        return Basis(
            token=len(task.symbols), position=_n_places(task), distraction=DISTRACTION,
            window=size, left=size, memory=1, sign=1,
        )  # fmt: skip

    def blueprint(self, task: GroupTask) -> Blueprint:
        """Return a block for every sign that is written, and one for every doubling."""
        width, n_signs = self.basis(task).width, len(self.sign_groups)

        def attention() -> Attention:
            return Attention(width, 1, rotary=False, scale=1.0)

        def signs() -> SelectiveStateSpace:
            return SelectiveStateSpace(
                Mamba(layers=1, width=width, expand=1, d_state=1, d_conv=0, eigenvalues=(-1, 1))
            )

        offsets = _offsets(task)
        mixers: tuple[Callable[[], Mixer], ...] = (*[signs] * n_signs, *[attention] * len(offsets))
        before = [0] * n_signs
        if n_signs:
            before[-1] = self.hidden_behind_sign(task)
        return Blueprint(
            layers=len(mixers), width=width, mixers=mixers, context=_n_places(task),
            hidden=(*before, *[self.hidden(task)] * len(offsets)),
        )  # fmt: skip

    def hidden_behind_sign(self, task: GroupTask) -> int:
        """Return the number of units of the last block that writes the sign."""
        return 0

    def plant(self, stack: ResidualStack, task: GroupTask) -> None:
        """Set embeddings, the blocks that write the sign, and those that multiply."""
        basis, positions = self.basis(task), cast("nn.Embedding", stack.positions).weight
        wire(stack.embedding.weight, slice(0, len(task.symbols)), basis["token"])
        wire(positions, slice(0, _n_places(task)), basis["position"])
        for table in (stack.embedding.weight, positions):
            distract(table, basis["distraction"])
        n_signs, value_G = len(self.sign_groups), sign_of(task)
        for block, group in zip(stack.blocks, self.sign_groups, strict=False):
            assert value_G is not None  # noqa: S101 - it was asked for
            odd = [basis.at("token", task.answers[g]) for g in np.flatnonzero(value_G)]
            plant_sign(
                cast("SelectiveStateSpace", block.mixer), to=basis[group],
                begin=basis.at("token", 0), flips=odd, constant=basis["position"],
                shown=basis["position"],
            )  # fmt: skip
        for block, offset in zip(stack.blocks[n_signs:], _offsets(task), strict=True):
            _plant_doubling(block, basis, self.scanned(task), offset)
        self.plant_ends(stack, basis, task)

    def plant_ends(self, stack: ResidualStack, basis: Basis, task: GroupTask) -> None:
        """Set what windows begin with, and the readout; every token is a window of one."""
        window = stack.embedding.weight[:, basis["window"]]
        window[0, 0] = 1.0  # nothing stands before the first token
        wire(window, slice(task.answers[0], task.answers[-1] + 1), slice(0, window.shape[1]))
        answers = slice(task.answers[0], task.answers[-1] + 1)
        wire(stack.head.weight, answers, basis["window"], GAIN)


@planted(
    name="group-scan",
    reference="Li, Guo and Andreas 2025, arXiv:2503.02854 (the associative algorithm)",
    architecture="attention",
)
@dataclass(frozen=True, kw_only=True)
class GroupScan(Scanning):
    """Products in a group by a scan: every layer multiplies two windows, and doubles them.

    Construction: the stream is [token | position | distraction | window | left], and ``window`` is
    a one-hot of the product of the last symbols: of one before the first layer. The head of layer
    l looks 2^l positions back (at BOS where there are fewer) and copies the window there to
    ``left``. The feed-forward part has a switch for every pair of elements, which puts their
    product in the place of the window and takes ``left`` away. There are as many layers as the
    longest test needs.

    Known values: accuracy 1 at every test length. A symbol d positions before the readout has
    reached it behind the first layer l (counted from 1) with 2^l > d, so that twice the distance
    takes one layer more, for the sign of S3 as for the element: the verdict is *associative scan*.
    Before that the difference stands where a window that begins with it ends, at positions between
    the two. Windows are not the state: donors of the same element bring nothing back before they
    reach to the beginning.

    With ``distractor`` a further block before them writes the sign of the whole prefix to a memory
    that nothing reads. It can be read from layer 1 on at every position, and the verdict is the
    same.

    Attributes:
        distractor: Whether a first block writes the sign to where nothing reads it.
    """

    distractor: bool = False

    @property
    def sign_groups(self) -> tuple[str, ...]:
        """Return the memory, if there is one."""
        return ("memory",) if self.distractor else ()


@planted(
    name="sign-scan",
    reference="Li, Guo and Andreas 2025, arXiv:2503.02854 (the parity-associative algorithm)",
    architecture="hybrid",
)
@dataclass(frozen=True, kw_only=True)
class SignScan(Scanning):
    """Products in a group by the sign of the whole prefix first, and a scan of what is left of it.

    Construction: a state is n r(s), with its sign s, an element r(s) of that sign, and n in the
    subgroup of the even ones. A symbol x multiplies n by r(s) x r(s')^-1, where s' is the sign
    behind it; so all n can be multiplied in any order of pairs once the signs are known. The first
    block is the one of ``planted/parity-at-block`` and writes the sign to every position; switches
    of its feed-forward part, one for every symbol and sign, write r(s) x r(s')^-1 to ``window``.
    The blocks behind it are those of ``planted/group-scan``, in the subgroup. The readout adds what
    n and s say.

    Known values: accuracy 1 at every test length. The sign of any distance has reached the readout
    behind block 1; what is left takes one layer more for twice the distance, as in
    ``planted/group-scan``: the verdict is *parity first, then scan*. Donors of the same sign keep
    the sign of the answers from layer 1 on; those of the same element do not keep the element while
    windows grow.

    With ``twice`` another block before them writes the sign to a memory, which has a quarter of the
    weight in the readout. Behind it nothing is lost by other donors, as the sign is computed again,
    and the verdict is the same.

    Attributes:
        twice: Whether the sign is computed by another block too.
    """

    twice: bool = False

    @property
    def sign_groups(self) -> tuple[str, ...]:
        """Return the sign, and the memory before it."""
        return ("memory", "sign") if self.twice else ("sign",)

    def scanned(self, task: GroupTask) -> np.ndarray:
        """Return the table of the subgroup of even elements."""
        value_G = sign_of(task)
        if value_G is None:
            return task.product[:1, :1]
        even_N = np.flatnonzero(value_G == 0)
        return np.searchsorted(even_N, task.product[np.ix_(even_N, even_N)])

    def hidden_behind_sign(self, task: GroupTask) -> int:
        """Return two units for every symbol and sign."""
        return 4 * len(task.symbols)

    def plant_ends(self, stack: ResidualStack, basis: Basis, task: GroupTask) -> None:
        """Set the units that say what is left of every symbol, and the readout of both parts."""
        value_G = sign_of(task)
        assert value_G is not None  # noqa: S101 - it was asked for
        left_G, sign = _split(task.product, value_G), basis.at("sign")
        mlp = cast("Mlp", stack.blocks[len(self.sign_groups) - 1].mlp)
        letter_C = np.array([0, *range(len(task.elements))])  # BOS is the identity
        for which, (token, s) in enumerate(np.ndindex(len(task.symbols), 2)):
            part = _letter_part(task.product, value_G, int(letter_C[token]), s)
            plant_switch(
                mlp, which, {basis.at("token", token): 1.0, sign: 0.5 - s},
                {basis.at("window", part): 1.0}, constant=basis["position"], least=1.5,
            )  # fmt: skip
        shares = {"sign": 0.75, "memory": 0.25} if self.twice else {"sign": 1.0}
        head_CD: Tensor = stack.head.weight
        for g, answer in enumerate(task.answers):
            head_CD[answer, basis.at("window", int(left_G[g]))] = GAIN
            for group, share in shares.items():
                head_CD[answer, basis.at(group)] = GAIN * share * (0.5 - int(value_G[g]))


def sign_of(task: GroupTask) -> np.ndarray | None:
    """Return a variable of two values that products keep, of every element; None without one."""
    table_GG = task.product
    for value_G in task.read(np.arange(len(table_GG))).values():
        two = len(table_GG) > 2 and set(value_G.tolist()) == {0, 1}
        if two and np.array_equal(value_G[table_GG], np.add.outer(value_G, value_G) % 2):
            return value_G
    return None


def _split(table_GG: np.ndarray, value_G: np.ndarray) -> np.ndarray:
    """Return for every element g = n r its n, as its number among the even elements, ``(G,)``."""
    even_N, first_odd = np.flatnonzero(value_G == 0), int(np.flatnonzero(value_G)[0])
    inverse_odd = int((table_GG[first_odd] == 0).argmax())
    of_even_G = np.where(value_G == 0, np.arange(len(table_GG)), table_GG[:, inverse_odd])
    return np.searchsorted(even_N, of_even_G)


def _letter_part(table_GG: np.ndarray, value_G: np.ndarray, letter: int, sign: int) -> int:
    """Return r(s) x r(s')^-1 for a symbol x that leads from a sign s to s'."""
    before = sign ^ int(value_G[letter])
    first_odd = int(np.flatnonzero(value_G)[0])
    state = table_GG[first_odd if before else 0, letter]
    return int(_split(table_GG, value_G)[state])


def _plant_doubling(block: Block, basis: Basis, table_GG: np.ndarray, offset: int) -> None:
    """Let a block multiply the window so many positions back with its own."""
    attention, place = cast("Attention", block.mixer), basis["position"]
    n_places = place.stop - place.start
    at, later = slice(place.start, place.stop - offset), slice(place.start + offset, place.stop)
    plant_head(attention, query=(at, later), key=(place, place), score=SCORE)
    query_DD, _, _ = attention.qkv.weight.chunk(3)
    first = slice(place.start, place.start + min(offset, n_places))
    query_DD[place.start, first] = SCORE * math.sqrt(attention.qkv.in_features)
    plant_copy(attention, to=basis["left"], source=basis["window"])
    plant_product(cast("Mlp", block.mlp), basis, table_GG, constant=place)


def _offsets(task: GroupTask) -> list[int]:
    """Return 1, 2, 4, ... until windows hold the longest test's words."""
    longest = max(task.test_lengths.values())
    return [1 << i for i in range(max(1, (longest - 1).bit_length()))]


def _n_places(task: GroupTask) -> int:
    return 1 + max(task.test_lengths.values())
