"""The benchmark of measuring against training, on a small cell."""

from __future__ import annotations

import pytest

from benchmarks import cells


def test_the_table_of_a_cell(capsys: pytest.CaptureFixture[str]) -> None:
    small = ["--models", "lstm[layers=1,width=8]", "--tasks", "parity", "--metrics", "exchange"]
    assert cells.main([*small, "--steps", "5", "--limit", "40"]) == 0
    printed = capsys.readouterr().out
    head, _, line = [line.split("|")[1:-1] for line in printed.splitlines() if line[:1] == "|"]
    found = dict(zip((name.strip() for name in head), (x.strip() for x in line), strict=True))
    assert found["cell"] == "lstm[layers=1,width=8], parity"
    assert found["learned"] == "True"
    times = {name: float(found[name]) for name in ("train", "behaviour", "exchange")}
    ratio = (times["behaviour"] + times["exchange"]) / times["train"]
    assert float(found["measured / trained"]) == pytest.approx(ratio, rel=0.2)
    assert float(found["exchange per layer"]) == pytest.approx(times["exchange"] / 2, abs=0.02)
