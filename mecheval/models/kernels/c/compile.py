"""The C kernels of this folder, compiled for the machine at hand on first use.

They need a C compiler and nothing else. Without one, or where the cache folder cannot be written,
:func:`library` has no functions and says why; callers then take plain torch.

They run on the threads of torch: those of another pool would get no core, because torch's wait for
their next task awake. So they are not linked with an OpenMP library, but find the one that torch
has loaded. Where it has none with gcc's names, they run on one thread.
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
import torch

from mecheval.paths import expanded

SOURCES = Path(__file__).parent
_FLAGS = ("-O3", "-fPIC")
_TUNINGS = (  # some clangs refuse -march=native, some know no OpenMP
    ("-march=native", "-fopenmp"),
    ("-march=native",),
    ("-fopenmp",),
    (),
)
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

    One was made for it if the CPU, torch, ``$CC`` and the flags of the compiler are the same.
    """
    try:
        path = _path()
        functions = _loaded(path) or _compile(path)
        threads = "" if functions.kernels_are_threaded() else ", on one thread: no OpenMP"
        return Library(functions, f"{path}{threads}")
    except (OSError, subprocess.SubprocessError) as error:
        return Library(None, f"no C kernels: {error}")


def _loaded(path: Path) -> ctypes.CDLL | None:
    """Load what lies in the cache, unless it is broken or torch has other threads by now."""
    try:
        return ctypes.CDLL(str(path)) if path.exists() else None
    except OSError:
        return None


def _path() -> Path:
    given = os.environ.get("MECHEVAL_CACHE")
    cache = expanded(Path(given)) if given else platformdirs.user_cache_path("mecheval")
    build = (os.environ.get("CC", ""), _FLAGS, _TUNINGS)
    content = hashlib.sha256(f"{_cpu()} {torch.__version__} {_threads()} {build}".encode())
    for source in sorted([*SOURCES.glob("*.c"), *SOURCES.glob("*.h")]):
        content.update(source.read_bytes())
    return cache / "kernels" / f"{content.hexdigest()[:20]}.so"


def _threads() -> str:
    """Describe the threads of torch, without their number."""
    lines = torch.__config__.parallel_info().splitlines()
    return "".join(line for line in lines if line.startswith(("OpenMP", "ATen parallel backend")))


def _cpu() -> str:
    """Describe the CPU well enough that code for one never runs on another."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return f"{platform.machine()} {platform.processor()}"
    kinds = ("model name", "flags", "Features", "CPU part")
    return platform.machine() + "".join(sorted({line for line in lines if line.startswith(kinds)}))


def _compile(path: Path) -> ctypes.CDLL:
    """Compile into a file of this process, load, and rename: many processes may do so at once.

    Raises:
        OSError: There is no compiler, or the folder cannot be written.
        SubprocessError: The compiler failed, or what it made cannot be loaded.
    """
    compiler = shlex.split(os.environ.get("CC", "")) or [_find_compiler()]
    if os.sep in compiler[0]:
        compiler[0] = str(Path(compiler[0]).absolute())  # it is run in another folder
    path.parent.mkdir(parents=True, exist_ok=True)
    files = sorted(str(source) for source in SOURCES.glob("*.c"))
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".building-") as folder:
        built, problem = Path(folder, path.name), ""
        for tuning in _TUNINGS:
            compiling = [*compiler, *_FLAGS, *tuning, "-c", *files]
            problem = _failure(compiling, folder)
            if problem is None:
                objects = [Path(file).with_suffix(".o").name for file in files]
                problem = _failure([*compiler, "-shared", "-o", built.name, *objects], folder)
            if problem is not None:
                continue
            try:
                loaded = ctypes.CDLL(str(built))
            except OSError as error:  # torch has another OpenMP than this compiler, or none
                problem = str(error)
                continue
            built.replace(path)
            return loaded
    raise subprocess.SubprocessError(f"{compiler[0]} failed: {problem}")


def _failure(command: list[str], folder: str) -> str | None:
    """Run a compiler in a folder; return the end of what it says if it fails."""
    done = subprocess.run(  # noqa: S603
        command, cwd=folder, capture_output=True, timeout=_SECONDS, check=False
    )
    if done.returncode == 0:
        return None
    return done.stderr.decode(errors="replace").strip()[-300:]


def _find_compiler() -> str:
    for name in ("cc", "gcc", "clang"):
        found = shutil.which(name)
        if found:
            return found
    raise FileNotFoundError("there is no C compiler (cc, gcc or clang)")
