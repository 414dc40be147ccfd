"""Which values an argument may take so that the program means something: indices, branches, bounds, square roots.

An argument is followed forward through ops that hand its elements on, through calls, control flow and loops, to the
ops that say what they are for: the index of a gather, a shift amount, the bound of a loop.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from passes import _mlir
from passes.program.entry import find_entry, functions, symbol_name
from passes.program.read import Program
from passes.program.types import shape_of
from passes.program.walk import operations

# Trip counts of loops that an argument bounds: enough to go round more than once.
_LOOP_LIMIT = 3


@dataclass(frozen=True)
class Domain:
    """Inclusive bounds of an argument's elements; ``None`` is unbounded."""

    low: int | None
    high: int | None

    @property
    def bounded(self) -> bool:
        """Whether there is an upper bound, as for indices."""
        return self.high is not None

    def meet(self, other: Domain) -> Domain:
        """The values that lie in both."""
        lows = [x for x in (self.low, other.low) if x is not None]
        highs = [x for x in (self.high, other.high) if x is not None]
        return Domain(max(lows, default=None), min(highs, default=None))

    def widened(self) -> Domain:
        """As many values again below and above."""
        assert self.low is not None and self.high is not None
        size = self.high - self.low + 1
        return Domain(self.low - size, self.high + size)


# (op, operand number) -> the domain this use asks for, or None if it does not mind.
Sink = Callable[[Any, int], Domain | None]


def _index(room: list[int]) -> Domain | None:
    """An index into dimensions that leave ``room``; those that fit in one place only do not limit the others."""
    return Domain(0, min([r for r in room if r > 0], default=0)) if room else None


def _gather(op: Any, operand: int) -> Domain | None:
    if operand != 1:
        return None
    numbers = _mlir.stablehlo.GatherDimensionNumbers(op.attributes["dimension_numbers"])
    sizes = list(_mlir.ir.DenseI64ArrayAttr(op.attributes["slice_sizes"]))
    shape = shape_of(op.operands[0])
    return _index([shape[d] - sizes[d] for d in numbers.start_index_map])


def _scatter(op: Any, operand: int) -> Domain | None:
    inputs = (len(op.operands) - 1) // 2
    if operand != inputs:
        return None
    numbers = _mlir.stablehlo.ScatterDimensionNumbers(op.attributes["scatter_dimension_numbers"])
    shape, updates = shape_of(op.operands[0]), shape_of(op.operands[inputs + 1])
    absent = {*numbers.inserted_window_dims, *numbers.input_batching_dims}
    windowed = [d for d in range(len(shape)) if d not in absent]
    window = dict(zip(windowed, (updates[d] for d in numbers.update_window_dims), strict=True))
    return _index([shape[d] - window.get(d, 1) for d in numbers.scattered_dims_to_operand_dims])


def _dynamic_slice(op: Any, operand: int) -> Domain | None:
    if operand == 0:
        return None
    sizes = list(_mlir.ir.DenseI64ArrayAttr(op.attributes["slice_sizes"]))
    return _index([shape_of(op.operands[0])[operand - 1] - sizes[operand - 1]])


def _dynamic_update_slice(op: Any, operand: int) -> Domain | None:
    if operand < 2:
        return None
    return _index([shape_of(op.operands[0])[operand - 2] - shape_of(op.operands[1])[operand - 2]])


def _case(op: Any, operand: int) -> Domain | None:
    return Domain(0, len(op.regions) - 1)


def _shift(op: Any, operand: int) -> Domain | None:
    element = _mlir.ir.RankedTensorType(op.operands[0].type).element_type
    return Domain(0, _mlir.ir.IntegerType(element).width - 1) if operand == 1 else None


def _divisor(op: Any, operand: int) -> Domain | None:
    return Domain(1, None) if operand == 1 and _is_integer(op.operands[1]) else None


def _root(op: Any, operand: int) -> Domain | None:
    return Domain(0, None)


def _power(op: Any, operand: int) -> Domain | None:
    """A base has a real power whatever its sign only if the exponent is a known whole number."""
    element = str(_mlir.ir.RankedTensorType(op.operands[0].type).element_type)
    if operand != 0 or element.startswith("complex"):
        return None
    exponent = _source(op.operands[1])
    if exponent is None or exponent.name != "stablehlo.constant":
        return Domain(0, None)
    value = _mlir.ir.DenseElementsAttr(exponent.attributes["value"])
    whole = value.is_splat and float(value.get_splat_value().value).is_integer()
    return None if whole else Domain(0, None)


# What brings an iota or a constant into the shape in which it is used.
_SHAPING = frozenset({"stablehlo.broadcast_in_dim", "stablehlo.reshape", "stablehlo.convert", "stablehlo.transpose"})


def _is_integer(value: Any) -> bool:
    return isinstance(_mlir.ir.RankedTensorType(value.type).element_type, _mlir.ir.IntegerType)


def _compare(op: Any, operand: int) -> Domain | None:
    if not _is_integer(op.operands[operand]):
        return None
    if _inside_while_condition(op):
        return Domain(0, _LOOP_LIMIT)
    other = _source(op.operands[1 - operand])
    # A label or token id is compared with an iota when it is turned into a one-hot vector.
    if other is None or other.name != "stablehlo.iota":
        return None
    dimension = _mlir.ir.IntegerAttr(other.attributes["iota_dimension"]).value
    return Domain(0, max(shape_of(other.results[0])[dimension] - 1, 0))


def _definition(value: Any) -> Any:
    """The operation that makes ``value``; ``None`` for block arguments."""
    return None if isinstance(value.owner, _mlir.ir.Block) else value.owner.operation


def _source(value: Any) -> Any:
    """The operation that makes ``value``, seen through what only shapes it; ``None`` for block arguments."""
    found = _definition(value)
    while found is not None and found.name in _SHAPING:
        found = _definition(found.operands[0])
    return found


def _inside_while_condition(op: Any) -> bool:
    parent = op.parent.operation
    if parent.name != "stablehlo.while":
        return False
    return bool(parent.regions[0].blocks[0] == op.block)


_SINKS: dict[str, Sink] = {
    "stablehlo.gather": _gather,
    "stablehlo.scatter": _scatter,
    "stablehlo.dynamic_slice": _dynamic_slice,
    "stablehlo.dynamic_update_slice": _dynamic_update_slice,
    "stablehlo.case": _case,
    "stablehlo.compare": _compare,
    "stablehlo.shift_left": _shift,
    "stablehlo.shift_right_logical": _shift,
    "stablehlo.shift_right_arithmetic": _shift,
    "stablehlo.divide": _divisor,
    "stablehlo.remainder": _divisor,
    "stablehlo.sqrt": _root,
    "stablehlo.rsqrt": _root,
    "stablehlo.log": _root,
    "stablehlo.power": _power,
}

# Ops whose results hold the elements of these operands, moved, converted or shifted by an offset.
_ALL = None
_HANDS_ON: dict[str, frozenset[int] | None] = {
    **dict.fromkeys(
        (
            "stablehlo.reshape", "stablehlo.broadcast_in_dim", "stablehlo.convert", "stablehlo.transpose",
            "stablehlo.slice", "stablehlo.concatenate", "stablehlo.optimization_barrier", "stablehlo.reverse",
            "stablehlo.add", "stablehlo.maximum", "stablehlo.minimum", "sdy.sharding_constraint",
        ), _ALL,
    ),
    "stablehlo.select": frozenset({1, 2}),
    "stablehlo.clamp": frozenset({1}),
    "stablehlo.subtract": frozenset({0}),
    "stablehlo.divide": frozenset({0}),
    "stablehlo.reduce": frozenset({0}),
    "stablehlo.gather": frozenset({0}),
    "stablehlo.dynamic_slice": frozenset({0}),
    "stablehlo.pad": frozenset({0}),
}


class _Flow:
    """Where values of one program go, through calls, control flow and loops."""

    def __init__(self, program: Program) -> None:
        self.functions = {symbol_name(f): f for f in functions(program.module)}
        self._call_sites: dict[str, list[Any]] | None = None

    def next(self, op: Any, operand: int) -> list[Any]:
        """The values that hold the elements of operand number ``operand`` of ``op``."""
        step = self._STEPS.get(op.name)
        if step is not None:
            return step(self, op, operand)
        if op.name not in _HANDS_ON:
            return []
        taken = _HANDS_ON[op.name]
        if taken is not None and operand not in taken:
            return []
        results = list(op.results)
        return results if len(results) == 1 else [results[operand]]

    def _scaled(self, op: Any, operand: int) -> list[Any]:
        """A running average of squares is scaled before its root; a square has a root whatever was squared."""
        return [] if op.operands[0] == op.operands[1] else [op.results[0]]

    def _into_call(self, op: Any, operand: int) -> list[Any]:
        key = "decomposition" if op.name == "stablehlo.composite" else "callee"
        callee = self.functions.get(_mlir.ir.FlatSymbolRefAttr(op.attributes[key]).value)
        return [callee.regions[0].blocks[0].arguments[operand]] if callee and len(callee.regions[0].blocks) else []

    def _around_loop(self, op: Any, operand: int) -> list[Any]:
        return [op.results[operand], *(region.blocks[0].arguments[operand] for region in op.regions)]

    def _out_of_region(self, op: Any, operand: int) -> list[Any]:
        parent = op.parent.operation
        if parent.name == "stablehlo.while":
            # The condition returns a truth value; the body returns the next round's values.
            return self._around_loop(parent, operand) if parent.regions[1].blocks[0] == op.block else []
        return [parent.results[operand]] if parent.name in ("stablehlo.case", "stablehlo.if") else []

    def _out_of_function(self, op: Any, operand: int) -> list[Any]:
        return [call.results[operand] for call in self._calls_of(symbol_name(op.parent.operation))]

    _STEPS: ClassVar[dict[str, Callable[[_Flow, Any, int], list[Any]]]] = {
        "func.call": _into_call,
        "stablehlo.composite": _into_call,
        "stablehlo.multiply": _scaled,
        "stablehlo.while": _around_loop,
        "stablehlo.return": _out_of_region,
        "func.return": _out_of_function,
    }

    def _calls_of(self, name: str) -> list[Any]:
        if self._call_sites is None:
            self._call_sites = {}
            for function in self.functions.values():
                for op in operations(function):
                    if op.name == "func.call":
                        callee = _mlir.ir.FlatSymbolRefAttr(op.attributes["callee"]).value
                        self._call_sites.setdefault(callee, []).append(op)
        return self._call_sites.get(name, [])


def argument_domains(program: Program, entry: str | None = None) -> list[Domain | None]:
    """For each argument of the entry function the values that its uses ask for; ``None`` where they do not mind."""
    flow = _Flow(program)
    known: dict[Any, Domain | None] = {}
    block = find_entry(program, entry).regions[0].blocks[0]
    return [_domain(flow, argument, known) for argument in block.arguments]


def _domain(flow: _Flow, start: Any, known: dict[Any, Domain | None]) -> Domain | None:
    """What the uses of ``start`` ask for, each value being looked at once; a loop's way back to itself adds nothing."""
    waiting: list[tuple[Any, list[Any], Domain | None]] = []
    wished, following = _uses(flow, start)
    known[start] = None
    waiting.append((start, following, wished))
    while True:
        value, following, wished = waiting[-1]
        fresh = next((v for v in following if v not in known), None)
        if fresh is not None:
            known[fresh] = None
            more_wished, more = _uses(flow, fresh)
            waiting.append((fresh, more, more_wished))
            continue
        for other in following:
            wished = _meet(wished, known[other])
        known[value] = wished
        waiting.pop()
        if not waiting:
            return wished


def _uses(flow: _Flow, value: Any) -> tuple[Domain | None, list[Any]]:
    wished: Domain | None = None
    following: list[Any] = []
    for use in value.uses:
        # `.operation`, because on op classes `name` may be an attribute of the op (a composite's, a function's).
        op, operand = use.owner.operation, use.operand_number
        sink = _SINKS.get(op.name)
        if sink is not None:
            wished = _meet(wished, sink(op, operand))
        following += flow.next(op, operand)
    return wished, following


def _meet(left: Domain | None, right: Domain | None) -> Domain | None:
    if left is None or right is None:
        return left or right
    return left.meet(right)
