"""A hash of what decides a grid's numbers: every bit of tensors, and all fields of what holds them.

Sums would not do: they do not see a permutation, and hardly a sign.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence, Set
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from mecheval.own_code.importing import source_of
from mecheval.reports.environment import own_files_sha256

if TYPE_CHECKING:
    from collections.abc import Callable

PACKAGES = ("torch", "transformers")
"""Packages whose code computes what a model returns."""

SETTINGS = (bool, int, float, str, torch.dtype)
"""Types of a module's attributes that can decide what it computes."""


def content_sha256(*values: Any) -> str:
    """Return a hash of plain values, tensors, arrays, modules, and objects that hold such."""
    digest = hashlib.sha256()
    for value in values:
        _feed(digest.update, value)
    return digest.hexdigest()


def code_of(module: nn.Module) -> dict[str, str | None]:
    """Return what tells the code that runs a module: versions of packages, hashes of files.

    A class that was typed into a notebook has no file: its edits show in its weights alone.
    """
    found: dict[str, str | None] = {name: _version(name) for name in PACKAGES}
    found["mecheval"] = own_files_sha256()
    for name in {type(part).__module__ for part in module.modules()}:
        if name.partition(".")[0] not in (*PACKAGES, "mecheval"):
            found[name] = source_of(name)
    return found


def _feed(take: Callable[[bytes], None], value: Any) -> None:
    """Hand over a value's kind and content, so that no two values hand over the same."""
    take(f"<{type(value).__module__}.{type(value).__qualname__}".encode())
    if isinstance(value, nn.Module):
        _feed_module(take, value)
    elif isinstance(value, Tensor):
        take(f"{value.dtype} {tuple(value.shape)} {value.device.type} ".encode())
        bits = value.detach().cpu().contiguous().flatten().view(torch.uint8)
        take(bits.numpy())  # pyright: ignore[reportArgumentType] - anything with a buffer
    elif isinstance(value, np.ndarray) and value.dtype != object:
        take(f"{value.dtype} {value.shape} ".encode())
        take(np.ascontiguousarray(value).tobytes())
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        _feed(take, {field.name: getattr(value, field.name) for field in dataclasses.fields(value)})
    elif isinstance(value, Mapping):
        for key, item in sorted(value.items(), key=lambda pair: repr(pair[0])):
            _feed(take, key)
            _feed(take, item)
    elif isinstance(value, Sequence | Set) and not isinstance(value, str | bytes | bytearray):
        for item in value if isinstance(value, Sequence) else sorted(value, key=repr):
            _feed(take, item)
    elif hasattr(value, "__dict__") and not isinstance(value, type) and not callable(value):
        _feed(take, vars(value))
    else:
        take(repr(value).encode())
    take(b">")


def _feed_module(take: Callable[[bytes], None], module: nn.Module) -> None:
    """Hand over classes, settings, parameters and all buffers, those of no checkpoint as well."""
    for name, part in module.named_modules():
        settings = {key: value for key, value in vars(part).items() if isinstance(value, SETTINGS)}
        described = getattr(getattr(part, "config", None), "to_dict", dict)()
        take(f"{name} {type(part).__module__}.{type(part).__qualname__} {described}".encode())
        _feed(take, settings)
    for name, tensor in (*module.named_parameters(), *module.named_buffers()):
        take(name.encode())
        _feed(take, tensor.data)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "none"
