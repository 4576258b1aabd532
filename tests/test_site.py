"""The documentation: notebooks print what they say, links lead somewhere, the site builds."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from docs import gathering, notebooks, registry

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.py"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_notebook_prints_what_it_says(path: Path) -> None:
    cells = notebooks.run(path)
    assert [lines for _, lines in cells] == [cell.printed for cell, _ in cells]
    assert any(cell.printed for cell, _ in cells)


def test_cells_are_text_or_code_with_what_it_prints(tmp_path: Path) -> None:
    path = tmp_path / "small.py"
    path.write_text(
        "# %% [markdown]\n# # Title\n#\n# Text.\n\n# %%\nx = 1\n\n# %%\nprint(x)\n# > 1\n"
    )
    assert notebooks.read(path) == [
        notebooks.Cell("# Title\n\nText.", None, 2),
        notebooks.Cell("x = 1", [], 7),
        notebooks.Cell("print(x)", ["1"], 10),
    ]
    assert [lines for _, lines in notebooks.run(path)] == [[], ["1"]]
    page = notebooks.pages(tmp_path)["notebooks/small.md"]
    assert page.startswith("# Title\n\nText.\n\n```python\nx = 1\n```\n\n```python\nprint(x)\n```")
    assert "```text\n1\n```" in page


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("[a](../model_registry/README.md#checkpoints)", "[a](models/index.md#checkpoints)"),
        ("![p](../leaderboards/retrieval-small-ar.png)", "![p](studies/retrieval-small-ar.png)"),
        ("[`parity`](../task_registry/parity.py)", "`parity`"),
        ("[a test](../tests/test_docs.py)", "a test (`tests/test_docs.py`)"),
        ("[a](https://example.org/x.md), [b](#here)", "[a](https://example.org/x.md), [b](#here)"),
        ("[a metric](metrics/recovery.md)", "[a metric](metrics/recovery.md)"),
    ],
)
def test_links_lead_to_pages_or_name_a_file(text: str, wanted: str) -> None:
    pages, made = gathering.sources(), {"metrics/recovery.md": ""}
    assert gathering.relinked(text, "docs/numbers.md", pages, made) == wanted


def test_a_link_to_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match=r"docs/numbers.md links to ../nothing.md"):
        gathering.relinked("[a](../nothing.md)", "docs/numbers.md", gathering.sources(), {})


def test_every_source_of_a_page_exists_and_no_two_have_one_place() -> None:
    pages = gathering.sources()
    assert all((ROOT / source).is_file() for source in pages)
    assert len(set(pages.values())) == len(pages)


def test_a_page_of_a_metric_has_what_show_says_and_known_values() -> None:
    page = registry._page("metric", {"name": "write_offset"})
    assert page.startswith("# `write_offset`\n\nHow many positions after a token")
    assert "| `max_offset` |" in page
    assert "Declared in `mecheval/metrics/intervention/write_offset.py`." in page
    assert "| `planted/mamba-recall[shift=1]` |" in page
    assert str(ROOT) not in page


@pytest.mark.slow
def test_the_site_builds_strictly() -> None:
    pytest.importorskip("zensical", reason="the site needs the extra 'docs'")
    ended = subprocess.run([sys.executable, "-m", "docs"], cwd=ROOT, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    html = ROOT / ".site" / "html"
    assert "Bottleneck" in (html / "numbers.html").read_text(encoding="utf-8")
    assert (html / "metrics" / "recovery.html").exists()
    assert "recovery_grid" in (html / "api.html").read_text(encoding="utf-8")
