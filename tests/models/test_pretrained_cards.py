"""The registered checkpoints have the shapes that were published; own code runs when asked for."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import pytest
import torch
from hf_tokenizers import character_tokenizer

from mecheval.errors import UsageError
from mecheval.models.load import resolve
from mecheval.spec import Spec

if TYPE_CHECKING:
    from pathlib import Path

    from mecheval.registry import Registry
    from mecheval.tasks import Task

PARAMETERS = {
    # EleutherAI's model cards list these as total parameters.
    "pythia-70m": 70_426_624,
    "pythia-160m": 162_322_944,
    "pythia-410m": 405_334_016,
    "pythia-1.4b": 1_414_647_808,
    # As counted on the published checkpoints; tied embeddings once.
    "gpt2": 124_439_808,
    "mamba-130m": 129_135_360,
    "mamba-370m": 371_516_416,
    "mamba-1.4b": 1_372_178_432,
    "mamba2-130m": 128_989_632,
}


def directory(path: Path, **args: Any) -> Spec:
    return Spec(f"hf:{path}", args)


def test_every_registered_shape_has_the_published_number_of_parameters(registry: Registry) -> None:
    from transformers import AutoModelForCausalLM

    from mecheval.models.hub.loading import named_config
    from mecheval.models.hub.pretrained import Checkpoint

    loaded = {e.name: registry.load("model", e.name) for e in registry.entries("model")}
    counted = {}
    for name, declared in loaded.items():
        if isinstance(declared, Checkpoint) and declared.config is not None:
            with torch.device("meta"):
                module = AutoModelForCausalLM.from_config(named_config(declared.config, name=name))
            counted[name] = sum(p.numel() for p in module.parameters())
            assert declared.card is not None
            assert declared.card.summary
    assert counted == PARAMETERS


CODE = """
import torch
from transformers import PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import CausalLMOutput

class MineConfig(PretrainedConfig):
    model_type = "mine"
    def __init__(self, vocab_size=61, width=16, **rest):
        self.vocab_size, self.width = vocab_size, width
        super().__init__(**rest)

class Mine(PreTrainedModel):
    config_class = MineConfig
    def __init__(self, config):
        super().__init__(config)
        self.embed = torch.nn.Embedding(config.vocab_size, config.width)
        gru = [torch.nn.GRU(config.width, config.width, batch_first=True) for _ in range(2)]
        self.layers = torch.nn.ModuleList(gru)
        self.out = torch.nn.Linear(config.width, config.vocab_size)
        self.post_init()
    def _init_weights(self, module):
        pass
    def forward(self, input_ids):
        x = self.embed(input_ids)
        for layer in self.layers:
            x = layer(x)[0]
        return CausalLMOutput(logits=self.out(x))
"""


def test_own_code_runs_only_when_asked_for(
    tmp_path: Path, registry: Registry, dyck: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    import transformers.dynamic_module_utils as dynamic
    from safetensors.torch import save_file

    monkeypatch.setattr(dynamic, "HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.setattr(sys, "path", list(sys.path))
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "modeling_mine.py").write_text(CODE)
    names = {"AutoConfig": "MineConfig", "AutoModelForCausalLM": "Mine"}
    auto_map = {auto: f"modeling_mine.{name}" for auto, name in names.items()}
    config = {"model_type": "mine", "auto_map": auto_map, "architectures": ["Mine"]}
    (folder / "config.json").write_text(json.dumps(config))
    character_tokenizer().save_pretrained(folder)
    spec = directory(folder, weights="random")
    with pytest.raises(UsageError, match="--trust-remote-code"):
        resolve(spec, registry).encode(dyck)

    trusted: Any = resolve(spec, registry, trust_remote_code=True)
    drawn = trusted.build(trusted.encode(dyck), seed=0).module
    save_file(drawn.state_dict(), folder / "model.safetensors", metadata={"format": "pt"})
    source: Any = resolve(directory(folder), registry, trust_remote_code=True)
    model = source.build(source.encode(dyck), seed=1)
    assert type(model.module).__name__ == "Mine"
    assert (model.n_layers, model.vocab_size) == (2, 61)
    assert torch.equal(model.module.out.weight, drawn.out.weight)
    added: Any = resolve(directory(folder, symbols="added"), registry, trust_remote_code=True)
    with pytest.raises(UsageError, match="embedding of Mine takes no new tokens"):
        added.build(added.encode(dyck), seed=0)
