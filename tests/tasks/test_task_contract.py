"""Every registered task: the contract, and a golden hash that forces a version to be raised."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from source_files import write_source

from mecheval.registry import Registry
from mecheval.seeding import stream
from mecheval.tasks import Batch, Task
from mecheval.tasks.checks import check_task
from mecheval.tasks.contract import configure
from mecheval.tasks.splits import draw, draw_pairs

GOLDEN = Path(__file__).parents[1] / "golden" / "tasks.json"
NAMES = [entry.name for entry in Registry().entries("task") if "/" not in entry.name]
PRESETS = [("induction", "pretrained")]
N_CHECKS = 15


def fingerprint(task: Task) -> str:
    """Hash what the task emits: a training batch, a longer one, and pairs."""
    digest = hashlib.sha256()
    longest = max(task.test_lengths.values())
    pairs = draw_pairs(task, stream(0, "golden_pairs"), 64, length=task.max_length)
    batches = (
        draw(task, stream(0, "golden"), 64, length=task.max_length, split="train"),
        draw(task, stream(0, "golden_long"), 16, length=longest, split="test"),
        pairs.clean,
        pairs.corrupted,
    )
    for batch in batches:
        for name, values in _arrays(batch).items():
            digest.update(f"{name}{values.shape}".encode())
            digest.update(np.ascontiguousarray(values, "<i8").tobytes())
    return digest.hexdigest()


def _arrays(batch: Batch) -> dict[str, np.ndarray]:
    named = {"tokens": batch.tokens_BT, "targets": batch.targets_BT}
    named |= {f"variable {name}": batch.variables[name] for name in sorted(batch.variables)}
    return named | {f"role {name}": batch.roles[name] for name in sorted(batch.roles)}


@pytest.mark.parametrize("name", NAMES)
def test_contract(name: str) -> None:
    checks = check_task(Registry().load("task", name)())
    assert len(checks) == N_CHECKS
    assert not [str(check) for check in checks if not check.passed]


def golden_task(name: str, folder: Path) -> Task:
    """Return a task; one that reads files reads some that are the same everywhere."""
    cls = Registry().load("task", name)
    reads_files = cls().data_sha256 is not None
    return cls(folder=write_source(folder)) if reads_files else cls()


@pytest.mark.parametrize(("name", "preset"), [*((name, "") for name in NAMES), *PRESETS])
def test_output_changes_only_with_the_version(name: str, preset: str, tmp_path: Path) -> None:
    task = golden_task(name, tmp_path)
    if preset:
        task = configure(type(task), {"preset": preset}, name=name)
    label = f"{name}@{task.card.version}" + (f"[{preset}]" if preset else "")
    golden = json.loads(GOLDEN.read_text())
    assert golden.get(label) == fingerprint(task), (
        f"The output of {label} is not the one in tests/golden/tasks.json. If the generator was "
        f"changed on purpose, raise version in task_registry/{name}.py, add the new hash "
        f"({fingerprint(task)}) to tests/golden/tasks.json, and add a line to the change log in "
        "task_registry/README.md."
    )


def test_every_published_version_has_a_line_in_the_change_log() -> None:
    readme = (Path(__file__).parents[2] / "task_registry" / "README.md").read_text()
    log = readme.partition("## Change log")[2]
    labels = {label.partition("[")[0] for label in json.loads(GOLDEN.read_text())}
    missing = [label for label in labels if f"`{label}`" not in log]
    assert not missing


def test_every_task_is_listed_in_the_readme() -> None:
    readme = (Path(__file__).parents[2] / "task_registry" / "README.md").read_text()
    assert not [name for name in NAMES if f"[`{name}`]({name}.py)" not in readme]
