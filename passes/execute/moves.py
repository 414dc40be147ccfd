"""Builds the plain ops that collectives are made of: constants, parts, concatenations, reductions in a fixed order.

All functions insert at the current insertion point and location.
"""

from __future__ import annotations

from typing import Any

from passes import _mlir
from passes.program.types import shape_of, splat


def replica_groups(op: Any, devices: int) -> list[list[int]]:
    """Replica groups without the -1 that pad groups of unequal size; no groups are one group of all."""
    attribute = _mlir.ir.DenseIntElementsAttr(op.attributes["replica_groups"])
    rows, columns = _mlir.ir.ShapedType(attribute.type).shape
    numbers = list(attribute)
    groups = [[d for d in numbers[r * columns : (r + 1) * columns] if d >= 0] for r in range(rows)]
    return groups if any(groups) else [list(range(devices))]


def create(name: str, operands: list[Any], type: Any, **attributes: Any) -> Any:
    """The result of a new op with one result."""
    return _mlir.ir.Operation.create(name, results=[type], operands=operands, attributes=attributes).results[0]


def constant(attribute: Any) -> Any:
    """A constant of an elements attribute."""
    return create("stablehlo.constant", [], attribute.type, value=attribute)


def zeros(type: Any) -> Any:
    """A constant of zeros (``false`` for i1)."""
    element = str(_mlir.ir.RankedTensorType(type).element_type)
    zero = "0" if element.lstrip("u").startswith("i") else "0.0"
    zero = "false" if element == "i1" else zero
    return constant(splat(zero, type))


def retyped(value: Any, shape: list[int]) -> Any:
    """The type of ``value`` with another shape."""
    return _mlir.ir.RankedTensorType.get(shape, _mlir.ir.RankedTensorType(value.type).element_type)


def reshape(value: Any, shape: list[int]) -> Any:
    """``value`` in another shape of as many elements."""
    return create("stablehlo.reshape", [value], retyped(value, shape))


def concatenate(values: list[Any], dim: int) -> Any:
    """Values of one type behind each other along ``dim``."""
    shape = shape_of(values[0])
    shape[dim] *= len(values)
    number = _mlir.ir.IntegerAttr.get(_mlir.ir.IntegerType.get_signless(64), dim)
    return create("stablehlo.concatenate", values, retyped(values[0], shape), dimension=number)


def part(value: Any, dim: int, index: int, parts: int) -> Any:
    """Part ``index`` of ``parts`` equal ones along ``dim``."""
    array = _mlir.ir.DenseI64ArrayAttr.get
    limits = shape_of(value)
    shape, starts = list(limits), [0] * len(limits)
    shape[dim] //= parts
    starts[dim], limits[dim] = index * shape[dim], (index + 1) * shape[dim]
    return create(
        "stablehlo.slice", [value], retyped(value, shape),
        start_indices=array(starts), limit_indices=array(limits), strides=array([1] * len(limits)),
    )


def reduced(op: Any, inputs: list[Any]) -> Any:
    """The elementwise reduction of ``inputs`` by the body of the collective ``op``, first to last."""
    total = inputs[0]
    name = _body_op(op)
    for value in inputs[1:]:
        total = create(name, [total, value], value.type) if name else _mapped(op, total, value)
    return total


def _body_op(op: Any) -> str | None:
    """The op that the body of ``op`` is, if it is one of its two arguments."""
    body = op.regions[0].blocks[0]
    ops = [nested.operation for nested in body.operations]
    single = len(ops) == 2 and list(ops[0].operands) == list(body.arguments) and not list(ops[0].attributes)
    return str(ops[0].name) if single else None


def _mapped(op: Any, left: Any, right: Any) -> Any:
    ir = _mlir.ir
    dimensions = ir.DenseI64ArrayAttr.get(list(range(len(shape_of(left)))))
    new = ir.Operation.create(
        "stablehlo.map", results=[left.type], operands=[left, right], attributes={"dimensions": dimensions}, regions=1
    )
    body = op.regions[0].blocks[0]
    target = new.regions[0].blocks.append(*[a.type for a in body.arguments], arg_locs=[ir.Location.unknown()] * 2)
    copies = dict(zip(body.arguments, target.arguments, strict=True))
    for nested in body.operations:
        clone = nested.operation.clone(ir.InsertionPoint(target))
        redirect(clone, copies)
        copies.update(zip(nested.operation.results, clone.results, strict=True))
    return new.results[0]


def redirect(op: Any, copies: dict[Any, Any]) -> None:
    """Makes a cloned op, and ops in its regions, use the copies of what the original used."""
    for index, operand in enumerate(op.operands):
        if operand in copies:
            op.operands[index] = copies[operand]
    for region in op.regions:
        for block in region.blocks:
            for nested in block.operations:
                redirect(nested.operation, copies)
