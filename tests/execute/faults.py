"""Faults as partitioners and optimizers make them, each a change to a right program.

A fault is injected at the first place of its kind, by a function that tells which op of the global program is computed
wrong from then on; ``None`` stands for none, as for the part of an argument or in optimized programs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from passes import _mlir
from passes.errors import UserError
from passes.execute.reduction.search import copy
from passes.partition.partition import partition
from passes.partition.side_table import SideTable
from passes.partition.trace import NUMBER, RESULT, SHARDING, number_of
from passes.program import read
from passes.program.read import Program
from passes.program.types import shape_of, tensor_type
from passes.program.walk import operations

INPUTS = Path(__file__).parent / "inputs"
MARKS = (NUMBER, RESULT, SHARDING)


@dataclass(frozen=True)
class Fault:
    """One mistake.

    Attributes:
      source: The program it is injected into, a file of ``inputs``.
      inject: Changes a module; `NoPlace` if it has no place for this fault.
      located: The name of the op at which the difference shows first.
      beside: Ops that a search must name with it, because they make no value of the global program.
    """

    name: str
    source: str
    inject: Callable[[Any], int | None]
    located: str
    beside: tuple[str, ...] = ()

    def program(self) -> Program:
        """The right program."""
        return read.read(str(INPUTS / self.source))


class NoPlace(UserError):
    """The program has no place for a fault."""


def _first(module: Any, name: str, fits: Callable[[Any], bool] = lambda op: True) -> Any:
    for op in operations(module):
        if op.name == name and fits(op):
            return op
    raise NoPlace(f"the program has no fitting {name}")


def _maker(value: Any) -> str:
    return "" if isinstance(value.owner, _mlir.ir.Block) else str(value.owner.name)


def _create(name: str, operands: list[Any], types: list[Any], before: Any, attributes: Any = None) -> Any:
    ir = _mlir.ir
    return ir.Operation.create(
        name, results=types, operands=operands, attributes=attributes or {}, ip=ir.InsertionPoint(before),
        loc=before.location,
    )


def _replace(op: Any, value: Any) -> None:
    op.results[0].replace_all_uses_with(value)
    op.erase()


def _attribute(text: str) -> Any:
    return _mlir.ir.Attribute.parse(text, _mlir.context())


def _groups(op: Any) -> list[list[int]]:
    import numpy as np

    return np.array(_mlir.ir.DenseIntElementsAttr(op.attributes["replica_groups"])).tolist()  # type: ignore[no-any-return]


def _set_groups(op: Any, groups: list[list[int]]) -> None:
    op.attributes["replica_groups"] = _attribute(f"dense<{groups}> : tensor<{len(groups)}x{len(groups[0])}xi64>")


# -- per-device programs -----------------------------------------------------------------------------------------------


def wrong_replica_group(module: Any) -> int | None:
    """An all_reduce along the other axis of the mesh."""
    op = _first(module, "stablehlo.all_reduce")
    _set_groups(op, [list(group) for group in zip(*_groups(op), strict=True)])
    return number_of(op)


def dropped_all_reduce(module: Any) -> int | None:
    """Partial sums are taken for sums."""
    op = _first(module, "stablehlo.all_reduce")
    user = next(iter(op.results[0].uses)).owner.operation
    number = number_of(user)
    _replace(op, op.operands[0])
    return number


def sum_for_max(module: Any) -> int | None:
    """An all_reduce that adds instead of taking the maximum."""
    op = _first(module, "stablehlo.all_reduce", lambda op: _combiner(op) == "stablehlo.maximum")
    inner = op.regions[0].blocks[0].operations[0].operation
    _replace(inner, _create("stablehlo.add", list(inner.operands), [inner.results[0].type], inner).results[0])
    return number_of(op)


def _combiner(op: Any) -> str:
    return str(op.regions[0].blocks[0].operations[0].operation.name)


def shard_order_swapped(module: Any) -> int | None:
    """An all_gather that puts shards together in the opposite order."""
    op = _first(module, "stablehlo.all_gather")
    _set_groups(op, [group[::-1] for group in _groups(op)])
    return number_of(op)


def init_counted_twice(module: Any) -> int | None:
    """A reduction over devices whose initial value every device counts, not the first one only."""
    op = _first(module, "stablehlo.reduce", lambda op: _maker(op.operands[1]) == "stablehlo.select")
    op.operands[1] = op.operands[1].owner.operation.operands[1]
    # The all_reduce that completes it stands for it.
    return number_of(next(iter(op.results[0].uses)).owner.operation)


def off_by_one_slice(module: Any) -> int | None:
    """A device's part starts one element too late."""
    op = _first(module, "stablehlo.dynamic_slice", lambda op: _maker(op.operands[1]) != "stablehlo.constant")
    type = op.operands[1].type
    one = _create("stablehlo.constant", [], [type], op, {"value": _attribute(f"dense<1> : {type}")})
    op.operands[1] = _create("stablehlo.add", [op.operands[1], one.results[0]], [type], op).results[0]
    return number_of(op)


def missing_offset(module: Any) -> int | None:
    """Every device numbers its part of an iota from zero."""
    op = _first(module, "stablehlo.add", lambda op: _maker(op.operands[0]) == "stablehlo.iota")
    iota, number = op.operands[0], number_of(op)
    for key in MARKS:
        if key in op.attributes:
            iota.owner.attributes[key] = op.attributes[key]
    _replace(op, iota)
    return number


def padding_left_in(module: Any) -> int | None:
    """A sum over a dimension that was padded with ones."""
    op = _first(module, "stablehlo.reduce", lambda op: _combiner(op) == "stablehlo.add")
    operand = op.operands[0]
    shape, dimension = shape_of(operand), _mlir.ir.DenseI64ArrayAttr(op.attributes["dimensions"])[0]
    high = [int(d == dimension) for d in range(len(shape))]
    padded = tensor_type([s + h for s, h in zip(shape, high, strict=True)], "f32")
    scalar = tensor_type([], "f32")
    one = _create("stablehlo.constant", [], [scalar], op, {"value": _attribute("dense<1.0> : tensor<f32>")})
    zeros = _attribute(f"array<i64: {', '.join('0' for _ in shape)}>")
    attributes = {
        "edge_padding_low": zeros, "interior_padding": zeros,
        "edge_padding_high": _attribute(f"array<i64: {', '.join(map(str, high))}>"),
    }
    op.operands[0] = _create("stablehlo.pad", [operand, one.results[0]], [padded], op, attributes).results[0]
    user = next(iter(op.results[0].uses)).owner.operation
    return number_of(op) if number_of(op) is not None else number_of(user)


# -- optimized programs ------------------------------------------------------------------------------------------------


def merged_in_spite_of_attributes(module: Any) -> int | None:
    """Two ops with equal operands and unequal attributes become one."""
    found: dict[Any, Any] = {}
    for op in operations(module):
        if op.name != "stablehlo.compare":
            continue
        key = (op.name, *op.operands)
        if key in found:
            _replace(op, found[key].results[0])
            return None
        found[key] = op
    raise NoPlace("the program has no two ops that differ in attributes only")


def live_op_removed(module: Any) -> int | None:
    """An op that is needed is taken for dead; what used it now takes its operand."""
    op = _first(module, "stablehlo.tanh")
    _replace(op, op.operands[0])
    return None


PARTITION = (
    Fault("wrong replica group", "scaled_layer.mlir", wrong_replica_group, "stablehlo.all_reduce"),
    Fault("dropped all_reduce", "scaled_layer.mlir", dropped_all_reduce, "stablehlo.maximum", ("stablehlo.reduce",)),
    Fault("sum for max", "scaled_layer.mlir", sum_for_max, "stablehlo.all_reduce"),
    Fault("shard order swapped", "lookup.mlir", shard_order_swapped, "stablehlo.all_gather"),
    Fault("init counted twice", "update.mlir", init_counted_twice, "stablehlo.reduce"),
    Fault("off-by-one slice", "update.mlir", off_by_one_slice, "stablehlo.dynamic_slice", ("stablehlo.add",)),
    Fault("missing offset", "lookup.mlir", missing_offset, "stablehlo.iota"),
    Fault("padding left in", "scaled_layer.mlir", padding_left_in, "stablehlo.reduce", ("stablehlo.pad",)),
)
OPTIMIZE = (
    Fault("merged in spite of attributes", "masked_mean.mlir", merged_in_spite_of_attributes, "stablehlo.select"),
    Fault("dead op that was live", "masked_mean.mlir", live_op_removed, "stablehlo.select"),
)


@dataclass(frozen=True)
class Faulty:
    """A per-device program with a fault.

    Attributes:
      numbered: The global program, its ops numbered.
      traced: The per-device program.
      table: How its arguments and results lie.
      number: The op of the global program that is wrong.
    """

    numbered: Program
    traced: Program
    table: SideTable
    number: int | None


def partitioned(program: Program, fault: Fault | None) -> Faulty:
    """The per-device program of an annotated one, with ``fault``.

    Raises:
      NoPlace: it has no place for it.
    """
    traced = copy(program)
    report = partition(traced, trace=True)
    assert report.numbered is not None
    number = None
    if fault is not None:
        number = fault.inject(traced.module)
        traced.module.operation.verify()
    return Faulty(read.parse(report.numbered, program.source), traced, report.side_table, number)


def optimized(program: Program, fault: Fault) -> Program:
    """The program with ``fault``."""
    changed = copy(program)
    fault.inject(changed.module)
    changed.module.operation.verify()
    return changed
