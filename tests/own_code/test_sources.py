"""Code of one's own is its file and what that imports beside it, relatively or by its full name."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

import mecheval
from mecheval.harness.plan import plan
from mecheval.harness.request import Request, Settings
from mecheval.own_code.importing import place_of
from mecheval.own_code.sources import sources
from mecheval.registry import Registry
from mecheval.spec import Spec, parse_spec

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

METRIC = '''
from dataclasses import dataclass
from mecheval.metrics import Column, Estimate, Layout, Metric, metric
IMPORT

@metric(name="own", version=1, family="counting", headline=(Column("a number"),))
@dataclass(frozen=True, kw_only=True)
class Own(Metric):
    """A metric of one file and another."""

    def measure(self, subject):
        INSIDE
        return [self.result(Layout("", "number", 1), Estimate(float(VALUE)), 1)]
'''
ABSOLUTE = {
    "from": ("from helper_abs import V", "pass", "V", "helper_abs.py"),
    "import": ("import helper_abs", "pass", "helper_abs.V", "helper_abs.py"),
    "as": ("import helper_abs as h", "pass", "h.V", "helper_abs.py"),
    "inside": ("", "from helper_abs import V", "V", "helper_abs.py"),
    "package": ("from helper_pkg import V", "pass", "V", "helper_pkg/__init__.py"),
    "in package": ("import helper_pkg.deep", "pass", "helper_pkg.deep.V", "helper_pkg/deep.py"),
    "of helper": ("from helper_two import V", "pass", "V", "helper_abs.py"),
    "namespace": ("from helper_space import deep", "pass", "deep.V", "helper_space/deep.py"),
}
BRIEF = {"limit": 8, "recipe": {"steps": 0, "gate": 0.0}, "device": "cpu"}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Give a folder that can be imported from, as that of a notebook."""
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)
    for name in ("helper_abs.py", "helper_pkg/__init__.py", "helper_pkg/deep.py",
                 "helper_space/deep.py", "unrelated.py"):  # fmt: skip
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("V = 1\n")
    (tmp_path / "helper_two.py").write_text("from helper_abs import V\n")
    yield tmp_path
    for name in set(sys.modules) - before:
        if name.startswith(("helper_", "acme_own")):
            del sys.modules[name]


def written(path: Path, line: str, inside: str = "pass", value: str = "V") -> None:
    text = METRIC.replace("IMPORT", line).replace("INSIDE", inside).replace("VALUE", value)
    path.write_text(text)


def measured(metric: str, *include: Path) -> tuple[float | None, str]:
    (report,) = mecheval.evaluate("lstm", "parity", metrics=[metric], include_path=include, **BRIEF)
    assert report.error is None
    return report.metrics[-1].value, report.key


@pytest.mark.parametrize("name", ABSOLUTE)
def test_a_helper_in_the_same_folder_is_used_anew(folder: Path, name: str) -> None:
    line, inside, value, file = ABSOLUTE[name]
    written(folder / "own.py", line, inside, value)
    first = measured("local/own", folder / "own.py")
    assert first == measured("local/own", folder / "own.py")
    (folder / file).write_text("V = 2\n")
    second = measured("local/own", folder / "own.py")
    assert (first[0], second[0]) == (1.0, 2.0)
    assert first[1] != second[1]


@pytest.fixture
def package(folder: Path) -> Path:
    """Give an installed package whose entry point is a metric in a folder of it."""
    root = folder / "acme_own"
    (root / "inner").mkdir(parents=True)
    for name in ("__init__.py", "inner/__init__.py"):
        (root / name).write_text("")
    (root / "util.py").write_text("V = 1\n")
    info = folder / "acme_own-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-own\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[mecheval.metrics]\nacme = acme_own.inner.mine\n")
    return root


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("from acme_own.util import V", "V"),
        ("import acme_own.util", "acme_own.util.V"),
        ("from acme_own import util", "util.V"),
        ("from ..util import V", "V"),
    ],
)
def test_the_package_of_an_entry_point_is_used_anew(package: Path, line: str, value: str) -> None:
    written(package / "inner" / "mine.py", line, value=value)
    first = measured("acme/own")
    (package / "util.py").write_text("V = 2\n")
    second = measured("acme/own")
    assert (first[0], second[0]) == (1.0, 2.0)
    assert first[1] != second[1]


def test_a_file_of_a_package_that_is_included_knows_its_package(package: Path) -> None:
    file = package / "inner" / "mine.py"
    written(file, "from acme_own.util import V")
    first = measured("local/own", file)
    (package / "util.py").write_text("V = 2\n")
    second = measured("local/own", file)
    assert (first[0], second[0]) == (1.0, 2.0)
    assert first[1] != second[1]


def test_nothing_else_is_followed(package: Path) -> None:
    for name in ("mecheval", "others"):  # what is beside a package is not of it
        (package.parent / f"{name}.py").write_text("")
    mine = package / "inner" / "mine.py"
    mine.write_text("import os, numpy, others, helper_abs, mecheval\nfrom acme_own import util\n")
    names = {package / "__init__.py", package / "util.py", mine}
    assert sources(mine, "acme_own.inner.mine") == names
    beside = package.parent / "file.py"
    beside.write_text("import os, numpy, mecheval\nfrom mecheval.metrics import Metric\n")
    assert sources(beside) == {beside}
    installed = package.parent / "site-packages" / "single.py"
    installed.parent.mkdir()
    installed.write_text("import other\n")
    (installed.parent / "other.py").write_text("")
    assert sources(installed, "single") == {installed}


def test_a_helper_that_appears_is_a_change(folder: Path) -> None:
    written(folder / "own.py", "try:\n    from helper_new import V\nexcept ImportError:\n    V = 0")
    first = measured("local/own", folder / "own.py")
    (folder / "helper_new.py").write_text("V = 3\n")
    second = measured("local/own", folder / "own.py")
    assert (first[0], second[0]) == (0.0, 3.0)
    assert first[1] != second[1]


def test_what_others_imported_stays_where_nothing_changed(package: Path) -> None:
    """A class that a script has imported is the registered one."""
    written(package / "inner" / "mine.py", "from acme_own.util import V")
    from acme_own.inner.mine import Own  # type: ignore[import-not-found]

    assert Registry().load("metric", "acme/own") is Own


def test_an_edited_helper_of_a_task_is_another_cell(folder: Path) -> None:
    (folder / "toy.py").write_text(
        "from dataclasses import dataclass\nfrom helper_abs import V\n"
        "from mecheval.builtin.task_registry.parity import Parity\n"
        "from mecheval.tasks import task\n\n"
        '@task(name="toy", version=1, reference="none", mechanisms=())\n'
        "@dataclass(frozen=True, kw_only=True)\n"
        'class Toy(Parity):\n    """A task."""\n'
    )

    def key() -> str:
        request = Request(
            models=(Spec("lstm"),), tasks=(parse_spec("local/toy"),),
            settings=Settings(include_paths=(folder,)),
        )  # fmt: skip
        return plan(request)[0].key

    first = key()
    assert first == key()
    (folder / "helper_abs.py").write_text("V = 2\n")
    assert first != key()


def test_the_line_in_a_helper_is_named(folder: Path) -> None:
    (folder / "helper_abs.py").write_text("def f():\n    return 1 / 0\n")
    written(folder / "own.py", "from helper_abs import f\nV = 1")
    Registry((folder / "own.py",)).load("metric", "local/own")
    with pytest.raises(ZeroDivisionError) as caught:
        sys.modules["helper_abs"].f()
    assert (place_of(caught.value) or "").endswith("helper_abs.py:2")
