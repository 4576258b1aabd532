"""What a metric lacks is said when it is declared; pairs of models are refused before a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mecheval.cli import main
from mecheval.errors import ContractError, UsageError
from mecheval.metrics import configured_metric
from mecheval.registry import Registry
from mecheval.spec import Spec

if TYPE_CHECKING:
    from pathlib import Path

DECLARED = '''
from dataclasses import dataclass, field
from mecheval.metrics import Column, Estimate, Layout, Metric, metric

@dataclass(frozen=True, kw_only=True)
class Base(Metric):
    """Parameters of several."""

    k: int = 3

@metric(name="own", version=1, family="counting", headline=(Column("a number"),))
@dataclass(frozen=True, kw_only=True)
class Own(Metric):
    """A number."""

    n: int = 3

    def measure(self, subject):
        return [self.result(self.outline(subject)[0], Estimate(1.0), 1)]
'''
DATACLASS = "@dataclass(frozen=True, kw_only=True)\n"
METRIC = '@metric(name="own", version=1, family="counting", headline=(Column("a number"),))\n'
WRONG = {
    "scope": ("version=1,", 'version=1, scope="tripel",',
              "has the scope 'tripel'. Give it one of: model, pair."),
    "no dataclass": (
        DATACLASS, "",
        "Write @dataclass(frozen=True, kw_only=True) between @metric(...) and the class Own.",
    ),
    "dataclass of its base": (
        f"{DATACLASS}class Own(Metric)", "class Own(Base)", "no dataclass of its own",
    ),
    "the other order": (METRIC + DATACLASS, DATACLASS + METRIC, "between @metric(...) and the"),
    "no default": ("n: int = 3", "n: int", "parameter 'n' without a default"),
    "factory": ("n: int = 3", "n: tuple[str, ...] = field(default_factory=tuple)",
                "whose default is made by a factory. Give it a plain value, such as (), in place"),
    "family": ('"counting"', '"Counting Things"', "family 'Counting Things'. Give it a word"),
    "later": ("version=1,", 'version=1, later=("k",),',
              "has no parameter 'k', which it says came later. Name one of: n."),
    "docstring": ('"""A number."""', "", "has no docstring"),
    "measure": ("def measure", "def measured", "has no measure()"),
}  # fmt: skip


def declared(folder: Path, old: str, new: str) -> type:
    assert old in DECLARED
    (folder / "own.py").write_text(DECLARED.replace(old, new))
    return Registry((folder / "own.py",)).load("metric", "local/own")


@pytest.mark.parametrize("name", WRONG)
def test_what_is_missing_is_said(tmp_path: Path, name: str) -> None:
    old, new, sentence = WRONG[name]
    with pytest.raises(ContractError) as caught:
        declared(tmp_path, old, new)
    assert sentence in str(caught.value)


def test_what_is_right_is_declared(tmp_path: Path) -> None:
    assert declared(tmp_path, "class Own(Metric)", "class Own(Base)").__name__ == "Own"


LIMITED = """    n: int = {default}
    deep: bool = False

    def __post_init__(self):
        super().__post_init__()
        if self.n > 2:
            raise ValueError("n must be at most 2\\nwhatever is deep")
"""


def test_what_a_class_refuses_is_said_of_what_is_given(tmp_path: Path) -> None:
    declared(tmp_path, "    n: int = 3\n", LIMITED.format(default=1))
    registry = Registry((tmp_path / "own.py",))
    assert configured_metric(Spec("local/own", {"n": 2}), registry).params["n"] == 2
    with pytest.raises(UsageError) as caught:
        configured_metric(Spec("local/own", {"n": 3}), registry)
    assert str(caught.value) == (
        "Metric 'local/own' does not allow n=3: n must be at most 2 whatever is deep. See "
        "`mecheval show metric local/own`."
    )


def test_a_class_that_refuses_its_own_defaults_is_at_fault(tmp_path: Path) -> None:
    declared(tmp_path, "    n: int = 3\n", LIMITED.format(default=3))
    registry = Registry((tmp_path / "own.py",))
    for args in ({}, {"deep": True}):
        with pytest.raises(ValueError, match="n must be at most 2"):
            configured_metric(Spec("local/own", args), registry)


KINDS = """
def even(value):
    if sum(value if isinstance(value, tuple) else [value]) % 2:
        raise ValueError("it should be even")
    return value

EVEN = Annotated[int, AfterValidator(even)]
"""
ITEM = "is not allowed: item 1 should be"


@pytest.mark.parametrize(
    ("kind", "value", "sentence"),
    [
        ("tuple[int, ...] | EVEN | list[int] = 2", ["a"], f"n=['a'] of metric 'local/own' {ITEM}"),
        ("tuple[int, ...] | EVEN | list[int] = 2", ["a"], f"{ITEM} a whole number. See"),
        ("tuple[int, ...] | EVEN = 2", 3, "is not allowed: it should be even. See"),
        ("tuple[EVEN, ...] = ()", [2, 3], "is not allowed: item 2: it should be even. See"),
        ("int | tuple[int, ...] = 1", [1, "a"], "item 2 should be a whole number. See"),
        ("int | tuple[int, ...] = 1", "a", "should be a whole number or a list, such as [1,2]."),
        ("tuple[float, ...] = ()", "a", "it should be a list, such as [0.5,1.0]. See"),
        ("tuple[int, ...] = (7,)", "a", "it should be a list, such as [7]. See"),
        ("tuple[Literal['x'], ...] = ()", "a", "it should be a list, such as [x,x]. See"),
        ("tuple[EVEN | bool, ...] = ()", "a", "it should be a list, such as [1,2]. See"),
        ("tuple[complex, ...] = ()", "a", "it should be a list. See"),
        ("tuple[tuple[str, int], ...] = ()", "a", "such as [[first,2],[first,2]]. See"),
        ("tuple[tuple[str, int], ...] = ()", ["a"], f"{ITEM} a list. See"),
        ("tuple[tuple[str, int], ...] = ()", [["a"]], f"{ITEM} a list of 2. See"),
        ("tuple[tuple[str, int], ...] = ()", [["a", "b"]], "item 2 of item 1 should be a whole"),
    ],
)
def test_parameters_of_any_type_are_one_sentence(
    tmp_path: Path, kind: str, value: object, sentence: str
) -> None:
    new = f"from typing import *\nfrom pydantic import AfterValidator\n{KINDS}"
    text = DECLARED.replace("@metric(", f"{new}\n@metric(").replace("n: int = 3\n", f"n: {kind}\n")
    (tmp_path / "own.py").write_text(text)
    with pytest.raises(UsageError) as caught:
        configured_metric(Spec("local/own", {"n": value}), Registry((tmp_path / "own.py",)))
    assert sentence in str(caught.value)


def declared_of_pairs(folder: Path) -> None:
    text = DECLARED.replace("version=1,", 'version=1, scope="pair",')
    text = text.replace("class Own(Metric)", "class Own(PairMetric)")
    (folder / "own.py").write_text(f"from mecheval.metrics.pairs import PairMetric\n{text}")


def test_a_metric_of_pairs_is_not_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    declared_of_pairs(tmp_path)
    own = ("-I", str(tmp_path))
    argv = ("run", "-m", "gru", "-t", "parity", "--metrics", "local/own", "--dry-run", *own)
    assert main(list(argv)) == 2
    sentence = "Metric 'local/own' is one of pairs of models. Measure it with `mecheval similarity"
    assert sentence in capsys.readouterr().err
    assert main(["validate", "local/own", *own]) == 0
    assert "the same whichever model comes first: ok" in capsys.readouterr().out


def test_a_scope_and_a_class_that_do_not_go_together(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match=r"Derive it from mecheval\.metrics\.pairs\.PairMetric"):
        declared(tmp_path, "version=1,", 'version=1, scope="pair",')


def test_a_task_with_a_metric_of_pairs_is_found(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    declared_of_pairs(tmp_path)
    (tmp_path / "toy.py").write_text(
        "from dataclasses import dataclass\n"
        "from mecheval.builtin.task_registry.parity import Parity\n"
        "from mecheval.tasks import task\n\n"
        '@task(name="toy", version=1, reference="none", mechanisms=("local/own",))\n'
        "@dataclass(frozen=True, kw_only=True)\n"
        'class Toy(Parity):\n    """A task."""\n'
    )
    assert main(["validate", "local/toy", "-I", str(tmp_path)]) == 1
    assert "metrics are registered: FAILED: Metric 'local/own'" in capsys.readouterr().out
