"""Edits that make a module smaller in place; each leaves it well-formed, though not always valid.

Whether the result verifies and is still of interest is for `search` to find out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from passes import _mlir
from passes.program.entry import functions, is_declaration, symbol_name
from passes.program.splice import splice
from passes.program.walk import operations, terminator

SHARDING = "sdy.sharding"
# The argument attribute that names the result it shares its buffer with.
_ALIAS = "tf.aliasing_output"

# A replacement for one value, or None if the edit has none for it.
Substitute = Callable[[Any], Any | None]


def blocks(module: Any) -> list[Any]:
    """Every block that holds a computation, functions before what is nested in them."""
    return [
        block
        for op in operations(module)
        if op.name != "builtin.module"
        for region in op.regions
        for block in region.blocks
    ]


def body_ops(block: Any) -> list[Any]:
    """The operations of ``block`` without its terminator."""
    return [op.operation for op in block.operations][:-1]


def function_of(block: Any) -> Any | None:
    """The function op around ``block``, if there is one."""
    op = block.owner
    while op is not None and op.operation.name != "func.func":
        op = op.operation.parent
    return op.operation if op is not None else None


def is_constant(op: Any) -> bool:
    """Whether ``op`` only holds a value."""
    return bool(op.name == "stablehlo.constant")


# -- values ------------------------------------------------------------------------------------------------------------


def erase_ops(ops: Sequence[Any], substitute: Substitute) -> bool:
    """Erases ``ops``, which stand in one block, in order; what others use of them is substituted.

    Returns:
      False, with the module half edited, if a value has no substitute.
    """
    for op in reversed(ops):
        for result in op.results:
            if not _used(result):
                continue
            value = substitute(result)
            if value is None:
                return False
            result.replace_all_uses_with(value)
        op.erase()
    return True


def _used(value: Any) -> bool:
    return next(iter(value.uses), None) is not None


def fresh_argument(function: Any) -> Substitute:
    """Substitutes by new arguments of ``function``, which lie on the devices as the value did."""

    def substitute(value: Any) -> Any | None:
        ir = _mlir.ir
        if not isinstance(value.type, ir.RankedTensorType):
            return None
        added = ir.DictAttr.get(_lying_as(value), _mlir.context())
        argument = function.regions[0].blocks[0].add_argument(value.type, ir.Location.unknown(_mlir.context()))
        _set_signature(function, arguments=[*_attributes(function, "arg_attrs", argument.arg_number), added])
        return argument

    return substitute


def _lying_as(value: Any) -> dict[str, Any]:
    """The attributes of an argument or result that lies on the devices as the result of an op does."""
    if isinstance(value.owner, _mlir.ir.Block):
        return {}
    attribute = value.owner.attributes.get(SHARDING)
    if attribute is None:
        return {}
    return {SHARDING: _mlir.sdy.TensorShardingPerValueAttr(attribute).shardings[value.result_number]}


def zero(value: Any) -> Any | None:
    """Substitutes by a constant of zeros."""
    ir = _mlir.ir
    if not isinstance(value.type, ir.RankedTensorType) or not ir.RankedTensorType(value.type).has_static_shape:
        return None
    spelled = _zero_of(ir.RankedTensorType(value.type).element_type)
    if spelled is None:
        return None
    # From text, since the bindings cannot take hold of complex element attributes.
    text = f'"stablehlo.constant"() {{value = dense<{spelled}> : {value.type}}} : () -> {value.type}'
    constant = ir.Operation.parse(text, context=_mlir.context()).operation
    ir.InsertionPoint(value.owner).insert(constant)
    return constant.results[0]


def _zero_of(element: Any) -> str | None:
    ir = _mlir.ir
    if isinstance(element, ir.IntegerType):
        return "false" if element.width == 1 else "0"
    if isinstance(element, ir.ComplexType):
        part = _zero_of(ir.ComplexType(element).element_type)
        return f"({part}, {part})"
    return "0.0" if isinstance(element, ir.FloatType) else None


def same_type_operands(op: Any) -> list[list[Any]]:
    """The ways ``op`` can be skipped: for each, one operand of the same type for each result."""
    results, operands = list(op.results), list(op.operands)
    if len(results) == 1:
        distinct: list[list[Any]] = []
        for operand in operands:
            if operand.type == results[0].type and [operand] not in distinct:
                distinct.append([operand])
        return distinct
    # Loops, reductions and barriers of several values carry them in order.
    paired = list(zip(results, operands, strict=False))
    return [operands[: len(results)]] if len(paired) == len(results) and _types_agree(paired) else []


def _types_agree(pairs: Sequence[tuple[Any, Any]]) -> bool:
    return all(a.type == b.type for a, b in pairs)


# -- regions -----------------------------------------------------------------------------------------------------------


def inlinable_regions(op: Any) -> list[int]:
    """The regions of ``op`` that can stand in its place: one branch of a conditional, one iteration of a loop."""
    found = []
    for index, region in enumerate(op.regions):
        if len(region.blocks) != 1:
            continue
        block = region.blocks[0]
        arguments, returned = list(block.arguments), list(terminator(block).operands)
        fits = not arguments or len(arguments) == len(op.operands)
        if fits and len(returned) == len(op.results) and _types_agree(
            [*zip(arguments, op.operands, strict=False), *zip(returned, op.results, strict=True)]
        ):
            found.append(index)
    return found


def inline_region(op: Any, index: int) -> None:
    """Puts the ops of a region that `inlinable_regions` lists in ``op``'s place."""
    block = op.regions[index].blocks[0]
    splice(op, block, list(op.operands)[: len(block.arguments)])


# -- signatures --------------------------------------------------------------------------------------------------------


def drop_results(function: Any, dropped: set[int]) -> None:
    """Removes results of the entry ``function`` by position."""
    ir, context = _mlir.ir, _mlir.context()
    block = function.regions[0].blocks[0]
    end = terminator(block)
    kept = [i for i in range(len(end.operands)) if i not in dropped]
    attributes = _attributes(function, "res_attrs", len(end.operands))
    ir.Operation.create(
        end.name, operands=[end.operands[i] for i in kept], ip=ir.InsertionPoint(end),
        loc=end.location,
    )
    end.erase()
    places = {old: new for new, old in enumerate(kept)}
    arguments = [_moved_alias(a, places, context) for a in _attributes(function, "arg_attrs", len(block.arguments))]
    _set_signature(function, arguments=arguments, results=[attributes[i] for i in kept])


def _moved_alias(attributes: Any, places: dict[int, int], context: Any) -> Any:
    """Argument attributes with the buffer sharing pointing at the results' new places."""
    ir = _mlir.ir
    found = {named.name: named.attr for named in attributes}
    if _ALIAS in found:
        old = ir.IntegerAttr(found.pop(_ALIAS))
        if old.value in places:
            found[_ALIAS] = ir.IntegerAttr.get(old.type, places[old.value])
    return ir.DictAttr.get(found, context)


def truncate(function: Any, count: int) -> bool:
    """Ends the entry ``function`` after ``count`` ops: it returns what the ops behind them would have used.

    Returns:
      False, with nothing changed, if they use nothing.
    """
    *body, terminator = [op.operation for op in function.regions[0].blocks[0].operations]
    behind = {v for op in [*body[count:], terminator] for inner in operations(op) for v in inner.operands}
    values = [v for op in body[:count] for v in op.results if v in behind]
    if values:
        _return_instead(function, values, body[count:])
    return bool(values)


def _return_instead(function: Any, values: list[Any], erased: list[Any]) -> None:
    """Lets ``function`` return ``values``; the ops ``erased``, the last of its body, go."""
    ir, context = _mlir.ir, _mlir.context()
    block = function.regions[0].blocks[0]
    end = terminator(block)
    returned = [ir.DictAttr.get(_lying_as(v), context) for v in values]
    ir.Operation.create(end.name, operands=values, ip=ir.InsertionPoint(end), loc=end.location)
    end.erase()
    for op in reversed(erased):
        op.erase()
    arguments = [_moved_alias(a, {}, context) for a in _attributes(function, "arg_attrs", len(block.arguments))]
    _set_signature(function, arguments=arguments, results=returned)


def end_in_region(function: Any, position: int, index: int) -> bool:
    """Lets the entry ``function`` run one region of the op at ``position`` in its body, once, and return its outcome.

    Returns:
      False, with the module half edited, if an argument of the region cannot be one of the function.
    """
    op = body_ops(function.regions[0].blocks[0])[position]
    return _end_in_block(function, position, op.regions[index].blocks[0])


def end_in_call(function: Any, position: int) -> bool:
    """Lets the entry ``function`` run what the op at ``position`` in its body calls, and return all of its outcome.

    Returns:
      False if that is no call of a function with a body, or, with the module half edited, if an argument of the called
      function cannot be one of the entry.
    """
    ir = _mlir.ir
    op = body_ops(function.regions[0].blocks[0])[position]
    if op.name != "func.call":
        return False
    called = ir.FlatSymbolRefAttr(op.attributes["callee"]).value
    found = [f for f in defined_functions(_Parent(function)) if symbol_name(f) == called]
    if not found:
        return False
    copy = found[0].clone(ip=ir.InsertionPoint(function))
    ended = _end_in_block(function, position, copy.regions[0].blocks[0])
    copy.erase()
    return ended


class _Parent:
    """The module operation around a function, in the form that `functions` takes."""

    def __init__(self, function: Any) -> None:
        self.body = function.parent.operation.regions[0].blocks[0]


def _end_in_block(function: Any, position: int, block: Any) -> bool:
    body = body_ops(function.regions[0].blocks[0])
    fresh = fresh_argument(function)
    for argument in block.arguments:
        value = fresh(argument)
        if value is None:
            return False
        argument.replace_all_uses_with(value)
    *inside, terminator = [o.operation for o in block.operations]
    for inner in inside:
        inner.move_before(body[position])
    values = list(terminator.operands)
    # What is left of the block must not refer to ops that may go.
    terminator.erase()
    if values:
        _return_instead(function, values, body[position:])
    return bool(values)


def drop_arguments(function: Any, dropped: set[int]) -> None:
    """Removes unused arguments of the entry ``function`` by position."""
    block = function.regions[0].blocks[0]
    attributes = _attributes(function, "arg_attrs", len(block.arguments))
    for index in sorted(dropped, reverse=True):
        block.erase_argument(index)
    _set_signature(function, arguments=[a for i, a in enumerate(attributes) if i not in dropped])


def unused_arguments(function: Any) -> set[int]:
    """Positions of arguments that nothing uses."""
    return {i for i, a in enumerate(function.regions[0].blocks[0].arguments) if not _used(a)}


def _attributes(function: Any, key: str, count: int) -> list[Any]:
    ir = _mlir.ir
    if key not in function.attributes:
        return [ir.DictAttr.get({}, _mlir.context())] * count
    return [ir.DictAttr(d) for d in ir.ArrayAttr(function.attributes[key])]


def _set_signature(
    function: Any, *, arguments: list[Any] | None = None, results: list[Any] | None = None
) -> None:
    """Makes the function's type follow its block, and writes the attributes of arguments and results."""
    ir, context = _mlir.ir, _mlir.context()
    block = function.regions[0].blocks[0]
    returned = terminator(block).operands
    type = ir.FunctionType.get([a.type for a in block.arguments], [v.type for v in returned], context)
    function.attributes["function_type"] = ir.TypeAttr.get(type, context)
    for key, given in (("arg_attrs", arguments), ("res_attrs", results)):
        if given is not None:
            function.attributes[key] = ir.ArrayAttr.get(given, context)


# -- attributes --------------------------------------------------------------------------------------------------------


def discardable_names(module: Any) -> list[str]:
    """The names of attributes that no op's meaning depends on (those of another dialect), wherever they are."""
    names: set[str] = set()
    for op in operations(module):
        names.update(key for key in op.attributes if "." in key)
    for function in defined_functions(module):
        for attributes in _value_attributes(function):
            names.update(named.name for d in attributes for named in d if "." in named.name)
    return sorted(names)


def drop_attributes(module: Any, names: set[str]) -> None:
    """Removes the attributes of these names from ops, arguments and results."""
    ir, context = _mlir.ir, _mlir.context()
    for op in operations(module):
        for key in [key for key in op.attributes if key in names]:
            del op.attributes[key]
    for function in defined_functions(module):
        for key in ("arg_attrs", "res_attrs"):
            if key in function.attributes:
                kept = [
                    ir.DictAttr.get({n.name: n.attr for n in ir.DictAttr(d) if n.name not in names}, context)
                    for d in ir.ArrayAttr(function.attributes[key])
                ]
                function.attributes[key] = ir.ArrayAttr.get(kept, context)


def defined_functions(module: Any) -> list[Any]:
    """The functions with a body."""
    return [f for f in functions(module) if not is_declaration(f)]


def _value_attributes(function: Any) -> list[list[Any]]:
    ir = _mlir.ir
    return [
        [ir.DictAttr(d) for d in ir.ArrayAttr(function.attributes[key])]
        for key in ("arg_attrs", "res_attrs")
        if key in function.attributes
    ]
