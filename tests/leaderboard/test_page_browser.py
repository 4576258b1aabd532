"""The page in a real browser: nothing leaves, nothing hostile runs, rows are found and opened."""

from __future__ import annotations

import re
import shutil
from typing import TYPE_CHECKING, Any

import pytest
from shown_pages import shown

from mecheval.leaderboard.page.build import pages

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CHROMIUM = shutil.which("chromium")
SECONDS = 120
"""A browser beside other tests is slow; how slow is not tested."""

playwright = pytest.importorskip("playwright.sync_api", reason="browsers need the extra 'dev'")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium here"),
    pytest.mark.xdist_group("browser"),
]
DRAWN = "figure[data-state=drawn]"
NAMES = "#grid .tabulator-cell[tabulator-field=of0] a"
FIGURES = "dialog figure.picture"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as tools:
        made = tools.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox"], timeout=1000 * SECONDS
        )
        yield made
        made.close()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    page = pages(shown())["index.html"]
    (folder / "index.html").write_text(page, encoding="utf-8")
    first, *_ = re.findall(r"<tr data-id.*?</tr>", page)
    rows = "".join(
        first.replace('data-id="', f'data-id="n{n}-', 1).replace("</a>", f" number {n}</a>", 1)
        for n in range(1000)
    )
    (folder / "many.html").write_text(page.replace(first, rows, 1), encoding="utf-8")
    for name, text in pages(shown(), most=1000).items():
        path = folder / "apart" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder


class Watched:
    """A tab, and everything that it asked for or complained of."""

    def __init__(self, tab: Any) -> None:
        self.tab = tab
        self.asked: list[str] = []
        self.complaints: list[str] = []
        tab.set_default_timeout(1000 * SECONDS)
        tab.on("request", lambda request: self.asked.append(request.url))
        tab.on("console", lambda message: self.complaints.append(message.text))
        tab.on("pageerror", lambda error: self.complaints.append(str(error)))
        tab.on("dialog", lambda dialog: (self.complaints.append(dialog.message), dialog.dismiss()))

    def open(self, path: Path, address: str = "") -> Any:
        self.tab.goto(path.as_uri() + address)
        self.tab.wait_for_selector("body[data-done]")
        return self.tab

    def rows(self) -> list[str]:
        return self.tab.locator(NAMES).all_inner_texts()


@pytest.fixture
def watched(browser: Any) -> Iterator[Watched]:
    tab = browser.new_page(viewport={"width": 1366, "height": 900})
    found = Watched(tab)
    yield found
    tab.close()
    assert found.complaints == []
    assert [url for url in found.asked if not url.startswith(("file:", "data:", "blob:"))] == []


def draw_all(tab: Any) -> int:
    """Scroll to every picture of the open cell, and wait until each is drawn."""
    tab.evaluate(
        "document.querySelectorAll('dialog details').forEach((each) => { each.open = true; })"
    )
    n = tab.locator(FIGURES).count()
    for nth in range(n):
        tab.locator(FIGURES).nth(nth).scroll_into_view_if_needed()
        tab.wait_for_function(
            "(nth) => /drawn|failed/.test("
            f"document.querySelectorAll('{FIGURES}')[nth].dataset.state)", arg=nth,
        )  # fmt: skip
    return n


def test_rows_are_searched_filtered_and_sorted(watched: Watched, site: Path) -> None:
    tab = watched.open(site / "index.html")
    assert len(watched.asked) == 1
    everything = len(watched.rows())
    tab.fill("#search", "LSTM parity")
    assert watched.rows() == ["lstm[layers=4]"]
    assert "1 of" in tab.inner_text("#count")
    tab.click("#clear")
    assert len(watched.rows()) == everything
    tab.select_option("[data-filter=learned]", "no seed")
    assert watched.rows() == ["mamba"]
    tab.click("#clear")
    tab.locator(".tabulator-col", has_text="Score").focus()
    tab.keyboard.press("Enter")
    assert watched.rows()[0].startswith("mamba")
    assert tab.locator(".tabulator-col[aria-sort=ascending]").inner_text().strip() == "Score"
    tab.keyboard.press("Enter")
    assert watched.rows()[-1].startswith("mamba")


def test_a_cell_opens_with_pictures_that_were_drawn_on_sight(watched: Watched, site: Path) -> None:
    altair = pytest.importorskip("altair", reason="validating specs needs the extra 'dev'")
    tab = watched.open(site / "index.html")
    link = tab.locator(NAMES, has_text="lstm[layers=4]")
    link.focus()
    tab.keyboard.press("Enter")
    tab.wait_for_selector("dialog[open] article.cell")
    assert "#cell-" in tab.url
    assert "lstm" in (tab.get_attribute("dialog", "aria-label") or "")
    assert tab.locator(f"dialog {DRAWN}").count() < tab.locator(FIGURES).count()
    n = draw_all(tab)
    assert tab.locator(f"dialog {DRAWN}").count() == n == 5
    drawn = tab.evaluate(
        f"[...document.querySelectorAll('{FIGURES}')]"
        ".map((each) => mecheval.finished(mecheval.dataOf(each), 400))"
    )
    for spec in drawn:
        chart = altair.VConcatChart if "vconcat" in spec else altair.Chart
        chart.from_dict(spec)
    assert tab.locator("dialog [fill='url(#hatch)']").count() > 10
    grid = next(
        spec
        for spec in drawn
        if "encoding" in spec and spec["encoding"]["x"]["title"] == "position"
    )
    assert grid["encoding"]["x"]["sort"] == [str(position) for position in range(17)]
    assert grid["encoding"]["y"]["sort"] == ["3", "2", "1", "0"]
    behind = tab.locator("dialog details.behind table").first
    assert behind.locator("tr").count() > 2
    tab.keyboard.press("Escape")
    tab.wait_for_function("location.hash === ''")
    assert tab.evaluate("document.activeElement.textContent") == "lstm[layers=4]"


def test_hostile_names_are_shown_and_do_nothing(watched: Watched, site: Path) -> None:
    tab = watched.open(site / "index.html")
    names = " ".join(watched.rows())
    assert "onerror=alert(1)" in names
    assert "</script>" in names
    tab.locator(NAMES, has_text="onerror").click()
    tab.wait_for_selector("dialog[open] article.cell")
    draw_all(tab)
    assert tab.locator("img").count() == 0


def test_models_are_held_side_by_side(watched: Watched, site: Path) -> None:
    tab = watched.open(site / "index.html")
    tab.fill("#search", "parity layers=4")
    for name in ("gru", "lstm"):
        tab.get_by_label(f"Compare {name}[layers=4] on parity@1").check()
    tab.click("#compare")
    tab.wait_for_selector("dialog[open] .comparison")
    said = tab.inner_text("dialog")
    assert "A: gru[layers=4]; B: lstm[layers=4]" in said
    assert "2 seeds are too few for a claim" in said


def test_of_a_thousand_rows_those_in_view_are_drawn(watched: Watched, site: Path) -> None:
    tab = watched.open(site / "many.html")
    assert tab.inner_text("#count").startswith("10")
    assert 3 < tab.locator("#grid .tabulator-row").count() < 150
    tab.fill("#search", "number 777")
    assert len(watched.rows()) == 1
    assert tab.locator("svg.marks").count() == 0, "no picture of a closed cell is drawn"


def test_an_address_opens_its_cell_and_a_phone_has_no_sideways_page(
    watched: Watched, site: Path
) -> None:
    tab = watched.tab
    tab.set_viewport_size({"width": 390, "height": 844})
    found: Any = re.search(r'data-id="(cell-\w+)"', (site / "index.html").read_text())
    watched.open(site / "index.html", f"#{found[1]}")
    tab.wait_for_selector("dialog[open] article.cell")
    assert tab.evaluate("document.documentElement.scrollWidth") <= 390
    assert tab.evaluate("document.querySelector('dialog').scrollWidth") <= 390


def test_paper_gets_the_rows_that_are_left(watched: Watched, site: Path) -> None:
    tab = watched.open(site / "index.html")
    tab.fill("#search", "parity layers=4")
    tab.emulate_media(media="print")
    tab.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert tab.locator("#results tbody tr:visible").count() == 2
    assert not tab.locator("#grid").is_visible()


def test_paper_gets_all_of_an_open_cell(watched: Watched, site: Path) -> None:
    tab = watched.open(site / "index.html")
    tab.locator(NAMES, has_text="gru[layers=4]").click()
    tab.wait_for_selector("dialog[open] article.cell")
    assert tab.pdf().count(b"/Type /Page\n") > 2
    tab.evaluate("dispatchEvent(new Event('afterprint'))")
    assert tab.locator("#paper").count() == 0


def test_without_scripts_all_numbers_are_there(browser: Any, site: Path) -> None:
    context = browser.new_context(java_script_enabled=False)
    tab = context.new_page()
    tab.goto((site / "index.html").as_uri())
    assert tab.locator("#results tbody tr").first.is_visible()
    assert not tab.locator("#controls").is_visible()
    assert "Without scripts" in tab.inner_text("noscript")
    context.close()


def test_cells_in_files_of_their_own_draw(watched: Watched, site: Path) -> None:
    tab = watched.open(site / "apart" / "index.html")
    tab.locator(NAMES, has_text="gru[layers=4]").click()
    tab.wait_for_url("**/cells/*.html")
    tab.wait_for_selector(f"main.alone {DRAWN}", state="attached")
    assert all("/apart/" in url for url in watched.asked)
