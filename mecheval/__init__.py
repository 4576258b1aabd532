"""Evaluate by which mechanism a sequence model solves a task.

The names below are imported when they are first used, so that ``import mecheval`` stays light.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mecheval.api import evaluate as evaluate
    from mecheval.api import evaluate_suite as evaluate_suite
    from mecheval.api import load_model as load_model
    from mecheval.api import load_task as load_task
    from mecheval.api import similarity as similarity
    from mecheval.dictionaries import Dictionary as Dictionary
    from mecheval.dictionaries import DictionaryRecipe as DictionaryRecipe
    from mecheval.dictionaries import train_dictionary as train_dictionary
    from mecheval.interventions import ablation_grid as ablation_grid
    from mecheval.interventions import gradient_guess as gradient_guess
    from mecheval.interventions import naturalness as naturalness
    from mecheval.interventions import recovery_grid as recovery_grid
    from mecheval.interventions import trace as trace
    from mecheval.likeness.features import compare_features as compare_features
    from mecheval.likeness.representations import (
        compare_representations as compare_representations,
    )
    from mecheval.metrics import Metric as Metric
    from mecheval.metrics import metric as metric
    from mecheval.models.contract import ModelCard as ModelCard
    from mecheval.models.contract import SequenceModel as SequenceModel
    from mecheval.models.stack.architecture import model as model
    from mecheval.models.wrapping import wrap as wrap
    from mecheval.reports.collection import load_pairs as load_pairs
    from mecheval.reports.collection import load_results as load_results
    from mecheval.reports.comparison import compare as compare
    from mecheval.reports.files import read_report as load_report  # noqa: F401 - listed below
    from mecheval.tasks import Task as Task
    from mecheval.tasks import task as task
    from mecheval.training import Recipe as Recipe
    from mecheval.version import __version__ as __version__


_INDEX = {
    "__version__": ("mecheval.version", "__version__"),
    "Dictionary": ("mecheval.dictionaries", "Dictionary"),
    "DictionaryRecipe": ("mecheval.dictionaries", "DictionaryRecipe"),
    "Metric": ("mecheval.metrics", "Metric"),
    "ModelCard": ("mecheval.models.contract", "ModelCard"),
    "Recipe": ("mecheval.training", "Recipe"),
    "SequenceModel": ("mecheval.models.contract", "SequenceModel"),
    "Task": ("mecheval.tasks", "Task"),
    "ablation_grid": ("mecheval.interventions", "ablation_grid"),
    "gradient_guess": ("mecheval.interventions", "gradient_guess"),
    "compare": ("mecheval.reports.comparison", "compare"),
    "compare_features": ("mecheval.likeness.features", "compare_features"),
    "compare_representations": (
        "mecheval.likeness.representations",
        "compare_representations",
    ),
    "evaluate": ("mecheval.api", "evaluate"),
    "evaluate_suite": ("mecheval.api", "evaluate_suite"),
    "load_model": ("mecheval.api", "load_model"),
    "load_pairs": ("mecheval.reports.collection", "load_pairs"),
    "load_report": ("mecheval.reports.files", "read_report"),
    "load_results": ("mecheval.reports.collection", "load_results"),
    "load_task": ("mecheval.api", "load_task"),
    "metric": ("mecheval.metrics", "metric"),
    "model": ("mecheval.models.stack.architecture", "model"),
    "naturalness": ("mecheval.interventions", "naturalness"),
    "recovery_grid": ("mecheval.interventions", "recovery_grid"),
    "similarity": ("mecheval.api", "similarity"),
    "task": ("mecheval.tasks", "task"),
    "trace": ("mecheval.interventions", "trace"),
    "train_dictionary": ("mecheval.dictionaries", "train_dictionary"),
    "wrap": ("mecheval.models.wrapping", "wrap"),
}

__all__ = [*_INDEX]  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    """Import a public name on first use."""
    if name not in _INDEX:
        raise AttributeError(f"module 'mecheval' has no attribute '{name}'")
    module, attribute = _INDEX[name]
    return getattr(importlib.import_module(module), attribute)


def __dir__() -> list[str]:
    """List the public names."""
    return __all__
