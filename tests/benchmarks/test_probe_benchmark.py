"""The probe and start-up benchmarks on small inputs."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest

from benchmarks import probes, startup

if TYPE_CHECKING:
    from pathlib import Path


def test_the_probe_tables(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "found.json"
    small = ["--layers", "2", "--width", "8", "--classes", "3", "--controls", "2"]
    assert probes.main([*small, "--repeats", "1", "--json", str(file)]) == 0
    printed = capsys.readouterr().out
    rows = [line.split("|")[1:-1] for line in printed.splitlines() if line.startswith("| ")]
    assert {len(row) for row in rows} == {5}
    assert [int(row[1]) for row in rows if row[1].strip() != "fits"] == 2 * [2, 6, 10, 16]
    assert file.exists()


def test_drawn_features_fall_off_and_come_apart() -> None:
    data = probes.draw(3, 20, 4, decay=1.0)
    train = data.splits["train"]
    variance = np.linalg.eigvalsh(np.cov(train.streams_LND[0].T))[::-1]
    assert variance[0] / variance[9] == pytest.approx(10, rel=0.25)
    means = [[features[train.values_N == value].mean(0) for value in range(4)]
             for features in train.streams_LND]  # fmt: skip
    spread = np.std(means, axis=1).sum(1)
    assert spread[0] < spread[1] < spread[2]
    assert probes.scikit_learn(data, (1.0,)) > 0.25


def test_a_process_is_timed_and_a_failure_is_seen() -> None:
    found = startup.run([sys.executable, "-c", "x = bytearray(60_000_000)"])
    assert found is not None
    assert found.seconds > 0
    assert 60 < found.megabytes < 2000
    assert startup.run([sys.executable, "-c", "raise SystemExit(3)"]) is None


def test_the_startup_table(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(startup, "OURS", {"works": ["-c", "pass"], "fails": ["-c", "1 / 0"]})
    monkeypatch.setattr(startup, "IMPORTS", ("json", "no_such_module"))
    assert startup.main(["--repeats", "1"]) == 1
    printed = capsys.readouterr().out
    names = [line.split("|")[1].strip() for line in printed.splitlines() if line.startswith("| ")]
    assert names == ["", startup.PYTHON, "works", "fails", "import json"]
    assert "| fails |" in printed
    assert "| failed | - | - |" in printed
