"""Unrolls the devices of a per-device program: one program that holds a copy of every op for each device.

    %p = stablehlo.partition_id                  %p0 = constant 0      %p1 = constant 1
    %b = all_reduce(%a) {add}            ->      %b = map(%a0, %a1) {add}, for both devices
    %c = collective_permute(%b) [[0, 1]]         %c0 = constant 0      %c1 = %b

Collectives become data movement and reductions in the order of their groups, so any executor runs the outcome on one
device, without threads that wait for each other, and every value of every device can be looked at. Loops and branches
that hold collectives stay one loop or branch over the values of all devices; they follow device 0, as a program
that is correct on real devices must take the same way on all of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from passes import _mlir
from passes.errors import UserError
from passes.execute.moves import concatenate, constant, part, redirect, reduced, replica_groups, zeros
from passes.program.attributes import integer
from passes.program.entry import functions, symbol_name
from passes.program.walk import terminator

# A value of the per-device program on one device -> its copy.
Copies = dict[Any, Any]

COLLECTIVES = frozenset({
    "stablehlo.all_gather", "stablehlo.all_reduce", "stablehlo.reduce_scatter", "stablehlo.all_to_all",
    "stablehlo.collective_permute", "stablehlo.collective_broadcast", "stablehlo.partition_id", "stablehlo.replica_id",
})
_UNSUPPORTED = frozenset({"stablehlo.send", "stablehlo.recv", "stablehlo.infeed", "stablehlo.outfeed"})


def unroll(module: Any, devices: int) -> Any:
    """A new module operation whose ``main`` takes argument 0 of each device, then argument 1, and returns alike.

    Args:
      module: The module of a program for ``devices`` replicas, as `prepare.per_device_code` makes it.

    Raises:
      UserError: an op talks to devices in a way that cannot be unrolled.
    """
    return _Unroller(module, devices).module


class _Unroller:
    def __init__(self, module: Any, devices: int) -> None:
        self.devices = devices
        self.functions = {symbol_name(f): f for f in functions(module)}
        self.talks = _functions_that_talk(self.functions)
        self.module = module.operation.clone()
        body = self.module.regions[0].blocks[0]
        with _mlir.context(), _mlir.ir.Location.unknown():
            for function in list(body.operations):
                name = function.operation.name == "func.func" and symbol_name(function.operation)
                if name and (name == "main" or name in self.talks):
                    replacement = self._function(self.functions[name], _mlir.ir.InsertionPoint(function))
                    function.operation.erase()
                    _mlir.ir.SymbolTable.set_symbol_name(replacement, name)

    def _function(self, function: Any, place: Any) -> Any:
        """A function of ``devices`` times as many arguments and results."""
        ir = _mlir.ir
        type = ir.FunctionType(ir.TypeAttr(function.attributes["function_type"]).value)
        types = [[t for t in part for _ in range(self.devices)] for part in (type.inputs, type.results)]
        attributes = {
            "sym_name": function.attributes["sym_name"],
            "function_type": ir.TypeAttr.get(ir.FunctionType.get(*types)),
        }
        if "sym_visibility" in function.attributes:
            attributes["sym_visibility"] = function.attributes["sym_visibility"]
        new = ir.Operation.create("func.func", regions=1, attributes=attributes, ip=place, loc=function.location)
        self._region(function.regions[0], new.regions[0], [{} for _ in range(self.devices)])
        return new

    def _region(self, old: Any, new: Any, copies: list[Copies]) -> None:
        """Fills ``new`` with the ops of ``old`` for all devices; block arguments multiply too."""
        block = old.blocks[0]
        types = [a.type for a in block.arguments for _ in range(self.devices)]
        target = new.blocks.append(*types, arg_locs=[_mlir.ir.Location.unknown()] * len(types))
        self._bind(block.arguments, list(target.arguments), copies)
        place = _mlir.ir.InsertionPoint(target)
        for op in block.operations:
            self._op(op.operation, copies, place)

    def _bind(self, values: Any, expanded: list[Any], copies: list[Copies]) -> None:
        """Records ``expanded`` (value-major, device-minor) as the copies of ``values``."""
        for index, value in enumerate(values):
            for device in range(self.devices):
                copies[device][value] = expanded[index * self.devices + device]

    def _expanded(self, values: Any, copies: list[Copies]) -> list[Any]:
        return [copies[device][value] for value in values for device in range(self.devices)]

    def _op(self, op: Any, copies: list[Copies], place: Any) -> None:
        if op.name in _UNSUPPORTED:
            raise UserError(f"cannot unroll the devices of a program with {op.name}")
        if op.name in COLLECTIVES:
            self._collective(op, copies, place)
        elif op.name in ("func.return", "stablehlo.return"):
            operands = self._expanded(op.operands, copies)
            _mlir.ir.Operation.create(op.name, operands=operands, ip=place, loc=op.location)
        elif op_talks(op, self.talks):
            self._merged(op, copies, place)
        else:
            self._copied(op, copies, place)

    def _copied(self, op: Any, copies: list[Copies], place: Any) -> None:
        """An op by itself: one copy for each device, or one for all if it depends on nothing."""
        depends = len(op.operands) > 0 or len(op.regions) > 0
        results: list[Any] = []
        for device in range(self.devices):
            if depends or not device:
                new = op.clone(place)
                redirect(new, copies[device])
                results = list(new.results)
            copies[device].update(zip(op.results, results, strict=True))

    def _merged(self, op: Any, copies: list[Copies], place: Any) -> None:
        """A loop, branch or call that holds collectives: one op over the values of all devices."""
        ir = _mlir.ir
        # The selector of a branch is one value; a loop's operands are its state.
        selects = op.name in ("stablehlo.if", "stablehlo.case")
        operands = [copies[0][op.operands[0]]] if selects else self._expanded(op.operands, copies)
        new = ir.Operation.create(
            op.name,
            results=[r.type for r in op.results for _ in range(self.devices)],
            operands=operands,
            attributes={name: op.attributes[name] for name in op.attributes.keys()},  # noqa: SIM118
            regions=len(op.regions),
            ip=place,
            loc=op.location,
        )
        for index, (old_region, new_region) in enumerate(zip(op.regions, new.regions, strict=True)):
            self._region(old_region, new_region, [dict(c) for c in copies])
            if op.name == "stablehlo.while" and index == 0:
                _keep_first_operand(new_region.blocks[0])
        self._bind(op.results, list(new.results), copies)

    def _collective(self, op: Any, copies: list[Copies], place: Any) -> None:
        with place, op.location:
            for index, result in enumerate(op.results):
                inputs = [c[op.operands[index]] for c in copies] if len(op.operands) else []
                outputs = _MOVES[op.name](op, inputs, self.devices)
                for device in range(self.devices):
                    copies[device][result] = outputs[device]


def _keep_first_operand(block: Any) -> None:
    """A loop's condition is device 0's."""
    old = terminator(block)
    name, predicate, location = old.name, old.operands[0], old.location
    old.erase()
    _mlir.ir.Operation.create(name, operands=[predicate], ip=_mlir.ir.InsertionPoint(block), loc=location)


def _functions_that_talk(named: dict[str, Any]) -> frozenset[str]:
    """The functions that hold a collective, or call one that does."""
    talks: frozenset[str] = frozenset()
    while True:
        more = frozenset(name for name, f in named.items() if name in talks or op_talks(f, talks))
        if more == talks:
            return talks
        talks = more


def op_talks(op: Any, functions_that_talk: frozenset[str]) -> bool:
    """Whether ``op`` is or holds a collective, or calls one of ``functions_that_talk``."""
    if op.name in COLLECTIVES:
        return True
    if op.name == "func.call":
        return _mlir.ir.FlatSymbolRefAttr(op.attributes["callee"]).value in functions_that_talk
    return any(
        op_talks(nested.operation, functions_that_talk)
        for region in op.regions
        for block in region.blocks
        for nested in block.operations
    )


def _per_group(move: Callable[[Any, list[Any]], list[Any]]) -> Callable[[Any, list[Any], int], list[Any]]:
    """Applies ``move``, from the group's inputs to its outputs, to every group."""

    def apply(op: Any, inputs: list[Any], devices: int) -> list[Any]:
        outputs: list[Any] = [None] * devices
        for group in replica_groups(op, devices):
            for device, value in zip(group, move(op, [inputs[d] for d in group]), strict=True):
                outputs[device] = value
        return [zeros(op.results[0].type) if value is None else value for value in outputs]

    return apply


def _device_ids(op: Any, inputs: list[Any], devices: int) -> list[Any]:
    type = op.results[0].type
    return [constant(_mlir.ir.Attribute.parse(f"dense<{device}> : {type}")) for device in range(devices)]


def _all_gather(op: Any, inputs: list[Any]) -> list[Any]:
    return [concatenate(inputs, integer(op, "all_gather_dim"))] * len(inputs)


def _all_reduce(op: Any, inputs: list[Any]) -> list[Any]:
    return [reduced(op, inputs)] * len(inputs)


def _reduce_scatter(op: Any, inputs: list[Any]) -> list[Any]:
    total, dim = reduced(op, inputs), integer(op, "scatter_dimension")
    return [part(total, dim, index, len(inputs)) for index in range(len(inputs))]


def _all_to_all(op: Any, inputs: list[Any]) -> list[Any]:
    split, concat = integer(op, "split_dimension"), integer(op, "concat_dimension")
    count = len(inputs)
    return [concatenate([part(v, split, index, count) for v in inputs], concat) for index in range(count)]


def _broadcast(op: Any, inputs: list[Any]) -> list[Any]:
    return [inputs[0]] * len(inputs)


def _permute(op: Any, inputs: list[Any], devices: int) -> list[Any]:
    numbers = list(_mlir.ir.DenseIntElementsAttr(op.attributes["source_target_pairs"]))
    source_of = {target: source for source, target in zip(numbers[::2], numbers[1::2], strict=True)}
    return [
        inputs[source_of[device]] if device in source_of else zeros(op.results[0].type) for device in range(devices)
    ]


# Collective -> from its operand on every device to its result on every device.
_MOVES: dict[str, Callable[[Any, list[Any], int], list[Any]]] = {
    "stablehlo.partition_id": _device_ids,
    "stablehlo.replica_id": _device_ids,
    "stablehlo.all_gather": _per_group(_all_gather),
    "stablehlo.all_reduce": _per_group(_all_reduce),
    "stablehlo.reduce_scatter": _per_group(_reduce_scatter),
    "stablehlo.all_to_all": _per_group(_all_to_all),
    "stablehlo.collective_broadcast": _per_group(_broadcast),
    "stablehlo.collective_permute": _permute,
}
