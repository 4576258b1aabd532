"""Planted models keep the contract, compute what they say, and are used like any other model."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from crossings import mostly_slow
from synthetic_reports import synthetic, write

import mecheval
from mecheval.cli import main
from mecheval.errors import UsageError
from mecheval.leaderboard.admission import admit
from mecheval.models.checks import CHECKS, check_model
from mecheval.models.load import resolve
from mecheval.models.planted.basis import Basis, rotate, wire
from mecheval.models.planted.planted import Planted
from mecheval.registry import Registry
from mecheval.spec import parse_spec
from mecheval.tasks import UNSCORED

if TYPE_CHECKING:
    from pathlib import Path

    from mecheval.models.stack.residual import ResidualStack
    from mecheval.tasks import Task

REGISTRY = Registry()
NAMES = [entry.name for entry in REGISTRY.entries("model") if entry.name.startswith("planted/")]
ALWAYS = [f"planted/{name}" for name in ("induction", "mamba-recall", "lstm-votes", "sign-scan")]
"""One of every architecture."""
AR = "ar[keys=12,values=12,pairs=6]"
EXACT = [
    ("planted/induction", AR),
    ("planted/induction", "ar[queries=one,longer=[]]"),
    ("planted/induction[rotated=7]", AR),
    ("planted/induction[halves=both,heads=4,layers=6]", AR),
    ("planted/induction[halves=previous,heads=3,layers=3]", "ar[keys=9,values=14,pairs=4]"),
    ("planted/induction[carrier=convolution]", AR),
    ("planted/induction[carrier=convolution,halves=both,layers=5,rotated=7]", AR),
    ("planted/mamba-recall", AR),
    ("planted/mamba-recall[shift=1]", "ar[keys=9,values=14,pairs=4]"),
    ("planted/mamba-recall[rotated=7]", AR),
    ("planted/mamba-recall[halves=true,layers=5,shift=1]", AR),
    ("planted/mamba2-recall", AR),
    ("planted/mamba2-recall[halves=true,layers=3]", AR),
    ("planted/mamba2-recall[shift=1]", "ar[keys=14,values=9,pairs=4]"),
    ("planted/lstm-recall", AR),
    ("planted/lstm-recall[layers=1]", "ar[keys=9,values=14,pairs=4]"),
    ("planted/lstm-recall[layers=6]", AR),
    ("planted/two-ways", AR),
    ("planted/two-ways[rotated=7]", "ar[keys=9,values=14,pairs=4]"),
    ("planted/lstm-parity", "parity"),
    ("planted/lstm-votes", "parity"),
    ("planted/lstm-votes[votes=5]", "parity"),
    ("planted/lstm-counter", "dyck[k=1]"),
    ("planted/lstm-counter", "dyck[k=1,m=1]"),
    ("planted/lstm-counter", "dyck[k=1,m=7]"),
    ("planted/parity-at-block", "parity"),
    ("planted/parity-at-block[block=1,layers=1]", "parity"),
    ("planted/parity-at-block[rotated=7]", "parity"),
    ("planted/parity-spread", "parity"),
    ("planted/parity-spread[blocks=3]", "parity[noop_rate=0.1]"),
    ("planted/parity-distractor", "parity"),
    ("planted/parity-distractor[reads=memory]", "parity"),
    ("planted/parity-twice", "parity"),
    ("planted/parity-twice[first=0.75,rotated=7]", "parity"),
    ("planted/transformer-count", "parity"),
    ("planted/transformer-count", "z6[longer=[2]]"),
    ("planted/transformer-count[rotated=7]", "parity[longer=[]]"),
    ("planted/lstm-group", "s3"),
    ("planted/lstm-group", "z6"),
    ("planted/lstm-group", "parity"),
    ("planted/lstm-group", "group[name=a4,alphabet=generators]"),
    ("planted/group-scan", "s3"),
    ("planted/group-scan[distractor=true,rotated=7]", "s3[longer=[2]]"),
    ("planted/group-scan", "group[name=a4,longer=[2]]"),
    ("planted/group-scan", "parity"),
    ("planted/sign-scan", "s3"),
    ("planted/sign-scan[rotated=7,twice=true]", "s3[longer=[2]]"),
    ("planted/sign-scan", "z6"),
    ("planted/sign-scan", "group[name=s4,longer=[]]"),
    ("planted/transformer-dyck", "dyck"),
    ("planted/transformer-dyck", "dyck[k=4,m=6,noop_rate=0.1,longer=[]]"),
]


def source_of(model: str) -> Planted[Any]:
    source = resolve(parse_spec(model), REGISTRY)
    assert isinstance(source, Planted)
    return source


def build(model: str, task: Task | str) -> ResidualStack:
    task = mecheval.load_task(task) if isinstance(task, str) else task
    source = source_of(model)
    return source.build(source.encode(task), seed=0).eval()


@torch.inference_mode()
def answered(model: ResidualStack, task: Task, length: int, n: int = 64) -> np.ndarray:
    """Return whether each scored position is answered rightly, with a clear margin."""
    batch = task.sample(np.random.default_rng(length), n, length)
    answers = np.array(task.answers)
    logits_BTA = model(torch.as_tensor(batch.tokens_BT))[..., answers].numpy()
    scored_BT = batch.targets_BT != UNSCORED
    first, second = np.sort(logits_BTA, -1)[..., ::-1][..., :2].transpose(2, 0, 1)
    right_BT = answers[logits_BTA.argmax(-1)] == batch.targets_BT
    return (right_BT & (first - second > 1.0))[scored_BT]


@pytest.mark.parametrize(("model", "task"), EXACT)
def test_every_answer_is_right_at_every_length(model: str, task: str) -> None:
    built, loaded = build(model, task), mecheval.load_task(task)
    for length in loaded.test_lengths.values():
        assert answered(built, loaded, length).all()


def test_all_planted_models_are_tested_here_and_documented() -> None:
    a_table = "planted/bigram"  # errs as it should: tests/metrics/test_language.py
    assert {*(parse_spec(model).name for model, _ in EXACT), a_table} == set(NAMES)
    for name in NAMES:
        text = type(source_of(name)).__doc__ or ""
        assert "Construction:" in text
        assert "Known values:" in text
        readme = REGISTRY.get("model", name).path.with_name("README.md").read_text()
        assert f"[`{name}`]" in readme


@pytest.mark.parametrize("name", mostly_slow(NAMES, always=ALWAYS))
def test_the_contract_holds_for_planted_weights(name: str) -> None:
    source = source_of(name)
    model = source.build(source.example(), seed=0)
    tokens_BT = source.task.sample(np.random.default_rng(0), 4, 13).tokens_BT
    checks = check_model(model, tokens_BT=tokens_BT)
    failed = [str(check) for check in checks if not check.passed]
    # Parts that do nothing are planted on purpose; with drawn weights all of them do something.
    assert all("changes no logit" in line for line in failed)
    drawn = check_model(source.untrained(source.example(), seed=0))
    assert len(drawn) == len(CHECKS)
    assert all(check.passed for check in drawn), "\n".join(map(str, drawn))


@pytest.mark.parametrize(
    ("one", "other", "task"),
    [
        ("mamba-recall", "mamba-recall[shift=1]", AR),
        ("mamba2-recall", "mamba2-recall[shift=1]", AR),
        ("mamba-recall", "mamba-recall[rotated=3]", AR),
        ("induction", "induction[rotated=3]", AR),
        ("induction", "induction[carrier=convolution]", AR),
        ("induction", "induction[halves=both,heads=4,layers=6]", AR),
        ("mamba-recall", "mamba-recall[halves=true,layers=6]", AR),
        ("two-ways", "two-ways[rotated=3]", AR),
        ("parity-at-block", "parity-at-block[rotated=3]", "parity"),
        ("parity-twice", "parity-twice[rotated=3]", "parity"),
        ("transformer-dyck", "transformer-dyck[rotated=3]", "dyck[longer=[]]"),
    ],
)
def test_twins_have_the_same_logits(one: str, other: str, task: str) -> None:
    loaded = mecheval.load_task(task)
    tokens_BT = torch.as_tensor(
        loaded.sample(np.random.default_rng(0), 64, loaded.max_length).tokens_BT
    )
    scored_BT = loaded.sample(np.random.default_rng(0), 64, loaded.max_length).targets_BT >= 0
    logits = [
        build(f"planted/{name}", loaded)(tokens_BT)[torch.as_tensor(scored_BT)]
        for name in (one, other)
    ]
    assert torch.allclose(*logits, atol=2e-3)


def test_one_of_three_votes_changes_no_answer() -> None:
    task = mecheval.load_task("parity")
    for unit in range(3):
        model = build("planted/lstm-votes", task)
        lstm = model.blocks[0].mixer.lstm  # pyright: ignore[reportAttributeAccessIssue]
        output_gate = 3 * model.d_model + source_of("planted/lstm-votes").basis().at("parity", unit)  # type: ignore[attr-defined]
        with torch.no_grad():
            lstm.bias_ih_l0[output_gate] = -60.0  # it shows nothing
        assert answered(model, task, 16).all()


def test_the_streams_of_the_distractor_and_its_twin_are_equal() -> None:
    tokens_BT = torch.randint(1, 3, (16, 17))
    tokens_BT[:, 0] = 0
    one, other = (
        build(f"planted/parity-distractor[reads={r}]", "parity") for r in ("answer", "memory")
    )
    stream = other_stream = one.embed(tokens_BT)
    for block, twin in zip(one.blocks, other.blocks, strict=True):
        stream, other_stream = block(stream), twin(other_stream)
        assert torch.equal(stream, other_stream)


def test_blurred_models_err_and_sharp_ones_do_not() -> None:
    task = mecheval.load_task(AR)
    blurred = (
        "planted/induction[noise=0.2]", "planted/mamba-recall[noise=0.2]",
        "planted/induction[carrier=convolution,weight_noise=0.07]",
    )  # fmt: skip
    for model in blurred:
        share = answered(build(model, task), task, task.max_length).mean()
        assert 0.3 < share < 0.9
    parity = mecheval.load_task("parity")
    leaky = build("planted/lstm-parity[sharpness=4.0]", parity)
    shares = [answered(leaky, parity, length).mean() for length in (16, 64)]
    assert 0.9 > shares[0] > shares[1]


def test_weights_follow_from_the_task_alone() -> None:
    source = source_of("planted/induction[noise=0.1,rotated=2]")
    encoding = source.encode(mecheval.load_task(AR))
    one, other = (source.build(encoding, seed=seed).state_dict() for seed in (0, 1))
    assert all(torch.equal(one[name], other[name]) for name in one)
    drawn = [source.untrained(encoding, seed=seed).embedding.weight for seed in (0, 0, 1)]
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


@pytest.mark.parametrize(
    ("model", "task", "sentence"),
    [
        ("lstm-parity", "dyck", "set by hand for parity, and was given the task 'dyck'"),
        ("lstm-counter", "dyck", "set by hand for dyck[k=1], and was given the task 'dyck'"),
        ("induction", "ar[query=value]", "ar with query=key"),
        ("lstm-recall", "ar", "a few hundred combinations of key and value"),
        ("two-ways", "ar[query=value]", "ar with query=key"),
        ("mamba-recall", "ar[paper]", "a few hundred keys and values"),
        ("transformer-count", "s3", "set by hand for parity or z6"),
        ("lstm-group", "group", "a few dozen elements, with reveal_rate=0"),
        ("group-scan", "s3[reveal_rate=0.2]", "a few dozen elements, with reveal_rate=0"),
        ("sign-scan", "group[name=a4]", "a subgroup of half of its elements"),
        ("transformer-count", "z6[longer=[16]]", "longest tests of fewer symbols than 256"),
        ("transformer-dyck", "dyck[longer=[100]]", "longest tests of fewer symbols than 3200"),
    ],
)
def test_another_task_is_a_usage_error(model: str, task: str, sentence: str) -> None:
    with pytest.raises(UsageError, match=re.escape(sentence)):
        mecheval.load_model(f"planted/{model}", task=task)


@pytest.mark.parametrize(
    ("model", "sentence"),
    [
        ("lstm-parity[sharp=3]", "Unknown argument 'sharp' of planted/lstm-parity"),
        ("parity-at-block[block=5]", "a block from 1 to layers"),
        ("parity-at-block[block=0]", "a block from 1 to layers"),
        ("parity-spread[blocks=1]", "2 blocks or more"),
        ("parity-distractor[reads=both]", "reads=answer or reads=memory"),
        ("parity-twice[first=0.5]", "a first between 0 and 1, not 0.5"),
        ("lstm-votes[votes=2]", "an odd number of votes"),
        ("mamba-recall[shift=2]", "shift=0 or shift=1"),
        ("mamba-recall[halves=true]", "2 layers or more"),
        ("mamba2-recall[weight_noise=0.1]", "weight_noise=0"),
        ("induction[layers=3,halves=both]", "4 layers or more"),
        ("induction[halves=all]", "halves among none, previous, induction, both"),
        ("induction[carrier=none]", "carrier=attention or convolution"),
        ("lstm-recall[layers=0]", "one layer or more"),
        ("two-ways[gain=0.0]", "a gain above 0"),
        ("mamba2-recall[rotated=1]", "rotated=0, noise=0 and weight_noise=0"),
        ("lstm-parity@main", "has no revision 'main'"),
    ],
)
def test_bad_arguments_are_usage_errors(model: str, sentence: str) -> None:
    with pytest.raises(UsageError, match=re.escape(sentence)):
        source_of(f"planted/{model}")


def test_without_a_task_there_are_no_weights() -> None:
    with pytest.raises(UsageError, match=r"follow from a task\. Give it one: task='ar'"):
        mecheval.load_model("planted/induction")


def test_the_harness_runs_them_like_any_model(tmp_path) -> None:
    reports = mecheval.evaluate(
        ["planted/lstm-parity", "planted/parity-at-block[block=1]"], "parity",
        output=tmp_path, limit=64, metrics=["recovery"],
    )  # fmt: skip
    for report in reports:
        assert report.status == "success"
        assert report.identity.model.source == "planted"
        assert report.training.steps == 0
        assert report.training.stopped == "none"
        assert report.learned
        accuracy = next(result for result in report.metrics if result.id == "token_accuracy/1x")
        assert accuracy.value == 1.0
    blurred = {"noise": 0.0, "weight_noise": 0.0}
    assert reports[1].identity.model.args == {"block": 1, "layers": 4, "rotated": 0, **blurred}
    assert (tmp_path / "planted--lstm-parity" / "parity@1").is_dir()
    with pytest.raises(UsageError, match="set by hand and is not trained"):
        mecheval.evaluate("planted/lstm-parity", "parity", recipe={"steps": 5})


def test_a_leaderboard_does_not_admit_them(tmp_path: Path) -> None:
    write(tmp_path, synthetic("planted/lstm-parity", source="planted"))
    collection = admit(tmp_path)
    assert not collection.reports
    (refusal,) = collection.refused
    assert refusal.reason.startswith("planted weights")


def test_one_of_your_own_gets_the_name_that_it_is_called_by(tmp_path: Path) -> None:
    lines = (
        "from dataclasses import dataclass",
        "from mecheval.builtin.model_registry.planted.lstm_parity import LstmParity",
        "from mecheval.models.planted.planted import planted",
        '@planted(name="mine", reference="none", architecture="test")',
        "@dataclass(frozen=True, kw_only=True)",
        "class Mine(LstmParity):",
        '    """Parity of my own."""',
    )
    (tmp_path / "mine.py").write_text("\n".join(lines))
    source = resolve(parse_spec("local/mine"), Registry((tmp_path / "mine.py",)))
    assert source.identity().name == "local/mine"
    assert source.identity().source == "planted"


def test_they_are_listed_validated_and_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ls", "models", "--json"]) == 0
    rows = {row["name"]: row for row in map(json.loads, capsys.readouterr().out.splitlines())}
    assert {rows[name]["from"] for name in NAMES} == {"planted by hand"}
    assert rows["gru"]["from"] == "built in"
    assert list(rows).index("transformer") < list(rows).index("planted/induction")
    assert main(["validate", "planted/lstm-counter", "--quiet"]) == 0
    assert main(["show", "model", "planted/parity-at-block[block=3]", "--json"]) == 0
    card = json.loads(capsys.readouterr().out)
    assert {row["name"]: row["value"] for row in card["parameters"]}["block"] == 3
    assert main(["ls", "sites", "planted/mamba-recall", "--json"]) == 0
    sites = [json.loads(line)["site"] for line in capsys.readouterr().out.splitlines()]
    assert {"L0.conv_out", "L0.write", "L0.state"} <= set(sites)


def test_groups_of_a_basis_lie_side_by_side() -> None:
    basis = Basis(key=2, out=3)
    assert (basis["key"], basis["out"], basis.width) == (slice(0, 2), slice(2, 5), 5)
    assert basis.at("out", 1) == 3
    assert basis.labels == ["key:0", "key:1", "out:0", "out:1", "out:2"]
    weight = torch.zeros(5, 5)
    wire(weight, slice(0, 2), basis["key"], 3.0)
    assert weight.sum() == 6
    assert weight[1, 1] == 3


def test_a_recurrent_layer_cannot_be_turned() -> None:
    stack = build("planted/lstm-parity", "parity")
    with pytest.raises(ValueError, match="writes its own units"):
        rotate(stack, stack.d_model, 1)
