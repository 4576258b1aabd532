"""Which engine computes a grid: what the choice depends on, and what happens when one fails."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch import nn

import mecheval
from mecheval.errors import UsageError
from mecheval.interventions import (
    Interchange,
    Mean,
    Subspace,
    Zero,
    ablation_grid,
    engine_check,
    engines,
    recovery_grid,
)
from mecheval.interventions.base_runs import BaseRuns, checked_runs
from mecheval.interventions.engine_choice import Engines
from mecheval.interventions.engines import blocks, tails
from mecheval.interventions.plan import plan_of
from mecheval.models.decomposition import Refusal
from mecheval.models.sites import Site
from mecheval.models.wrapped.model import WrappedModel
from mecheval.models.wrapped.recording.inseparable import Inseparable
from tests.hf_families import build

if TYPE_CHECKING:
    from collections.abc import Callable

    from mecheval.interventions.base_runs import BaseRuns

LENGTH = 10
FASTEST: Any = {"engine": "fastest"}
BASES = {Site(1, "mixer_out"): np.eye(16)[:, :2]}


def model_of(name: str = "gru[layers=3,width=16]") -> mecheval.SequenceModel:
    return mecheval.load_model(name, vocab_size=7)


def pairs(n: int = 3, length: int = LENGTH, vocabulary: int = 7) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(0)
    clean = rng.integers(0, vocabulary, (n, length))
    corrupted = clean.copy()
    corrupted[:, 2] = (clean[:, 2] + 1) % vocabulary
    return clean, corrupted, np.arange(n), np.arange(n) + 3, np.full(n, length - 1)


def runs_of(model: mecheval.SequenceModel, **how: Any) -> tuple[BaseRuns, Interchange]:
    clean, corrupted, answers, foils, readout = pairs(**how)
    base, donor = checked_runs(
        model, [corrupted, clean], answers, foils, readout, kind="logit_difference"
    )
    return base, Interchange(donor.tokens_PT)


@pytest.fixture
def checks(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the names of engines as they are checked."""
    made, real = [], engine_check.check

    def watched(engine, *rest):
        made.append(engine)
        return real(engine, *rest)

    monkeypatch.setattr(engine_check, "check", watched)
    return made


def changed_hook(model: mecheval.SequenceModel) -> None:
    model.blocks[1].register_forward_hook(lambda module, args, output: None)


def changed_weights(model: mecheval.SequenceModel) -> None:
    with torch.no_grad():
        next(model.parameters()).mul_(1.01)


def changed_forward(model: mecheval.SequenceModel) -> None:
    block = model.blocks[1]
    block.forward = block.forward  # as a wrapper that a user puts there


def early(base: BaseRuns) -> BaseRuns:
    """Read a run before its end."""
    readout_P = base.readout_P.clone()
    readout_P[0] -= 1
    return replace(base, readout_P=readout_P, read_last=False)


ONE_TOKEN = torch.ones(1, 3, dtype=torch.long)

OTHERS: dict[str, Callable[[mecheval.SequenceModel, BaseRuns, Any, Any], tuple]] = {
    "the kind of donor": lambda m, base, donor, plan: (base, Zero(), plan),
    "the donor of a part": lambda m, base, donor, plan: (base, Subspace(Zero(), BASES), plan),
    "components": lambda m, base, donor, plan: (base, donor, replace(plan, components=("z",))),
    "frozen": lambda m, base, donor, plan: (base, donor, replace(plan, frozen=True)),
    "where it is read": lambda m, base, donor, plan: (early(base), donor, plan),
    "what is read": lambda m, base, donor, plan: (replace(base, kind="log_prob"), donor, plan),
    "an earlier layer": lambda m, base, donor, plan: (base, donor, replace(plan, layers=(0, 1))),
    "a later layer": lambda m, base, donor, plan: (base, donor, replace(plan, layers=(1, 2))),
    "a longer tail": lambda m, base, donor, plan: (base, donor, replace(plan, positions=(2, 7))),
    "a shorter tail": lambda m, base, donor, plan: (base, donor, replace(plan, positions=(8,))),
    "the length": lambda m, base, donor, plan: (*runs_of(m, length=LENGTH - 1), plan),
    "dtype": lambda m, base, donor, plan: (replace(base, model=m.double()), donor, plan),
    "weights": lambda m, base, donor, plan: (changed_weights(m) or base, donor, plan),
    "hooks": lambda m, base, donor, plan: (changed_hook(m) or base, donor, plan),
    "a forward function": lambda m, base, donor, plan: (changed_forward(m) or base, donor, plan),
}


@pytest.mark.parametrize("what", OTHERS)
def test_a_choice_holds_for_what_was_checked_and_nothing_else(what: str, checks) -> None:
    model = model_of("transformer[layers=3,width=16]")
    base, donor = runs_of(model)
    plan = plan_of(base, ["mixer_out"], [1], [3, 7], engine="fastest")
    with torch.inference_mode():
        Engines(base, donor, plan)
        Engines(base, donor, replace(plan, positions=(5,), engine="fastest", batch_size=2))
        assert checks == ["tails"]
    changed = OTHERS[what](model, base, donor, plan)
    with torch.inference_mode():
        Engines(*changed)
    assert len(checks) > 1


def test_a_choice_does_not_outlive_the_kind_of_donor() -> None:
    """Zero ablation of a memory is refused, whatever was computed before it."""
    model, (clean, corrupted, *ends) = model_of(), pairs()
    recovery_grid(model, clean, corrupted, *ends, components=["state"])
    with pytest.raises(UsageError, match="can only be exchanged"):
        ablation_grid(model, corrupted, *ends, donor=Zero(), components=["state"])


class Wrong:
    """Lets an engine err where it is asked to, and nowhere else."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, where: Callable[[int, list], bool]) -> None:
        real = tails.Tails.run

        def run(own, position, groups):
            value_R = real(own, position, groups)
            return value_R + 1 if where(position, groups) else value_R

        monkeypatch.setattr(tails.Tails, "run", run)


WHERE = {
    "the last position": lambda position, groups: position == LENGTH - 1,
    "the longest tail": lambda position, groups: position == 2,
    "a pass of one row": lambda position, groups: sum(len(g.run_R) for g in groups) == 1,
    "a pass of many rows": lambda position, groups: sum(len(g.run_R) for g in groups) > 1,
    "the first layer": lambda position, groups: any(g.place[1] == 0 for g in groups),
    "the last layer": lambda position, groups: any(g.place[1] == 2 for g in groups),
}


@pytest.mark.parametrize("what", WHERE)
def test_an_engine_is_checked_where_it_will_be_used(what: str, monkeypatch) -> None:
    model = model_of()
    expected = recovery_grid(model, *pairs(), components=["mixer_in"], engine="hooks")
    Wrong(monkeypatch, WHERE[what])
    grid = recovery_grid(model, *pairs(), components=["mixer_in"], **FASTEST)
    assert grid.execution.engine == "hooks"
    assert "off by" in str(grid.execution.reason)
    np.testing.assert_array_equal(grid.patched, expected.patched)


@pytest.mark.parametrize("component", ["state", "cache"])
def test_memory_is_held_against_a_run_token_by_token(component: str, monkeypatch) -> None:
    model = model_of()
    expected = recovery_grid(model, *pairs(), components=[component], engine="steps")
    Wrong(monkeypatch, lambda position, groups: any(g.component == component for g in groups))
    grid = recovery_grid(model, *pairs(), components=[component])
    assert grid.execution.engine == "steps"
    assert "tails: memory off by" in str(grid.execution.reason)
    np.testing.assert_allclose(grid.patched, expected.patched, rtol=1e-6)


def failing_from(monkeypatch: pytest.MonkeyPatch, first: int, error: Exception) -> list[int]:
    """Let tails fail from a position on, but not in the check, and return where they ran."""
    real, ran, checked = tails.Tails.run, [], engine_check.check

    def run(own, position, groups):
        if position >= first:
            raise error
        ran.append(position)
        return real(own, position, groups)

    def check(*asked):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(tails.Tails, "run", real)
            return checked(*asked)

    monkeypatch.setattr(tails.Tails, "run", run)
    monkeypatch.setattr(engine_check, "check", check)
    return ran


def test_an_engine_that_fails_later_is_followed_by_the_next(monkeypatch, checks) -> None:
    model = WrappedModel(build("gpt2", initializer_range=0.2)).eval()
    asked = pairs(vocabulary=60)
    expected = recovery_grid(model, *asked, engine="hooks")
    ran = failing_from(monkeypatch, 6, RuntimeError("A longer sequence changes things."))
    grid = recovery_grid(model, *asked, **FASTEST)
    assert ran == [2, 3, 4, 5]
    assert grid.execution.engine == "tails+blocks"
    assert "tails: RuntimeError: A longer sequence changes things." in str(grid.execution.reason)
    np.testing.assert_allclose(grid.patched, expected.patched, atol=1e-5)
    monkeypatch.setattr(blocks, "_pass", lambda *_: (_ for _ in ()).throw(ValueError("no")))
    again = recovery_grid(model, *asked, **FASTEST)
    assert ran == [2, 3, 4, 5]  # that tails fail is remembered
    assert again.execution.engine == "hooks"
    assert "blocks: ValueError: no" in str(again.execution.reason)
    np.testing.assert_array_equal(again.patched, expected.patched)


def test_an_engine_that_was_asked_for_is_not_replaced(monkeypatch) -> None:
    failing_from(monkeypatch, 6, RuntimeError("It does not go on."))
    with pytest.raises(UsageError, match="tails: RuntimeError: It does not go on"):
        recovery_grid(model_of(), *pairs(), engine="tails")


def test_memory_goes_on_token_by_token(monkeypatch) -> None:
    model = model_of()
    expected = recovery_grid(model, *pairs(), components=["cache"], engine="tails")
    failing_from(monkeypatch, 6, ValueError("Another form."))
    grid = recovery_grid(model, *pairs(), components=["cache"])
    assert grid.execution.engine == "tails+steps"
    np.testing.assert_allclose(grid.patched, expected.patched, rtol=1e-5)


def test_rotary_positions_that_change_with_the_length_are_followed_by_another_engine() -> None:
    """Dynamic scaling turns the keys of all positions once a text is longer than those trained."""
    scaled = {"rope_type": "dynamic", "factor": 4.0, "rope_theta": 10000.0}
    model = WrappedModel(
        build("llama", initializer_range=0.2, max_position_embeddings=40, rope_parameters=scaled,
              rope_scaling=scaled)
    ).eval()  # fmt: skip
    for length in (12, 60):
        asked = pairs(length=length, vocabulary=60)
        grid = recovery_grid(model, *asked, positions=[4, length - 1], **FASTEST)
        wanted = recovery_grid(model, *asked, positions=[4, length - 1], engine="hooks")
        np.testing.assert_allclose(grid.patched, wanted.patched, atol=1e-5)
        assert (grid.execution.reason is None) == (grid.execution.engine == "tails")


SHORTAGES = [
    torch.OutOfMemoryError("CUDA out of memory"),
    MemoryError(),
    RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory"),
]


@pytest.mark.parametrize("shortage", SHORTAGES, ids=lambda error: type(error).__name__)
def test_too_little_memory_is_no_verdict_on_an_engine(shortage, monkeypatch) -> None:
    model, real, sizes = model_of(), engine_check.chunk_of, []

    def scarce(base_runs, *rest):
        sizes.append(base_runs.n_runs)
        if base_runs.n_runs > 1:
            raise shortage
        return real(base_runs, *rest)

    monkeypatch.setattr(engine_check, "chunk_of", scarce)
    assert recovery_grid(model, *pairs(), **FASTEST).execution.engine == "tails"
    assert sizes == [2, 1]
    other = model_of()
    monkeypatch.setattr(engine_check, "chunk_of", lambda *_: (_ for _ in ()).throw(shortage))
    with pytest.raises(UsageError, match="out of memory with a single run"):
        recovery_grid(other, *pairs(), **FASTEST)
    monkeypatch.setattr(engine_check, "chunk_of", real)
    assert recovery_grid(other, *pairs(), **FASTEST).execution.engine == "tails"


@pytest.mark.parametrize("shortage", SHORTAGES, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize(
    ("place", "look"),
    [
        ("decomposition.decompose._taken_apart", lambda model: model.decomposition()),
        ("replay.blocks.Replayer._examine", lambda model: model.replay(ONE_TOKEN)),
        ("replay.blocks.Replayer.tail", lambda model: model.replay(ONE_TOKEN)),
        ("model.WrappedModel._stepping_agrees", lambda model: model.streams),
        ("model.WrappedModel._layers_of_the_cache", lambda model: model.exchanges),
    ],
)  # fmt: skip
def test_too_little_memory_is_no_verdict_on_a_model(place, look, shortage, monkeypatch) -> None:
    model, whole = WrappedModel(build("gpt2")), WrappedModel(build("gpt2"))
    expected = type(look(whole))

    def scarce(*_, **__):
        raise shortage

    with monkeypatch.context() as patch:
        patch.setattr(f"mecheval.models.wrapped.{place}", scarce)
        with pytest.raises(type(shortage)):
            look(model)
    assert type(look(model)) is expected
    assert bool(look(model)) == bool(look(whole))


def test_a_fault_of_ours_surfaces(monkeypatch) -> None:
    monkeypatch.setattr(tails, "at", None)
    with pytest.raises(TypeError, match="NoneType"):
        recovery_grid(model_of(), *pairs(), **FASTEST)


@pytest.mark.parametrize("error", [TypeError, AttributeError, KeyError, NameError])
def test_so_does_one_in_what_an_engine_calls(error, monkeypatch) -> None:
    def broken(*_):
        raise error("ours")

    for name in ("run_tails", "run_blocks"):
        monkeypatch.setattr(engines, name, broken)
    with pytest.raises(error, match="ours"):
        recovery_grid(WrappedModel(build("gpt2")), *pairs(), **FASTEST)


class Choosy(nn.GELU):
    """A part of a user's that does not take two positions."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        if input.shape[1] == 2:
            raise TypeError("not this long")
        return super().forward(input)


def test_a_fault_of_the_model_is_its_own() -> None:
    module = build("gpt2", initializer_range=0.2, n_layer=3)
    module.transformer.h[1].mlp.act = Choosy()
    model, asked = WrappedModel(module).eval(), pairs(vocabulary=60)
    grid = recovery_grid(model, *asked, components=["mixer_in"], **FASTEST)
    assert grid.execution.engine.endswith("hooks")
    assert "TypeError: not this long" in str(grid.execution.reason)
    wanted = recovery_grid(model, *asked, components=["mixer_in"], engine="hooks")
    np.testing.assert_allclose(grid.patched, wanted.patched, atol=1e-5)


def test_adapters_fail_on_modules_that_they_do_not_know(monkeypatch) -> None:
    def unknown(*_, **__):
        raise Inseparable("unknown")

    monkeypatch.setattr("mecheval.models.wrapped.replay.blocks.RealBlocks.readout", unknown)
    model = WrappedModel(build("falcon")).eval()
    monkeypatch.setattr(model, "decomposition", lambda: Refusal("it is left whole"))
    grid = recovery_grid(model, *pairs(vocabulary=60), **FASTEST)
    assert grid.execution.engine == "hooks"


def test_small_grids_are_not_checked(checks) -> None:
    model = WrappedModel(build("gpt2"))
    clean, corrupted, *ends = pairs(1, vocabulary=60)
    for how in ({"layers": [1], "positions": [LENGTH - 1]}, {"layers": [0]}, {}):
        grid = recovery_grid(model, clean, corrupted, *ends, **how)
        assert grid.execution.engine == "hooks"
        assert "cost less by plain hooks" in str(grid.execution.reason)
    assert not checks
    assert not model._taken  # and the model was not taken apart
    many = pairs(64, 48, vocabulary=60)
    ends = (np.ones(64, int), np.zeros(64, int), np.full(64, 47))
    assert recovery_grid(model, *many[:2], *ends).execution.engine == "tails"
    assert checks == ["tails"]
    # Their numbers do not depend on what was computed before.
    assert recovery_grid(model, clean, corrupted, *pairs(1)[2:]).execution.engine == "hooks"


@pytest.mark.parametrize("family", ["gpt2", "mamba2"])
def test_a_model_goes_token_by_token_only_where_memory_is_exchanged(family, monkeypatch) -> None:
    model, stepped, step = WrappedModel(build(family)), [], WrappedModel.step
    monkeypatch.setattr(WrappedModel, "step", lambda *asked: stepped.append(asked) or step(*asked))
    asked = pairs(vocabulary=60)
    for components in (["block_in"], ["mixer_out", "write"]):
        grid = recovery_grid(model, *asked, components=components, **FASTEST)
        assert grid.execution.engine == "tails"
    assert not stepped
    assert recovery_grid(model, *asked, components=["state"], **FASTEST).execution.checked
    assert stepped


def test_a_mean_is_taken_once_per_grid(monkeypatch) -> None:
    model, (_, corrupted, *ends) = model_of(), pairs()
    reference = torch.as_tensor(np.random.default_rng(1).integers(0, 7, (4, LENGTH)))
    sums, taken = mecheval.interventions.donors._sums, []

    def counted(model, tokens_NT, sites, **how):
        taken.append(sites)
        return sums(model, tokens_NT, sites, **how)

    monkeypatch.setattr("mecheval.interventions.donors._sums", counted)
    bases = {site: np.eye(16)[:, :3] for site in model.taps() if site.component == "block_in"}
    for donor in (Mean(reference), Subspace(Mean(reference), bases)):
        taken.clear()
        whole = ablation_grid(model, corrupted, *ends, donor=donor, **FASTEST)
        few = ablation_grid(model, corrupted, *ends, donor=donor, engine="hooks", memory=1)
        assert len(taken) == 2
        np.testing.assert_allclose(whole.patched, few.patched, rtol=1e-4, atol=1e-6)
