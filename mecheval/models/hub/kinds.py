"""Which kinds of checkpoints are causal models of tokens, and the class that loads each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mecheval.errors import UsageError, did_you_mean
from mecheval.escape import quoted

if TYPE_CHECKING:
    from collections.abc import Mapping

_WRAPPING = {
    "MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES": "AutoModelForImageTextToText",
    "MODEL_FOR_MULTIMODAL_LM_MAPPING_NAMES": "AutoModelForMultimodalLM",
}
"""Classes of models that read images or sound beside text, in whose place a text is read alone."""


def check_config(config: Mapping[str, Any], *, name: str, runs_code: bool) -> None:
    """Check that transformers knows the kind of model, before anything is built.

    Args:
        config: Contents of ``config.json``.
        name: The model's name, for messages.
        runs_code: Whether the checkpoint's own Python code runs.

    Raises:
        UsageError: The model type is unknown, is no causal language model, or needs its own code.
    """
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    kind = str(config.get("model_type", ""))
    if runs_code or kind in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        return
    if _wrapping(kind) is not None and not config.get("is_encoder_decoder"):
        return
    if "auto_map" in config:
        raise UsageError(
            f"The model '{name}' of type {quoted(kind)} comes with its own Python code, which is "
            "not run unless you ask for it. Read the code, then give --trust-remote-code."
        )
    if kind in CONFIG_MAPPING:
        raise UsageError(
            f"The model '{name}' of type {quoted(kind)} is not a causal language model of "
            "transformers. Give a decoder."
        )
    raise UsageError(
        f"The model '{name}' has the unknown type {quoted(kind)} in its config.json."
        f"{did_you_mean(kind, MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)} Update transformers if the type "
        "is newer than it."
    )


def auto_class(config: Mapping[str, Any], *, runs_code: bool) -> Any:
    """Return the class of transformers that loads a kind of model as a causal one.

    A text decoder inside a model that reads images or sound too has no class of its own in many
    families; the whole model is loaded then, and given nothing but tokens.
    """
    import transformers
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    kind = str(config.get("model_type", ""))
    wrapping = None if kind in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES else _wrapping(kind)
    if runs_code or wrapping is None:
        return transformers.AutoModelForCausalLM
    return wrapping


def _wrapping(kind: str) -> Any | None:
    import transformers
    from transformers.models.auto import modeling_auto

    for table, name in _WRAPPING.items():
        if kind in getattr(modeling_auto, table, ()):
            return getattr(transformers, name, None)
    return None
