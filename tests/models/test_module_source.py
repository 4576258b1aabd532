"""A module of the user's own is measured with the weights that it has."""

from __future__ import annotations

import copy
import importlib
import re
import sys
from typing import TYPE_CHECKING, Any

import pytest
import torch
from hf_families import build
from hf_tokenizers import character_tokenizer, word_tokenizer
from plain_modules import VOCABULARY, Attention, Recurrent

import mecheval
from mecheval.errors import UsageError
from mecheval.models.contract import ModelCard
from mecheval.models.drawing import drawing
from mecheval.models.hub.source import FINE_TUNING
from mecheval.models.load import source_of
from mecheval.recipe import Recipe
from mecheval.registry import Registry
from mecheval.tasks.contract import configure

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def registry() -> Registry:
    return Registry()


def card(**recipes: Recipe) -> ModelCard:
    return ModelCard(
        name="mine", summary="", architecture="recurrent", reference="", license=None,
        recipes=recipes,
    )  # fmt: skip


def test_a_module_is_a_source_with_its_own_weights(registry: Registry) -> None:
    parity = configure(registry.load("task", "parity"), {}, name="parity")
    module = Recurrent(in_list=True)
    source = source_of((module, card(own=Recipe(steps=7))))
    identity = source.identity()
    assert (identity.name, identity.source) == ("mine", "module")
    assert source.recipe.steps == 7
    encoding = source.encode(parity)
    assert encoding.code_C.tolist() == [0, 1, 2]

    model: Any = source.build(encoding, seed=0)
    assert model.module is not module
    for mine, built in zip(module.parameters(), model.parameters(), strict=True):
        assert torch.equal(mine, built)
        built.data.add_(1.0)
    assert source.identity() == identity
    module.head.bias.data.add_(1.0)
    assert source.identity().weights_sha256 != identity.weights_sha256


def test_a_module_may_carry_its_card(registry: Registry) -> None:
    module: Any = Attention(norm_first=True)
    module.card = card(own=Recipe())
    source = source_of(module)
    z6 = configure(registry.load("task", "z6"), {}, name="z6")
    assert len(source.encode(z6).code_C) <= VOCABULARY


@pytest.mark.parametrize("given", [3, "gru", (Recurrent(True), "card"), (3, card(own=Recipe()))])
def test_what_is_no_model(given: Any) -> None:
    with pytest.raises(UsageError, match=r"is not a model.*\(module, card\)"):
        source_of(given)


def test_a_bare_module_is_fine_tuned_and_named_by_what_it_is() -> None:
    module = build("gpt2")
    source = source_of(module)
    assert (source.card.name, source.card.architecture) == ("GPT2LMHeadModel", "gpt2")
    assert source.recipe == FINE_TUNING
    identity = source.identity()
    assert identity == source_of(mecheval.wrap(copy.deepcopy(module))).identity()
    assert identity.revision is not None
    assert re.fullmatch("[0-9a-f]{8}", identity.revision)
    module.lm_head.weight.data.add_(1.0)
    assert source.identity().revision != identity.revision


def doubled(module: Any) -> None:
    module.scale = 2.0


def buffered(module: Any) -> None:
    module.register_buffer("slopes", torch.ones(2), persistent=False)


@pytest.mark.parametrize("change", [doubled, buffered])
def test_all_that_decides_the_numbers_is_in_the_identity(change: Any) -> None:
    module = Recurrent(in_list=True)
    before = source_of(module).identity()
    change(module)
    after = source_of(module).identity()
    assert after.weights_sha256 == before.weights_sha256
    assert after.file_sha256 != before.file_sha256
    assert source_of(copy.deepcopy(module)).identity() == after


def test_an_edited_class_is_another_model(tmp_path: Path, monkeypatch: Any) -> None:
    code = "import plain_modules\n\n\nclass Mine(plain_modules.Recurrent):\n    twice = {}\n"
    monkeypatch.syspath_prepend(tmp_path)
    found = []
    for number in (1, 2):
        (tmp_path / f"mine{number}.py").write_text(code.format(number))
        with drawing(0):
            made = importlib.import_module(f"mine{number}").Mine(in_list=True)
        type(made).__module__ = "mine"  # as after an edit: one name, two contents
        monkeypatch.setitem(sys.modules, "mine", sys.modules[f"mine{number}"])
        found.append(source_of(made).identity())
    assert found[0].weights_sha256 == found[1].weights_sha256
    assert found[0].file_sha256 != found[1].file_sha256


def test_a_configuration_is_part_of_the_identity() -> None:
    one, other = build("gpt2"), build("gpt2", n_head=2)
    identities = [source_of(module).identity() for module in (one, other)]
    assert identities[0].weights_sha256 == identities[1].weights_sha256
    assert identities[0].file_sha256 != identities[1].file_sha256


def test_a_tokenizer_is_part_of_the_identity() -> None:
    module, others = build("gpt2"), (character_tokenizer(), word_tokenizer(["a", "b"]))
    given = [module, *((module, tokenizer) for tokenizer in others)]
    assert len({source_of(each).identity().file_sha256 for each in given}) == 3
    wrapped = source_of(mecheval.wrap(module, others[0])).identity()
    assert wrapped == source_of(given[1]).identity()
    assert source_of(module).identity() == source_of(given[0]).identity() != wrapped


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_a_module_keeps_its_type_of_number(dtype: torch.dtype, registry: Registry) -> None:
    parity = configure(registry.load("task", "parity"), {}, name="parity")
    source = source_of(Recurrent(in_list=True).to(dtype))
    assert source.dtype == str(dtype).removeprefix("torch.")
    built = source.build(source.encode(parity), seed=0)
    assert {p.dtype for p in built.parameters()} == {dtype}


def test_an_untrained_one_has_other_weights_of_the_same_size(registry: Registry) -> None:
    """Floors of metrics are those of this one; a trained copy would hide what was learned."""
    parity = configure(registry.load("task", "parity"), {}, name="parity")
    module = build("gpt2")
    source = source_of(module)
    encoding = source.encode(parity)
    drawn, again, other = (source.untrained(encoding, seed=seed) for seed in (0, 0, 1))
    for (name, own), *redrawn in zip(
        module.named_parameters(), *(m.parameters() for m in (drawn, again, other)), strict=True
    ):
        assert torch.equal(redrawn[0], redrawn[1])
        if own.std() > 0:
            assert not torch.equal(redrawn[0], own), name
            assert not torch.equal(redrawn[0], redrawn[2])
            assert 0.5 < float((redrawn[0].std() / own.std()).detach()) < 2


def test_a_tokenizer_makes_symbols_text(registry: Registry) -> None:
    parity, z6 = (
        configure(registry.load("task", name), {}, name=name) for name in ("parity", "z6")
    )
    module, tokenizer = build("gpt2"), character_tokenizer()
    for given in ((module, tokenizer), mecheval.wrap(module, tokenizer)):
        encoding = source_of(given).encode(parity)
        texts = [parity.strings[i] for i in range(len(parity.symbols)) if i]
        wanted = [tokenizer(text, add_special_tokens=False)["input_ids"][0] for text in texts]
        assert encoding.code_C.tolist() == [tokenizer.bos_token_id, *wanted]
    assert source_of(module).encode(z6).code_C.tolist() == list(range(len(z6.symbols)))


def test_a_text_that_is_no_token_says_the_way_out(registry: Registry) -> None:
    parity = configure(registry.load("task", "parity"), {}, name="parity")
    with pytest.raises(UsageError, match="Leave the tokenizer out") as caught:
        source_of((build("gpt2"), word_tokenizer(["nothing"]))).encode(parity)
    assert "symbols=added" not in str(caught.value)


def test_a_missing_bos_becomes_a_new_token(registry: Registry) -> None:
    parity = configure(registry.load("task", "parity"), {}, name="parity")
    module = build("gpt2")
    source = source_of((module, character_tokenizer(unk_token="<unk>")))
    encoding = source.encode(parity)
    assert encoding.added == (parity.symbols[0],)
    built: Any = source.build(encoding, seed=0)
    assert (built.vocab_size, module.lm_head.out_features) == (62, 61)


def test_a_card_needs_a_recipe() -> None:
    with pytest.raises(UsageError, match="has no training recipe"):
        source_of((Recurrent(in_list=True), card()))
