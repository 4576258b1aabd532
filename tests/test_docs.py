"""The commands of CONTRIBUTING.md are executed, in a folder that holds nothing else."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from urllib.parse import unquote

import pytest
import torch

from mecheval.cli import COMMANDS, build_parser, main, options

ROOT = Path(__file__).parents[1]
CONTRIBUTING = ROOT / "CONTRIBUTING.md"
DOCUMENTS = (CONTRIBUTING, ROOT / "README.md", *ROOT.glob("*_registry/README.md"),
             ROOT / "leaderboards" / "README.md", *(ROOT / "docs").rglob("*.md"))  # fmt: skip
SECTIONS = ("Add a task", "Add a model", "Add a metric", "Submit a result")


def fenced(text: str) -> list[str]:
    """Return the lines of the shell blocks of a text."""
    blocks = re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return [line for block in blocks for line in block.splitlines()]


def section(title: str) -> str:
    return CONTRIBUTING.read_text().partition(f"## {title}\n")[2].partition("\n## ")[0]


@pytest.mark.parametrize("title", SECTIONS)
def test_the_recipe_works(title: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    lines = fenced(section(title))
    assert len(lines) == 4
    for line in lines:
        program, *arguments = shlex.split(line)
        assert {"mecheval": main, "pytest": run_pytest}[program](arguments) == 0, line
    if title == "Submit a result":
        board = json.loads(Path("leaderboards/tables/leaderboard.json").read_text())
        assert board["refused"] == []
        assert board["tables"][0]["rows"][0]["seeds"] == [0, 1]
        page = Path("leaderboards/tables/report.md").read_text()
        pictures = re.findall(r"\]\((\S+\.png)\)", page)
        assert len(pictures) >= 3
        assert all(Path("leaderboards/tables", unquote(name)).exists() for name in pictures)


def run_pytest(arguments: list[str]) -> int:
    """Run pytest in this process, which has imported torch; ``sys.path`` stays as it is."""
    return pytest.main(["-p", "no:cacheprovider", "--import-mode=importlib", *arguments])


def test_every_recipe_is_executed() -> None:
    titles = re.findall(r"^## (.*)$", CONTRIBUTING.read_text(), re.MULTILINE)
    assert [title for title in titles if fenced(section(title))] == list(SECTIONS)


def mentioned(text: str) -> list[list[str]]:
    """Return the words of every command that a document names, in code."""
    code = re.findall(r"`(mecheval [^`\n]+)`", text)
    code += re.findall(r"^(?: {4}|\$ )?(mecheval [a-z].*)$", text, re.MULTILINE)
    return [line.split() for line in code]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_commands_and_flags_that_are_mentioned_exist(path: Path) -> None:
    for _, command, *words in mentioned(path.read_text()):
        assert command in COMMANDS, command
        parser = build_parser([command])
        known = options.chosen_command(parser, [command, *words])[0].flags
        flags = {word.partition("=")[0] for word in words if re.match(r"--?[a-zA-Z]", word)}
        assert flags <= set(known), f"{command}: {flags - set(known)}"


def test_the_example_with_a_module_in_memory_runs(capsys: pytest.CaptureFixture[str]) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```", (ROOT / "README.md").read_text(), re.M | re.S)
    (example,) = [block for block in blocks if "MambaForCausalLM" in block]
    exec(compile(example, "README.md", "exec"), scope := {})
    assert capsys.readouterr().out.strip() == example.rpartition("  # ")[2].strip()
    assert (scope["report"].status, scope["grid"].patched.shape) == ("success", (1, 2, 5, 1))
    assert scope["found"]["backbone.layers.0.mixer"].shape == (1, 5, 32)
    assert not torch.allclose(scope["logits_BTC"], scope["model"](scope["other_BT"]))


def test_links_lead_somewhere() -> None:
    for path in DOCUMENTS:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", path.read_text()):
            assert (path.parent / target).exists(), f"{path.name}: {target}"


def test_the_readme_can_be_read_in_one_sitting() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 200
