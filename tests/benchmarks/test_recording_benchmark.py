"""The benchmark of recordings runs, and says where there is no such memory."""

from __future__ import annotations

from benchmarks import recording


def test_every_model_has_its_row(capsys) -> None:
    small = ["--layers", "1", "--width", "8", "--length", "6", "--sequences", "4", "--repeats", "1"]
    assert recording.main([*small, "--models", "attention,lstm", "--what", "stream,state"]) == 0
    printed = capsys.readouterr().out.splitlines()
    attention, lstm = (
        next(row for row in printed if name in row) for name in ("| attention", "| lstm")
    )
    assert attention.endswith("| - |")
    assert "-" not in lstm
