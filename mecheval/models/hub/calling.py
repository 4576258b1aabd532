"""Calling transformers: in silence, without a trace in the random state, its errors as ours."""

from __future__ import annotations

import io
from contextlib import contextmanager, redirect_stderr
from typing import TYPE_CHECKING

import torch

from mecheval.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def restored() -> Iterator[None]:
    """Leave torch's generator on the CPU as it was; what is drawn meanwhile is written over."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        yield


@contextmanager
def quiet() -> Iterator[None]:
    """Keep transformers from printing: what goes wrong is said in an error of ours."""
    from transformers.utils import logging

    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        with redirect_stderr(io.StringIO()):  # some of its bars ask nobody
            yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


@contextmanager
def explained(
    problem: str, advice: str = "Check its files, or download it again."
) -> Iterator[None]:
    """Turn the many errors of transformers into one of ours."""
    try:
        yield
    except UsageError:
        raise
    except Exception as error:
        said = " ".join(str(error).split())[:200]
        raise UsageError(f"{problem} ({type(error).__name__}: {said}). {advice}") from error
