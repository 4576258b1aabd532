"""Brackets in Python source: real text, in which the answer is the bracket that closes next.

Shape suffixes: ``B`` examples, ``S`` symbols, ``T`` positions (BOS included), ``K`` kinds of
brackets, ``N`` places where a passage begins.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from mecheval.errors import UsageError
from mecheval.tasks import UNDEFINED, UNSCORED, Batch, Task, task
from mecheval.tasks.corpus import corpus
from mecheval.tasks.nesting import nesting
from mecheval.tasks.python_source import CLOSING, INDEX, OPENING, SYMBOLS, kinds, matched, source_of
from mecheval.tasks.splits import BUCKETS

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from mecheval.tasks.python_source import Passages
    from mecheval.tasks.splits import Split


@task(
    name="brackets",
    version=1,
    reference="Jiang 2026, arXiv:2606.00926 v2 (brackets of real Python)",
    mechanisms=("recovery", "readability", "bottleneck"),
)
@dataclass(frozen=True, kw_only=True)
class Brackets(Task):
    """Which bracket closes next in Python source, wherever one is open; a stack met in real text.

    Text is what the interpreter's own standard library holds, unless a folder is named, so results
    of two versions of Python are of two identities; it is read once per process. Files are cut into
    symbols: brackets, operators, keywords, the ends of lines; a name is one of 26 letters by its
    hash, a number is 1, a string is empty. Sequences begin where no bracket is open and end where
    one is, of each kind equally often: most of all brackets are round. Whole files belong to
    training, validation or test.

    Code is local: a table over the last symbols knows most answers. Those alone are asked for that
    no such window holds, ``reach`` symbols or more behind the innermost open bracket.

    The counterfactual gives the innermost open bracket another type.

    Attributes:
        folder: Where the files are; the standard library where empty.
        kilobytes: How much text is taken.
        m: Greatest depth; sequences that nest deeper are left out.
        reach: Fewest symbols from the innermost open bracket to where the answer is asked for.
    """

    separate: ClassVar[bool] = True
    gate_on = "last"

    min_length: int = 64
    max_length: int = 64
    longer: tuple[int, ...] = (2, 4)
    folder: str = ""
    kilobytes: int = 8000
    m: int = 6
    reach: int = 8

    def __post_init__(self) -> None:
        """Check the amount of text and the depth."""
        super().__post_init__()
        if min(self.kilobytes, self.m, self.reach) < 1:
            raise UsageError(
                f"Task 'brackets' got kilobytes={self.kilobytes}, m={self.m}, reach={self.reach}; "
                "give at least 1 of each."
            )

    @property
    def symbols(self) -> tuple[str, ...]:
        """Return BOS, brackets, operators, keywords and what stands for the rest."""
        return SYMBOLS

    @property
    def strings(self) -> tuple[str, ...]:
        """Return words with a blank before them, as tokenizers know them within a line."""
        return tuple(f" {symbol}" if symbol[0].isalpha() else symbol for symbol in SYMBOLS)

    @property
    def answers(self) -> tuple[int, ...]:
        """Return the closing brackets."""
        return tuple(INDEX[bracket] for bracket in CLOSING)

    @property
    def variables(self) -> Mapping[str, int]:
        """Return the depth, and the kind of the innermost open bracket (0 where none is)."""
        return {"depth": self.m + 1, "top": 1 + len(OPENING)}

    @property
    def data_sha256(self) -> str:
        """Return the hash of the text."""
        return corpus(self.folder, ".py", self.kilobytes).sha256

    def sample(self, rng: np.random.Generator, n: int, length: int) -> Batch:
        """Draw ``n`` passages."""
        return self._passages(rng, n, length, range(16))

    def sample_split(self, rng: np.random.Generator, n: int, length: int, split: Split) -> Batch:
        """Draw passages from the files of one split."""
        return self._passages(rng, n, length, BUCKETS[split])

    def counterfactual(self, batch: Batch, rng: np.random.Generator) -> Batch:
        """Give the bracket that is open innermost at the readout another type."""
        symbol_BS = batch.tokens_BT[:, 1:].copy()
        found = nesting(kinds(symbol_BS), self.m)
        row_B = np.arange(len(symbol_BS))
        opener_B = found.opener_BTM[row_B, -1, found.depth_BT[:, -1]]
        turn_B = rng.integers(1, len(OPENING), size=len(symbol_BS))
        kind_B = (found.kind_BT[:, -1] - 1 + turn_B) % len(OPENING)
        symbol_BS[row_B, opener_B] = INDEX[OPENING[0]] + kind_B
        return self._batch(matched(symbol_BS, self.m))

    def _passages(
        self, rng: np.random.Generator, n: int, length: int, buckets: Collection[int]
    ) -> Batch:
        """Draw passages that begin where nothing is open, and end where something is.

        Raises:
            UsageError: The text has none of this length.
        """
        source = source_of(self.folder, self.kilobytes)
        by_kind = source.passages(length, self.m, self.reach, buckets)
        if not all(map(len, by_kind)):
            raise UsageError(
                f"The text of task 'brackets' has too few passages of {length} symbols that begin "
                "where no bracket is open and end where one is. Give it more kilobytes, another "
                "folder, or a smaller max_length."
            )
        size_K = np.array([len(start_N) for start_N in by_kind])
        kind_B = rng.integers(len(OPENING), size=n)
        place_B = (np.cumsum(size_K) - size_K)[kind_B] + rng.integers(size_K[kind_B])
        start_B = np.concatenate(by_kind)[place_B]
        return self._batch(source.read(start_B, length))

    def _batch(self, found: Passages) -> Batch:
        n, length = found.symbol.shape
        closing_BS = INDEX[CLOSING[0]] + found.kind - 1
        scored_BS = (found.depth > 0) & (found.age >= self.reach)
        return Batch(
            _behind(0, found.symbol),
            _behind(UNSCORED, np.where(scored_BS, closing_BS, UNSCORED)),
            {"depth": _behind(UNDEFINED, found.depth), "top": _behind(UNDEFINED, found.kind)},
            {"readout": np.full(n, length)},
        )


def _behind(first: int, value_BS: np.ndarray) -> np.ndarray:
    """Return values of symbols behind one of BOS, ``(B, T)``."""
    return np.pad(value_BS, [(0, 0), (1, 0)], constant_values=first)
