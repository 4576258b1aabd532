"""Loading a located checkpoint with transformers, or drawing the weights of its shape."""

from __future__ import annotations

import copy
import re
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import torch

from mecheval.errors import UsageError
from mecheval.models.admission import check_finite_weights
from mecheval.models.drawing import drawing
from mecheval.models.hub import adapters, gguf, quantised
from mecheval.models.hub.calling import explained, quiet, restored
from mecheval.models.hub.kinds import auto_class, check_config
from mecheval.models.hub.staging import staged

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from torch import nn

    from mecheval.models.hub.locate import Located

OWN = "own"
"""The attention implementation that a configuration asks for, or else transformers' choice."""

_NUMBER = re.compile(r"(?<=\.)\d+(?=\.)")
_LISTED = 3  # names of weights in a message; a wrong configuration misses hundreds
_ANYWHERE = (None, "eager", "sdpa", "flex_attention")


def load_config(located: Located, *, attention: str = OWN) -> Any:
    """Return the transformers configuration of a checkpoint.

    Args:
        located: The checkpoint.
        attention: Which implementation of attention runs.

    Raises:
        UsageError: It is not one that transformers can read, or that runs here.
    """
    name = located.name
    check_config(located.config, name=name, runs_code=located.runs_code)
    with quiet():
        packed = None if located.gguf else quantised.unpacking(located.config, name=name)
    with _folder(located) as folder, explained(f"The configuration of '{name}' cannot be read"):
        from transformers import AutoConfig

        config = AutoConfig.from_pretrained(
            folder, trust_remote_code=located.runs_code, **_gguf(located)
        )
    if packed is not None:
        config.quantization_config = packed
    asked = getattr(config, "_attn_implementation_internal", None)
    if attention == OWN and asked not in _ANYWHERE:
        raise UsageError(
            f"The configuration of '{name}' asks for the attention implementation '{asked}', which "
            f"is not for float32 on a CPU. Give {name}[attention=sdpa], or [attention=eager]."
        )
    return config


def named_config(fields: Mapping[str, Any], *, name: str) -> Any:
    """Return the transformers configuration of a declared shape; no file is read.

    Args:
        fields: ``model_type`` and the fields that differ from its defaults.
        name: The model's name, for messages.
    """
    from transformers import AutoConfig

    check_config(fields, name=name, runs_code=False)
    others = {key: value for key, value in fields.items() if key != "model_type"}
    return AutoConfig.for_model(fields["model_type"], **others)


def vocabulary(config: Any, *, name: str) -> int:
    """Return the number of rows of the embedding of a configuration.

    Raises:
        UsageError: It does not say.
    """
    rows = getattr(config.get_text_config(), "vocab_size", None)
    if not isinstance(rows, int):
        raise UsageError(
            f"The configuration of '{name}' has no vocab_size, so it reads no token ids. Give a "
            "causal language model."
        )
    return rows


def stored_dtype(located: Located) -> torch.dtype:
    """Return float64 if any weight is stored so, else float32, which every other one becomes."""
    if located.gguf is None:
        from safetensors import safe_open

        for file in located.weights.values():
            with safe_open(file, framework="pt") as opened:
                if any(opened.get_slice(key).get_dtype() == "F64" for key in opened.keys()):  # noqa: SIM118
                    return torch.float64
    return torch.float32


def load_weights(located: Located, *, attention: str = OWN) -> nn.Module:
    """Load a checkpoint on the CPU, in evaluation mode: in float32, or float64 if stored so.

    Raises:
        UsageError: A weight is missing, is not finite, or has another shape than the configuration
            says; or an adapter does not fit.
    """
    name, config = located.name, load_config(located, attention=attention)
    kind = auto_class(located.config, runs_code=located.runs_code)
    options = _gguf(located) | (gguf.loading_options() if located.gguf else {})
    with (
        _folder(located) as folder,
        explained(f"The checkpoint '{name}' cannot be loaded"),
        restored(),
    ):
        loaded: Any = kind.from_pretrained(
            folder,
            config=config,
            use_safetensors=True,
            trust_remote_code=located.runs_code,
            dtype=stored_dtype(located),
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # they are named below
            **options,
            **_attention(attention),
        )
    module, found = loaded
    _refuse(found["missing_keys"], "has no weights for", name)
    mismatched = [key[0] if isinstance(key, tuple) else key for key in found["mismatched_keys"]]
    _refuse(mismatched, "has weights of another shape than its config.json says for", name)
    surplus = [key for key in found["unexpected_keys"] if _numbered_like(key, module)]
    _refuse(surplus, "has more layers than its config.json says:", name)
    with explained(f"The weights of '{name}' cannot be unpacked"):
        module = quantised.unpacked(module, name=name)
    if located.adapter:
        module = adapters.merge(module, located)
    check_finite_weights(module, name=name)
    return module.eval()


def draw_weights(
    config: Any, *, seed: int, attention: str = OWN, located: Located | None = None
) -> nn.Module:
    """Build a model of a configuration, its weights initialised by transformers from a seed.

    What is drawn, and in which order, is the library's own, so that another version of it may give
    other weights; the numbers are the same on every processor, see :func:`.drawing`. The
    initialisation of Mamba (initializer_range 0.1) makes the 130M shape chaotic: a change of 1e-6
    of the embedding moves its logits by 1e-2.

    Args:
        config: The configuration.
        seed: The seed.
        attention: Which implementation of attention runs.
        located: Where own code lies, if it is to run.
    """
    config = copy.deepcopy(config)  # the model keeps it, and new tokens change it
    vars(config).pop("quantization_config", None)
    runs_code = located is not None and located.runs_code
    kind = auto_class({"model_type": config.model_type}, runs_code=runs_code)
    with ExitStack() as stack:
        stack.enter_context(quiet())
        if located is not None and runs_code:
            config.name_or_path = str(stack.enter_context(_folder(located)))
        stack.enter_context(drawing(seed, "init"))
        module = kind.from_config(
            config, dtype=torch.float32, trust_remote_code=runs_code, **_attention(attention)
        )
    return module.eval()


def load_tokenizer(located: Located) -> Any | None:
    """Return the checkpoint's tokenizer, None where it has none.

    Raises:
        UsageError: Its files cannot be read.
    """
    if not located.has_tokenizer:
        return None
    from transformers import AutoTokenizer

    problem = f"The tokenizer of '{located.name}' cannot be loaded"
    with _folder(located) as folder, explained(problem):
        return AutoTokenizer.from_pretrained(
            folder, trust_remote_code=located.runs_code, **_gguf(located)
        )


@contextmanager
def _folder(located: Located) -> Iterator[Path]:
    """Give a folder of what was hashed, and keep transformers quiet."""
    files = {**located.others, **located.weights}
    with quiet(), staged(files, name=located.commit.removeprefix("sha256:")[:16]) as folder:
        yield folder


def _gguf(located: Located) -> dict[str, str]:
    return {} if located.gguf is None else {"gguf_file": located.gguf}


def _attention(attention: str) -> dict[str, str]:
    return {} if attention == OWN else {"attn_implementation": attention}


def _numbered_like(key: str, module: nn.Module) -> bool:
    """Say whether a weight that found no place differs from one that did by its layer alone."""
    pattern = _NUMBER.sub("#", key)
    return any(_NUMBER.sub("#", known).endswith(pattern) for known in module.state_dict())


def _refuse(keys: Iterable[str], problem: str, name: str) -> None:
    named = sorted(keys)
    if named:
        more = f" and {len(named) - _LISTED} more" if len(named) > _LISTED else ""
        raise UsageError(
            f"The checkpoint '{name}' {problem} {', '.join(named[:_LISTED])}{more}. Its weights "
            "and its config.json do not belong together; download it again."
        )
