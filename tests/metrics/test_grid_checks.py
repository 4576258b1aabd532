"""What stands beside results of patched runs: half of the pairs, and natural runs."""

from __future__ import annotations

import numpy as np
import pytest
from circuit_subjects import any_answers
from measured import measured
from retrieval_subjects import RECALL, planted, results

import mecheval
from mecheval.interventions import split_half
from mecheval.metrics.intervention.grid_checks import (
    N_HELD_OUT,
    Patched,
    _held_out,
    natural_runs,
    open_effects,
    ranked,
)
from mecheval.metrics.intervention.shares import restored
from mecheval.models.decomposition import Refusal
from mecheval.reports import grid_checks as names

PLACES = ("patch", "readout")


@pytest.fixture(autouse=True)
def _all_pairs_count(monkeypatch: pytest.MonkeyPatch) -> None:
    any_answers(monkeypatch)


def recovery(subject, component: str, **params):
    (result,) = measured("recovery", subject, components=[component], min_gap=0.0, **params)
    return result


def lstm():
    return planted("lstm[layers=3,width=16]", "parity")


def test_recovery_says_how_far_its_grid_can_be_relied_on() -> None:
    subject = lstm()
    result = recovery(subject, "state")
    assert 0 <= result.scalars["split_half"] <= result.scalars["split_half_corrected"] <= 1
    ranks = result.profiles["distance_rank"]
    assert ranks.index == {"layer": [0, 1, 2], "place": ["patch", "readout"]}
    layer = int(result.scalars["layer"])
    for s, place in enumerate(PLACES):
        assert result.scalars[f"distance_rank_{place}"] == pytest.approx(ranks.value[layer][s])
        unpatched = result.scalars[f"distance_rank_{place}_unpatched"]
        assert unpatched == pytest.approx(ranks.series["unpatched"][layer][s])
        assert 0.3 < unpatched < 0.7
        assert result.scalars[f"distance_ratio_{place}"] == ranks.series["ratio"][layer][s]
    # All that layer 0 has of what came before is its memory: its stream is the donor's own there.
    assert ranks.marks["trivial"][0] == [True, False]
    assert "32 pairs, each ranked among 32 natural runs" in result.config["naturalness"]
    stream = recovery(subject, "block_in")
    means = np.array(stream.profiles["distance_rank"].value)[1:].mean(0)  # layer 0 is known
    assert stream.scalars["distance_rank_patch"] == pytest.approx(means[0])
    assert stream.scalars["distance_rank_readout"] == pytest.approx(means[1])


def test_the_ranks_are_those_of_pairs_patched_at_the_middle() -> None:
    subject = lstm()
    result = recovery(subject, "mixer_out", direction="noising")
    pairs = subject.pairs(64, subject.length)
    middle_P = (pairs.changed_P + pairs.readout_P) // 2
    there_P = pairs.readout_P - pairs.changed_P >= 2
    rows = np.flatnonzero(there_P)[:32]
    import torch

    found = mecheval.naturalness(
        subject.model, pairs.clean.tokens_BT[rows], pairs.readout_P[rows],
        donor=mecheval.interventions.Interchange(torch.as_tensor(pairs.corrupted.tokens_BT[rows])),
        positions_B=middle_P[rows], components=["mixer_out"],
        held_out_NT=subject.examples("test", N_HELD_OUT, purpose="naturalness").tokens_BT,
    )  # fmt: skip
    expected = found.rank[0].mean(-1)
    np.testing.assert_allclose(result.profiles["distance_rank"].value, expected, atol=1e-9)


def test_cells_that_are_known_are_no_part_of_the_agreement() -> None:
    subject = lstm()
    result = recovery(subject, "block_in")
    grid = result.profiles["grid"]
    open_ = np.array(grid.series["nontrivial_pairs"])
    assert f"{int((open_ >= 4).sum())} cells" in result.config["split_half"]
    assert not np.isnan(np.array(grid.value, float)[open_ < 4]).all()


def test_a_planted_path_is_the_same_in_every_half() -> None:
    subject = planted("planted/induction", RECALL)
    found = results(subject, "interchange")
    found |= results(subject, "mechanism")
    ids = ("interchange/key", "interchange/value", "mechanism/retrieval", "mechanism/binding")
    for id in ids:
        assert found[id].scalars["split_half"] == pytest.approx(1.0, abs=1e-3), id
    value = found["interchange/value"]
    layer, ranks = int(value.scalars["layer"]), value.profiles["distance_rank"]
    assert value.scalars["distance_rank_patch"] == pytest.approx(ranks.value[layer][0])
    assert "distance_rank_patch" not in found["mechanism/binding"].scalars
    known = restored(
        subject, subject.pairs(128, subject.length, kind="key"), ("block_in",), kind="key"
    )
    effects = open_effects(known, ("block_in",))
    assert np.isnan(effects[0, 0]).all()  # before layer 0 all is known
    assert split_half(effects).n_cells < effects[..., 0].size


@pytest.mark.parametrize("params", [{"frozen": True}, {"method": "gradient_guess"}])
def test_runs_that_are_patched_otherwise_are_not_ranked(params: dict) -> None:
    result = recovery(lstm(), "block_in", **params)
    assert result.value is not None
    assert result.scalars["split_half"] is not None
    assert result.scalars["distance_rank_patch"] is None
    assert result.config["naturalness"].startswith("not measured: no run is patched as")
    assert "distance_rank" not in result.profiles


def test_what_cannot_be_measured_has_its_reason() -> None:
    subject = lstm()
    pairs = subject.pairs(64, subject.length)
    none = np.zeros(len(pairs), bool)
    assert natural_runs(subject, Patched(pairs, pairs.changed_P, none), ["block_in"]) == (
        "not measured: no pair counts"
    )
    subject.model.decomposition = lambda: Refusal("its parts are not known")
    found = natural_runs(subject, Patched(pairs, pairs.changed_P, ~none), ["state"])
    assert "its parts are not known" in found
    assert ranked(found, "state", [0]) == {
        "scalars": {"distance_rank_patch": None, "distance_rank_readout": None},
        "config": {"naturalness": found},
    }
    few = planted("lstm[layers=3,width=16]", "parity", limit=12)
    assert "16 at least" in recovery(few, "block_in").config["naturalness"]


def test_wide_models_are_held_against_fewer_runs() -> None:
    subject = planted("lstm[layers=3,width=16]", "parity", limit=None)
    assert len(_held_out(subject, 64)) == N_HELD_OUT
    subject.model.d_model = 4096
    assert 16 < len(_held_out(subject, 64)) == 2**25 // (4 * 64 * 4096)
    subject.model.d_model = 10**6
    assert len(_held_out(subject, 64)) == 16


def test_a_reader_is_shown_them() -> None:
    shown = recovery(lstm(), "state")
    guess = recovery(lstm(), "block_in", method="gradient_guess")
    (row, other) = names.rows([shown, guess])
    assert len(row) == len(names.HEADERS)
    assert row[0] == "recovery/state"
    assert float(row[1]) == pytest.approx(shown.scalars["split_half"], abs=1e-3)
    rank, unpatched = (shown.scalars[f"distance_rank_patch{end}"] for end in ("", "_unpatched"))
    assert row[3].startswith(f"{rank:.2f} (unpatched {unpatched:.2f}")
    assert other[3].startswith("not measured: no run is patched")
    lone = shown.model_copy(
        update={
            "scalars": {"split_half": None, "distance_rank_patch": 0.5, "own_stream_patch": 1.0},
            "config": {"split_half": "undefined: 3 pairs, and 4 are needed"},
        }
    )
    assert names.rows([lone])[0][1:] == [
        "undefined: 3 pairs, and 4 are needed", "", "0.50 (100% by construction)", "",
    ]  # fmt: skip
    assert names.rows([shown.model_copy(update={"scalars": {}})]) == []
