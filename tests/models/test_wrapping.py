"""A module in memory is taken wherever a model is, looked into once, and never served stale."""

from __future__ import annotations

import copy
import gc
import pickle
import weakref
from typing import Any

import numpy as np
import pytest
import torch
from hf_families import build
from plain_modules import VOCABULARY, Attention, Recurrent
from torch import nn

import mecheval
from mecheval.errors import UsageError
from mecheval.interventions import answer_logits
from mecheval.models import wrapping
from mecheval.models.checks import check_model
from mecheval.models.listing import site_infos
from mecheval.models.sites import Site
from mecheval.models.wrapped.model import WrappedModel
from mecheval.models.wrapping import as_model

CLEAN_BT = torch.randint(3, VOCABULARY, (3, 7), generator=torch.Generator().manual_seed(0))
CORRUPTED_BT = CLEAN_BT.index_fill(1, torch.tensor([2]), 1)
PAIRS = (CLEAN_BT, CORRUPTED_BT, [1, 2, 3], [2, 3, 1], [6, 6, 5])


def test_a_module_is_wrapped_as_it_is() -> None:
    module = build("gpt2").double().train()
    model = mecheval.wrap(module, tokenizer="its tokenizer")
    assert model.module is module
    assert not module.training
    assert next(model.parameters()).dtype == torch.float64
    assert model.tokenizer == "its tokenizer"


@pytest.mark.parametrize("module", [build("gpt2"), build("mamba"), Attention(norm_first=True)])
def test_every_public_function_takes_a_module(module: nn.Module) -> None:
    model = WrappedModel(copy.deepcopy(module).eval())
    module.train()
    base = (CLEAN_BT, *PAIRS[2:])
    for made, wanted in (
        (mecheval.recovery_grid(module, *PAIRS), mecheval.recovery_grid(model, *PAIRS)),
        *((mecheval.ablation_grid(m, *base, donor=mecheval.interventions.Zero()) for m in both)
          for both in [(module, model)]),
    ):  # fmt: skip
        np.testing.assert_array_equal(made.patched, wanted.patched)
    guesses = [mecheval.gradient_guess(m, *PAIRS).guessed for m in (module, model)]
    np.testing.assert_array_equal(*guesses)
    site = Site(1, "block_out")
    traces = [mecheval.trace(m, CLEAN_BT, [site])[site] for m in (module, model)]
    np.testing.assert_array_equal(*traces)
    edits = {site: torch.zeros_like}
    answers = [answer_logits(m, CLEAN_BT, [1, 2], edits=edits) for m in (module, model)]
    np.testing.assert_array_equal(*answers)
    given = {"donor": mecheval.interventions.Zero(), "positions_B": [2, 2, 2]}
    given["held_out_NT"] = torch.arange(3, 3 + 7 * 16).view(16, 7) % (VOCABULARY - 3)
    ranks = [mecheval.naturalness(m, CLEAN_BT, PAIRS[4], **given).rank for m in (module, model)]
    np.testing.assert_array_equal(*ranks)
    assert mecheval.load_model(module) is as_model(module)
    assert [str(c) for c in check_model(module)] == [str(c) for c in check_model(model)]
    assert site_infos(module) == site_infos(model)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (3, "A int is not a model. Give one of mecheval.load_model or mecheval.wrap"),
        ("mamba", r"The name 'mamba' is no model yet.*mecheval.load_model\('mamba'\)"),
        ((Recurrent(True), "card"), "A tuple is not a model"),
        (nn.Linear(3, 3), "Linear does not run on token ids of shape"),
        (nn.Embedding(9, 3).requires_grad_(False).half(), None),
        (nn.LSTM(3, 3), "LSTM does not run on token ids"),
        (nn.Identity(), "A Identity without parameters is not a model"),
    ],
)
def test_what_cannot_be_wrapped_says_what_can(given: Any, said: str | None) -> None:
    if said is None:  # it maps token ids to something like logits, without any block
        assert as_model(given).no_blocks
        return
    for function in (as_model, lambda given: mecheval.recovery_grid(given, *PAIRS)):
        with pytest.raises(UsageError, match=said):
            function(given)
    if not isinstance(given, nn.Module):
        with pytest.raises(UsageError):
            mecheval.wrap(given)


def test_models_are_not_wrapped_twice() -> None:
    module = Recurrent(in_list=True)
    again = mecheval.wrap(mecheval.wrap(module), "tokenizer")
    assert (again.module, again.tokenizer) == (module, "tokenizer")
    with pytest.raises(UsageError, match="is a model already"):
        mecheval.wrap(mecheval.load_model("gru"))


def looks(monkeypatch: pytest.MonkeyPatch) -> list[nn.Module]:
    """Return a list that grows by a module whenever one is looked into."""
    seen: list[nn.Module] = []

    class Counted(WrappedModel):
        def __init__(self, module: nn.Module, blocks: Any = None) -> None:
            seen.append(module)
            super().__init__(module, blocks)

    monkeypatch.setattr(wrapping, "WrappedModel", Counted)
    return seen


def test_a_module_is_looked_into_once(monkeypatch: pytest.MonkeyPatch) -> None:
    seen, module = looks(monkeypatch), build("gpt2")
    first = mecheval.recovery_grid(module, *PAIRS)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.mul_(1.5)  # as a training does
    second = mecheval.recovery_grid(module.double(), *PAIRS)
    assert len(seen) == 1
    assert np.abs(second.patched - first.patched).max() > 0.1
    wanted = mecheval.recovery_grid(copy.deepcopy(module), *PAIRS, engine="hooks")
    np.testing.assert_allclose(second.patched, wanted.patched, rtol=1e-9)


def other_head(module: Any) -> None:
    module.lm_head = nn.Linear(32, 61)


def pruned(module: Any) -> None:
    del module.transformer.h[1]


def resized(module: Any) -> None:
    module.resize_token_embeddings(70, mean_resizing=False)


def hooked(module: Any) -> None:
    module.transformer.h[0].mlp.register_forward_hook(lambda *given: given[2] * 2)


def another_code(module: Any) -> None:
    mlp = module.transformer.h[1].mlp
    mlp.forward = lambda x_BTD: 3 * type(mlp).forward(mlp, x_BTD)


def configured(module: Any) -> None:
    module.config._attn_implementation = "eager"


@pytest.mark.parametrize("change", [other_head, pruned, resized, hooked, another_code, configured])
def test_a_module_whose_parts_change_is_looked_into_again(change: Any) -> None:
    module = build("gpt2")
    held = mecheval.wrap(module, "tokenizer")
    mecheval.recovery_grid(module, *PAIRS)
    change(module)
    model: Any = as_model(module)
    assert model is not held
    assert as_model(held) is model  # what is held in hand is not served stale either
    assert as_model(module) is model
    assert model.tokenizer == "tokenizer"
    made, wanted = (
        mecheval.recovery_grid(m, *PAIRS, engine=engine)
        for m, engine in ((held, "auto"), (copy.deepcopy(module), "hooks"))
    )
    np.testing.assert_allclose(made.patched, wanted.patched, rtol=1e-3, atol=1e-5)
    assert model.n_layers == len(module.transformer.h)


@pytest.mark.parametrize("when", ["before", "as a model", "behind its back"])
def test_experts_in_float64_run_one_by_one(when: str) -> None:
    module: Any = build("mixtral")
    tokens_BT = torch.tensor([[1, 2, 3, 4], [1, 5, 3, 4]])
    expected_BTC = mecheval.wrap(copy.deepcopy(module))(tokens_BT)
    if when == "before":
        model: Any = mecheval.wrap(module.double())
    else:
        model = mecheval.wrap(module)
        (model if when == "as a model" else module).double()
    assert (as_model(model) is model) == (when != "behind its back")  # it is looked into once
    model = as_model(model)
    torch.testing.assert_close(model(tokens_BT), expected_BTC.double(), rtol=1e-4, atol=1e-5)
    grid = mecheval.recovery_grid(
        model, tokens_BT[:1], tokens_BT[1:], [1], [2], [3], engine="fastest"
    )
    assert grid.execution.engine == "tails"


def test_a_model_goes_with_its_module_and_is_neither_copied_nor_saved() -> None:
    module = Recurrent(in_list=True)
    model = weakref.ref(as_model(module))
    saved = pickle.dumps(module)
    assert b"mecheval.models" not in saved
    for copied in (copy.deepcopy(module), pickle.loads(saved)):
        assert vars(copied)[wrapping._KEPT] is None
        made: Any = as_model(copied)
        assert made.module is copied
    assert module.state_dict().keys() == Recurrent(in_list=True).state_dict().keys()
    del module
    gc.collect()
    assert model() is None


def test_compiled_modules() -> None:
    module = Recurrent(in_list=True)
    compiled: Any = torch.compile(module, backend="eager")
    assert mecheval.wrap(compiled).module is module
    module.norm.compile(backend="eager")
    with pytest.raises(UsageError, match=r"Its part norm was compiled in place by .compile\(\)"):
        as_model(module)


def test_named_modules_can_be_traced_and_edited() -> None:
    module = Recurrent(in_list=True, residual=True)
    found = mecheval.trace(module, CLEAN_BT, ["layers.1", "norm"])
    assert {path: value.shape for path, value in found.items()} == {
        "layers.1": (3, 7, 24), "norm": (3, 7, 24),
    }  # fmt: skip
    at_B = mecheval.trace(module, CLEAN_BT, ["norm"], positions_B=np.array([0, 3, 6]))["norm"]
    np.testing.assert_array_equal(at_B, found["norm"][range(3), [0, 3, 6]])
    edited_BTA = answer_logits(module, CLEAN_BT, [1, 2], edits={"norm": torch.zeros_like})
    np.testing.assert_allclose(
        edited_BTA, np.broadcast_to(module.head.bias.detach()[[1, 2]], (3, 7, 2)), rtol=1e-6
    )
    with pytest.raises(UsageError, match=r"Unknown module 'norn'. Did you mean 'norm'?"):
        mecheval.trace(module, CLEAN_BT, ["norn"])


def test_without_blocks_a_sentence_says_so() -> None:
    model = mecheval.wrap(Recurrent(in_list=True, residual=True))
    assert (model.n_layers, model.vocab_size, model.d_model) == (0, VOCABULARY, 24)
    for ask in (
        lambda: mecheval.recovery_grid(model, *PAIRS),
        lambda: mecheval.gradient_guess(model, *PAIRS),
        lambda: mecheval.trace(model, CLEAN_BT, [Site(0, "block_in")]),
        lambda: site_infos(model),
        lambda: model.state(CLEAN_BT, 0),
    ):
        with pytest.raises(UsageError, match=r"^No blocks were found in Recurrent.*blocks="):
            ask()
    checks = {check.name: check.passed for check in check_model(model)}
    assert checks["sites cover all layers"] is None
    assert False not in checks.values()
    position_B = torch.tensor([0, 2, 6])
    wanted_BC = model(CLEAN_BT)[torch.arange(3), position_B]
    made_B1C = model.logits_at(CLEAN_BT, position_B[:, None])
    torch.testing.assert_close(made_B1C[:, 0], wanted_BC)


def test_grids_of_named_blocks() -> None:
    """Each is a full pass with a hook; no faster engine is taken for exact where it is not."""
    module = Recurrent(in_list=True, residual=True).double()
    model = mecheval.wrap(module, blocks=["layers.0", "layers.2"])
    grid = mecheval.recovery_grid(model, *PAIRS, components=["block_out"], layers=[1])
    assert grid.execution.engine == "hooks"
    clean_BTD = mecheval.trace(module, CLEAN_BT, ["layers.2"])["layers.2"]

    def put(value_BTD: torch.Tensor) -> torch.Tensor:
        return torch.cat([value_BTD[:, :4], torch.tensor(clean_BTD[:, 4:5]), value_BTD[:, 5:]], 1)

    # The path names the same module as the site, whose position 4 is the clean run's now.
    wanted_BTA = answer_logits(model, CORRUPTED_BT, range(VOCABULARY), edits={"layers.2": put})
    rows = range(3)
    wanted_B = wanted_BTA[rows, PAIRS[4], PAIRS[2]] - wanted_BTA[rows, PAIRS[4], PAIRS[3]]
    np.testing.assert_allclose(grid.patched[0, 0, 4], wanted_B, rtol=1e-4, atol=1e-6)
