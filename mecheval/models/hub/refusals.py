"""What stands where a checkpoint was looked for, and the way on from there: one sentence each."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from mecheval.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Collection

_PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
_OF_TRAINERS = ("training_args", "optimizer", "scheduler", "rng_state")
_FOREIGN = (".h5", ".msgpack", ".onnx", ".npz", ".nemo", ".distcp", ".safetensors")
_TRAINER = re.compile(r"checkpoint-(\d+)/")


class Unavailable(UsageError):  # noqa: N818 - reads as a sentence where it is raised
    """A revision is not there, cannot be reached, or holds no weights that can be read."""


class Missing(Unavailable):
    """A file is not there, which may be because it was not downloaded."""


def no_config(names: Collection[str], *, what: str, address: str) -> Missing:
    """Say what a folder without ``config.json`` holds instead.

    Args:
        names: Its files, those in folders with the folder's name.
        what: What holds them.
        address: How it is written on the command line.
    """
    steps = sorted({int(match[1]) for name in names if (match := _TRAINER.match(name))})
    if steps:
        several = f"{len(steps)} checkpoints" if len(steps) > 1 else "a checkpoint"
        return Missing(
            f"{what} is the folder of a training, with {several} inside. Give one of them: "
            f"{address.removesuffix('/')}/checkpoint-{steps[-1]}."
        )
    inside = sorted({str(PurePosixPath(name).parent) for name in names if _is_config(name)})
    if inside:
        return Missing(
            f"{what} has no config.json, but {inside[0]} in it has one. Give "
            f"{address.removesuffix('/')}/{inside[0]}."
        )
    return Missing(
        f"The checkpoint {what} has no config.json. Give a directory in the format that "
        "transformers' save_pretrained writes."
    )


def no_weights(names: Collection[str], *, what: str) -> Missing:
    """Say what a checkpoint without safetensors has instead."""
    here = [name for name in names if "/" not in name and not name.startswith(_OF_TRAINERS)]
    pickled = sorted(name for name in here if name.endswith(_PICKLED))
    foreign = sorted(name for name in here if name.endswith(_FOREIGN))
    never = "; pickled weights are never read" if pickled or not foreign else ""
    only = f", only {', '.join((pickled or foreign)[:4])}" if pickled or foreign else ""
    return Missing(
        f"The checkpoint {what} has no model.safetensors{only}{never}. Choose another revision, or "
        "convert it with transformers' save_pretrained and give hf:DIRECTORY."
    )


def short(error: BaseException) -> str:
    """Return the kind of an error and the first line of what it says."""
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"[:200].rstrip(": ")


def _is_config(name: str) -> bool:
    return name.endswith("/config.json") and name.count("/") == 1
