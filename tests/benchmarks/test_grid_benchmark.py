"""The comparison of grids on tiny models; other libraries where they are installed."""

from __future__ import annotations

import json
import sys
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from benchmarks import comparison, grid, measuring
from benchmarks.comparison import all_cells, compare, sample_cells
from benchmarks.peers import PEERS
from benchmarks.peers.contract import Idiom, Job
from benchmarks.subjects import draw_pairs, mamba_shape, neox_shape

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from benchmarks.subjects import Shape

TINY = {"vocab_size": 60, "hidden_size": 16, "num_hidden_layers": 3}


def tiny_neox() -> Shape:
    return neox_shape(**TINY, num_attention_heads=2, intermediate_size=32)


def tiny_mamba() -> Shape:
    return mamba_shape(**TINY, state_size=4)


def job_of(shape: Shape) -> Job:
    return Job(shape, draw_pairs(60, 3, 6, seed=2))


@pytest.fixture(autouse=True)
def _small_products(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measuring, "MATMULS", ((32, 32, 32), (64, 32, 64)))
    monkeypatch.setattr(measuring, "BUDGET", 0.0)


@pytest.mark.parametrize("shape", [tiny_neox, tiny_mamba])
def test_mecheval_and_hooks_give_the_same_grid(shape) -> None:
    job = job_of(shape())
    found = compare(job, ["hooks"], all_cells(job), repeats=1)
    assert [row.peer for row in found.rows] == ["mecheval", "hooks", "hooks"]
    assert not found.disagreeing
    assert found.n_sampled == found.n_cells == 18
    assert all(row.seconds and row.seconds > 0 for row in found.rows)
    assert found.largest_effect == found.largest_compared > 1e-3
    assert max(row.difference or 0 for row in found.rows) < 1e-4 * found.largest_effect


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("shape", [tiny_neox, tiny_mamba])
@pytest.mark.parametrize("peer", ["pyvene", "nnsight", "transformer-lens"])
def test_other_libraries_give_the_same_grid(peer: str, shape) -> None:
    module = peer.replace("-", "_")
    pytest.importorskip(module, reason=f"{peer} is not installed: pip install -e '.[benchmarks]'")
    job = job_of(shape())
    found = compare(job, [peer], all_cells(job), repeats=1)
    assert len(found.rows) > 2
    assert not [row.note for row in found.rows if row.note]
    assert not found.disagreeing


def fake(monkeypatch: pytest.MonkeyPatch, name: str, patch) -> None:
    """Register a peer with one idiom."""
    module = ModuleType(f"fake_{name}")
    module.idioms = lambda job: [  # type: ignore[attr-defined]
        Idiom(name, "1.0", "an idiom", lambda: None, lambda l, p: patch(job, l, p))  # noqa: E741
    ]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setitem(PEERS, name, module.__name__)


def test_a_wrong_grid_and_a_failure_are_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(job: Job, layer: int, position: int) -> Tensor:
        return torch.zeros(len(job.pairs.answers_P))

    def failing(job: Job, layer: int, position: int) -> Tensor:
        raise RuntimeError("out of\npatience")

    fake(monkeypatch, "wrong", wrong)
    fake(monkeypatch, "failing", failing)
    monkeypatch.setitem(PEERS, "absent", "benchmarks.peers.no_such_library")
    job = job_of(tiny_neox())
    found = compare(job, ["absent", "wrong", "failing"], sample_cells(job, 2), repeats=1)
    notes = {row.peer: row.note for row in found.rows}
    assert notes["failing"] == "RuntimeError: out of patience"
    assert notes["absent"].startswith("ModuleNotFoundError")
    assert [row.peer for row in found.disagreeing] == ["wrong"]
    lines = grid.report(job, found, 1e9)
    assert "!!! wrong, an idiom: NOT THE SAME GRID" in lines
    assert "| failing | 1.0 | an idiom | - | - | RuntimeError: out of patience |" in lines


def test_the_command_prints_a_table_and_writes_json(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(grid, "SHAPES", {"pythia-160m": tiny_neox, "mamba-130m": tiny_mamba})
    threads = torch.get_num_threads()
    file = tmp_path / "found.json"
    small = ["--pairs", "2", "--length", "6", "--cells", "2", "--repeats", "1"]
    code = grid.main([*small, "--peers", "hooks", "--threads", str(threads), "--json", str(file)])
    assert code == 0
    printed = capsys.readouterr().out
    rows = [line.split("|")[1:-1] for line in printed.splitlines() if line.startswith("| ")]
    assert {len(row) for row in rows} == {6}
    assert [row[0].strip() for row in rows] == 2 * ["peer", "mecheval", "hooks", "hooks"]
    assert "TFLOP" in printed
    found = json.loads(file.read_text())
    assert found["pythia-160m"]["rows"][0]["peer"] == "mecheval"
    assert found["mamba-130m"]["minimum_flop"] > 0
    fake(monkeypatch, "wrong", lambda job, layer, position: torch.full((2,), torch.nan))
    assert grid.main([*small, "--model", "pythia-160m", "--peers", "wrong"]) == 1


def test_processor_time_is_for_one_thread(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        grid.main(["--threads", "2", "--clock", "cpu"])
    assert "--clock cpu counts the time of all threads" in capsys.readouterr().err
    monkeypatch.setitem(measuring.CLOCKS, "cpu", iter([1.0, 3.5]).__next__)
    assert measuring.Stopwatch(clock="cpu")(list) == 2.5


def test_an_unknown_peer_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        grid.main(["--peers", "hooks,nobody"])
    assert "unknown peer 'nobody'; choose among hooks, pyvene" in capsys.readouterr().err


@pytest.mark.parametrize("n_layers", [12, 24])
@pytest.mark.parametrize("n_cells", [2, 4, 6, 12])
def test_sampled_cells_stand_for_the_grid(n_layers: int, n_cells: int) -> None:
    job = Job(neox_shape(num_hidden_layers=n_layers), draw_pairs(60, 3, 32))
    cells = np.array(sample_cells(job, n_cells))
    assert len(cells) == n_cells
    assert cells[:, 0].mean() == (n_layers - 1) / 2
    assert len(set(cells[:, 1].tolist())) == n_cells
    assert cells.min() >= 0
    assert cells[:, 1].max() < 32


def test_pairs_differ_in_one_token() -> None:
    pairs = draw_pairs(5, 200, 16)
    differs_PT = pairs.clean_PT != pairs.corrupted_PT
    assert (differs_PT.sum(1) == 1).all()
    assert torch.equal(differs_PT.int().argmax(1), pairs.changed_P)
    assert set(pairs.changed_P.tolist()) == set(range(2, 8))
    assert (pairs.answers_P != pairs.foils_P).all()
    assert (draw_pairs(5, 10, 16, changed=0).changed_P == 0).all()


def test_the_model_is_the_same_at_every_build() -> None:
    shape = tiny_neox()
    state = torch.get_rng_state()
    first, second = shape.build(), shape.build()
    assert torch.equal(next(first.parameters()), next(second.parameters()))
    assert first.config is not second.config
    assert torch.equal(torch.get_rng_state(), state)


def test_one_line_is_short() -> None:
    assert comparison.one_line(ValueError("a\n b")) == "ValueError: a b"
    assert len(comparison.one_line(ValueError("x" * 500))) == 160
