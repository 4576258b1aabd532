"""A behavioural metric that no gate can be held against is found before anything is trained."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mecheval.cli import main

if TYPE_CHECKING:
    from pathlib import Path

METRIC = '''
from dataclasses import dataclass
from mecheval.metrics import Column, Estimate, Layout, Metric, metric

@metric(name="beh", version=1, family="behaviour", headline=(Column("a number"),))
@dataclass(frozen=True, kw_only=True)
class Beh(Metric):
    """A number."""

    n: int = 8

    def measure(self, subject):
        layout = Layout("", "a number", subject.cut(self.n), BOUNDS, BETTER)
        return [self.result(layout, Estimate(0.5), subject.cut(self.n))]
'''
TASK = '''
from dataclasses import dataclass
from mecheval.builtin.task_registry.parity import Parity
from mecheval.tasks import task

@task(name="toy", version=1, reference="none", mechanisms=(), behaviour="local/beh")
@dataclass(frozen=True, kw_only=True)
class Toy(Parity):
    """A task."""
'''
SENTENCE = "FAILED: The behavioural metric has no result with bounds from 0 to 1"


def printed_by(
    folder: Path, capsys: pytest.CaptureFixture[str], bounds: str, better: str
) -> dict[str, str]:
    (folder / "beh.py").write_text(METRIC.replace("BOUNDS", bounds).replace("BETTER", better))
    (folder / "toy.py").write_text(TASK)
    found = {}
    for name in ("local/beh", "local/toy"):
        code = main(["validate", name, "-I", str(folder)])
        found[name] = capsys.readouterr().out
        assert code == int("FAILED" in found[name])
    return found


@pytest.mark.parametrize(
    ("bounds", "better"),
    [("(None, None)", "True"), ("(0.0, None)", "True"), ("(0.0, 1.0)", "False"),
     ("(0.0, 1.0)", "None")],
)  # fmt: skip
def test_what_cannot_be_gated_is_found(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], bounds: str, better: str
) -> None:
    found = printed_by(tmp_path, capsys, bounds, better)
    assert f"says whether a task is learned: {SENTENCE}" in found["local/beh"]
    assert f"behaviour says whether it is learned: {SENTENCE}" in found["local/toy"]
    assert "it gave local/beh" in found["local/toy"]


def test_what_can_be_gated_is_right(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = printed_by(tmp_path, capsys, "(0.0, 1.0)", "True")
    assert "says whether a task is learned: ok (local/beh)" in found["local/beh"]
    assert "behaviour says whether it is learned: ok (local/beh of local/beh)" in found["local/toy"]
