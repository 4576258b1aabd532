"""``mecheval new``: what it writes passes as it is, and nothing is overwritten.

That the tests it writes pass, and that what it writes can be run, is tested with CONTRIBUTING.md.
"""

from pathlib import Path

import pytest

from mecheval.cli import main
from mecheval.cli.new import TEMPLATES


@pytest.mark.parametrize("kind", ["task", "model", "metric"])
def test_what_is_written_keeps_its_contract(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["new", kind, "my_own", "-o", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    command = f"mecheval validate local/my_own --include-path {tmp_path / 'my_own.py'}"
    assert command in out
    assert f"pytest {tmp_path / 'test_my_own.py'}" in out
    assert main(command.split()[1:]) == 0


@pytest.mark.parametrize("existing", ["mine.py", "test_mine.py"])
def test_nothing_is_overwritten(
    tmp_path: Path, existing: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / existing).write_text("precious")
    assert main(["new", "task", "mine", "-o", str(tmp_path)]) == 2
    assert f"There already is a file {tmp_path / existing}" in capsys.readouterr().err
    assert [path.read_text() for path in tmp_path.iterdir()] == ["precious"]


@pytest.mark.parametrize("name", ["My", "my-task", "1st", "class", "a/b", ""])
def test_names_that_are_none(tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["new", "task", name, "-o", str(tmp_path)]) == 2
    assert "cannot name a Python file" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written_is_exit_3(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("in the way")
    assert main(["new", "task", "mine", "-o", str(tmp_path / "file")]) == 3
    assert "could not be written" in capsys.readouterr().err


def test_templates_fit_the_style() -> None:
    for path in TEMPLATES.glob("*.txt"):
        assert max(map(len, path.read_text().splitlines())) <= 100, path.name
