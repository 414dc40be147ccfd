"""Keeps the names and the order of functions while Shardy, which renames and moves them, is at work.

Shardy gives every call a copy of the function it calls, and afterwards merges the copies whose shardings agree. What it
leaves carries names with growing numbers, in the order of the calls. Here the first copy gets the function's own name
back, further ones a number of their own, and all stand where the function stood. And Shardy takes ``@main`` for the
entry function, so the entry function is called that meanwhile.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

from passes import _mlir
from passes.program.entry import functions, symbol_name
from passes.program.read import Program
from passes.program.walk import named

# Attributes that refer to a function. What is referred to from elsewhere, which is rare, keeps Shardy's names.
_REFERENCES = {"func.call": "callee", "stablehlo.composite": "decomposition"}
_OTHER_REFERENCES = {"stablehlo.custom_call": "called_computations"}
_REFERRING = frozenset({*_REFERENCES, *_OTHER_REFERENCES})
# The name a function goes by meanwhile: its own name, its position, and then whatever Shardy adds.
_MARKED = re.compile(r".*#(?P<position>\d+)(?:_\d+)*", re.DOTALL)


@contextmanager
def entry_as_main(program: Program, function: Any) -> Iterator[None]:
    """Calls the entry function ``@main`` in the body, unless there is another function of that name."""
    name = symbol_name(function)
    if "main" in {symbol_name(f) for f in functions(program.module)}:
        yield
        return
    _rename(program, {name: "main"}, named(program.module, _REFERRING))
    try:
        yield
    finally:
        _rename(program, {"main": name}, named(program.module, _REFERRING))


@contextmanager
def kept(program: Program) -> Iterator[None]:
    """Restores names and order of ``program``'s functions after passes that copy functions in the body."""
    names = [symbol_name(f) for f in functions(program.module)]
    if len(names) < 2:
        yield
        return
    references = named(program.module, _REFERRING)
    called = _called(references)
    _rename(program, {name: f"{name}#{i}" for i, name in enumerate(names) if name in called}, references)
    try:
        yield
    finally:
        _restore(program, names)


def _called(ops: list[Any]) -> set[str]:
    called, fixed = set(), set()
    for op in ops:
        name = op.name
        if name == "func.call":
            called.add(_mlir.ir.FlatSymbolRefAttr(op.attributes["callee"]).value)
        elif name in _OTHER_REFERENCES and _OTHER_REFERENCES[name] in op.attributes:
            references = _mlir.ir.ArrayAttr(op.attributes[_OTHER_REFERENCES[name]])
            fixed |= {_mlir.ir.FlatSymbolRefAttr(r).value for r in references}
    return called - fixed


def _rename(program: Program, new: dict[str, str], ops: list[Any]) -> None:
    """Gives functions other names (old -> new), at their definitions and where ``ops`` refer to them."""
    ir, context = _mlir.ir, _mlir.context()
    references = {old: ir.FlatSymbolRefAttr.get(name, context) for old, name in new.items()}
    for op in ops:
        key = _REFERENCES.get(op.name)
        if key is not None:
            old = ir.FlatSymbolRefAttr(op.attributes[key]).value
            if old in references:
                op.attributes[key] = references[old]
    for function in functions(program.module):
        old = symbol_name(function)
        if old in new:
            function.attributes["sym_name"] = ir.StringAttr.get(new[old], context)


def _restore(program: Program, names: list[str]) -> None:
    positions = {name: i for i, name in enumerate(names)}
    placed = []
    for function in functions(program.module):
        name = symbol_name(function)
        marked = _MARKED.fullmatch(name)
        position = int(marked["position"]) if marked and name not in positions else positions.get(name, len(names))
        placed.append((position, function, name))
    placed.sort(key=lambda entry: entry[0])
    final = _final_names([(p, name) for p, _, name in placed], names)
    if final:
        _rename(program, final, named(program.module, _REFERRING))
    for (_, before, _), (_, function, _) in pairwise(placed):
        function.move_after(before)


def _final_names(placed: list[tuple[int, str]], names: list[str]) -> dict[str, str]:
    """Current name -> final name; ``placed`` holds each function's original position and current name, in order."""
    taken = {name for position, name in placed if position == len(names)} | set(names)
    final: dict[str, str] = {}
    seen: set[int] = set()
    for position, current in placed:
        if position == len(names):
            continue
        name = names[position]
        if position in seen:
            name = next(n for n in _numbered(name) if n not in taken)
            taken.add(name)
        seen.add(position)
        final[current] = name
    return {old: new for old, new in final.items() if old != new}


def _numbered(name: str) -> Iterator[str]:
    number = 1
    while True:
        yield f"{name}_{number}"
        number += 1
