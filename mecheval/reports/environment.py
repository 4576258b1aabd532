"""What a report was made with: versions, hardware, threads, and switches of torch.

Nothing here changes from one run to the next on one machine, and nothing is taken from the current
directory.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import socket
import subprocess
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from mecheval.version import __version__

PACKAGES = (
    "accelerate", "causal-conv1d", "datasets", "evaluate", "flash-linear-attention", "jsonschema",
    "mamba-ssm", "matplotlib", "numpy", "pandas", "pydantic", "safetensors", "scipy",
    "statsmodels", "tokenizers", "torch", "transformers", "triton",
)  # fmt: skip
"""Distributions whose version a report gives, where they are installed."""

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
_ROOT = Path(__file__).parents[1]
_SOURCES = ("*.py", "*.json", "*.txt", "*.c", "*.h")


def environment() -> dict[str, Any]:
    """Describe this process's environment as JSON values."""
    return {
        "mecheval": package(),
        "python": platform.python_version(),
        "packages": packages(),
        "os": platform.platform(),
        "cpu": {"model": _cpu(), "cores": os.cpu_count()},
        "gpu": gpus(),
        "torch": _torch_switches(),
        "threads": _threads(),
        "hostname_hash": hashlib.sha256(socket.gethostname().encode()).hexdigest()[:16],
    }


@lru_cache(maxsize=1)
def package() -> dict[str, Any]:
    """Describe the mecheval that runs: its version, its files, and its commit if it has one."""
    found = {"version": __version__, "files_sha256": own_files_sha256()}
    return found | (commit_of(*source_folders(_ROOT)) or {})


@lru_cache(maxsize=1)
def own_files_sha256() -> str:
    """Hash the code of the package and of the registries."""
    return files_sha256(source_folders(_ROOT))


def source_folders(root: Path) -> list[Path]:
    """Return the folders that hold the code: the package, and the registries beside it."""
    if (root / "builtin" / "task_registry").is_dir():
        return [root]
    return [root, root.parent / "task_registry", root.parent / "model_registry"]


def files_sha256(folders: list[Path]) -> str:
    """Hash names and contents of the source files in folders, wherever these lie."""
    digest = hashlib.sha256()
    for folder in folders:
        files = {path for pattern in _SOURCES for path in folder.rglob(pattern)}
        for path in sorted(files, key=lambda path: path.relative_to(folder).as_posix()):
            digest.update(path.relative_to(folder).as_posix().encode() + b"\0")
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def commit_of(folder: Path, *others: Path) -> dict[str, Any] | None:
    """Return the commit of the git work tree that tracks a folder, and whether files were changed.

    A folder that merely lies inside a work tree, as site-packages of a project's virtual
    environment do, has no commit.
    """
    git = shutil.which("git")
    if git is None or not _git(git, folder, "ls-files", "--error-unmatch", "__init__.py"):
        return None
    commit = _git(git, folder, "rev-parse", "HEAD")
    if not commit:
        return None
    changes = _git(git, folder, "status", "--porcelain", "--", ".", *map(str, others))
    return {"commit": commit, "dirty": bool(changes)}


def _git(git: str, folder: Path, *args: str) -> str:
    """Return what git says, or an empty string where it refuses."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
    command = [git, "-C", str(folder), "--no-optional-locks", *args]
    done = subprocess.run(  # noqa: S603 - the arguments are our own
        command, capture_output=True, check=False, env=environment, text=True
    )
    return done.stdout.strip() if done.returncode == 0 else ""


def packages() -> dict[str, str]:
    """Return the versions of the packages that decide numbers, where they are installed."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def gpus() -> list[dict[str, Any]]:
    """Describe the CUDA devices that this process sees."""
    import torch

    if not torch.cuda.is_available():
        return []
    found = []
    for index in range(torch.cuda.device_count()):
        device = torch.cuda.get_device_properties(index)
        found.append(
            {
                "name": device.name,
                "capability": f"{device.major}.{device.minor}",
                "memory_bytes": device.total_memory,
                "cuda": torch.version.cuda,
            }
        )
    return found


def _torch_switches() -> dict[str, Any]:
    import torch

    return {
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "tf32_matmul": torch.get_float32_matmul_precision() != "highest",
        "tf32_cudnn": torch.backends.cudnn.allow_tf32,
        "cudnn_benchmark": torch.backends.cudnn.benchmark,
        "mkldnn": torch.backends.mkldnn.is_available(),
    }


def _threads() -> dict[str, Any]:
    import torch

    set_here = {name: os.environ[name] for name in THREAD_VARIABLES if name in os.environ}
    return {
        "torch": torch.get_num_threads(),
        "interop": torch.get_num_interop_threads(),
        "environment": set_here,
    }


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
