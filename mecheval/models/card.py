"""What a model card declares, and what identifies a model: known without building it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mecheval.recipe import Recipe


@dataclass(frozen=True)
class ModelIdentity:
    """Everything about a model that decides a cell's numbers; part of the cell key."""

    name: str
    args: Mapping[str, Any]
    source: Literal["scratch", "pretrained", "random", "module", "planted"]
    revision: str | None = None
    commit: str | None = None
    weights_sha256: str | None = None
    file_sha256: str | None = None


@dataclass(frozen=True, kw_only=True)
class ModelCard:
    """What is known of a model without building it; unknown facts are written as None."""

    name: str
    summary: str
    architecture: str
    reference: str
    license: str | None
    recipes: Mapping[str, Recipe]
    sizes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
