"""What a checkpoint's files are: which of them are read, and one sentence for what is not."""

from __future__ import annotations

import fnmatch
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mecheval.errors import UsageError, did_you_mean
from mecheval.escape import quoted
from mecheval.models.hub.refusals import Missing, Unavailable, no_config, no_weights, short

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
ADAPTER = "adapter_config.json"
ADAPTER_WEIGHTS = "adapter_model.safetensors"
GGUF = ".gguf"

TOKENIZER = (
    "tokenizer.json", "tokenizer.*.json", "tokenizer_config.json", "special_tokens_map.json",
    "added_tokens.json", "vocab.json", "vocab.txt", "vocab.bpe", "merges.txt", "tokenizer.model",
    "tokenizer.model.v*", "spiece.model", "vocab.model", "sentencepiece.model",
    "sentencepiece.bpe.model", "source.spm", "target.spm", "tekken.json", "*.tiktoken",
)  # fmt: skip
_VOCABULARIES = (
    "tokenizer.json", "vocab.json", "vocab.txt", "tokenizer.model", "spiece.model", "tekken.json",
    "sentencepiece.model", "sentencepiece.bpe.model", "*.tiktoken",
)  # fmt: skip

CODE = ("*.py", "*.json", "*.txt", "*.model", "*.tiktoken")
"""What a checkpoint's own code may read beside it, and is downloaded with it."""

_NOT_FOR_CODE = (
    "*.safetensors", "*.bin", "*.pt", "*.pth", "*.ckpt", "*.h5", "*.msgpack", "*.onnx", "*.gguf",
    "*.md", "*.index.json", "generation_config.json", "adapter_*", "trainer_state.json",
    "checkpoint-*", "__pycache__/*", "*/__pycache__/*", "*.pyc", ".*", "*/.*",
)  # fmt: skip


@dataclass(frozen=True)
class Wanted:
    """What is asked of a checkpoint.

    Attributes:
        weights: Whether its weights are.
        code: Whether its own Python code may run.
        adapter: ``merged`` into the weights, ``ignored``, or ``none``: there must not be one.
        gguf: Name of the GGUF file that holds the weights; None for safetensors, or the only one.
    """

    weights: bool = True
    code: bool = False
    adapter: str = "none"
    gguf: str | None = None


@dataclass(frozen=True)
class Found:
    """What there is of what is asked for.

    Attributes:
        weights: The weight file, or the index of several; None where none is wanted or the
            adapter's base lies elsewhere.
        gguf: Whether that is a GGUF file, which holds configuration and tokenizer too.
        adapter: Whether an adapter is merged.
        has_base: Whether there is a configuration.
    """

    weights: str | None
    gguf: bool
    adapter: bool
    has_base: bool


def find(names: Collection[str], wanted: Wanted, *, what: str, address: str) -> Found:
    """Find what is asked for among the files of a checkpoint.

    Args:
        names: Their names, those in folders with the folder's.
        wanted: What is asked for.
        what: What holds them, for messages.
        address: How it is written on the command line, for messages.

    Raises:
        Unavailable: There are no weights that can be read, or something would be left out.
    """
    has_adapter = ADAPTER in names or ADAPTER_WEIGHTS in names
    if wanted.adapter == "merged" and not has_adapter:
        raise Unavailable(
            f"{what} has no adapter to merge: there is no {ADAPTER}. Leave out adapter=merged."
        )
    merged = has_adapter and wanted.adapter == "merged"
    if merged:
        _check_adapter(names, what)
    gguf = _gguf(names, wanted, what=what, address=address)
    has_base = gguf is not None or CONFIG in names
    if merged and not has_base:
        return Found(None, False, True, False)
    if has_adapter and (not has_base or (wanted.adapter == "none" and wanted.weights)):
        raise _adapter_refused(what, address, alone=not has_base)
    if gguf is not None:
        return Found(gguf, True, merged, True)
    if not has_base:
        raise no_config(names, what=what, address=address)
    weights = next((name for name in (WEIGHTS, INDEX) if name in names), None)
    if wanted.weights and weights is None:
        raise no_weights(names, what=what)
    return Found(weights if wanted.weights else None, False, merged, True)


def _check_adapter(names: Collection[str], what: str) -> None:
    for name in (ADAPTER, ADAPTER_WEIGHTS):
        if name not in names:
            raise Missing(
                f"The adapter of {what} has no {name}; pickled weights are never read. Save it "
                "again with peft's save_pretrained."
            )


def _adapter_refused(what: str, address: str, *, alone: bool) -> Unavailable:
    if alone:
        return Unavailable(
            f"{what} holds an adapter without its base model. Give {address}[adapter=merged] to "
            f"load the base that its {ADAPTER} names and merge it, or merge it yourself with "
            "peft's merge_and_unload and save_pretrained."
        )
    return Unavailable(
        f"{what} has an adapter beside its weights ({ADAPTER}). Say which model is meant: "
        f"{address}[adapter=merged] for the weights with it, {address}[adapter=ignored] for those "
        "without."
    )


def _gguf(names: Collection[str], wanted: Wanted, *, what: str, address: str) -> str | None:
    """Return the GGUF file to read, None if weights are read from safetensors."""
    known = sorted(name for name in names if name.endswith(GGUF))
    if wanted.gguf is not None:
        if wanted.gguf not in known:
            raise Unavailable(
                f"{what} has no file {quoted(wanted.gguf)}."
                f"{did_you_mean(wanted.gguf, known)} There is {', '.join(known) or 'no GGUF file'}."
            )
        return _whole(wanted.gguf)
    others = {WEIGHTS, INDEX} if wanted.weights else {CONFIG}
    if not known or ADAPTER in names or others & set(names):
        return None
    if len(known) > 1:
        listed = ", ".join(known[:8]) + (" ..." if len(known) > 8 else "")
        raise Unavailable(
            f"{what} holds {len(known)} GGUF files ({listed}). Say which one: "
            f"{address}[gguf={known[0]}]."
        )
    return _whole(known[0])


def _whole(name: str) -> str:
    if re.search(r"-\d+-of-\d+\.gguf$", name):
        raise Unavailable(
            f"The GGUF file {name} is one part of several, which transformers does not read. Merge "
            "them with llama.cpp's llama-gguf-split --merge."
        )
    return name


def others(folder: Path, *, code: bool) -> dict[str, Path]:
    """Return what is read of a folder beside weights: configuration, tokenizer, own code.

    Args:
        folder: The folder.
        code: Whether own code runs, which may read any file beside it.
    """
    names = (CONFIG, *TOKENIZER)
    found = {
        file.name: file
        for file in folder.iterdir()
        if any(fnmatch.fnmatchcase(file.name, name) for name in names) and file.is_file()
    }
    if code:
        for file in sorted(folder.rglob("*")):
            name = file.relative_to(folder).as_posix()
            if file.is_file() and not any(fnmatch.fnmatchcase(name, p) for p in _NOT_FOR_CODE):
                found[name] = file
    return dict(sorted(found.items()))


def tokenizer_of(files: Collection[str]) -> set[str]:
    """Return those of some names that are a tokenizer's, if its vocabulary is among them."""
    if not any(fnmatch.fnmatchcase(name, v) for name in files for v in _VOCABULARIES):
        return set()
    return {name for name in files if any(fnmatch.fnmatchcase(name, p) for p in TOKENIZER)}


def brings_code(folder: Path) -> bool:
    """Say whether a checkpoint names classes of its own, which run if that is allowed.

    Raises:
        UsageError: They are those of another repository, which no hash here speaks of.
    """
    found = False
    for name in (CONFIG, "tokenizer_config.json"):
        if not (folder / name).is_file():
            continue
        named = read_json(folder / name).get("auto_map")
        for reference in _leaves(named):
            if "--" in reference:
                raise UsageError(
                    f"The file {folder / name} takes its Python code from another repository "
                    f"({quoted(reference)}), which may change. Copy that code beside it, and name "
                    "it there without the repository."
                )
        found = found or bool(named)
    return found


def _leaves(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    parts = value.values() if isinstance(value, dict) else value or ()
    return [leaf for part in parts for leaf in _leaves(part)]


def shards(index: Path) -> tuple[str, ...]:
    """Return the names of the weight files that an index lists.

    Raises:
        UsageError: It lists none, or one that lies elsewhere.
    """
    listed = read_json(index).get("weight_map")
    names = sorted({str(name) for name in listed.values()}) if isinstance(listed, dict) else []
    if not names or any("/" in name or "\\" in name for name in names):
        raise UsageError(
            f"The index {index} lists no weight files beside it. Download the checkpoint again."
        )
    return tuple(names)


def read_json(file: Path) -> dict[str, Any]:
    """Read a file that holds a JSON object.

    Raises:
        UsageError: It does not.
    """
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(
            f"The file {file} is damaged ({short(error)}). Download it again."
        ) from None
    if not isinstance(content, dict):
        raise UsageError(f"The file {file} holds no JSON object. Download it again.")
    return content
