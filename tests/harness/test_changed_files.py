"""One process goes on after an edit: every number belongs to the file that its report names."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import mecheval
from mecheval.harness.devices import find_devices
from mecheval.harness.events import Silence
from mecheval.harness.execute import execute
from mecheval.harness.request import Request, Settings
from mecheval.own_code.sources import source_sha256
from mecheval.spec import parse_spec

if TYPE_CHECKING:
    from pathlib import Path

MODEL = '''
from dataclasses import dataclass
from mecheval.builtin.model_registry.gru import Gru
from mecheval.models.stack.architecture import model
from mecheval.recipe import Recipe
from .sizes import WIDTH

@model(
    name="mine", reference="none", architecture="recurrent",
    recipes={"tiny": Recipe()}, sizes={"tiny": {"layers": 3}},
)
@dataclass(frozen=True, kw_only=True)
class Mine(Gru):
    """A model of one file and its sibling."""

    width: int = WIDTH
'''
TASK = '''
from dataclasses import dataclass
from mecheval.builtin.task_registry.parity import Parity
from mecheval.tasks import task

@task(name="toy", version=1, reference="none", mechanisms=())
@dataclass(frozen=True, kw_only=True)
class Toy(Parity):
    """A task of one file."""

    def sample(self, rng, n, length):
        return super().sample(rng, n, length)
'''
METRIC = '''
from dataclasses import dataclass
from mecheval.metrics import Estimate, Layout, Metric, metric

@metric(name="count", version=1, family="counting")
@dataclass(frozen=True, kw_only=True)
class Count(Metric):
    """A metric of one file."""

    def measure(self, subject):
        return [self.result(Layout("", "count", 1), Estimate(self.n()), 1)]

    def n(self):
        return 3
'''
BRIEF = {"limit": 8, "metrics": [], "recipe": {"steps": 0}, "device": "cpu"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "mine.py").write_text(MODEL)
    (tmp_path / "sizes.py").write_text("WIDTH = 48\n")
    (tmp_path / "toy.py").write_text(TASK)
    (tmp_path / "count.py").write_text(METRIC)
    return tmp_path


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


@pytest.mark.parametrize("jobs", [None, 1])
def test_a_notebook_goes_on_after_an_edit(folder: Path, jobs: int | None) -> None:
    def measured() -> tuple:
        (report,) = mecheval.evaluate(
            "local/mine", "parity", output=folder / "results", include_path=[folder], jobs=jobs,
            **BRIEF,
        )  # fmt: skip
        assert report.status == "success"
        assert report.model_card is not None
        model = report.identity.model
        assert model.file_sha256 == source_sha256(folder / "mine.py")
        return model.args["layers"], model.args["width"], report.model_card.n_params, report.key

    first = measured()
    assert first[:2] == (3, 48)
    edit(folder / "mine.py", '"layers": 3', '"layers": 1')
    second = measured()
    assert second[:2] == (1, 48)
    assert first[2] > second[2]
    assert first[3] != second[3]
    if jobs is None:
        edit(folder / "sizes.py", "48", "16")
        third = measured()
        assert third[:2] == (1, 16)
        assert third[2] < second[2]


@pytest.mark.parametrize(
    ("file", "old", "new", "what"),
    [
        ("sizes.py", "48", "16", "model 'local/mine'"),
        ("toy.py", "super()", "super(Toy, self)", "task 'local/toy'"),
        ("count.py", "return 3", "return 4", "metric 'local/count'"),
    ],
)
def test_a_change_between_plan_and_measurement_is_no_number(
    folder: Path, file: str, old: str, new: str, what: str
) -> None:
    class Editor(Silence):
        def planned(self, todo: int, kept: int) -> None:
            edit(folder / file, old, new)

    request = Request(
        models=(parse_spec("local/mine"),),
        tasks=(parse_spec("local/toy"),),
        metrics=(parse_spec("local/count"),),
        recipe={"steps": 0},
        settings=Settings(include_paths=(folder,)),
    )
    (outcome,) = execute([request], Editor(), devices=find_devices("cpu"), jobs=None)
    assert outcome.report.error is not None
    assert f"The file of {what} changed after this run was planned." in outcome.report.error.message
    assert not outcome.report.metrics
