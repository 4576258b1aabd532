"""The benchmark of thousands of cells, on a few."""

from __future__ import annotations

from benchmarks import store


def test_all_is_timed(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(store, "MODELS", ("lstm",))
    monkeypatch.setattr(store, "TASKS", ("parity", "z6"))
    found = store.measured(tmp_path, 5, None)
    assert list(found) == [
        "plan", "a shard of 20", "status", "list the reports", "read what is finished",
        "leaderboard build",
    ]  # fmt: skip
    assert len(list(tmp_path.rglob("seed*.json"))) == 6
