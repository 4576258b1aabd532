"""Metrics: measurements of a model on a task, registered by name. Light to import.

A metric measures a subject (a model on a task) and returns results with intervals, references and
profiles; it asks :mod:`mecheval.interventions` for activations and patched answers, and knows no
architecture. Every file of this room that holds a ``@metric`` is one of them; the others serve
several.
"""

from __future__ import annotations

from mecheval.metrics.consistency import Contradiction as Contradiction
from mecheval.metrics.consistency import Says as Says
from mecheval.metrics.consistency import checked as checked
from mecheval.metrics.contract import Column as Column
from mecheval.metrics.contract import Metric as Metric
from mecheval.metrics.contract import metric as metric
from mecheval.metrics.measuring import configured_metric as configured_metric
from mecheval.metrics.measuring import measure as measure
from mecheval.metrics.results import Estimate as Estimate
from mecheval.metrics.results import Layout as Layout
from mecheval.metrics.results import profile as profile
from mecheval.metrics.subject import Subject as Subject
