"""The C kernels of this folder, compiled for the machine at hand on first use.

They need a C compiler and nothing else. Without one, or where the cache folder cannot be written,
:func:`library` has no functions and says why; callers then take plain torch.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import NamedTuple

import platformdirs

from mecheval.paths import expanded

SOURCES = Path(__file__).parent
_FLAGS = ("-O3", "-shared", "-fPIC")
_TUNINGS = (("-march=native",), ())  # some clangs refuse -march=native
_SECONDS = 120


class Library(NamedTuple):
    """The loaded kernels.

    Attributes:
        functions: The C functions; None where they could not be built.
        origin: The file that was loaded, or why there is none.
    """

    functions: ctypes.CDLL | None
    origin: str


@functools.cache
def library() -> Library:
    """Load the kernels, compiling them if the cache has none of these sources for this machine.

    One was made for it if the CPU, ``$CC`` and the flags of the compiler are the same.
    """
    try:
        path = _cached() or _compile(_path())
        return Library(ctypes.CDLL(str(path)), str(path))
    except (OSError, subprocess.SubprocessError) as error:
        return Library(None, f"no C kernels: {error}")


def _cached() -> Path | None:
    return _path() if _path().exists() else None


def _path() -> Path:
    given = os.environ.get("MECHEVAL_CACHE")
    cache = expanded(Path(given)) if given else platformdirs.user_cache_path("mecheval")
    build = (os.environ.get("CC", ""), _FLAGS, _TUNINGS)
    content = hashlib.sha256(f"{_cpu()} {build}".encode())
    for source in sorted([*SOURCES.glob("*.c"), *SOURCES.glob("*.h")]):
        content.update(source.read_bytes())
    return cache / "kernels" / f"{content.hexdigest()[:20]}.so"


def _cpu() -> str:
    """Describe the CPU well enough that code for one never runs on another."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return f"{platform.machine()} {platform.processor()}"
    kinds = ("model name", "flags", "Features", "CPU part")
    return platform.machine() + "".join(sorted({line for line in lines if line.startswith(kinds)}))


def _compile(path: Path) -> Path:
    """Compile into a file of this process, then rename: any number of processes may do so at once.

    Raises:
        OSError: There is no compiler, or the folder cannot be written.
        SubprocessError: The compiler failed.
    """
    compiler = shlex.split(os.environ.get("CC", "")) or [_find_compiler()]
    path.parent.mkdir(parents=True, exist_ok=True)
    files = [str(source) for source in sorted(SOURCES.glob("*.c"))]
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".building-") as folder:
        built, problem = Path(folder, path.name), ""
        for tuning in _TUNINGS:
            command = [*compiler, *_FLAGS, *tuning, "-o", str(built), *files]
            done = subprocess.run(command, capture_output=True, timeout=_SECONDS, check=False)  # noqa: S603
            if done.returncode == 0:
                built.replace(path)
                return path
            problem = done.stderr.decode(errors="replace").strip()[-300:]
    raise subprocess.SubprocessError(f"{compiler[0]} failed: {problem}")


def _find_compiler() -> str:
    for name in ("cc", "gcc", "clang"):
        found = shutil.which(name)
        if found:
            return found
    raise FileNotFoundError("there is no C compiler (cc, gcc or clang)")
