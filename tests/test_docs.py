"""Pages that follow from the code are those that the code gives."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

GENERATE = runpy.run_path(str(Path(__file__).parents[1] / "docs" / "generate.py"))


@pytest.mark.parametrize("name", GENERATE["PAGES"])
def test_page_is_up_to_date(name: str) -> None:
    page = GENERATE["DOCS"] / name
    assert page.read_text() == GENERATE["PAGES"][name](), "run python docs/generate.py"
