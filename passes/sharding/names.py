"""Lists the values of a program the way a rules file selects them."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from passes.program.entry import Value, arguments, find_entry, results
from passes.program.read import Program
from passes.sharding import tuples
from passes.sharding.op_rules import TARGETS, target_of
from passes.sharding.op_selection import Operations, type_text


def listing(program: Program, entry: str | None = None, *, inside: bool = False) -> list[str]:
    """A rules file without dims: lines that select each argument and result, with their types as comments.

    Tuples among them are dissolved, as `annotate` does it.

    Args:
      entry: The entry function; found if not given.
      inside: Also lists what is inside, alike in op, location and type, once each with how many there are.
    """
    tuples.dissolve_named(program, entry, inside=inside)
    function = find_entry(program, entry)
    lines = _section("arguments", arguments(function)) + _section("results", results(function))
    return lines + _inside(program) if inside else lines


def _section(key: str, values: list[Value]) -> list[str]:
    texts = [f"match = {json.dumps(v.name, ensure_ascii=False)}" for v in values]
    width = max(map(len, texts), default=0)
    rows = [f"{text:<{width}}  # index {v.index}: {type_text(v.type)}" for text, v in zip(texts, values, strict=True)]
    return [f"# [[{key}]]", *rows]


def _inside(program: Program) -> list[str]:
    ops = Operations(program)
    counts = Counter((_selection(ops, op), type_text(op.results[0].type)) for op in ops.all)
    width = max((len(text) for text, _ in counts), default=0)
    rows = [
        f"{text:<{width}}  # {type}{f', {count} times' if count > 1 else ''}" for (text, type), count in counts.items()
    ]
    return ["# [[constraints]]", *rows]


def _selection(ops: Operations, op: Any) -> str:
    """Keys that select ``op`` and those like it, as an inline table's inside."""
    target = next(((kind, found) for kind in TARGETS if (found := target_of(op, kind)) is not None), None)
    keys = {target[0]: target[1]} if target else {"op": str(op.name)}
    if location := next(iter(ops.locations(op)), None):
        keys["location"] = location
    return ", ".join(f"{key} = {json.dumps(text, ensure_ascii=False)}" for key, text in keys.items())
