"""Turns the sparse mixture-of-experts ops of Tenstorrent's front end into composites.

  %0 = stablehlo.custom_call @tt.sparse_matmul(%a, %b, %mask) {mhlo.frontend_attributes = {is_input_b_sparse = "True"}}

becomes

  %0 = stablehlo.composite "shlo.moe.sparse_matmul" %a, %b, %mask {composite_attributes = {is_input_b_sparse = true},
    decomposition = @sparse_matmul, ...}

A composite carries its meaning as plain StableHLO, a rule by which it may be split, and, under ``shlo.moe.call``, what
the call said, for `export_ops` to say again word for word. In a per-device program (``mhlo.num_partitions``) the types
are those of one device and the decomposition has the collectives.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from passes import _mlir
from passes.moe.composites import Decompositions, checked, create, fail
from passes.moe.decompose import Place
from passes.moe.ops import COMBINE, OPS, SPARSE_MATMUL, Call, Op
from passes.pipeline.base import Counters, Pass, Statistic
from passes.program.walk import named
from passes.sharding.mesh import Mesh

CALL = "stablehlo.custom_call"
TARGET = "call_target_name"
PREFIX = "tt."
FRONTEND = "mhlo.frontend_attributes"
# Where a composite keeps the attributes of the call that it was, and that the call returned a tuple.
SAID = "shlo.moe.call"
TUPLE = "shlo.moe.tuple"
_ELEMENT = "stablehlo.get_tuple_element"
_TRUTH = {"true": True, "1": True, "false": False, "0": False}


@dataclass(frozen=True)
class ImportOps(Pass):
    """See the module's docstring."""

    name: ClassVar[str] = "moe-import-ops"
    summary: ClassVar[str] = "Turn custom calls @tt.* of sparse mixture-of-experts layers into composites shlo.moe.*"
    statistics: ClassVar[tuple[Statistic, ...]] = (Statistic("imported", "custom calls turned into composites"),)
    before: ClassVar[str] = """\
func.func @main(%a: tensor<1x2x3x4xf32>, %b: tensor<1x2x4x5xf32>, %mask: tensor<1x1x1x2xf32>) -> tensor<1x2x3x5xf32> {
  %0 = stablehlo.custom_call @tt.sparse_matmul(%a, %b, %mask) {api_version = 0 : i32, mhlo.frontend_attributes =
    {is_input_a_sparse = "True", is_input_b_sparse = "True", nnz = "0"}}
    : (tensor<1x2x3x4xf32>, tensor<1x2x4x5xf32>, tensor<1x1x1x2xf32>) -> tensor<1x2x3x5xf32>
  return %0 : tensor<1x2x3x5xf32>
}
"""
    after: ClassVar[str] = """\
func.func @main(%a: tensor<1x2x3x4xf32>, %b: tensor<1x2x4x5xf32>, %mask: tensor<1x1x1x2xf32>) -> tensor<1x2x3x5xf32> {
  %0 = stablehlo.composite "shlo.moe.sparse_matmul" %a, %b, %mask {composite_attributes = {is_input_a_sparse = true,
    is_input_b_sparse = true, nnz = 0 : i64}, decomposition = @sparse_matmul,
    sdy.sharding_rule = #sdy.op_sharding_rule<([i, j, k, l], [m, j, l, n], [o, p, q, j])->([i, j, k, n])
      {i=1, j=2, k=3, l=4, m=1, n=5, o=1, p=1, q=1} reduction={l} need_replication={m, o, p, q}, custom>,
    shlo.moe.call = {api_version = 0 : i32, mhlo.frontend_attributes =
      {is_input_a_sparse = "True", is_input_b_sparse = "True", nnz = "0"}}}
    : (tensor<1x2x3x4xf32>, tensor<1x2x4x5xf32>, tensor<1x1x1x2xf32>) -> tensor<1x2x3x5xf32>
  return %0 : tensor<1x2x3x5xf32>
}
func.func private @sparse_matmul(%arg0: tensor<1x2x3x4xf32>, %arg1: tensor<1x2x4x5xf32>, %arg2: tensor<1x1x1x2xf32>)
    -> tensor<1x2x3x5xf32> {
  %0 = stablehlo.reshape %arg1 : (tensor<1x2x4x5xf32>) -> tensor<2x4x5xf32>
  %1 = stablehlo.dot_general %arg0, %0, batching_dims = [1] x [0], contracting_dims = [3] x [1]
    : (tensor<1x2x3x4xf32>, tensor<2x4x5xf32>) -> tensor<2x1x3x5xf32>
  %2 = stablehlo.transpose %1, dims = [1, 0, 2, 3] : (tensor<2x1x3x5xf32>) -> tensor<1x2x3x5xf32>
  %3 = stablehlo.reshape %arg2 : (tensor<1x1x1x2xf32>) -> tensor<1x2xf32>
  %cst = stablehlo.constant dense<0.000000e+00> : tensor<1x2xf32>
  %4 = stablehlo.compare NE, %3, %cst : (tensor<1x2xf32>, tensor<1x2xf32>) -> tensor<1x2xi1>
  %5 = stablehlo.broadcast_in_dim %4, dims = [0, 1] : (tensor<1x2xi1>) -> tensor<1x2x3x5xi1>
  %cst_0 = stablehlo.constant dense<0.000000e+00> : tensor<1x2x3x5xf32>
  %6 = stablehlo.select %5, %2, %cst_0 : tensor<1x2x3x5xi1>, tensor<1x2x3x5xf32>
  return %6 : tensor<1x2x3x5xf32>
}
"""

    def run(self, module: Any, counters: Counters) -> None:
        """Rewrites ``module`` in place."""
        decompositions, devices = Decompositions(module), _devices(module)
        for op in named(module, frozenset({CALL})):
            if (known := _known(op)) is not None:
                _import(op, known, decompositions, devices, counters)
                counters.add("imported")


def _devices(module: Any) -> int:
    key = "mhlo.num_partitions"
    return int(_mlir.ir.IntegerAttr(module.attributes[key]).value) if key in module.attributes else 1


def _known(op: Any) -> Op | None:
    target = str(_mlir.ir.StringAttr(op.attributes[TARGET]).value)
    return OPS.get(target.removeprefix(PREFIX)) if target.startswith(PREFIX) else None


def _import(call: Any, op: Op, decompositions: Decompositions, devices: int, counters: Counters) -> None:
    ir, context = _mlir.ir, _mlir.context()
    elements, untupled = _untupled(call, op)
    given = _given(call, op)
    described = checked(untupled, op, given)
    said = {key: call.attributes[key] for key in call.attributes if key not in (TARGET, "sdy.sharding")}
    more = {SAID: ir.DictAttr.get(said, context)}
    if "sdy.sharding" in call.attributes:
        more["sdy.sharding"] = call.attributes["sdy.sharding"]
    if elements is not None:
        more[TUPLE] = ir.UnitAttr.get(context)
    made = create(
        described, call.operands, decompositions, ir.InsertionPoint(call), call.location,
        place=_place(untupled, described, devices), stated=given, more=more,
    )
    if elements is None:
        for old, new in zip(call.results, made.results, strict=True):
            old.replace_all_uses_with(new)
    else:
        for element in elements:
            number = ir.IntegerAttr(element.attributes["index"]).value
            element.results[0].replace_all_uses_with(made.results[number])
            counters.removed(element, "an element of a tuple that is none any more")
            element.erase()
    counters.removed(call, "turned into a composite")
    call.erase()


@dataclass(frozen=True)
class _Untupled:
    """A call as if it had one result for each element of its tuple."""

    operands: list[Any]
    results: list[Any]
    location: Any


@dataclass(frozen=True)
class _Element:
    """An element of a tuple."""

    type: Any
    location: Any


def _untupled(call: Any, op: Op) -> tuple[list[Any] | None, _Untupled]:
    """The ops that take the elements of the tuple that ``call`` returns, if it does, and the call without it."""
    results = list(call.results)
    if len(results) != 1 or not isinstance(results[0].type, _mlir.ir.TupleType):
        return None, _Untupled(list(call.operands), results, call.location)
    tuple = _mlir.ir.TupleType(results[0].type)
    users = [use.owner.operation for use in results[0].uses]
    if any(user.name != _ELEMENT for user in users):
        fail(call, op, "the tuple it returns is used as a whole; take its elements with get_tuple_element")
    elements = [_Element(tuple.get_type(i), call.location) for i in range(tuple.num_types)]
    return users, _Untupled(list(call.operands), elements, call.location)


def _given(call: Any, op: Op) -> dict[str, int | bool]:
    """The attributes that the front end wrote as strings; others than the op's own are left where they are."""
    if FRONTEND not in call.attributes:
        return {}
    ir, found = _mlir.ir, {}
    texts = {item.name: item.attr for item in ir.DictAttr(call.attributes[FRONTEND])}
    for attribute in op.attributes:
        if attribute.name not in texts:
            continue
        if not isinstance(texts[attribute.name], ir.StringAttr):
            fail(call, op, f"attribute {attribute.name} = {texts[attribute.name]} must be a string")
        text = ir.StringAttr(texts[attribute.name]).value
        found[attribute.name] = _parse(call, op, attribute.name, attribute.type, text)
    return found


def _parse(call: Any, op: Op, name: str, type: type, text: str) -> int | bool:
    if type is bool:
        if text.lower() not in _TRUTH:
            fail(call, op, f"attribute {name} is true or false, not '{text}'")
        return _TRUTH[text.lower()]
    try:
        return int(text)
    except ValueError:
        raise fail(call, op, f"attribute {name} is a whole number, not '{text}'") from None


def _place(call: Any, described: Call, devices: int) -> Place | None:
    """Where a call in a per-device program runs: on a mesh of rows and columns, as many as `mapping` has devices."""
    op = described.op
    if op is SPARSE_MATMUL:
        return None
    if devices == 1:
        held = described.results[0].shape[3] if "mapping_out" in op.results else described.operands[0].shape[0]
        mapping = described.operands[op.operands.index("mapping")].shape
        if "indices" not in op.operands and held != mapping[2]:
            fail(call, op, f"it is about {held} of {mapping[2]} experts, as on one of several devices, and the module "
                           "is no per-device program (mhlo.num_partitions)")
        return None
    mapping = described.operands[op.operands.index("mapping")].shape
    if mapping[3] != devices:
        fail(call, op, f"mapping has {mapping[3]} devices and the program {devices}; they must be equal")
    return _cluster(call, described, devices)


# What a remap, which has no ring, says of one.
_RING = (("num_devices", 1), ("cluster_axis", 0))


def _cluster(call: Any, described: Call, devices: int) -> Place:
    """Rings of ``num_devices`` along ``cluster_axis`` of a mesh, split over both axes or only along the rings."""
    n, axis = (int(described.attributes.get(key, default)) for key, default in _RING)
    sizes = (n, devices // n) if axis == 0 else (devices // n, n)
    names = ("rows", "columns")
    experts: tuple[str, ...] = names
    if described.op is COMBINE:
        held, count = described.operands[0].shape[0], described.operands[2].shape[2]
        if held * devices != count and held * n != count:
            fail(call, described.op, f"y is about {held} of {count} experts: neither a share of all {devices} devices "
                                     f"nor of a ring of {n}")
        experts = names if held * devices == count else (names[axis],)
    return Place(Mesh(tuple(zip(names, sizes, strict=True))), names[axis], experts)
