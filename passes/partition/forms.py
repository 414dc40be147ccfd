"""Other forms of a finished per-device program: with its shardings written on it, or inside a manual computation.

A per-device program that `keep_sdy` marked has the mesh, and on each argument and result of its entry function, whose
types are local, how the global tensor is cut:

  module attributes {shlo.local_types, ...} {
    sdy.mesh @mesh = <["x"=2]>
    func.func @main(%x: tensor<4xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"x"}]>}) -> ...

`to_manual` makes a program on global types of it again, whose body says what each device does:

  func.func @main(%x: tensor<8xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"x"}]>}) -> ... {
    %0 = sdy.manual_computation(%x) in_shardings=[<@mesh, [{"x"}]>] out_shardings=[...] manual_axes={"x"}
        (%a: tensor<4xf32>) { ... }
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from passes import _mlir
from passes.partition.prime_axes import factor_axes
from passes.partition.shardings import MANUAL
from passes.partition.side_table import Entry, SideTable
from passes.program import entry
from passes.program.read import Program
from passes.program.types import tensor_type
from passes.program.walk import terminator
from passes.sharding.mesh import mesh_to_attr, sharding_to_attr

_SHARDING = "sdy.sharding"
# On a module whose shardings are of tensors that its types are parts of; such a one is not to be partitioned again.
LOCAL_TYPES = "shlo.local_types"


def keep_sdy(program: Program, table: SideTable) -> None:
    """Writes the mesh and the shardings of ``table`` on the per-device ``program``, whose types stay local."""
    mesh = _add_mesh(program, table)
    _annotate(entry.find_entry(program), table, mesh)
    program.module.operation.attributes[LOCAL_TYPES] = _mlir.ir.UnitAttr.get(_mlir.context())


def has_local_types(program: Program) -> bool:
    """Whether ``program`` is one that `keep_sdy` made."""
    return LOCAL_TYPES in program.module.operation.attributes


def to_manual(program: Program, table: SideTable) -> None:
    """Puts the body of the per-device ``program`` into a computation that is manual over all axes of the mesh.

    Parts of axes, which none may be manual over, become axes of their own.
    """
    ir, sdy, context = _mlir.ir, _mlir.sdy, _mlir.context()
    mesh, function = _add_mesh(program, table), entry.find_entry(program)
    region = function.regions[0]
    body = region.blocks[0]
    arguments, results = ([_global_type(e) for e in entries] for entries in (table.arguments, table.results))
    block = region.blocks.append(*arguments, arg_locs=[a.location for a in body.arguments])
    axes = [ir.StringAttr.get(name, context) for name, _ in table.mesh.axes]
    computation = ir.Operation.create(
        MANUAL,
        results=results,
        operands=list(block.arguments),
        attributes={
            "in_shardings": _listed(table.arguments, mesh),
            "out_shardings": _listed(table.results, mesh),
            "manual_axes": sdy.ManualAxesAttr.get(axes, context=context),
        },
        regions=1,
        loc=function.location,
        ip=ir.InsertionPoint(block),
    )
    body.append_to(computation.regions[0])
    old = terminator(body)
    ir.Operation.create("sdy.return", operands=list(old.operands), loc=old.location, ip=ir.InsertionPoint(old))
    old.erase()
    ir.Operation.create(
        "func.return", operands=list(computation.results), loc=function.location, ip=ir.InsertionPoint(block)
    )
    function.attributes["function_type"] = ir.TypeAttr.get(
        ir.FunctionType.get(arguments, results, context=context), context=context
    )
    _annotate(function, table, mesh)
    sharded = (*table.arguments, *table.results)
    if any(a.size < table.mesh.sizes[a.name] for e in sharded for axes in e.sharding.dims for a in axes):
        factor_axes(program.module)


def whole_computation(function: Any) -> Any | None:
    """The manual computation that is all ``function`` does, as `to_manual` leaves it; ``None`` if there is none."""
    block = function.regions[0].blocks[0]
    inside = [view.operation for view, _ in zip(block, range(3), strict=False)]
    if len(inside) != 2 or inside[0].name != MANUAL:
        return None
    computation, end = inside
    passes = list(computation.operands) == list(block.arguments) and list(end.operands) == list(computation.results)
    return computation if passes else None


def _add_mesh(program: Program, table: SideTable) -> str:
    """Adds the mesh to the module; returns its name."""
    ir, context = _mlir.ir, _mlir.context()
    taken = {entry.symbol_name(f) for f in entry.functions(program.module)}
    name = "mesh"
    while name in taken:
        name += "_"
    ir.Operation.create(
        "sdy.mesh",
        attributes={"sym_name": ir.StringAttr.get(name, context), "mesh": mesh_to_attr(table.mesh)},
        loc=ir.Location.unknown(context),
        ip=ir.InsertionPoint.at_block_begin(program.module.body),
    )
    return name


def _annotate(function: Any, table: SideTable, mesh: str) -> None:
    ir, context = _mlir.ir, _mlir.context()
    for key, values, entries in (
        ("arg_attrs", entry.arguments(function), table.arguments),
        ("res_attrs", entry.results(function), table.results),
    ):
        function.attributes[key] = ir.ArrayAttr.get(
            [
                ir.DictAttr.get({**v.attributes, _SHARDING: sharding_to_attr(mesh, e.sharding)}, context=context)
                for v, e in zip(values, entries, strict=True)
            ],
            context=context,
        )


def _listed(entries: Iterable[Entry], mesh: str) -> Any:
    shardings = [sharding_to_attr(mesh, e.sharding) for e in entries]
    return _mlir.sdy.TensorShardingPerValueAttr.get(shardings, context=_mlir.context())


def _global_type(found: Entry) -> Any:
    return tensor_type(found.global_shape, found.dtype)
