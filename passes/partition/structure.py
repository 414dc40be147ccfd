"""Checks a per-device program against its side table without executing it: what must hold of programs too large to run.

No trace of ``sdy`` is left but what `forms.keep_sdy` or `forms.to_manual` writes, if that is what the table says; the
module is for as many devices as the mesh has, the signature has the local types, the module verifies, and every
collective names each device exactly once, in groups that fit its types, on a channel of its own, or without a channel
where devices are replicas.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from passes import _mlir
from passes.partition.forms import has_local_types, whole_computation
from passes.partition.side_table import DeviceConstant, Entry, SideTable
from passes.partition.summary import COLLECTIVES
from passes.program import entry
from passes.program.read import Program
from passes.program.types import shape_of, tensor_type
from passes.program.walk import operations, terminator
from passes.sharding.mesh import Mesh, Sharding, meshes, sharding_from_attr

_SHARDING = "sdy.sharding"
# In these a channel alone means groups of replicas; with this attribute groups name devices.
_GLOBAL_IDS = "use_global_device_ids"
_TAKES_GLOBAL_IDS = frozenset(f"stablehlo.{name}" for name in ("all_gather", "all_reduce", "reduce_scatter"))


def check_structure(program: Program, table: SideTable, entry_name: str | None = None) -> list[str]:
    """What is wrong with a per-device ``program`` that ``table`` describes, in sentences; empty if nothing is."""
    function = entry.find_entry(program, entry_name)
    count = table.mesh.device_count
    found = [*_module(program, count)]
    computation = whole_computation(function)
    named = {} if computation is None and not has_local_types(program) else meshes(program.module)
    if computation is None:
        arguments = entry.arguments(function)
        found += _signature("argument", table.arguments, arguments[: len(arguments) - len(table.constants)], named)
        found += _constants(table.constants, arguments[len(arguments) - len(table.constants) :])
        found += _signature("result", table.results, entry.results(function), named)
        left = {name for name, mesh in named.items() if mesh == table.mesh}
    else:
        found += _manual(function, computation, table, named)
        left = {name for name, mesh in named.items() if mesh.devices == table.mesh.devices}
    replicas = _count(program, _REPLICAS) == count > 1
    channels: Counter[int] = Counter()
    # Many ops, few different groups.
    known: dict[Any, str] = {}
    ends = () if computation is None else (computation, _end(computation))
    for op in operations(program.module):
        if op in ends or (op.name == "sdy.mesh" and entry.symbol_name(op) in left):
            continue
        found += (f"{_title(program, op)} {reason}" for reason in _op(op, count, replicas, channels, known))
    found += [f"channel {channel} serves {uses} collectives" for channel, uses in channels.items() if uses > 1]
    return found


def _end(computation: Any) -> Any:
    return terminator(computation.regions[0].blocks[0])


def _manual(function: Any, computation: Any, table: SideTable, named: dict[str, Mesh]) -> Iterator[str]:
    """What is wrong with the edge of a program that is one manual computation: global outside, local inside."""
    sdy = _mlir.sdy
    for noun, entries, values, key, inside in (
        ("argument", table.arguments, entry.arguments(function), "in_shardings",
         computation.regions[0].blocks[0].arguments),
        ("result", table.results, entry.results(function), "out_shardings", _end(computation).operands),
    ):
        if len(entries) != len(values):
            yield f"the side table has {len(entries)} {noun}s, the program {len(values)}"
            continue
        shardings = sdy.TensorShardingPerValueAttr(computation.attributes[key]).shardings
        for stated, value, attr, local in zip(entries, values, shardings, inside, strict=True):
            title = f"{noun} {value.index} '{value.name}'"
            for where, said in (("", value.attributes.get(_SHARDING)), (" in the computation", attr)):
                if said is None:
                    yield f"{title} does not say how it is sharded"
                elif not _same_place(sharding_from_attr(said, named), stated):
                    spec = sharding_from_attr(said, named).spec()
                    yield f"{title} is {spec}{where}, the side table says {stated.sharding.spec()}"
            shapes = ("", value.type, stated.global_shape), (" inside", local.type, stated.local_shape)
            for where, found, shape in shapes:
                wanted = tensor_type(shape, stated.dtype)
                if found != wanted:
                    yield f"{title} is {found}{where}, the side table says {wanted}"
    axes = set(sdy.ManualAxesAttr(computation.attributes["manual_axes"]))
    every = {name for mesh in named.values() for name in mesh.sizes}
    if axes != every:
        yield f"the computation is manual over {', '.join(sorted(axes))}, the mesh has {', '.join(sorted(every))}"


def _same_place(said: Sharding, stated: Entry) -> bool:
    """Whether every device holds the same part; axes may be named otherwise."""
    shape, devices = stated.global_shape, stated.sharding.mesh.devices
    if said.mesh.devices != devices or len(said.dims) != len(shape):
        return False
    return said == stated.sharding or all(
        said.slices(device, shape) == stated.sharding.slices(device, shape) for device in devices
    )


_PARTITIONS, _REPLICAS = "mhlo.num_partitions", "mhlo.num_replicas"


def _count(program: Program, key: str) -> int:
    stated = program.module.operation.attributes.get(key)
    return 1 if stated is None else int(_mlir.ir.IntegerAttr(stated).value)


def _module(program: Program, count: int) -> Iterator[str]:
    partitions, replicas = _count(program, _PARTITIONS), _count(program, _REPLICAS)
    if sorted((partitions, replicas)) != [1, count]:
        yield f"the module is for {partitions} partitions of {replicas} replicas, the mesh has {count} devices"
    with _mlir.collect_diagnostics() as diagnostics:
        try:
            program.module.operation.verify()
        except _mlir.ir.MLIRError:
            yield f"the module does not verify: {diagnostics[0].message if diagnostics else 'no reason given'}"


def _signature(
    noun: str, entries: tuple[Entry, ...], values: list[entry.Value], named: dict[str, Mesh]
) -> Iterator[str]:
    if len(entries) != len(values):
        yield f"the side table has {len(entries)} {noun}s, the program {len(values)}"
        return
    for stated, value in zip(entries, values, strict=True):
        kept = [key for key in value.attributes if key.startswith("sdy.")]
        if kept == [_SHARDING] and named:
            said = sharding_from_attr(value.attributes[_SHARDING], named)
            if said != stated.sharding:
                wanted = stated.sharding.spec()
                yield f"{noun} {value.index} '{value.name}' is {said.spec()}, the side table says {wanted}"
        elif kept:
            yield f"{noun} {value.index} '{value.name}' still has {kept[0]}"
        shape = "x".join(map(str, (*stated.local_shape, stated.dtype)))
        if str(value.type) != f"tensor<{shape}>":
            yield f"{noun} {value.index} '{value.name}' is {value.type}, the side table says tensor<{shape}>"


def _constants(constants: tuple[DeviceConstant, ...], values: list[entry.Value]) -> Iterator[str]:
    for constant, value in zip(constants, values, strict=False):
        stated = str(tensor_type(constant.local_shape, constant.dtype))
        if str(value.type) != stated:
            yield f"argument {value.index} is {value.type}, the constant in the side table {stated}"


def _title(program: Program, op: Any) -> str:
    where = program.where(op)
    return f"{op.name} at {where}" if where else str(op.name)


def _op(op: Any, count: int, replicas: bool, channels: Counter[int], known: dict[Any, str]) -> Iterator[str]:
    if op.name.startswith("sdy."):
        yield "is left"
    for key in op.attributes:
        if key.startswith("sdy."):
            yield f"still has {key}"
    if op.name not in COLLECTIVES:
        return
    attributes = op.attributes
    handle = attributes.get("channel_handle")
    channel = _mlir.stablehlo.ChannelHandle(handle).handle if handle is not None else 0
    if replicas:
        if channel > 0 or _GLOBAL_IDS in attributes:
            yield "has a channel or global ids, so its groups would not name replicas"
    elif channel <= 0:
        yield "has no channel, so its groups would name replicas"
    else:
        channels[channel] += 1
    if not replicas and op.name in _TAKES_GLOBAL_IDS and _GLOBAL_IDS not in attributes:
        yield f"does not say {_GLOBAL_IDS}, so its groups would name replicas"
    named = attributes["replica_groups" if "replica_groups" in attributes else "source_target_pairs"]
    if named not in known:
        known[named] = _groups(named, count) if "replica_groups" in attributes else _pairs(named, count)
    if known[named]:
        yield known[named]
    elif "replica_groups" in attributes:
        yield from _types(op, _numbers(named).shape[1])


def _numbers(attr: Any) -> np.ndarray:
    dense = _mlir.ir.DenseIntElementsAttr(attr)
    return np.array(list(dense), dtype=np.int64).reshape(_mlir.ir.RankedTensorType(dense.type).shape)


def _groups(attr: Any, count: int) -> str:
    """Why these groups do not split the devices evenly."""
    if sorted(_numbers(attr).ravel().tolist()) != list(range(count)):
        return f"has groups that do not name each of {count} devices once: {attr}"
    return ""


def _pairs(attr: Any, count: int) -> str:
    """Why these pairs of source and target are no exchange among the devices."""
    pairs = _numbers(attr)
    for noun, side in (("source", pairs[:, 0]), ("target", pairs[:, 1])):
        numbers = side.tolist()
        if len(set(numbers)) < len(numbers) or not set(numbers) <= set(range(count)):
            return f"names a {noun} twice, or one that is no device: {attr}"
    return ""


def _types(op: Any, group: int) -> Iterable[str]:
    """What the group size says about shapes; StableHLO's own verifier looks at most of it, but not at all."""
    grown = {"stablehlo.all_gather": ("all_gather_dim", group, 1), "stablehlo.reduce_scatter":
             ("scatter_dimension", 1, group)}.get(op.name)
    if grown is not None:
        key, times, over = grown
        dim = _mlir.ir.IntegerAttr(op.attributes[key]).value
        for operand, result in zip(op.operands, op.results, strict=True):
            if shape_of(result)[dim] * over != shape_of(operand)[dim] * times:
                yield f"makes {result.type} of {operand.type} among {group} devices"
    elif op.name == "stablehlo.all_to_all":
        parts = _mlir.ir.IntegerAttr(op.attributes["split_count"]).value
        if parts != group:
            yield f"splits into {parts} parts among {group} devices"
    elif [v.type for v in op.operands] != [v.type for v in op.results]:
        yield "changes the type of what it exchanges"
