"""What a task of text has besides examples: its held-out windows, and what they are worth."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING

from mecheval.tasks.contract import Task

if TYPE_CHECKING:
    from mecheval.tasks.tokenized import Tokenized


OWN = "own"
"""In place of a tokenizer: every model reads the text in the tokens of its own one."""


class TextTask(Task):
    """A task whose examples are windows of a text."""

    @property
    @abstractmethod
    def text(self) -> Tokenized:
        """Return the text in tokens; its symbols are those of the task."""
