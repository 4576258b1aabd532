"""``mecheval doctor``: what this installation has, lacks, and can do with families of models."""

from __future__ import annotations

import dataclasses
import importlib
import json
import os
import platform
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from mecheval.checks import Check, all_passed
from mecheval.cli import options
from mecheval.cli.printing import say
from mecheval.errors import UsageError
from mecheval.escape import line
from mecheval.paths import exists

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

OPTIONAL = {
    "mamba_ssm": "fused scans on CUDA: pip install 'mecheval[cuda]'",
    "causal_conv1d": "fused convolutions on CUDA: pip install 'mecheval[cuda]'",
    "fla": "fused linear attention on CUDA: pip install 'mecheval[cuda]'",
}
LITTLE_DISK = 2e9
HUB = "https://huggingface.co"
SECONDS = 3


def add(subparsers: argparse._SubParsersAction) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "doctor",
        help="check the installation",
        description="Check the installation: packages, devices, memory, disk, kernels, network. "
        "Exit code 1 if something that is needed is missing. With --families: build a tiny random "
        "model of every causal family of the installed transformers, and say which engine patches "
        "it, how exactly, and why no faster one. Exit code 1 if anything raises, is off, or is "
        "not as the table of --check says.",
    )
    options.add_output(
        parser, help="folder for reports whose disk is looked at; with --families, file of a table"
    )
    parser.add_argument(
        "--families", nargs="*", action="extend", metavar="FAMILY",
        help="measure these families of transformers, all if none is named",
    )  # fmt: skip
    parser.add_argument(
        "--check", type=options.path, metavar="FILE",
        help="with --families: say what is outdated in a table that --output wrote",
    )  # fmt: skip
    options.add_include_path(parser)
    options.add_json(parser, help="print one JSON object per finding")
    parser.set_defaults(command=doctor, output=None)


def doctor(args: argparse.Namespace) -> int:
    """Print one line per finding.

    Returns:
        0 if nothing that is needed is missing, 1 otherwise.

    Raises:
        UsageError: A family is unknown, or a flag goes with ``--families`` alone.
    """
    if args.families is not None:
        from mecheval.cli.doctor_families import measure

        return measure(args)
    if args.check is not None:
        raise UsageError("--check holds a table of families. Give --families as well.")
    findings = []
    for finding in _findings(args):
        findings.append(finding)
        if args.json:
            say(json.dumps(dataclasses.asdict(finding)))
        else:
            mark = {True: "ok", False: "FAILED", None: "--"}[finding.passed]
            say(line(f"{mark:6}  {finding.name:16}  {finding.detail}"))
    return 0 if all_passed(findings) else 1


def _findings(args: argparse.Namespace) -> Iterator[Check]:
    yield _installation()
    yield Check("python", True, f"{platform.python_version()} on {platform.platform()}")
    yield from _packages()
    yield from _devices()
    yield from _disks(args.output or Path("results"))
    yield from _kernels()
    yield _compiler()
    yield _network()
    yield from _registry(args)


def _installation() -> Check:
    import mecheval
    from mecheval.reports.environment import package

    found = package()
    commit = f", commit {found['commit'][:12]}" if "commit" in found else ""
    return Check(
        "mecheval", True, f"{found['version']} in {Path(mecheval.__file__).parent}{commit}"
    )


def _packages() -> Iterator[Check]:
    from importlib.metadata import PackageNotFoundError, requires, version

    from packaging.requirements import Requirement

    try:
        needed = [Requirement(text) for text in requires("mecheval") or []]
    except PackageNotFoundError:
        yield Check("packages", None, "mecheval is not installed here, so none are declared")
        return
    for requirement in needed:
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        try:
            found = version(requirement.name)
        except PackageNotFoundError:
            yield Check(requirement.name, False, f"is missing: pip install '{requirement}'")
            continue
        fits = requirement.specifier.contains(found, prereleases=True)
        wanted = "" if fits else f", needed is {requirement.specifier}"
        yield Check(requirement.name, fits, found + wanted)


def _devices() -> Iterator[Check]:
    from mecheval.reports.environment import gpus

    try:
        import torch
    except Exception as error:  # a broken installation can raise anything
        yield Check("torch", False, f"does not import ({type(error).__name__}: {error})")
        return
    yield Check("cpu", True, f"{os.cpu_count()} cores, {torch.get_num_threads()} torch threads")
    yield Check("memory", True, _memory())
    if not gpus():
        yield Check("gpu", None, "torch sees no CUDA device; all runs on the CPU")
    for index, gpu in enumerate(gpus()):
        free, total = torch.cuda.mem_get_info(index)
        yield Check(
            f"cuda:{index}",
            True,
            f"{gpu['name']}, {free / 1e9:.1f} GB free of {total / 1e9:.1f} GB",
        )


def _memory() -> str:
    pages = {"free": "SC_AVPHYS_PAGES", "in all": "SC_PHYS_PAGES"}
    sizes = {
        name: os.sysconf("SC_PAGE_SIZE") * os.sysconf(key) / 1e9
        for name, key in pages.items()
        if key in os.sysconf_names  # macOS does not say how much is free
    }
    return ", ".join(f"{size:.1f} GB {name}" for name, size in sizes.items())


def _disks(output: Path) -> Iterator[Check]:
    from mecheval.paths import cache_folder

    for name, folder in (("cache", cache_folder()), ("output", output)):
        there = folder.absolute()
        while not exists(there):
            there = there.parent
        if not (there.is_dir() and os.access(there, os.W_OK)):
            way_on = "set MECHEVAL_CACHE" if name == "cache" else "give another --output"
            yield Check(name, False, f"{folder} cannot be written; {way_on}")
            continue
        free = shutil.disk_usage(there).free
        little = ": too little for a few checkpoints" if free < LITTLE_DISK else ""
        yield Check(name, free >= LITTLE_DISK, f"{folder}, {free / 1e9:.1f} GB free{little}")


def _kernels() -> Iterator[Check]:
    from mecheval.models.kernels.c.compile import library

    compiled = library()
    detail = compiled.origin if compiled.functions else f"{compiled.origin}; plain torch is slower"
    yield Check("C kernels", True if compiled.functions else None, detail)
    for module, purpose in OPTIONAL.items():
        try:
            importlib.import_module(module)
        except ImportError:
            yield Check(module, None, f"not installed ({purpose})")
        except Exception as error:  # a kernel built for another torch raises what it likes
            yield Check(module, None, f"does not import ({type(error).__name__}: {error})")
        else:
            yield Check(module, True, "installed")


def _compiler() -> Check:
    found = {name: shutil.which(name) for name in ("cc", "gcc", "clang", "nvcc")}
    there = [path for path in found.values() if path]
    return Check("compiler", bool(there) or None, ", ".join(there) or "none (cc, gcc, clang, nvcc)")


def _network() -> Check:
    """Say whether the hub can be reached; all but pretrained checkpoints works without it."""
    import urllib.request

    if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE"):
        return Check("hub", None, "offline: HF_HUB_OFFLINE is set")
    address = os.environ.get("HF_ENDPOINT", HUB)
    request = urllib.request.Request(address, method="HEAD")  # noqa: S310 - the user's own setting
    try:
        urllib.request.urlopen(request, timeout=SECONDS).close()  # noqa: S310
    except (OSError, ValueError) as error:
        return Check("hub", None, f"{address} cannot be reached ({error}); use hf:DIRECTORY")
    return Check("hub", True, f"{address} can be reached")


def _registry(args: argparse.Namespace) -> Iterator[Check]:
    registry = options.registry_of(args)
    entries = [*registry.entries("task"), *registry.entries("model")]
    broken = [entry for entry in entries if entry.broken]
    yield Check("registry", True, f"{len(entries) - len(broken)} tasks and models")
    for entry in broken:
        yield Check(entry.name, False, f"{entry.kind} is broken: {entry.broken}")
