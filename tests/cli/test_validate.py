"""``mecheval validate``: reports, tasks and models; one line per check; exit codes."""

import json
from pathlib import Path

import pytest
from synthetic_reports import synthetic, write

from mecheval.cli import main

FAILING = '''
from dataclasses import dataclass
from mecheval.tasks import Metric, task
from mecheval.tasks.words import GroupWords
import numpy as np

@task(name="bad", version=1, reference="none", mechanisms=(Metric("recvery"),))
@dataclass(frozen=True, kw_only=True)
class Bad(GroupWords):
    """A task whose counterfactuals change nothing."""

    elements = ("0", "1")
    variables = {"bit": 2}
    product = np.array([[0, 1], [1, 0]])

    def read(self, state_BT):
        return {"bit": state_BT}

    def counterfactual(self, batch, rng):
        return batch
'''


def lines(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, list[str]]:
    code = main(["validate", *arguments])
    return code, capsys.readouterr().out.splitlines()


def test_a_task_that_keeps_the_contract(capsys: pytest.CaptureFixture[str]) -> None:
    code, printed = lines(capsys, "parity")
    assert code == 0
    assert "parity: BOS first and only there: ok (examples and pairs)" in printed
    assert printed[-1] == "All checks passed."


def test_a_task_that_does_not(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text(FAILING)
    code, printed = lines(capsys, "local/bad", "--include-path", str(tmp_path))
    assert code == 1
    failed = [line for line in printed if "FAILED" in line]
    assert any("metrics are registered: FAILED: Unknown metric 'recvery'" in x for x in failed)
    assert any("pairs: FAILED: ContractError: Task 'bad' yields too few" in x for x in failed)
    assert printed[-1] == f"{len(failed)} checks failed."


@pytest.fixture
def tiny(tmp_path: Path) -> str:
    """The name of a checkpoint's shape on disk, without its weights."""
    config = {
        "model_type": "gpt_neox", "hidden_size": 16, "num_hidden_layers": 2, "vocab_size": 64,
        "num_attention_heads": 2, "intermediate_size": 32, "max_position_embeddings": 64,
    }  # fmt: skip
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny" / "config.json").write_text(json.dumps(config))
    return f"hf:{tmp_path / 'tiny'}[weights=random]"


def test_a_model_of_our_own(capsys: pytest.CaptureFixture[str]) -> None:
    code, printed = lines(capsys, "gru[layers=1,width=8]")
    assert code == 0
    assert any("recurrent steps equal the parallel form: ok" in line for line in printed)


def test_a_checkpoint(capsys: pytest.CaptureFixture[str], tiny: str) -> None:
    code, printed = lines(capsys, tiny)
    assert code == 0
    assert any("a later token changes no earlier logit: ok" in line for line in printed)


def test_reports_and_folders(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    paths = write(tmp_path, synthetic(), synthetic("lstm"))
    assert lines(capsys, str(paths[0]))[0] == 0
    code, printed = lines(capsys, str(tmp_path))
    assert code == 0
    assert len({line.partition(": ")[0] for line in printed[:-1]}) == 2


def test_what_does_not_apply_is_said(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (path,) = write(tmp_path, synthetic())
    code, printed = lines(capsys, str(path.rename(tmp_path / "mine.json")))
    assert code == 0
    assert any("path fits the identity: not applicable: a file named" in line for line in printed)


def test_a_bad_report_is_exit_1(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (path,) = write(tmp_path, synthetic())
    path.write_text(path.read_text().replace('"seed": 0', '"seed": 1'))
    code, printed = lines(capsys, str(path), "--quiet")
    assert code == 1
    assert printed
    assert all("FAILED" in line for line in printed)


def test_json_owns_stdout(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (path,) = write(tmp_path, synthetic())
    code, printed = lines(capsys, str(path), "--json")
    assert code == 0
    assert {json.loads(line)["subject"] for line in printed} == {str(path)}
    assert all(json.loads(line)["passed"] for line in printed)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["dick"], "'dick' is neither a file or folder, nor a task, a model or a metric. Did"),
        (["parity", "nothing"], "'nothing' is neither"),
        (["parity[rate=1]"], "Unknown argument 'rate' of parity"),
        (["gru[layers=0]"], "needs layers and width of at least 1"),
        (["pythia-70m"], "pythia-70m[weights=random]"),
        (["empty"], "holds no reports"),
    ],
)
def test_what_cannot_be_checked_is_exit_2(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    arguments: list[str],
    sentence: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    assert main(["validate", *arguments]) == 2
    err = capsys.readouterr().err
    assert sentence in err
    assert err.count("\n") == 1


def test_a_folder_that_is_named_like_a_model_needs_its_path(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    write(tmp_path, synthetic())
    monkeypatch.chdir(tmp_path)
    assert "gru: reads the symbols of parity: ok" in lines(capsys, "gru")[1][0]
    assert lines(capsys, "./gru")[1][0].startswith("gru/parity@1/seed0.json")
