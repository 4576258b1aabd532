"""The checkpoint cache: one folder per content key, written atomically.

``progress.safetensors`` holds a training under way; ``weights.safetensors`` a finished one, with
``recipe.json`` beside it, which says what the key is the hash of. ``snapshot-N.safetensors`` are
weights along the way.
"""

from __future__ import annotations

import hashlib
import json
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from mecheval import locking
from mecheval.cached_files import write_cached
from mecheval.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from torch import Tensor, nn
    from torch.optim import Optimizer

SNAPSHOT, SUFFIX = "snapshot-", ".safetensors"
WEIGHTS, PROGRESS, RECIPE = "weights.safetensors", "progress.safetensors", "recipe.json"


def content_key(content: Mapping[str, Any]) -> str:
    """Return the SHA-256 of the canonical JSON of everything that decides the weights."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def state_sha256(module: nn.Module) -> str:
    """Return a hash of a module's parameters and buffers: names, types, shapes and bits."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        flat = tensor.detach().cpu().contiguous().flatten().view(torch.uint8)
        digest.update(np.ascontiguousarray(flat.numpy()).data)
    return digest.hexdigest()


def tensors_of(model: nn.Module, optimizers: Sequence[Optimizer]) -> dict[str, Tensor]:
    """Return the state of a model and of its optimizers under one name each."""
    tensors = {f"model.{name}": value for name, value in model.state_dict().items()}
    for i, optimizer in enumerate(optimizers):
        for index, state in optimizer.state_dict()["state"].items():
            for name, value in state.items():
                tensors[f"optimizer.{i}.{index}.{name}"] = torch.as_tensor(value)
    return tensors


def restore(
    model: nn.Module, optimizers: Sequence[Optimizer], tensors: Mapping[str, Tensor]
) -> None:
    """Give a model and its optimizers the state that :func:`tensors_of` returned."""
    weights = {k.removeprefix("model."): v for k, v in tensors.items() if k.startswith("model.")}
    model.load_state_dict(weights)
    for i, optimizer in enumerate(optimizers):
        states: dict[int, dict[str, Tensor]] = {}
        for key, value in tensors.items():
            if key.startswith(f"optimizer.{i}."):
                _, _, index, name = key.split(".")
                states.setdefault(int(index), {})[name] = value
        groups = optimizer.state_dict()["param_groups"]
        optimizer.load_state_dict({"state": states, "param_groups": groups})


@dataclass(frozen=True)
class Checkpoint:
    """The cache folder of one training run."""

    folder: Path

    def save_progress(self, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
        """Replace the checkpoint of a training under way."""
        self._write(PROGRESS, _packed(tensors, state))

    def load_progress(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """Return the checkpoint of a training under way, None if there is none."""
        return _read(self.folder / PROGRESS)

    def save_finished(
        self, tensors: Mapping[str, Tensor], record: Mapping[str, Any], content: Mapping[str, Any]
    ) -> None:
        """Store the trained weights and the record of their training, and drop the progress."""
        text = json.dumps({**content, "training": record}, indent=1, sort_keys=True) + "\n"
        self._write(RECIPE, text.encode())
        self._write(WEIGHTS, _packed(tensors, record))
        (self.folder / PROGRESS).unlink(missing_ok=True)

    def load_finished(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """Return trained weights and the record of their training, None if there are none."""
        return _read(self.folder / WEIGHTS)

    def save_snapshot(
        self, number: int, tensors: Mapping[str, Tensor], state: Mapping[str, Any]
    ) -> None:
        """Store weights along a training."""
        self._write(f"{SNAPSHOT}{number}{SUFFIX}", _packed(tensors, state))

    def load_snapshot(self, number: int) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """Return weights along a training, None if there are none with this number."""
        return _read(self.folder / f"{SNAPSHOT}{number}{SUFFIX}")

    def drop_snapshot(self, number: int) -> None:
        """Remove weights along a training."""
        (self.folder / f"{SNAPSHOT}{number}{SUFFIX}").unlink(missing_ok=True)

    def snapshots(self) -> list[int]:
        """Return the numbers of the weights along a training."""
        paths = self.folder.glob(f"{SNAPSHOT}*{SUFFIX}")
        return sorted(int(path.name.removeprefix(SNAPSHOT).removesuffix(SUFFIX)) for path in paths)

    def _write(self, name: str, content: bytes) -> None:
        write_cached(self.folder / name, content)


@contextmanager
def cache_lock(cache: Path, key: str, *, wait: bool = True) -> Iterator[bool]:
    """Hold the lock of what a key stands for.

    Args:
        cache: The folder of the checkpoint cache.
        key: The key.
        wait: Whether to wait for another process that holds it.

    Yields:
        Whether it is held; always true with ``wait``, and where the file system has no locks.

    Raises:
        StorageError: Its file cannot be made.
    """
    path = cache / "locks" / f"{key}.lock"
    try:
        lock = locking.acquired(path, wait=wait)
    except OSError as error:
        raise StorageError(
            f"The cache folder {path.parent} cannot be written ({error.strerror}). "
            "Point MECHEVAL_CACHE at another folder."
        ) from error
    if lock is None:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()


def _packed(tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> bytes:
    # Tied weights share storage, which the format refuses; each name gets its own copy.
    copies = {name: t.detach().cpu().contiguous().clone() for name, t in tensors.items()}
    return save(copies, metadata={"state": json.dumps(state, sort_keys=True, allow_nan=False)})


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return tensors, json.loads(file.metadata()["state"])
    except FileNotFoundError:
        return None
    except (SafetensorError, KeyError, TypeError, ValueError):
        # Derived data that a failing disk spoilt: making it again loses nothing.
        path.unlink(missing_ok=True)
        return None
