"""What must hold of interchange in any causal model, whatever its weights; by plain hooks.

Held over every architecture with random weights, since nothing in it depends on what was learned.
"""

from __future__ import annotations

import dataclasses
from functools import cache
from typing import NamedTuple

import numpy as np
import pytest
import torch
from retrieval_subjects import RECALL, planted, results

import mecheval
from mecheval.interventions import RecoveryGrid, recovery_grid
from mecheval.metrics.intervention.trivial_sites import UNKNOWN, by_construction
from mecheval.registry import Registry
from mecheval.seeding import stream
from mecheval.tasks import Pairs

ARCHITECTURES = sorted(
    entry.name
    for entry in Registry().entries("model")
    if "/" not in entry.name and entry.path.stem != "pretrained"
)
TASK = "ar[keys=12,values=12,pairs=3]"
N_PAIRS = 6
KINDS = ("key", "value")


class Patched(NamedTuple):
    """Every position of the stream of a random network exchanged, one at a time."""

    pairs: Pairs
    readout_P: np.ndarray
    grid: RecoveryGrid


@cache
def patched(name: str, kind: str, layers: int = 2) -> Patched:
    """Make a full forward pass per cell, in float64.

    Odd pairs are read one position earlier than even ones, so that there is something behind.
    """
    one_kind = ",pattern=mamba" if (name, layers) == ("hybrid", 1) else ""
    subject = planted(f"{name}[width=16,layers={layers}{one_kind}]", TASK)
    model = subject.model.double()
    with torch.no_grad():  # far from zero, or differences would drown
        for parameter in model.parameters():
            parameter.mul_(1.5)
    pairs = subject.pairs(N_PAIRS, subject.length, kind=kind)
    readout_P = pairs.readout_P - np.arange(N_PAIRS) % 2
    grid = recovery_grid(
        model, pairs.clean.tokens_BT, pairs.corrupted.tokens_BT, pairs.answers_P, pairs.foils_P,
        readout_P, components=("block_in", "block_out"), readout="log_prob", engine="hooks",
    )  # fmt: skip
    return Patched(pairs, readout_P, grid)


def same(one: np.ndarray, other: np.ndarray) -> bool:
    return np.allclose(one, other, rtol=1e-10, atol=1e-10)


def test_all_architectures_are_here() -> None:
    assert {"attention", "based", "deltanet", "lstm", "mamba2", "transformer"} <= {*ARCHITECTURES}
    assert len(ARCHITECTURES) >= 12


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ARCHITECTURES)
class TestOfEveryArchitecture:
    def test_the_exchange_is_seen(self, name: str, kind: str) -> None:
        """Or all of the others would hold of a model that looks at nothing."""
        grid = patched(name, kind).grid
        assert (np.abs(grid.clean - grid.corrupted) > 1e-9).all()

    def test_the_embedding_of_the_exchanged_token_restores_all(self, name: str, kind: str) -> None:
        pairs, _, grid = patched(name, kind)
        row_P = np.arange(N_PAIRS)
        assert same(grid.component("block_in")[0, pairs.changed_P, row_P], grid.clean)
        assert not same(grid.component("block_in")[0, pairs.changed_P - 1, row_P], grid.clean)

    def test_before_the_exchange_and_behind_the_readout_nothing_is_restored(
        self, name: str, kind: str
    ) -> None:
        pairs, readout_P, grid = patched(name, kind)
        position_T1 = np.arange(grid.patched.shape[2])[:, None]
        silent_TP = (position_T1 < pairs.changed_P) | (position_T1 > readout_P)
        assert (position_T1 > readout_P).any()
        for component in grid.axes["component"]:
            for layer_TP in grid.component(component):
                assert same(layer_TP[silent_TP], np.where(silent_TP, grid.corrupted, 0)[silent_TP])

    def test_a_block_reads_what_the_one_before_passes_on(self, name: str, kind: str) -> None:
        grid = patched(name, kind).grid
        assert same(grid.component("block_out")[0], grid.component("block_in")[1])

    def test_what_the_last_block_passes_on_at_the_readout_restores_all(
        self, name: str, kind: str
    ) -> None:
        _, readout_P, grid = patched(name, kind)
        assert same(grid.component("block_out")[-1, readout_P, np.arange(N_PAIRS)], grid.clean)

    def test_in_one_layer_only_the_mixer_can_matter(self, name: str, kind: str) -> None:
        """Every cell of the stream is known, and is what it is known to be."""
        pairs, readout_P, grid = patched(name, kind, 1)
        roles = {**pairs.clean.roles, "readout": readout_P}
        at_own = Pairs(dataclasses.replace(pairs.clean, roles=roles), pairs.corrupted)
        for component in grid.axes["component"]:
            known_LTP = by_construction(at_own, component, [UNKNOWN])
            known_LTP = known_LTP[:, : grid.patched.shape[2]]
            assert not np.isnan(known_LTP).any()
            expected = np.where(known_LTP == 1, grid.clean, grid.corrupted)
            assert same(grid.component(component), expected)


def test_a_document_of_the_paper_has_37_positions() -> None:
    """BOS, 16 pairs, divider, query, answer, end; here the answer is a target, and nothing ends."""
    task = mecheval.load_task("ar[preset=paper]")
    batch = task.sample(stream(0, "test"), 4, task.max_length)
    answer_and_end = 2
    assert batch.n_positions + answer_and_end == 37
    assert (batch.roles["query"] == 34).all()
    assert (batch.roles["divider"] == 33).all()


@pytest.mark.parametrize(
    "model", ["planted/induction", "planted/mamba-recall", "planted/mamba-recall[shift=1]"]
)
def test_what_is_left_of_a_perfect_model_without_its_key_or_value(model: str) -> None:
    """Without the key at most a guess among the values of the context, without the value nothing.

    A planted model does not guess at its best: one that finds no key says any symbol.
    """
    found = results(planted(model, RECALL), "interchange")
    n_symbols, n_pairs = 26, 6
    assert 1 / n_symbols - 1e-6 < found["interchange/key"].references["corrupted"] <= 1 / n_pairs
    assert found["interchange/value"].references["corrupted"] < 1e-3
    for result in found.values():
        assert result.references["clean"] > 0.99


@pytest.mark.parametrize("name", ["transformer", "mamba2", "deltanet", "lstm"])
def test_the_metric_itself_says_so(name: str) -> None:
    """Measured by the engine that a run uses, in cells that the metric marks as trivial."""
    subject = planted(f"{name}[width=16,layers=2]", TASK)
    for result in results(subject, "interchange", min_gap=0.0, n_pairs=16).values():
        if result.value is None:
            assert result.reason.startswith("no gap")
            continue
        assert result.scalars["trivial_error"] < 1e-6
        assert result.warnings == []
