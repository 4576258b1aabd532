"""Folders of pages: what is ours is written again and removed, what is not stays."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mecheval.errors import StorageError
from mecheval.reports.documents import write_folder

if TYPE_CHECKING:
    from pathlib import Path

MARK = "made by a test"


def test_earlier_pages_of_ours_go_and_others_stay(tmp_path: Path) -> None:
    write_folder(tmp_path, {"index.html": MARK, "cells/a.html": MARK, "cells/b.html": MARK}, MARK)
    (tmp_path / "cells" / "mine.html").write_text("mine")
    write_folder(tmp_path, {"index.html": MARK, "cells/b.html": f"{MARK} again"}, MARK)
    found = {path.name: path.read_text() for path in (tmp_path / "cells").iterdir()}
    assert found == {"b.html": f"{MARK} again", "mine.html": "mine"}


def test_what_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "cells").write_text("in the way")
    with pytest.raises(StorageError, match="could not be written"):
        write_folder(tmp_path, {"cells/a.html": MARK}, MARK)
