"""Finding a checkpoint: a directory, or a repository of the Hugging Face hub and its local cache.

Only safetensors weights are read. Nothing is retried: without a network the answer comes at once.
"""

from __future__ import annotations

import hashlib
import json
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mecheval.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
TIMEOUT = 10  # seconds for the hub's answer
_WEIGHTS = (WEIGHTS, INDEX, "model-*-of-*.safetensors")
_CODE = ("*.py",)
_CONFIGURATION = ("config.json", "generation_config.json")
_TOKENIZER = (
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
    "vocab.json", "vocab.txt", "merges.txt", "tokenizer.model", "spiece.model", "vocab.model",
)  # fmt: skip


class Unavailable(UsageError):  # noqa: N818 - reads as a sentence where it is raised
    """A revision is not there, cannot be reached, or holds no safetensors weights."""


@dataclass(frozen=True)
class Located:
    """A checkpoint's files on this machine.

    Attributes:
        path: The directory that holds them.
        revision: Branch, tag or commit under which they were found; None for a directory.
        commit: The hub's commit; for a directory a hash of its configuration and tokenizer.
        files: Names of the weight files, sorted.
    """

    path: Path
    revision: str | None
    commit: str
    files: tuple[str, ...]

    @cached_property
    def weights_sha256(self) -> str:
        """Return the hash of the weight files' contents, one after the other."""
        return _sha256([self.path / name for name in self.files])

    @property
    def has_tokenizer(self) -> bool:
        """Return whether the checkpoint has a tokenizer's vocabulary."""
        names = {"tokenizer.json", "vocab.json", "vocab.txt", "tokenizer.model", "spiece.model"}
        return any((self.path / name).is_file() for name in names)

    @cached_property
    def config(self) -> dict[str, Any]:
        """Return the contents of ``config.json``."""
        return _read_json(self.path / "config.json")


def locate_directory(
    directory: Path, *, expected: str | None = None, weights: bool = True
) -> Located:
    """Check a checkpoint on disk.

    Args:
        directory: Holds config.json, safetensors weights and, for text, a tokenizer.
        expected: The :attr:`Located.commit` that the directory had before.
        weights: Whether its weights are wanted.

    Raises:
        UsageError: There is no such directory, or it is not complete, or it has changed.
    """
    if not directory.is_dir():
        raise UsageError(f"There is no directory {directory}. Give hf: one that holds config.json.")
    commit = _directory_commit(directory)
    if expected not in (None, commit):
        raise UsageError(
            f"The directory {directory} is not at revision '{expected}': its files give {commit}. "
            "A directory has no other revisions; leave out the part after @."
        )
    return _checked(directory, str(directory), None, commit, weights=weights)


def locate_repository(
    repo: str, revisions: Sequence[str], *, ways_on: str, code: bool = False, weights: bool = True
) -> Located:
    """Find a repository's files in the local cache, downloading them if need be.

    Args:
        repo: Name of the repository.
        revisions: Branches, tags or commits that hold the same weights; the first one that has
            safetensors is taken.
        ways_on: What to do when the hub cannot be reached; ends the message.
        code: Whether the checkpoint's own Python files are wanted.
        weights: Whether its weights are wanted.

    Raises:
        UsageError: The checkpoint is not there, cannot be reached, or is not complete.
    """
    wanted = [*_CONFIGURATION, *_TOKENIZER]
    wanted += [*(_WEIGHTS if weights else ()), *(_CODE if code else ())]
    refusals: list[Unavailable] = []
    unreachable = ""
    for revision in revisions:
        try:
            if not unreachable:  # it was not a moment ago, and asking can take a while
                unreachable = _ask(repo, revision, weights=weights)
            path = _downloaded(repo, revision, wanted, unreachable=unreachable)
            what = f"{repo} at revision {revision}"
            return _checked(path, what, revision, path.name, weights=weights)
        except Unavailable as error:
            refusals.append(error)
    raise UsageError(f"{refusals[0]} {ways_on}" if unreachable else str(refusals[0]))


def _downloaded(repo: str, revision: str, wanted: Sequence[str], *, unreachable: str) -> Path:
    """Return the folder of a snapshot, named by its commit; from the cache alone if it must be."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        with _bars_on_a_terminal():
            path = snapshot_download(
                repo,
                revision=revision,
                allow_patterns=list(wanted),
                local_files_only=bool(unreachable),
            )
    except LocalEntryNotFoundError as error:
        raise Unavailable(
            f"The checkpoint '{repo}' at revision '{revision}' is not in the local cache, and the "
            f"Hugging Face hub cannot be reached ({unreachable or _short(error)})."
        ) from None
    except Exception as error:  # whatever the transport raises
        raise UsageError(
            f"The download of '{repo}' broke off ({_short(error)}). Run the same command again: "
            "it goes on where it stopped."
        ) from None
    return Path(path)


@contextmanager
def _bars_on_a_terminal() -> Iterator[None]:
    """Let the hub show its progress where somebody can watch it, and nowhere else."""
    from huggingface_hub.utils import (
        are_progress_bars_disabled,
        disable_progress_bars,
        enable_progress_bars,
    )

    if sys.stderr.isatty() or are_progress_bars_disabled():
        yield
        return
    disable_progress_bars()
    try:
        yield
    finally:
        enable_progress_bars()


def _ask(repo: str, revision: str, *, weights: bool) -> str:
    """Ask the hub about a revision; return why it cannot be reached, or an empty string.

    Raises:
        UsageError: The hub says that the repository does not exist.
        Unavailable: The hub says so of the revision, or it has no safetensors weights.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import (
        HFValidationError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    try:
        info = HfApi().model_info(repo, revision=revision, timeout=TIMEOUT)
    except RevisionNotFoundError:
        raise Unavailable(
            f"The repository '{repo}' has no revision '{revision}'. Give a branch, tag or commit "
            f"that https://huggingface.co/{repo} lists."
        ) from None
    except (RepositoryNotFoundError, HFValidationError):
        raise UsageError(
            f"There is no directory '{repo}' and no public repository of that name. Check it; for "
            "a private repository set HF_TOKEN."
        ) from None
    except OfflineModeIsEnabled:
        return "HF_HUB_OFFLINE is set"
    except Exception as error:  # whatever the transport raises
        return _short(error)
    names = [sibling.rfilename for sibling in info.siblings or ()]
    if weights and WEIGHTS not in names and INDEX not in names:
        raise _no_weights(f"{repo} at revision {revision}", names)
    return ""


def _checked(path: Path, what: str, revision: str | None, commit: str, *, weights: bool) -> Located:
    """Check that a checkpoint is complete and its weights can be read.

    Raises:
        UsageError: A file is missing or damaged.
    """
    if not (path / "config.json").is_file():
        raise UsageError(
            f"The checkpoint {what} has no config.json. Give a directory in the format that "
            "transformers' save_pretrained writes."
        )
    _read_json(path / "config.json")
    files = _weight_files(path, what) if weights else ()
    for name in files:
        _check_weights(path / name)
    return Located(path, revision, commit, files)


def _weight_files(path: Path, what: str) -> tuple[str, ...]:
    """Return the names of the files that transformers loads: one, or those of the index."""
    if (path / WEIGHTS).is_file():
        return (WEIGHTS,)
    if (path / INDEX).is_file():
        return tuple(sorted(set(_read_json(path / INDEX).get("weight_map", {}).values())))
    raise _no_weights(what, [file.name for file in path.iterdir()])


def _check_weights(file: Path) -> None:
    from safetensors import SafetensorError, safe_open

    if not file.is_file():
        raise UsageError(
            f"The checkpoint {file.parent} lacks {file.name}, which its index lists. "
            "Download it again."
        )
    try:
        with safe_open(file, framework="pt"):
            pass
    except (SafetensorError, OSError) as error:
        raise UsageError(
            f"The weights {file} are truncated or damaged ({_short(error)}). Download them again."
        ) from None


def _no_weights(what: str, names: Sequence[str]) -> Unavailable:
    pickled = [name for name in names if name.endswith((".bin", ".pt", ".pth")) and "/" not in name]
    only = f", only {', '.join(sorted(pickled))}" if pickled else ""
    return Unavailable(
        f"The checkpoint {what} has no {WEIGHTS}{only}; pickled weights are never read. Choose "
        "another revision, or convert it with transformers' save_pretrained and give hf:DIRECTORY."
    )


def _directory_commit(directory: Path) -> str:
    names = [*_CONFIGURATION, *_TOKENIZER, *(file.name for file in directory.glob("*.py"))]
    present = sorted(directory / name for name in names if (directory / name).is_file())
    return f"sha256:{_sha256(present)}"


def _sha256(files: Sequence[Path]) -> str:
    digest = hashlib.sha256()
    for file in files:
        with file.open("rb") as opened:
            while chunk := opened.read(1 << 20):
                digest.update(chunk)
    return digest.hexdigest()


def _read_json(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(
            f"The file {file} is damaged ({_short(error)}). Download it again."
        ) from None
    if not isinstance(content, dict):
        raise UsageError(f"The file {file} holds no JSON object. Download it again.")
    return content


def _short(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"[:200].rstrip(": ")
