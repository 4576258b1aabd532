"""Streams put together of other runs', against one run after the other, block by block.

Shape suffixes: ``S`` runs that give, ``B`` runs that get, ``R`` rows, ``T`` positions, ``D`` width.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from crossings import mostly_slow
from torch import Tensor

import mecheval
from mecheval.interventions import answer_logits
from mecheval.interventions.exchanged_memory import ExchangedMemory
from mecheval.interventions.exchanged_streams import ExchangedStreams
from mecheval.interventions.layer_streams import GivingRuns
from mecheval.models.decomposition import Layer, Refusal
from mecheval.models.sites import stream_sites
from mecheval.models.wrapped.model import WrappedModel
from mecheval.registry import Registry
from tests.hf_families import build

ANSWERS = [3, 1, 5]
OWN = [
    entry.name
    for entry in Registry().entries("model")
    if "/" not in entry.name and entry.distribution is None and entry.path.name != "pretrained.py"
]
KINDS = ["transformer", "mamba", "lstm", "gla", "deltanet", "hyena", "rwkv7"]
"""One of every kind of memory."""

GIVING, GETTING, LENGTH = 9, 4, 7


def model_of(name: str) -> mecheval.SequenceModel:
    if name.startswith("hf:"):
        return WrappedModel(build(name[3:]).eval())
    return mecheval.load_model(f"{name}[layers=2,width=16]", task="dyck").eval()


def drawn() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    tokens_BT = rng.integers(1, 6, (GETTING, LENGTH))
    giving_ST = rng.integers(1, 6, (GIVING, LENGTH))
    row_R = np.array([3, 0, 0, 1, 2])
    return tokens_BT, giving_ST, row_R, rng.integers(-1, GIVING, (len(row_R), LENGTH))


def stream_of(model: mecheval.SequenceModel, tokens_T: np.ndarray, layer: int) -> Tensor:
    """Run some blocks on one sequence; return the stream ``(1, T, D)``."""
    stream_1TD = model.embed(torch.as_tensor(tokens_T)[None])  # type: ignore[operator]
    for block in model.blocks[:layer]:
        stream_1TD = block(stream_1TD)
    return stream_1TD


@pytest.mark.parametrize("name", mostly_slow(OWN, always=KINDS))
@torch.no_grad()
def test_logits_are_those_of_one_row_after_the_other(name: str) -> None:
    model = model_of(name)
    tokens_BT, giving_ST, row_R, donor_RT = drawn()
    streams = ExchangedStreams(model, tokens_BT, giving_ST, ANSWERS, batch_size=3)
    for layer in range(model.n_layers + 1):
        made_RTA = streams.logits(layer, donor_RT, row_R)
        for r, row in enumerate(row_R):
            stream_1TD = stream_of(model, tokens_BT[row], layer)
            for t, donor in enumerate(donor_RT[r]):
                if donor >= 0:
                    stream_1TD[0, t] = stream_of(model, giving_ST[donor], layer)[0, t]
            for block in model.blocks[layer:]:
                stream_1TD = block(stream_1TD)
            wanted_TA = model.readout(stream_1TD)[0][:, ANSWERS]  # type: ignore[operator]
            np.testing.assert_allclose(made_RTA[r], wanted_TA, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["hf:gpt_neox", "hf:mamba", "hf:falcon", "hf:bloom"])
def test_checkpoints_go_on_from_exchanged_streams(name: str) -> None:
    model = model_of(name)
    tokens_BT, giving_ST, row_R, donor_RT = drawn()
    sites = stream_sites(model.n_layers)
    own, given = (mecheval.trace(model, t, sites) for t in (tokens_BT, giving_ST))
    streams = ExchangedStreams(model, tokens_BT, giving_ST, ANSWERS, batch_size=3)
    for layer, site in enumerate(sites):
        stream_RTD = own[site][row_R]
        r_N, t_N = np.nonzero(donor_RT >= 0)
        stream_RTD[r_N, t_N] = given[site][donor_RT[r_N, t_N], t_N]
        whole_RTD = torch.as_tensor(stream_RTD)
        wanted = answer_logits(
            model, tokens_BT[row_R], ANSWERS, edits={site: lambda _, x=whole_RTD: x}
        )
        made = streams.logits(layer, donor_RT, row_R)
        np.testing.assert_allclose(made, wanted, rtol=1e-4, atol=1e-5)


def test_without_a_donor_the_run_is_as_it_was() -> None:
    model = model_of("gru")
    tokens_BT, giving_ST, row_R, donor_RT = drawn()
    streams = ExchangedStreams(model, tokens_BT, giving_ST, ANSWERS, batch_size=3)
    wanted = answer_logits(model, tokens_BT[row_R], ANSWERS)
    for layer in range(model.n_layers + 1):
        made = streams.logits(layer, np.full_like(donor_RT, -1), row_R)
        np.testing.assert_allclose(made, wanted, rtol=1e-5, atol=1e-6)


def test_same_tokens_give_the_same_stream_before_the_first_block() -> None:
    model = model_of("transformer")
    tokens_BT, _, row_R, donor_RT = drawn()
    giving_ST = np.repeat(tokens_BT[:1], GIVING, 0)
    streams = ExchangedStreams(model, giving_ST[:GETTING], giving_ST, ANSWERS, batch_size=2)
    assert streams.unchanged(0, donor_RT, row_R)
    streams = ExchangedStreams(model, tokens_BT, giving_ST, ANSWERS, batch_size=2)
    assert not streams.unchanged(0, donor_RT, row_R)


@pytest.mark.parametrize("exchange", [ExchangedStreams, ExchangedMemory])
@pytest.mark.parametrize("name", ["lstm", "transformer", "hf:gpt_neox"])
def test_in_whatever_memory_the_same_is_answered(
    name: str, exchange: type[ExchangedStreams | ExchangedMemory]
) -> None:
    model = model_of(name)
    tokens_BT, giving_ST, row_R, donor_RT = drawn()
    found = {}
    for runs in (1, 8, 40, 800):  # parts of 1, 1, 5 and all; blocks of rows of 1, all, all, all
        memory = runs * LENGTH * model.d_model * 4
        exchanged = exchange(model, tokens_BT, giving_ST, ANSWERS, batch_size=4, memory=memory)
        if isinstance(exchanged, ExchangedMemory) and exchanged.refusal():
            return
        layers = (*range(model.n_layers + 1), 1, 0)  # in order, and back again
        found[runs] = [exchanged.logits(layer, donor_RT, row_R) for layer in layers]
    for made in found.values():
        for few, enough in zip(made, found[800], strict=True):
            np.testing.assert_allclose(few, enough, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("runs", "blocks"),
    [
        (800, 4),  # each block once: where the model comes apart all are kept
        (17, 4),  # nothing is kept, and rows are gathered at all four layers on one way
        (14, 3 + 4),
        (10, 2 + 4),
        (6, 1 + 2 + 3 + 4),
        (2, 3 * (1 + 2 + 3 + 4)),  # rows one by one
    ],
)
@pytest.mark.parametrize("apart", [True, False])
@torch.no_grad()
def test_blocks_are_run_again_as_rarely_as_memory_allows(
    runs: int, blocks: int, apart: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = mecheval.load_model("transformer[layers=4,width=16]", task="dyck").eval()
    _, giving_ST, _, donor_RT = drawn()
    wanted = [
        sum(stream_of(model, run_T, layer).sum() for run_T in giving_ST) for layer in range(5)
    ]
    passed = []
    if apart:
        run = Layer.run
        monkeypatch.setattr(Layer, "run", lambda *x: passed.append(len(x[1])) or run(*x))
    else:
        monkeypatch.setattr(model, "decomposition", lambda: Refusal("it does not come apart"))
        for block in model.blocks:
            block.register_forward_hook(lambda _, args, out: passed.append(len(args[0])))
    giving = GivingRuns(model, giving_ST, batch_size=4, memory=runs * LENGTH * 16 * 4)
    for layer in range(5):
        for rows in giving.rows(3):
            found = giving.gathered(
                range(layer, 5),
                (donor_RT[rows],),
                lambda at, first, stream_STD, before: stream_STD.sum() + (before or 0),
            )
            torch.testing.assert_close(found, wanted[layer])
    assert sum(passed) == blocks * GIVING


def test_other_donors_get_what_is_theirs() -> None:
    model = model_of("gru")
    tokens_BT, giving_ST, row_R, donor_RT = drawn()
    memory = 16 * LENGTH * model.d_model * 4
    for exchange in (ExchangedStreams, ExchangedMemory):
        made = [exchange(model, tokens_BT, giving_ST, ANSWERS, batch_size=4, memory=memory)]
        made.append(exchange(model, tokens_BT, giving_ST, ANSWERS, batch_size=4))
        for layer, donors_RT in ((1, donor_RT), (2, donor_RT[::-1].copy()), (2, donor_RT)):
            few, enough = (x.logits(layer, donors_RT, row_R) for x in made)
            np.testing.assert_allclose(few, enough, rtol=1e-4, atol=1e-5)


def test_below_the_layer_nothing_is_run_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    model, runs = model_of("transformer"), []
    tokens_BT, giving_ST, row_R, donor_RT = drawn()
    streams = ExchangedStreams(model, tokens_BT, giving_ST, ANSWERS, batch_size=16)
    streams.logits(1, donor_RT, row_R)
    project = model.blocks[0].mixer.project
    monkeypatch.setattr(
        model.blocks[0].mixer, "project", lambda *given: runs.append(1) or project(*given)
    )
    for layer in (1, 2):
        streams.logits(layer, donor_RT, row_R)
    assert runs == []


@pytest.mark.parametrize("name", mostly_slow(OWN, always=KINDS))
@torch.no_grad()
def test_memory_of_others_is_read_position_by_position(name: str) -> None:
    """Against the state that the model says it has, of one donor after the other."""
    model = model_of(name)
    tokens_BT, giving_ST, row_R, donor_RT = drawn()
    exchanged = ExchangedMemory(model, tokens_BT, giving_ST, ANSWERS, batch_size=3)
    if exchanged.refusal():
        assert "recent" in model.state(torch.as_tensor(tokens_BT), 0).parts
        return
    for layer in range(1, model.n_layers + 1):
        made_RTA = exchanged.logits(layer, donor_RT, row_R)
        part = model.decomposition().layers[layer - 1]  # type: ignore[union-attr]
        for r, row in enumerate(row_R):
            stream_1TD = stream_of(model, tokens_BT[row], layer - 1)
            normed_1TD, mixed = part.enter(stream_1TD), []
            for t in range(LENGTH):
                memory = after(model, tokens_BT[row], layer - 1, t - 1)
                donor = donor_RT[r, t - 1]
                if t and donor >= 0:
                    n_own = part.mixing.n_recent
                    others = after(model, giving_ST[donor], layer - 1, t - 1)
                    memory = (*memory[:n_own], *others[n_own:])
                signals = part.mixing.project(normed_1TD[:, t : t + 1], memory)
                mixed.append(part.mixing.output(signals, memory))
            stream_1TD = part.leave(stream_1TD, torch.cat(mixed, 1))
            for block in model.blocks[layer:]:
                stream_1TD = block(stream_1TD)
            wanted_TA = model.readout(stream_1TD)[0][:, ANSWERS]  # type: ignore[operator]
            np.testing.assert_allclose(made_RTA[r], wanted_TA, rtol=1e-4, atol=1e-5)


def after(
    model: mecheval.SequenceModel, tokens_T: np.ndarray, layer: int, t: int
) -> tuple[Tensor, ...]:
    if t < 0:
        return ()
    return tuple(model.state(torch.as_tensor(tokens_T)[None], layer, t).parts.values())


def test_memory_of_a_checkpoint_is_exchanged_or_refused() -> None:
    tokens_BT, giving_ST, row_R, donor_RT = drawn()
    for name in ("hf:gpt_neox", "hf:mamba"):
        model = model_of(name)
        exchanged = ExchangedMemory(model, tokens_BT, giving_ST, ANSWERS, batch_size=3)
        assert exchanged.refusal() is None
        plain = answer_logits(model, tokens_BT[row_R], ANSWERS)
        own = exchanged.logits(1, np.full_like(donor_RT, -1), row_R)
        np.testing.assert_allclose(own, plain, rtol=1e-3, atol=1e-4)
        assert np.abs(exchanged.logits(1, donor_RT, row_R) - plain).max() > 1e-3
        assert np.abs(exchanged.logits(0, donor_RT, row_R) - plain).max() < 1e-4
