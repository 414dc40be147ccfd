"""The parts of a file between ``// -----`` lines."""

from __future__ import annotations

import pytest

from passes.cli import split_input


@pytest.mark.parametrize(
    ("data", "parts"),
    [
        (b"a\nb", [(1, b"a\nb")]),
        (b"a\n// -----\nb\n", [(1, b"a"), (3, b"b\n")]),
        (b"a\n// ----- what follows is b\nb", [(1, b"a"), (3, b"b")]),
        (b"// -----\n\n// -----\na\n// -----", [(4, b"a")]),
        (b"a // -----\n//-----\n // -----", [(1, b"a // -----\n//-----\n // -----")]),
        (b"a\r\n// -----\r\nb", [(1, b"a\r"), (3, b"b")]),
        (b"a\x0bb\xe2\x80\xa8c\n// -----\nd", [(1, b"a\x0bb\xe2\x80\xa8c"), (3, b"d")]),
        (b" \n", []),
    ],
)
def test_split(data: bytes, parts: list[tuple[int, bytes]]) -> None:
    assert list(split_input.split(data)) == parts


def test_join_is_taken_apart_again() -> None:
    joined = split_input.join(["a\n", "b\n", "c\n"])
    assert [part.strip() for _, part in split_input.split(joined.encode())] == [b"a", b"b", b"c"]
