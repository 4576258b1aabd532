"""Cells that are 0 or 1 by construction: on arrays, and in every architecture with random weights.

In the real models marked cells must be what they are known to be, and cells that are not marked
must depend on the model: whatever is the same in all pairs and is not marked, is missing.
"""

from __future__ import annotations

from collections import defaultdict
from functools import cache

import numpy as np
import pytest
import torch
from circuit_subjects import checkpoint, subject_of
from crossings import mostly_slow
from hf_families import build, is_new
from test_patching import pairs_of
from test_retrieval_invariants import ARCHITECTURES

from mecheval.interventions import recovery_grid
from mecheval.metrics.intervention import patching
from mecheval.metrics.intervention.trivial_sites import (
    UNKNOWN,
    Anatomy,
    anatomy_of,
    by_construction,
)
from mecheval.models.decomposition import Decomposition
from mecheval.models.sites import COMPONENTS
from mecheval.models.wrapped.model import WrappedModel

TASKS = {"ar[keys=12,values=12,pairs=6]": "key", "parity": None}
N_PAIRS = 10
LEAST_GAP = 1e-6
FAMILIES = ("hf-llama", "hf-gpt_neox", "hf-gptj", "hf-mamba")

CROSSED = [(name, layers) for name in (*ARCHITECTURES, *FAMILIES) for layers in (1, 2)]
OURS = [row for row in CROSSED if row[0] in ARCHITECTURES]
ALWAYS = [
    *((name, 2) for name in ("transformer", "mamba", "lstm", "gated_deltanet", "hyena", "hybrid")),
    ("based", 1), ("hf-gptj", 2), ("hf-mamba", 1),
]  # fmt: skip
"""Attention, scans, gates, rules, convolutions, two kinds in one; and checkpoints."""

ATTENTION, CONVOLUTION = Anatomy(), Anatomy(reach=3, recent=True, remembers=False)
MAMBA, LSTM = Anatomy(reach=4, recent=True), Anatomy(gated=True)

OPEN_KIND = {
    # Whether a gate or a query sees the tokens before its own is not known of a mixer.
    "deltanet": {"z"}, "gated_deltanet": {"z"}, "gla": {"z"},
    "deltaproduct": {"z"}, "gated_deltaproduct": {"z"},
    "hyena": {"z"}, "h3": {"q", "v", "z"},
    # With one layer these are a convolution alone: only what is near is seen at all.
    "base_conv": set(COMPONENTS), "based": set(COMPONENTS),
}  # fmt: skip


def known(component: str, *anatomy: Anatomy, **how) -> list[list[float | None]]:
    """Return what is known of a pair: changed at 2, read at 8, of 10 positions."""
    clean = [0, 1, 1, 1, 1, 1, 1, 1, 1, 1]
    pairs = pairs_of([clean], [[0, 1, 2, *clean[3:]]], [8])
    found_LT = by_construction(pairs, component, anatomy, **how)[..., 0]
    return [[None if np.isnan(value) else int(value) for value in row_T] for row_T in found_LT]


@pytest.mark.parametrize(
    ("component", "layer", "expected"),
    [
        # positions:      0  1  2 (changed)                       8 (readout)
        ("block_in", 0, [0, 0, 1, 0, 0, 0, 0, 0, 0, 0]),
        ("block_in", 1, [0, 0, None, None, None, None, None, None, None, 0]),
        ("mixer_in", 0, [0, 0, None, 0, 0, 0, 0, 0, 0, 0]),
        ("mixer_out", 0, [0, 0, None, None, None, None, None, None, None, 0]),
        ("mixer_out", 2, [0, 0, 0, 0, 0, 0, 0, 0, None, 0]),
        ("mlp_out", 2, [0, 0, 0, 0, 0, 0, 0, 0, None, 0]),
        ("block_out", 2, [0, 0, 0, 0, 0, 0, 0, 0, 1, 0]),
        ("q", 2, [0, 0, 0, 0, 0, 0, 0, 0, None, 0]),
        ("k", 2, [0, 0, None, None, None, None, None, None, None, 0]),
        ("state", 1, [0, 0, None, None, None, None, None, None, 0, 0]),
    ],
)
def test_what_is_known_of_any_model(component, layer, expected) -> None:
    assert known(component, *[UNKNOWN] * 3)[layer] == expected


@pytest.mark.parametrize(
    ("component", "anatomy", "expected"),
    [
        ("state", [ATTENTION], [0, 0, 1, 1, 1, 1, 1, 1, 0, 0]),
        ("cache", [MAMBA], [0, 0, 1, 1, 1, 1, 1, 1, 0, 0]),
        ("state", [MAMBA], [0, 0, None, None, None, 1, 1, 1, 0, 0]),
        ("write", [ATTENTION], [0, 0, 1, 0, 0, 0, 0, 0, 0, 0]),
        ("write", [MAMBA], [0, 0, None, None, None, None, 0, 0, 0, 0]),
        ("write", [LSTM], [0, 0, None, None, None, None, None, None, None, 0]),
        ("mixer_in", [ATTENTION], [0, 0, 1, 0, 0, 0, 0, 0, 0, 0]),
        ("mixer_out", [MAMBA], [0, 0, 0, 0, 0, 0, 0, 0, 1, 0]),
        ("q", [ATTENTION], [0] * 10),
        ("mlp_out", [Anatomy(parallel=True)], [0] * 10),
        ("mlp_out", [ATTENTION], [0, 0, 0, 0, 0, 0, 0, 0, None, 0]),
    ],
)
def test_what_is_known_of_one_layer(component, anatomy, expected) -> None:
    assert known(component, *anatomy) == [expected]


def test_a_convolution_below_sees_a_few_tokens_and_one_above_is_seen_a_few_positions_ahead() -> (
    None
):
    below, above = (CONVOLUTION, ATTENTION), (ATTENTION, CONVOLUTION)
    assert known("block_in", *below)[1] == [0, 0, None, None, None, 0, 0, 0, 0, 0]
    assert known("state", *below) == [[0] * 10, [0, 0, None, None, 1, 1, 1, 1, 0, 0]]
    assert known("mixer_out", *above)[0] == [0, 0, 0, 0, 0, 0, None, None, None, 0]
    assert known("state", *above)[0] == [0, 0, 1, 1, 1, 1, None, None, 0, 0]


def test_memory_that_is_held_above_leaves_nothing_to_be_passed() -> None:
    layers = ATTENTION, ATTENTION
    assert known("block_in", *layers)[0][2] == 1
    assert known("block_in", *layers, frozen=True)[0][2] is None
    assert known("block_in", ATTENTION, frozen=True)[0][2] == 1
    assert known("block_out", *layers, frozen=True)[1][8] == 1


def test_a_layer_that_is_given_the_tokens_passes_the_stream_before_all_by() -> None:
    given = UNKNOWN._replace(sees_tokens=True)
    assert known("block_in", ATTENTION, given)[0] == [0, 0, None, 0, 0, 0, 0, 0, 0, 0]
    assert known("block_out", ATTENTION, given)[1][8] == 1


def test_two_changed_tokens_leave_neither_trivial() -> None:
    pairs = pairs_of([[0, 1, 1, 1, 1]], [[0, 2, 2, 1, 1]], [4])
    known_T = by_construction(pairs, "block_in", (ATTENTION,) * 2)[0, :, 0]
    assert np.isnan(known_T).tolist() == [False, True, True, False, False]
    memory_T = by_construction(pairs, "state", (ATTENTION,))[0, :, 0]
    assert np.isnan(memory_T).tolist() == [False, True, False, False, False]
    assert memory_T[2] == 1


@cache
def patched(name: str, layers: int, task: str) -> tuple[dict[str, tuple], list[np.ndarray]]:
    """Return recoveries and what is known of them, by component, and where cells are."""
    one_kind = ",pattern=mamba" if (name, layers) == ("hybrid", 1) else ""
    model = (
        checkpoint(name[3:], num_hidden_layers=layers) if name in FAMILIES
        else f"{name}[width=16,layers={layers}{one_kind}]"
    )  # fmt: skip
    subject = subject_of(model, task)
    with torch.no_grad():  # far from zero, or differences would drown
        for parameter in subject.model.double().parameters():
            parameter.mul_(1.5)
    pairs = subject.pairs(N_PAIRS, subject.length, kind=TASKS[task])
    decomposition = subject.model.decomposition()
    assert isinstance(decomposition, Decomposition)
    # A mixer that is called as a whole, as that of GPT-J before transformers 5, says no writes.
    says = any(layer.mixing.writes is not None for layer in decomposition.layers)
    assert says or not is_new()
    components = [name for name in COMPONENTS if says or name != "write"]
    grid = recovery_grid(
        subject.model, pairs.clean.tokens_BT, pairs.corrupted.tokens_BT, pairs.answers_P,
        pairs.foils_P, pairs.readout_P, components=components, readout="log_prob",
    )  # fmt: skip
    anatomy, found = anatomy_of(subject.model), {}
    for component in components:
        value_LTP = patching.recovery(grid.clean, grid.corrupted, grid.component(component))
        # Of two runs that hardly differ there is only rounding to share out.
        value_LTP[..., np.abs(grid.clean - grid.corrupted) < LEAST_GAP] = np.nan
        known_LTP = by_construction(pairs, component, anatomy)[:, : value_LTP.shape[1]]
        found[component] = value_LTP, known_LTP
    differs_TP = (pairs.clean.tokens_BT != pairs.corrupted.tokens_BT).T[: grid.patched.shape[2]]
    return found, places_of(differs_TP, pairs.readout_P)


def places_of(differs_TP: np.ndarray, readout_P: np.ndarray) -> dict[str, np.ndarray]:
    """Return kinds of places; a convolution sees what is near."""
    position_T1 = np.arange(len(differs_TP))[:, None]
    behind_TP = position_T1 - (len(differs_TP) - 1 - differs_TP[::-1].argmax(0))
    return {
        "changed": differs_TP,
        "near": (behind_TP > 0) & (behind_TP <= 3) & (position_T1 < readout_P),
        "far": (behind_TP > 3) & (position_T1 < readout_P),
        "readout": (position_T1 == readout_P) & (behind_TP > 0),
    }


@pytest.mark.parametrize(("name", "layers"), mostly_slow(CROSSED, always=ALWAYS))
def test_marked_cells_are_what_they_must_be(name: str, layers: int) -> None:
    for task in TASKS:
        for component, (value_LTP, known_LTP) in patched(name, layers, task)[0].items():
            off = np.nanmax(np.abs(value_LTP - known_LTP), initial=0.0)
            # The Mamba of transformers computes parts in float32.
            assert off < (1e-4 if name == "hf-mamba" else 1e-6), (task, component)


@pytest.mark.parametrize(
    ("name", "layers"),
    mostly_slow(OURS, always=[row for row in ALWAYS if row in OURS]),
)
def test_cells_that_are_the_same_in_all_pairs_are_marked(name: str, layers: int) -> None:
    open_cells = defaultdict(list)
    for task in TASKS:
        found, places = patched(name, layers, task)
        for component, (value_LTP, known_LTP) in found.items():
            for layer, value_TP in enumerate(value_LTP):
                for place, where_TP in places.items():
                    unmarked = where_TP & np.isnan(known_LTP[layer]) & ~np.isnan(value_TP)
                    open_cells[component, layer, place].extend(value_TP[unmarked])
    missing = {
        cell for cell, values in open_cells.items()
        if values and (np.allclose(values, 0, atol=1e-9) or np.allclose(values, 1, atol=1e-9))
    }  # fmt: skip
    allowed = OPEN_KIND.get(name, set())
    assert {cell for cell in missing if cell[0] not in allowed} == set()


def test_nothing_is_known_of_mixers_that_are_called_as_a_whole() -> None:
    """Where a model's own cache is all that a layer shows, no cell is decided by construction."""
    assert anatomy_of(WrappedModel(build("gpt_neo"))) == (UNKNOWN, UNKNOWN)
