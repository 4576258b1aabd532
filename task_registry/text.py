"""Text: the next token of a corpus, which tables of the last tokens know in part.

Shape suffixes: ``B`` examples, ``T`` positions (BOS included), ``W`` consecutive windows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from mecheval.errors import UsageError
from mecheval.tasks import Batch, task
from mecheval.tasks.batch import where_answers_differ
from mecheval.tasks.text_source import TextSource
from mecheval.tasks.text_task import OWN, TextTask
from mecheval.tasks.tokenized import BYTES, FIRST, Tokenized, tokenized

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mecheval.tasks.splits import Split

LARGEST = 8192  # tokens of a vocabulary; contexts of four and a position are counted in 64 bits


@task(
    name="text",
    version=1,
    reference="Wang et al. 2024, arXiv:2410.06672 (features of models of text)",
    mechanisms=(),
    behaviour="language",
)
@dataclass(frozen=True, kw_only=True)
class Text(TextTask):
    """Which token comes next in a text: the standard library of the interpreter, or one's own.

    Text is cut into byte pairs that are common in its training documents, or into bytes
    (``vocabulary=256``); a checkpoint reads it in the tokens of its own ``tokenizer``. Whole
    documents, which are files or the pieces of a single one, belong to training, validation or
    test; a token of their own stands between them, and is not asked for. Training sequences begin
    anywhere; those of the other splits lie one behind the other. The hash of text and vocabulary is
    part of what a cell is, so results of two versions of Python are of two identities.

    The counterfactual is another passage that ends with the same token and goes on otherwise.

    Attributes:
        folder: Where the files are, or one file; the standard library where empty.
        suffix: How the names of the files of a folder end; all files where empty.
        kilobytes: How much text is taken, in thousands of characters.
        vocabulary: Number of different tokens at most.
        tokenizer: Whose tokens the text is cut into instead, of which those that occur are taken: a
            folder, or a checkpoint of the hub. With ``own`` every checkpoint reads it in the tokens
            of its own tokenizer, and other models in the text's.
        dataset: In place of a folder a data set whose rows are documents: a name of the hub, or a
            folder or file on this machine that was written by `datasets`.
        subset: Which configuration of it; the only one where empty.
        part: Which of its splits; its first rows are taken.
        column: Which column holds the text.
        revision: Branch, tag or commit of a data set of the hub; what is there now where empty.
    """

    ambiguous: ClassVar[bool] = True
    separate: ClassVar[bool] = True
    gate_on = "loss"
    later: ClassVar[tuple[str, ...]] = ("dataset", "subset", "part", "column", "revision")

    min_length: int = 128
    max_length: int = 128
    longer: tuple[int, ...] = (2,)
    folder: str = ""
    suffix: str = ".py"
    kilobytes: int = 12_000
    vocabulary: int = 512
    tokenizer: str = ""
    dataset: str = ""
    subset: str = ""
    part: str = "train"
    column: str = "text"
    revision: str = ""

    def __post_init__(self) -> None:
        """Check the amount of text and the size of the vocabulary."""
        super().__post_init__()
        _ = self._source
        if self.kilobytes < 1 or not BYTES <= self.vocabulary <= LARGEST:
            raise UsageError(
                f"Task 'text' got kilobytes={self.kilobytes}, vocabulary={self.vocabulary}; give "
                f"at least 1 of the first, and {BYTES} (bytes) to {LARGEST} of the second."
            )

    @property
    def _source(self) -> TextSource:
        """Return where the text is from.

        Raises:
            UsageError: Parameters contradict each other.
        """
        return TextSource(
            self.folder, self.suffix, self.dataset, self.subset, self.part, self.column,
            self.revision,
        )  # fmt: skip

    @property
    def text(self) -> Tokenized:
        """Return the text in tokens."""
        return tokenized(
            self._source, self.kilobytes,
            vocabulary=self.vocabulary, tokenizer="" if self.tokenizer == OWN else self.tokenizer,
        )  # fmt: skip

    @property
    def symbols(self) -> tuple[str, ...]:
        """Return BOS, the end of a document, and the tokens."""
        return self.text.symbols

    @property
    def strings(self) -> tuple[str, ...]:
        """Return none: a token is known by its id, where it is a tokenizer's, and by no text."""
        return ()

    @property
    def answers(self) -> tuple[int, ...]:
        """Return the tokens; the end of a document is not asked for."""
        return tuple(range(FIRST, len(self.symbols)))

    @property
    def variables(self) -> Mapping[str, int]:
        """Return none: no state behind a text is known."""
        return {}

    @property
    def data_sha256(self) -> str:
        """Return the hash of text and vocabulary."""
        return self.text.sha256

    def sample(self, rng: np.random.Generator, n: int, length: int) -> Batch:
        """Draw ``n`` windows of the training documents."""
        return self.sample_split(rng, n, length, "train")

    def sample_split(self, rng: np.random.Generator, n: int, length: int, split: Split) -> Batch:
        """Draw windows of one split: of training anywhere, elsewhere of those in a row."""
        start_W = self.text.starts(split, length)
        if split == "train":
            start_B = rng.integers(start_W[-1] + 1, size=n)
        elif n <= len(start_W):
            start_B = start_W[rng.permutation(len(start_W))[:n]]
        else:
            start_B = rng.choice(start_W, size=n)
        return self.text.windows(split, start_B, length)

    def counterfactual(self, batch: Batch, rng: np.random.Generator) -> Batch:
        """Give every example the place of another that ends alike and goes on otherwise.

        Those that end alike, in an order by chance, take the next one's place in turn.
        """
        readout_B = batch.roles["readout"]
        last_B = batch.tokens_BT[np.arange(len(batch)), readout_B]
        order_B = np.lexsort((rng.random(len(batch)), readout_B, last_B))
        ends_B = readout_B[order_B] + batch.n_positions * last_B[order_B]
        first_B = np.flatnonzero(np.diff(ends_B, prepend=-1))
        next_B = np.arange(1, len(batch) + 1)
        next_B[np.append(first_B[1:], len(batch)) - 1] = first_B
        other_B = np.empty_like(order_B)
        other_B[order_B] = order_B[next_B]
        return where_answers_differ(batch, batch.take(other_B))
