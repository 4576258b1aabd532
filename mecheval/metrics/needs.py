"""What a metric needs of a task and of a model, and the sentence where it is not there.

What a task has is known when a run is planned; what a model has, when it is built.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mecheval import stats
from mecheval.errors import unknown
from mecheval.metrics.accuracy import last_right
from mecheval.metrics.longer_words import N_WORDS, lacks_test
from mecheval.metrics.subject import too_long
from mecheval.tasks.quotients import state_variable
from mecheval.tasks.text_task import TextTask
from mecheval.tasks.words import GroupWords

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mecheval.metrics.contract import Metric
    from mecheval.metrics.subject import Subject
    from mecheval.models.contract import SequenceModel
    from mecheval.tasks import Task


@dataclass(frozen=True)
class Bounds:
    """What bounds the examples of a run, known when it is planned.

    Attributes:
        limit: Largest number of examples per metric, None for all.
        context: Most positions that the model accepts, None if unbounded or not known.
    """

    limit: int | None = None
    context: int | None = None


class Need:
    """Something that a task or a model must have; its text is what listings show."""

    kinds: tuple[str, ...] = ()
    """The kinds of counterfactual that are asked for, where the task has them."""

    @property
    def asks_model(self) -> bool:
        """Say whether the model is asked, which then has to be there."""
        return type(self).of_model is not Need.of_model

    def of_task(self, task: Task, metric: Metric) -> str | None:
        """Say why a task does not have it, None where it does or where this is of no matter.

        Raises:
            UsageError: A parameter of the metric names something that the task does not have.
        """
        return None

    def of_model(self, model: SequenceModel) -> str | None:
        """Say why a model does not have it, None where it does or where this is of no matter."""
        return None

    def of_bounds(self, task: Task, metric: Metric, bounds: Bounds) -> str | None:
        """Say why there will be too little to measure, None where there may be enough."""
        return None

    def given(self, subject: Subject, metric: Metric) -> Subject:
        """Return what a metric is given to measure: the subject as it is, or at another length."""
        return subject

    def of_subject(self, subject: Subject, metric: Metric) -> str | None:
        """Say why a model on a task that it learned has nothing to measure, None where it has."""
        return None


@dataclass(frozen=True)
class Counterfactual(Need):
    """A counterfactual of one of some kinds; see :meth:`mecheval.tasks.Task.counterfactuals`."""

    kinds: tuple[str, ...]

    def __init__(self, *kinds: str) -> None:
        """Name the kinds of which the task must have one."""
        object.__setattr__(self, "kinds", kinds)

    def __str__(self) -> str:
        """Return it in words."""
        return f"a counterfactual that exchanges the {' or the '.join(self.kinds)}"

    def of_task(self, task: Task, metric: Metric) -> str | None:
        """Look among the kinds of the task."""
        if set(self.kinds) & set(task.counterfactuals):
            return None
        return f"task '{task.card.name}' has no counterfactual {' or '.join(self.kinds)}"


@dataclass(frozen=True)
class Association(Need):
    """A question for what stands behind a token: the value answers, the key is repeated."""

    kinds = ("value", "key")

    def __str__(self) -> str:
        """Return it in words."""
        return "a query that repeats a key and asks for the value behind it"

    def of_task(self, task: Task, metric: Metric) -> str | None:
        """Look whether the value is exchanged first, and the key can be."""
        kinds = task.counterfactuals
        if kinds[0] == "value" and "key" in kinds:
            return None
        return f"task '{task.card.name}' does not ask for what stands behind a token"


@dataclass(frozen=True)
class Variable(Need):
    """A latent variable of the task; one of those that the metric's ``variables`` names.

    Attributes:
        joined: Whether several may be named as one: ``depth+top``.
    """

    joined: bool = False

    def __str__(self) -> str:
        """Return it in words."""
        return "a latent variable"

    def of_task(self, task: Task, metric: Metric) -> str | None:
        """Check the names, and that there is a variable at all."""
        named = getattr(metric, "variables", ())
        for name in (part for given in named for part in parts_of(given, joined=self.joined)):
            if name not in task.variables:
                of, see = f"variable of {task.card.name}", f"`mecheval show task {task.card.name}`"
                raise unknown(of, name, task.variables, see=see)
        return None if task.variables else f"task '{task.card.name}' has no latent variable"


def kinds_of(metrics: Iterable[Metric], task: Task) -> list[str]:
    """Return the kinds of counterfactual of a task that metrics ask for by name, each once."""
    asked = (kind for metric in metrics for need in metric.card.needs for kind in need.kinds)
    return [kind for kind in dict.fromkeys(asked) if kind in task.counterfactuals]


def parts_of(name: str, *, joined: bool = True) -> list[str]:
    """Return the names of the variables that are named as one, by a plus between them."""
    return name.split("+") if joined else [name]


@dataclass(frozen=True)
class Longer(Need):
    """A test at a multiple of the training length."""

    factor: int = 2

    def __str__(self) -> str:
        """Return it in words."""
        return f"a test at {self.factor} times the training length"

    def of_task(self, task: Task, metric: Metric) -> str | None:
        """Look among the tests of the task."""
        return lacks_test(task, self.factor)


@dataclass(frozen=True)
class AtLength(Need):
    """A test at the multiple of the training length that the metric's ``length`` names.

    The metric is given the subject at that length. Where the model answers no better than by
    guessing there, nothing could be taken from it, and the metric is undefined.
    """

    def __str__(self) -> str:
        """Return it in words."""
        return "a test at the length that is asked for"

    def of_task(self, task: Task, metric: Metric) -> str | None:
        """Look among the tests of the task."""
        return Longer(metric.params["length"]).of_task(task, metric)

    def of_bounds(self, task: Task, metric: Metric, bounds: Bounds) -> str | None:
        """Look at the context of the model."""
        return too_long(metric.params["length"] * task.max_length, bounds.context)

    def given(self, subject: Subject, metric: Metric) -> Subject:
        """Return the subject at that length."""
        return subject.at(metric.params["length"])

    def of_subject(self, subject: Subject, metric: Metric) -> str | None:
        """Look at the context of the model, and at its answers: above the training length only.

        At the training length the gate has said that the task was learned.
        """
        if subject.factor == 1:
            return None
        reason = subject.too_long(subject.length)
        if reason:
            return reason
        batch, predictions_BT = subject.answered(subject.length, N_WORDS)
        right_B = last_right(predictions_BT, batch.targets_BT)
        interval = stats.wilson(right_B.sum(), len(right_B), unit="sequence")
        if interval.low > subject.task.chance:
            return None
        return (
            f"at {subject.factor} times the training length the last answer is right in "
            f"{right_B.mean():.3f} [{interval.low:.3f}, {interval.high:.3f}] of the sequences, no "
            f"more than by guessing ({subject.task.chance:.3f}): there is nothing to take apart"
        )


@dataclass(frozen=True)
class HeldOutText(Need):
    """Windows of documents that were not trained on."""

    def __str__(self) -> str:
        """Return it in words."""
        return "windows of held-out text"

    def of_task(self, task: Task, metric: Metric) -> str | None:
        """Look whether its examples are windows of a text."""
        return None if isinstance(task, TextTask) else f"task '{task.card.name}' is no text"


@dataclass(frozen=True)
class GroupState(Need):
    """A state that is the product of all letters so far, in a group, and is never shown."""

    def __str__(self) -> str:
        """Return it in words."""
        return "a state that is the product of the letters of a word, in a group"

    def of_task(self, task: Task, metric: Metric) -> str | None:
        """Look whether words are of a group, and a variable is the product."""
        if not isinstance(task, GroupWords) or state_variable(task) is None:
            return f"the state of task '{task.card.name}' is no product in a group"
        if task.reveal_rate:
            return f"task '{task.card.name}' shows states in its words"
        return None


@dataclass(frozen=True)
class ShortConvolution(Need):
    """A layer with a short convolution whose output is a site."""

    def __str__(self) -> str:
        """Return it in words."""
        return "a short convolution"

    def of_model(self, model: SequenceModel) -> str | None:
        """Look among the sites of the model."""
        from mecheval.models.short_convolutions import short_convolutions

        if short_convolutions(model):
            return None
        return "the model has no layer with one short convolution whose output is a site"


@dataclass(frozen=True)
class AttentionHeads(Need):
    """A layer whose attention heads are sites."""

    def __str__(self) -> str:
        """Return it in words."""
        return "attention heads"

    def of_model(self, model: SequenceModel) -> str | None:
        """Look among the sites of the model."""
        if any(site.component == "z" for site in model.taps()):
            return None
        return "the model has no attention heads whose output is a site"
