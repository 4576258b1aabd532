"""The run for a machine with a GPU: how parts end, and that their options are ones that exist."""

import pytest
import torch

from benchmarks import dictionaries, gpu, grid, train

MAINS = {
    "benchmarks.grid": grid,
    "benchmarks.train": train,
    "benchmarks.dictionaries": dictionaries,
}


@pytest.mark.parametrize(
    ("code", "outcome"),
    [
        ("print('fine')", "well"),
        ("raise SystemExit(3)", "exit code 3"),
        ("import time; print('fine', flush=True); time.sleep(60)", "stopped after 1 s"),
    ],
)
def test_a_part_says_how_it_ended_and_keeps_what_it_printed(tmp_path, code, outcome):
    ended, seconds = gpu.run(gpu.Part("part", 1, ("-S", "-c", code)), tmp_path)
    assert ended == outcome
    assert seconds < 60
    assert ("fine" in (tmp_path / "part.txt").read_text()) == ("fine" in code)


def test_every_part_is_a_command_that_its_program_takes(monkeypatch):
    class ParsedError(Exception):
        """The options were taken."""

    def stop(*_: object) -> None:
        raise ParsedError

    for part in gpu.PARTS:
        module = MAINS.get(part.command[1])
        if module is None:
            assert part.command[:4] == ("-m", "pytest", "-m", "gpu")
            continue
        monkeypatch.setattr("sys.argv", ["benchmark", *part.command[2:]])
        # The first that each of them does with its options.
        monkeypatch.setattr(torch, "set_num_threads", stop)
        with pytest.raises(ParsedError):
            module.main()
    assert sum(part.seconds for part in gpu.PARTS) <= 600


def test_without_a_gpu_it_is_refused(monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit) as refused:
        gpu.main([])
    assert refused.value.code == 2
    assert "no GPU here" in capsys.readouterr().err


def test_unknown_parts_are_refused(capsys):
    with pytest.raises(SystemExit) as refused:
        gpu.main(["--parts", "tests,grid"])
    assert refused.value.code == 2
    assert "no part 'grid'" in capsys.readouterr().err
