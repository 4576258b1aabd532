"""What layers write and remember, as rows: those of the mixers, and put back without a trace."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import mecheval
from mecheval.interventions import answer_logits
from mecheval.interventions.activations import activations
from mecheval.interventions.memory_sites import MemorySite, memory_site
from mecheval.interventions.replaced_sites import ReplacedSites
from mecheval.models.decomposition import Refusal
from mecheval.models.sites import Site

TOKENS_BT = np.random.default_rng(0).integers(1, 7, (3, 6))
ANSWERS_A = [1, 2, 3]
WRITES = ("lstm", "gru", "mamba", "mamba2", "deltanet", "gated_deltanet", "rwkv7", "based", "h3",
          "gla", "attention", "hyena")  # fmt: skip
REMEMBERS = tuple(name for name in WRITES if name not in ("attention", "hyena"))
CASES = [*((n, "write") for n in WRITES), *((n, "state") for n in REMEMBERS)]


def load(name: str) -> mecheval.models.contract.SequenceModel:
    return mecheval.load_model(f"{name}[layers=2,width=16]", vocab_size=7).eval()


@pytest.mark.parametrize(("name", "component"), CASES)
def test_rows_are_put_back_without_a_trace(name: str, component: str) -> None:
    model, seen = load(name), []
    clean_BTA = answer_logits(model, TOKENS_BT, ANSWERS_A)
    layer = int(name == "based")  # whose first layer convolves
    runs = ReplacedSites(model, TOKENS_BT, ANSWERS_A, batch_size=2)

    def same(runs_: slice, first: int, row_BUW: torch.Tensor) -> torch.Tensor:
        seen.append((runs_, first, row_BUW))
        return row_BUW

    found_BTA = runs.logits(layer, component, same)
    np.testing.assert_allclose(found_BTA, clean_BTA, atol=2e-5)
    site = memory_site(model, layer, component)
    assert isinstance(site, MemorySite)
    assert {row_BUW.shape[-1] for *_, row_BUW in seen} == {site.width}
    other_BTA = runs.logits(layer, component, lambda _, first, row_BUW: torch.zeros_like(row_BUW))
    moved_T = np.abs(other_BTA - clean_BTA).max((0, 2))
    assert moved_T[1:].min() > 1e-6  # what a position remembers later ones read
    if component == "state":
        assert moved_T[0] < 2e-5


@pytest.mark.parametrize("name", REMEMBERS)
def test_rows_of_state_are_what_the_layer_remembers(name: str) -> None:
    model, tokens_BT = load(name), torch.as_tensor(TOKENS_BT)
    site = memory_site(model, 1, "state")
    assert isinstance(site, MemorySite)
    stream_BTD = activations(model, tokens_BT, [Site(1, "block_in")])[Site(1, "block_in")]
    rows = dict(site.rows(stream_BTD, tokens_BT))
    assert sorted(rows) == list(range(6))
    found = [part for name, part in model.state(tokens_BT, 1, 3).parts.items()
             if not name.startswith("recent")]  # fmt: skip
    known_BW = torch.cat([part.flatten(1) for part in found], 1)
    torch.testing.assert_close(rows[3][:, 0], known_BW, atol=1e-5, rtol=1e-4)


def test_memory_that_grows_or_is_none_is_refused() -> None:
    for name, component, why in (
        ("attention", "state", "grows with every position"),
        ("base_conv", "write", "is not defined"),
    ):
        found = memory_site(load(name), 0, component)
        assert isinstance(found, Refusal)
        assert why in found.reason
