"""What a program carries along: constants written out in it, arguments nobody reads."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from passes import _mlir
from passes.optimize.lint.findings import Check, Remark, Scope
from passes.program.entry import arguments, functions, is_declaration, symbol_name
from passes.program.types import byte_size


def large_constant(op: Any, scope: Scope) -> Iterator[Remark]:
    """A constant of many bytes; a splat holds one element whatever its type."""
    type = op.results[0].type
    if not isinstance(type, _mlir.ir.RankedTensorType) or byte_size(type) < scope.settings.constant_bytes:
        return
    try:
        value = op.attributes["value"]
    except TypeError:  # Complex numbers, which the bindings cannot hand out; whether they are a splat shows their text.
        if "[" not in str(op.clone(ip=False)).partition(" : ")[0]:
            return
    else:
        if isinstance(value, _mlir.ir.DenseElementsAttr) and value.is_splat:
            return
    yield Remark(
        f"a constant of {byte_size(type):,} bytes ({type}) is part of the program",
        "pass it as an argument, or compute it (iota, broadcast)",
    )


def dead_argument(function: Any, scope: Scope) -> Iterator[Remark]:
    """Arguments of the entry that nothing reads, not even through calls."""
    if not scope.is_entry(function):
        return
    for described, value in zip(arguments(function), function.regions[0].blocks[0].arguments, strict=True):
        if _is_dead(value, scope):
            yield Remark(
                f"argument {described.index} '{described.name}' ({value.type}) is never used",
                "leave it out (jax.jit does so unless keep_unused is set)",
                value.location,
            )


def _is_dead(value: Any, scope: Scope) -> bool:
    """Whether all uses of ``value`` are calls of functions that do not use it; recursion counts as a use."""
    known = scope.memory.setdefault("dead_argument", {})
    if value not in known:
        known[value] = False
        known[value] = all(
            use.owner.operation.name == "func.call" and _is_dead_inside(use, scope) for use in value.uses
        )
    return bool(known[value])


def _is_dead_inside(use: Any, scope: Scope) -> bool:
    if "functions" not in scope.memory:
        scope.memory["functions"] = {symbol_name(f): f for f in functions(scope.module)}
    callee = scope.memory["functions"][_mlir.ir.FlatSymbolRefAttr(use.owner.operation.attributes["callee"]).value]
    return not is_declaration(callee) and _is_dead(
        callee.regions[0].blocks[0].arguments[use.operand_number], scope
    )


LARGE_CONSTANT = Check(
    "large-constant",
    "constants that are written out in the program and take a megabyte or more (--constant-bytes)",
    ("stablehlo.constant",),
    large_constant,
)
DEAD_ARGUMENT = Check(
    "dead-argument", "arguments of the entry function that nothing reads", ("func.func",), dead_argument
)
