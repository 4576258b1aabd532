"""Installing packages into environments of a test's own, without a network."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Environment:
    """A virtual environment that sees this one's packages after its own."""

    folder: Path

    @classmethod
    def create(cls, folder: Path) -> Environment:
        venv.EnvBuilder(with_pip=False, symlinks=True).create(folder)
        made = cls(folder)
        # Named to sort last: what is installed here comes first on the path.
        (made.site_packages / "zz_parent.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
        return made

    @property
    def site_packages(self) -> Path:
        return next(self.folder.glob("lib/python3*/site-packages"))

    def install(self, *what: str) -> None:
        """Run pip for this environment; nothing is downloaded."""
        self._checked(
            sys.executable, "-m", "pip", "--python", str(self.folder / "bin" / "python"),
            "install", "--quiet", "--no-deps", "--no-index", "--no-build-isolation", *what,
        )  # fmt: skip

    def run(self, *command: str, cwd: Path) -> str:
        """Run a program of the environment and return what it prints."""
        return self._checked(str(self.folder / "bin" / command[0]), *command[1:], cwd=cwd)

    def _checked(self, *command: str, cwd: Path | None = None) -> str:
        inherited = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME")}
        environment = {**inherited, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
        done = subprocess.run(
            command, cwd=cwd, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
        return done.stdout
