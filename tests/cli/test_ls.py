"""``mecheval ls``: fast because it imports nothing heavy, and broken entries stay visible."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import mecheval
from mecheval.cli import main

HEAVY = ("torch", "transformers", "sklearn", "matplotlib", "datasets", "evaluate", "scipy")
ROOT = Path(mecheval.__file__).parents[1]
TASK = '''
from dataclasses import dataclass
from mecheval.tasks import Metric, task
from mecheval.tasks.words import GroupWords

@task(name="flip", version=3, reference="none", mechanisms=(Metric("recovery"),))
@dataclass(frozen=True, kw_only=True)
class Flip(GroupWords):
    """A task of one file."""
'''


def listed(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[dict[str, object]]:
    assert main(["ls", *arguments, "--json"]) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


@pytest.mark.parametrize(
    "arguments",
    [
        ["ls", "tasks"], ["ls", "models"], ["ls", "metrics"], ["ls", "tasks", "--json"], ["--help"],
        ["ls", "--help"], ["show", "--help"], ["validate", "--help"], ["report", "--help"],
        ["leaderboard", "build", "--help"], ["new", "--help"], ["doctor", "--help"],
        ["run", "--help"], ["--version"], ["ls", "taks"],
    ],
)  # fmt: skip
def test_nothing_heavy_is_imported(arguments: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "mecheval", *arguments],
        capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == (2 if "taks" in arguments else 0)
    times = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in times}
    assert "mecheval" in imported
    assert not imported & set(HEAVY)


def test_tasks(capsys: pytest.CaptureFixture[str]) -> None:
    rows = {row["name"]: row for row in listed(capsys, "tasks")}
    assert {"dyck", "parity", "s3", "z6"} <= set(rows)
    assert rows["dyck"]["version"] == 1
    assert rows["dyck"]["from"] == "built in"
    assert rows["dyck"]["status"] == "ok"


def test_models_and_metrics(capsys: pytest.CaptureFixture[str]) -> None:
    models = {row["name"] for row in listed(capsys, "models")}
    assert {"transformer", "mamba", "lstm", "gru", "pythia-160m"} <= models
    metrics = listed(capsys, "metrics")
    families = {row["family"] for row in metrics}
    further = {"circuit", "feature", "representation"}
    assert families == {"behaviour", "intervention", "probe", "bottleneck", *further}
    assert {row["name"]: row["scope"] for row in metrics}["circuit_similarity"] == "pair"
    assert {row["scope"] for row in metrics} == {"model", "pair"}


def test_text_lines_up(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ls", "tasks"]) == 0
    head, *lines = capsys.readouterr().out.splitlines()
    column = head.index("VERSION")
    assert all(line[column] == "1" for line in lines)


@pytest.mark.parametrize(
    ("filters", "names"),
    [
        (["name=pythia-1*"], {"pythia-160m", "pythia-1.4b"}),
        (["name=pythia*", "summary=*24 layers*"], {"pythia-410m", "pythia-1.4b"}),
        (["name=pythia"], set()),
        (["name=g.u"], set()),
    ],
)
def test_filters(capsys: pytest.CaptureFixture[str], filters: list[str], names: set[str]) -> None:
    flags = [word for text in filters for word in ("--filter", text)]
    assert {row["name"] for row in listed(capsys, "models", *flags)} == names


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["tasks", "--filter", "nam=x"], "Unknown column 'nam'. Did you mean 'name'?"),
        (["tasks", "--filter", "dyck"], "Malformed filter 'dyck'"),
        (["sites"], "`mecheval ls sites` takes a model"),
        (["tasks", "dyck"], "`mecheval ls tasks` takes no name"),
        (["sites", "grau"], "Unknown model 'grau'. Did you mean 'gru'?"),
        (["everything"], "Unknown choice 'everything'. See `mecheval ls"),
    ],
)
def test_wrong_use_is_one_sentence(
    capsys: pytest.CaptureFixture[str], arguments: list[str], sentence: str
) -> None:
    assert main(["ls", *arguments]) == 2
    err = capsys.readouterr().err
    assert sentence in err
    assert err.count("\n") == 1


def test_broken_files_are_visible_rows(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "flip.py").write_text(TASK)
    (tmp_path / "typo.py").write_text("def f(:\n")
    rows = {row["name"]: row for row in listed(capsys, "tasks", "-I", str(tmp_path))}
    assert rows["local/flip"]["from"] == "local"
    assert rows["local/typo"]["status"] == "broken"
    assert str(rows["local/typo"]["summary"]).startswith("broken: ")
    assert "typo.py" in str(rows["local/typo"]["summary"])


def test_sites(capsys: pytest.CaptureFixture[str]) -> None:
    rows = listed(capsys, "sites", "transformer[layers=2,width=16]")
    assert [row["site"] for row in rows if row["layer"] == 1] == [
        "L1.block_in", "L1.mixer_in", "L1.write", "L1.state", "L1.cache", "L1.q", "L1.k", "L1.v",
        "L1.z", "L1.mixer_out", "L1.mlp_out", "L1.block_out",
    ]  # fmt: skip
    assert {row["shape"] for row in rows if row["side"] != "memory"} == {"(B, T, 16)"}
    assert {row["shape"] for row in rows if row["component"] == "write"} == {
        "k (B, T, 4, 4) v (B, T, 4, 4)"
    }


def test_a_component_that_holds_something_else_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    for model, shape in (
        ("rwkv7", "token-shift mixtures r k v w a g (B, T, 96)"),
        ("deltanet", "(B, T, 48)"),
    ):
        rows = listed(capsys, "sites", f"{model}[layers=1,width=16]")
        assert [row["shape"] for row in rows if row["component"] == "conv_out"] == [shape]


def test_sites_of_a_checkpoint_need_no_weights(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    config = {
        "model_type": "gpt_neox", "hidden_size": 16, "num_hidden_layers": 2, "vocab_size": 64,
        "num_attention_heads": 2, "intermediate_size": 32, "max_position_embeddings": 64,
    }  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps(config))
    rows = listed(capsys, "sites", f"hf:{tmp_path}")
    assert rows[0]["path"] == "gpt_neox.layers.0"
    assert {row["layer"] for row in rows} == {0, 1}
