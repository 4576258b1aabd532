"""``mecheval doctor``: what is there, what is missing, and what is missing for good reason."""

import functools
import json
from pathlib import Path

import pytest

from mecheval.cli import doctor, main
from mecheval.harness import families

MEASURED = functools.cache(families._family)


def findings(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, dict]]:
    code = main(["doctor", "--json", *arguments])
    printed = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    return code, {finding["name"]: finding for finding in printed}


def test_this_installation_works(capsys: pytest.CaptureFixture[str]) -> None:
    code, found = findings(capsys)
    assert code == 0
    assert {
        "mecheval",
        "python",
        "cpu",
        "memory",
        "cache",
        "output",
        "C kernels",
        "compiler",
    } <= set(found)
    assert found["hub"] == {
        "name": "hub", "passed": None, "detail": "offline: HF_HUB_OFFLINE is set"
    }  # fmt: skip
    assert found["mamba_ssm"]["detail"]
    assert found["registry"]["passed"] is True


def test_text_has_one_line_per_finding(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].startswith("ok      mecheval")
    assert all(line[:6].strip() in ("ok", "--") for line in printed)


def test_a_cache_that_cannot_be_written(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("MECHEVAL_CACHE", str(tmp_path / "file"))
    code, found = findings(capsys)
    assert code == 1
    assert found["cache"]["passed"] is False
    assert "set MECHEVAL_CACHE" in found["cache"]["detail"]


def test_an_output_that_cannot_be_written(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    code, found = findings(capsys, "--output", str(tmp_path / "file" / "results"))
    assert code == 1
    assert "give another --output" in found["output"]["detail"]


def test_a_broken_file_is_named(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "typo.py").write_text("def f(:\n")
    code, found = findings(capsys, "--include-path", str(tmp_path))
    assert code == 1
    assert found["local/typo"]["passed"] is False


def test_packages_are_held_against_what_is_declared(monkeypatch: pytest.MonkeyPatch) -> None:
    declared = ["numpy>=2.0", "torch>=999", "no-such-package>=1", "pytest>=1; extra == 'test'"]
    monkeypatch.setattr("importlib.metadata.requires", lambda name: declared)
    found = {check.name: check for check in doctor._packages()}
    assert set(found) == {"numpy", "torch", "no-such-package"}
    assert found["numpy"].passed is True
    assert found["torch"].passed is False
    assert found["torch"].detail.endswith("needed is >=999")
    assert found["no-such-package"].detail == "is missing: pip install 'no-such-package>=1'"


def test_an_unreachable_hub_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:1")
    finding = doctor._network()
    assert finding.passed is None
    assert "http://127.0.0.1:1 cannot be reached" in finding.detail


@pytest.fixture
def _measured_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measure each family at the first command alone."""
    monkeypatch.setattr(families, "_family", MEASURED)


@pytest.mark.usefixtures("_measured_once")
def test_families_are_measured_and_held_against_their_table(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    table = tmp_path / "FAMILIES.md"
    assert main(["doctor", "--families", "gpt2", "--output", str(tmp_path)]) == 0
    line, last = capsys.readouterr().out.splitlines()
    assert line.split()[:2] == ["tails", "gpt2"]
    assert last.startswith("1 families in ")
    assert main(["doctor", "--families", "gpt2", "--check", str(table)]) == 0
    table.write_text(table.read_text().replace("| tails |", "| hooks |"))
    capsys.readouterr()
    assert main(["doctor", "--families", "gpt2", "--check", str(table)]) == 1
    assert "gpt2: engine is 'tails' now, and not 'hooks'." in capsys.readouterr().out


@pytest.mark.usefixtures("_measured_once")
def test_families_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--families", "gpt2", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["name"] == "gpt2"
    assert found["measured"]["float64"]["engine"] == "tails"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--families", "gpt"], "Unknown family 'gpt'"),
        (["--check", "x.md"], "Give --families as well"),
        (["--families", "gpt2", "--check", "x.md"], "x.md is no table of families"),
    ],
)
def test_wrong_requests_for_families(
    capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    assert main(["doctor", *arguments]) == 2
    assert said in capsys.readouterr().err
