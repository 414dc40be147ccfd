"""Lowers composites that have a sharding rule: they stay whole, with a decomposition for one device's shapes.

  %0 = stablehlo.composite "my.norm" %x {decomposition = @norm} : (tensor<8x4xf32>) -> tensor<8x4xf32>   // [{"x"}, {}]
  %0 = stablehlo.composite "my.norm" %x {decomposition = @norm_local} : (tensor<2x4xf32>) -> tensor<2x4xf32>

The decomposition is partitioned by itself, under the shardings the plan gives the composite. A kernel may stand in for
the composite, and no kernel knows of other devices; so what comes out must not either, except for the sums at its end,
which are left to the collectives behind the composite.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from passes import _mlir
from passes.errors import UserError
from passes.program import entry
from passes.program.read import Program
from passes.program.walk import named, operations, terminator
from passes.sharding.mesh import Mesh
from passes.sharding.op_rules import RULE
from passes.sharding.user_rules import is_ruled

if TYPE_CHECKING:
    from passes.partition.localize import Localizer
    from passes.partition.shardings import Axes

_COMPOSITE = "stablehlo.composite"
# Shardy takes the function of this name for the entry function.
_MAIN = "main"
_CALLS = {"func.call": "callee", _COMPOSITE: "decomposition"}
# What makes a decomposition depend on the device that runs it.
_OF_DEVICES = frozenset(
    f"stablehlo.{name}" for name in (
        "all_gather", "all_reduce", "all_to_all", "collective_broadcast", "collective_permute", "partition_id",
        "reduce_scatter", "replica_id",
    )
)


def kept_whole(program: Program) -> list[str]:
    """The names of the composites with a rule of the user's, which normalisation must not flatten."""
    ruled = (op for op in named(program.module, frozenset({_COMPOSITE})) if is_ruled(op))
    return list(dict.fromkeys(_mlir.ir.StringAttr(op.attributes["name"]).value for op in ruled))


@dataclass(frozen=True)
class Decomposition:
    """A decomposition for local shapes: its module, where it is ``@main``, and its own name; or why there is none."""

    module: Any = None
    name: str = ""
    problem: str = ""


def guard(localizer: Localizer, op: Any) -> str:
    """composite: its decomposition, partitioned alike, needs nothing from other devices."""
    return _decomposition(localizer, op).problem


def lower(localizer: Localizer, op: Any) -> None:
    """composite: the same on local types, with the decomposition for these."""
    found = _decomposition(localizer, op)
    if found.module is not None:
        op.attributes["decomposition"] = _insert(localizer, found)
    for value in op.results:
        if localizer.verdict(op).reduced:
            localizer.partial[value] = "stablehlo.add"
    localizer.in_place(op)


def _decomposition(localizer: Localizer, op: Any) -> Decomposition:
    attr = localizer.shardings.attr
    operands, results = tuple(map(attr, op.operands)), tuple(map(attr, op.results))
    if not any(operands) and not any(results):
        return Decomposition()
    name = _mlir.ir.FlatSymbolRefAttr(op.attributes["decomposition"]).value
    key = (name, operands, results)
    if key not in localizer.decompositions:
        localizer.decompositions[key] = _localized(localizer, op, name, operands, results)
    return localizer.decompositions[key]


def _localized(
    localizer: Localizer, op: Any, name: str, operands: tuple[Any, ...], results: tuple[Any, ...]
) -> Decomposition:
    # The stage as a whole is what a decomposition goes through, and this is a part of the stage.
    from passes.partition.partition import partition

    program = _program_of(localizer.program, name, operands, results)
    try:
        # The sums at its end are looked for in the decomposition itself.
        partition(program, keep_functions=False)
    except UserError as error:
        return Decomposition(problem=f"its decomposition @{name} cannot be partitioned: {error.message}")
    function = entry.find_entry(program)
    mesh, reduced = localizer.shardings.mesh, localizer.verdict(op).reduced
    if reduced and not _take_off_sums(function, mesh, reduced):
        return Decomposition(problem=f"its decomposition @{name} does not end in the sum that its rule speaks of")
    foreign = next((inner.name for inner in operations(function) if inner.name in _OF_DEVICES), None)
    if foreign is not None:
        return Decomposition(problem=f"its decomposition @{name} in parts needs a {foreign}")
    return Decomposition(program.module, name)


def _program_of(whole: Program, name: str, operands: tuple[Any, ...], results: tuple[Any, ...]) -> Program:
    """A program of its own for function ``name`` of ``whole``, its arguments and results sharded as given."""
    ir, context = _mlir.ir, _mlir.context()
    by_name = {entry.symbol_name(f): f for f in entry.functions(whole.module)}
    needed, pending = {name}, [name]
    while pending:
        for op in operations(by_name[pending.pop()]):
            if op.name in _CALLS:
                callee = ir.FlatSymbolRefAttr(op.attributes[_CALLS[op.name]]).value
                pending += [callee] if callee not in needed else []
                needed.add(callee)
    module = ir.Module.create(ir.Location.unknown(context))
    point = ir.InsertionPoint(module.body)
    for view in whole.module.body.operations:
        op = view.operation
        if op.name == "sdy.mesh" or (op.name == "func.func" and entry.symbol_name(op) in needed):
            op.clone(ip=point)
    program = Program(module, whole.source, has_debug_info=whole.has_debug_info)
    for op in operations(module):
        if RULE in op.attributes and not is_ruled(op):
            del op.attributes[RULE]
    function = next(f for f in entry.functions(module) if entry.symbol_name(f) == name)
    function.attributes["sym_visibility"] = ir.StringAttr.get("public", context)
    function.attributes["sym_name"] = ir.StringAttr.get(_MAIN, context)
    for key, shardings in (("arg_attrs", operands), ("res_attrs", results)):
        dictionaries = [ir.DictAttr.get({"sdy.sharding": s} if s else {}, context=context) for s in shardings]
        function.attributes[key] = ir.ArrayAttr.get(dictionaries, context=context)
    return program


def _take_off_sums(function: Any, mesh: Mesh, reduced: Axes) -> bool:
    """Returns summands where ``function`` returns their sums over ``reduced``; whether all its results are such."""
    groups = {frozenset(group) for group in mesh.groups(reduced)}
    end = terminator(function.regions[0].blocks[0])
    for value in list(end.operands):
        op = _summing(value)
        if op is None or not _is_sum_over(op, groups):
            return False
        op.results[0].replace_all_uses_with(op.operands[0])
        op.erase()
    return True


def _summing(value: Any) -> Any:
    """The op whose sum ``value`` is but for elements that are left out, perhaps in another shape; ``None`` without one.

    Adding over devices and leaving out the same elements on each of them may be done in either order.
    """
    while len(list(value.uses)) == 1 and not isinstance(value.owner, _mlir.ir.Block):
        op = value.owner.operation
        if op.name in _MOVES:
            value = op.operands[0]
        elif op.name == "stablehlo.select" and _sums_to_itself(op.operands[2]):
            value = op.operands[1]
        else:
            return op
    return None


# What has each element of its operand once.
_MOVES = frozenset({"stablehlo.reshape", "stablehlo.transpose"})


def _sums_to_itself(value: Any) -> bool:
    """Whether ``value`` is a constant of one number that added to itself is itself: zero, infinite, or NaN."""
    ir = _mlir.ir
    if isinstance(value.owner, ir.Block) or value.owner.operation.name != "stablehlo.constant":
        return False
    dense = value.owner.operation.attributes["value"]
    if not isinstance(dense, ir.DenseElementsAttr) or not dense.is_splat:
        return False
    splat = dense.get_splat_value()
    if not isinstance(splat, ir.FloatAttr):
        return isinstance(splat, ir.IntegerAttr) and int(splat.value) == 0
    return math.isnan(splat.value) or splat.value + splat.value == splat.value


def _is_sum_over(op: Any, groups: set[frozenset[int]]) -> bool:
    if op.name != "stablehlo.all_reduce" or len(op.operands) != 1:
        return False
    rows = _mlir.ir.DenseIntElementsAttr(op.attributes["replica_groups"])
    width = rows.type.shape[1]
    flat = list(rows)
    found = {frozenset(flat[i : i + width]) for i in range(0, len(flat), width)}
    region = [inner.operation.name for inner in op.regions[0].blocks[0].operations]
    return found == groups and region == ["stablehlo.add", "stablehlo.return"]


def _insert(localizer: Localizer, found: Decomposition) -> Any:
    """Copies the functions of ``found`` into the program, under fresh names; the reference to the decomposition."""
    ir, context = _mlir.ir, _mlir.context()
    if found.module in localizer.inserted:
        return localizer.inserted[found.module]
    body = localizer.program.module.body
    taken = {entry.symbol_name(view.operation) for view in body.operations if "sym_name" in view.operation.attributes}
    inside = {entry.symbol_name(f): f for f in entry.functions(found.module)}
    plain = {name: found.name if name == _MAIN else name.removesuffix("_local") for name in inside}
    renamed = {name: ir.FlatSymbolRefAttr.get(_fresh(f"{plain[name]}_local", taken), context) for name in inside}
    for name, function in inside.items():
        copy = function.clone(ip=ir.InsertionPoint(body)).operation
        copy.attributes["sym_name"] = ir.StringAttr.get(renamed[name].value, context)
        copy.attributes["sym_visibility"] = ir.StringAttr.get("private", context)
        for inner in operations(copy):
            if inner.name in _CALLS:
                key = _CALLS[inner.name]
                inner.attributes[key] = renamed[ir.FlatSymbolRefAttr(inner.attributes[key]).value]
    localizer.inserted[found.module] = renamed[_MAIN]
    return renamed[_MAIN]


def _fresh(name: str, taken: set[str]) -> str:
    found, number = name, 0
    while found in taken:
        found, number = f"{name}_{number}", number + 1
    taken.add(found)
    return found
