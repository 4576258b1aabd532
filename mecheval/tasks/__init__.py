"""The contract of a task: generators, variables, roles, pairs, symbols, floors."""

from mecheval.spec import Spec as Metric  # noqa: F401 - how task files of 0.1 name metrics
from mecheval.tasks.batch import UNDEFINED as UNDEFINED
from mecheval.tasks.batch import UNSCORED as UNSCORED
from mecheval.tasks.batch import Batch as Batch
from mecheval.tasks.batch import Pairs as Pairs
from mecheval.tasks.contract import BOS as BOS
from mecheval.tasks.contract import Task as Task
from mecheval.tasks.contract import TaskCard as TaskCard
from mecheval.tasks.contract import task as task
