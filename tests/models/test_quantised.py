"""Quantised checkpoints are unpacked into ordinary weights, or refused at planning."""

from __future__ import annotations

import inspect
import json
from typing import TYPE_CHECKING, Any

import pytest
import torch
from hf_families import build
from safetensors.torch import load_file, save_file

from mecheval.errors import UsageError
from mecheval.models.hub import quantised
from mecheval.models.load import resolve
from mecheval.spec import parse_spec

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mecheval.registry import Registry
    from mecheval.tasks import Task


BLOCK = 16


def quantise(folder: Path, **fields: Any) -> None:
    file = folder / "config.json"
    config = json.loads(file.read_text()) | {"quantization_config": fields}
    file.write_text(json.dumps(config))


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"quant_method": "gptq", "bits": 4}, "quantised.*optimum"),
        ({"quant_method": "aqlm"}, "'aqlm'.*cannot be unpacked here"),
        ({"quant_method": "wonder"}, "quantised in a way that cannot be unpacked here"),
        ({"quant_method": "bitnet"}, "'bitnet'.*(does not unpack|cannot be unpacked)"),
        ({"bits": 4}, "quantised in a way that cannot be unpacked here"),
    ],
)
def test_what_cannot_be_unpacked_is_refused_at_planning(
    checkpoint: Path, registry: Registry, dyck: Task, fields: dict[str, Any], sentence: str
) -> None:
    quantise(checkpoint, **fields)
    source = resolve(parse_spec(f"hf:{checkpoint}"), registry)
    with pytest.raises(UsageError, match=f"{sentence}.*was made from, or one that was dequantised"):
        source.encode(dyck)


def test_the_text_part_of_a_configuration_counts() -> None:
    with pytest.raises(UsageError, match="quantised"):
        quantised.unpacking({"text_config": {"quantization_config": {"bits": 4}}}, name="m")
    assert quantised.unpacking({"text_config": {}}, name="m") is None
    with pytest.raises(UsageError, match="is no JSON object"):
        quantised.unpacking({"quantization_config": 4}, name="m")


def test_the_quantisation_is_in_the_identity(checkpoint: Path, registry: Registry) -> None:
    seen = set()
    for fields in ({"quant_method": "fp8"}, {"quant_method": "fp8", "weight_block_size": [8, 8]}):
        quantise(checkpoint, **fields)
        seen.add(resolve(parse_spec(f"hf:{checkpoint}"), registry).identity().commit)
    assert len(seen) == 2


def test_eight_bit_floats_are_unpacked(
    make_checkpoint: Callable[..., Path], registry: Registry, dyck: Task
) -> None:
    """The format of DeepSeek-V3: blocks of float8 with a scale each, and no package is needed."""
    from transformers import FineGrainedFP8Config

    if "dequantize" not in inspect.signature(FineGrainedFP8Config).parameters:
        pytest.skip("this transformers does not unpack them")
    folder = make_checkpoint("llama")
    file = folder / "model.safetensors"
    tensors, key = load_file(file), "model.layers.0.mlp.up_proj.weight"
    scale = tensors[key].abs().max() / 448
    stored = dict(tensors)
    for name, weight in tensors.items():
        if "_proj" in name:
            stored[name] = (weight / scale).to(torch.float8_e4m3fn)
            blocks = [size // BLOCK for size in weight.shape]
            stored[f"{name}_scale_inv"] = scale.expand(blocks).clone()
    save_file(stored, file, metadata={"format": "pt"})
    quantise(
        folder, quant_method="fp8", weight_block_size=[BLOCK, BLOCK], activation_scheme="dynamic"
    )
    source: Any = resolve(parse_spec(f"hf:{folder}"), registry)
    model = source.build(source.encode(dyck), seed=0)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert all(parameter.requires_grad for parameter in model.parameters())
    made = model.module.state_dict()[key]
    wanted = stored[key].float() * scale
    assert torch.allclose(made, wanted, rtol=1e-5)


def test_four_bits_of_bitsandbytes_are_unpacked(
    tmp_path: Path, registry: Registry, dyck: Task
) -> None:
    bits = pytest.importorskip("bitsandbytes", reason="bitsandbytes stores these weights")
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    plain: Any = build("llama", hidden_size=64, intermediate_size=128)
    plain.save_pretrained(tmp_path / "plain")
    small = AutoModelForCausalLM.from_pretrained(
        tmp_path / "plain", quantization_config=BitsAndBytesConfig(load_in_4bit=True)
    )
    small.save_pretrained(tmp_path / "small")
    source: Any = resolve(parse_spec(f"hf:{tmp_path / 'small'}[symbols=added]"), registry)
    model = source.build(source.encode(dyck), seed=0)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    part = model.module.model.layers[0].mlp.up_proj
    assert not isinstance(part, bits.nn.Linear4bit)
    difference = part.weight - plain.model.layers[0].mlp.up_proj.weight
    assert 0 < difference.abs().max() < 0.03
