"""Changes to a module that must change nothing in what a pass makes of it, or in what it computes."""

from __future__ import annotations

import math
import random
import re
from typing import Any

from passes import _mlir
from passes.program.entry import find_entry
from passes.program.read import Program
from passes.program.walk import operations as walked


def duplicate_ops(program: Program, choose: random.Random) -> int:
    """Gives some users of ops of the entry's block equal ops of their own; returns how many ops it added.

    A program with barriers stays as it is: what goes through two of them is apart on purpose.
    """
    if any(op.name == "stablehlo.optimization_barrier" for op in walked(program.module)):
        return 0
    operations = [op.operation for op in find_entry(program).regions[0].blocks[0].operations]
    added = 0
    for op in operations[:-1]:
        if not len(op.results) or op.name in _ONCE or choose.random() < 0.5:
            continue
        uses = [use for result in op.results for use in result.uses]
        if not uses:
            continue
        copy = op.clone(ip=_mlir.ir.InsertionPoint.after(op))
        use = choose.choice(uses)
        _give(use.owner, use.operand_number, copy)
        added += 1
    return added


# What equal ops of these stay apart for.
_ONCE = frozenset({"sdy.manual_computation", "sdy.sharding_constraint"})


def _give(user: Any, position: int, copy: Any) -> None:
    """Makes operand ``position`` of ``user`` the result of ``copy`` that stands for it."""
    old = user.operands[position]
    user.operands[position] = copy.results[_mlir.ir.OpResult(old).result_number]


def renamed_functions(text: str) -> str:
    """``text`` with other names for private functions, which sort the other way round."""
    return re.sub(r"@f(\d+)\b", lambda name: f"@h{999 - int(name[1])}", text)


def wrapped(text: str, argument_types: list[str], result_types: list[str]) -> str:
    """``text`` whose main function calls what was main."""
    arguments = ", ".join(f"%a{i}: {type}" for i, type in enumerate(argument_types))
    given = ", ".join(f"%a{i}" for i in range(len(argument_types)))
    count = len(result_types)
    found = ", ".join(f"%r#{i}" for i in range(count)) if count > 1 else "%r"
    results = ", ".join(result_types)
    main = f"""func.func @main({arguments}) -> ({results}) {{
%r{f":{count}" if count > 1 else ""} = func.call @inner({given}) : ({", ".join(argument_types)}) -> ({results})
return {found} : {results}
}}"""
    inner = text.replace("func.func @main(", "func.func private @inner(")
    return inner.rstrip().removesuffix("}") + main + "\n}\n"


def with_axis_of_one(text: str) -> str:
    """``text`` whose mesh has one more axis, of size 1, which splits nothing."""
    return re.sub(r"sdy\.mesh @mesh = <\[", 'sdy.mesh @mesh = <["unit"=1, ', text)


def with_split_axis(text: str) -> str | None:
    """``text`` with an axis of size 4 as two of size 2; None if there is none, or parts of it are named."""
    found = re.search(r'"(\w+)"=4', text)
    if found is None or f'"{found[1]}":(' in text:
        return None
    name = found[1]
    return text.replace(f'"{name}"=4', f'"{name}a"=2, "{name}b"=2').replace(f'"{name}"', f'"{name}a", "{name}b"')


def with_permuted_devices(text: str) -> str | None:
    """``text`` with the devices of its mesh in the opposite order; None where parts of it name devices."""
    if "sdy.manual_computation" in text:
        return None
    mesh = re.search(r"sdy\.mesh @mesh = <\[([^]]*)\](?:, device_ids=\[([^]]*)\])?>", text)
    assert mesh is not None
    count = math.prod(map(int, re.findall(r"=(\d+)", mesh[1])))
    ids = [int(number) for number in mesh[2].split(",")] if mesh[2] else list(range(count))
    # Shardy has no other way to write the natural order than to leave it out.
    order = "" if ids[::-1] == sorted(ids) else f", device_ids={ids[::-1]}"
    return text.replace(mesh[0], f"sdy.mesh @mesh = <[{mesh[1]}]{order}>")
