"""Loading a located checkpoint with transformers, or drawing the weights of its shape.

Shape suffixes: ``C`` vocabulary, ``D`` embedding width.
"""

from __future__ import annotations

import copy
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from mecheval import exact, seeding
from mecheval.errors import UsageError, did_you_mean
from mecheval.models.drawing import drawing

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from mecheval.models.hub.locate import Located

_NUMBER = re.compile(r"(?<=\.)\d+(?=\.)")
_COLUMNS = 64  # of a table at a time, in float64
_LISTED = 3  # names of weights in a message; a wrong configuration misses hundreds


def check_config(config: Mapping[str, Any], *, name: str, trust_remote_code: bool) -> None:
    """Check that transformers knows the kind of model, before anything is built.

    Raises:
        UsageError: The model type is unknown, is no causal language model, or needs its own code.
    """
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    kind = str(config.get("model_type", ""))
    if kind in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES or (trust_remote_code and "auto_map" in config):
        return
    if "auto_map" in config:
        raise UsageError(
            f"The model '{name}' of type '{kind}' comes with its own Python code, which is not run "
            "unless you ask for it. Read the code, then give --trust-remote-code."
        )
    if kind in CONFIG_MAPPING:
        raise UsageError(
            f"The model '{name}' of type '{kind}' is not a causal language model of transformers. "
            "Give a decoder."
        )
    raise UsageError(
        f"The model '{name}' has the unknown type '{kind}' in its config.json."
        f"{did_you_mean(kind, MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)} Update transformers if the type "
        "is newer than it."
    )


def load_config(located: Located, *, name: str, trust_remote_code: bool) -> Any:
    """Return the transformers configuration of a checkpoint.

    Raises:
        UsageError: It is not one that transformers can read.
    """
    from transformers import AutoConfig

    check_config(located.config, name=name, trust_remote_code=trust_remote_code)
    with quiet(), _explained(f"The configuration of '{name}' cannot be read"):
        return AutoConfig.from_pretrained(located.path, trust_remote_code=trust_remote_code)


def named_config(fields: Mapping[str, Any], *, name: str) -> Any:
    """Return the transformers configuration of a declared shape; no file is read.

    Args:
        fields: ``model_type`` and the fields that differ from its defaults.
        name: The model's name, for messages.
    """
    from transformers import AutoConfig

    check_config(fields, name=name, trust_remote_code=False)
    others = {key: value for key, value in fields.items() if key != "model_type"}
    return AutoConfig.for_model(fields["model_type"], **others)


def vocabulary(config: Any) -> int:
    """Return the number of rows of the embedding of a configuration."""
    return config.get_text_config().vocab_size


def load_weights(located: Located, *, name: str, trust_remote_code: bool) -> nn.Module:
    """Load a checkpoint in float32 on the CPU, in evaluation mode.

    Raises:
        UsageError: A weight is missing or has another shape than the configuration says.
    """
    from transformers import AutoModelForCausalLM

    load_config(located, name=name, trust_remote_code=trust_remote_code)
    with quiet(), _explained(f"The checkpoint '{name}' cannot be loaded"), _restored():
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            located.path,
            use_safetensors=True,
            trust_remote_code=trust_remote_code,
            dtype=torch.float32,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # they are named below
        )
    module, found = loaded
    _refuse(found["missing_keys"], "has no weights for", name)
    mismatched = [key[0] if isinstance(key, tuple) else key for key in found["mismatched_keys"]]
    _refuse(mismatched, "has weights of another shape than its config.json says for", name)
    surplus = [key for key in found["unexpected_keys"] if _numbered_like(key, module)]
    _refuse(surplus, "has more layers than its config.json says:", name)
    return module.eval()


def draw_weights(config: Any, *, seed: int, trust_remote_code: bool = False) -> nn.Module:
    """Build a model of a configuration, its weights initialised by transformers from a seed.

    What is drawn, and in which order, is the library's own, so that another version of it may give
    other weights; the numbers are the same on every processor, see :func:`.drawing`. The
    initialisation of Mamba (initializer_range 0.1) makes the 130M shape chaotic: a change of 1e-6
    of the embedding moves its logits by 1e-2.
    """
    from transformers import AutoModelForCausalLM

    with quiet(), drawing(seed, "init"):
        module = AutoModelForCausalLM.from_config(
            # A copy, because the model keeps its configuration and new tokens change it.
            copy.deepcopy(config),
            dtype=torch.float32,
            trust_remote_code=trust_remote_code,
        )
    return module.eval()


def load_tokenizer(located: Located, *, name: str, trust_remote_code: bool) -> Any | None:
    """Return the checkpoint's tokenizer, None where it has none.

    Raises:
        UsageError: Its files cannot be read.
    """
    if not located.has_tokenizer:
        return None
    from transformers import AutoTokenizer

    with quiet(), _explained(f"The tokenizer of '{name}' cannot be loaded"):
        return AutoTokenizer.from_pretrained(located.path, trust_remote_code=trust_remote_code)


@torch.no_grad()
def add_tokens(module: Any, vocab_size: int, *, seed: int) -> None:
    """Append rows to the embedding and the head of a model of transformers.

    Every coordinate of a new row is drawn with the mean and spread that it has in the old rows,
    so that a new symbol looks like any other token and no two symbols look alike.

    Args:
        module: The model.
        vocab_size: Number of rows afterwards.
        seed: Decides the rows.

    Raises:
        UsageError: The model does not say which module its embedding is.
    """
    problem = f"The embedding of {type(module).__name__} takes no new tokens"
    with quiet(), _explained(problem, "Use symbols=text."), _restored():
        old = module.get_input_embeddings().weight.shape[0]
        module.resize_token_embeddings(vocab_size, mean_resizing=False)
    draws = seeding.Draws(seed, "added_tokens")
    tables = {id(part.weight): part for part in _tables(module)}
    for part in tables.values():
        _fill(part.weight, old, draws)
        bias_C: Any = getattr(part, "bias", None)
        if bias_C is not None:
            bias_C[old:] = float(exact.total(_doubles(bias_C[:old])) / old)


def _numbered_like(key: str, module: nn.Module) -> bool:
    """Say whether a weight that found no place differs from one that did by its layer alone."""
    pattern = _NUMBER.sub("#", key)
    return any(_NUMBER.sub("#", known).endswith(pattern) for known in module.state_dict())


def _tables(module: Any) -> Iterator[Any]:
    for part in (module.get_input_embeddings(), module.get_output_embeddings()):
        if part is not None:
            yield part


def _fill(weight_CD: Tensor, old: int, draws: seeding.Draws) -> None:
    drawn_CD = draws.normal(tuple(weight_CD[old:].shape))
    for first in range(0, weight_CD.shape[1], _COLUMNS):
        columns = slice(first, first + _COLUMNS)
        known_CD = _doubles(weight_CD[:old, columns])
        mean_D = exact.total(known_CD) / old
        spread_D = np.sqrt(exact.total(np.square(known_CD - mean_D)) / max(old - 1, 1))
        made_CD = mean_D + spread_D * drawn_CD[:, columns]
        weight_CD[old:, columns] = torch.from_numpy(made_CD).to(weight_CD)


def _doubles(weight: Tensor) -> np.ndarray:
    return weight.double().cpu().numpy()


def _refuse(keys: Iterable[str], problem: str, name: str) -> None:
    named = sorted(keys)
    if named:
        more = f" and {len(named) - _LISTED} more" if len(named) > _LISTED else ""
        raise UsageError(
            f"The checkpoint '{name}' {problem} {', '.join(named[:_LISTED])}{more}. Its weights "
            "and its config.json do not belong together; download it again."
        )


@contextmanager
def _restored() -> Iterator[None]:
    """Leave torch's generator on the CPU as it was; what is drawn meanwhile is written over."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        yield


@contextmanager
def quiet() -> Iterator[None]:
    """Keep transformers from printing: what goes wrong is said in an error of ours."""
    from transformers.utils import logging

    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


@contextmanager
def _explained(
    problem: str, advice: str = "Check its files, or download it again."
) -> Iterator[None]:
    """Turn the many errors of transformers into one of ours."""
    try:
        yield
    except UsageError:
        raise
    except Exception as error:
        said = " ".join(str(error).split())[:200]
        raise UsageError(f"{problem} ({type(error).__name__}: {said}). {advice}") from error
