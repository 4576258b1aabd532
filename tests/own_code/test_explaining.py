"""What the surroundings lack is one sentence; a fault of this package is not hidden in one."""

from __future__ import annotations

import errno
import resource
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from mecheval.cli import main
from mecheval.harness import devices
from mecheval.own_code.explaining import explained

if TYPE_CHECKING:
    from pathlib import Path

CELL = ["run", "-m", "gru", "-t", "parity", "-j", "1"]
MAPPING = "libtorch_cpu.so: failed to map segment from shared object: Cannot allocate memory"


def chained(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "code", "sentence"),
    [
        (ImportError(MAPPING), 1, "There is too little memory (ImportError: libtorch_cpu.so"),
        (MemoryError(), 1, "There is too little memory (MemoryError). Free some"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), 1, "There is too little memory"),
        (chained(ImportError("numpy"), OSError(errno.ENOMEM, "no")), 1, "too little memory"),
        (ModuleNotFoundError("No module 'torch'", name="torch"), 2, "`mecheval doctor` lists"),
        (PermissionError(errno.EACCES, "Permission denied", "/x"), 2,
         "/x cannot be used (Permission denied)."),
        (OSError(errno.ENOSPC, "No space left on device"), 3, "(No space left on device)"),
        (OSError(errno.ENAMETOOLONG, "File name too long", "a" * 5000), 2, "(File name too long)"),
    ],
)  # fmt: skip
def test_the_command_line_says_it(
    error: Exception, code: int, sentence: str,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(devices, "find_devices", fail)
    assert main(CELL) == code
    err = capsys.readouterr().err
    assert sentence in err
    assert err.count("\n") == 1
    assert len(err) < 1020


@pytest.mark.parametrize(
    "error", [ValueError("ours"), ImportError("x", name="mecheval.x"), OSError()]
)
def test_what_a_user_cannot_mend_keeps_its_traceback(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert explained(error) is None

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(devices, "find_devices", fail)
    with pytest.raises(type(error)):
        main(CELL)


def limited(megabytes: int) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (megabytes << 20, megabytes << 20))


@pytest.mark.parametrize("megabytes", [60, 300])
def test_a_limit_of_memory_leaves_no_traceback(tmp_path: Path, megabytes: int) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mecheval", *CELL, "--device", "cpu", "-o", str(tmp_path)],
        capture_output=True, text=True, check=False, preexec_fn=lambda: limited(megabytes),
    )  # fmt: skip
    assert "Traceback" not in done.stderr
    assert done.returncode != 0


def test_a_worker_without_memory_is_heard(tmp_path: Path) -> None:
    """The process that plans has all it needs, and its worker has not."""
    code = (
        "import sys\n"
        "from resource import RLIMIT_AS, getrlimit, setrlimit\n"
        "from mecheval.cli import main\n"
        "from mecheval.harness import executor\n"
        "started, (soft, hard) = executor._started, getrlimit(RLIMIT_AS)\n"
        "def limited(environment):\n"
        "    setrlimit(RLIMIT_AS, (300 << 20, hard))\n"
        "    worker = started(environment)\n"
        "    setrlimit(RLIMIT_AS, (soft, hard))\n"
        "    return worker\n"
        "executor._started = limited\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *CELL, "--device", "cpu", "-o", str(tmp_path)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "Traceback" not in done.stderr, done.stderr
    assert done.returncode in (1, 2)
