"""Interchange: roles, the ratio of means, and what it says of models whose paths are known."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from retrieval_subjects import RECALL, planted, results

from mecheval.interventions.chunk import Chunk
from mecheval.interventions.engine_check import RUNS
from mecheval.metrics.intervention.patching import NOWHERE
from mecheval.metrics.intervention.roles import ROLES, first_named, positions_of
from mecheval.metrics.intervention.shares import MIN_PAIRS, Restored, restored
from mecheval.tasks import Batch, Pairs

ONCE = np.ones((1, 12))


def pairs_of(n_positions: int = 9, **roles: list[int]) -> Pairs:
    """Build pairs that differ nowhere, with roles."""
    n_pairs = len(next(iter(roles.values())))
    tokens = np.zeros((n_pairs, n_positions), np.int64)
    named = {name: np.array(positions) for name, positions in roles.items()}
    batch = Batch(tokens, np.full_like(tokens, 1), {}, {"readout": named["query"], **named})
    return Pairs(batch, batch)


def by_role(position_GP: np.ndarray) -> dict[str, list[int]]:
    return dict(zip(ROLES, position_GP.tolist(), strict=True))


def test_what_is_behind_the_value_ends_at_the_divider() -> None:
    pairs = pairs_of(key=[1, 3, 5], value=[2, 4, 6], next_key=[3, 5, 7], divider=[7] * 3,
                     query=[8] * 3)  # fmt: skip
    found = by_role(positions_of(pairs))
    assert found["next_key"] == found["value+1"] == [3, 5, NOWHERE]
    assert found["value+2"] == [4, 6, NOWHERE]
    assert found["divider"] == [7, 7, 7]
    assert found["query"] == [8, 8, 8]


def test_without_a_divider_it_ends_at_the_query() -> None:
    found = by_role(positions_of(pairs_of(key=[1, 5], value=[2, 6], query=[8, 8])))
    assert found["value+1"] == [3, 7]
    assert found["value+2"] == [4, NOWHERE]
    assert found["divider"] == found["next_key"] == [NOWHERE] * 2


def test_a_pair_without_a_value_has_nothing_behind_it() -> None:
    found = by_role(positions_of(pairs_of(key=[1, 5], value=[-1, 6], query=[8, 8])))
    assert found["value"] == [NOWHERE, 6]
    assert found["value+1"] == [NOWHERE, 7]


def test_a_position_is_the_first_of_its_roles() -> None:
    """In a tree the parent often is the next token; then it is the value, and no next key."""
    pairs = pairs_of(key=[1, 1], value=[2, 4], next_key=[2, 2], divider=[7] * 2, query=[8] * 2)
    named = by_role(first_named(positions_of(pairs)))
    assert named["value"] == named["key"] == [True, True]
    assert named["next_key"] == [False, True]
    assert named["value+1"] == [True, True]


def hand_made(patched_LGP: np.ndarray, clean_P: np.ndarray, corrupted_P: np.ndarray) -> Restored:
    pairs = pairs_of(key=[1] * 12, value=[2] * 12, query=[8] * 12)
    directions = ("denoising", "noising")
    cells = {(direction, "block_in"): patched_LGP for direction in directions}
    return Restored(pairs, positions_of(pairs), clean_P, corrupted_P, cells)


def test_the_ratio_is_one_of_means_over_the_pairs_that_have_the_role() -> None:
    rng = np.random.default_rng(0)
    clean_P, corrupted_P = rng.uniform(0.5, 1, 12), rng.uniform(0, 0.5, 12)
    corrupted_P[0] = clean_P[0]  # a pair without a gap: its own ratio would be 0/0
    patched_LGP = rng.uniform(0, 1, (1, len(ROLES), 12))
    patched_LGP[0, 1, :3] = np.nan
    patched_LGP[0, 2, : 12 - MIN_PAIRS + 1] = np.nan
    found = hand_made(patched_LGP, clean_P, corrupted_P)
    enough_G = found.share(ONCE, "block_in", "denoising")[0, 0]
    needed_G = found.share(ONCE, "block_in", "noising")[0, 0]
    gap = (clean_P - corrupted_P).mean()
    assert enough_G[0] == pytest.approx((patched_LGP[0, 0] - corrupted_P).mean() / gap)
    assert needed_G[0] == pytest.approx((clean_P - patched_LGP[0, 0]).mean() / gap)
    some = slice(3, None)
    gap = (clean_P - corrupted_P)[some].mean()
    assert enough_G[1] == pytest.approx((patched_LGP[0, 1] - corrupted_P)[some].mean() / gap)
    assert np.isnan(enough_G[2])


def test_weights_are_how_often_a_pair_counts() -> None:
    rng = np.random.default_rng(1)
    clean_P, corrupted_P = rng.uniform(0.5, 1, 12), rng.uniform(0, 0.5, 12)
    patched_LGP = rng.uniform(0, 1, (1, len(ROLES), 12))
    weight_RP = np.array([[2, 1] + [0] * 10])
    found = hand_made(patched_LGP, clean_P, corrupted_P).share(weight_RP, "block_in", "denoising")
    above_P, below_P = patched_LGP[0, 0] - corrupted_P, clean_P - corrupted_P
    expected = (2 * above_P[0] + above_P[1]) / (2 * below_P[0] + below_P[1])
    assert found[0, 0, 0] == pytest.approx(expected)


def cell(result, component: str, layer: int, role: str, profile: str | None = None):
    """Return a cell of a profile, its mark and the number of its pairs."""
    chosen = result.profiles[profile] if profile else result.profile
    place = (
        chosen.index["component"].index(component), layer, chosen.index["role"].index(role),
    )  # fmt: skip
    arrays = (chosen.value, chosen.marks["trivial"], chosen.series["pairs"])
    return tuple(array[place[0]][place[1]][place[2]] for array in arrays)


def test_induction_stands_at_the_value() -> None:
    found = results(planted("planted/induction", RECALL), "interchange")
    assert list(found) == ["interchange/value", "interchange/key"]
    for kind, result in found.items():
        assert result.value == pytest.approx(1, abs=1e-3)
        assert (result.n_scored, result.n_expected) == (64, 64)
        assert result.uncertainty.resampled_unit == "pair"
        assert result.scalars["layer"] == result.scalars["retrieving_layer"] == 1
        roles = result.profile.index["role"]
        assert roles == ["key", "value", "next_key", "value+2", "divider", "query"]
        exchanged = kind.partition("/")[2]
        assert cell(result, "block_in", 0, exchanged) == (pytest.approx(1), True, 64)
        assert cell(result, "block_in", 0, "query") == (0, True, 64)
        assert cell(result, "block_in", 1, "value")[:2] == (pytest.approx(1, abs=1e-3), False)
        assert cell(result, "block_in", 1, "value", "necessity")[0] == pytest.approx(1, abs=1e-3)
        assert cell(result, "mixer_out", 1, "query")[0] == pytest.approx(1, abs=1e-3)
        assert cell(result, "mixer_out", 1, "value")[:2] == (0, True)
        value, _, n_pairs = cell(result, "block_in", 1, "next_key")
        assert value == pytest.approx(0, abs=1e-3)
        assert MIN_PAIRS < n_pairs < 64
        assert cell(result, "conv_out", 0, "key")[::2] == (None, 0)
    at_key = found["interchange/key"]
    assert cell(at_key, "mixer_out", 0, "value")[0] == pytest.approx(1, abs=1e-3)
    assert at_key.scalars["at_key"] == pytest.approx(0, abs=1e-3)
    by_value = found["interchange/value"]
    assert cell(by_value, "mixer_out", 0, "value")[0] == pytest.approx(0, abs=1e-3)


@pytest.mark.parametrize(("shift", "where"), [(0, "value"), (1, "next_key")])
def test_one_layer_has_no_value_but_all_cells(shift: int, where: str) -> None:
    found = results(planted(f"planted/mamba-recall[shift={shift}]", RECALL), "interchange")
    for result in found.values():
        assert result.value is None
        assert result.reason == "one layer: what it reads is known by construction"
        for direction in (None, "necessity"):
            for role in ("key", "value", "next_key", "value+2"):
                measured = cell(result, "conv_out", 0, role, direction)[0]
                assert measured == pytest.approx(float(role == where), abs=1e-3)


def test_components_can_be_chosen_and_those_of_the_value_are_always_there() -> None:
    result, _ = results(
        planted("planted/induction", RECALL), "interchange", components=["v"]
    ).values()
    assert result.profile.index["component"] == ["v", "block_in"]
    assert cell(result, "v", 1, "value")[0] == pytest.approx(1, abs=1e-3)
    assert result.config["components"] == ["v"]


def test_without_a_gap_there_are_references_and_no_shares() -> None:
    for result in results(planted("mamba2[width=16,layers=2]", RECALL), "interchange").values():
        assert result.value is result.profile is None
        assert result.reason.startswith("no gap")
        assert 0 < result.references["clean"] < 0.2


def test_no_pass_is_patched_without_a_gap(monkeypatch) -> None:
    n_patched, store = [], Chunk.store

    def counting(work, k, i, j, run_R, value_R):
        if len(work.base_runs.tokens_PT) > RUNS:  # the check of an engine takes few
            n_patched.append(len(run_R))
        store(work, k, i, j, run_R, value_R)

    subject = planted("mamba2[width=16,layers=2]", RECALL)
    results(subject, "interchange")  # which holds the engine against hooks, on patched passes
    subject = dataclasses.replace(subject, memo={})
    monkeypatch.setattr(Chunk, "store", counting)
    assert results(subject, "interchange")["interchange/key"].value is None
    assert results(subject, "mechanism")["mechanism/retrieval"].value is None
    assert sum(n_patched) == 0
    found = results(planted("planted/induction", RECALL), "mechanism")
    assert found["mechanism/retrieval"].value == 1
    assert sum(n_patched) > 0


def test_trees_leave_out_what_a_pair_does_not_have() -> None:
    subject = planted("transformer[width=16,layers=2]", "atr[preset=easy]", limit=None)
    result = results(subject, "interchange", min_gap=0.0)["interchange/key"]
    pairs = subject.pairs(128, subject.length, kind="key")
    n_adjacent = int((pairs.clean.roles["value"] == pairs.clean.roles["key"] + 1).sum())
    assert 10 < n_adjacent < 118
    if result.value is not None:
        assert cell(result, "block_in", 1, "next_key")[2] == 128 - n_adjacent
    found = restored(subject, pairs, ["block_in"], kind="key").only(
        first_named(positions_of(pairs))
    )
    counts_G = (~np.isnan(found.patched_LGP["denoising", "block_in"][1])).sum(-1)
    assert counts_G[ROLES.index("next_key")] == 128 - n_adjacent
    assert counts_G[ROLES.index("value")] == 128


def test_pairs_of_another_length_are_not_those_that_are_remembered() -> None:
    subject = planted("transformer[width=16,layers=2]", "induction[max_length=16]")
    for length in (16, 32):
        pairs = subject.pairs(12, length, kind="key")
        found = restored(subject, pairs, (), kind="key")
        assert found.pairs.clean.tokens_BT.shape == (12, length + 1)


def test_induction_on_any_tokens_uses_the_exchanges_that_have_a_role() -> None:
    subject = planted("transformer[width=16,layers=2]", "induction[max_length=16]")
    assert list(results(subject, "interchange")) == ["interchange/value", "interchange/key"]


def test_a_task_without_such_roles_is_not_applicable() -> None:
    subject = planted("lstm[width=16,layers=1]", "parity")
    (result,) = results(subject, "interchange").values()
    assert (result.id, result.value) == ("interchange", None)
    assert result.reason.startswith("not applicable")


def test_what_was_measured_is_not_measured_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Verdicts are about cells that interchange has, and about one of the memory."""
    from mecheval.metrics.intervention import shares

    subject, grid_of = planted("planted/induction", RECALL), shares.recovery_grid
    alone = results(dataclasses.replace(subject, memo={}), "mechanism")
    results(subject, "interchange")

    def of_memory(*args, components, positions, **kwargs):
        assert (components, positions.shape[1]) == (["state"], 1)
        return grid_of(*args, components=components, positions=positions, **kwargs)

    monkeypatch.setattr(shares, "recovery_grid", of_memory)
    assert results(subject, "mechanism") == alone


def test_a_deviation_from_what_is_known_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    from mecheval.metrics.intervention import shares

    grid_of = shares.recovery_grid

    def shifted(*args, positions, **kwargs):
        return grid_of(*args, positions=np.roll(positions, 1, axis=1), **kwargs)

    monkeypatch.setattr(shares, "recovery_grid", shifted)
    result, _ = results(planted("planted/induction", RECALL), "interchange").values()
    assert result.scalars["trivial_error"] > 0.5
    assert "is off by" in result.warnings[0]
