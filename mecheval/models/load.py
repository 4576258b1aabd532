"""From names and objects to configured sources: registered names, checkpoints, modules."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import nn

from mecheval.errors import UsageError
from mecheval.escape import quoted
from mecheval.models.contract import ModelCard, ModelSource
from mecheval.models.hub.place import from_hub
from mecheval.models.hub.pretrained import Checkpoint
from mecheval.models.wrapped.module_source import ModuleSource
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
        return from_hub(spec, trust_remote_code=trust_remote_code)
    found = registry.load("model", spec.name)
    if isinstance(found, Checkpoint):
        return found.configure(
            spec.args, name=spec.name, revision=spec.revision, trust_remote_code=trust_remote_code
        )
    if spec.revision is not None:
        raise UsageError(
            f"Model '{spec.name}' is trained from scratch and has no revision "
            f"{quoted(spec.revision)}. "
            "Leave out the part after @."
        )
    return found.configure(spec.args, name=spec.name)


def source_of(given: Any) -> ModelSource:
    """Turn a module with a card into a source.

    Args:
        given: A module with an attribute ``card``, or ``(module, card)``.

    Raises:
        UsageError: It is neither, or the module has no blocks that can be told apart.
    """
    is_pair = isinstance(given, tuple) and len(given) == 2
    module, card = given if is_pair else (given, getattr(given, "card", None))
    if not isinstance(module, nn.Module) or not isinstance(card, ModelCard):
        raise UsageError(
            f"A {type(given).__name__} is not a model. Give a name such as 'mamba', or a "
            "torch.nn.Module with a mecheval.models.contract.ModelCard: (module, card)."
        )
    return ModuleSource(module, card)
