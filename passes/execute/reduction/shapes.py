"""Smaller dimensions, consistently: a size is replaced wherever a type, or an attribute beside it, spells it.

Which dimensions must agree is not computed. A size is replaced in the program's text, alone or with its multiples, in
types only or in the lists of attributes too, and the parser and verifier say which of these attempts is a program.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from passes import _mlir
from passes.errors import UserError
from passes.program.read import Program, parse
from passes.program.write import PrintOptions, to_text

# Beyond this, text costs more than what it may bring.
_LONGEST = 2_000_000

_DIMENSION = re.compile(r"(?<=[<x])\d+(?=x)")
_TENSOR = re.compile(r"tensor<[^<>]*")
# Sizes in attributes: lists of integers, slices [a:b, c:d], and sizes = [...].
_LIST = re.compile(r"\[[0-9:, ]+\]|array<i64: [^>]*>")
_NUMBER = re.compile(r"\b\d+")

Resize = Callable[[int], int]


def shrinkings(program: Program) -> Iterator[Callable[[Program], bool | None]]:
    """Edits that make one size smaller everywhere, largest size first and smallest replacement first."""
    text = to_text(program.module, PrintOptions(debuginfo=program.has_debug_info))
    if len(text) > _LONGEST:
        return
    sizes = {int(d) for tensor in _TENSOR.findall(text) for d in _DIMENSION.findall(tensor)}
    for size in sorted((s for s in sizes if s > 1), reverse=True):
        for smaller in dict.fromkeys((1, 2, 4, 8, 16, size // 2)):
            if smaller >= size:
                continue
            for resize in (_only(size, smaller), _multiples(size, smaller)):
                for replace in (_in_types, _in_types_and_lists):
                    changed = replace(text, resize)
                    if changed != text:
                        yield _reading(changed)


def _only(size: int, smaller: int) -> Resize:
    return lambda found: smaller if found == size else found


def _multiples(size: int, smaller: int) -> Resize:
    return lambda found: found // size * smaller if found and found % size == 0 else found


def _in_types(text: str, resize: Resize) -> str:
    return _TENSOR.sub(lambda tensor: _DIMENSION.sub(lambda m: str(resize(int(m[0]))), tensor[0]), text)


def _in_types_and_lists(text: str, resize: Resize) -> str:
    return _LIST.sub(lambda found: _NUMBER.sub(lambda m: str(resize(int(m[0]))), found[0]), _in_types(text, resize))


def _reading(text: str) -> Callable[[Program], bool | None]:
    def edit(program: Program) -> bool | None:
        with _mlir.collect_diagnostics():
            try:
                program.module = parse(text, program.source).module
            except UserError:
                return False
        return None

    return edit
