"""Symbols become single, distinct tokens, or the message says which one does not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from hf_tokenizers import character_tokenizer, word_tokenizer

from mecheval.errors import UsageError
from mecheval.models.contract import own_codes
from mecheval.models.hub.tokens import encode
from mecheval.spec import Spec
from mecheval.tasks import BOS, Batch, Task, TaskCard

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np


@dataclass(frozen=True, kw_only=True)
class Spoken(Task):
    """A task with given strings for its symbols; nothing is drawn from it."""

    card = TaskCard("spoken", 1, "", "", Spec("behaviour"), ())
    texts: tuple[str, ...] = ("0", "1")

    @property
    def symbols(self) -> tuple[str, ...]:
        return (BOS, *(f"symbol {i}" for i in range(len(self.texts))))

    @property
    def strings(self) -> tuple[str, ...]:
        return ("", *self.texts)

    @property
    def answers(self) -> tuple[int, ...]:
        return (1,)

    @property
    def variables(self) -> Mapping[str, int]:
        return {}

    def sample(self, rng: np.random.Generator, n: int, length: int) -> Batch:
        raise NotImplementedError

    def counterfactual(self, batch: Batch, rng: np.random.Generator) -> Batch:
        raise NotImplementedError


def codes(task: Task, tokenizer: Any, symbols: str = "text", rows: int = 61) -> list[int]:
    return encode(task, tokenizer, symbols=symbols, vocab_size=rows, name="m").code_C.tolist()


def test_bos_is_bos_or_else_eos_or_else_a_new_token() -> None:
    assert codes(Spoken(), character_tokenizer()) == [1, 5, 6]
    assert codes(Spoken(), character_tokenizer(eos_token="</s>")) == [2, 5, 6]
    none = character_tokenizer(unk_token="<unk>")
    assert codes(Spoken(), none) == [61, 5, 6]
    encoding = encode(Spoken(), none, symbols="text", vocab_size=61, name="m")
    assert (encoding.added, encoding.vocab_size) == ((BOS,), 62)


def test_a_text_of_two_tokens_is_refused_by_name() -> None:
    with pytest.raises(UsageError) as caught:
        codes(Spoken(texts=("0", "12")), character_tokenizer())
    message = str(caught.value)
    assert "Symbol 'symbol 1' has the text '12'" in message
    assert "2 tokens ('1', '2')" in message
    assert "m[symbols=added]" in message


def test_an_unknown_word_is_no_token() -> None:
    tokenizer = word_tokenizer(["zero", "one"])
    assert codes(Spoken(texts=("zero", "one")), tokenizer) == [1, 4, 5]
    with pytest.raises(UsageError, match=r"'two', which .* 1 tokens \('<unk>'\)"):
        codes(Spoken(texts=("zero", "two")), tokenizer)


def test_two_symbols_never_share_a_token() -> None:
    tokenizer = word_tokenizer(["a", "b"], lowercase=True)
    with pytest.raises(UsageError, match="'symbol 0' and 'symbol 1' are the same token 4"):
        codes(Spoken(texts=("a", "A")), tokenizer)


def test_a_token_beyond_the_embedding_is_refused() -> None:
    with pytest.raises(UsageError, match=r"m\[symbols=added\]"):
        codes(Spoken(), character_tokenizer(), rows=6)


def test_added_symbols_follow_the_last_row() -> None:
    encoding = encode(
        Spoken(texts=("no", "such", "text")), character_tokenizer(), symbols="added",
        vocab_size=64, name="m",
    )  # fmt: skip
    assert encoding.code_C.tolist() == [1, 64, 65, 66]
    assert encoding.vocab_size == 67
    assert encoding.added == ("symbol 0", "symbol 1", "symbol 2")
    assert codes(Spoken(), None, symbols="added", rows=64) == [64, 65, 66]


def test_text_without_a_tokenizer_is_refused() -> None:
    with pytest.raises(UsageError, match=r"has no tokenizer.*m\[symbols=added\]"):
        codes(Spoken(), None)


def test_own_codes_need_room() -> None:
    assert own_codes(Spoken(), vocab_size=3, name="m").code_C.tolist() == [0, 1, 2]
    with pytest.raises(UsageError, match="has 3 symbols, but 'm' has only 2 token ids"):
        own_codes(Spoken(), vocab_size=2, name="m")


def test_tasks_without_strings_get_ordinary_tokens() -> None:
    tokenizer = character_tokenizer()
    task = Spoken(texts=tuple(str(i) for i in range(20)))

    class Silent(Spoken):
        strings = ()  # type: ignore[assignment]

    found = codes(Silent(texts=task.texts), tokenizer)
    assert len(set(found)) == 21
    assert found[0] == 1
    assert not set(found[1:]) & set(tokenizer.all_special_ids)
    assert found == codes(Silent(texts=task.texts), tokenizer)
    with pytest.raises(UsageError, match="needs 70 tokens, and 'm' has"):
        codes(Silent(texts=tuple(map(str, range(70)))), tokenizer)
    with pytest.raises(UsageError, match="has no tokenizer"):
        codes(Silent(texts=task.texts), None)


@pytest.mark.parametrize("space", ["\u0120", "\u2581"], ids=["bytes", "sentences"])
def test_a_task_that_asks_for_words_gets_the_commonest(
    space: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = [f"{space}w{'abcdefgh'[i % 8]}{'xyz'[i // 8]}" for i in range(24)]
    others = ["word", f"{space}it", f"{space}Word", f"{space}w0rd", "##ing", f"{space}."]
    tokenizer = word_tokenizer([*others, *words])

    class Worded(Spoken):
        strings = ()  # type: ignore[assignment]
        in_words = True  # type: ignore[assignment]

    first = len(tokenizer) - len(words)
    monkeypatch.setattr("mecheval.models.hub.tokens.COMMON", 12)
    found = codes(Worded(texts=tuple("abcdef")), tokenizer)
    assert len({*found}) == 7
    assert {*found[1:]} <= {*range(first, first + 12)}
    assert {*codes(Worded(texts=tuple(map(str, range(24)))), tokenizer)[1:]} == {
        *range(first, first + 24)
    }
    with pytest.raises(UsageError, match="needs 25 tokens, and 'm' has 24 that are words"):
        codes(Worded(texts=tuple(map(str, range(25)))), tokenizer)
