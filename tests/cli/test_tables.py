"""Tables look well to a person, and say the same to a program."""

from __future__ import annotations

import io
import sys

import pytest

from passes.cli import tables

PARTS: list[tables.Part] = [
    "1 x TPU", [["op", "runs", "time"], ["add[bold]", "12", "f/add"], ["dot", "1,234", "f/[red]dot"]], "... and 2 more",
]


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def _words(text: str) -> list[str]:
    return [word for word in text.split() if not set(word) <= set("─━")]


@pytest.fixture
def plain(capsys: pytest.CaptureFixture[str]) -> str:
    tables.show(PARTS)
    return capsys.readouterr().out


def test_plain_columns(plain: str) -> None:
    rows = ["op          runs  time", "add[bold]     12  f/add", "dot        1,234  f/[red]dot"]
    assert plain.splitlines() == ["1 x TPU", *rows, "... and 2 more"]


def test_numbers_stand_to_the_right_whatever_else_is_there() -> None:
    cells = [["", "a", "b"], ["bytes", "1", "12 k"], ["fits", "yes", "no"], ["more", "", "3"]]
    assert tables.align(cells) == ["         a     b", "bytes    1  12 k", "fits   yes    no", "more           3"]


def test_a_terminal_gets_the_same_words(plain: str, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = _Terminal()
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setattr(sys, "stdout", terminal)
    tables.show(PARTS)
    assert "─" in terminal.getvalue()
    assert _words(terminal.getvalue()) == _words(plain)


def test_without_rich_a_terminal_gets_plain_columns(plain: str, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = _Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setitem(sys.modules, "rich.box", None)
    tables.show(PARTS)
    assert terminal.getvalue() == plain
