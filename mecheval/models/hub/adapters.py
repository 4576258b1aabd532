"""PEFT adapters: found beside weights or alone, and merged into the weights where that is asked."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mecheval.errors import UsageError, require
from mecheval.escape import quoted
from mecheval.models.hub import contents
from mecheval.models.hub.locate import Located, locate_directory
from mecheval.models.hub.refusals import short
from mecheval.models.hub.repository import locate_repository
from mecheval.models.hub.staging import staged
from mecheval.paths import expanded, is_dir

if TYPE_CHECKING:
    from torch import nn

    from mecheval.models.hub.contents import Wanted

_LISTED = 3


def with_base(located: Located, wanted: Wanted) -> Located:
    """Add the base model that an adapter names, where it does not lie beside it.

    The tokenizer beside the adapter is taken, if there is one: training can have changed it.

    Args:
        located: What was found beside the adapter.
        wanted: What was asked for.

    Raises:
        UsageError: The adapter names none, or it cannot be reached.
    """
    if not located.adapter or located.weights:
        return located
    config = contents.read_json(located.adapter[contents.ADAPTER])
    named, revision = config.get("base_model_name_or_path"), config.get("revision")
    if not isinstance(named, str) or not named:
        raise UsageError(
            f"The adapter {located.path} does not name its base model. Write its directory or "
            f"repository into {contents.ADAPTER} as base_model_name_or_path."
        )
    try:
        base = _base(named, revision or "main", replace(wanted, adapter="none", gguf=None))
    except UsageError as error:
        raise UsageError(
            f"The base model {quoted(named)} of the adapter {located.path} cannot be loaded: "
            f"{error} Write where it is into {contents.ADAPTER}, as base_model_name_or_path."
        ) from error
    others, own = dict(base.others), contents.tokenizer_of(located.others)
    if own:
        replaced = contents.tokenizer_of(others)
        others = {key: file for key, file in others.items() if key not in replaced}
        others |= {key: located.others[key] for key in own}
    return replace(
        located, weights=base.weights, others=others, base=base.commit, runs_code=base.runs_code
    )


def _base(named: str, revision: str, wanted: Wanted) -> Located:
    directory = expanded(Path(named))
    if is_dir(directory) or directory.is_absolute() or named.startswith("."):
        return locate_directory(directory, wanted=wanted)
    return locate_repository(named, [revision], ways_on="", wanted=wanted)


def check_mergeable(located: Located) -> None:
    """Check what can be checked of a merge before anything is loaded.

    Raises:
        UsageError: The package peft is missing, or the adapter is of a kind that does not merge.
    """
    if not located.adapter:
        return
    peft: Any = require("peft", extra="adapters")
    config = contents.read_json(located.adapter[contents.ADAPTER])
    kind = str(config.get("peft_type", ""))
    tuner = peft.mapping.PEFT_TYPE_TO_TUNER_MAPPING.get(kind)
    if tuner is None or not hasattr(tuner, "merge_and_unload"):
        raise UsageError(
            f"The adapter of '{located.name}' is of the kind {quoted(kind)}, which cannot be "
            f"merged into weights. Give {located.name}[adapter=ignored] for the weights without it."
        )


def merge(module: nn.Module, located: Located) -> Any:
    """Merge a checkpoint's adapter into the weights of its base model.

    Raises:
        UsageError: The adapter does not fit the model.
    """
    check_mergeable(located)
    peft: Any = require("peft", extra="adapters")
    try:
        with staged(located.adapter, name="adapter") as folder, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what would be warned of is refused below
            adapted = peft.PeftModel.from_pretrained(module, str(folder), is_trainable=False)
            expected = set(peft.get_peft_model_state_dict(adapted))
    except Exception as error:  # whatever does not fit raises in its own way
        raise UsageError(
            f"The adapter of '{located.name}' does not fit its base model ({short(error)}). Check "
            "base_model_name_or_path, or merge it yourself and save the result."
        ) from error
    _check_same(_stored(located.adapter[contents.ADAPTER_WEIGHTS]), expected, located.name)
    return adapted.merge_and_unload().requires_grad_(True)  # peft had frozen the base


def _stored(file: Path) -> set[str]:
    from safetensors import safe_open

    with safe_open(file, framework="pt") as opened:
        return set(opened.keys())


def _check_same(stored: set[str], expected: set[str], name: str) -> None:
    for keys, problem in ((expected - stored, "has no weights for"), (stored - expected, "has")):
        if keys:
            named = ", ".join(sorted(keys)[:_LISTED])
            over = "" if problem.endswith("for") else ", which its base model has no place for"
            raise UsageError(
                f"The adapter of '{name}' {problem} {named}{over}. Check base_model_name_or_path, "
                "or merge it yourself and save the result."
            )
