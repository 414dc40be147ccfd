"""Rows about functions and their calls."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator

from leftover.effects import Effects
from leftover.mirror import Mirror, Op, same_attribute

_SYMBOL = re.compile(r"@[\w.$-]+")
# Attributes by which ops other than calls name functions; those can't be given another signature.
_REFERENCES = ("decomposition", "called_computations", "called_computation")


def sites(program: Mirror) -> Iterator[tuple[str, Op]]:
    """(row, op), where the op is the function or the call."""
    calls: dict[str, list[Op]] = defaultdict(list)
    referenced: set[str] = set()
    for op in program.ops:
        if op.name == "func.call":
            calls[op.attribute("callee").value].append(op)
        elif op.name in ("stablehlo.composite", "stablehlo.custom_call"):
            for name in _REFERENCES:
                referenced.update(found[1:] for found in _SYMBOL.findall(str(op.attribute(name) or "")))
    private = {n: f for n, f in program.functions.items() if _is_private(f) and n != "main" and f.regions[0]}
    yield from _call_sites(program, calls)
    for name, function in private.items():
        if name not in referenced:
            yield from _signature(function, calls[name])
    yield from _equal(private)


def _is_private(function: Op) -> bool:
    visibility = function.attribute("sym_visibility")
    return visibility is not None and visibility.value == "private"


def _call_sites(program: Mirror, calls: dict[str, list[Op]]) -> Iterator[tuple[str, Op]]:
    effects = Effects(program)
    for name, found in calls.items():
        function = program.functions.get(name)
        if function is None or not function.regions[0]:
            continue
        if len(function.regions[0][0].ops) <= 2:
            yield from (("call-trivial", call) for call in found)
        for call in found:
            if not any(r.uses for r in call.results) and effects.removable(call):
                yield "call-unused", call


def _signature(function: Op, calls: list[Op]) -> Iterator[tuple[str, Op]]:
    """Rows about the arguments and results of a private function that only calls refer to."""
    if len(calls) == 1:
        yield "function-once", function
    block = function.regions[0][0]
    for argument in block.arguments:
        given = [call.operands[argument.index] for call in calls]
        if not argument.uses:
            yield "argument-dead", function
        elif given and all(same_attribute(v.constant, given[0].constant) for v in given):
            yield "argument-constant", function
    for index, value in enumerate(block.ops[-1].operands):
        if value.op is None:
            yield "result-argument", function
        elif calls and not any(call.results[index].uses for call in calls):
            yield "result-dead", function


def _equal(private: dict[str, Op]) -> Iterator[tuple[str, Op]]:
    """Private functions with the same text, their own names and those of equal callees aside."""
    candidates: dict[object, list[str]] = defaultdict(list)
    for name, function in private.items():
        shape = tuple(op.name for op in function.inside())
        candidates[function.attribute("function_type"), shape].append(name)
    texts = {n: _text(private[n], n) for names in candidates.values() if len(names) > 1 for n in names}
    kind = {name: name for name in private}
    while True:
        groups: dict[str, list[str]] = defaultdict(list)
        for name, text in texts.items():
            groups[_SYMBOL.sub(lambda m: "@" + kind.get(m[0][1:], m[0][1:]), text)].append(name)
        merged = {name: names[0] for names in groups.values() for name in names}
        if all(kind[name] == first for name, first in merged.items()):
            break
        kind.update(merged)
    for names in groups.values():
        for name in names[1:]:
            yield "function-duplicate", private[name]
            yield from (("function-duplicate-ops", op) for op in private[name].inside())


def _text(function: Op, name: str) -> str:
    """The function's text without its own name where that is defined."""
    return str(function.handle.clone(ip=False)).replace(f"@{name}(", "@(", 1)
