"""Everything that decides a checkpoint's weights or the code that runs is in its identity."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from mecheval.harness.plan import plan
from mecheval.harness.request import Request, Settings
from mecheval.models.load import resolve
from mecheval.spec import parse_spec

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mecheval.harness.request import Cell
    from mecheval.registry import Registry
    from mecheval.tasks import Task


def planned(written: str, *, trust: bool = False) -> Cell:
    settings = Settings(trust_remote_code=trust)
    request = Request(models=(parse_spec(written),), tasks=(parse_spec("dyck"),), settings=settings)
    (cell,) = plan(request)
    return cell


def _weights(folder: Path) -> None:
    file = folder / "model.safetensors"
    tensors = load_file(file)
    tensors["gpt_neox.layers.0.mlp.dense_h_to_4h.weight"][0, 0] += 1.0
    save_file(tensors, file, metadata={"format": "pt"})


def _config(**changes: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        file = folder / "config.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | changes))

    return change


def _tokenizer(folder: Path) -> None:
    file = folder / "tokenizer.json"
    vocabulary = json.loads(file.read_text())
    ids = vocabulary["model"]["vocab"]
    ids["("], ids[")"] = ids[")"], ids["("]
    file.write_text(json.dumps(vocabulary))


INGREDIENTS: dict[str, Callable[[Path], None]] = {
    "weights": _weights,
    "configuration": _config(rotary_pct=0.5),
    "attention implementation": _config(_attn_implementation="eager"),
    "stored type of number": _config(dtype="bfloat16"),
    "tokenizer": _tokenizer,
}


@pytest.mark.parametrize("ingredient", INGREDIENTS)
def test_each_ingredient_makes_another_cell(checkpoint: Path, ingredient: str) -> None:
    before = planned(f"hf:{checkpoint}")
    INGREDIENTS[ingredient](checkpoint)
    after = planned(f"hf:{checkpoint}")
    assert after.key != before.key
    assert planned(f"hf:{checkpoint}").key == after.key


@pytest.mark.parametrize("argument", ["weights=random", "symbols=added", "attention=eager"])
def test_each_argument_makes_another_cell(checkpoint: Path, argument: str) -> None:
    assert planned(f"hf:{checkpoint}[{argument}]").key != planned(f"hf:{checkpoint}").key


def test_what_decides_nothing_makes_no_other_cell(checkpoint: Path) -> None:
    """Settings of generation, notes, a trainer's state, code that does not run."""
    before = planned(f"hf:{checkpoint}").key
    (checkpoint / "generation_config.json").write_text('{"temperature": 0.5}')
    (checkpoint / "README.md").write_text("A model.")
    (checkpoint / "trainer_state.json").write_text("{}")
    (checkpoint / "optimizer.pt").write_bytes(b"")
    (checkpoint / "train.py").write_text("raise SystemExit")
    assert planned(f"hf:{checkpoint}").key == before
    assert planned(f"hf:{checkpoint}", trust=True).key == before


def test_two_files_are_not_one(checkpoint: Path) -> None:
    """What is hashed is which file says what, not a run of bytes."""
    (checkpoint / "vocab.json").write_text("{}")
    before = planned(f"hf:{checkpoint}").key
    (checkpoint / "vocab.json").rename(checkpoint / "vocab.txt")
    assert planned(f"hf:{checkpoint}").key != before


def test_nothing_else_in_the_folder_is_seen(
    checkpoint: Path, registry: Registry, dyck: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What transformers is given holds the files that were hashed, whatever lies beside them."""
    from transformers import AutoModelForCausalLM

    seen: list[set[str]] = []
    load = AutoModelForCausalLM.from_pretrained

    def watched(folder: Path, *args: Any, **kwargs: Any) -> Any:
        seen.append({file.name for file in folder.iterdir()})
        return load(folder, *args, **kwargs)

    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", watched)
    beside = {"adapter_model.bin", "model.fp16.safetensors", "generation_config.json"}
    for name in beside:
        (checkpoint / name).write_text("{}")
    source = resolve(parse_spec(f"hf:{checkpoint}"), registry)
    source.build(source.encode(dyck), seed=0)
    (names,) = seen
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= names
    assert names.isdisjoint(beside)


OWN = """
from transformers import LlamaForCausalLM
class Mine(LlamaForCausalLM):
    def forward(self, *args, **kwargs):
        found = super().forward(*args, **kwargs)
        found.logits = found.logits + 1.0
        return found
"""


def _with_code(folder: Path) -> None:
    (folder / "mine.py").write_text(OWN)
    _config(auto_map={"AutoModelForCausalLM": "mine.Mine"})(folder)


def test_own_code_that_runs_is_another_model(
    make_checkpoint: Callable[..., Path],
    registry: Registry,
    dyck: Task,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import transformers.dynamic_module_utils as dynamic

    monkeypatch.setattr(dynamic, "HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.setattr(sys, "path", list(sys.path))
    checkpoint = make_checkpoint("llama")
    _with_code(checkpoint)
    cells = [planned(f"hf:{checkpoint}", trust=trust) for trust in (False, True)]
    assert cells[0].key != cells[1].key
    assert "code=own" in cells[1].model_title
    tokens_BT = torch.randint(4, 30, (2, 8), generator=torch.Generator().manual_seed(0))
    logits = []
    for trust in (False, True):
        source = resolve(parse_spec(f"hf:{checkpoint}"), registry, trust_remote_code=trust)
        with torch.no_grad():
            logits.append(source.build(source.encode(dyck), seed=0)(tokens_BT))
    assert torch.allclose(logits[1], logits[0] + 1.0)

    (checkpoint / "mine.py").write_text(OWN.replace("1.0", "2.0"))
    plain, trusted = (planned(f"hf:{checkpoint}", trust=trust) for trust in (False, True))
    assert plain.key == cells[0].key
    assert trusted.key != cells[1].key
    (checkpoint / "table.json").write_text("{}")
    assert planned(f"hf:{checkpoint}", trust=True).key != trusted.key


def test_code_of_another_repository_is_refused(checkpoint: Path) -> None:
    _config(auto_map={"AutoModelForCausalLM": "org/code--mine.Mine"})(checkpoint)
    with pytest.raises(Exception, match="takes its Python code from another repository"):
        planned(f"hf:{checkpoint}", trust=True)


def test_an_attention_that_does_not_run_here_is_refused_with_the_way_out(checkpoint: Path) -> None:
    _config(_attn_implementation="flash_attention_2")(checkpoint)
    with pytest.raises(Exception, match=r"\[attention=sdpa\], or \[attention=eager\]"):
        planned(f"hf:{checkpoint}")
    sdpa, eager = (planned(f"hf:{checkpoint}[attention={a}]") for a in ("sdpa", "eager"))
    assert sdpa.key != eager.key


def test_weights_that_change_after_planning_are_not_measured(
    checkpoint: Path, tmp_path: Path
) -> None:
    from mecheval.harness.cell import run_cell

    cell = planned(f"hf:{checkpoint}")
    _weights(checkpoint)
    report = run_cell(cell, lambda _: None)
    assert report.status == "error"
    assert report.error is not None
    assert "changed after this run was planned" in report.error.message


def test_a_stored_float64_is_kept_and_said(
    checkpoint: Path, registry: Registry, dyck: Task
) -> None:
    file = checkpoint / "model.safetensors"
    doubled = {key: value.double() for key, value in load_file(file).items()}
    key = "gpt_neox.layers.0.mlp.dense_h_to_4h.weight"
    doubled[key][0, 0] = 1.0 + 2.0**-40  # no float32
    save_file(doubled, file, metadata={"format": "pt"})
    source: Any = resolve(parse_spec(f"hf:{checkpoint}"), registry)
    model = source.build(source.encode(dyck), seed=0)
    assert model.module.state_dict()[key][0, 0] == 1.0 + 2.0**-40
    assert any("is stored in float64 and measured in float32" in n for n in source.notes("float32"))
    assert source.notes("float64") == ()
    assert any("stored in float64" in note for note in planned(f"hf:{checkpoint}").notes)


def test_two_models_of_one_name_bring_their_own_code(
    make_checkpoint: Callable[..., Path], tmp_path: Path
) -> None:
    """Own code of two folders called the same stays apart, in one process."""
    for folder, value in (("one", "1.0"), ("two", "2.0")):
        shutil.copytree(make_checkpoint("llama"), tmp_path / folder / "ckpt")
        _with_code(tmp_path / folder / "ckpt")
        (tmp_path / folder / "ckpt" / "mine.py").write_text(OWN.replace("1.0", value))
    code = (
        "import torch, sys, mecheval.models.load as l\n"
        "from mecheval.registry import Registry\nfrom mecheval.spec import parse_spec\n"
        "def bias(name):\n"
        "    source = l.resolve(parse_spec(name), Registry(), trust_remote_code=True)\n"
        "    model = source.build(source.example(), seed=0)\n"
        "    tokens = torch.zeros(1, 3, dtype=torch.long)\n"
        "    plain = l.resolve(parse_spec(name), Registry()).build(source.example(), seed=0)\n"
        "    return round(float((model(tokens) - plain(tokens)).mean()), 4)\n"
        "print(*(bias(name) for name in sys.argv[1:]))"
    )
    names = [f"hf:{tmp_path / folder / 'ckpt'}" for folder in ("one", "two", "one")]
    environment = {"HF_HOME": str(tmp_path / "home"), "PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", code, *names],
        capture_output=True, text=True, env=environment, check=False,
    )  # fmt: skip
    assert done.stdout.split() == ["1.0", "2.0", "1.0"], done.stderr
