"""A module as plain Python objects, read in one walk: what the counters look at.

A handle of the bindings costs microseconds at every touch and dies with its op; here a use is a list entry, and what is
known of a value (a splat, never -0.0) is written down as the walk goes from definitions to uses.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from leftover.signs import never_negative_zero
from passes import _mlir

# Ops that only move elements around: of a splat they make a splat.
MOVES = frozenset(f"stablehlo.{name}" for name in ("broadcast_in_dim", "reshape", "transpose", "slice", "reverse"))


class Value:
    """A result or a block argument.

    Attributes:
      shape: ``None`` for what is no ranked tensor.
      element: The element type's text.
      op: The op it is a result of; ``None`` for a block argument.
      block: Where it is defined.
      index: Its position among the results or arguments.
      uses: (op, operand number), in order.
      constant: The attribute if a ``constant`` defines it.
      splat: The one element (an attribute) if all are known to be this one.
      never_negative_zero: See `signs`.
    """

    __slots__ = ("block", "constant", "element", "index", "never_negative_zero", "op", "shape", "splat", "type", "uses")

    def __init__(self, type: Any, op: Op | None, block: Block, index: int) -> None:
        self.type = type
        self.shape, self.element = _described(type)
        self.op = op
        self.block = block
        self.index = index
        self.uses: list[tuple[Op, int]] = []
        self.constant: Any = None
        self.splat: Any = None
        self.never_negative_zero = False

    @property
    def size(self) -> int:
        return math.prod(self.shape or ())

    @property
    def is_float(self) -> bool:
        return self.element.startswith(("f", "bf"))

    @property
    def is_integer(self) -> bool:
        return self.element.startswith(("i", "ui", "si"))

    @property
    def number(self) -> Any:
        """The splat's value as a Python number, else ``None``."""
        return None if self.splat is None else _number(self.splat)

    def defined_by(self, name: str) -> Op | None:
        """The op this is a result of if that is a ``stablehlo`` op called ``name``."""
        return self.op if self.op is not None and self.op.name == f"stablehlo.{name}" else None


class Op:
    """An operation; ``handle`` is that of the bindings, alive as long as the module is not changed."""

    __slots__ = ("block", "handle", "name", "operands", "position", "regions", "results")

    def __init__(self, handle: Any, name: str, block: Block) -> None:
        self.handle = handle
        self.name = name
        self.block = block
        self.position = len(block.ops)
        self.operands: tuple[Value, ...] = ()
        self.results: tuple[Value, ...] = ()
        self.regions: list[list[Block]] = []

    @property
    def short(self) -> str:
        return self.name.rpartition(".")[2]

    @property
    def result(self) -> Value:
        return self.results[0]

    def attribute(self, name: str) -> Any:
        return self.handle.attributes.get(name)

    def ints(self, name: str) -> tuple[int, ...]:
        """An attribute that is an array or a dense list of integers."""
        found = self.attribute(name)
        return () if found is None else tuple(int(i) for i in found)

    def inside(self) -> Iterator[Op]:
        """The ops in its regions, in pre-order."""
        for region in self.regions:
            for block in region:
                for op in block.ops:
                    yield op
                    yield from op.inside()

    def line(self) -> str:
        """The op in a line, for people."""
        operands = ", ".join(_shown(v) for v in self.operands[:6]) + (", ..." if len(self.operands) > 6 else "")
        attributes = _attribute_texts(self.handle)
        types = ", ".join(str(r.type) for r in self.results[:4])
        return f"{self.name}({operands}) {{{', '.join(attributes)}}} : {types}"


class Block:
    """A block: its arguments, its ops, and the op whose region it is in."""

    __slots__ = ("arguments", "ops", "parent")

    def __init__(self, parent: Op | None) -> None:
        self.parent = parent
        self.arguments: tuple[Value, ...] = ()
        self.ops: list[Op] = []


@dataclass
class Mirror:
    """A module: every op in pre-order, and its functions by name."""

    ops: list[Op] = field(default_factory=list)
    functions: dict[str, Op] = field(default_factory=dict)


def mirror(module: Any) -> Mirror:
    """Reads ``module`` (an operation)."""
    found = Mirror()
    top = Block(None)
    _fill(top, module.regions[0].blocks[0], found, {})
    for op in top.ops:
        if op.name == "func.func":
            found.functions[op.attribute("sym_name").value] = op
    return found


def _fill(block: Block, handle: Any, found: Mirror, values: dict[Any, Value]) -> None:
    arguments = []
    for index, argument in enumerate(handle.arguments):
        value = values[argument] = Value(argument.type, None, block, index)
        arguments.append(value)
    block.arguments = tuple(arguments)
    for view in handle:
        inner = view.operation
        op = Op(inner, inner.name, block)
        block.ops.append(op)
        found.ops.append(op)
        op.operands = tuple([values[operand] for operand in inner.operands])
        for position, operand in enumerate(op.operands):
            operand.uses.append((op, position))
        results = []
        for index, result in enumerate(inner.results):
            value = values[result] = Value(result.type, op, block, index)
            results.append(value)
        op.results = tuple(results)
        for region in inner.regions:
            blocks = []
            for inside in region:
                blocks.append(Block(op))
                _fill(blocks[-1], inside, found, values)
            op.regions.append(blocks)
        _learn(op)


def _learn(op: Op) -> None:
    if op.name == "stablehlo.constant":
        value = op.result
        try:
            value.constant = op.handle.attributes["value"]
            value.splat = _splat(value.constant)
        except TypeError:  # Complex numbers, which the bindings cannot hand out.
            value.constant = str(op.handle.clone(ip=False))
    elif op.name in MOVES:
        op.result.splat = op.operands[0].splat
    for value in op.results:
        if value.is_float:
            value.never_negative_zero = never_negative_zero(op, value)


def same_attribute(left: Any, right: Any) -> bool:
    """Whether two attributes are there and equal; the bindings compare neither ``None`` nor text with one."""
    return left is not None and type(left) is type(right) and bool(left == right)


@cache
def _described(type: Any) -> tuple[tuple[int, ...] | None, str]:
    ir = _mlir.ir
    if not isinstance(type, ir.RankedTensorType):
        return None, str(type)
    ranked = ir.RankedTensorType(type)
    return tuple(ranked.shape), str(ranked.element_type)


@cache
def _splat(attribute: Any) -> Any:
    if isinstance(attribute, _mlir.ir.DenseElementsAttr) and attribute.is_splat:
        return attribute.get_splat_value()
    return None


@cache
def _number(splat: Any) -> Any:
    return splat.value if hasattr(splat, "value") else None


def _shown(value: Value) -> str:
    if value.op is None:
        return f"arg{value.index}:{value.type}"
    number = value.number
    return f"{value.op.short}{'' if number is None else f'[{number}]'}:{value.type}"


def _attribute_texts(handle: Any) -> list[str]:
    texts = []
    for name in handle.attributes:
        try:
            text = str(handle.attributes[name])
        except TypeError:
            continue
        texts.append(f"{name} = {text if len(text) < 60 else text[:57] + '...'}")
    return texts
