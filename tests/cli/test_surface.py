"""The command line as users' fingers know it: flags, spellings, twins, exit codes."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from mecheval.cli import COMMANDS, build_parser, main, options
from mecheval.cli.options import normalised, seeds, with_twins
from mecheval.errors import UsageError

if TYPE_CHECKING:
    import argparse

RUN_FLAGS = {
    "--allow-failures", "--batch-size", "--cache", "--device", "--dry-run", "--dtype",
    "--fail-fast", "--help", "--include-path", "--jobs", "--json", "--limit", "--metrics",
    "--model", "--models", "--no-allow-failures", "--no-dry-run", "--no-fail-fast", "--no-json",
    "--no-overwrite", "--no-quiet", "--no-trust-remote-code", "--output", "--overwrite",
    "--quiet", "--recipe", "--seed", "--seeds", "--size", "--suite", "--task", "--tasks",
    "--threads",
    "--trust-remote-code", "--sweep", "--snapshots", "--ensemble", "--shard", "--log-with",
    "--executor", "--executor-options", "-E", "--detach", "--no-detach",
    "-I", "-L", "-b", "-h", "-j", "-m", "-o", "-q", "-r", "-s", "-t",
}  # fmt: skip


def parser_of(*words: str) -> options.Parser:
    return options.chosen_command(build_parser([words[0]]), words)[0]


def parse(*argv: str, environment: dict[str, str] | None = None) -> argparse.Namespace:
    words = normalised(argv)
    parser = build_parser([words[0]])
    return parser.parse_args(with_twins(parser, words, environment or {}))


def test_the_flags_of_run_are_frozen():
    assert set(parser_of("run").flags) == RUN_FLAGS


def test_every_command_registers_itself():
    assert set(build_parser().commands) == set(COMMANDS)


def test_underscores_and_hyphens_are_the_same():
    args = parse("run", "-m", "a", "-t", "b", "--batch_size", "4", "--include_path=x_y")
    assert args.batch_size == 4
    assert [str(path) for path in args.include_path] == ["x_y"]


def test_commas_spaces_and_repeats_make_lists():
    args = parse("run", "--models", "a,b", "c[x=1,y=2]", "--model", "d", "-t", "e")
    assert options.names(args.models) == ["a", "b", "c[x=1,y=2]", "d"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [("0-3", [0, 1, 2, 3]), ("0,2", [0, 2]), ("7 1-2,1", [7, 1, 2]), ("5", [5])],
)
def test_seeds(text, expected):
    assert seeds(text) == expected


@pytest.mark.parametrize("text", ["3-1", "a", "-1", "1.5", "0-"])
def test_malformed_seeds(text):
    with pytest.raises(UsageError, match=r"Malformed seeds.*Write them like 0-3"):
        seeds(text)


def test_a_flag_can_be_set_in_the_environment():
    environment = {
        "MECHEVAL_JOBS": "3", "MECHEVAL_QUIET": "1", "MECHEVAL_JSON": "no",
        "MECHEVAL_MODELS": "a,b", "MECHEVAL_INCLUDE_PATH": "x:y", "MECHEVAL_TASKS": "c d",
    }  # fmt: skip
    args = parse("run", environment=environment)
    assert (args.jobs, args.quiet, args.json) == (3, True, False)
    assert options.names(args.models) == ["a", "b"]
    assert options.names(args.tasks) == ["c", "d"]
    assert [str(path) for path in args.include_path] == ["x", "y"]


@pytest.mark.parametrize("given", [["--jobs", "2"], ["--jobs=2"], ["-j", "2"], ["-j2"]])
def test_the_command_line_beats_the_environment(given):
    args = parse("run", "-m", "a", "-t", "b", *given, environment={"MECHEVAL_JOBS": "3"})
    assert args.jobs == 2


def test_a_switch_can_be_switched_off_again():
    args = parse("run", "-m", "a", "-t", "b", "--no-quiet", environment={"MECHEVAL_QUIET": "1"})
    assert args.quiet is False


@pytest.mark.parametrize(
    ("argv", "environment", "sentence"),
    [
        (["rnu"], {}, "Unknown command 'rnu'. Did you mean 'run'? See `mecheval --help`."),
        (["run", "-m", "a", "-t", "b", "--job", "2"], {}, "Unknown flag '--job'. Did you mean"),
        (["run", "-m", "a", "-t", "b", "--limits=2"], {}, "Did you mean '--limit'?"),
        (["run", "-m", "a"], {}, "--tasks names nothing"),
        (["run", "--suite", "demo", "-m", "a"], {}, "Leave out --models and --tasks"),
        (["run", "--suite", "dmeo"], {}, "Did you mean 'demo'"),
        (["run", "-m", "a", "-t", "b", "-j", "x"], {}, "invalid int value: 'x'"),
        (["run", "-m", "a", "-t", "b"], {"MECHEVAL_JOBS": "x"}, "invalid int value: 'x'"),
        (["run", "-m", "a", "-t", "b"], {"MECHEVAL_QUIET": "perhaps"}, "neither on nor off"),
        (["run", "-m", ",", "-t", "b"], {}, "--models names nothing"),
        (["run", "-m", "a", "-t", "b", "-j", "-1"], {}, "--jobs is -1; give a number"),
        (["run", "-m", "a", "-t", "b", "--threads", "0"], {}, "--threads is 0"),
        (["run", "-m", "lstm[layers=2", "-t", "b"], {}, "brackets or quotes do not match"),
        (["run", "-m", "a", "-t", "b", "--seeds", "x"], {}, "Malformed seeds 'x'"),
        (["run", "-m", "a", "-t", "b", "--recipe", "lr"], {}, "Malformed argument 'lr'"),
        (["run", "-m", "a", "-t", "b", "--device", "tpu"], {}, "Unknown device 'tpu'"),
    ],
)  # fmt: skip
def test_a_wrong_command_line_is_one_sentence_and_exit_2(
    argv, environment, sentence, capsys, monkeypatch
):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert main(argv) == 2
    printed = capsys.readouterr()
    assert sentence in printed.err
    assert printed.err.count("\n") == 1
    assert printed.out == ""


def test_version_and_help(capsys):
    from mecheval import __version__

    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"mecheval {__version__}\n"
    assert main([]) == 0
    assert main(["--help"]) == 0
    assert main(["run", "--help"]) == 0
    printed = capsys.readouterr().out
    assert all(text in printed for text in ("MECHEVAL_<FLAG>", *COMMANDS, "--models"))


def test_the_version_is_that_of_the_package():
    import tomllib
    from pathlib import Path

    import mecheval

    text = (Path(__file__).parents[2] / "pyproject.toml").read_text()
    assert tomllib.loads(text)["project"]["version"] == mecheval.__version__


@pytest.mark.parametrize("argv", [["--help"], ["ls"], ["ls", "tasks"], ["run", "--help"]])
def test_listing_and_help_import_nothing_heavy(argv):
    heavy = {
        "torch", "transformers", "sklearn", "matplotlib", "datasets", "evaluate", "rich", "pandas",
        "statsmodels",
    }  # fmt: skip
    code = (
        "import sys; from mecheval.cli import main; code = main(sys.argv[1:]); "
        f"print(sorted({heavy!r} & set(sys.modules)), file=sys.stderr); sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *argv], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[-1] == "[]"


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("argv", [["--help"], ["ls"], ["show", "task", "parity"]])
def test_a_closed_pipe_is_not_a_traceback(argv, unbuffered):
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "mecheval", *argv],
        stdout=writer, stderr=subprocess.PIPE, text=True, check=False,
        env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
    )  # fmt: skip
    os.close(writer)
    assert done.stderr == ""


def test_the_public_index_names_what_is_there():
    import mecheval

    assert set(dir(mecheval)) == set(mecheval.__all__)
    for name in mecheval.__all__:
        assert getattr(mecheval, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = mecheval.nothing
