"""From names and objects to configured sources: registered names, checkpoints, modules."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from torch import nn

from mecheval.errors import UsageError
from mecheval.escape import quoted
from mecheval.models.contract import ModelCard, ModelSource
from mecheval.models.hub.place import from_hub
from mecheval.models.hub.pretrained import Checkpoint
from mecheval.models.module_source import ModuleSource
from mecheval.text.quoting import HUB as HUB

if TYPE_CHECKING:
    from mecheval.registry import Registry
    from mecheval.spec import Spec


def resolve(spec: Spec, registry: Registry, *, trust_remote_code: bool = False) -> ModelSource:
    """Turn a name with arguments into a configured source; nothing is downloaded yet.

    Args:
        spec: A registered name, ``hf:REPO`` or ``hf:DIRECTORY``.
        registry: Where registered names are looked up.
        trust_remote_code: Whether a checkpoint's own Python code may run.

    Raises:
        UsageError: The name or an argument is unknown, or the directory is not there.
    """
    if spec.name.startswith(HUB):
        return replace(from_hub(spec), trust_remote_code=trust_remote_code)
    found = registry.load("model", spec.name)
    if isinstance(found, Checkpoint):
        source = found.configure(spec.args, name=spec.name, revision=spec.revision)
        return replace(source, trust_remote_code=trust_remote_code)
    if spec.revision is not None:
        raise UsageError(
            f"Model '{spec.name}' is trained from scratch and has no revision "
            f"{quoted(spec.revision)}. Leave out the part after @."
        )
    return found.configure(spec.args, name=spec.name)


def source_of(given: Any) -> ModelSource:
    """Turn a module in memory into a source.

    Args:
        given: A module, which may have its card as an attribute ``card``; a model that was made of
            one; ``(module, card)``, or ``(module, tokenizer)``.

    Raises:
        UsageError: It is none of these, or the module does not map tokens to logits.
    """
    is_pair = isinstance(given, tuple) and len(given) == 2
    module, beside = given if is_pair else (given, getattr(given, "card", None))
    is_tokenizer = callable(beside) and hasattr(beside, "convert_ids_to_tokens")
    known = isinstance(beside, ModelCard) or is_tokenizer or not (is_pair or beside)
    if not isinstance(module, nn.Module) or not known:
        raise UsageError(
            f"A {type(given).__name__} is not a model. Give a name such as 'mamba', a "
            "torch.nn.Module, or one with its tokenizer or with a "
            "mecheval.models.contract.ModelCard: (module, tokenizer) or (module, card)."
        )
    if is_tokenizer:
        return ModuleSource(module, tokenizer=beside)
    return ModuleSource(module, beside if isinstance(beside, ModelCard) else None)
