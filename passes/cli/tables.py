"""Tables on a terminal: drawn with rich where a person looks and rich is installed, else the same in plain columns."""

from __future__ import annotations

import sys
from collections.abc import Sequence

# Rows of a table, its head first; columns of numbers stand to the right.
Cells = list[list[str]]
# A line, or a table.
Part = str | Cells


def show(parts: Sequence[Part]) -> None:
    """Prints lines and tables on standard output."""
    if sys.stdout.isatty() and _show_with_rich(parts):
        return
    for part in parts:
        print(part if isinstance(part, str) else "\n".join(align(part)))


def align(cells: Sequence[Sequence[str]]) -> list[str]:
    """Columns as wide as their widest cell."""
    columns = range(len(cells[0]))
    widths = [max(len(row[c]) for row in cells) for c in columns]
    left = [_is_words(c, cells) for c in columns]
    return [
        "  ".join(cell.ljust(widths[c]) if left[c] else cell.rjust(widths[c]) for c, cell in enumerate(row)).rstrip()
        for row in cells
    ]


def _is_words(column: int, cells: Sequence[Sequence[str]]) -> bool:
    return column == 0 or not any(row[column][:1].isdigit() for row in cells[1:])


def _show_with_rich(parts: Sequence[Part]) -> bool:
    """Draws with rich; false if that is not installed."""
    try:
        import rich.box
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text
    except ImportError:
        return False
    console = Console()
    for part in parts:
        if isinstance(part, str):
            # As text: what looks like rich's markup may be a name.
            console.print(Text(part))
            continue
        table = Table(box=rich.box.SIMPLE_HEAD, pad_edge=False)
        head, *rows = part
        for column, title in enumerate(head):
            left = _is_words(column, part)
            table.add_column(Text(title), justify="left" if left else "right", no_wrap=not left, overflow="fold")
        for row in rows:
            table.add_row(*map(Text, row))
        console.print(table)
    return True
