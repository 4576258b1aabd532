"""Modules in memory are measured as they are, in their own type of number."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from hf_families import build
from hf_tokenizers import character_tokenizer
from plain_modules import Recurrent

import mecheval
from mecheval.reports.files import find_reports

if TYPE_CHECKING:
    from pathlib import Path

BRIEF: dict[str, Any] = {"limit": 16, "metrics": ["recovery"], "device": "cpu"}
AS_IT_IS = BRIEF | {"recipe": {"steps": 0, "gate": 0.0}}


def test_a_module_is_measured_as_it_is_and_left_alone() -> None:
    module = build("gpt2").train()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    (report,) = mecheval.evaluate(module, "parity", **AS_IT_IS)
    assert report.status == "success"
    assert report.training is not None
    assert report.training.steps == 0
    assert report.identity.model.source == "module"
    assert report.identity.model.name == "GPT2LMHeadModel"
    assert all(torch.equal(module.state_dict()[name], value) for name, value in before.items())
    again = mecheval.evaluate([mecheval.wrap(module)], "parity", **AS_IT_IS)[0]
    assert again.key == report.key


def test_it_is_fine_tuned_by_default() -> None:
    module = Recurrent(in_list=True)
    (report,) = mecheval.evaluate(module, "parity", recipe={"steps": 3}, **BRIEF)
    assert report.training is not None
    assert (report.training.recipe, report.training.steps) == ("pretrained+", 3)
    assert report.identity.recipe["lr"] == 5e-5


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_it_is_measured_in_its_own_type(dtype: torch.dtype, monkeypatch: Any) -> None:
    from mecheval import metrics

    seen, measure = [], metrics.measure

    def watched(metric, subject):
        seen.append({p.dtype for p in subject.model.parameters()})
        return measure(metric, subject)

    monkeypatch.setattr(metrics, "measure", watched)
    module, name = build("gpt2").to(dtype), str(dtype).removeprefix("torch.")
    for how, wanted in (({}, name), ({"dtype": "float32"}, "float32")):
        for steps in (0, 2):
            seen.clear()
            (report,) = mecheval.evaluate(
                module, "parity", recipe={"steps": steps, "gate": 0.0}, **BRIEF, **how
            )
            assert (report.status, report.identity.dtype) == ("success", wanted)
            assert report.labels.run.get("dtype", "float32") == wanted
            assert all(types == {getattr(torch, wanted)} for types in seen)
            assert len(seen) > 1


def test_weights_that_are_frozen_cannot_be_fine_tuned() -> None:
    module = build("gpt2").requires_grad_(False)
    (report,) = mecheval.evaluate(module, "parity", **BRIEF)
    assert report.error is not None
    assert "No weight of this model is to be trained" in report.error.message
    assert mecheval.evaluate(module, "parity", **AS_IT_IS)[0].status == "success"


def test_half_precision_is_trained_in_float32(monkeypatch: Any) -> None:
    """Steps of 5e-5 are lost in bfloat16, which has 8 bits."""
    from mecheval.training import training_run

    seen, trainer = [], training_run.Trainer

    def watched(model, *given, **how):
        seen.append({p.dtype for p in model.parameters()})
        return trainer(model, *given, **how)

    monkeypatch.setattr(training_run, "Trainer", watched)
    for dtype in (torch.bfloat16, torch.float64):
        mecheval.evaluate(build("gpt2").to(dtype), "parity", recipe={"steps": 2}, **BRIEF)
    assert seen == [{torch.float32}, {torch.float64}]


def test_types_that_are_mixed_stay_mixed(monkeypatch: Any) -> None:
    from mecheval import metrics

    seen, measure = [], metrics.measure

    def watched(metric, subject):
        seen.append({p.dtype for p in subject.model.parameters()})
        return measure(metric, subject)

    monkeypatch.setattr(metrics, "measure", watched)
    module: Any = Recurrent(in_list=True).double()
    module.norm.float().register_forward_pre_hook(lambda part, given: (given[0].float(),))
    module.norm.register_forward_hook(lambda part, given, output: output.double())
    (report,) = mecheval.evaluate(module, "parity", **AS_IT_IS)
    assert (report.status, report.identity.dtype) == ("success", "float64")
    assert seen == [{torch.float64, torch.float32}] * len(seen)


def test_two_of_one_class_do_not_share_a_report(tmp_path: Path) -> None:
    first, second = build("gpt2", seed=0), build("gpt2", seed=1)
    for module in (first, second, first):
        mecheval.evaluate(module, "parity", output=tmp_path, **AS_IT_IS)
    assert len(find_reports(tmp_path)) == 2
    results = mecheval.load_results(tmp_path)
    assert len({report.key for report in results.reports}) == 2


def test_with_a_tokenizer_symbols_are_text() -> None:
    tokenizer = character_tokenizer()
    module = build("gpt2")
    reports = [
        mecheval.evaluate(given, "parity", **AS_IT_IS | {"limit": 64})[0]
        for given in ((module, tokenizer), mecheval.wrap(module, tokenizer), module)
    ]
    assert [report.status for report in reports] == ["success"] * 3
    assert reports[0].key == reports[1].key != reports[2].key
    values = [[result.value for result in report.metrics] for report in reports]
    assert values[0] == values[1] != values[2]


def test_a_trained_model_of_ours_is_a_model_as_well() -> None:
    model = mecheval.load_model("lstm[layers=2,width=16]", task="parity")
    (report,) = mecheval.evaluate(model, "parity", **AS_IT_IS)
    assert report.status == "success"
    assert report.fidelity is not None
    assert report.fidelity.engine == "tails"
    assert "L0.mixer_in" in report.sites


def test_without_blocks_behaviour_is_measured() -> None:
    module = Recurrent(in_list=True, residual=True)
    (report,) = mecheval.evaluate(module, "parity", limit=16, recipe={"steps": 0, "gate": 0.0})
    assert report.status == "success"
    assert report.learned
    by_name = {result.name: result for result in report.metrics}
    assert by_name["behaviour"].value is not None
    mechanistic = [result for result in report.metrics if result.name != "behaviour"]
    assert len(mechanistic) > 1
    for result in mechanistic:
        assert result.value is None
        assert "no blocks were found in Recurrent: none of its module lists" in (
            result.reason or ""
        )
    assert report.fidelity is not None
    assert "no blocks" in (report.fidelity.engine_reason or "")
    assert (report.fidelity.hooks, report.fidelity.native) == (0, 0)
