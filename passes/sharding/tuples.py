"""Dissolves tuples, which shardings know nothing of: their elements are passed and returned one by one.

  func.func @main(%a: tuple<tensor<8xf32>, tensor<8xf32>>) -> tensor<8xf32> {
    %0 = stablehlo.get_tuple_element %a[1] : (tuple<tensor<8xf32>, tensor<8xf32>>) -> tensor<8xf32>

becomes

  func.func @main(%a: tensor<8xf32>, %b: tensor<8xf32>) -> tensor<8xf32> {

Arguments, results and calls of functions and the results of custom calls are dissolved, tuples in tuples too. A custom
call that takes a tuple is left for `prechecks` to refuse: whoever implements it counts on the tuple.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from passes import _mlir
from passes.program.entry import functions, is_declaration, value_attributes
from passes.program.read import Program
from passes.program.walk import named

TUPLE = "stablehlo.tuple"
ELEMENT = "stablehlo.get_tuple_element"


def dissolve(program: Program, ops: list[Any]) -> bool:
    """Dissolves the tuples of ``program`` in place; says whether there were any.

    Args:
      ops: All of its ops called one of `NAMES`; handles of them are dead if there were tuples.
    """
    defined = [f for f in functions(program.module) if not is_declaration(f)]
    makers = (op for op in ops if op.name in _AT or op.name in (TUPLE, ELEMENT))
    if not any(_is_tuple(v.type) for op in makers for v in (*op.operands, *op.results)):
        return False
    for op in ops:
        if op.name in _AT:
            _AT[op.name](op)
    for function in defined:
        _arguments(function)
    for function in defined:
        _forward(function)
    return True


def leaves(type: Any) -> list[Any]:
    """The types of the elements of ``type``, inner ones too; ``[type]`` if it is no tuple."""
    if not _is_tuple(type):
        return [type]
    tuple = _mlir.ir.TupleType(type)
    return [leaf for i in range(tuple.num_types) for leaf in leaves(tuple.get_type(i))]


def _is_tuple(type: Any) -> bool:
    return isinstance(type, _mlir.ir.TupleType)


def _takes_tuples(function: Any) -> bool:
    type = _signature(function)
    return any(map(_is_tuple, (*type.inputs, *type.results)))


def _signature(function: Any) -> Any:
    return _mlir.ir.FunctionType(_mlir.ir.TypeAttr(function.attributes["function_type"]).value)


# -- between tuples and their elements ---------------------------------------------------------------------------------


def _taken_apart(value: Any, point: Any, location: Any) -> list[Any]:
    """The elements of ``value``, inner ones too, made at ``point``; ``[value]`` if it is no tuple."""
    if not _is_tuple(value.type):
        return [value]
    ir = _mlir.ir
    tuple, i32 = ir.TupleType(value.type), ir.IntegerType.get_signless(32, _mlir.context())
    found = []
    for i in range(tuple.num_types):
        index = {"index": ir.IntegerAttr.get(i32, i)}
        element = ir.Operation.create(ELEMENT, [tuple.get_type(i)], [value], index, loc=location, ip=point)
        found += _taken_apart(element.results[0], point, location)
    return found


def _put_together(type: Any, elements: list[Any], point: Any, location: Any) -> Any:
    """A value of ``type`` made at ``point`` of ``elements``, of which it takes as many as it needs."""
    if not _is_tuple(type):
        return elements.pop(0)
    tuple = _mlir.ir.TupleType(type)
    operands = [_put_together(tuple.get_type(i), elements, point, location) for i in range(tuple.num_types)]
    return _mlir.ir.Operation.create(TUPLE, [type], operands, loc=location, ip=point).results[0]


# -- ops that pass tuples ----------------------------------------------------------------------------------------------


def _call(op: Any) -> None:
    point = _mlir.ir.InsertionPoint(op)
    _rebuild(op, [v for operand in op.operands for v in _taken_apart(operand, point, op.location)])


def _custom_call(op: Any) -> None:
    """A custom call's only result may be a tuple, and means the same as several results."""
    if len(op.results) == 1:
        _rebuild(op, list(op.operands))


def _rebuild(op: Any, operands: list[Any]) -> None:
    """Replaces ``op`` by one that takes ``operands`` and has the elements of its results for results."""
    if not any(_is_tuple(v.type) for v in (*op.results, *op.operands)):
        return
    ir = _mlir.ir
    types = [leaf for result in op.results for leaf in leaves(result.type)]
    attributes = {key: op.attributes[key] for key in op.attributes}
    point = ir.InsertionPoint(op)
    new = ir.Operation.create(op.name, types, operands, attributes, loc=op.location, ip=point)
    elements = list(new.results)
    for result in op.results:
        result.replace_all_uses_with(_put_together(result.type, elements, point, op.location))
    op.erase()


def _return(op: Any) -> None:
    if not any(_is_tuple(v.type) for v in op.operands):
        return
    ir = _mlir.ir
    point = ir.InsertionPoint(op)
    operands = [v for operand in op.operands for v in _taken_apart(operand, point, op.location)]
    ir.Operation.create("func.return", [], operands, loc=op.location, ip=point)
    op.erase()


_AT: dict[str, Callable[[Any], None]] = {"func.call": _call, "func.return": _return}
_AT |= {"stablehlo.composite": _call, "stablehlo.custom_call": _custom_call}
NAMES = frozenset({*_AT, TUPLE, ELEMENT})


def _arguments(function: Any) -> None:
    """Gives ``function`` the elements of its arguments for arguments, and those of its results for results."""
    if not _takes_tuples(function):
        return
    ir, context = _mlir.ir, _mlir.context()
    signature, block = _signature(function), function.regions[0].blocks[0]
    old = list(block.arguments)
    point = ir.InsertionPoint.at_block_begin(block)
    for argument in old:
        elements = [block.add_argument(leaf, argument.location) for leaf in leaves(argument.type)]
        argument.replace_all_uses_with(_put_together(argument.type, elements, point, argument.location))
    for _ in old:
        block.erase_argument(0)
    for key, types in (("arg_attrs", signature.inputs), ("res_attrs", signature.results)):
        if key in function.attributes:
            each = zip(value_attributes(function, key, len(types)), types, strict=True)
            spread = [said if leaf is type else {} for said, type in each for leaf in leaves(type)]
            dictionaries = [ir.DictAttr.get(said, context=context) for said in spread]
            function.attributes[key] = ir.ArrayAttr.get(dictionaries, context=context)
    inputs = [leaf for type in signature.inputs for leaf in leaves(type)]
    results = [leaf for type in signature.results for leaf in leaves(type)]
    flat = ir.FunctionType.get(inputs, results, context=context)
    function.attributes["function_type"] = ir.TypeAttr.get(flat, context=context)


def _forward(function: Any) -> None:
    """Puts elements in the place of what takes them out of tuples again, and removes tuples that nothing reads."""
    tuples = []
    for op in named(function, frozenset({TUPLE, ELEMENT})):
        if op.name == TUPLE:
            tuples.append(op)
            continue
        maker = op.operands[0].owner
        if isinstance(maker, _mlir.ir.Operation | _mlir.ir.OpView) and maker.operation.name == TUPLE:
            index = _mlir.ir.IntegerAttr(op.attributes["index"]).value
            op.results[0].replace_all_uses_with(maker.operation.operands[index])
            op.erase()
    for op in reversed(tuples):
        if not list(op.results[0].uses):
            op.erase()
