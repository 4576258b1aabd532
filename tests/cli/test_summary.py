"""The tables of a run: what is asked in words, means over seeds, reasons in place of numbers."""

from __future__ import annotations

from headline_reports import report, result

from mecheval.cli.summary import summary
from mecheval.reports.collection import overview
from mecheval.reports.collection.notes import OTHER_RECIPE
from mecheval.reports.labels import ABOUT_NO_GATE
from mecheval.reports.markdown import table
from mecheval.reports.schema import Failure, Headline, Labels, MetricIdentity, Report

VERDICT = Headline(title="How", at="verdict")
LAYER = Headline(title="Where", at="layer", kind="layer")
CELL = ["lstm[width=48]", "parity@1"]
ERROR = Failure(type="E", message="out of luck", stage="train", traceback="")


def of(*results, seed: int = 0, **changes) -> Report:
    return report(*results, seed=seed, model="lstm", labels={"width": 48}, **changes)


def accuracy(value: float | None, **changes):
    return result("token_accuracy/1x", value, "Right answers", references={"floor": 0.5}, **changes)


def recovery(value: float | None, reason: str = "not learned: 0.5 < 0.99"):
    changes = {} if value is not None else {"reason": reason}
    return result("recovery/stream", value, "Stream midway", width=0, **changes)


def tables(*reports: Report) -> list[list[list[str]]]:
    """Return the rows of every table, headers first."""
    parts = [part.splitlines() for part in summary(reports).split("\n\n")]
    return [
        [[cell.strip() for cell in line.split("|")[1:-1]] for line in (lines[0], *lines[2:])]
        for lines in parts
        if lines[0].startswith("|")
    ]


def notes(*reports: Report) -> list[str]:
    return [line for line in summary(reports).splitlines() if line.startswith("- ")]


def test_one_seed_has_the_interval_of_its_report_and_the_gate():
    behaviour, evidence = tables(of(accuracy(0.75), recovery(None), seed=3))
    assert behaviour == [
        ["Model", "Task", "Seeds", "Right answers", "Floor", "Learned"],
        [*CELL, "3", "0.750 [0.700, 0.800]", "0.500", "yes (gate 0.99)"],
    ]
    assert evidence == [["Model", "Task", "Seeds", "Stream midway"], [*CELL, "3", "not learned"]]
    assert overview.ABOUT_EXAMPLES in summary([of(accuracy(0.75))])


def test_several_seeds_become_a_mean_and_a_t_interval():
    reports = [of(accuracy(0.5 + 0.1 * seed), seed=seed) for seed in range(4)]
    _, row = tables(*reports)[0]
    assert row[2:] == ["0-3", "0.650 [0.445, 0.855]", "0.500", "4 of 4 (gate 0.99)"]
    assert overview.ABOUT_SEEDS in summary(reports)


def test_equal_seeds_bear_the_mark_that_is_explained():
    _, row = tables(*(of(accuracy(1.0), seed=seed) for seed in range(3)))[0]
    assert row[3] == "1.000 [0.950, 1.050]\u00b9"
    _, bare = tables(*(of(accuracy(1.0, width=0), seed=seed) for seed in range(3)))[0]
    assert bare[3] == "1.000"


def test_seeds_without_a_value_are_counted():
    values = [recovery(0.5), recovery(None), recovery(0.75)]
    _, row = tables(*(of(value, seed=seed) for seed, value in enumerate(values)))[-1]
    assert row[3].startswith("0.625 [")
    assert row[3].endswith("(2 of 3 seeds)")


def test_verdicts_and_layers_stand_with_their_counts():
    def mechanism(word, layer):
        return result("mechanism", 1.0, VERDICT, LAYER, verdict=word, scalars={"layer": layer})

    words = [("direct", 1), ("induction", 2), ("induction", 1)]
    reports = [of(mechanism(*found), seed=seed) for seed, found in enumerate(words)]
    _, row = tables(*reports)[-1]
    assert row[3:] == ["induction (2 of 3), direct (1 of 3)", "1 (2 of 3), 2 (1 of 3)"]
    _, row = tables(of(mechanism("direct", 1)))[-1]
    assert row[3:] == ["direct", "1"]


def test_a_range_is_what_all_seeds_have_in_common():
    def mechanism(low, high):
        ends = {} if low is None else {"at": 0.5, "at_low": low, "at_high": high}
        return result("mechanism", 1.0, Headline(title="At", at="at", kind="range"), scalars=ends)

    ends = [(0.01, 0.75), (0.2, 1.0)]
    assert tables(of(mechanism(*ends[0])))[-1][1][3] == "0.01 to 0.75"
    _, row = tables(*(of(mechanism(*found), seed=seed) for seed, found in enumerate(ends)))[-1]
    assert row[3] == "0.20 to 0.75"
    ends += [(0.8, 0.9), (None, None)]
    _, row = tables(*(of(mechanism(*found), seed=seed) for seed, found in enumerate(ends)))[-1]
    assert row[3] == "none in common (3 of 4 seeds)"


def test_what_passed_no_gate_is_not_called_learned():
    one = of(accuracy(0.75), recipe={"gate": 0.0})
    ((_, row),) = tables(one)
    assert row[-1] == "no gate"
    assert ABOUT_NO_GATE in summary([one])
    assert ABOUT_NO_GATE not in summary([of(accuracy(0.75))])


def test_a_recipe_that_is_not_the_default_is_said_where_it_is_the_only_one():
    def by(seed, **run):
        known = Labels(model={"width": 48}, run=run)
        return of(accuracy(0.75), seed=seed).model_copy(update={"labels": known})

    same = [by(seed, lr=0.003, metrics=["recovery"]) for seed in range(2)]
    assert notes(*same) == [f"- {OTHER_RECIPE} lr=0.003: {CELL[0]} on parity@1"]
    assert notes(same[0], by(1)) == [f"- {OTHER_RECIPE} lr=0.003: {CELL[0]} (seed 0) on parity@1"]
    assert notes(by(0, metrics=["recovery"])) == []


def test_an_interval_ends_where_the_number_can_be_no_larger():
    def left(value, bounds):
        known = Headline(title="Left", at="left", bounds=bounds)
        return result("mine", 2.0, known, scalars={"left": value})

    def shown(bounds):
        values = enumerate((0.0, 0.1))
        return tables(*(of(left(value, bounds), seed=seed) for seed, value in values))[-1][1][3]

    assert shown((0.0, 1.0)) == "0.050 [0.000, 0.685]"
    assert shown((None, None)) == "0.050 [-0.585, 0.685]"


def test_every_metric_and_every_variable_is_a_column():
    results = [result(f"mine/{name}", 0.5, f"Mine, {name}") for name in ("a", "b")]
    shown = tables(of(accuracy(1.0), recovery(0.5), *results))
    assert [row[0] for row in shown][1][3:] == ["Stream midway", "Mine, a", "Mine, b"]


def test_variables_are_rows_where_their_headings_are_alike():
    def readable(variable, value):
        where = Headline(title=f"{variable}: where", at="layer", kind="layer")
        titles = f"{variable}: readable", where
        return result(f"readability/{variable}", value, *titles, width=0, scalars={"layer": 2.0})

    dyck = of(readable("depth", 0.5), readable("top", 0.75), task="dyck")
    one = report(readable("depth", 0.25), model="gru", task="dyck")
    rows = tables(of(readable("parity", 1.0)), dyck, one)[-1]
    assert rows == [
        ["Model", "Task", "Of", "Seeds", "readable", "where"],
        [*CELL, "parity", "0", "1.000", "2"],
        ["lstm[width=48]", "dyck@1", "depth", "0", "0.500", "2"],
        ["lstm[width=48]", "dyck@1", "top", "0", "0.750", "2"],
        ["gru", "dyck@1", "depth", "0", "0.250", "2"],
        ["gru", "dyck@1", "top", "0", "not measured", "not measured"],
    ]


def test_what_a_task_does_not_have_is_empty_and_what_was_not_measured_says_so():
    dyck = of(result("mine/depth", 0.5, "Depth"), task="dyck")
    both = of(result("mine/parity", 0.5, "Parity"), result("mine/bit", 0.1, "Bit"))
    one = report(result("mine/parity", 0.5, "Parity"), model="gru")
    rows = tables(both, one, dyck)[-1]
    assert rows[0][3:] == ["Parity", "Bit", "Depth"]
    assert rows[2][3:] == ["0.500 [0.450, 0.550]", "not measured", ""]


def test_recipes_have_a_column_where_there_are_several():
    slow, fast = (of(accuracy(0.9), recipe={"lr": lr}) for lr in (0.001, 0.01))
    rows = tables(slow, fast)[0]
    assert rows[0][:4] == ["Model", "Task", "Recipe", "Seeds"]
    assert [row[2] for row in rows[1:]] == ["lr=0.001", "lr=0.01"]
    assert tables(of(accuracy(0.9), limit=8))[0][1][2] == "limit=8"


def test_reasons_are_one_line_each_with_the_cells_that_they_are_about():
    reports = [
        of(recovery(None, f"only {seed + 3} of 64 pairs have a gap"), accuracy(0.99), seed=seed)
        for seed in range(3)
    ]
    reports += [
        report(recovery(None, "only 9 of 64 pairs have a gap"), task="dyck", seed=0),
        report(recovery(0.1), task="dyck", seed=1),
        report(result("mine", None, "Mine", reason="only 7 of 64 pairs have a gap"), task="ar"),
        report(recovery(None, "only 8 of 64 pairs have a gap"), task="ar"),
    ]
    about = "of 64 pairs have a gap"
    assert notes(*reports) == [  # numbers of other tasks and metrics are other numbers
        f"- only 3 to 5 {about} (Stream midway): lstm[width=48] on parity@1",
        f"- only 9 {about} (Stream midway): gru (seed 0) on dyck@1",
        f"- only 8 {about} (Stream midway): gru on ar@1",
        f"- only 7 {about} (Mine): gru on ar@1",
    ]


def test_a_number_beside_a_value_says_why_it_is_missing():
    layer = Headline(title="Where", at="layer", kind="layer", otherwise="none stands out")
    cell = of(result("mine", 0.1, "Lost", layer, scalars={"layer": None}))
    assert tables(cell)[-1][1][3:] == ["0.100 [0.050, 0.150]", "none stands out"]
    assert notes(cell) == ["- none stands out (Where): lstm[width=48] on parity@1"]


def test_parameters_that_a_task_has_of_its_own_are_said():
    def erased(task, **config):
        whole = of(result("mine", 0.5, "Mine", metric="mine", config=config), task=task)
        metric = MetricIdentity(name="mine", version=1, params={"eraser": config["eraser"]})
        identity = whole.identity.model_copy(update={"metrics": [metric]})
        return whole.model_copy(update={"identity": identity})

    cells = [erased("parity", eraser="mean", length=8), erased("dyck", eraser="leace", length=9)]
    assert notes(*cells) == ["- mine has eraser=leace: lstm[width=48] on dyck@1"]
    assert not notes(cells[0], erased("dyck", eraser="mean", length=9))


def test_what_cannot_be_measured_on_one_task_is_no_column_beside_its_parts():
    def bound(of):
        return result(f"mine/{of}", 0.5, f"{of}: cost", metric="mine", name="mine")

    lacking = result("mine", None, "mine", metric="mine", name="mine", reason="not applicable: no")
    there, missing = of(bound("a"), bound("b")), of(lacking, task="dyck")
    assert tables(there, missing)[-1] == [
        ["Model", "Task", "Of", "Seeds", "cost"],
        [*CELL, "a", "0", "0.500 [0.450, 0.550]"], [*CELL, "b", "0", "0.500 [0.450, 0.550]"],
    ]  # fmt: skip
    assert notes(there, missing) == ["- not applicable: no (mine): lstm[width=48] on dyck@1"]
    assert tables(missing)[-1][0] == ["Model", "Task", "Seeds", "mine"]


def test_that_a_task_was_not_learned_is_said_in_the_table_alone():
    assert not notes(of(recovery(None), learned=False))


def test_reasons_fill_no_more_than_a_screen():
    results = [
        result(f"mine/{i}", None, f"Mine {i}", reason=f"reason {'abcdefghijklmnop'[i]}")
        for i in range(16)
    ]
    shown = notes(of(*results))
    assert len(shown) == 13
    assert shown[-1] == "- and 4 more, which stand in the reports"


def test_many_cells_of_one_reason_are_counted():
    reports = [report(recovery(None, "no gap"), model=f"m{i}") for i in range(9)]
    assert notes(*reports) == [
        "- no gap (Stream midway): m0, m1, m2, m3, m4 and 4 more on parity@1"
    ]


def test_a_failed_cell_has_a_row_of_its_own():
    failed = [of(seed=seed, status="error", error=ERROR) for seed in (1, 2)]
    rows = tables(of(accuracy(1.0)), *failed)[0]
    assert [row[2:] for row in rows[1:]] == [
        ["0", "1.000 [0.950, 1.050]", "0.500", "yes (gate 0.99)"],
        ["1-2", "", "", "failed in train"],
    ]
    assert notes(*failed) == [
        "- error: E in train: out of luck: lstm[width=48] (seeds 1-2) on parity@1"
    ]
    assert tables(*failed)[0][1][2:] == ["1-2", "", "failed in train"]


def test_what_a_sweep_chose_is_said_per_choice():
    from mecheval.reports.schema import SweepRun, TrainingPart

    def swept(seed, best):
        runs = [
            SweepRun(values={"lr": lr}, chosen=lr == best, steps=1, stopped="budget",
                     validation_accuracy=0.5, loss=1.0)
            for lr in (0.01, 0.03)
        ]  # fmt: skip
        training = TrainingPart(
            recipe="tiny+", recipe_sha256="", optimizer="adamw", steps=1, examples=1,
            stopped="budget", validation_accuracy=0.5, curve=[], weights_sha256="", sweep=runs,
        )  # fmt: skip
        return of(accuracy(0.9), seed=seed, training=training)

    assert notes(swept(0, 0.01), swept(1, 0.03), swept(2, 0.03)) == [
        "- of 2 recipes, lr=0.03 was best on the validation split: lstm[width=48] (seeds 1-2) on "
        "parity@1",
        "- of 2 recipes, lr=0.01 was best on the validation split: lstm[width=48] (seed 0) on "
        "parity@1",
    ]


def test_text_of_reports_is_no_markup():
    evil = result("mine/a", None, "[x](javascript:alert)", reason="<img onerror=1>")
    shown = summary([of(evil)])
    assert "<img" not in shown
    assert "[x](" not in shown


def test_a_table_lines_up_and_escapes_bars():
    assert table(["a", "long"], [["x|y", "1"]]) == (
        "| a    | long |\n| ---- | ---- |\n| x\\|y | 1    |"
    )
