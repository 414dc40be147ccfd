"""``--split-input-file``: the parts of a file between ``// -----`` lines, each a module of its own."""

from __future__ import annotations

from collections.abc import Iterator

MARKER = b"// -----"


def split(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The parts of ``data`` with the line (from 1) each starts at; parts of white space only are left out."""
    first = 1
    lines: list[bytes] = []
    for number, line in enumerate(data.split(b"\n"), start=1):
        if line.startswith(MARKER):
            yield from _part(first, lines)
            first, lines = number + 1, []
        else:
            lines.append(line)
    yield from _part(first, lines)


def _part(first: int, lines: list[bytes]) -> Iterator[tuple[int, bytes]]:
    data = b"\n".join(lines)
    if data.strip():
        yield first, data


def join(parts: list[str]) -> str:
    """Printed modules as one file that `split` takes apart again."""
    return f"\n{MARKER.decode()}\n".join(parts)
