"""What is not finite or not causal is refused when it is loaded; whole inputs stay whole."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from hf_families import build, known_here
from hf_tokenizers import character_tokenizer
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from mecheval.errors import UsageError
from mecheval.models.admission import admit, check_finite_weights, keeps_whole
from mecheval.models.checks import check_model
from mecheval.models.drawing import drawing
from mecheval.models.load import resolve
from mecheval.models.wrapped.model import WrappedModel
from mecheval.spec import parse_spec

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mecheval.registry import Registry
    from mecheval.tasks import Task

TOKENS = {"vocab_size": 61, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
NEVER_GIVEN = torch.finfo(torch.float32).min


class Mixing(nn.Module):
    """Two blocks, each of which adds a mean over some positions to the stream."""

    def __init__(self, mix: Callable[[Tensor], Tensor], masked: float | None = None) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.embed = nn.Embedding.from_pretrained(torch.randn(20, 16, generator=generator))
        self.blocks = nn.ModuleList([_Block(mix, generator) for _ in range(2)])
        self.head = nn.Linear(16, 20)
        self.masked = masked

    def forward(self, tokens_BT: Tensor) -> Tensor:
        x_BTD = self.embed(tokens_BT)
        for block in self.blocks:
            x_BTD = block(x_BTD)
        logits_BTC = self.head(x_BTD)
        if self.masked is not None:
            logits_BTC[..., 3] = self.masked
        return logits_BTC


class _Block(nn.Module):
    def __init__(self, mix: Callable[[Tensor], Tensor], generator: torch.Generator) -> None:
        super().__init__()
        self.mix = mix
        self.weight_DD = nn.Parameter(torch.randn(16, 16, generator=generator) / 4)

    def forward(self, x_BTD: Tensor) -> Tensor:
        return x_BTD + torch.tanh(self.mix(x_BTD) @ self.weight_DD)


def causal(x_BTD: Tensor) -> Tensor:
    lengths_T = torch.arange(1, x_BTD.shape[1] + 1, device=x_BTD.device)
    return x_BTD.cumsum(1) / lengths_T[:, None]


def both_ways(x_BTD: Tensor) -> Tensor:
    return x_BTD.mean(1, keepdim=True).expand_as(x_BTD)


def by_length(x_BTD: Tensor) -> Tensor:
    return causal(x_BTD) * (1 + x_BTD.shape[1] / 20)


def test_a_causal_model_is_admitted_as_it_is() -> None:
    model = WrappedModel(Mixing(causal)).train()
    assert admit(model, name="m") is model
    assert model.training
    assert not model.needs_whole_input


@pytest.mark.parametrize("masked", [None, NEVER_GIVEN, float("-inf")])
def test_a_model_that_looks_ahead_is_refused(masked: float | None) -> None:
    """Also where a masked logit is so large that no other difference counts beside it."""
    with pytest.raises(UsageError, match=r"'m' is not causal.*`mecheval validate MODEL`"):
        admit(WrappedModel(Mixing(both_ways, masked)), name="m")
    admit(WrappedModel(Mixing(causal, masked)), name="m")


def test_a_model_may_need_its_input_whole() -> None:
    model = WrappedModel(Mixing(by_length))
    admit(model, name="m")
    assert model.needs_whole_input


def test_lengths_at_which_a_cut_matters_are_found_where_they_are_used() -> None:
    """Angles that are scaled beyond a length change nothing below it."""
    scaled = {"rope_type": "dynamic", "factor": 4.0, "rope_theta": 10000.0}
    named = {"rope_parameters": scaled, "rope_scaling": scaled}  # before transformers 5
    module = build("llama", max_position_embeddings=16, **named)
    model = WrappedModel(module)
    admit(model, name="m")
    assert not model.needs_whole_input
    tokens_BT = torch.randint(4, 30, (2, 40), generator=torch.Generator().manual_seed(0))
    assert not keeps_whole(model, tokens_BT[:, :14], 9)
    assert keeps_whole(model, tokens_BT, 24)


def test_a_grid_of_such_a_model_is_that_of_whole_inputs() -> None:
    from mecheval.interventions import recovery_grid

    model = WrappedModel(Mixing(by_length))
    rng = np.random.default_rng(0)
    clean_BT = rng.integers(20, size=(3, 12))
    corrupted_BT = clean_BT.copy()
    corrupted_BT[:, 2] = (corrupted_BT[:, 2] + 1) % 20
    answers_B, foils_B, readout_B = [1, 2, 3], [4, 5, 6], [5, 6, 7]
    grid = recovery_grid(model, clean_BT, corrupted_BT, answers_B, foils_B, readout_B)
    assert grid.patched.shape[2] == 8  # nothing behind the last readout is asked for
    with torch.no_grad():
        logits_BTC = model(torch.as_tensor(clean_BT))
    for pair, place in enumerate(readout_B):
        at_C = logits_BTC[pair, place]
        wanted = float(at_C[answers_B[pair]] - at_C[foils_B[pair]])
        assert grid.clean[pair] == pytest.approx(wanted, rel=1e-4, abs=1e-5)


SPARSE = {
    "hidden_size": 32, "intermediate_size": 48, "moe_intermediate_size": 16,
    "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 4,
    "n_routed_experts": 4, "num_experts_per_tok": 2, "n_group": 1, "topk_group": 1,
    "q_lora_rank": 16, "kv_lora_rank": 16, "qk_rope_head_dim": 8, "qk_nope_head_dim": 8,
    "v_head_dim": 8, "head_dim": 8, "index_topk": 4, "index_n_heads": 2, "index_head_dim": 16,
    "first_k_dense_replace": 1, "max_position_embeddings": 64, "initializer_range": 0.3,
}  # fmt: skip


def test_attention_to_the_best_positions_is_measured_on_whole_inputs() -> None:
    """The index of DeepSeek-V3.2 chooses otherwise in a longer input."""
    from transformers import AutoConfig, AutoModelForCausalLM

    from mecheval.interventions import recovery_grid

    known_here("deepseek_v32")
    with drawing(0):
        module = AutoModelForCausalLM.from_config(
            AutoConfig.for_model("deepseek_v32", **TOKENS, **SPARSE)
        ).eval()
    clean_BT = np.random.default_rng(0).integers(4, 30, (2, 14))
    corrupted_BT = clean_BT.copy()
    corrupted_BT[:, 2] = 4 + (corrupted_BT[:, 2] - 3) % 26
    with torch.no_grad():
        whole_BTC = module(torch.as_tensor(clean_BT), use_cache=False).logits
        cut_BTC = module(torch.as_tensor(clean_BT[:, :9]), use_cache=False).logits
    if torch.allclose(whole_BTC[:, :9], cut_BTC, atol=1e-3):
        pytest.skip("this transformers chooses the same positions whatever follows")
    grid = recovery_grid(
        WrappedModel(module), clean_BT, corrupted_BT, [5, 6], [7, 8], [8, 8],
        components=["block_in"], engine="fastest",
    )  # fmt: skip
    wanted_B = [
        float(whole_BTC[b, 8, a] - whole_BTC[b, 8, f]) for b, a, f in ((0, 5, 7), (1, 6, 8))
    ]
    assert grid.clean == pytest.approx(wanted_B, abs=1e-4)
    assert grid.execution.difference is not None


def test_the_same_check_stands_in_validate() -> None:
    (found,) = [
        check
        for check in check_model(WrappedModel(Mixing(both_ways)))
        if check.name == "a later token changes no earlier logit"
    ]
    assert found.passed is False


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_a_weight_that_is_no_number_is_named_first(
    checkpoint: Path, registry: Registry, dyck: Task, bad: float
) -> None:
    file = checkpoint / "model.safetensors"
    tensors = load_file(file)
    tensors["gpt_neox.layers.1.mlp.dense_4h_to_h.weight"][2, 3] = bad
    save_file(tensors, file, metadata={"format": "pt"})
    source = resolve(parse_spec(f"hf:{checkpoint}"), registry)
    with pytest.raises(
        UsageError, match=r"gpt_neox\.layers\.1\.mlp\.dense_4h_to_h\.weight of 'hf:"
    ):
        source.build(source.encode(dyck), seed=0)


def test_so_is_one_of_a_module_in_memory() -> None:
    module = Mixing(causal)
    with torch.no_grad():
        module.blocks[1].weight_DD[0, 0] = float("nan")
    with pytest.raises(UsageError, match=r"weight blocks\.1\.weight_DD of 'Mixing' is not finite"):
        WrappedModel(module)


def test_buffers_may_be_infinite_but_no_nan() -> None:
    module = Mixing(causal)
    module.register_buffer("mask", torch.tensor([0.0, float("-inf")]))
    check_finite_weights(module, name="m")
    module.register_buffer("mask", torch.tensor([0.0, float("nan")]))
    with pytest.raises(
        UsageError, match="The weight mask of 'm' is not finite: 1 of its 2 numbers"
    ):
        check_finite_weights(module, name="m")


def test_bert_that_reads_both_ways_is_refused_before_training(tmp_path: Path) -> None:
    from mecheval.harness.cell import run_cell
    from mecheval.harness.plan import plan
    from mecheval.harness.request import Request

    folder = tmp_path / "bert"
    module: Any = build("bert", is_decoder=False)
    module.save_pretrained(folder)
    character_tokenizer().save_pretrained(folder)
    seen: list[Any] = []
    (cell,) = plan(Request(models=(parse_spec(f"hf:{folder}"),), tasks=(parse_spec("parity"),)))
    report = run_cell(cell, seen.append)
    assert report.error is not None
    assert "is not causal" in report.error.message
    assert not any(progress.step for progress in seen)


AHEAD = """
from dataclasses import dataclass
from mecheval.builtin.model_registry.gru import Gru
from mecheval.models.stack.architecture import model
from mecheval.recipe import Recipe

@model(
    name="ahead", reference="none", architecture="recurrent",
    recipes={"tiny": Recipe()}, sizes={"tiny": {"layers": 1}},
)
@dataclass(frozen=True, kw_only=True)
class Ahead(Gru):
    def build(self, encoding, *, seed):
        model = super().build(encoding, seed=seed)
        forward = model.forward
        model.forward = lambda tokens_BT: forward(tokens_BT.flip(1)).flip(1)
        return model
"""


def test_an_own_architecture_that_looks_ahead_is_refused_before_training(tmp_path: Path) -> None:
    from mecheval.harness.cell import run_cell
    from mecheval.harness.plan import plan
    from mecheval.harness.request import Request, Settings

    file = tmp_path / "ahead.py"
    file.write_text(AHEAD)
    settings = Settings(include_paths=(file,))
    request = Request(
        models=(parse_spec("local/ahead"),), tasks=(parse_spec("parity"),), settings=settings
    )
    (cell,) = plan(request)
    seen: list[Any] = []
    report = run_cell(cell, seen.append)
    assert report.error is not None
    assert "'local/ahead' is not causal" in report.error.message
    assert not any(progress.step for progress in seen)
