"""The ops of `ops` as ``stablehlo.composite``s in a module: reading them, making them, the rules they are split by."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from passes import _mlir
from passes.errors import UserError
from passes.moe.decompose import Place, decomposition
from passes.moe.ops import NAMESPACE, OPS, SPARSE_MATMUL, Call, Op, Type, problem
from passes.pipeline.base import Counters
from passes.program.entry import is_private, symbol_name
from passes.program.types import i64_attr
from passes.program.walk import named, operations
from passes.sharding.op_rules import RULE
from passes.sharding.rule_notation import parse
from passes.sharding.sharding_rule import Rule, encode, replicated

COMPOSITE = "stablehlo.composite"
_CHANNEL = re.compile(r"handle = (\d+)")
# Partitioning numbers its channels from 1.
_FIRST_CHANNEL = 100_000


def moe_composites(module: Any) -> list[Any]:
    """The composites of the table in ``module``."""
    return [op for op in named(module, frozenset({COMPOSITE})) if op_of(op) is not None]


def op_of(composite: Any) -> Op | None:
    """The op of the table that ``composite`` is, if it is one."""
    name = str(_mlir.ir.StringAttr(composite.attributes["name"]).value)
    return OPS.get(name.removeprefix(NAMESPACE)) if name.startswith(NAMESPACE) else None


def read(composite: Any) -> Call:
    """The use of an op of the table that ``composite`` is.

    Raises:
      UserError: it lacks an attribute, has one of another type or one too many, or breaks a rule of the table.
    """
    ir, op = _mlir.ir, op_of(composite)
    assert op is not None
    given: dict[str, int | bool] = {}
    if "composite_attributes" in composite.attributes:
        for item in ir.DictAttr(composite.attributes["composite_attributes"]):
            is_bool = isinstance(item.attr, ir.BoolAttr)
            if not is_bool and not isinstance(item.attr, ir.IntegerAttr):
                fail(composite, op, f"attribute {item.name} = {item.attr} is neither a whole number nor a truth value")
            given[item.name] = item.attr.value
    return checked(composite, op, given)


def checked(where: Any, op: Op, given: dict[str, int | bool]) -> Call:
    """The use of ``op`` that ``where`` is, with attributes ``given``.

    Raises:
      UserError: as `read`.
    """
    known = {a.name: a for a in op.attributes}
    for name, value in given.items():
        if name not in known:
            fail(where, op, f"it has no attribute {name}; its attributes: {', '.join(known)}")
        if isinstance(value, bool) != (known[name].type is bool):
            wanted = "true or false" if known[name].type is bool else "a whole number"
            fail(where, op, f"attribute {name} is {wanted}, not {str(value).lower()}")
    attributes: dict[str, int | bool] = {}
    for attribute in op.attributes:
        stated = given.get(attribute.name, attribute.default)
        if stated is None:
            fail(where, op, f"attribute {attribute.name} is missing")
        else:
            attributes[attribute.name] = stated
    call = Call(op, attributes, tuple(map(_type, where.operands)), tuple(map(_type, where.results)))
    if found := problem(call):
        fail(where, op, found)
    return call


def fail(where: Any, op: Op, message: str) -> Any:
    """Raises the error that ``message`` is about the op ``where``."""
    raise UserError(f"{op.name}: {message}", _mlir.where_of(where.location))


def _type(value: Any) -> Type:
    ir = _mlir.ir
    if not isinstance(value.type, ir.RankedTensorType) or not value.type.has_static_shape:
        raise UserError(f"{value.type} is no tensor of static shape", _mlir.where_of(value.location))
    return Type(tuple(value.type.shape), str(value.type.element_type))


def attributes_of(call: Call, only: Iterable[str] | None = None) -> Any:
    """The ``composite_attributes`` that say ``call``, or those of them called one of ``only``."""
    ir, context = _mlir.ir, _mlir.context()
    names = list(call.attributes) if only is None else list(only)
    values = {name: call.attributes[name] for name in names}
    return ir.DictAttr.get(
        {n: ir.BoolAttr.get(v, context) if isinstance(v, bool) else i64_attr(v) for n, v in values.items()}, context
    )


# -- decompositions ----------------------------------------------------------------------------------------------------


@dataclass
class Decompositions:
    """Puts decompositions into one module; equal ones once, unless devices talk to each other in them.

    ``poisoned`` ones have NaN where a kernel leaves something undefined.
    """

    module: Any
    poisoned: bool = False
    _known: dict[Any, Any] = field(default_factory=dict)
    _taken: set[str] = field(default_factory=set)
    _channel: int = _FIRST_CHANNEL

    def __post_init__(self) -> None:
        views = [view.operation for view in self.module.regions[0].blocks[0]]
        self._taken = {symbol_name(op) for op in views if "sym_name" in op.attributes}

    def reference(self, call: Call, place: Place | None = None) -> Any:
        """The symbol of a function that computes ``call``."""
        key = (call.op.name, tuple(call.attributes.items()), call.operands, call.results)
        if place is None and key in self._known:
            return self._known[key]
        name, number = call.op.name, 0
        while name in self._taken:
            name, number = f"{call.op.name}_{number}", number + 1
        self._taken.add(name)
        self._insert(decomposition(call, name, place, poisoned=self.poisoned))
        reference = _mlir.ir.FlatSymbolRefAttr.get(name, _mlir.context())
        if place is None:
            self._known[key] = reference
        return reference

    def _insert(self, text: str) -> None:
        """Adds a function; its channels become ones that nothing else has."""
        def renumber(found: re.Match[str]) -> str:
            self._channel += 1
            return f"handle = {self._channel}"

        module = _mlir.ir.Module.parse(_CHANNEL.sub(renumber, text), _mlir.context())
        # The function has no place in the user's file.
        for view in module.body.operations:
            view.operation.clone(ip=_mlir.ir.InsertionPoint(self.module.regions[0].blocks[0]))


def create(
    call: Call, operands: Iterable[Any], decompositions: Decompositions, point: Any, location: Any, *,
    place: Place | None = None, stated: Iterable[str] | None = None, more: dict[str, Any] | None = None,
) -> Any:
    """Makes the composite that ``call`` describes at ``point``, with its decomposition and sharding rule.

    Args:
      place: Where the device is whose part this is; the composite is then never split further.
      stated: The attributes to write down; by default all.
      more: Further attributes of the op.
    """
    ir, context = _mlir.ir, _mlir.context()
    rule = _whole(call) if place is not None else sharding_rule(call)
    attributes = {
        "name": ir.StringAttr.get(call.op.composite, context),
        "composite_attributes": attributes_of(call, stated),
        "decomposition": decompositions.reference(call, place),
        RULE: encode(rule, is_custom=True),
        **(more or {}),
    }
    types = [ir.Type.parse(str(t), context) for t in call.results]
    return ir.Operation.create(COMPOSITE, types, list(operands), attributes, loc=location, ip=point)


def remove_unused(module: Any, names: set[str], counters: Counters) -> None:
    """Takes out the functions called one of ``names`` that nothing refers to any more."""
    if not names:
        return
    used = set()
    for op in operations(module):
        for key in ("decomposition", "callee"):
            if key in op.attributes:
                used.add(_mlir.ir.FlatSymbolRefAttr(op.attributes[key]).value)
    for view in list(module.regions[0].blocks[0]):
        function = view.operation
        if function.name == "func.func" and symbol_name(function) in names - used and is_private(function):
            counters.removed(function, "the decomposition of a composite that is none any more")
            function.erase()


# -- sharding rules ----------------------------------------------------------------------------------------------------


def sharding_rule(call: Call) -> Rule:
    """How the op ``call`` may be split where it stands.

    A sparse product splits over experts, blocks, and what it contracts, which is then summed; its mask goes along with
    experts and blocks. With a stated ``nnz`` the mask is whole, for its parts would have other counts. The ops that
    move tokens need everything whole: no rule of factors can say that the experts of one operand and the tokens of the
    result are split over one axis. `expert_parallel` makes them ops of one device, where the experts are split.
    """
    if call.op is not SPARSE_MATMUL:
        return _whole(call)
    a, b = call["is_input_a_sparse"], call["is_input_b_sparse"]
    text, kept = _PRODUCTS[bool(a), bool(b)]
    more = {"reduction": frozenset("k")}
    if call["nnz"]:
        more["need_replication"] = frozenset(kept)
    shapes = ([t.shape for t in side] for side in (call.operands, call.results))
    return parse(text, **more).rule(*shapes)


# By which inputs are sparse: the rule, and the factors that the mask has.
_PRODUCTS = {
    (False, True): ("a b m k, o e k n, a b p e -> a b q e m n", "abe"),
    (True, False): ("a e m k, o e k n, p q a e -> a e m n", "ae"),
    (True, True): ("o e m k, p e k n, q r s e -> o e m n", "e"),
}


def _whole(call: Call) -> Rule:
    return replicated([t.shape for t in call.operands], [t.shape for t in call.results])

