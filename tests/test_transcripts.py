"""Tutorials and the page on upstream's defects: what they show is what the commands print."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

TRANSCRIPT = runpy.run_path(str(Path(__file__).parents[1] / "docs" / "transcript.py"))


@pytest.mark.parametrize("page", [pytest.param(page, id=page.stem) for page in TRANSCRIPT["pages"]()])
def test_page_shows_what_its_commands_print(page: Path, tmp_path: Path) -> None:
    folder = TRANSCRIPT["workplace"](tmp_path)
    found = TRANSCRIPT["sessions"](page)
    assert found, "the page has no session"
    for step in found:
        done = TRANSCRIPT["run"](step, folder)
        assert done.returncode == 0, f"$ {step.command[0]}\n{done.stdout}"
        line = TRANSCRIPT["missing"](step.shown, done.stdout.splitlines())
        assert line is None, f"$ {step.command[0]}\ndid not print: {line}\nbut:\n{done.stdout}"


def test_lines_must_be_printed_in_their_order() -> None:
    missing = TRANSCRIPT["missing"]
    assert missing(["a", "...", "c"], ["a", "b", "c "]) is None
    assert missing(["c", "a"], ["a", "b", "c"]) == "a"
    assert missing(["d"], []) == "d"


def test_sessions_are_read_as_a_shell_shows_them() -> None:
    step, other = TRANSCRIPT["steps"]("$ cat <<'END'\n> x\n> END\nx\n$ true\n")
    assert (step.command, step.shown, other.command) == (["cat <<'END'", "x", "END"], ["x"], ["true"])
    with pytest.raises(ValueError, match="no command"):
        TRANSCRIPT["steps"]("x\n")
