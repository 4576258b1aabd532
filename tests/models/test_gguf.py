"""GGUF files are read by transformers' own reader; several ask for one by name."""

from __future__ import annotations

import shutil
import sys
from typing import TYPE_CHECKING, Any

import pytest
import torch
from hf_families import build
from hf_tokenizers import CHARACTERS, SPECIAL

from mecheval.errors import UsageError
from mecheval.models.load import resolve
from mecheval.spec import parse_spec

if TYPE_CHECKING:
    from pathlib import Path

    from mecheval.registry import Registry
    from mecheval.tasks import Task

TOKENS_BT = torch.randint(4, 30, (2, 8), generator=torch.Generator().manual_seed(0))


@pytest.fixture
def gguf() -> Any:
    return pytest.importorskip("gguf", reason="GGUF files need the extra 'gguf'")


def write(
    gguf: Any, file: Path, *, seed: int = 0, tokenizer: bool = True, small: bool = False
) -> Path:
    """Write a tiny Llama as llama.cpp stores it: rotary halves interleaved, tokenizer inside."""
    module: Any = build("llama", seed)
    config, writer = module.config, gguf.GGUFWriter(str(file), "llama")
    writer.add_name("tiny")
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_dimension_count(config.hidden_size // config.num_attention_heads)
    writer.add_rope_freq_base(10000.0)
    writer.add_vocab_size(config.vocab_size)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config.num_hidden_layers)
    for key, weight in module.state_dict().items():
        array = weight.numpy()
        for part, heads in (
            ("q_proj", config.num_attention_heads), ("k_proj", config.num_key_value_heads)
        ):  # fmt: skip
            if part in key:
                halves = array.reshape(heads, 2, -1, array.shape[1])
                array = halves.swapaxes(1, 2).reshape(array.shape)
        kind = gguf.GGMLQuantizationType.Q8_0
        if small and array.ndim == 2 and array.shape[1] == 32 and "proj" in key:
            packed = gguf.quants.quantize(array, kind)
            writer.add_tensor(names.get_name(key, (".weight",)), packed, raw_dtype=kind)
        else:
            writer.add_tensor(names.get_name(key, (".weight",)), array)
    known = [*SPECIAL, *CHARACTERS]
    known += [f"<{i}>" for i in range(config.vocab_size - len(known))]
    writer.add_tokenizer_model("llama")
    writer.add_token_list(known)
    writer.add_token_scores([0.0] * len(known))
    writer.add_token_types([3] * len(SPECIAL) + [1] * (len(known) - len(SPECIAL)))
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(3)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file


def test_a_file_is_the_model_that_it_was_made_from(
    gguf: Any, tmp_path: Path, registry: Registry, dyck: Task, capfd: pytest.CaptureFixture[str]
) -> None:
    file = write(gguf, tmp_path / "tiny.gguf")
    source: Any = resolve(parse_spec(f"hf:{file}[symbols=added]"), registry)
    encoding = source.encode(dyck)
    assert encoding.code_C[0] == 1  # the beginning of a sequence, as its tokenizer has it
    model = source.build(encoding, seed=0)
    assert capfd.readouterr().err == ""
    wanted: Any = build("llama")
    with torch.no_grad():
        assert torch.equal(model(TOKENS_BT)[..., :61], wanted(TOKENS_BT).logits)
    assert source.card.architecture == "llama"
    random: Any = resolve(parse_spec(f"hf:{file}[weights=random]"), registry)
    drawn = random.build(random.encode(dyck), seed=0)
    assert drawn.d_model == model.d_model
    assert not torch.equal(drawn(TOKENS_BT), model(TOKENS_BT)[..., :61])


def test_quantised_weights_are_unpacked(
    gguf: Any, tmp_path: Path, registry: Registry, dyck: Task
) -> None:
    source: Any = resolve(
        parse_spec(f"hf:{write(gguf, tmp_path / 'q.gguf', small=True)}[symbols=added]"), registry
    )
    model = source.build(source.encode(dyck), seed=0)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert all(parameter.requires_grad for parameter in model.parameters())
    key = "model.layers.0.mlp.up_proj.weight"
    difference = (model.module.state_dict()[key] - build("llama").state_dict()[key]).abs().max()
    assert 0 < difference < 1e-3  # eight bits of weights around 0.02


def test_one_content_is_one_model(gguf: Any, tmp_path: Path, registry: Registry) -> None:
    file = write(gguf, tmp_path / "tiny.gguf")
    ways = [f"hf:{tmp_path}", f"hf:{file}", f"hf:{tmp_path}[gguf=tiny.gguf]"]
    found = [resolve(parse_spec(way), registry).identity() for way in ways]
    (tmp_path / "moved").mkdir()
    shutil.copy(file, tmp_path / "moved" / "renamed.gguf")
    found.append(resolve(parse_spec(f"hf:{tmp_path / 'moved'}"), registry).identity())
    assert len({(i.commit, i.weights_sha256, str(i.args)) for i in found}) == 1
    for way in (f"hf:{file}", f"hf:{file}[weights=random]"):
        before = resolve(parse_spec(way), registry).identity()
        write(gguf, file, seed=1)
        after = resolve(parse_spec(way), registry).identity()
        assert (after.commit, after.weights_sha256) != (before.commit, before.weights_sha256)
        write(gguf, file)


def test_several_files_ask_for_one(tmp_path: Path, registry: Registry) -> None:
    for name in ("a.gguf", "b.gguf"):
        (tmp_path / name).write_bytes(b"GGUF")
    with pytest.raises(UsageError, match=r"2 GGUF files \(a.gguf, b.gguf\).*\[gguf=a.gguf\]"):
        resolve(parse_spec(f"hf:{tmp_path}"), registry).identity()
    with pytest.raises(UsageError, match=r"no file 'c.gguf'.* There is a.gguf, b.gguf"):
        resolve(parse_spec(f"hf:{tmp_path}[gguf=c.gguf]"), registry).identity()
    assert resolve(parse_spec(f"hf:{tmp_path}[gguf=b.gguf]"), registry).identity().weights_sha256
    with pytest.raises(UsageError, match="not the name of a GGUF file"):
        resolve(parse_spec(f"hf:{tmp_path}[gguf=4]"), registry)


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("a.gguf", b"<html>", "is no GGUF file, or damaged"),
        ("a-00001-of-00002.gguf", b"GGUF", "one part of several.*llama-gguf-split --merge"),
    ],
)
def test_what_is_no_whole_file(
    tmp_path: Path, registry: Registry, name: str, content: bytes, sentence: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UsageError, match=sentence):
        resolve(parse_spec(f"hf:{tmp_path / name}"), registry).identity()


def test_a_damaged_file_and_a_missing_package_are_known_at_planning(
    tmp_path: Path, registry: Registry, dyck: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "a.gguf"
    file.write_bytes(b"GGUF")
    source = resolve(parse_spec(f"hf:{file}"), registry)
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "gguf", None)
        with pytest.raises(UsageError, match=r"pip install 'mecheval\[gguf\]'"):
            source.encode(dyck)
    pytest.importorskip("gguf", reason="GGUF files need the extra 'gguf'")
    with pytest.raises(UsageError, match="cannot be read by transformers"):
        resolve(parse_spec(f"hf:{file}"), registry).encode(dyck)


def test_a_repository_of_several_files(
    gguf: Any, tmp_path: Path, registry: Registry, hub: Any
) -> None:
    folder = tmp_path / "repo"
    folder.mkdir()
    for name in ("tiny.Q8_0.gguf", "tiny.F32.gguf"):
        write(gguf, folder / name, small="Q8" in name)
    hub({"org/tiny-GGUF": {"main": folder}})
    with pytest.raises(UsageError, match=r"hf:org/tiny-GGUF\[gguf=tiny.F32.gguf\]"):
        resolve(parse_spec("hf:org/tiny-GGUF"), registry).identity()
    found = [
        resolve(parse_spec(f"hf:org/tiny-GGUF[gguf=tiny.{kind}.gguf]"), registry).identity()
        for kind in ("Q8_0", "F32")
    ]
    assert found[0].weights_sha256 != found[1].weights_sha256
    hub.cut_off()
    name = "hf:org/tiny-GGUF[gguf=tiny.F32.gguf]"
    assert resolve(parse_spec(name), registry).identity() == found[1]


def test_a_configuration_beside_a_file_is_no_other_checkpoint(
    gguf: Any, tmp_path: Path, registry: Registry
) -> None:
    file = write(gguf, tmp_path / "tiny.gguf")
    alone = resolve(parse_spec(f"hf:{file}"), registry).identity()
    (tmp_path / "config.json").write_text('{"model_type": "gpt2"}')
    assert resolve(parse_spec(f"hf:{tmp_path}"), registry).identity().commit == alone.commit
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(UsageError, match=r"adapter beside its weights .*\[adapter=ignored\]"):
        resolve(parse_spec(f"hf:{tmp_path}[gguf=tiny.gguf]"), registry).identity()
