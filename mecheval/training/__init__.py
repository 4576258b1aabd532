"""Recipes, the training loop, and the checkpoint cache."""

from typing import TYPE_CHECKING, Any

from mecheval.recipe import Recipe as Recipe

if TYPE_CHECKING:
    from mecheval.training.preparation import Trained as Trained
    from mecheval.training.preparation import prepare as prepare


def __getattr__(name: str) -> Any:
    """Import the loop, and with it torch, only when it is asked for."""
    if name in {"Trained", "prepare"}:
        from mecheval.training import preparation as module

        return getattr(module, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
