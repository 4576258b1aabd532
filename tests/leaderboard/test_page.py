"""The page as text: its rows, cells, links, and that nothing in it is fetched or runs by itself."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from shown_pages import HOSTILE, reports, shown
from synthetic_reports import synthetic

from mecheval.leaderboard.page import assets, specs
from mecheval.leaderboard.page.build import pages
from mecheval.leaderboard.page.links import links_between
from mecheval.leaderboard.page.markup import data, marked, text
from mecheval.leaderboard.page.strip import strip
from mecheval.reports.collection import Collection, collect
from mecheval.reports.collection.numbers import Number, over_seeds
from mecheval.reports.command_lines import commands
from mecheval.reports.comparison import compare
from mecheval.reports.comparison.text import row
from mecheval.reports.schema import Labels

OURS = 'data-name="gru[layers=4] on parity@1"'


class Elements(HTMLParser):
    """All elements of a page, with their attributes and the text of scripts."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.in_script = False
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag == "script":
            self.in_script = True
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        self.in_script = False

    def handle_data(self, data: str) -> None:
        if self.in_script:
            self.scripts[-1] += data

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.found if name == tag]


@pytest.fixture(scope="module")
def page() -> str:
    files = pages(shown())
    assert list(files) == ["index.html"]
    return files["index.html"]


@pytest.fixture(scope="module")
def elements(page: str) -> Elements:
    return Elements(page)


def test_libraries_are_those_that_came_from_npm() -> None:
    known = assets.vendored()
    assert set(known) == {path.name for path in assets.FOLDER.glob("*.min.*")}
    assert {name: assets.sha256(name) for name in known} == known
    used = {*assets.PICTURES, assets.TABLE, assets.TABLE_STYLE}
    assert used == set(known)
    licences = assets.read(assets.LICENCES)
    for name in used:
        library, version = re.fullmatch(r"(.*)-([0-9.]+)\.min\.\w+", name).groups()  # type: ignore[union-attr]
        assert re.search(rf"== {library}\S* {version} ==", licences)


@pytest.mark.parametrize("theme", specs.PALETTES)
@pytest.mark.parametrize("kind", specs.specs())
def test_specs_are_of_vega_lite(kind: str, theme: str) -> None:
    altair = pytest.importorskip("altair", reason="validating specs needs the extra 'dev'")
    spec = specs.specs()[kind] | {"config": specs.themes()[theme]["config"]}
    chart = altair.VConcatChart if "vconcat" in spec else altair.Chart
    chart.from_dict(spec)
    with pytest.raises(jsonschema.ValidationError):
        chart.from_dict(spec | {"data": 3})


def test_a_row_per_model_and_task(page: str, elements: Elements) -> None:
    named = [each["data-name"] for each in elements.of("tr") if "data-id" in each]
    assert len(named) == len(collect(reports()).groups) == len(set(named))
    assert "gru[layers=4] on parity@1" in named
    rows = re.findall(r"<tr data-id.*?</tr>", page)
    gru = next(line for line in rows if OURS in line)
    assert gru.count('class="seed"') == len(re.findall("href=", gru)) - 1 == 2
    assert "tracking predicted (2 of 2)" in gru
    assert 'data-learned="all seeds"' in gru
    assert 'href="../results/a%20folder/0.json"' in gru


def test_cells_hold_pictures_configuration_commands_and_reports(page: str) -> None:
    cells = re.findall(r"<template.*?</template>", page, re.DOTALL)
    cell = next(each for each in cells if OURS in each)
    kinds = re.findall(r'class="drawn">\{"kind":"(\w+)"', cell)
    assert {"state", "map", "grid", "training", "curve"} <= set(kinds)
    assert "mecheval run --models &#x27;gru[layers=4]&#x27; --tasks parity --seeds 0-1" in cell
    assert "Everything that decides the numbers" in cell
    assert cell.count("seed 0, as JSON") == 1


def test_trivial_cells_keep_their_mark(page: str) -> None:
    drawn = [json.loads(each) for each in re.findall(r'class="drawn">(.*?)</script>', page)]
    grid = next(each for each in drawn if each["kind"] == "grid")
    assert grid["trivial"][0] == "1" * len(grid["columns"])
    assert len(grid["values"]) == len(grid["rows"]) == 4


def test_nothing_is_fetched(elements: Elements) -> None:
    for tag, attributes in elements.found:
        for name in ("src", "href", "srcset", "action", "poster", "data"):
            assert not re.match(r"\s*(https?:|//|javascript:)", attributes.get(name) or "", re.I)
        assert tag not in ("link", "iframe", "object", "embed", "base", "img")
        assert not [name for name in attributes if name.startswith("on")]
    assert not [each for each in elements.of("script") if "src" in each]


def test_only_scripts_of_the_page_may_run(elements: Elements) -> None:
    (policy,) = [each["content"] or "" for each in elements.of("meta") if each.get("http-equiv")]
    assert "default-src 'none'" in policy
    assert "'unsafe-inline'" not in policy.partition("script-src")[2]
    run = zip(elements.of("script"), elements.scripts, strict=True)
    hashes = {
        base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        for attributes, script in run
        if attributes.get("type") != "application/json"
    }
    assert set(re.findall(r"'sha256-(\S+)'", policy)) == hashes
    assert len(hashes) == 5


def test_hostile_names_are_text(page: str, elements: Elements) -> None:
    assert not elements.of("img")
    assert "<script>alert" not in page
    assert "\u202e" not in page
    assert "\x1b" not in page
    names = " ".join(each["data-name"] or "" for each in elements.of("tr") if "data-id" in each)
    assert all(name in names for name in HOSTILE[:3])
    assert "\\u202eevil\\x1b" in names


def test_blocks_of_data_end_where_they_should() -> None:
    block = data({"a": "</script><!--\u2028\u202e"}, class_="x")
    inside = block.removeprefix('<script type="application/json" class="x">')
    inside = inside.removesuffix("</script>")
    assert "<" not in inside
    assert json.loads(inside) == {"a": "</script><!--\\u2028\\u202e"}
    with pytest.raises(ValueError, match="JSON compliant"):
        data(float("nan"))


def test_words_of_ours_are_emphasised_and_others_escaped() -> None:
    assert marked("*ours* `a<b` layer=*, <i>") == (
        "<em>ours</em> <code>a&lt;b</code> layer=*, &lt;i&gt;"
    )
    assert text("<i>") == "&lt;i&gt;"


def test_a_large_page_has_a_file_per_cell() -> None:
    files = pages(shown(), most=1000)
    cells = [name for name in files if name.startswith("cells/")]
    assert len(cells) == len(collect(reports()).groups)
    index = Elements(files["index.html"])
    assert {each["href"] for each in index.of("a") if "cells/" in (each.get("href") or "")} == {
        *cells
    }
    assert "<template id=" not in files["index.html"]
    cell = Elements(next(files[name] for name in cells if OURS in files[name]))
    assert [each["href"] for each in cell.of("a") if "results" in (each["href"] or "")] == [
        "../../results/a%20folder/0.json", "../../results/a%20folder/1.json"
    ]  # fmt: skip
    for each in cell.of("script"):
        source = each.get("src")
        assert source is None or f"scripts/{Path(source).name}" in files


def test_models_side_by_side_have_the_numbers_of_compare(page: str) -> None:
    block: Any = re.search(r'id="comparisons">(.*?)</script>', page)
    parity = next(each for each in json.loads(block[1]) if each["task"] == "parity@1")
    ids = {model["name"]: id for id, model in parity["models"].items()}
    pair = parity["pairs"][f"{ids['gru[layers=4]']} {ids['lstm[layers=4]']}"]
    groups = {group.name.model: group for group in shown().collection.groups}
    one, other = (Collection([groups[name]]) for name in ("gru[layers=4]", "lstm[layers=4]"))
    expected = [row(each) for each in compare(one, other).differences]
    assert [[parity["said"][title], *rest] for title, *rest in pair["rows"]] == expected


def test_pairs_are_a_table_and_a_map(page: str) -> None:
    part = page.partition('<section id="similarity">')[2].partition("</section>")[0]
    assert "0.500" in part
    assert '"kind":"map"' in part


def test_the_title_is_the_readers(page: str) -> None:
    assert "<title>Results &lt;of&gt; a test</title>" in page


def test_the_same_reports_give_the_same_page(page: str) -> None:
    assert pages(shown())["index.html"] == page


def test_a_strip_has_a_dot_per_seed_and_says_its_numbers() -> None:
    summary = over_seeds({0: Number(0.25), 1: Number(0.75)})
    drawn = strip(summary, (0.0, 1.0), floor=0.5)
    assert drawn.count("<circle") == 2
    assert 'cx="35.5"' in drawn
    assert "by seed: seed 0 0.250, seed 1 0.750" in drawn
    assert 'class="floor"' in drawn
    assert strip(over_seeds({0: Number(reason="x")}), (0.0, 1.0)) == ""


def test_commands_name_what_was_asked_for() -> None:
    labels = Labels(
        model={"width": 8},
        task={"k": 3},
        run={"lr": 0.1, "limit": 4, "metrics": ["recovery", "probe[a=1]"], "sweep.steps": [1, 2]},
    )
    asked = [synthetic("gru", "dyck", seed, model_args={"width": 8}, task_params={"k": 3})
             .model_copy(update={"labels": labels}) for seed in (0, 1, 3)]  # fmt: skip
    assert commands([*asked, synthetic()]) == [
        "mecheval run --models 'gru[width=8]' --tasks 'dyck[k=3]' --limit 4 --recipe lr=0.1 "
        "--sweep steps=1,2 --metrics recovery 'probe[a=1]' --seeds 0-1,3"
    ]


def test_links_lead_from_the_page_to_the_reports(tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    links = links_between(tmp_path / "results", tmp_path / "a" / "site", {})
    assert links.reports == "../../results"
