"""A module of the user's own is measured with the weights that it has."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from plain_modules import VOCABULARY, Attention, Recurrent

from mecheval.errors import UsageError
from mecheval.models.contract import ModelCard
from mecheval.models.load import source_of
from mecheval.recipe import Recipe
from mecheval.registry import Registry
from mecheval.tasks.contract import configure


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


@pytest.mark.parametrize("given", [3, "gru", Recurrent(in_list=True), (Recurrent(True), "card")])
def test_what_is_no_model(given: Any) -> None:
    with pytest.raises(UsageError, match=r"is not a model.*\(module, card\)"):
        source_of(given)


def test_a_card_needs_a_recipe() -> None:
    with pytest.raises(UsageError, match="has no training recipe"):
        source_of((Recurrent(in_list=True), card()))
