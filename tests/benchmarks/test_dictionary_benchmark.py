"""The benchmark of dictionaries on small inputs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
import torch

from benchmarks import dictionaries

if TYPE_CHECKING:
    from pathlib import Path

SMALL = ["--width", "8", "--latents", "32", "--k", "3", "--batch", "64", "--steps", "40"]


def test_the_table_of_trainers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: object) -> dictionaries.Trainer:
        raise RuntimeError("out of\npatience")

    monkeypatch.setitem(dictionaries.TRAINERS, "failing", (failing, "no-such-package"))
    names = "mecheval,mecheval batchtopk,dense,failing"
    threads, file = torch.get_num_threads(), tmp_path / "found.json"
    try:
        assert dictionaries.main([*SMALL, "--trainers", names, "--json", str(file)]) == 0
    finally:
        torch.set_num_threads(threads)
    printed = capsys.readouterr().out
    assert "| failing |  | - | - | - | RuntimeError: out of patience |" in printed
    found = {row["trainer"]: row for row in json.loads(file.read_text())["rows"]}
    assert list(found) == names.split(",")
    for name in ("mecheval", "mecheval batchtopk", "dense"):
        assert found[name]["rows_per_second"] > 0
        assert 0.2 < found[name]["fve"] < 1
    assert found["dense"]["fve"] == pytest.approx(found["mecheval"]["fve"], abs=0.1)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["eai-sparsify", "sae-lens", "sae-lens batchtopk"])
def test_other_libraries_learn(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPARSIFY_DISABLE_TRITON", "1")
    module = dictionaries.TRAINERS[name][1].replace("eai-", "").replace("-", "_")
    pytest.importorskip(module, reason=f"{name} is not installed: pip install -e '.[sae]'")
    file = tmp_path / "found.json"
    assert dictionaries.main([*SMALL, "--trainers", name, "--json", str(file)]) == 0
    (row,) = json.loads(file.read_text())["rows"]
    assert row["fve"] > 0.1, row
