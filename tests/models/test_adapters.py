"""An adapter is merged where that is asked, told from every other one, and never left out."""

from __future__ import annotations

import json
import shutil
import sys
import warnings
from typing import TYPE_CHECKING, Any

import pytest
import torch
from hf_families import build
from safetensors.torch import load_file, save_file

from mecheval.errors import UsageError
from mecheval.models.load import resolve
from mecheval.spec import parse_spec

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mecheval.models.contract import ModelIdentity
    from mecheval.registry import Registry
    from mecheval.tasks import Task

TOKENS_BT = torch.randint(4, 30, (2, 8), generator=torch.Generator().manual_seed(0))


@pytest.fixture
def base(make_checkpoint: Callable[..., Path]) -> Path:
    return make_checkpoint("llama")


def write_adapter(folder: Path, base: Path | str, seed: int = 0, **changes: Any) -> Path:
    """Write a LoRA of rank 2 as peft stores it; without peft, which need not be here."""
    folder.mkdir()
    generator = torch.Generator().manual_seed(seed)
    tensors = {}
    for layer in range(2):
        for name, rows in (("q_proj", 32), ("v_proj", 16)):
            key = f"base_model.model.model.layers.{layer}.self_attn.{name}"
            tensors[f"{key}.lora_A.weight"] = torch.randn(2, 32, generator=generator)
            tensors[f"{key}.lora_B.weight"] = torch.randn(rows, 2, generator=generator)
    save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    config = {
        "peft_type": "LORA", "task_type": "CAUSAL_LM", "r": 2, "lora_alpha": 4,
        "target_modules": ["q_proj", "v_proj"], "base_model_name_or_path": str(base),
    }  # fmt: skip
    (folder / "adapter_config.json").write_text(json.dumps(config | changes))
    return folder


def put_beside(adapter: Path, base: Path) -> None:
    for file in adapter.iterdir():
        shutil.copy(file, base)


def identity(written: str, registry: Registry) -> ModelIdentity:
    return resolve(parse_spec(written), registry).identity()


@pytest.mark.parametrize("is_installed", [True, False])
def test_an_adapter_beside_the_weights_is_refused_with_both_ways_out(
    base: Path, tmp_path: Path, registry: Registry, monkeypatch: Any, is_installed: bool
) -> None:
    if not is_installed:
        monkeypatch.setitem(sys.modules, "peft", None)
    plain = identity(f"hf:{base}", registry)
    put_beside(write_adapter(tmp_path / "adapter", base), base)
    with pytest.raises(UsageError, match=r"\[adapter=merged\] .*\[adapter=ignored\]"):
        identity(f"hf:{base}", registry)
    assert identity(f"hf:{base}[adapter=ignored]", registry) == plain
    (base / "adapter_config.json").unlink()  # half of one is one
    with pytest.raises(UsageError, match=r"adapter=ignored"):
        identity(f"hf:{base}", registry)


def test_what_is_ignored_is_not_applied(
    base: Path, tmp_path: Path, registry: Registry, dyck: Task
) -> None:
    put_beside(write_adapter(tmp_path / "adapter", base), base)
    source: Any = resolve(parse_spec(f"hf:{base}[adapter=ignored]"), registry)
    made = source.build(source.encode(dyck), seed=0).module.state_dict()
    wanted = build("llama").state_dict()
    assert made.keys() == wanted.keys()
    assert all(torch.equal(made[key], wanted[key]) for key in wanted)


def test_an_adapter_alone_is_told_from_a_checkpoint(
    base: Path, tmp_path: Path, registry: Registry
) -> None:
    folder = write_adapter(tmp_path / "adapter", base)
    for written in (f"hf:{folder}", f"hf:{folder}[adapter=ignored]"):
        with pytest.raises(UsageError, match=r"an adapter without its base .*\[adapter=merged\]"):
            identity(written, registry)
    with pytest.raises(UsageError, match=r"no adapter to merge: there is no adapter_config.json"):
        identity(f"hf:{base}[adapter=merged]", registry)
    with pytest.raises(UsageError, match=r"weights that were learned, so .*\[weights=random\]"):
        identity(f"hf:{folder}[adapter=merged,weights=random]", registry)


def test_a_missing_package_is_known_at_planning(
    base: Path, tmp_path: Path, registry: Registry, monkeypatch: Any
) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)
    folder = write_adapter(tmp_path / "adapter", base)
    with pytest.raises(UsageError, match=r"pip install 'mecheval\[adapters\]'"):
        identity(f"hf:{folder}[adapter=merged]", registry)


@pytest.fixture
def peft() -> Any:
    return pytest.importorskip("peft", reason="merging adapters needs the extra 'adapters'")


@pytest.mark.parametrize("place", ["beside", "alone"])
def test_a_merged_adapter_is_that_of_peft(
    base: Path, tmp_path: Path, registry: Registry, dyck: Task, peft: Any, place: str
) -> None:
    folder = write_adapter(tmp_path / "adapter", base)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what peft calls in transformers
        wanted = peft.PeftModel.from_pretrained(build("llama"), str(folder)).eval()
    if place == "beside":
        put_beside(folder, base)
        folder = base
    source: Any = resolve(parse_spec(f"hf:{folder}[adapter=merged]"), registry)
    model = source.build(source.encode(dyck), seed=0)
    with torch.no_grad():
        made_BTC, wanted_BTC = model(TOKENS_BT), wanted(TOKENS_BT).logits
        plain: Any = build("llama")
        plain_BTC = plain(TOKENS_BT).logits
    assert torch.allclose(made_BTC, wanted_BTC, atol=1e-5)
    assert not torch.allclose(made_BTC, plain_BTC, atol=1e-2)
    assert type(model.module).__name__ == "LlamaForCausalLM"
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_each_part_of_an_adapter_is_in_the_identity(
    base: Path, tmp_path: Path, registry: Registry, peft: Any
) -> None:
    folder = write_adapter(tmp_path / "adapter", base)
    name, config = f"hf:{folder}[adapter=merged]", folder / "adapter_config.json"
    seen = [identity(name, registry)]
    assert seen[0].args["adapter"] == "merged"
    shutil.rmtree(folder)
    write_adapter(folder, base, seed=1)  # other weights
    seen.append(identity(name, registry))
    config.write_text(config.read_text().replace('"lora_alpha": 4', '"lora_alpha": 8'))
    seen.append(identity(name, registry))
    file = base / "model.safetensors"  # another base, in the same place
    tensors = load_file(file)
    tensors["model.norm.weight"][0] += 1.0
    save_file(tensors, file, metadata={"format": "pt"})
    seen.append(identity(name, registry))
    (base / "config.json").write_text(
        (base / "config.json").read_text().replace('"rms_norm_eps": 1e-06', '"rms_norm_eps": 1e-3')
    )
    seen.append(identity(name, registry))
    ids = [(found.commit, found.weights_sha256) for found in seen]
    assert len(set(ids)) == len(ids)
    moved = tmp_path / "moved"
    shutil.copytree(folder, moved)
    again = identity(f"hf:{moved}[adapter=merged]", registry)
    assert (again.commit, again.weights_sha256) == ids[-1]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"base_model_name_or_path": None}, "does not name its base model"),
        ({"base_model_name_or_path": "/no/where"}, "'/no/where' .* cannot be loaded: There is no"),
        ({"base_model_name_or_path": "org/none"}, "'org/none' .* not in the local cache"),
        ({"peft_type": "PROMPT_TUNING"}, "kind 'PROMPT_TUNING', which cannot be merged"),
        ({"target_modules": ["nothing"]}, "does not fit its base model"),
        ({"target_modules": ["q_proj"]}, "v_proj.*which its base model has no place for"),
        ({"target_modules": ["q_proj", "v_proj", "o_proj"]}, "has no weights for .*o_proj"),
    ],
)
def test_an_adapter_that_does_not_fit_is_refused(
    base: Path,
    tmp_path: Path,
    registry: Registry,
    dyck: Task,
    peft: Any,
    changes: dict[str, Any],
    sentence: str,
) -> None:
    folder = write_adapter(tmp_path / "adapter", base, **changes)
    source = resolve(parse_spec(f"hf:{folder}[adapter=merged]"), registry)
    with pytest.raises(UsageError, match=sentence):
        source.build(source.encode(dyck), seed=0)


def test_pickled_adapters_are_never_read(base: Path, tmp_path: Path, registry: Registry) -> None:
    folder = write_adapter(tmp_path / "adapter", base)
    (folder / "adapter_model.safetensors").rename(folder / "adapter_model.bin")
    with pytest.raises(UsageError, match="pickled weights are never read"):
        identity(f"hf:{folder}[adapter=merged]", registry)


def test_a_repository_with_an_adapter(
    base: Path, tmp_path: Path, registry: Registry, dyck: Task, hub: Any, peft: Any
) -> None:
    folder = write_adapter(tmp_path / "adapter", "org/base")
    hub({"org/lora": {"main": folder}, "org/base": {"main": base}})
    with pytest.raises(UsageError, match=r"hf:org/lora\[adapter=merged\]"):
        identity("hf:org/lora", registry)
    source: Any = resolve(parse_spec("hf:org/lora[adapter=merged]"), registry)
    found = source.identity()
    assert found.revision == "main"
    assert source.build(source.encode(dyck), seed=0).d_model == 32
    hub.cut_off()
    assert identity("hf:org/lora[adapter=merged]", registry) == found
