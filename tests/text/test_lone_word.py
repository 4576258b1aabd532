"""A word alone in brackets that is no preset: which argument it was meant for."""

from __future__ import annotations

import pytest

from mecheval.errors import UsageError
from mecheval.metrics.measuring import configured_metric
from mecheval.registry import Registry
from mecheval.spec import parse_spec
from mecheval.tasks.contract import configure


def build(kind: str, text: str) -> None:
    named, registry = parse_spec(text), Registry()
    if kind == "task":
        configure(registry.load("task", named.name), named.args, name=named.name)
    else:
        configured_metric(named, registry)


def said_of(kind: str, text: str) -> str:
    with pytest.raises(UsageError) as caught:
        build(kind, text)
    return str(caught.value)


@pytest.mark.parametrize(
    ("kind", "text", "meant"),
    [
        ("task", "group[a5]", "Unknown preset 'a5' of group. Did you mean group[name=a5]? See"),
        ("task", "group[generators]", "Did you mean group[alphabet=generators]?"),
        ("metric", "bottleneck[inlp]", "Did you mean bottleneck[eraser=inlp]?"),
    ],
)  # fmt: skip
def test_a_word_that_one_argument_takes_is_taken_to_be_meant_for_it(
    kind: str, text: str, meant: str
) -> None:
    assert meant in said_of(kind, text)


@pytest.mark.parametrize(
    ("kind", "text"), [("task", "group[b5]"), ("task", "dyck[a5]"), ("metric", "bottleneck[a5]")]
)
def test_a_word_that_no_argument_takes_is_refused_alone(kind: str, text: str) -> None:
    assert "Did you mean" not in said_of(kind, text)
