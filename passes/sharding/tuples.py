"""Dissolves tuples, which shardings know nothing of: their elements are passed and returned one by one.

  func.func @main(%a: tuple<tensor<8xf32>, tensor<8xf32>>) -> tensor<8xf32> {
    %0 = stablehlo.get_tuple_element %a[1] : (tuple<tensor<8xf32>, tensor<8xf32>>) -> tensor<8xf32>

becomes

  func.func @main(%a: tensor<8xf32>, %b: tensor<8xf32>) -> tensor<8xf32> {

Arguments, results and calls of functions and the results of custom calls are dissolved, tuples in tuples too. What was
element 1 of argument ``state`` is then an argument called ``state[1]``. A custom call that takes a tuple is left for
`prechecks` to refuse: whoever implements it counts on the tuple.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from passes import _mlir
from passes.program.entry import arguments, find_entry, functions, is_declaration, results
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


def dissolve_named(program: Program, entry: str | None = None, *, inside: bool = False) -> None:
    """Dissolves tuples in place before values are called by their names: those of the signature, or any if ``inside``.

    Nothing happens, at no cost, if the entry function has none and what is inside does not matter.

    Raises:
      UserError: there is no entry function.
    """
    if inside or _takes_tuples(find_entry(program, entry)):
        dissolve(program, named(program.module, NAMES))


def leaves(type: Any) -> list[Any]:
    """The types of the elements of ``type``, inner ones too; ``[type]`` if it is no tuple."""
    if not _is_tuple(type):
        return [type]
    tuple = _mlir.ir.TupleType(type)
    return [leaf for i in range(tuple.num_types) for leaf in leaves(tuple.get_type(i))]


def paths(type: Any) -> list[str]:
    """What stands behind the name of a value of ``type`` in the names of its elements: ``[0]``, ``[1][0]``, ...

    ``[""]`` if it is no tuple.
    """
    if not _is_tuple(type):
        return [""]
    tuple = _mlir.ir.TupleType(type)
    return [f"[{i}]{path}" for i in range(tuple.num_types) for path in paths(tuple.get_type(i))]


def sources(value: Any) -> list[tuple[Any, int]]:
    """Of which values that stay the elements of ``value`` are which elements.

    What makes and opens tuples goes when they are dissolved; calls, custom calls and arguments stay.
    """
    owner = value.owner
    if isinstance(owner, _mlir.ir.Block) or owner.name not in (TUPLE, ELEMENT):
        return [(value, leaf) for leaf in range(len(leaves(value.type)))]
    op = owner.operation
    if op.name == TUPLE:
        return [source for operand in op.operands for source in sources(operand)]
    index, tuple = _mlir.ir.IntegerAttr(op.attributes["index"]).value, _mlir.ir.TupleType(op.operands[0].type)
    start = sum(len(leaves(tuple.get_type(i))) for i in range(index))
    return sources(op.operands[0])[start:start + len(leaves(value.type))]


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
    named = {"arg_attrs": arguments(function), "res_attrs": results(function)}
    old = list(block.arguments)
    point = ir.InsertionPoint.at_block_begin(block)
    for argument, value in zip(old, named["arg_attrs"], strict=True):
        elements = [
            block.add_argument(leaf, _named_location(value.name, path, argument.location))
            for leaf, path in zip(leaves(argument.type), paths(argument.type), strict=True)
        ]
        argument.replace_all_uses_with(_put_together(argument.type, elements, point, argument.location))
    for _ in old:
        block.erase_argument(0)
    for key, values in named.items():
        if key in function.attributes or key == "res_attrs":
            said = [element for value in values for element in _said_of_elements(key, value)]
            dictionaries = [ir.DictAttr.get(each, context=context) for each in said]
            function.attributes[key] = ir.ArrayAttr.get(dictionaries, context=context)
    inputs = [leaf for type in signature.inputs for leaf in leaves(type)]
    outputs = [leaf for type in signature.results for leaf in leaves(type)]
    flat = ir.FunctionType.get(inputs, outputs, context=context)
    function.attributes["function_type"] = ir.TypeAttr.get(flat, context=context)


def _named_location(name: str, path: str, location: Any) -> Any:
    """The location of an argument; of an element of a tuple it carries the element's name, as front ends do it."""
    ir = _mlir.ir
    if not path:
        return location
    inner = location.child_loc if isinstance(location, ir.NameLoc) else location
    return ir.Location.name(f"{name}{path}", childLoc=inner, context=_mlir.context())


def _said_of_elements(key: str, value: Any) -> list[dict[str, Any]]:
    """The attributes of the elements of an argument or result; what is said of a tuple holds for none of them."""
    if not _is_tuple(value.type):
        return [value.attributes]
    if key == "arg_attrs":
        return [{} for _ in leaves(value.type)]
    string = _mlir.ir.StringAttr
    return [{"jax.result_info": string.get(f"{value.name}{path}", _mlir.context())} for path in paths(value.type)]


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
