"""Where a cell's report lies, and how it is written and read.

The path is a pure function of the cell. A report is written beside its place and moved there, so
that a reader sees the whole of it or nothing.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from pydantic import BaseModel

from mecheval import paths
from mecheval.errors import StorageError, UsageError
from mecheval.reports import json_text
from mecheval.reports.canonical import digest_of, normalised, sha256_of
from mecheval.reports.checkpoints import checkpoint_id
from mecheval.reports.json_files import read_bytes
from mecheval.reports.pair import PairIdentity, PairReport
from mecheval.reports.reading import read_either as read_either
from mecheval.reports.reading import read_pair as read_pair
from mecheval.reports.reading import read_report as read_report
from mecheval.reports.schema import Identity, Labels, ModelPart, Report, TaskIdentity

PAIRS = "pairs"
"""The folder of the reports of pairs, among those of the models."""

SUBMISSIONS = ".submissions"
"""The folder of what went to a cluster, among the reports."""

STALE = ".stale-"
TEMPORARY = ".tmp"
_PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")
_UNSAFE = re.compile(r"[^A-Za-z0-9._]+")
_SCHEMAS = re.compile(rb'"schema": ?"mecheval\.(\w+)/')
_BEGINNING = re.compile(rb'\s*\{\s*"schema": ?"mecheval\.report/')
_HEAD = 64
_REPORTS = {"report", "pair"}
_LONGEST = 100

Stored = TypeVar("Stored", bound=Report | PairReport)

_ADDED = ("sweep", "snapshots", "at_loss")
"""Fields of an identity that are hashed only where they are set: older keys stay what they are."""


def cell_key(identity: Identity) -> str:
    """Return the SHA-256 of the canonical JSON of everything that decides a cell's numbers."""
    fields = identity.model_dump(mode="json")
    if checkpoint_id(identity.model):
        del fields["model"]["name"]  # a folder may be moved, or called as another one
    return sha256_of(_set(fields))


def pair_key(identity: PairIdentity) -> str:
    """Return the SHA-256 of the canonical JSON of everything that decides a pair's numbers."""
    return sha256_of(_set(identity.model_dump(mode="json")))


def _set(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out the fields of an identity that came later and are not set."""
    metrics = [
        {key: value for key, value in metric.items() if key != "file_sha256" or value is not None}
        for metric in fields["metrics"]
    ]
    asked = {key: value for key, value in fields.items() if key not in _ADDED or value is not None}
    return {**asked, "metrics": metrics}


def report_path(root: Path, identity: Identity, labels: Labels | None = None) -> Path:
    """Return ``ROOT/{model}/{task}@{version}/seed{n}.json``.

    Args:
        root: The output folder.
        identity: The cell's identity.
        labels: What differs from the defaults; appended as ``+key=value,key=value``.
    """
    return place_of(root, identity.model, identity.task, identity.seed, labels or Labels())


def place_of(root: Path, model: ModelPart, task: TaskIdentity, seed: int, labels: Labels) -> Path:
    """Return where the report of a model on a task lies; see :func:`report_path`."""
    revision = f"@{slug(model.revision)}" if model.revision else ""
    found = checkpoint_id(model)
    name = f"hf@{found}" if found else slug(model.name) + revision
    return (
        root
        / (name + _suffix(labels.model))
        / (f"{slug(task.name)}@{task.version}" + _suffix(labels.task))
        / f"seed{seed}{_suffix(labels.run)}.json"
    )


def pair_path(a: Path, b: Path, root: Path, key: str) -> Path:
    """Return ``ROOT/pairs/{task}/{model a}~{model b}/seed{i}~seed{j}-{key}.json``.

    Of two tasks that differ in the tokens of one text both are named.

    Args:
        a: Where the report of one cell lies; see :func:`report_path`.
        b: Where that of the other one does.
        root: The output folder.
        key: The key of the pair, which tells those apart that differ in what the names leave out.
    """
    models = _fitting(f"{a.parts[-3]}~{b.parts[-3]}")
    seeds = "~".join(path.stem.partition("+")[0] for path in (a, b))
    tasks = a.parts[-2] if a.parts[-2] == b.parts[-2] else _fitting(f"{a.parts[-2]}~{b.parts[-2]}")
    return root / PAIRS / tasks / models / f"{seeds}-{key[:8]}.json"


def slug(name: str) -> str:
    """Return a readable folder name for a registered name or an ``hf:`` path.

    ``local/toy`` becomes ``local--toy``; a name that this does not determine gets a short hash.
    """
    readable = name.replace("/", "--")
    if _PLAIN.fullmatch(readable) and "--" not in name and len(readable) <= _LONGEST:
        return readable
    return _UNSAFE.sub("-", name).strip("-.")[-60:] + "-" + _short_hash(name)


def _suffix(label: Mapping[str, Any]) -> str:
    pairs = (f"{key}={_readable(label[key])}" for key in sorted(label))
    return _fitting("".join(f"{'+' if not i else ','}{pair}" for i, pair in enumerate(pairs)))


def _fitting(text: str) -> str:
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "-" + _short_hash(text)


def _readable(value: Any) -> str:
    if isinstance(value, list | tuple):
        return "~".join(map(_readable, value))
    text = str(value).lower() if isinstance(value, bool) else str(normalised(value))
    return quote(text, safe="+@")


def _short_hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def find_reports(root: Path) -> list[Path]:
    """Return the reports of cells in a folder and the folders in it, or the one file that is given.

    Files of a folder that say that they are something else, such as the tables of a leaderboard or
    a pair, are left out; those that cannot be read or say nothing are not, so that none is lost in
    silence.

    Raises:
        UsageError: There is no such file or folder.
    """
    return [path for path, kinds in _files(root) if not kinds or "report" in kinds]


def find_pairs(root: Path) -> list[Path]:
    """Return the reports of pairs in a folder and the folders in it, or the file that is given.

    Raises:
        UsageError: There is no such file or folder.
    """
    found = _files(root)
    return [path for path, kinds in found if path == root or kinds & _REPORTS == {"pair"}]


def _files(root: Path) -> Iterator[tuple[Path, set[str]]]:
    """Yield the JSON files of a folder, in order, with the kinds of documents that they say to be.

    Of the one file that is given nothing is asked.

    Raises:
        UsageError: There is no such file or folder.
    """
    root = Path(root)
    if not paths.exists(root):
        raise UsageError(
            f"There is no file or folder {root}. Give a report or a folder of reports."
        )
    if not root.is_dir():
        yield root, set()
        return
    for path in sorted(root.rglob("*.json")):
        hidden = any(part.startswith(".") for part in path.relative_to(root).parts)
        if STALE not in path.name and not hidden and not paths.is_dir(path):
            yield path, _kinds(path)


def _kinds(path: Path) -> set[str]:
    """Return which schemas of ours a file has: report, pair, leaderboard; without parsing it.

    What begins as the report of a cell is one, whatever else it holds.
    """
    try:
        if path.is_file():
            with path.open("rb") as file:
                if _BEGINNING.match(file.read(_HEAD)):
                    return {"report"}
        data = read_bytes(path)
    except OSError:
        return set()
    return {match[1].decode() for match in _SCHEMAS.finditer(data)}


def temporary_of(path: Path, key: str) -> Path:
    """Return where a report is written, each time elsewhere: two may write it without locks."""
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}.{key[:16]}{TEMPORARY}")


def dumps(report: Report | PairReport) -> str:
    """Return a report as JSON, what matters first: fields as the schema orders them, no NaN.

    Equal reports give the same text; free mappings, such as parameters, are sorted.
    """
    return json_text.dumps(_ordered(report, report.model_dump(mode="json", by_alias=True))) + "\n"


def _ordered(value: Any, written: Any) -> Any:
    """Sort the keys of what is written, except where a record's fields have their own order."""
    if isinstance(value, BaseModel):
        names = {field.alias or name: name for name, field in type(value).model_fields.items()}
        return {key: _ordered(getattr(value, name), written[key]) for key, name in names.items()}
    if isinstance(value, Mapping):
        return {key: _ordered(value[key], written[key]) for key in sorted(written)}
    if isinstance(value, list | tuple):
        return [_ordered(*pair) for pair in zip(value, written, strict=True)]
    return written


def sealed(report: Stored) -> Stored:
    """Return the report with the digest of its values."""
    content = report.model_dump(mode="json", by_alias=True)
    return report.model_copy(update={"digest": digest_of(content)})


def as_stored(report: Stored) -> Stored:
    """Return the report as it would be read back: numbers rounded, tuples as lists, its digest."""
    return type(report).model_validate_json(dumps(sealed(report)))


def write_report(report: Report | PairReport, path: Path) -> None:
    """Write a report so that its path never holds half of it, also after a loss of power.

    It gets the digest of its values unless it has one: what was read and is written again keeps
    the one that it had. A report of another cell that lies there is set aside as
    ``seed0.stale-<key8>.json``; so is one that was changed or cannot be read.

    Raises:
        StorageError: The report could not be written; nothing of it is left behind.
    """
    temporary = temporary_of(path, report.key)
    text = dumps(report if report.digest else sealed(report))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            _set_aside(path, report)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
        _sync_folder(path.parent)
    except OSError as error:
        raise storage_error(path, error) from error


def _set_aside(path: Path, report: Report | PairReport) -> None:
    read = read_pair if isinstance(report, PairReport) else read_report
    try:
        other = read(path, verify=True).key
    except UsageError:
        other = "unreadable" if path.exists() else report.key
    if other != report.key:
        path.replace(path.with_name(f"{path.stem}{STALE}{other[:8]}.json"))


def _sync_folder(folder: Path) -> None:
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def storage_error(path: Path, error: OSError) -> StorageError:
    """Build the sentence for a report that could not be written."""
    advice = "Give another folder with --output."
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        advice = "Free some space there or give another folder with --output, then run again."
    return StorageError(f"The results could not be written to {path} ({error.strerror}). {advice}")
