"""How values reach each other in a module Shardy propagates over: through ops, loops, calls and function results.

Between ``sdy-add-data-flow-edges`` and the end of propagation several SSA values are one tensor to Shardy: the result
of a loop, the arguments of its regions, and the ``sdy.data_flow_edge`` behind it carry one sharding. `tensor_of` gives
that one; an edge has the values that flow into it as its operands.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from passes import _mlir

EDGE = "sdy.data_flow_edge"
# Region ops whose operand i flows into block argument i, and whose terminator's operand i flows into result i.
_BODIES = frozenset({"sdy.named_computation", "sdy.manual_computation"})
_LOOP = "stablehlo.while"
BRANCHES = frozenset({"stablehlo.case", "stablehlo.if"})
_BARRIER = "stablehlo.optimization_barrier"
_OWNERS = _BODIES | BRANCHES | {_LOOP, _BARRIER}
_TERMINATORS = frozenset({"stablehlo.return", "sdy.return"})


@dataclass(frozen=True)
class Output:
    """Result ``index`` of a function."""

    function: Any
    index: int


# A tensor as propagation sees it: an SSA value, or a function's result.
Tensor = Any


def tensor_of(value: Any) -> Tensor:
    """The value that stands for ``value``: the data-flow edge behind it if there is one."""
    owner = value.owner
    if isinstance(owner, _mlir.ir.Block):
        parent = owner.owner.operation
        if parent.name == _LOOP:
            return tensor_of(parent.results[value.arg_number])
        return _edge_on(value) if parent.name in _BODIES else value
    # Of the view of a named computation `name` is the attribute of that name.
    return _edge_on(value) if owner.operation.name in _OWNERS else value


def _edge_on(value: Any) -> Any:
    """The edge on ``value``, which is then its only use."""
    for use in value.uses:
        return use.owner.results[0] if use.owner.name == EDGE else value
    return value


def results(op: Any) -> list[Tensor]:
    """The tensors Shardy calls the results of ``op``."""
    return [tensor_of(v) for v in op.results]


class Flow:
    """Answers what flows where; remembers the ends of blocks, for finding one takes a walk over the block."""

    def __init__(self) -> None:
        self._ends: dict[Any, Any] = {}

    def operands(self, op: Any) -> list[Tensor]:
        """The tensors Shardy calls the operands of ``op``; of a data-flow edge those that flow into it."""
        if op.name == EDGE:
            return [tensor_of(v) for v in self._sources(op.operands[0])]
        return [tensor_of(v) for v in op.operands]

    def operand(self, op: Any, index: int) -> Tensor:
        """One of `operands`."""
        return self.operands(op)[index] if op.name == EDGE else tensor_of(op.operands[index])

    def returned(self, output: Output) -> Tensor:
        """The tensor that ``output`` returns."""
        return tensor_of(self._returned(output.function, 0, output.index))

    def _sources(self, value: Any) -> list[Any]:
        owner = value.owner
        if isinstance(owner, _mlir.ir.Block):
            return [owner.owner.operation.operands[value.arg_number]]
        op, index = owner.operation, value.result_number
        if op.name == _BARRIER:
            return [op.operands[index]]
        if op.name == _LOOP:
            return [op.operands[index], self._returned(op, 1, index)]
        if op.name in BRANCHES:
            return [self._returned(op, number, index) for number in range(len(op.regions))]
        return [self._returned(op, 0, index)]

    def _returned(self, op: Any, region: int, index: int) -> Any:
        key = (op, region)
        if key not in self._ends:
            self._ends[key] = list(op.regions[region].blocks[0].operations)[-1].operation
        return self._ends[key].operands[index]


def neighbours(tensor: Tensor) -> Iterator[Any]:
    """The ops by which ``tensor`` meets others: what makes it, what reads it, the edges it flows into."""
    if isinstance(tensor, Output):
        return
    values = [tensor]
    if not isinstance(tensor.owner, _mlir.ir.Block):
        maker = tensor.owner.operation
        yield maker
        if maker.name == EDGE:
            values += _aliases(maker.operands[0])
    for value in values:
        for use in value.uses:
            yield from _reader(use)


def _aliases(value: Any) -> list[Any]:
    """The arguments of a loop's regions that are the same tensor as its result ``value``."""
    owner = value.owner
    if isinstance(owner, _mlir.ir.Block) or owner.operation.name != _LOOP:
        return []
    return [region.blocks[0].arguments[value.result_number] for region in owner.operation.regions]


def _reader(use: Any) -> Iterator[Any]:
    """The op that a use of a value is for, looking through region borders."""
    op, index = use.owner.operation, use.operand_number
    if op.name in _TERMINATORS:
        parent = op.parent.operation
        if parent.name in _OWNERS and index < len(parent.results):
            yield from _edge_op(parent.results[index])
    elif op.name in _BODIES:
        yield from _edge_op(op.regions[0].blocks[0].arguments[index])
    elif op.name in (_LOOP, _BARRIER):
        yield from _edge_op(op.results[index])
    else:
        yield op


def _edge_op(value: Any) -> Iterator[Any]:
    edge = _edge_on(value)
    if edge is not value:
        yield edge.owner.operation


def outputs(tensor: Tensor) -> list[Output]:
    """The function results that return ``tensor``."""
    if isinstance(tensor, Output):
        return []
    return [
        Output(use.owner.operation.parent.operation, use.operand_number)
        for use in tensor.uses
        if use.owner.operation.name == "func.return"
    ]

