"""The table of all mixers, on tiny models."""

import json
from pathlib import Path

import pytest

import mecheval
from benchmarks import mixers
from benchmarks.subjects import draw_pairs
from mecheval.registry import Registry


def test_every_mixer_is_compared_with_hooks(tmp_path: Path, capsys) -> None:
    file = tmp_path / "found.json"
    sizes = ["--width", "16", "--layers", "4", "--pairs", "64", "--length", "24"]
    asked = [*sizes, "--cells", "2", "--repeats", "1", "--mixers", "mamba", "attention"]
    assert mixers.main([*asked, "--json", str(file)]) == 0
    found = json.loads(file.read_text(encoding="utf-8"))["mixers"]
    assert list(found) == ["mamba", "attention"]
    assert all(row["hooks"] > 0 and row["ours"] > 0 for row in found.values())
    assert {row["engine"] for row in found.values()} == {"tails"}
    assert "| mamba | " in capsys.readouterr().out


def test_every_architecture_is_among_them() -> None:
    entries = [e for e in Registry().entries("model") if e.path.parent.name == "model_registry"]
    names = {entry.name for entry in entries if entry.path.stem != "pretrained"}
    assert set(mixers.MIXERS) == names - {"hybrid"}


def test_positions_are_counted() -> None:
    model = mecheval.load_model("gru[layers=2,width=16]", vocab_size=8)
    subject = mixers.Subject(model, draw_pairs(8, 3, 6, changed=2))
    # Of 2 x 6 cells hooks run 2 x 6 positions each. Only cells of the second layer need a pass, on
    # 4, 3, 2 and 1 positions of it.
    assert mixers.bound(subject) == 12 * 12 / (4 + 3 + 2 + 1)


def test_a_grid_that_is_off_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    patched = mixers.Subject.patched
    monkeypatch.setattr(mixers.Subject, "patched", lambda *given: patched(*given) + 0.1)
    sizes = ["--width", "16", "--layers", "2", "--pairs", "8", "--length", "12"]
    assert mixers.main([*sizes, "--cells", "2", "--repeats", "1", "--mixers", "gru"]) == 1
