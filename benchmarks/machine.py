"""Words for the machine and the options of a benchmark; imports nothing large."""

from __future__ import annotations

import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse


def describe(device: str = "cpu") -> dict[str, object]:
    """Return what a reader has to know about the machine and the versions."""
    torch = sys.modules.get("torch")
    found: dict[str, object] = {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
        "threads": torch.get_num_threads() if torch else None,
        "python": platform.python_version(),
        "torch": installed("torch"),
        "gpu": torch.cuda.get_device_name() if torch and device.startswith("cuda") else None,
    }
    return {name: value for name, value in found.items() if value is not None}


def installed(package: str) -> str | None:
    """Return the version of an installed package; None where there is none."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def print_options(options: argparse.Namespace, device: str = "cpu") -> None:
    """Print the options of a benchmark and the machine, one line each."""
    for title, named in (("Options", vars(options)), ("Machine", describe(device))):
        print(f"{title}: " + ", ".join(f"{name} {value}" for name, value in named.items()))
    print()


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
