"""Arguments of checkpoints, ``hf:DIRECTORY[weights=random,symbols=added]``, and their values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mecheval.errors import UsageError, unknown
from mecheval.escape import quoted
from mecheval.text.quoting import hint_for

if TYPE_CHECKING:
    from collections.abc import Mapping

CHOICES = {
    "weights": ("pretrained", "random"),
    "symbols": ("text", "added"),
    "adapter": ("none", "merged", "ignored"),
    "attention": ("own", "eager", "sdpa"),
}
"""Arguments of every checkpoint; the first value is the default."""

GGUF = "gguf"
"""One more argument: the name of a GGUF file, where there are several."""


def check_arguments(args: Mapping[str, Any], *, name: str) -> None:
    """Check the arguments of a checkpoint.

    Raises:
        UsageError: One, or its value, is unknown.
    """
    for key, value in args.items():
        if key == GGUF:
            if not isinstance(value, str) or not value.endswith(".gguf") or "/" in value:
                raise UsageError(
                    f"Argument gguf={quoted(str(value))} of model '{name}' is not the name of a "
                    f"GGUF file. Write it like {name}[gguf=model.Q8_0.gguf]."
                )
            continue
        if key not in CHOICES:
            see = f"`mecheval show model {name}`"
            if key == "preset":  # it has none, so this is a part of a path
                raise UsageError(
                    f"There is no preset {quoted(value)} of {name}. See {see}.{hint_for(name)}"
                )
            raise unknown(f"argument of {name}", key, (*CHOICES, GGUF), see=see)
        if value not in CHOICES[key]:
            raise UsageError(
                f"Argument {key}={quoted(str(value))} of model '{name}' is not one of "
                f"{', '.join(CHOICES[key])}. Write it like {name}[{key}={CHOICES[key][1]}]."
            )
    if args.get("weights") == "random" and args.get("adapter") == "merged":
        raise UsageError(
            f"An adapter changes weights that were learned, so {name}[weights=random] has none. "
            "Leave out adapter=merged, or give the base model."
        )
