"""Models, tasks and recipes are called the same everywhere, and different things differently."""

from __future__ import annotations

from headline_reports import report
from synthetic_reports import synthetic

from mecheval.reports.labels import (
    Entry,
    labels,
    names_of,
    recipe_in_words,
)
from mecheval.reports.schema import Labels


def names(*reports):
    return [tuple(name) for name in names_of(reports)]


def test_what_was_asked_for_is_in_the_name_also_where_nothing_else_is_there():
    asked = report(model="lstm", labels={"layers": 4})
    assert names(asked) == [("lstm[layers=4]", "parity@1", "")]
    assert names(report(model="lstm", labels={}))[0][0] == "lstm"
    small = synthetic(task_params={"k": 3, "n": 8}, labels=Labels(task={"preset": "small", "k": 3}))
    assert names(small) == [("gru", "parity@1[small,k=3]", "")]


def test_reports_that_do_not_say_are_told_apart_by_what_differs():
    two, four = synthetic(model_args={"layers": 2}), synthetic(model_args={"layers": 4})
    assert [name[0] for name in names(two, four)] == ["gru[layers=2]", "gru[layers=4]"]
    assert names(two)[0][0] == "gru"
    said = two.model_copy(update={"labels": Labels(model={"layers": 2})})
    assert [name[0] for name in names(two, said)] == ["gru[layers=2]", "gru[layers=2]"]


def test_other_files_and_commits_of_one_name_are_told_apart():
    def of(**part):
        whole = report(labels={})
        model = whole.identity.model.model_copy(update=part)
        return whole.model_copy(
            update={"identity": whole.identity.model_copy(update={"model": model})}
        )

    before, after = of(file_sha256="a" * 64), of(file_sha256="b" * 64)
    assert [name[0] for name in names(before, after)] == [
        "gru[file_sha256=aaaaaaaa]", "gru[file_sha256=bbbbbbbb]"
    ]  # fmt: skip
    random, trained = of(source="random"), of(source="pretrained")
    assert [name[0] for name in names(random, trained)] == ["gru (random weights)", "gru"]
    assert names(of(revision="step1000"))[0][0] == "gru@step1000"


def test_a_recipe_is_named_where_one_model_on_one_task_has_several():
    slow, fast = ({"lr": lr} for lr in (0.001, 0.01))
    decomposition = [report(recipe=slow), report(task="dyck", recipe=fast)]
    assert [name[2] for name in names(*decomposition)] == ["", ""]
    both = [*decomposition, report(recipe=fast, seed=1)]
    assert [name[2] for name in names(*both)] == ["lr=0.001", "", "lr=0.01"]
    assert [name.row for name in names_of(both)] == ["gru (lr=0.001)", "gru", "gru (lr=0.01)"]
    assert str(names_of(both)[0]) == "gru on parity@1 (lr=0.001)"


def test_sweeps_limits_and_arithmetic_are_part_of_the_recipe():
    plain = report()
    swept = plain.model_copy(
        update={"identity": plain.identity.model_copy(update={"sweep": {"lr": [0.001, 0.01]}})}
    )
    found = [name[2] for name in names(plain, swept)]
    assert found == ["lr=0.003", "lr=best of 0.001 and 0.01"]
    assert names(report(limit=8))[0][2] == "limit=8"
    assert recipe_in_words(swept.identity) == "adamw, learning rate best of 0.001 and 0.01"
    cut = report(limit=8, recipe={"steps": 200, "batch": 32})
    assert recipe_in_words(cut.identity) == (
        "adamw, learning rate 0.003, batches of 32, at most 200 steps, limit=8"
    )
    assert recipe_in_words(report(recipe={"steps": 0}).identity) == "not trained"


def test_metrics_do_not_change_a_name():
    assert names(synthetic(), synthetic(metrics=[])) == names(synthetic(), synthetic())


def test_labels_have_what_was_asked_for_and_what_differs():
    entries = [
        Entry("a", {"x": 1}), Entry("a", {"x": 2}), Entry("a", {"x": 1}, "y=3"),
        Entry("b", {"x": None}), Entry("b", {}),
    ]  # fmt: skip
    assert labels(entries) == ["a[x=1]", "a[x=2]", "a[y=3]", "b", "b"]
