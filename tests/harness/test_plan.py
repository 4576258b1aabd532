"""The plan: which cells, their keys and paths, and all that can be wrong with a request."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING

import pytest

from mecheval.errors import ContractError, UsageError
from mecheval.harness.plan import check, expected_cost, plan
from mecheval.harness.request import Request, Settings
from mecheval.registry import Registry
from mecheval.reports.label_checks import contradiction
from mecheval.reports.schema import Identity, Labels
from mecheval.spec import Spec, parse_spec, split_list

if TYPE_CHECKING:
    from pathlib import Path

TOY = '''
from dataclasses import dataclass
from mecheval.builtin.task_registry.parity import Parity
from mecheval.tasks import Metric, task


@task(name="toy", version=1, reference="none", mechanisms=(Metric("recovery"),))
@dataclass(frozen=True, kw_only=True)
class Toy(Parity):
    """Parity again."""

    noop_rate: float = RATE
'''


def request(models: str = "lstm", tasks: str = "parity", **changes) -> Request:
    return Request(
        models=tuple(map(parse_spec, models.split())),
        tasks=tuple(map(parse_spec, tasks.split())),
        **changes,
    )


def toy(folder: Path, *, rate: str) -> Settings:
    (folder / "toys.py").write_text(TOY.replace("RATE", rate))
    return Settings(include_paths=(folder,))


def test_the_grid_is_expanded_model_by_model():
    cells = plan(request("lstm gru", "parity dyck", seeds=(1, 0)))
    names = [(c.identity.model.name, c.identity.task.name, c.identity.seed) for c in cells]
    assert names == [
        (model, task, seed)
        for model in ("lstm", "gru")
        for task in ("parity", "dyck")
        for seed in (1, 0)
    ]


def test_a_cell_that_is_asked_for_twice_is_planned_once():
    assert len(plan(request("lstm lstm", "parity parity[max_length=16]", seeds=(0, 0)))) == 1


def test_names_may_have_the_version_that_tables_print():
    version = Registry().load("metric", "recovery").card.version
    plain, versioned = (
        plan(request(tasks=task, metrics=(parse_spec(metric),)))[0]
        for task, metric in (("parity", "recovery"), ("parity@1", f"recovery@{version}"))
    )
    assert versioned.key == plain.key
    assert (versioned.task_title, versioned.labels) == (plain.task_title, plain.labels)


def test_default_seeds():
    assert [cell.identity.seed for cell in plan(request())] == [0]
    assert [cell.identity.seed for cell in plan(request(size="formal"))] == [0, 1, 2, 3]
    assert [cell.identity.seed for cell in plan(request(size="formal", seeds=(5,)))] == [5]


def test_cells_travel_to_other_processes():
    cell = plan(request())[0]
    assert pickle.loads(pickle.dumps(cell)) == cell


def test_the_key_hashes_what_decides_the_numbers():
    base = plan(request())[0]
    assert plan(request())[0].key == base.key
    others = [
        request("gru"), request(tasks="dyck"), request(tasks="parity[noop_rate=0.25]"),
        request(seeds=(1,)), request(size="formal"), request(recipe={"steps": 7}),
        request(limit=10), request(dtype="float64"), request(metrics=(Spec("recovery"),)),
    ]  # fmt: skip
    keys = [plan(other)[0].key for other in others]
    assert len({base.key, *keys}) == 1 + len(others)


def test_settings_do_not_move_the_key():
    settings = Settings(threads=2, batch_size=7, overwrite=True, command=("x",))
    assert plan(request(settings=settings))[0].key == plan(request())[0].key


def test_the_path_names_what_differs_from_the_defaults(tmp_path):
    def path(*args, **changes) -> str:
        cell = plan(request(*args, output=tmp_path, **changes))[0]
        return str(cell.path.relative_to(tmp_path))

    assert path() == "lstm/parity@1/seed0.json"
    assert path(size="tiny") == "lstm/parity@1/seed0.json"
    assert path("lstm[size=tiny]") == "lstm/parity@1/seed0.json"
    assert path(size="formal", seeds=(3,)) == "lstm+size=formal/parity@1/seed3.json"
    assert path(tasks="parity[noop_rate=0.25,max_length=16]") == (
        "lstm/parity@1+noop_rate=0.25/seed0.json"
    )
    assert path(recipe={"steps": 7}, limit=10) == "lstm/parity@1/seed0+limit=10,steps=7.json"
    assert path(metrics=(Spec("recovery"),)) == "lstm/parity@1/seed0+metrics=recovery.json"


@pytest.mark.parametrize(
    "spellings",
    [
        ("recovery", "recovery[n_pairs=64]", "behaviour,recovery", "recovery,recovery"),
        ("bottleneck,recovery", "recovery,bottleneck", "recovery,bottleneck,behaviour"),
        ("write_offset,convolution", "convolution,write_offset"),
        ("bottleneck[eraser=inlp],bottleneck[eraser=class_mean]",
         "bottleneck[eraser=class_mean],bottleneck[eraser=inlp]"),
        ("bottleneck[inverse_l2=[1,2]]", "bottleneck[inverse_l2=[1.0,2.0]]"),
        ("recovery,readability,bottleneck", "bottleneck,readability,recovery,behaviour"),
    ],
)  # fmt: skip
def test_metrics_make_one_cell_and_one_file_however_they_are_written(spellings, tmp_path):
    cells = [plan(chosen(text, output=tmp_path))[0] for text in spellings]
    assert len({cell.key for cell in cells}) == 1
    assert len({cell.path for cell in cells}) == 1


def chosen(metrics: str, **changes) -> Request:
    return request(metrics=tuple(map(parse_spec, split_list(metrics))), **changes)


def test_other_metrics_make_another_file(tmp_path):
    texts = (
        "behaviour", "recovery", "recovery[n_pairs=8]", "recovery,bottleneck",
        "recovery,bottleneck[eraser=class_mean]", "behaviour[n=64]", "behaviour[n=64],behaviour",
        "behaviour[n=64],recovery",
    )  # fmt: skip
    cells = [plan(chosen(text, output=tmp_path))[0] for text in texts]
    assert len({cell.key for cell in cells}) == len({cell.path for cell in cells}) == len(texts)


def test_the_metrics_of_the_task_are_no_choice(tmp_path):
    asked = chosen("exchange,bottleneck,readability,recovery", output=tmp_path)
    assert plan(asked)[0].path == plan(request(output=tmp_path))[0].path
    # On this task 32 pairs are usual, and not the 64 that are the default elsewhere.
    usual, named = (
        plan(request(tasks="atr", metrics=(metric,), output=tmp_path))[0]
        for metric in (Spec("convolution"), load("convolution")(n_pairs=32))
    )
    assert (named.path, named.key) == (usual.path, usual.key)


def load(metric: str):
    return Registry().load("metric", metric)


def test_arguments_of_a_model_make_one_file_however_they_are_written(tmp_path):
    spellings = ("mamba", "mamba[eigenvalues=[0,1]]", "mamba[eigenvalues=[0.0,1]]")
    cells = [plan(request(model, output=tmp_path))[0] for model in spellings]
    assert len({(cell.key, cell.path, cell.model_title) for cell in cells}) == 1


def test_longer_cells_are_expected_to_cost_more():
    costs = {c.identity.task.name: expected_cost(c) for c in plan(request(tasks="parity dyck"))}
    assert costs["dyck"] > costs["parity"]


def test_a_task_under_construction_is_another_one_after_a_change(tmp_path):
    keys, paths = set(), set()
    for rate in ("0.5", "0.25", "0.5"):
        for name in ("one", "two"):
            (tmp_path / name).mkdir(exist_ok=True)
        folder = tmp_path / ("one" if rate == "0.5" else "two")
        settings = toy(folder, rate=rate)
        cell = plan(request(tasks="local/toy", settings=settings, output=tmp_path))[0]
        keys.add(cell.key)
        paths.add(cell.path)
        assert cell.identity.task.sample_sha256 is not None
    assert len(keys) == 2
    assert len(paths) == 1


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"models": "lsmt"},
            "Unknown model 'lsmt'. Did you mean 'lstm'? See `mecheval ls models`.",
        ),
        ({"tasks": "dick"}, "Unknown task 'dick'. Did you mean 'dyck'? See `mecheval ls tasks`."),
        ({"dtype": "float16"}, "Unknown dtype 'float16'. Did you mean 'bfloat16'?"),
        ({"limit": 0}, "The limit is 0; give --limit a number of at least 1."),
    ],
)
def test_what_is_wrong_before_a_model_is_imported(changes, sentence):
    with pytest.raises(UsageError) as caught:
        check(request(**changes))
    assert sentence in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"tasks": "dyck[depth=3]"}, "Unknown argument 'depth' of dyck"),
        ({"tasks": "dyck[k=9]"}, "Task 'dyck' got k=9"),
        ({"models": "lstm[widht=3]"}, "Did you mean 'width'?"),
        ({"size": "large"}, "large"),
        ({"recipe": {"step": 3}}, "Unknown argument 'step' of recipe. Did you mean 'steps'?"),
        ({"metrics": (Spec("recoveri"),)}, "Unknown metric 'recoveri'. Did you mean 'recovery'?"),
        ({"metrics": (Spec("recovery", {"component": "x"}),)}, "component"),
        (
            {"tasks": "parity@7"},
            "There is no version '7' of task 'parity': it has version 1. Write parity, or parity@1",
        ),
        ({"metrics": (Spec("recovery", {}, "2"),)}, "no version '2' of metric 'recovery'"),
    ],
)
def test_what_is_wrong_with_arguments(changes, sentence):
    with pytest.raises(UsageError) as caught:
        plan(request(**changes))
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_task_file_that_does_not_import_is_named(tmp_path):
    settings = toy(tmp_path, rate="1 / 0")
    with pytest.raises(ContractError, match=r"toys\.py:12 of task 'local/toy' does not import"):
        plan(request(tasks="local/toy", settings=settings))


@pytest.mark.parametrize(
    "asked",
    [
        request("lstm[layers=2]", "ar[small,query=value] atr[gen,queries=2] dyck[longer=[2]]"),
        request("pythia-70m[weights=random]", "parity", recipe={"steps": 0}),
        request("mamba[size=formal,layers=3] transformer[mlp_ratio=0]", "parity[noop_rate=0.1]"),
        request("hybrid[layers=2,pattern=mamba-attention]", size="formal"),
        request("planted/lstm-parity planted/parity-spread[rotated=5]", "parity"),
        request(
            "lstm", recipe={"lr": 1, "betas": [0.9, 0.99]}, sweep={"batch": [8, 16]}, snapshots=3,
            limit=5, dtype="float64",
            metrics=tuple(map(parse_spec, ["bottleneck[eraser=inlp]", "recovery[min_gap=2]"])),
        ),
        request("lstm", metrics=()),
    ],
)  # fmt: skip
def test_what_names_a_cell_is_what_it_is_measured_with(asked: Request):
    for cell in plan(asked):
        assert contradiction(cell.labels, cell.identity) == ""
        kept = Labels.model_validate_json(cell.labels.model_dump_json())
        assert (
            contradiction(kept, Identity.model_validate_json(cell.identity.model_dump_json())) == ""
        )


def test_an_argument_that_no_report_can_hold_is_one_sentence(tmp_path):
    (tmp_path / "noted.py").write_text(
        TOY.replace("noop_rate: float = RATE", 'note: str = ""').replace("toy", "noted")
    )
    settings = Settings(include_paths=(tmp_path,))
    for note in ("a\x1b[31m", "a\nb", "a" * 5000):
        given = Request(
            models=(Spec("lstm"),), tasks=(Spec("local/noted", {"note": note}),), settings=settings
        )
        with pytest.raises((UsageError, ContractError), match="wrong field 'params'") as caught:
            plan(given)
        assert str(caught.value).isprintable()
        assert len(str(caught.value)) < 600
    assert plan(request("lstm", "local/noted[note=seen]", settings=settings))
