"""Names, flags and their variables: whatever is given, one sentence or what was asked for."""

from __future__ import annotations

import commands
import hostile
import pytest
from commands import fuzzed
from hypothesis import given
from hypothesis import strategies as st

from mecheval.cli import COMMANDS, build_parser

MODELS = [
    "gru", "lstm[layers=2]", "mamba[layers=2,width=64]", "mamba[eigenvalues=[-1,1]]", "gru@main",
    "transformer[positions=learned,context=64]",
    "hybrid[layers=2,pattern=mamba-attention,width=64]",
    "planted/lstm-parity", "hf:OWNER/NAME@main", "hf:'odd/a b[1]'[weights=random]",
]  # fmt: skip
TASKS = ["parity", "parity[max_length=32,noop_rate=0.25]", "dyck[k=3]", "ar[small]", "s3", "atr"]
METRICS = ["recovery", "recovery[components=[block_in,state]]", "bottleneck[eraser=class_mean]"]
RECIPES = ["lr=1e-3", "lr=1e-3,steps=500", "betas=[0.9,0.98]", "optimizer=muon,schedule=cosine"]
SWEEPS = ["lr=1e-3,3e-3 optimizer=adamw,muon", "lr=1e-3"]

model, task, metric, recipe, sweep = map(hostile.mostly, (MODELS, TASKS, METRICS, RECIPES, SWEEPS))
plain = hostile.mostly(["0", "1", "3", "0-3", "8"])


def flag(name: str, values: st.SearchStrategy[str]) -> st.SearchStrategy[list[str]]:
    return values.map(lambda value: [f"{name}={value}"])


LEADERBOARD = ("build", "check", "claims", "export", "page")

flags = st.lists(
    st.one_of(
        flag("--recipe", recipe), flag("--sweep", sweep), flag("--metrics", metric),
        flag("--seeds", plain), flag("--limit", plain), flag("--snapshots", plain),
        flag("--size", hostile.mostly(["tiny", "formal"])),
        flag("--dtype", hostile.mostly(["float64"])),
        flag("--batch-size", plain), flag("--threads", plain), flag("--ensemble", plain),
        flag("--device", hostile.mostly(["cpu", "auto"])),
        flag("--output", hostile.mostly(["out"])), flag("--include-path", hostile.mostly(["."])),
        st.sampled_from(["--json", "--quiet", "--no-json", "--overwrite"]).map(lambda f: [f]),
    ),
    max_size=3,
).map(lambda found: [word for words in found for word in words])  # fmt: skip


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """Let relative paths lead into a folder of the test's own."""
    monkeypatch.chdir(tmp_path)


@fuzzed(40)
@given(model, task, flags)
def test_a_run_that_is_planned(model: str, task: str, flags: list[str]) -> None:
    commands.run("run", f"--models={model}", f"--tasks={task}", *flags, "--dry-run")


@fuzzed(40)
@given(
    st.sampled_from([*COMMANDS, *(f"leaderboard {name}" for name in LEADERBOARD)]).map(str.split)
    | hostile.argument.map(lambda word: [word]),
    st.lists(
        hostile.argument | st.sampled_from(["tasks", "models", "sites", "report"]), max_size=3
    ),
)
def test_any_words(command: list[str], words: list[str]) -> None:
    if command[0] in ("selftest", "doctor") or (command[0] == "new" and len(words) > 1):
        words = ["--json=x", *words]  # without a mistake these take long, or write
    commands.run(*command, *words)


@fuzzed(40)
@given(st.sampled_from(["ls", "show", "run", "report", "leaderboard"]), st.data())
def test_any_flags(command: str, data: st.DataObject) -> None:
    parser = build_parser([command]).commands[command]
    parser = parser.commands.get("build", parser)
    words = [command, "build"] if command == "leaderboard" else [command]
    known = st.sampled_from([name for name in parser.flags if name not in ("-h", "--help")])
    spelled = known | known.flatmap(hostile.edited) | hostile.argument.map("--".__add__)
    for name in data.draw(st.lists(spelled, max_size=3)):
        words.append(name)
        words += [data.draw(hostile.argument)] if data.draw(st.booleans()) else []
    commands.run(*words, *(["--dry-run"] if command == "run" else []))


@fuzzed(20)
@given(
    st.dictionaries(
        st.sampled_from(["JOBS", "JSON", "QUIET", "SEEDS", "LIMIT", "INCLUDE_PATH", "SUITE",
                         "RECIPE", "OUTPUT", "CACHE", "DEVICE", "HELP", "VERSION"]),
        hostile.argument.filter(lambda word: not word.encode("utf-8", "replace").count(b"\x00")),
        max_size=3,
    )
)  # fmt: skip
def test_variables_of_the_environment(variables: dict[str, str]) -> None:
    environment = {
        f"MECHEVAL_{name}": value.encode("utf-8", "replace").decode()
        for name, value in variables.items()
    }
    words = [] if "SUITE" in variables else ["-m", "gru", "-t", "parity"]
    commands.run("run", *words, "--dry-run", environment=environment)


NAMES = {"task": TASKS, "model": MODELS, "metric": METRICS, "suite": ["demo"], "report": ["x"]}


@fuzzed(25)
@given(st.sampled_from(sorted(NAMES)), st.data())
def test_what_is_shown(kind: str, data: st.DataObject) -> None:
    name = data.draw(hostile.mostly(NAMES[kind]))
    commands.run("show", kind, f"x{name}" if name.startswith("-") else name)
