"""The engines agree: tails and blocks with whole forward passes under plain hooks."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from crossings import mostly_slow

import mecheval
from mecheval.errors import UsageError
from mecheval.interventions import (
    Interchange,
    Mean,
    Subspace,
    Zero,
    ablation_grid,
    recovery_grid,
    trace,
)
from mecheval.interventions.engines import tails as tails_engine
from mecheval.models.sites import MEMORY, Site

NAMES = [
    "transformer", "transformer[positions=learned]", "mamba", "mamba[d_conv=0]",
    "mamba[d_conv=1,eigenvalues=[-1,1]]", "mamba2", "mamba2[d_conv=2]", "lstm", "gru",
    "mamba2[rotation=true]", "deltanet[eigenvalues=[-1,1]]", "deltaproduct[eigenvalues=[-1,1]]",
    "hyena",
]  # fmt: skip
FEW = ["transformer", "mamba", "lstm", "hyena"]
KINDS = [*FEW, "mamba2[d_conv=2]", "deltanet[eigenvalues=[-1,1]]"]
"""One of every kind of memory: a list, a state behind taps or none, a matrix that is rewritten."""

READ = ["some read early", "all read last"]
EXACT = {"rtol": 1e-9, "atol": 1e-11}


def build(name: str, layers: int = 3) -> mecheval.SequenceModel:
    head, _, rest = name.partition("[")
    spec = f"{head}[layers={layers},width=32" + (f",{rest}" if rest else "]")
    return mecheval.load_model(spec, vocab_size=7).double()


def tensors(model) -> tuple[str, ...]:
    return tuple(dict.fromkeys(site.component for site in model.taps()))


@pytest.fixture(params=READ)
def pairs(request: pytest.FixtureRequest) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    early = request.param == "some read early"
    clean = rng.integers(0, 7, (5, 9))
    corrupted = clean.copy()
    changed = np.array([0, 2, 3, 5, 8])
    corrupted[np.arange(5), changed] = (clean[np.arange(5), changed] + 1) % 7
    return {
        "clean_BT": clean,
        "corrupted_BT": corrupted,
        "answers_B": rng.integers(0, 3, 5),
        "foils_B": rng.integers(3, 7, 5),
        "readout_B": np.array([8, 8, 6, 7, 8] if early else [8] * 5),
    }


@pytest.mark.parametrize(
    ("name", "readout", "pairs"),
    mostly_slow(
        itertools.product(NAMES, ["logit_difference", "log_prob"], READ),
        always=[
            *((name, "logit_difference", READ[0]) for name in KINDS),
            *((name, "logit_difference", READ[1]) for name in FEW[:2]),
            ("mamba", "log_prob", READ[0]),
        ],
    ),
    indirect=["pairs"],
)
def test_tails_equal_hooks_at_every_site(name, readout, pairs) -> None:
    model = build(name)
    how = {"components": tensors(model), "readout": readout}
    fast = recovery_grid(model, **pairs, **how, engine="tails")
    plain = recovery_grid(model, **pairs, **how, engine="hooks")
    assert fast.execution.engine == "tails"
    assert np.isfinite(plain.patched).all()
    np.testing.assert_allclose(fast.patched, plain.patched, **EXACT)
    np.testing.assert_array_equal(fast.clean, plain.clean)


@pytest.mark.parametrize("span", [2, 4])
@pytest.mark.parametrize("name", ["transformer", "mamba", "mamba2[d_conv=2]", "lstm", "hyena"])
def test_positions_patched_together(name: str, span: int, pairs) -> None:
    """All at once, which is no sum of patches: as in a run that is edited at each of them."""
    model = build(name, layers=2)
    pairs["corrupted_BT"][0, 3] = (pairs["clean_BT"][0, 3] + 1) % 7  # two changes, if 3 apart
    how = {"components": tensors(model), "span": span}
    fast, plain = (recovery_grid(model, **pairs, **how, engine=e) for e in ("tails", "hooks"))
    assert fast.execution.engine == "tails"
    np.testing.assert_allclose(fast.patched, plain.patched, **EXACT)
    site, first = Site(1, "block_in"), 2
    clean = torch.as_tensor(trace(model, pairs["clean_BT"], [site])[site])

    def edit(value_BTD: torch.Tensor) -> torch.Tensor:
        return torch.cat(
            [value_BTD[:, :first], clean[:, first : first + span], value_BTD[:, first + span :]], 1
        )

    logits_BTA = mecheval.interventions.answer_logits(
        model, pairs["corrupted_BT"], list(range(7)), edits={site: edit}
    )
    row = np.arange(5)
    answer, foil = (
        logits_BTA[row, pairs["readout_B"], pairs[name]] for name in ("answers_B", "foils_B")
    )
    np.testing.assert_allclose(plain.component("block_in")[1, first], answer - foil, atol=1e-5)
    # Before layer 0 a patch of all that differs makes another run of it, and one of a part does not
    whole = plain.component("block_in")[0, 0, 0] == plain.clean[0]
    assert whole == (span == 4)


def test_memory_is_that_of_one_position(pairs) -> None:
    with pytest.raises(UsageError, match=r"state is that of one position; got span=2"):
        recovery_grid(build("transformer", 1), **pairs, components=["state"], span=2)


@pytest.mark.parametrize("pairs", mostly_slow(READ, always=READ[1:]), indirect=True)
@pytest.mark.parametrize("name", mostly_slow(NAMES, always=FEW))
def test_the_memory_of_a_pass_does_not_change_the_result(name, pairs) -> None:
    model = build(name, layers=2)
    how = {"components": (*tensors(model), *MEMORY), "engine": "tails"}
    whole = recovery_grid(model, **pairs, **how)
    small = recovery_grid(model, **pairs, **how, memory=1)
    assert whole.execution.rows > small.execution.rows == 1
    np.testing.assert_allclose(small.patched, whole.patched, **EXACT)


@pytest.mark.parametrize("pairs", mostly_slow(READ, always=READ[:1]), indirect=True)
@pytest.mark.parametrize("name", mostly_slow(NAMES, always=KINDS))
def test_noising_puts_corrupted_activations_into_clean_runs(name, pairs) -> None:
    model = build(name)
    grid = recovery_grid(model, **pairs, direction="noising", engine="tails")
    swapped = {**pairs, "clean_BT": pairs["corrupted_BT"], "corrupted_BT": pairs["clean_BT"]}
    other = recovery_grid(model, **swapped, engine="hooks")
    np.testing.assert_allclose(grid.patched, other.patched, **EXACT)
    np.testing.assert_array_equal(grid.clean, other.corrupted)
    np.testing.assert_array_equal(grid.corrupted, other.clean)


def states_of(model, tokens_BT: np.ndarray) -> list:
    """Return the state after every position, stepping token by token."""
    state, states = model.start(len(tokens_BT)), []
    for tokens_B in torch.as_tensor(tokens_BT).unbind(1):
        _, state = model.step(tokens_B, state)
        states.append(state)
    return states


def stepped_on(model, pairs, state, position: int) -> np.ndarray:
    """Go on token by token with the corrupted tokens, and read every pair at its readout."""
    values_B = np.full(len(pairs["readout_B"]), np.nan)
    for t in range(position + 1, pairs["corrupted_BT"].shape[1]):
        logits_BC, state = model.step(torch.as_tensor(pairs["corrupted_BT"][:, t]), state)
        for b in np.flatnonzero(pairs["readout_B"] == t):
            answer, foil = pairs["answers_B"][b], pairs["foils_B"][b]
            values_B[b] = logits_BC[b, answer] - logits_BC[b, foil]
    return values_B


@pytest.mark.parametrize("pairs", mostly_slow(READ, always=READ[:1]), indirect=True)
@pytest.mark.parametrize("name", mostly_slow(NAMES, always=KINDS))
@torch.inference_mode()
def test_swapped_memory_equals_a_run_step_by_step(name, pairs) -> None:
    model = build(name, layers=2)
    grid = recovery_grid(model, **pairs, components=("state", "cache"))
    clean, corrupted = (states_of(model, pairs[f"{kind}_BT"]) for kind in ("clean", "corrupted"))
    for layer, position in itertools.product(range(2), range(8)):
        n_recent = model.decomposition().layers[layer].mixing.n_recent
        for component, kept in (("state", n_recent), ("cache", 0)):
            n, memory = corrupted[position]
            donor = clean[position][1][layer]
            memory = (*memory[:layer], memory[layer][:kept] + donor[kept:], *memory[layer + 1 :])
            expected = stepped_on(model, pairs, (n, memory), position)
            read = ~np.isnan(expected)
            got = grid.component(component)[layer, position]
            np.testing.assert_allclose(got[read], expected[read], **EXACT)
            np.testing.assert_array_equal(got[~read], grid.corrupted[~read])


@pytest.mark.parametrize("name", ["transformer", "mamba", "mamba2", "lstm", "gru"])
def test_what_is_written_carries_all_of_a_layer_with_one_layer(name, pairs) -> None:
    """In the last layer, positions before the readout act through what they write alone."""
    model = build(name, layers=1)
    grid = recovery_grid(model, **pairs, components=("mixer_in", "write", "cache"))
    if name == "transformer":
        before = np.arange(9)[:, None] < pairs["readout_B"]
        np.testing.assert_allclose(
            grid.component("write")[0][before], grid.component("mixer_in")[0][before], **EXACT
        )
    changed = (pairs["clean_BT"] != pairs["corrupted_BT"]).argmax(1)
    for b in (0, 1, 2, 3):
        assert grid.component("write")[0, changed[b], b] != grid.corrupted[b]
        assert (grid.component("write")[0, : changed[b], b] == grid.corrupted[b]).all()


@pytest.mark.parametrize("pairs", mostly_slow(READ, always=READ[:1]), indirect=True)
@pytest.mark.parametrize("name", mostly_slow(NAMES, always=KINDS))
def test_frozen_memory_leaves_one_path(name, pairs) -> None:
    """With one layer nothing is frozen; with more, the total effect is another one."""
    alone = build(name, layers=1)
    free, frozen = (recovery_grid(alone, **pairs, frozen=frozen) for frozen in (False, True))
    np.testing.assert_allclose(frozen.patched, free.patched, **EXACT)
    model = build(name)
    free, frozen = (recovery_grid(model, **pairs, frozen=frozen) for frozen in (False, True))
    assert not np.allclose(free.patched, frozen.patched)
    # A change at the readout itself reaches the answer through the stream and the layer's own
    # output, never through a later memory of other positions.
    np.testing.assert_allclose(frozen.patched[0, -1], free.patched[0, -1], **EXACT)


def test_donors(pairs) -> None:
    model = build("transformer")
    asked = {
        "tokens_BT": pairs["corrupted_BT"],
        **{name: pairs[name] for name in ("answers_B", "foils_B", "readout_B")},
    }
    sites = [Site(layer, "block_in") for layer in range(3)]
    clean = Interchange(torch.as_tensor(pairs["clean_BT"]))
    recovered = recovery_grid(model, **pairs)
    resampled = ablation_grid(model, **asked, donor=clean)
    np.testing.assert_allclose(resampled.patched, recovered.patched, **EXACT)
    everything = Subspace(clean, {site: np.eye(32) for site in sites})
    np.testing.assert_allclose(
        ablation_grid(model, **asked, donor=everything).patched, recovered.patched, **EXACT
    )
    direction = np.random.default_rng(1).normal(size=(32, 1))
    part = Subspace(clean, dict.fromkeys(sites, direction))
    reference = torch.as_tensor(np.random.default_rng(2).integers(0, 7, (20, 9)))
    for donor in (Zero(), Mean(reference), part):
        fast = ablation_grid(model, **asked, donor=donor, engine="tails")
        plain = ablation_grid(model, **asked, donor=donor, engine="hooks")
        np.testing.assert_allclose(fast.patched, plain.patched, **EXACT)
        assert not np.allclose(fast.patched, recovered.patched)
    streams = trace(model, pairs["corrupted_BT"], sites[1:2])[sites[1]]
    donated = trace(model, pairs["clean_BT"], sites[1:2])[sites[1]]
    unit = direction[:, 0] / np.linalg.norm(direction)
    moved = streams + ((donated - streams) @ unit)[..., None] * unit
    by_hand = model.resume(1, torch.as_tensor(np.where(np.arange(9)[:, None] == 4, moved, streams)))
    logits = by_hand[torch.arange(5), torch.as_tensor(pairs["readout_B"])].detach().numpy()
    value = logits[np.arange(5), pairs["answers_B"]] - logits[np.arange(5), pairs["foils_B"]]
    np.testing.assert_allclose(fast.patched[0, 1, 4], value, **EXACT)


def test_donors_that_do_not_fit_are_refused(pairs) -> None:
    model = build("gru")
    asked = {
        "tokens_BT": pairs["corrupted_BT"],
        **{name: pairs[name] for name in ("answers_B", "foils_B", "readout_B")},
    }
    with pytest.raises(UsageError, match="at least 9 positions"):
        ablation_grid(model, **asked, donor=Mean(torch.zeros(3, 4, dtype=torch.long)))
    with pytest.raises(UsageError, match=r"basis of shape \(32, K\)"):
        ablation_grid(model, **asked, donor=Subspace(Zero(), {}))
    with pytest.raises(UsageError, match="Interchange"):
        ablation_grid(model, **asked, donor=Zero(), components=("state",))


def test_memory_runs_out_and_the_grid_goes_on(pairs, monkeypatch) -> None:
    model = build("mamba")
    expected = recovery_grid(model, **pairs, engine="fastest")
    run, passes = tails_engine.Tails.run, []

    def scarce(self, position, groups):
        n_rows = sum(len(group.run_R) for group in groups)
        passes.append(n_rows)
        if n_rows > 3:
            raise torch.OutOfMemoryError("no memory left")
        return run(self, position, groups)

    monkeypatch.setattr(tails_engine.Tails, "run", scarce)
    grid = recovery_grid(model, **pairs, engine="fastest")
    np.testing.assert_allclose(grid.patched, expected.patched, **EXACT)
    assert max(passes) > 3
    assert grid.execution.halvings > 0
    assert grid.execution.rows <= 3
    monkeypatch.setattr(
        tails_engine.Tails, "run", lambda *_: (_ for _ in ()).throw(torch.OutOfMemoryError("none"))
    )
    with pytest.raises(UsageError, match="out of memory with a single run"):
        recovery_grid(model, **pairs, engine="fastest")


def test_an_engine_that_is_not_exact_is_not_taken(pairs) -> None:
    model = build("lstm")
    decomposition = model.decomposition()
    layer = replace(decomposition.layers[1], join=lambda stream, mixed: stream + 1.01 * mixed)
    wrong = replace(decomposition, layers=(decomposition.layers[0], layer, decomposition.layers[2]))
    model.decomposition = lambda: wrong
    grid = recovery_grid(model, **pairs, engine="fastest")
    assert grid.execution.engine == "hooks"
    assert "tails: off by" in grid.execution.reason
    with pytest.raises(UsageError, match="cannot be computed on this model"):
        recovery_grid(model, **pairs, engine="tails")


def test_a_model_that_looks_ahead_is_refused(pairs) -> None:
    model = build("gru")
    forward = model.embed
    model.embed = lambda tokens_BT, **how: (
        forward(tokens_BT, **how) + forward(tokens_BT).mean(1)[:, None]
    )
    with pytest.raises(UsageError, match="not causal"):
        recovery_grid(model, **pairs)


def test_an_interrupted_grid_goes_on_where_it_stopped(pairs, monkeypatch, tmp_path) -> None:
    model, path = build("gru"), tmp_path / "grid.npz"
    expected = recovery_grid(model, **pairs, engine="fastest")
    monkeypatch.setattr("mecheval.interventions.grid_file.SECONDS", 0.0)
    run, seen = tails_engine.Tails.run, []

    def interrupted(self, position, groups):
        if position == 5:
            raise KeyboardInterrupt
        return run(self, position, groups)

    monkeypatch.setattr(tails_engine.Tails, "run", interrupted)
    with pytest.raises(KeyboardInterrupt):
        recovery_grid(model, **pairs, engine="fastest", partial=path)
    assert path.exists()

    def watched(self, position, groups):
        seen.append(position)
        return run(self, position, groups)

    monkeypatch.setattr(tails_engine.Tails, "run", watched)
    other = {**pairs, "answers_B": (pairs["answers_B"] + 1) % 7}
    recovery_grid(model, **other, engine="fastest", partial=tmp_path / "other.npz")
    assert 0 in seen
    seen.clear()
    grid = recovery_grid(model, **pairs, engine="fastest", partial=path)
    np.testing.assert_array_equal(grid.patched, expected.patched)
    assert min(seen) == 5
    assert not path.exists()


def test_a_partial_grid_of_another_grid_is_not_taken(pairs, tmp_path) -> None:
    model, path = build("gru"), tmp_path / "grid.npz"
    path.write_bytes(b"half written")
    expected = recovery_grid(model, **pairs)
    np.testing.assert_array_equal(
        recovery_grid(model, **pairs, partial=path).patched, expected.patched
    )


def test_unequal_lengths_and_foreign_tokens_are_refused(pairs) -> None:
    model = build("gru")
    ragged = {**pairs, "clean_BT": [[1, 2, 3], [1, 2]], "corrupted_BT": [[1, 2, 3], [1, 2]]}
    with pytest.raises(UsageError, match="every pair of one length"):
        recovery_grid(model, **ragged)
    with pytest.raises(UsageError, match="from 0 to 6; got 0 to 7"):
        recovery_grid(model, **{**pairs, "answers_B": np.full(5, 7) * (np.arange(5) > 0)})


def test_every_pair_has_positions_of_its_own(pairs) -> None:
    model = build("lstm")
    whole = recovery_grid(model, **pairs)
    own = np.array([[0, 1], [2, 8], [3, -1], [5, 9], [8, 0]])
    grid = recovery_grid(model, **pairs, positions=own)
    assert grid.axes["position"] == (0, 1)
    for b, row in enumerate(own):
        for j, position in enumerate(row):
            expected = whole.patched[:, :, position, b] if 0 <= position < 9 else np.nan
            np.testing.assert_allclose(
                grid.patched[:, :, j, b], np.broadcast_to(expected, (1, 3)), **EXACT
            )
    with pytest.raises(UsageError, match=r"shape \(5, J\)"):
        recovery_grid(model, **pairs, positions=own[:3])
