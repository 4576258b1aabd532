"""The benchmark of features runs, and prints a row for each call."""

from __future__ import annotations

from benchmarks import features


def test_every_call_has_its_row(capsys) -> None:
    assert features.main(["--rows", "2000", "--latents", "16", "-k", "4", "--repeats", "1"]) == 0
    printed = capsys.readouterr().out
    assert "| 2000 rows, 0 M products | s |" in printed
    for row in ("both ways, held out", "and beyond the token", "and with intervals"):
        assert f"| {row} | " in printed
