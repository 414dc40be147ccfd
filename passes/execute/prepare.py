"""Copies of a program made ready for an engine: the entry is called ``main``, nothing is donated, devices are replicas.

XLA runs a module with ``num_partitions`` > 1 only if its own partitioner made it, but any module as N replicas. A
per-device program therefore runs as N replicas of one partition, where the flattened device id is the replica id.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from typing import Any

from passes import _mlir
from passes.errors import UserError
from passes.execute.moves import concatenate, create, part, reduced, replica_groups, reshape, retyped
from passes.program.attributes import integer
from passes.program.entry import find_entry, functions, symbol_name
from passes.program.read import Program
from passes.program.types import i64_attr, shape_of
from passes.program.walk import operations
from passes.sharding.mesh import meshes

# Attributes about where buffers live. They change no value, but a donated buffer cannot be used for a second run.
_BUFFER_ATTRIBUTES = frozenset({
    "tf.aliasing_output", "jax.buffer_donor", "mhlo.memory_kind", "mhlo.layout_mode",
})
_COUNT_ATTRIBUTES = ("mhlo.num_partitions", "mhlo.num_replicas")

# In these a channel means "groups hold partition ids"; without one they hold replica ids.
_DROP_CHANNEL = frozenset({
    "stablehlo.all_to_all", "stablehlo.collective_permute", "stablehlo.collective_broadcast",
})
# In these `use_global_device_ids` says that groups hold flattened ids, which are the replica ids.
_FLATTENED_IDS = frozenset({
    "stablehlo.all_gather", "stablehlo.all_reduce", "stablehlo.reduce_scatter",
})
# How exported programs enter a part that is written for each device.
_MANUAL_CALLS = frozenset({"SPMDFullToShardShape", "xla.sdy.GlobalToLocalShape"})
_COLLECTIVES = _DROP_CHANNEL | _FLATTENED_IDS | {"stablehlo.partition_id"}


# How jax spells a call back into the Python process that exported the program.
_PYTHON_CALLBACK = re.compile(r"xla_(ffi_)?(partitioned_)?python_\w*callback")


def global_code(program: Program, entry: str | None = None) -> bytes:
    """The global ``program`` as bytecode, for one device or for an engine that partitions it by its annotations.

    Raises:
      UserError: the program calls back into Python, which only the process that exported it can answer.
    """
    _refuse_callbacks(program)
    module = _copy(program, entry)
    _strip_loop_shardings(module)
    _drop_reshards(module)
    return _bytecode(module)


def per_device_code(program: Program, entry: str | None = None, *, as_written: bool = False) -> bytes:
    """The per-device ``program`` as bytecode for N replicas.

    Reductions over devices become gathers and a reduction in the order of the group, so that the bits of a sum depend
    neither on how devices are spread over processes nor on who comes first, and a maximum keeps NaN. With
    ``as_written``, for measuring, they stay, and so do donations.

    Raises:
      UserError: a collective groups its devices in a way that replicas cannot express, or the program calls back into
        Python.
    """
    _refuse_callbacks(program)
    replicas = _count(program, "mhlo.num_replicas")
    module = _copy(program, entry, keep_buffers=as_written)
    if not as_written:
        _split_gathers(module)
    # A module that is written for replicas needs no translation.
    if replicas == 1:
        _partitions_to_replicas(program, module, in_order=not as_written)
    return _bytecode(module)


def _refuse_callbacks(program: Program) -> None:
    for op in operations(program.module):
        if op.name == "stablehlo.custom_call":
            target = _mlir.ir.StringAttr(op.attributes["call_target_name"]).value
            if _PYTHON_CALLBACK.fullmatch(target):
                raise program.error(
                    f"cannot execute: @{target} calls back into the Python process that exported the program; "
                    "export it without callbacks (io_callback, pure_callback, debug checks)",
                    op,
                )


def _strip_loop_shardings(module: Any) -> None:
    """XLA takes loop-invariant values out of loops but leaves their shardings, and then rejects the loop."""
    for op in operations(module):
        if op.name == "stablehlo.while" and "sdy.sharding" in op.attributes:
            del op.attributes["sdy.sharding"]


def _drop_reshards(module: Any) -> None:
    """XLA partitions by constraints, which it reads, and refuses a reshard for its mesh; neither changes a value."""
    for op in operations(module):
        if op.name == "sdy.reshard":
            op.results[0].replace_all_uses_with(op.operands[0])
            op.erase()


def _count(program: Program, key: str) -> int:
    attributes = program.module.operation.attributes
    return int(_mlir.ir.IntegerAttr(attributes[key]).value) if key in attributes else 1


def has_shardy_meshes(program: Program) -> bool:
    """Whether the program's annotations are Shardy's (as ops, or as text in frontend attributes), not GSPMD's."""
    attributes = program.module.operation.attributes
    frontend = "mhlo.frontend_attributes"
    return bool(meshes(program.module)) or (frontend in attributes and "xla.sdy.meshes" in str(attributes[frontend]))


def annotated_devices(program: Program) -> int:
    """How many devices the program's annotations are about; 1 if there are none."""
    counts = [mesh.device_count for mesh in meshes(program.module).values()]
    return max([*counts, _count(program, "mhlo.num_partitions")])


def manual_devices(program: Program) -> int:
    """How many devices the program has parts for that are written for each device; 0 if it has none."""
    return annotated_devices(program) if any(map(_is_manual, operations(program.module))) else 0


def _is_manual(op: Any) -> bool:
    if op.name != "stablehlo.custom_call":
        return bool(op.name == "sdy.manual_computation")
    return _mlir.ir.StringAttr(op.attributes["call_target_name"]).value in _MANUAL_CALLS


def _copy(program: Program, entry: str | None, *, keep_buffers: bool = False) -> Any:
    """A copy of the module operation whose entry is a public ``main``, without buffer attributes unless kept."""
    name = symbol_name(find_entry(program, entry))
    module = program.module.operation.clone()
    for key in _COUNT_ATTRIBUTES:
        if key in module.attributes:
            del module.attributes[key]
    by_name = {symbol_name(f): f for f in functions(_Body(module))}
    function = by_name[name]
    for key in () if keep_buffers else ("arg_attrs", "res_attrs"):
        _strip_buffer_attributes(function, key)
    if name != "main":
        if "main" in by_name:
            _rename(module, by_name["main"], _unused("main_", by_name))
        _rename(module, function, "main")
    function.attributes["sym_visibility"] = _mlir.ir.StringAttr.get("public", _mlir.context())
    return module


class _Body:
    """A module operation in the form that `functions` takes."""

    def __init__(self, module: Any) -> None:
        self.body = module.regions[0].blocks[0]


def _unused(name: str, taken: Any) -> str:
    while name in taken:
        name += "_"
    return name


def _rename(module: Any, function: Any, name: str) -> None:
    ir = _mlir.ir
    ir.SymbolTable.replace_all_symbol_uses(symbol_name(function), name, module)
    ir.SymbolTable.set_symbol_name(function, name)


def _strip_buffer_attributes(function: Any, key: str) -> None:
    ir, context = _mlir.ir, _mlir.context()
    if key not in function.attributes:
        return
    kept = [
        ir.DictAttr.get({n.name: n.attr for n in ir.DictAttr(d) if n.name not in _BUFFER_ATTRIBUTES}, context)
        for d in ir.ArrayAttr(function.attributes[key])
    ]
    function.attributes[key] = ir.ArrayAttr.get(kept, context)


def _partitions_to_replicas(program: Program, module: Any, *, in_order: bool) -> None:
    ops = list(operations(module))
    has_fft = any(op.name == "stablehlo.fft" for op in ops)
    for op in [op for op in ops if op.name in _COLLECTIVES]:
        if op.name in _DROP_CHANNEL:
            if "channel_handle" in op.attributes:
                del op.attributes["channel_handle"]
        elif op.name in _FLATTENED_IDS:
            _check_flattened(program, op)
            if op.name in _ORDERED:
                if not (in_order and _reduce_in_order(op)) and len(op.operands) > 1:
                    _without_channel(op)
            elif has_fft and op.name == "stablehlo.all_gather":
                _gather_rows(op)
        else:
            _replace_partition_id(op)


def _split_gathers(module: Any) -> None:
    """Makes one all_gather of each operand of one that has several.

    XLA's CPU backend (jaxlib 0.10.2) lays out what it gathers together as if it joined all in the slowest dimension,
    and then some operand's parts lie wrong, silently: seen where two bf16 arrays of unlike rank are gathered along
    dimension 2 and a dot_general reads one of them.
    """
    for op in [op for op in operations(module) if op.name == "stablehlo.all_gather" and len(op.operands) > 1]:
        attributes = {key: op.attributes[key] for key in op.attributes}
        with _mlir.ir.InsertionPoint(op), op.location:
            for operand, result in zip(op.operands, op.results, strict=True):
                result.replace_all_uses_with(create("stablehlo.all_gather", [operand], result.type, **attributes))
        op.erase()


def _check_flattened(program: Program, op: Any) -> None:
    if "use_global_device_ids" not in op.attributes:
        raise program.error(
            f"cannot run this {op.name} of a per-device program: its replica groups do not hold device ids; "
            "write it with a channel_handle and use_global_device_ids",
            op,
        )


def _replace_partition_id(op: Any) -> None:
    ir = _mlir.ir
    replica = ir.Operation.create(
        "stablehlo.replica_id", results=[op.results[0].type], ip=ir.InsertionPoint(op), loc=op.location
    )
    op.results[0].replace_all_uses_with(replica.results[0])
    op.erase()


def _gather_rows(op: Any) -> None:
    """Gathers along a new first dimension and joins the parts where the op says.

    XLA's CPU backend lays an all_gather out with the gathered dimension first, hands that layout on to the fft that
    feeds it, and then fails on it (jaxlib 0.10.2).
    """
    dim, size = integer(op, "all_gather_dim"), len(replica_groups(op, 1)[0])
    with _mlir.ir.InsertionPoint(op), op.location:
        for operand, result in zip(op.operands, op.results, strict=True):
            gathered = _rows(op, operand, size)
            parts = [reshape(part(gathered, 0, index, size), shape_of(operand)) for index in range(size)]
            result.replace_all_uses_with(concatenate(parts, dim))
    op.erase()


def _rows(op: Any, operand: Any, size: int) -> Any:
    """What the ``size`` devices of a group of ``op`` hold as ``operand``, one after another in a new dimension."""
    shape = shape_of(operand)
    return create(
        "stablehlo.all_gather", [reshape(operand, [1, *shape])], retyped(operand, [size, *shape]),
        all_gather_dim=i64_attr(0), **{name: op.attributes[name] for name in _GROUPING},
    )


def _without_channel(op: Any) -> None:
    """XLA's layout assignment fails on an all_reduce of several operands with a channel; replicas need none."""
    for name in _GROUPING[1:]:
        del op.attributes[name]


def _reduce_in_order(op: Any) -> bool:
    """Replaces a reduction by one in the order of the group; returns whether it did."""
    groups = replica_groups(op, 1)
    # Groups of unequal size cannot be gathered, and large ones would make large programs; XLA reduces those its way.
    if any(len(g) != len(groups[0]) for g in groups) or not 1 < len(groups[0]) <= _LARGEST_GROUP:
        return False
    with _mlir.ir.InsertionPoint(op), op.location:
        for operand, result in zip(op.operands, op.results, strict=True):
            result.replace_all_uses_with(_ORDERED[op.name](op, operand, len(groups[0])))
    op.erase()
    return True


def _all_reduce_in_order(op: Any, operand: Any, size: int) -> Any:
    gathered = _rows(op, operand, size)
    return reduced(op, [reshape(part(gathered, 0, index, size), shape_of(operand)) for index in range(size)])


def _reduce_scatter_in_order(op: Any, operand: Any, size: int) -> Any:
    """Every device sends each other one the part that is its to reduce."""
    dim = integer(op, "scatter_dimension")
    swapped = create(
        "stablehlo.all_to_all", [operand], operand.type, replica_groups=op.attributes["replica_groups"],
        split_dimension=i64_attr(dim), concat_dimension=i64_attr(dim), split_count=i64_attr(size),
    )
    return reduced(op, [part(swapped, dim, index, size) for index in range(size)])


# The attributes that say who takes part.
_GROUPING = ("replica_groups", "channel_handle", "use_global_device_ids")
_LARGEST_GROUP = 64
_ORDERED: dict[str, Callable[[Any, Any, int], Any]] = {
    "stablehlo.all_reduce": _all_reduce_in_order,
    "stablehlo.reduce_scatter": _reduce_scatter_in_order,
}


def _bytecode(module: Any) -> bytes:
    buffer = io.BytesIO()
    with _mlir.collect_diagnostics() as diagnostics:
        try:
            module.verify()
        except _mlir.ir.MLIRError:
            reason = diagnostics[0].message if diagnostics else "it does not verify"
            raise UserError(f"cannot prepare the program for execution: {reason}") from None
    module.write_bytecode(buffer)
    return buffer.getvalue()
