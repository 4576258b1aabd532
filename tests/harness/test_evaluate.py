"""The harness from Python: in this process, in workers, with objects, and with failures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
import torch
from harness_runs import numbers

import mecheval
from mecheval.builtin.task_registry.parity import Parity
from mecheval.errors import UsageError
from mecheval.reports.files import cell_key, find_reports, read_report

if TYPE_CHECKING:
    from pathlib import Path

BRIEF = {"limit": 16, "metrics": ["recovery"], "recipe": {"steps": 20}, "device": "cpu"}

BROKEN = '''
from dataclasses import dataclass
from mecheval.builtin.task_registry.parity import Parity
from mecheval.tasks import Metric, task


@task(name="broken", version=1, reference="none", mechanisms=(Metric("recovery"),))
@dataclass(frozen=True, kw_only=True)
class Broken(Parity):
    """Parity until it is measured at twice the length."""

    def sample(self, rng, n, length):
        if length > 16:
            raise RuntimeError("the generator gave up")
        return super().sample(rng, n, length)
'''


@dataclass(frozen=True, kw_only=True)
class HereOnly(Parity):
    """A task that only this file knows."""


def test_workers_and_this_process_agree_bit_for_bit(tmp_path, monkeypatch):
    folders = {name: tmp_path / name for name in ("here", "two")}
    jobs = {"here": None, "two": 2}
    for name, folder in folders.items():
        monkeypatch.setenv("MECHEVAL_CACHE", str(tmp_path / f"cache {name}"))
        tasks = ["z6", "parity"] if name == "two" else ["parity", "z6"]
        mecheval.evaluate("lstm", tasks, output=folder, jobs=jobs[name], **BRIEF)
    assert numbers(folders["here"]) == numbers(folders["two"])
    assert len(numbers(folders["here"])) == 2


def test_a_report_says_everything(tmp_path):
    report = mecheval.evaluate("lstm", "parity", seeds=[3], output=tmp_path, **BRIEF)[0]
    assert report.status == "success"
    assert report.partial
    assert report.key == cell_key(report.identity)
    assert report.identity.seed == 3
    assert report.training is not None
    assert report.training.steps == 20
    assert report.learned is False
    assert all(metric.value is None for metric in report.metrics if metric.name == "recovery")
    assert report.fidelity is not None
    assert (report.fidelity.hooks, report.fidelity.native) == (0, 0)
    assert report.fidelity.repeat_equal
    assert report.data is not None
    assert report.data.disjoint
    assert report.data.n_test == 16
    assert report.model_card is not None
    assert report.model_card.n_params > 0
    assert report.task_card is not None
    assert report.task_card.floors["majority"] == pytest.approx(0.5, abs=0.02)
    assert "L0.block_in" in report.sites
    assert report.environment["threads"]["torch"] == 1
    assert set(report.resources["seconds"]) >= {"load", "train", "behaviour", "recovery"}
    assert report.resources["peak_ram_bytes"] > 2**20
    assert mecheval.load_report(find_reports(tmp_path)[0]) == report


def test_without_a_folder_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    reports = mecheval.evaluate(["lstm"], ["parity"], seeds=[0, 1], **BRIEF)
    assert [report.identity.seed for report in reports] == [0, 1]
    assert list(tmp_path.iterdir()) == []


def test_the_process_is_left_as_it_was():
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        before = torch.are_deterministic_algorithms_enabled(), torch.random.get_rng_state()
        report = mecheval.evaluate("lstm", "parity", threads=1, **BRIEF)[0]
        assert report.environment["threads"]["torch"] == 1
        assert torch.get_num_threads() == 2
        assert torch.are_deterministic_algorithms_enabled() == before[0]
        assert torch.equal(torch.random.get_rng_state(), before[1])
    finally:
        torch.set_num_threads(threads)


def test_finished_cells_are_kept_unless_overwritten(tmp_path):
    first = mecheval.evaluate("lstm", "parity", output=tmp_path, **BRIEF)[0]
    path = find_reports(tmp_path)[0]
    before = path.stat().st_mtime_ns
    assert mecheval.evaluate("lstm", "parity", output=tmp_path, **BRIEF) == [first]
    assert path.stat().st_mtime_ns == before
    mecheval.evaluate("lstm", "parity", output=tmp_path, overwrite=True, **BRIEF)
    assert path.stat().st_mtime_ns > before


def test_tasks_can_be_objects_and_classes():
    given = [HereOnly(noop_rate=0.25), Parity, mecheval.load_task("parity[noop_rate=0.1]")]
    reports = mecheval.evaluate("lstm", given, jobs=2, **BRIEF)
    assert [report.identity.task.params["noop_rate"] for report in reports] == [0.25, 0.5, 0.1]
    assert [report.status for report in reports] == ["success"] * 3
    hashes = [report.identity.task.sample_sha256 for report in reports]
    assert hashes[0] is not None
    assert hashes[1:] == [None, None]
    with pytest.raises(UsageError, match="3 is not a task"):
        mecheval.evaluate("lstm", 3)


def test_a_cell_that_fails_is_a_report_and_is_tried_again(tmp_path: Path):
    (tmp_path / "broken.py").write_text(BROKEN)
    arguments = {"include_path": [tmp_path], "output": tmp_path / "results", **BRIEF}
    bad, good = mecheval.evaluate("lstm", ["local/broken", "parity"], **arguments)
    assert (bad.status, good.status) == ("error", "success")
    assert bad.error is not None
    assert (bad.error.type, bad.error.stage) == ("RuntimeError", "behaviour")
    assert bad.error.message == "the generator gave up"
    assert "broken.py" in bad.error.traceback
    assert bad.training is not None
    assert bad.plugin is not None
    assert bad.plugin["task"].startswith(str(tmp_path / "broken.py"))
    stored = [read_report(path) for path in find_reports(tmp_path / "results")]
    assert {report.status for report in stored} == {"error", "success"}
    again = mecheval.evaluate("lstm", ["local/broken", "parity"], **arguments)
    assert again[1] == good
    assert again[0].status == "error"


def test_running_out_of_memory_halves_the_batch_twice_at_most(monkeypatch):
    from mecheval import metrics

    sizes = []

    def greedy(identity, subject):
        if identity.name == "recovery":
            sizes.append(subject.batch_size)
            if subject.batch_size > limit:
                raise torch.OutOfMemoryError("CUDA out of memory")
        return measure(identity, subject)

    measure = metrics.measure
    monkeypatch.setattr(metrics, "measure", greedy)
    limit = 32
    report = mecheval.evaluate("lstm", "parity", batch_size=128, **BRIEF)[0]
    assert (report.status, sizes) == ("success", [128, 64, 32])
    assert report.resources["batch_size"] == 32
    limit, sizes = 1, []
    report = mecheval.evaluate("lstm", "parity", batch_size=128, **BRIEF)[0]
    assert (report.status, sizes) == ("error", [128, 64, 32])
    assert report.error is not None
    assert report.error.type == "OutOfMemoryError"


def test_a_model_is_loaded_with_its_initial_weights():
    model = mecheval.load_model("lstm", vocab_size=11, seed=1)
    assert model.vocab_size == 11
    assert not model.training
    tokens_BT = torch.arange(10).view(2, 5)
    assert model(tokens_BT).shape == (2, 5, 11)
    same = mecheval.load_model("lstm", vocab_size=11, seed=1)
    other = mecheval.load_model("lstm", vocab_size=11, seed=2)
    assert torch.equal(model(tokens_BT), same(tokens_BT))
    assert not torch.equal(model(tokens_BT), other(tokens_BT))
    assert mecheval.load_model("lstm", task="dyck").vocab_size == 6
