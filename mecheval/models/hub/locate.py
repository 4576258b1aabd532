"""Finding a checkpoint on disk, and what tells it from every other one.

A checkpoint is the files that decide its weights or the code that runs. They are hashed by content,
and nothing else is put before transformers (see :mod:`.staging`), so that what is loaded is what
was hashed.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from mecheval.errors import UsageError
from mecheval.models.hub import contents, gguf
from mecheval.models.hub.contents import Wanted
from mecheval.models.hub.refusals import short
from mecheval.paths import is_dir, is_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

_DEEP = 2  # folders within folders that are looked into for a checkpoint


@dataclass(frozen=True)
class Located:
    """A checkpoint's files on this machine.

    Attributes:
        path: The directory or GGUF file that was asked for.
        revision: Branch, tag or commit under which it was found; None for a directory.
        commit: The hub's commit; for a directory a hash of all that is read beside the weights.
        weights: The weight files by name.
        others: What else is read, by name: configuration, tokenizer, own code that may run.
        adapter: Configuration and weights of the adapter that is merged, by name.
        base: The commit of the adapter's base model, where that lies elsewhere.
        runs_code: Whether the checkpoint's own Python code runs.
        name: The model's name, for messages.
    """

    path: Path
    revision: str | None
    commit: str
    weights: Mapping[str, Path]
    others: Mapping[str, Path] = field(default_factory=dict)
    adapter: Mapping[str, Path] = field(default_factory=dict)
    base: str | None = None
    runs_code: bool = False
    name: str = ""

    @property
    def files(self) -> tuple[str, ...]:
        """Return the names of the weight files, sorted."""
        return tuple(sorted(self.weights))

    @cached_property
    def weights_sha256(self) -> str:
        """Return the hash of the weight files' contents, one after the other.

        Of a merged adapter's too, and of the commit of a base model that lies elsewhere.
        """
        plain = sha256_of(self.weights[name] for name in self.files)
        if not self.adapter:
            return plain
        parts = (plain, self.base or "", self.adapter_sha256)
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    @property
    def adapter_sha256(self) -> str:
        """Return the hash of the adapter's files."""
        return sha256_of(self.adapter[name] for name in sorted(self.adapter))

    @property
    def gguf(self) -> str | None:
        """Return the name of the GGUF file that holds all; None for safetensors."""
        return next((name for name in self.weights if name.endswith(contents.GGUF)), None)

    @property
    def has_tokenizer(self) -> bool:
        """Return whether the checkpoint has a tokenizer's vocabulary."""
        if self.gguf is not None:
            return gguf.has_tokenizer(self.weights[self.gguf])
        return bool(contents.tokenizer_of(self.others))

    @cached_property
    def config(self) -> dict[str, Any]:
        """Return the contents of ``config.json``, or what a GGUF file says in its place."""
        if self.gguf is not None:
            return gguf.read_config(self.weights[self.gguf])
        return contents.read_json(self.others[contents.CONFIG])


def locate_directory(
    directory: Path, *, expected: str | None = None, wanted: Wanted | None = None
) -> Located:
    """Check a checkpoint on disk.

    Args:
        directory: Holds config.json, safetensors weights and, for text, a tokenizer; or a GGUF
            file, or an adapter. Or is a GGUF file.
        expected: The :attr:`Located.commit` that it had before.
        wanted: What is asked of it.

    Raises:
        UsageError: There is no such directory, or it is not complete, or it has changed.
    """
    wanted = wanted or Wanted()
    folder = directory
    if is_file(directory) and directory.name.endswith(contents.GGUF):
        folder, wanted = directory.parent, replace(wanted, gguf=directory.name)
    if not is_dir(folder):
        raise UsageError(f"There is no directory {directory}. Give hf: one that holds config.json.")
    located = located_in(folder, str(directory), f"hf:{directory}", wanted)
    located = replace(located, path=directory, commit=f"sha256:{_named_sha256(located)}")
    if expected not in (None, located.commit):
        raise UsageError(
            f"The directory {directory} is not at revision '{expected}': its files give "
            f"{located.commit}. A directory has no other revisions; leave out the part after @."
        )
    return located


def located_in(folder: Path, what: str, address: str, wanted: Wanted) -> Located:
    """Find what is asked for in a folder; revision and commit are left to those who know them.

    Args:
        folder: The folder.
        what: What it is, for messages.
        address: How it is written on the command line, for messages.
        wanted: What is asked for.

    Raises:
        UsageError: A file is missing or damaged, or something would be left out.
    """
    found = contents.find(names_in(folder), wanted, what=what, address=address)
    weights = _weights(folder, found.weights, what)
    if found.gguf:
        return Located(folder, None, "", weights, adapter=_adapter(folder, found))
    runs_code = wanted.code and contents.brings_code(folder)
    others = contents.others(folder, code=runs_code)
    if found.weights == contents.INDEX:
        others[contents.INDEX] = folder / contents.INDEX
    if found.has_base:
        contents.read_json(folder / contents.CONFIG)
    return Located(folder, None, "", weights, others, _adapter(folder, found), runs_code=runs_code)


def names_in(folder: Path) -> list[str]:
    """Return the names of a folder's files, and of those in its folders.

    Raises:
        UsageError: The folder cannot be read.
    """
    try:
        depth = len(folder.parts)
        return [
            file.relative_to(folder).as_posix()
            for pattern in ("*", "*/*")
            for file in folder.glob(pattern)
            if len(file.parts) - depth <= _DEEP and is_file(file)
        ]
    except OSError as error:
        raise UsageError(
            f"The directory {folder} cannot be read ({short(error)}). Give one that can."
        ) from None


def sha256_of(files: Iterable[Path]) -> str:
    """Hash the contents of files, one after the other."""
    digest = hashlib.sha256()
    for file in files:
        with file.open("rb") as opened:
            while chunk := opened.read(1 << 20):
                digest.update(chunk)
    return digest.hexdigest()


def _named_sha256(located: Located) -> str:
    """Hash what is read beside the weights: each file by its name and its content."""
    files = dict(located.others)
    if located.gguf is not None:
        files[located.gguf] = located.weights[located.gguf]
    if contents.ADAPTER in located.adapter:
        files[contents.ADAPTER] = located.adapter[contents.ADAPTER]
    named = "GGUF" if located.gguf is not None else None
    lines = [f"{named or name} {sha256_of([file])}" for name, file in sorted(files.items())]
    return hashlib.sha256("\n".join([*lines, located.base or ""]).encode()).hexdigest()


def _adapter(folder: Path, found: contents.Found) -> dict[str, Path]:
    if not found.adapter:
        return {}
    names = (contents.ADAPTER, contents.ADAPTER_WEIGHTS)
    _check_safetensors(folder / contents.ADAPTER_WEIGHTS)
    return {name: folder / name for name in names}


def _weights(folder: Path, name: str | None, what: str) -> dict[str, Path]:
    """Return the files that are loaded: one, or those of an index.

    Raises:
        UsageError: One is missing, truncated or damaged.
    """
    if name is None:
        return {}
    names = contents.shards(folder / name) if name == contents.INDEX else (name,)
    missing = [shard for shard in names if not is_file(folder / shard)]
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise UsageError(
            f"The checkpoint {what} lacks {missing[0]}{more}, which its index lists. "
            "Download it again."
        )
    for shard in names:
        _check(folder / shard)
    return {shard: folder / shard for shard in names}


def _check(file: Path) -> None:
    if file.name.endswith(contents.GGUF):
        _check_gguf(file)
    else:
        _check_safetensors(file)


def _check_gguf(file: Path) -> None:
    try:
        with file.open("rb") as opened:
            magic = opened.read(4)
    except OSError as error:
        magic = short(error).encode()
    if magic != b"GGUF":
        raise UsageError(f"The file {file} is no GGUF file, or damaged. Download it again.")


def _check_safetensors(file: Path) -> None:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, framework="pt"):
            pass
    except (SafetensorError, OSError) as error:
        raise UsageError(
            f"The weights {file} are truncated or damaged ({short(error)}). Download them again."
        ) from None
