"""The table of small grids, on a tiny model."""

import json
from pathlib import Path

from benchmarks import small_grids


def test_every_request_is_timed_both_ways(tmp_path: Path, capsys) -> None:
    file = tmp_path / "found.json"
    sizes = ["--widths", "16", "--layers", "2", "--length", "8", "--repeats", "1"]
    assert small_grids.main([*sizes, "--models", "our transformer", "--json", str(file)]) == 0
    found = json.loads(file.read_text(encoding="utf-8"))["models"]["our transformer, width 16"]
    assert set(found) == set(small_grids.REQUESTS)
    assert all(min(*row["hooks"], *row["auto"]) > 0 for row in found.values())
    assert found["a cell"]["engine"] == "hooks"
    assert "| a cell | " in capsys.readouterr().out
