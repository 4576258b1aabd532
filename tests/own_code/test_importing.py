"""Files of users are imported anew when they changed, wherever the change is, and only then."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import mecheval
from mecheval.errors import ContractError, UsageError
from mecheval.own_code.importing import place_of
from mecheval.own_code.sources import source_sha256
from mecheval.registry import Registry

MODEL = '''
from dataclasses import dataclass
from mecheval.builtin.model_registry.gru import Gru
from mecheval.models.stack.architecture import model
from mecheval.recipe import Recipe
from .sizes import WIDTH

@model(
    name="NAME", reference="none", architecture="recurrent",
    recipes={"tiny": Recipe()}, sizes={"tiny": {"layers": 3, "width": 48}},
)
@dataclass(frozen=True, kw_only=True)
class Mine(Gru):
    """A model of one file and its sibling."""

    layers: int = 3
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

    noop_rate: float = 0.5
'''


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "mine.py").write_text(MODEL.replace("NAME", "mine"))
    (tmp_path / "sizes.py").write_text("WIDTH = 48\n")
    (tmp_path / "toy.py").write_text(TASK)
    return tmp_path


def load(folder: Path, kind: str = "model", name: str = "mine") -> type:
    return Registry((folder,)).load(kind, f"local/{name}")  # type: ignore[arg-type]


def test_what_did_not_change_is_imported_once(folder: Path) -> None:
    assert load(folder) is load(folder)
    assert load(folder, "task", "toy") is load(folder, "task", "toy")


def replaced(path: Path, old: str, new: str) -> None:
    """Edit a file within the second, and without another size, as no time stamp shows."""
    text = path.read_text()
    assert old in text
    before = path.stat()
    path.write_text(text.replace(old, new))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size


@pytest.mark.parametrize(
    ("file", "old", "new", "kind", "name", "field", "value"),
    [
        ("mine.py", "layers: int = 3", "layers: int = 1", "model", "mine", "layers", 1),
        ("sizes.py", "WIDTH = 48", "WIDTH = 16", "model", "mine", "width", 16),
        ("toy.py", "noop_rate: float = 0.5", "noop_rate: float = 0.9", "task", "toy",
         "noop_rate", 0.9),
    ],
)  # fmt: skip
def test_a_change_is_seen(
    folder: Path, file: str, old: str, new: str, kind: str, name: str, field: str, value: object
) -> None:
    before = load(folder, kind, name)
    replaced(folder / file, old, new)
    after = load(folder, kind, name)
    assert after is not before
    assert getattr(after, field) == value
    assert load(folder, kind, name) is after


def test_a_change_of_a_sibling_of_a_sibling_is_seen(folder: Path) -> None:
    (folder / "sizes.py").write_text("from .inner.deep import WIDTH\n")
    (folder / "inner").mkdir()
    (folder / "inner" / "deep.py").write_text("WIDTH = 1\n")
    assert load(folder).width == 1  # type: ignore[attr-defined]
    (folder / "inner" / "deep.py").write_text("WIDTH = 2\n")
    assert load(folder).width == 2  # type: ignore[attr-defined]


def test_a_renamed_declaration_is_found_under_its_new_name(folder: Path) -> None:
    load(folder)
    (folder / "mine.py").write_text(MODEL.replace("NAME", "yours"))
    assert load(folder, "model", "yours").__name__ == "Mine"
    with pytest.raises(UsageError, match="Unknown model 'local/mine'"):
        load(folder)


def test_a_file_that_breaks_and_is_mended(folder: Path) -> None:
    load(folder)
    (folder / "sizes.py").write_text("WIDTH = 1 / 0\n")
    with pytest.raises(ContractError, match=r"sizes\.py:1 .*does not import \(ZeroDivisionError"):
        load(folder)
    (folder / "sizes.py").write_text("WIDTH = 8\n")
    assert load(folder).width == 8  # type: ignore[attr-defined]


def test_a_sibling_that_is_removed_is_missed(folder: Path) -> None:
    load(folder)
    (folder / "sizes.py").unlink()
    with pytest.raises(ContractError, match=r"mine\.py:6 .*ModuleNotFoundError"):
        load(folder)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("x = (\n", "cannot be read"),
        (TASK + "\nraise SystemExit(3)\n", r"toy\.py:13 .*SystemExit: 3"),
        (TASK + "\ndef f(): g()\ndef g(): f()\nf()\n", "does not import .RecursionError"),
        (TASK.replace("from mecheval.tasks import task", "def task(**k): return lambda c: c"),
         r"toy\.py:\d+ says that there is a task 'toy', but declares none"),
        (TASK.replace('name="toy"', 'name="a b"'), r"toy\.py:\d+ names it 'a b'"),
        (TASK.replace('name="toy"', 'name="\\x1b[31m"'), r"names it '\\x1b\[31m'"),
        ("\0", "cannot be read"),
        ("(" * 5000, "cannot be read"),
        ("x = " + "-" * 20_000 + "1", "cannot be read"),
        (b"\xff\xfe\x00".decode("latin-1"), "cannot be read"),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_used_says_why(folder: Path, text: str, sentence: str) -> None:
    (folder / "toy.py").write_text(text)
    with pytest.raises(UsageError, match=sentence) as caught:
        load(folder, "task", "toy")
    assert len(str(caught.value)) < 700


def test_a_mistake_in_a_file_of_ours_is_not_the_users(folder: Path) -> None:
    ours = Path(mecheval.__file__).parent / "metrics" / "contract.py"
    assert place_of(SyntaxError("bad", (str(ours), 3, 1, "x"))) is None
    theirs = folder / "mine.py"
    assert place_of(SyntaxError("bad", (str(theirs), 3, 1, "x"))) == f"{theirs}:3"


def test_no_bytecode_is_left_behind(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    load(folder)
    assert not list(folder.rglob("*.pyc"))


def test_the_hash_of_a_file_is_that_of_what_it_imports_too(folder: Path) -> None:
    def both() -> tuple[str, str]:
        return source_sha256(folder / "mine.py"), source_sha256(folder / "toy.py")

    before = both()
    (folder / "unrelated.py").write_text("x = 1\n")
    assert both() == before
    (folder / "sizes.py").write_text("WIDTH = 49\n")
    assert both()[0] != before[0]
    assert both()[1] == before[1], "a file alone has its own hash"


@pytest.mark.parametrize("given", [("toy.py", "toy.py"), (".", "toy.py"), ("toy.py", "link.py")])
def test_the_same_file_given_twice_is_one(
    folder: Path, given: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    (folder / "link.py").symlink_to(folder / "toy.py")
    paths = (Path(given[0]), folder / ".." / folder.name / given[1])
    assert Registry(paths).load("task", "local/toy").__name__ == "Toy"


def test_what_is_no_file_breaks_nothing(folder: Path) -> None:
    (folder / "circle.py").symlink_to(folder / "circle.py")
    (folder / "nowhere.py").symlink_to(folder / "nothing")
    (folder / "folder.py").mkdir()
    os.mkfifo(folder / "pipe.py")
    assert load(folder, "task", "toy").__name__ == "Toy"
    broken = [entry for entry in Registry((folder,)).entries("task") if entry.broken]
    assert {entry.path.stem for entry in broken} == {"circle", "nowhere", "pipe"}
    with pytest.raises(UsageError, match="There is no file or folder"):
        Registry((folder / "circle.py",))


def test_names_of_files_may_be_odd(folder: Path) -> None:
    (folder / "a.b c-1.py").write_text(TASK.replace('"toy"', '"odd"'))
    assert load(folder, "task", "odd").__name__ == "Toy"


NOTEBOOK = """
import pathlib
from acme_dev import mine
from mecheval.registry import Registry
from mecheval.own_code.sources import source_sha256

def width():
    return Registry().load("model", "acme/mine").width

file = pathlib.Path(mine.__file__).with_name("sizes.py")
before = width()
file.write_text("WIDTH = 16\\n")
print(before, width())
"""


def test_an_installed_package_under_construction_is_imported_anew(folder: Path) -> None:
    package = folder / "acme_dev"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "mine.py").write_text(MODEL.replace("NAME", "mine"))
    (package / "sizes.py").write_text("WIDTH = 48\n")
    info = folder / "acme_dev-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-dev\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[mecheval.models]\nacme = acme_dev.mine\n")
    path = os.pathsep.join([str(folder), *sys.path])
    done = subprocess.run(
        [sys.executable, "-c", NOTEBOOK], capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": path},
    )  # fmt: skip
    assert done.stdout == "48 16\n", done.stderr
