"""What becomes a column, what it is called, and which columns stand in one table."""

from __future__ import annotations

from headline_reports import report, result

from mecheval.reports.collection import collect, overview
from mecheval.reports.collection.blocks import Block, by_subject, packed
from mecheval.reports.collection.columns import columns_of
from mecheval.reports.collection.sections import sections
from mecheval.reports.schema import Headline

LAYER = Headline(title="At layer", at="layer", kind="layer")


def titles(*reports):
    return [column.title for column in columns_of(reports)]


def test_columns_are_the_headlines_of_all_results_behaviour_first():
    found = columns_of(
        [
            report(result("mine/a", 0.5, "Mine", LAYER), result("token_accuracy/1x", 0.9, "Right")),
            report(result("mine/a", 0.5, "Mine"), result("mine/b", 0.5, "Also mine"), seed=1),
            report(result("evidence/only", 0.5), result("mine/a", 0.5, "Mine"), seed=2),
        ]
    )
    assert [(c.key, c.title, c.kind) for c in found] == [
        ("token_accuracy/1x", "Right", "number"), ("mine/a", "Mine", "number"),
        ("mine/a layer", "At layer", "layer"), ("mine/b", "Also mine", "number"),
    ]  # fmt: skip


def test_a_number_that_is_written_in_several_ways_has_as_many_columns():
    several = [Headline(title="Where", at="layer", kind=kind) for kind in ("number", "layer")]
    several += [Headline(title="Where", at="layer", kind="count", bounds=(0, n)) for n in (1, 2)]
    one = report(result("mine/a", 0.5, *several, scalars={"layer": 2.0}))
    other = report(result("mine/a", 0.5, *several[::-1], scalars={"layer": 2.0}), seed=1)
    found = columns_of([one, other])
    assert [(c.key, c.kind) for c in found] == [
        ("mine/a layer", "number"), ("mine/a layer as layer", "layer"),
        ("mine/a layer as count", "count"), ("mine/a layer as count 1", "count"),
    ]  # fmt: skip
    assert len({column.title for column in found}) == 4
    (group,) = collect([one]).groups
    assert [group.of(column).mean for column in found] == [2.0] * 4
    kinds = columns_of([report(result("mine/a", 0.5, *several[:3]))])
    assert [c.title for c in kinds] == ["Where (number)", "Where (layer)", "Where (count)"]


def test_equal_headlines_of_one_result_are_one_column():
    assert titles(report(result("mine/a", 0.5, LAYER, LAYER))) == ["At layer"]


def test_reports_without_headlines_show_values_under_their_titles():
    old = report(result("a/x", 0.5, title="size of x"), result("mechanism", None, title="verdict"))
    decided = report(result("mechanism", 0.9, title="verdict", verdict="induction"), seed=1)
    assert titles(old) == ["size of x", "verdict"]
    long = report(result("mechanism", 0.9, title="a" * 300, verdict="induction"))
    assert [len(title) for title in titles(long)] == [300, 300]
    assert titles(old, decided) == ["size of x", "verdict", "verdict: value beside the verdict"]


def test_a_metric_that_stands_twice_has_two_columns_that_are_told_apart():
    def erased(metric):
        name = f"{metric}/parity"
        return result(name, 0.4, "Cost of parity", metric=metric, name="bottleneck")

    both = report(erased("bottleneck[eraser=class_mean]"), erased("bottleneck[eraser=inlp]"))
    assert titles(both) == ["Cost of parity (eraser=class_mean)", "Cost of parity (eraser=inlp)"]
    default = report(erased("bottleneck"), erased("bottleneck[eraser=inlp]"))
    assert titles(default) == ["Cost of parity", "Cost of parity (eraser=inlp)"]


def test_a_metric_that_stands_alone_says_its_parameters_as_well():
    def of(metric, *subjects):
        return [result(f"{metric}/{s}", 0.4, f"{s}: late", metric=metric, name="exchange")
                for s in subjects]  # fmt: skip

    assert titles(report(*of("exchange[length=4]", "a"))) == ["a: late (length=4)"]
    shown = overview.blocks(collect([report(*of("exchange[length=4]", "a", "b"))]).groups, [])
    assert shown[1].headers[-1] == "late"
    assert shown[1].captions[0].startswith("exchange[length=4]")
    long = "exchange[erasers=[class_mean,row_space],length=2]"
    assert titles(report(*of(long, "a"))) == ["a: late (erasers=...,length=2)"]
    twice = [*of(long, "a"), *of(long.replace("row_space", "inlp"), "a")]
    assert len({*titles(report(*twice))}) == 2
    assert titles(report(*of("exchange", "a"))) == ["a: late"]


def test_variables_of_one_title_are_told_apart():
    both = report(*(result(f"readability/{of}", 0.4, "Readable") for of in ("depth", "top")))
    assert titles(both) == ["Readable (depth)", "Readable (top)"]


def test_groups_with_a_metric_in_common_stand_in_one_section():
    behaviour = result("token_accuracy/1x", 0.9, "Right")
    groups = collect(
        [
            report(behaviour, result("readability/parity", 0.5, "Parity")),
            report(behaviour, result("readability/depth", 0.5, "Depth"), task="dyck"),
            report(behaviour, result("mine/a", 0.5, "Mine"), model="lstm"),
            report(behaviour, result("other/a", 0.5, "Other", family="colour"), model="mamba"),
        ]
    ).groups
    found = [
        ([c.title for c in s.columns], [str(group) for group in s.groups]) for s in sections(groups)
    ]
    assert found == [
        (["Right"], [str(group) for group in groups]),
        (["Parity", "Depth"], ["gru on parity@1", "gru on dyck@1"]),
        (["Mine"], ["lstm on parity@1"]),
        (["Other"], ["mamba on parity@1"]),
    ]


def test_columns_are_divided_among_tables_that_keep_the_width():
    many = columns_of(
        [
            report(
                *(result(f"a/{i}", 0.5, f"title {i}", metric="a", name="a") for i in range(4)),
                result("b/0", 0.5, "title b", metric="b", name="b"),
            )
        ]
    )

    def table(columns):
        return Block([], ["x" * 10, *(column.title for column in columns)], [])

    def widths(width):
        return [len(block.headers) - 1 for block in packed(many, table, width=width)]

    assert table(many[:1]).width == len("| xxxxxxxxxx | title 0 |")
    assert widths(100) == [5]
    assert widths(60) == [4, 1]
    assert widths(40) == [2, 2, 1]
    assert widths(1) == [1] * 5


def test_a_metric_with_a_room_has_rows_for_its_parts_as_well():
    def of(subject):
        return result(f"acme/own/{subject}", 0.5, f"{subject}: cost", metric="acme/own",
                      name="acme/own")  # fmt: skip

    columns = columns_of([report(of("first"), of("second"))])
    assert [column.part for column in columns] == ["first", "second"]
    assert set(by_subject(columns) or ()) == {"first", "second"}


def test_a_result_of_the_whole_beside_its_parts_is_a_column():
    whole = result("own", 0.5, "all of it", metric="own", name="own")
    part = result("own/first", 0.25, "first: cost", metric="own", name="own")
    assert titles(report(whole, part)) == ["all of it", "first: cost"]
    lacking = result("own", None, "own", metric="own", name="own")
    assert titles(report(part), report(lacking, task="dyck")) == ["first: cost"]


def test_a_metric_says_once_what_its_numbers_say():
    many = [
        result(f"a/{i}", 0.5, f"title {i}" * 9, metric="a", name="a") for i in range(3)
    ]  # fmt: skip
    shown = overview.blocks(collect([report(*many, captions={"a": "what is there."})]).groups, [])[
        1:
    ]
    said = [caption for block in shown for caption in block.captions]
    assert said == ["a: what is there.", *["a, continued"] * (len(shown) - 1)]
    assert len(shown) > 1


def test_metrics_of_the_same_things_stand_side_by_side_with_a_sentence_each():
    def of(metric, *subjects):
        return [
            result(f"{metric}/{s}", 0.5, f"{s}: {metric}", metric=metric, name=metric)
            for s in subjects
        ]

    both, plain = ("depth", "top"), [result("lag", 0.5, "Lag", metric="lag")]
    results = [*of("read", *both), *of("cost", *both), *of("gain", "top", "push"), *plain]
    said = {"read": "what is there.", "cost": "what is lost."}
    (group,) = collect([report(*results, captions=said)]).groups
    shown = overview.blocks(collect(group.reports).groups, [])[1:]
    assert [list(block.headers[2:]) for block in shown] == [
        ["Of", "Seeds", "read", "cost"], ["Of", "Seeds", "gain"], ["Seeds", "Lag"],
    ]  # fmt: skip
    assert list(shown[0].captions) == ["read: what is there.", "cost: what is lost."]
    assert list(shown[2].captions) == ["lag"]
    assert [row[2] for row in shown[0].rows] == ["depth", "top"]


def test_parameters_in_headings_are_no_reason_against_rows():
    def of(metric, *subjects):
        return [
            result(f"{metric}/{s}", 0.5, f"{s}: cost", metric=metric, name="cost") for s in subjects
        ]

    once = report(*of("cost[n=1]", "depth", "top", "top/inlp"), *of("cost[n=2]", "depth", "top"))
    shown = overview.blocks(collect([once]).groups, [])[1:]
    assert [list(block.headers[2:]) for block in shown] == [["Of", "Seeds", "cost"]] * 2
    assert [block.captions[0][:9] for block in shown] == ["cost[n=1]", "cost[n=2]"]
    assert [[row[2] for row in block.rows] for block in shown] == [
        ["depth", "top", "top/inlp"], ["depth", "top"],
    ]  # fmt: skip


def test_why_there_is_no_verdict_beside_a_value_is_said():
    said = Headline(title="verdict", at="verdict", otherwise="it is not the whole state")
    (group,) = collect([report(result("mine/a", 0.5, said))]).groups
    (column,) = columns_of(group.reports)
    assert dict(group.of(column).reasons) == {0: "it is not the whole state"}
    (group,) = collect([report(result("mine/a", None, said))]).groups
    assert "whole state" not in group.of(column).reasons[0]


def test_results_whose_headings_differ_in_their_subject_become_rows():
    def of(subject, *headings, id=None):
        titles = [f"{subject}: {heading}" for heading in headings]
        return result(id or f"cost/{subject}", 0.5, *titles)

    def found(*results):
        subjects = by_subject(columns_of([report(*results)]))
        return subjects and {of: [c.title for c in same] for of, same in subjects.items()}

    assert found(of("depth", "cost"), of("top", "cost")) == {"depth": ["cost"], "top": ["cost"]}
    assert found(of("depth", "cost")) is None
    assert found(of("depth", "cost"), of("top", "gain")) is None
    assert found(of("depth", "cost"), of("top", "cost", id="cost/other")) is None
