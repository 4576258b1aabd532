"""Checkpoints of the Hugging Face hub as entries of the model registry."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mecheval.models.contract import ModelCard
from mecheval.models.hub.arguments import check_arguments
from mecheval.models.hub.source import RECIPES, Pretrained
from mecheval.registry import declare

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """What is declared of a checkpoint.

    Attributes:
        card: The model card; None for a checkpoint that is not registered.
        place: A directory, or the name of a repository of the hub.
        revisions: Revisions that hold the same weights, the preferred one first.
        config: ``model_type`` and the fields that give the same shape without a network.
    """

    card: ModelCard | None = None
    place: Path | str
    revisions: tuple[str, ...] = ("main",)
    config: Mapping[str, Any] | None = None

    def configure(
        self, args: Mapping[str, Any], *, name: str, revision: str | None = None
    ) -> Pretrained:
        """Build a source from command-line arguments.

        Raises:
            UsageError: An argument or its value is unknown.
        """
        check_arguments(args, name=name)
        return Pretrained(checkpoint=self, name=name, revision=revision, **args)


def pretrained(
    *,
    name: str,
    summary: str,
    repo: str,
    revisions: tuple[str, ...],
    config: Mapping[str, Any],
    reference: str,
    license: str | None,
) -> Checkpoint:
    """Register a checkpoint of the hub under a name.

    Args:
        name: The name on the command line; a literal, because listings read it from the source.
        summary: One line for listings; a literal for the same reason.
        repo: The repository.
        revisions: Revisions that its publisher says hold the same weights. The first one that has
            safetensors is taken, and the report names it.
        config: ``model_type`` and what else of the configuration gives the shape.
        reference: The paper that the model is from.
        license: Licence of the weights.
    """
    card = ModelCard(
        name=name,
        summary=summary,
        architecture=str(config["model_type"]),
        reference=reference,
        license=license,
        recipes=RECIPES,
    )
    entry = Checkpoint(card=card, place=repo, revisions=revisions, config=config)
    declare("model", name, sys._getframe(1).f_globals["__name__"], entry)
    return entry
