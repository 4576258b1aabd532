"""A partial grid is gone on with only where everything that decides its numbers is the same."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from torch import nn

import mecheval
from mecheval.interventions import (
    Added,
    Interchange,
    Mean,
    Subspace,
    Zero,
    content,
    grid_file,
    recovery_grid,
)
from mecheval.interventions.base_runs import checked_runs
from mecheval.interventions.engines import tails
from mecheval.interventions.grid_file import GridFile
from mecheval.interventions.plan import plan_of
from mecheval.interventions.results import GridResult
from mecheval.models.sites import Site

if TYPE_CHECKING:
    from collections.abc import Callable

    from mecheval.interventions.base_runs import BaseRuns
    from mecheval.interventions.donors import Donor
    from mecheval.interventions.plan import Plan

    Asked = tuple[BaseRuns, Donor, Plan, str]

SITE = Site(0, "block_in")


def model_of(name: str = "gru[layers=2,width=16]") -> mecheval.SequenceModel:
    return mecheval.load_model(name, vocab_size=7)


def asked() -> Asked:
    tokens = np.arange(24).reshape(3, 8) % 7
    base, donor = checked_runs(
        model_of(), [tokens, (tokens + 1) % 7], [0, 1, 2], [3, 4, 5], [7, 6, 7],
        kind="logit_difference",
    )  # fmt: skip
    plan = plan_of(base, ["block_in"], None, [1, 3], wanted_JP=np.ones((2, 3), bool))
    return base, Interchange(donor.tokens_PT), plan, "tails"


def digest(given: Asked) -> str:
    base, donor, plan, engine = given
    return grid_file.grid_sha256(base, donor, plan, engine)


def of_runs(**changes: Callable[[BaseRuns], object]) -> Callable[[Asked], Asked]:
    def change(given: Asked) -> Asked:
        base, *rest = given
        made = {name: make(base) for name, make in changes.items()}
        return replace(base, **made), *rest  # pyright: ignore[reportReturnType]

    return change


def of_plan(**changes: object) -> Callable[[Asked], Asked]:
    return lambda given: (given[0], given[1], replace(given[2], **changes), given[3])


def of_weights(change: Callable[[torch.Tensor], object]) -> Callable[[Asked], Asked]:
    def changed(given: Asked) -> Asked:
        with torch.no_grad():
            change(next(p for p in given[0].model.parameters() if p.dim() == 2))
        return given

    return changed


def with_donor(donor: Donor) -> Callable[[Asked], Asked]:
    return lambda given: (given[0], donor, *given[2:])


def turned(model: mecheval.SequenceModel) -> mecheval.SequenceModel:
    next(iter(model.modules())).some_setting = 3  # pyright: ignore[reportAttributeAccessIssue]
    return model


def swapped(parameter: torch.Tensor) -> None:
    parameter.copy_(parameter.flip(0))


OTHER_POSITIONS = np.array([[True, False, True], [False, True, False]])
CHANGES = {
    "tokens": of_runs(tokens_PT=lambda runs: runs.tokens_PT.flip(0)),
    "answers": of_runs(answers_P=lambda runs: runs.answers_P.flip(0)),
    "foils": of_runs(foils_P=lambda runs: runs.foils_P.flip(0)),
    "readouts": of_runs(readout_P=lambda runs: runs.readout_P.flip(0) - 1),
    "what is read": of_runs(kind=lambda runs: "log_prob"),
    "direction": lambda given: (
        given[0].of(given[1].tokens_PT), Interchange(given[0].tokens_PT), *given[2:]
    ),
    "donor runs": with_donor(Interchange(torch.zeros(3, 8, dtype=torch.long))),
    "another donor": with_donor(Zero()),
    "components": of_plan(components=("mixer_out",)),
    "layers": of_plan(layers=(1,)),
    "positions": of_plan(positions=(1, 4)),
    "own positions": of_plan(wanted_JP=OTHER_POSITIONS),
    "frozen": of_plan(frozen=True),
    "engine that was asked for": of_plan(engine="tails"),
    "engine": lambda given: (*given[:3], "hooks"),
    "permuted weights": of_weights(swapped),
    "turned weights": of_weights(lambda parameter: parameter.neg_()),
    "one bit of a weight": of_weights(lambda p: p.view(-1)[:1].mul_(1 + 1.3e-7)),
    "dtype": of_runs(model=lambda runs: runs.model.double()),
    "architecture": of_runs(model=lambda runs: model_of("lstm[layers=2,width=16]")),
    "a setting of a module": of_runs(model=lambda runs: turned(runs.model)),
    "a buffer": of_runs(
        model=lambda runs: runs.model.register_buffer("seen", torch.ones(1)) or runs.model
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", CHANGES)
def test_each_ingredient_makes_another_grid(what: str) -> None:
    before = digest(asked())
    assert digest(asked()) == before
    assert digest(CHANGES[what](asked())) != before


def test_what_only_moves_rounding_or_speed_does_not() -> None:
    assert digest(of_plan(batch_size=3, memory=5)(asked())) == digest(asked())


ONES = torch.ones(3, 8, 16)
DONORS = {
    "a reference": (Mean(torch.zeros(4, 8)), Mean(torch.tensor([[0.0] * 7 + [1.0]] * 4))),
    "its order": (Mean(torch.tensor([[1.0, 0.0]])), Mean(torch.tensor([[0.0, 1.0]]))),
    "what is added": (Added({SITE: ONES}), Added({SITE: -ONES})),
    "where": (Added({SITE: ONES}), Added({Site(1, "block_in"): ONES})),
    "bases": (
        Subspace(Zero(), {SITE: np.eye(4)[:, :1]}), Subspace(Zero(), {SITE: np.eye(4)[:, 1:2]})
    ),
    "the donor of a part": (
        Subspace(Zero(), {SITE: np.eye(4)}), Subspace(Mean(ONES), {SITE: np.eye(4)})
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", DONORS)
def test_donors_are_told_apart_by_content(what: str) -> None:
    one, other = (digest(with_donor(donor)(asked())) for donor in DONORS[what])
    assert one != other


def test_large_tensors_are_told_apart_in_the_middle() -> None:
    """Their ``repr`` leaves the middle out."""
    one = torch.zeros(2000)
    other = one.clone()
    other[1000] = 1
    assert repr(one) == repr(other)
    assert content.content_sha256([one]) != content.content_sha256([other])


@pytest.mark.parametrize(
    ("one", "other"),
    [([1, 2], [12]), ("1", 1), ((1,), [1]), ({"a": 1}, {"b": 1}), (np.zeros(2), np.zeros((1, 2)))],
)
def test_values_of_another_kind_or_shape_differ(one: object, other: object) -> None:
    assert content.content_sha256(one) != content.content_sha256(other)


def test_the_code_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    code = content.code_of(model_of())
    assert set(code) == {"torch", "transformers", "mecheval"}
    before = digest(asked())
    monkeypatch.setattr(content, "own_files_sha256", lambda: "other files")
    assert digest(asked()) != before


def test_a_module_of_ones_own_counts_by_its_file() -> None:
    class Own(nn.Module):
        pass

    assert content.code_of(Own())[__name__]


def test_own_positions_dealt_to_other_pairs_start_anew(
    monkeypatch: pytest.MonkeyPatch, tmp_path
) -> None:
    model, path = model_of("mamba[layers=2,width=16]"), tmp_path / "grid.npz"
    rng = np.random.default_rng(0)
    clean = rng.integers(0, 7, (3, 8))
    pairs = (clean, (clean + 1) % 7, [0, 1, 2], [3, 4, 5], [7, 7, 7])
    one, other = np.array([[1], [3], [5]]), np.array([[5], [1], [3]])
    monkeypatch.setattr(grid_file, "SECONDS", 0.0)
    real = tails.Tails.run

    def interrupted(self, position, groups):
        if position == 5:
            raise KeyboardInterrupt
        return real(self, position, groups)

    how = {"positions": one, "engine": "fastest", "components": ("mixer_out",)}
    recovery_grid(model, *pairs, **how)  # the check is made once
    monkeypatch.setattr(tails.Tails, "run", interrupted)
    with pytest.raises(KeyboardInterrupt):
        recovery_grid(model, *pairs, **how, partial=path)
    monkeypatch.setattr(tails.Tails, "run", real)
    assert path.exists()
    resumed = recovery_grid(model, *pairs, **{**how, "positions": other}, partial=path)
    fresh = recovery_grid(model, *pairs, **{**how, "positions": other})
    np.testing.assert_array_equal(resumed.patched, fresh.patched)


def test_the_engines_of_the_first_half_are_kept(tmp_path) -> None:
    plan, path = asked()[2], tmp_path / "grid.npz"
    written, *read = (GridResult.unknown(plan, 3) for _ in range(3))
    written.used.append("tails")
    GridFile(path, "one grid").write(written)
    for result, digest in zip(read, ("one grid", "another"), strict=True):
        GridFile(path, digest).load(result)
    assert [result.used for result in read] == [["tails"], []]
