"""Who gives a path where a name is wanted is told how paths are given."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mecheval.cli import main

if TYPE_CHECKING:
    from pathlib import Path

TASK = (
    '@task(name="toy", version=1)\nclass Toy: ...\n@task(name="toy_2", version=1)\nclass B: ...\n'
)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "my_task.py").write_text(TASK)
    (tmp_path / "odd [1]").mkdir()
    (tmp_path / "odd [1]" / "config.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("argv", "hint"),
    [
        (["-m", "lstm", "-t", "./mine/my_task.py"],
         "given with --include-path ./mine/my_task.py; then name it 'local/toy' or 'local/toy_2'."),
        (["-m", "./mine/my_task.py", "-t", "parity"],
         "given with --include-path ./mine/my_task.py; then name it local/NAME."),
        (["-m", "lstm", "-t", "./mine/none.py"], "There is no file './mine/none.py'"),
        (["-m", "mine", "-t", "parity"], "A checkpoint in a folder is written hf:mine."),
        (["-m", "'odd [1]'", "-t", "parity"], "A checkpoint in a folder is written hf:'odd [1]'."),
        (["-m", "EleutherAI/pythia-70m", "-t", "parity"],
         "A checkpoint of the hub is written hf:EleutherAI/pythia-70m."),
        (["-m", "hf:odd/a b", "-t", "parity"],
         "Unknown model 'b'. See `mecheval ls models`. If both are one path, write hf:'odd/a b'."),
        (["-m", "hf:mine/a[1]", "-t", "parity"],
         "There is no preset '1' of hf:mine/a. See `mecheval show model hf:mine/a`. Put a path"),
        (["-m", "hf:mine/a[1", "-t", "parity"], "Put a path with brackets, @, quotes"),
        (["-m", "hf:", "-t", "parity"], "Write hf:OWNER/NAME or hf:DIRECTORY."),
        (["-m", "local/mine", "-t", "parity"], "Names that begin with local/ are those of files"),
        (["-m", "planted/nothing", "-t", "parity"], "See `mecheval ls models`."),
        (["-m", "a" * 300, "-t", "parity"], "Unknown model 'aaa"),
        (["-m", "hf:" + "a" * 300, "-t", "parity"], "There is no directory 'aaa"),
        (["-m", "hf:/" + "a" * 5000, "-t", "parity"], "There is no directory /aaa"),
        (["-m", "lstm", "-t", "parity", "-I", "a" * 300], "There is no file or folder aaa"),
        (["-m", "lstm", "-t", "parity", "-I", "~nobody_of_this_name/x"], "~nobody_of_this_name/x"),
        (["--suite", "a" * 300 + ".toml"], "There is no file aaa"),
        (["-m", "lstm", "-t", "parity", "-o", "a" * 300], "could not be written to aaa"),
        (["-m", "lstm@" + "a" * 5000, "-t", "parity"], "has no revision 'aaa"),
    ],
)  # fmt: skip
def test_of_names(argv: list[str], hint: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", *argv, "-j", "1", "--device", "cpu"]) in (2, 3)
    err = capsys.readouterr().err
    assert hint in err
    assert err.count("\n") == 1
    assert len(err) < 450


@pytest.mark.parametrize(
    ("argv", "hint"),
    [
        (["validate", "mine/my_task.py"], "is source in Python, and no report. Give it with"),
        (["validate", "odd [1]"], "odd [1] holds a checkpoint. Write it hf:'odd [1]'."),
        (["validate", "mine"], "The folder mine holds no reports. Give one that does.\n"),
        (["validate", "a" * 300], "is neither a file or folder, nor a task"),
        (["show", "report", "a" * 300], "cannot be read (File name too long)"),
        (["show", "model", "mine"], "A checkpoint in a folder is written hf:mine."),
        (["leaderboard", "build", "a" * 300], "There is no file or folder aaa"),
        (["report", "a" * 300], "There is no file or folder aaa"),
        (["new", "task", "a" * 300], "Use lower-case letters, digits and _"),
        (["eval", "-m", "lstm"], "Unknown command 'eval'. Did you mean 'run'?"),
        (["lst"], "Did you mean 'ls'?"),
        (["frobnicate"], "Unknown command 'frobnicate'. See `mecheval --help`."),
        (["run", "--config", "x"], "Unknown flag '--config'. Did you mean '--suite'?"),
        (["run", "--epochs", "3"], "Did you mean '--recipe steps=N'?"),
        (["ls", "--config"], "Unknown flag '--config'. See"),
        (["run", "--ouptut", "x"], "Did you mean '--output'?"),
        (["run", "--frobnicate"], "Unknown flag '--frobnicate'. See"),
        (["ls", "x" * 5000], "xxx..."),
        (["ls", "metric"], "Unknown choice 'metric'. Did you mean 'metrics'? See `mecheval ls"),
        (["ls", "model"], "Did you mean 'models'?"),
        (["new", "taks", "x"], "Unknown choice 'taks'. Did you mean 'task'? See `mecheval new"),
        (
            ["leaderboard", "bild"],
            "Unknown command 'bild' of mecheval leaderboard. Did you mean "
            "'build'? See `mecheval leaderboard --help`.",
        ),
        (["show", "local/mine"], "Names that begin with local/ are those of files given with"),
        (["validate", "local/mine"], "Names that begin with local/ are those of files given with"),
        (["show", "nowhere/x.py"], "There is no file 'nowhere/x.py'; one that is there is given"),
        (["show", "EleutherAI/pythia-70m"], "of the hub is written hf:EleutherAI/pythia-70m."),
        (["show", ""], "A path is empty. Give a file or folder, or . for the working folder."),
        (["report", ""], "A path is empty."),
        (["leaderboard", "build", ""], "A path is empty."),
        (["validate", ""], "A path is empty."),
        (["run", "-m", "lstm", "-t", "parity", "-o", ""], "A path is empty."),
        (["show", "grau"], "Did you mean 'gru'?"),
        (["validate", "grau"], "Did you mean 'gru'?"),
    ],
)
def test_of_paths_commands_and_flags(
    argv: list[str], hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(argv) in (1, 2)
    err = capsys.readouterr().err
    assert hint in err
    assert err.count("\n") == 1
    assert len(err) < 700


NO_REPORTS = {
    "my_task.py": "is source in Python, and no report. Give it with --include-path {}, and",
    "suite.toml": "is a TOML file, as suites are, and no report. `mecheval show suite {}`",
    "page.md": "is a text for readers, and no report. Give the report, or the folder of reports",
    "table.csv": "is a table, and no report. Give the report",
    "picture.png": "is a picture, and no report. Give the report",
    "model.safetensors": "holds weights, and no report. The folder of a checkpoint is written hf:",
    "seed0.json": "is not whole JSON (",
    "noted": "is not whole JSON (",
}


@pytest.mark.parametrize("name", NO_REPORTS)
@pytest.mark.parametrize(
    "command",
    [["show", "report"], ["show", "folder"], ["report"], ["leaderboard", "build"],
     ["leaderboard", "claims", "retrieval-small"]],
)  # fmt: skip
def test_a_file_that_is_no_report_is_called_what_it_is(
    command: list[str], name: str, capsys: pytest.CaptureFixture[str], folder: Path
) -> None:
    path = folder / "mine" / name
    path.write_bytes(b"\xff{")
    assert main([*command, str(path)]) == 2
    err = capsys.readouterr().err
    assert NO_REPORTS[name].format(path) in err
    assert "elete" not in err, "nobody is told to delete what may be a file of their own"
    assert err.count("\n") == 1
    assert path.exists()


@pytest.mark.parametrize("name", [name for name in NO_REPORTS if name.endswith((".py", ".md"))])
def test_commands_that_find_out_what_a_file_is_say_the_same(
    name: str, capsys: pytest.CaptureFixture[str], folder: Path
) -> None:
    path = folder / "mine" / name
    path.write_text("# x")
    for command in ("show", "validate"):
        assert main([command, str(path)]) == 2
        assert NO_REPORTS[name].format(path) in capsys.readouterr().err


BROKEN = "@model(name='other'\nclass Other: ...\n"


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["show", "local/other"], "What this file declares is not known: "),
        (["show", "model", "local/other"], "What this file declares is not known: "),
        (["validate", "local/other"], "What this file declares is not known: "),
        (["run", "-t", "parity", "-m", "local/other"], "What this file declares is not known: "),
        (["show", "local/broken"], "mecheval: 'local/broken' cannot be used: "),
        (["validate", "local/broken"], "mecheval: 'local/broken' cannot be used: "),
    ],
)
def test_a_file_beside_that_cannot_be_read_is_named(
    command: list[str], said: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "mine" / "broken.py").write_text(BROKEN)
    assert main([*command, "-I", str(folder / "mine")]) == 2
    err = capsys.readouterr().err
    assert said in err
    assert f"{folder / 'mine' / 'broken.py'} cannot be read ('(' was never closed" in err
    assert err.count("\n") == 1
    # It says nothing of names elsewhere, and is no hindrance to what can be read.
    assert main(["show", "task", "local/toi", "-I", str(folder / "mine" / "my_task.py")]) == 2
    assert "cannot be read" not in capsys.readouterr().err


@pytest.mark.parametrize(
    "command",
    [["report"], ["leaderboard", "build"], ["run", "--suite"], ["new", "task"], ["ls", "-F"],
     ["show"], ["show", "model"], ["validate"], ["ls", "sites"],
     ["run", "-m", "lstm", "-t", "parity", "--device"]],
)  # fmt: skip
@pytest.mark.parametrize("name", ["x" * 5000, "hf:" + "x" * 5000, "hf:/" + "x" * 5000])
def test_what_is_too_long_to_read_is_cut(
    command: list[str], name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*command, name]) == 2
    err = capsys.readouterr().err
    assert "xxx...xxx" in err
    assert "x" * 81 not in err
    assert err.count("\n") == 1
