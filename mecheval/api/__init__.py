"""The package from Python: evaluate, compare and load models and tasks.

It lies above the command line, whose display it shows.
"""

from __future__ import annotations

from mecheval.api.evaluation import evaluate as evaluate
from mecheval.api.evaluation import evaluate_suite as evaluate_suite
from mecheval.api.loading import load_model as load_model
from mecheval.api.loading import load_task as load_task
from mecheval.api.similarity import similarity as similarity
