"""Turns dense mixture-of-experts layers into sparse ones.

A dense layer computes every expert for every token and adds up experts with weights that are zero for those that the
token did not select:

  out[t] = sum over e of matrix[t, e] * f_e(x[t]),   matrix[t, e] = sum over k of weights[t, k] * (indices[t, k] == e)

It becomes: dispatch the tokens, f with sparse products, combine, and add up the slots of each token:

  out[t] = sum over k of weights[t, k] * f_{indices[t, k]}(x[t])

What is known afterwards: each product of selected experts is the one it was, and each token's sum has K terms instead
of E, the others having been zero times a number. So results are equal up to the order of a sum, unless an expert that a
token did not select computes an infinity or NaN for it, which the dense layer spreads and the sparse one never sees.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, field
from typing import Any, ClassVar

from passes import _mlir
from passes.errors import Where
from passes.moe.capacity import rooms
from passes.moe.chain import Chain, Layer
from passes.moe.composites import Decompositions
from passes.moe.maker import Maker
from passes.moe.roles import (
    ELEMENTWISE,
    NONE,
    Dot,
    Roles,
    dot_of,
    owner,
    reducing,
    through_broadcast,
    through_reshape,
    through_transpose,
)
from passes.moe.slots import slots
from passes.moe.spread import Spread, spread
from passes.pipeline.base import Counters, Pass, Statistic
from passes.program.types import shape_of
from passes.program.walk import named

_SUM, _PRODUCT, _DOT = "stablehlo.reduce", "stablehlo.multiply", "stablehlo.dot_general"


@dataclass(frozen=True)
class Sparsify(Pass):
    """See the module's docstring."""

    name: ClassVar[str] = "moe-sparsify"
    summary: ClassVar[str] = "Turn dense mixture-of-experts layers into dispatch, sparse products and combine"
    statistics: ClassVar[tuple[Statistic, ...]] = (
        Statistic("layers", "dense layers made sparse"),
        Statistic("products", "products made sparse"),
        Statistic("left", "layers found and left as they are", changes=False),
    )
    before: ClassVar[str] = """\
func.func @main(%x: tensor<5x4xf32>, %w: tensor<3x4x6xf32>, %weights: tensor<5x2xf32>, %indices: tensor<5x2xi32>)
    -> tensor<5x6xf32> {
  %zero = stablehlo.constant dense<0.0> : tensor<f32>
  %0 = stablehlo.iota dim = 2 : tensor<5x2x3xi32>
  %1 = stablehlo.broadcast_in_dim %indices, dims = [0, 1] : (tensor<5x2xi32>) -> tensor<5x2x3xi32>
  %2 = stablehlo.compare EQ, %1, %0 : (tensor<5x2x3xi32>, tensor<5x2x3xi32>) -> tensor<5x2x3xi1>
  %3 = stablehlo.convert %2 : (tensor<5x2x3xi1>) -> tensor<5x2x3xf32>
  %4 = stablehlo.broadcast_in_dim %weights, dims = [0, 1] : (tensor<5x2xf32>) -> tensor<5x2x3xf32>
  %5 = stablehlo.multiply %3, %4 : tensor<5x2x3xf32>
  %6 = stablehlo.reduce(%5 init: %zero) applies stablehlo.add across dimensions = [1]
    : (tensor<5x2x3xf32>, tensor<f32>) -> tensor<5x3xf32>
  %7 = stablehlo.dot_general %x, %w, contracting_dims = [1] x [1]
    : (tensor<5x4xf32>, tensor<3x4x6xf32>) -> tensor<5x3x6xf32>
  %8 = stablehlo.tanh %7 : tensor<5x3x6xf32>
  %9 = stablehlo.broadcast_in_dim %6, dims = [0, 1] : (tensor<5x3xf32>) -> tensor<5x3x6xf32>
  %10 = stablehlo.multiply %8, %9 : tensor<5x3x6xf32>
  %11 = stablehlo.reduce(%10 init: %zero) applies stablehlo.add across dimensions = [1]
    : (tensor<5x3x6xf32>, tensor<f32>) -> tensor<5x6xf32>
  return %11 : tensor<5x6xf32>
}
"""
    after: ClassVar[str] = """\
func.func @main(%arg0: tensor<5x4xf32>, %arg1: tensor<3x4x6xf32>, %arg2: tensor<5x2xf32>, %arg3: tensor<5x2xi32>)
  -> tensor<5x6xf32> {
  %cst = stablehlo.constant dense<0.000000e+00> : tensor<f32>
  %0 = stablehlo.iota dim = 2 : tensor<5x2x3xi32>
  %1 = stablehlo.broadcast_in_dim %arg3, dims = [0, 1] : (tensor<5x2xi32>) -> tensor<5x2x3xi32>
  %2 = stablehlo.compare EQ, %1, %0 : (tensor<5x2x3xi32>, tensor<5x2x3xi32>) -> tensor<5x2x3xi1>
  %3 = stablehlo.convert %2 : (tensor<5x2x3xi1>) -> tensor<5x2x3xf32>
  %4 = stablehlo.broadcast_in_dim %arg2, dims = [0, 1] : (tensor<5x2xf32>) -> tensor<5x2x3xf32>
  %5 = stablehlo.multiply %3, %4 : tensor<5x2x3xf32>
  %6 = stablehlo.reduce(%5 init: %cst) applies stablehlo.add across dimensions = [1] : (tensor<5x2x3xf32>,
    tensor<f32>) -> tensor<5x3xf32>
  %c = stablehlo.constant dense<1> : tensor<1x1x3x1xi32>
  %7 = stablehlo.reshape %arg3 : (tensor<5x2xi32>) -> tensor<5x1x1x2xi32>
  %8 = stablehlo.reshape %7 : (tensor<5x1x1x2xi32>) -> tensor<1x5x1x2xi32>
  %9 = stablehlo.reshape %arg0 : (tensor<5x4xf32>) -> tensor<5x1x1x4xf32>
  %10:2 = stablehlo.composite "shlo.moe.all_to_all_dispatch" %9, %7, %c {composite_attributes = {cluster_axis = 0 :
    i64, num_devices = 1 : i64}, decomposition = @all_to_all_dispatch, sdy.sharding_rule =
      #sdy.op_sharding_rule<([i, j, k, l], [m, n, o, p], [q, r, s, t])->([u, v, w, x], [y, z, z_1, z_2]) {i=5, j=1,
        k=1, l=4, m=5, n=1, o=1, p=2, q=1, r=1, s=3, t=1, u=1, v=5, w=1, x=4, y=1, z=5, z_1=1, z_2=2}
          need_replication={i, j, k, l, m, n, o, p, q, r, s, t, u, v, w, x, y, z, z_1, z_2}, custom>} :
            (tensor<5x1x1x4xf32>, tensor<5x1x1x2xi32>, tensor<1x1x3x1xi32>) -> (tensor<1x5x1x4xf32>,
              tensor<1x5x1x2xi32>)
  %11 = stablehlo.reshape %10#1 : (tensor<1x5x1x2xi32>) -> tensor<5x2xi32>
  %12 = stablehlo.broadcast_in_dim %11, dims = [0, 1] : (tensor<5x2xi32>) -> tensor<5x2x3xi32>
  %13 = stablehlo.iota dim = 2 : tensor<5x2x3xi32>
  %14 = stablehlo.compare EQ, %12, %13 : (tensor<5x2x3xi32>, tensor<5x2x3xi32>) -> tensor<5x2x3xi1>
  %c_0 = stablehlo.constant dense<false> : tensor<i1>
  %15 = stablehlo.reduce(%14 init: %c_0) applies stablehlo.or across dimensions = [1] : (tensor<5x2x3xi1>,
    tensor<i1>) -> tensor<5x3xi1>
  %16 = stablehlo.convert %15 : (tensor<5x3xi1>) -> tensor<5x3xf32>
  %18 = stablehlo.reshape %16 : (tensor<5x3xf32>) -> tensor<1x5x1x3xf32>
  %17 = stablehlo.reshape %arg1 : (tensor<3x4x6xf32>) -> tensor<1x3x4x6xf32>
  %19 = stablehlo.composite "shlo.moe.sparse_matmul" %10#0, %17, %18 {composite_attributes = {is_input_a_sparse =
    false, is_input_b_sparse = true, nnz = 0 : i64}, decomposition = @sparse_matmul, sdy.sharding_rule =
      #sdy.op_sharding_rule<([i, j, k, l], [m, n, l, o], [i, j, p, n])->([i, j, q, n, k, o]) {i=1, j=5, k=1, l=4,
        m=1, n=3, o=6, p=1, q=1} reduction={l} need_replication={m, p, q}, custom>} : (tensor<1x5x1x4xf32>,
          tensor<1x3x4x6xf32>, tensor<1x5x1x3xf32>) -> tensor<1x5x1x3x1x6xf32>
  %20 = stablehlo.reshape %19 : (tensor<1x5x1x3x1x6xf32>) -> tensor<5x3x6xf32>
  %21 = stablehlo.tanh %20 : tensor<5x3x6xf32>
  %22 = stablehlo.broadcast_in_dim %6, dims = [0, 1] : (tensor<5x3xf32>) -> tensor<5x3x6xf32>
  %23 = stablehlo.multiply %21, %22 : tensor<5x3x6xf32>
  %24 = stablehlo.transpose %21, dims = [1, 0, 2] : (tensor<5x3x6xf32>) -> tensor<3x5x6xf32>
  %25 = stablehlo.reshape %24 : (tensor<3x5x6xf32>) -> tensor<3x5x1x6xf32>
  %26 = stablehlo.composite "shlo.moe.all_to_all_combine" %25, %10#1, %c {composite_attributes = {cluster_axis = 0
    : i64, num_devices = 1 : i64, num_experts_per_tok = 2 : i64, output_shard_dim = 1 : i64}, decomposition =
      @all_to_all_combine, sdy.sharding_rule = #sdy.op_sharding_rule<([i, j, k, l], [m, n, o, p], [q, r, s,
        t])->([u, v, w, x]) {i=3, j=5, k=1, l=6, m=1, n=5, o=1, p=2, q=1, r=1, s=3, t=1, u=2, v=5, w=1, x=6}
          need_replication={i, j, k, l, m, n, o, p, q, r, s, t, u, v, w, x}, custom>} : (tensor<3x5x1x6xf32>,
            tensor<1x5x1x2xi32>, tensor<1x1x3x1xi32>) -> tensor<2x5x1x6xf32>
  %27 = stablehlo.reshape %26 : (tensor<2x5x1x6xf32>) -> tensor<2x5x6xf32>
  %28 = stablehlo.transpose %arg2, dims = [1, 0] : (tensor<5x2xf32>) -> tensor<2x5xf32>
  %29 = stablehlo.broadcast_in_dim %28, dims = [0, 1] : (tensor<2x5xf32>) -> tensor<2x5x6xf32>
  %30 = stablehlo.multiply %27, %29 : tensor<2x5x6xf32>
  %cst_1 = stablehlo.constant dense<0.000000e+00> : tensor<f32>
  %31 = stablehlo.reduce(%30 init: %cst_1) applies stablehlo.add across dimensions = [0] : (tensor<2x5x6xf32>,
    tensor<f32>) -> tensor<5x6xf32>
  return %31 : tensor<5x6xf32>
}
func.func private @all_to_all_dispatch(%arg0: tensor<5x1x1x4xf32>, %arg1: tensor<5x1x1x2xi32>, %arg2:
  tensor<1x1x3x1xi32>) -> (tensor<1x5x1x4xf32>, tensor<1x5x1x2xi32>) {
  %0 = stablehlo.reshape %arg0 : (tensor<5x1x1x4xf32>) -> tensor<1x5x1x4xf32>
  %1 = stablehlo.reshape %arg1 : (tensor<5x1x1x2xi32>) -> tensor<1x5x1x2xi32>
  return %0, %1 : tensor<1x5x1x4xf32>, tensor<1x5x1x2xi32>
}
func.func private @sparse_matmul(%arg0: tensor<1x5x1x4xf32>, %arg1: tensor<1x3x4x6xf32>, %arg2:
  tensor<1x5x1x3xf32>) -> tensor<1x5x1x3x1x6xf32> {
  %0 = stablehlo.reshape %arg1 : (tensor<1x3x4x6xf32>) -> tensor<3x4x6xf32>
  %1 = stablehlo.dot_general %arg0, %0, contracting_dims = [3] x [1] : (tensor<1x5x1x4xf32>, tensor<3x4x6xf32>) ->
    tensor<1x5x1x3x6xf32>
  %2 = stablehlo.transpose %1, dims = [0, 1, 3, 2, 4] : (tensor<1x5x1x3x6xf32>) -> tensor<1x5x3x1x6xf32>
  %3 = stablehlo.reshape %2 : (tensor<1x5x3x1x6xf32>) -> tensor<1x5x1x3x1x6xf32>
  %cst = stablehlo.constant dense<0.000000e+00> : tensor<1x5x1x3xf32>
  %4 = stablehlo.compare NE, %arg2, %cst : (tensor<1x5x1x3xf32>, tensor<1x5x1x3xf32>) -> tensor<1x5x1x3xi1>
  %5 = stablehlo.broadcast_in_dim %4, dims = [0, 1, 2, 3] : (tensor<1x5x1x3xi1>) -> tensor<1x5x1x3x1x6xi1>
  %cst_0 = stablehlo.constant dense<0.000000e+00> : tensor<1x5x1x3x1x6xf32>
  %6 = stablehlo.select %5, %3, %cst_0 : tensor<1x5x1x3x1x6xi1>, tensor<1x5x1x3x1x6xf32>
  return %6 : tensor<1x5x1x3x1x6xf32>
}
func.func private @all_to_all_combine(%arg0: tensor<3x5x1x6xf32>, %arg1: tensor<1x5x1x2xi32>, %arg2:
  tensor<1x1x3x1xi32>) -> tensor<2x5x1x6xf32> {
  %0 = stablehlo.reshape %arg1 : (tensor<1x5x1x2xi32>) -> tensor<5x2xi32>
  %c = stablehlo.constant dense<0> : tensor<5x2xi32>
  %1 = stablehlo.compare GE, %0, %c : (tensor<5x2xi32>, tensor<5x2xi32>) -> tensor<5x2xi1>
  %c_0 = stablehlo.constant dense<3> : tensor<5x2xi32>
  %2 = stablehlo.compare LT, %0, %c_0 : (tensor<5x2xi32>, tensor<5x2xi32>) -> tensor<5x2xi1>
  %3 = stablehlo.and %1, %2 : tensor<5x2xi1>
  %4 = stablehlo.reshape %arg0 : (tensor<3x5x1x6xf32>) -> tensor<3x5x6xf32>
  %5 = "stablehlo.gather"(%4, %0) <{dimension_numbers = #stablehlo.gather<offset_dims = [2], collapsed_slice_dims =
    [0], operand_batching_dims = [1], start_indices_batching_dims = [0], start_index_map = [0], index_vector_dim =
      2>, slice_sizes = array<i64: 1, 1, 6>}> : (tensor<3x5x6xf32>, tensor<5x2xi32>) -> tensor<5x2x6xf32>
  %6 = stablehlo.broadcast_in_dim %3, dims = [0, 1] : (tensor<5x2xi1>) -> tensor<5x2x6xi1>
  %cst = stablehlo.constant dense<0.000000e+00> : tensor<5x2x6xf32>
  %7 = stablehlo.select %6, %5, %cst : tensor<5x2x6xi1>, tensor<5x2x6xf32>
  %8 = stablehlo.transpose %7, dims = [1, 0, 2] : (tensor<5x2x6xf32>) -> tensor<2x5x6xf32>
  %9 = stablehlo.slice %8 [0:2, 0:5, 0:6] : (tensor<2x5x6xf32>) -> tensor<2x5x6xf32>
  %10 = stablehlo.reshape %9 : (tensor<2x5x6xf32>) -> tensor<2x5x1x6xf32>
  return %10 : tensor<2x5x1x6xf32>
}
"""

    def run(self, module: Any, counters: Counters) -> None:
        """Rewrites ``module`` in place."""
        sparsify(module, counters)


def sparsify(module: Any, counters: Counters) -> list[Layer]:
    """Rewrites ``module``, a ``builtin.module`` operation, in place; says which layers it found."""
    found = []
    decompositions = Decompositions(module)
    # Rewriting takes out ops that are still to be looked at.
    pending = dict.fromkeys(named(module, frozenset({_SUM, _DOT})))
    while pending:
        anchor = next(iter(pending))
        del pending[anchor]
        dense = _dense(anchor)
        if dense is None:
            continue
        where, what = dense.where, dense.what
        reason = _Rewriting(dense, decompositions, counters, pending).run()
        counters.add("left" if reason else "layers")
        found.append(Layer(where, what, reason))
    with_room = _with_room(module)
    counters.add("left", len(with_room))
    return found + slots(module, decompositions, counters) + with_room


# -- finding -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Dense:
    """A sum over experts.

    Attributes:
      anchor: The op that adds up.
      reader: The op that weighs: it has the summands for operand number ``side``.
      roles: The roles of the summands' dimensions.
      kept: Those of their dimensions that the result has, in its order.
      spread: Their weights.
    """

    anchor: Any
    reader: Any
    side: int
    roles: Roles
    kept: list[int]
    spread: Spread

    @property
    def summands(self) -> Any:
        return self.reader.operands[self.side]

    @property
    def where(self) -> Where | None:
        return _mlir.where_of(self.anchor.location)

    @property
    def experts(self) -> int:
        return int(self.summands.type.shape[self.roles.index("e")])

    @property
    def what(self) -> str:
        return f"dense mixture of experts ({self.tokens} tokens, {self.chosen} of {self.experts} experts)"

    @property
    def tokens(self) -> int:
        return math.prod(self.token_sizes)

    @property
    def token_sizes(self) -> tuple[int, ...]:
        return tuple(self.summands.type.shape[self.roles.index(role)] for role in self.spread.tokens)

    @property
    def chosen(self) -> int:
        return int(self.spread.indices.type.shape[-1])


def _dense(anchor: Any) -> _Dense | None:
    """The sum over experts that ``anchor`` is, if it is one."""
    if anchor.name == _DOT:
        return _of_dot(anchor)
    dim = reducing(anchor, "stablehlo.add")
    product = owner(anchor.operands[0]) if dim is not None else None
    if product is None or dim is None or product.name != _PRODUCT:
        return None
    for side in (0, 1):
        weights = spread(product.operands[side])
        if weights is not None and weights.roles[dim] == "e":
            kept = [d for d in range(len(weights.roles)) if d != dim]
            return _Dense(anchor, product, 1 - side, weights.roles, kept, weights)
    return None


def _of_dot(anchor: Any) -> _Dense | None:
    """dot(summands, matrix): tokens are batched, experts contracted."""
    dot = dot_of(anchor)
    if not dot.batch[0] or len(dot.contract[0]) != 1:
        return None
    for side in (0, 1):
        matrix, other = anchor.operands[side], 1 - side
        if dot.free(side) or (weights := spread(matrix)) is None or weights.roles[dot.contract[side][0]] != "e":
            continue
        roles = [NONE] * anchor.operands[other].type.rank
        roles[dot.contract[other][0]] = "e"
        for d, same in zip(dot.batch[other], dot.batch[side], strict=True):
            roles[d] = weights.roles[same]
        return _Dense(anchor, anchor, other, tuple(roles), [*dot.batch[other], *dot.free(other)], weights)
    return None


def _with_room(module: Any) -> list[Layer]:
    """The layers that move tokens to a number of places of each expert: there is nothing to be made sparse."""
    found: dict[Any, Layer] = {}
    for room in rooms(module):
        what = f"mixture of {room.experts} experts with {room.places} places each"
        found.setdefault(room.dispatch, Layer(_mlir.where_of(room.dispatch.location), what, _ROOM))
    return list(found.values())


_ROOM = "its experts multiply what they have places for; moe-expert-parallel makes its moves all_to_alls"


# -- proving -----------------------------------------------------------------------------------------------------------


@dataclass
class _Cone:
    """What computes the summands from what has no experts or no tokens: its ops, and its products by kind.

    Attributes:
      tokens: The roles of tokens.
      inside: The ops whose results have both experts and tokens.
      first: Products of tokens with experts: the dot and the side that has the tokens.
      second: Products of each expert's own input: the dot, the side that has the input.
      roles: The roles of values with both.
    """

    tokens: Roles
    inside: dict[Any, Any] = field(default_factory=dict)
    first: list[tuple[Dot, int]] = field(default_factory=list)
    second: list[tuple[Dot, int]] = field(default_factory=list)
    roles: dict[Any, Roles] = field(default_factory=dict)

    def grow(self, value: Any, roles: Roles) -> str:
        """Takes in what computes ``value``; why it is not the same for each expert and token alone, or nothing."""
        pending = [(value, roles)]
        while pending:
            value, roles = pending.pop()
            if not {"e", *self.tokens} <= set(roles):
                continue
            if value in self.roles:
                if self.roles[value] != roles:
                    return "a value is used with its experts or tokens along different dimensions"
                continue
            op = owner(value)
            if op is None:
                return "what its experts compute is an argument"
            self.roles[value] = roles
            self.inside[value] = op
            before = self._before(op, roles)
            if isinstance(before, str):
                return before
            pending += before
        return ""

    def _before(self, op: Any, roles: Roles) -> list[tuple[Any, Roles]] | str:
        """The operands of ``op`` with their roles, or what is wrong with it."""
        if op.name in _LEAVES:
            return []
        if op.name in ELEMENTWISE and not len(op.regions):
            return [(v, roles if v.type.rank else ()) for v in op.operands]
        rule = _RULES.get(op.name)
        if rule is not None:
            return rule(self, op, roles)
        called = "; run inline before" if op.name in ("func.call", "stablehlo.composite") else ""
        return f"{op.name} stands between its products and their sum{called}"

    def dot(self, op: Any, roles: Roles) -> list[tuple[Any, Roles]] | str:
        """A product: of tokens with the weights of all experts, or of each expert's own input."""
        dot = dot_of(op)
        sides = dot.operand_roles(roles)
        if len(dot.contract[0]) != 1:
            return "a product contracts several dimensions at once, or none"
        if len({v.type.element_type for v in (*op.operands, *op.results)}) > 1:
            return "a product has results of another element type than its operands"
        if "precision_config" in op.attributes and "HIGH" in str(op.attributes["precision_config"]):
            return "a product states a precision, which a sparse product cannot"
        inputs = [side for side in (0, 1) if set(self.tokens) & set(sides[side])]
        if len(inputs) != 1:
            return "a product has tokens on both sides"
        side, count = inputs[0], len(self.tokens)
        if "e" not in sides[1 - side] or op.operands[1 - side].type.rank != 3:
            return "a product is with something else than a matrix for each expert"
        if "e" in sides[side]:
            if op.operands[side].type.rank != count + 2:
                return "a product has more dimensions than experts, tokens and what it contracts"
            self.second.append((dot, side))
            return [(op.operands[side], sides[side])]
        if op.operands[side].type.rank != count + 1:
            return "a product has more dimensions than tokens and what it contracts"
        self.first.append((dot, side))
        return []

    def used_outside(self, reader: Any) -> str:
        """Why the ops inside cannot change what they compute for experts that were not selected, or nothing."""
        results = {value for op in self.inside.values() for value in op.results}
        for op in self.inside.values():
            for value in op.results:
                for use in value.uses:
                    user = use.owner.operation
                    if user != reader and not (len(user.results) and user.results[0] in results):
                        return f"what its experts compute is also used by a {user.name}, as in a gradient"
        return ""


def _broadcast(cone: _Cone, op: Any, roles: Roles) -> list[tuple[Any, Roles]] | str:
    return [(op.operands[0], through_broadcast(op, roles))]


def _transpose(cone: _Cone, op: Any, roles: Roles) -> list[tuple[Any, Roles]] | str:
    return [(op.operands[0], through_transpose(op, roles))]


def _reshape(cone: _Cone, op: Any, roles: Roles) -> list[tuple[Any, Roles]] | str:
    before = through_reshape(op, roles)
    return [(op.operands[0], before)] if before is not None else "a reshape joins or cuts experts or tokens"


def _slice(cone: _Cone, op: Any, roles: Roles) -> list[tuple[Any, Roles]] | str:
    whole = zip(shape_of(op.operands[0]), shape_of(op.results[0]), strict=True)
    cut = any(role and before != after for role, (before, after) in zip(roles, whole, strict=True))
    return "a slice takes only some experts or tokens" if cut else [(op.operands[0], roles)]


def _dot(cone: _Cone, op: Any, roles: Roles) -> list[tuple[Any, Roles]] | str:
    return cone.dot(op, roles)


_RULES = {
    "stablehlo.broadcast_in_dim": _broadcast, "stablehlo.transpose": _transpose, "stablehlo.reshape": _reshape,
    "stablehlo.slice": _slice, _DOT: _dot,
}
# What depends on nothing.
_LEAVES = frozenset({"stablehlo.constant", "stablehlo.iota"})


# -- rewriting ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Rewriting:
    """One dense layer on its way to a sparse one."""

    dense: _Dense
    decompositions: Decompositions
    counters: Counters
    pending: dict[Any, None]

    def run(self) -> str:
        """Rewrites the layer, or says why not."""
        dense, cone = self.dense, _Cone(self.dense.spread.tokens)
        if sorted(dense.roles) != sorted((NONE, "e", *cone.tokens)):
            return "its experts do not compute one vector for each token"
        reason = cone.grow(dense.summands, dense.roles)
        if reason:
            return reason
        if not cone.first and not cone.second:
            return "its experts have no products"
        reason = cone.used_outside(dense.reader) or self._too_late(cone)
        if not reason:
            self._products(cone)
        return reason

    def _too_late(self, cone: _Cone) -> str:
        """Every product stands behind the indices in one block, so that these can be its mask."""
        block, indices = self.dense.anchor.block, owner(self.dense.spread.indices)
        for dot, _ in (*cone.first, *cone.second):
            if dot.op.block != block:
                return "a product stands in another block than the sum over experts"
            if indices is not None and (indices.block != block or not indices.is_before_in_block(dot.op)):
                return "a product stands before it is known which experts are selected"
        return ""

    @functools.cached_property
    def chain(self) -> Chain:
        """Makes the ops of this layer."""
        return Chain(self.decompositions, self.dense.tokens, self.dense.chosen, self.dense.experts)

    def _products(self, cone: _Cone) -> None:
        """Replaces the products by sparse ones, the dispatch and the mask before the first."""
        dense, chain = self.dense, self.chain
        every = [*((d, side, False) for d, side in cone.first), *((d, side, True) for d, side in cone.second)]
        products = sorted(every, key=functools.cmp_to_key(_in_order))
        roles = [cone.roles[dot.op.results[0]] for dot, _, _ in products]
        make = self._maker(products[0][0].op)
        mapping = chain.mapping(make)
        indices, metadata = chain.indices(make, dense.spread.indices)
        dispatched: dict[Any, Any] = {}
        mask = None
        for (dot, side, is_second), wanted in zip(products, roles, strict=True):
            make = self._maker(dot.op)
            x = dot.op.operands[side]
            own, _ = self._sides(dot, side, wanted)
            if not is_second and (x, own) not in dispatched:
                rows = self._rows(make, x, [*(own.index(r) for r in dense.spread.tokens), dot.contract[side][0]], ())
                dispatched[x, own], metadata = chain.dispatch(make, rows, indices, mapping)
            if mask is None:
                mask = make.convert(chain.hot(make, metadata), x.type.element_type)
            value = self._product(make, dot, side, dispatched.get((x, own)), mask, wanted)
            dot.op.results[0].replace_all_uses_with(value)
            self.counters.add("products")
            self.counters.removed(dot.op, "turned into a sparse product")
            self.pending.pop(dot.op, None)
            dot.op.erase()
        self._combine(metadata, mapping)

    def _maker(self, op: Any) -> Maker:
        return Maker(_mlir.ir.InsertionPoint(op), op.location)

    def _sides(self, dot: Dot, side: int, roles: Roles) -> tuple[Roles, Roles]:
        """The roles of the input's dimensions and of the weights'."""
        both = dot.operand_roles(roles)
        return both[side], both[1 - side]

    def _rows(self, make: Maker, x: Any, order: list[int], between: tuple[int, ...]) -> Any:
        """``x`` with its dimensions in another ``order``, those of tokens made one."""
        rows = make.transpose(x, order)
        return make.reshape(rows, (self.dense.tokens, *between, shape_of(rows)[-1]))

    def _product(self, make: Maker, dot: Dot, side: int, dispatched: Any, mask: Any, roles: Roles) -> Any:
        """The sparse product that stands for ``dot``, in its shape: of ``dispatched`` tokens, or of experts' inputs."""
        experts, tokens = self.dense.experts, self.dense.spread.tokens
        own, other = self._sides(dot, side, roles)
        weights, expert = dot.op.operands[1 - side], other.index("e")
        inner = dot.contract[1 - side][0]
        (columns,) = (d for d in range(3) if d not in (expert, inner))
        matrices = make.transpose(weights, [expert, inner, columns])
        if dispatched is None:
            order = [*(own.index(role) for role in tokens), own.index("e"), dot.contract[side][0]]
            rows = self._rows(make, dot.op.operands[side], order, (experts,))
            found = self.chain.second(make, rows, matrices, mask)
        else:
            found = self.chain.first(make, dispatched, matrices, mask)
        apart = make.reshape(found, (*self.dense.token_sizes, experts, shape_of(found)[-1]))
        return make.transpose(apart, [(*tokens, "e", NONE).index(role) for role in roles])

    def _combine(self, metadata: Any, mapping: Any) -> None:
        """Replaces the sum over experts by one over the slots of each token."""
        dense = self.dense
        make, roles = self._maker(dense.anchor), dense.roles
        names = dense.spread.tokens
        y = make.transpose(dense.summands, [roles.index(role) for role in ("e", *names, NONE)])
        size, chosen, tokens = shape_of(y)[-1], dense.chosen, dense.tokens
        slots = self.chain.combine(make, make.reshape(y, (dense.experts, tokens, size)), metadata, mapping)
        weights = make.reshape(make.convert(dense.spread.weights, y.type.element_type), (tokens, chosen))
        weights = make.transpose(weights, [1, 0])
        total = make.reduce("add", make.binary("multiply", slots, make.broadcast(weights, shape_of(slots), (0, 1))), 0)
        apart = make.reshape(total, (*dense.token_sizes, size))
        order = [(*names, NONE).index(roles[d]) for d in dense.kept]
        dense.anchor.results[0].replace_all_uses_with(make.transpose(apart, order))
        self.counters.removed(dense.anchor, "turned into a sum over the selected experts")
        dense.anchor.erase()


def _in_order(one: tuple[Dot, int, bool], other: tuple[Dot, int, bool]) -> int:
    return -1 if one[0].op.is_before_in_block(other[0].op) else 1
