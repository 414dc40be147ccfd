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

from dataclasses import dataclass
from typing import Any, ClassVar

from passes import _mlir
from passes.moe.capacity import rooms
from passes.moe.chain import Layer
from passes.moe.composites import Decompositions
from passes.moe.dense import SUMS, dense_of
from passes.moe.dense_to_sparse import Rewriting
from passes.moe.grouped import grouped
from passes.moe.others import others
from passes.moe.slots import slots
from passes.pipeline.base import Counters, Pass, Statistic
from passes.program.walk import named


@dataclass(frozen=True)
class Sparsify(Pass):
    """See the module's docstring."""

    name: ClassVar[str] = "moe-sparsify"
    summary: ClassVar[str] = "Turn dense mixture-of-experts layers into dispatch, sparse products and combine"
    statistics: ClassVar[tuple[Statistic, ...]] = (
        Statistic("layers", "dense layers made sparse"),
        Statistic("products", "products made sparse"),
        Statistic("closed", "values of experts made zero where no token selected them, for what a gradient adds up"),
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
    # Rewriting takes out ops that are still to be looked at. An op's hash changes with its operands, a value's never.
    pending = {op.results[0]: op for op in named(module, SUMS)}
    while pending:
        anchor = pending.pop(next(iter(pending)))
        dense = dense_of(anchor)
        if dense is None:
            continue
        where, what = dense.where, dense.what
        reason = Rewriting(dense, decompositions, counters, pending).run()
        counters.add("left" if reason else "layers")
        found.append(Layer(where, what, reason))
    found += grouped(module, decompositions, counters)
    left = [*_with_room(module), *others(module)]
    counters.add("left", len(left))
    return found + slots(module, decompositions, counters) + left


def _with_room(module: Any) -> list[Layer]:
    """The layers that move tokens to a number of places of each expert: there is nothing to be made sparse."""
    found: dict[Any, Layer] = {}
    for room in rooms(module):
        what = f"mixture of {room.experts} experts with {room.places} places each"
        found.setdefault(room.dispatch, Layer(_mlir.where_of(room.dispatch.location), what, _ROOM))
    return list(found.values())


_ROOM = "its experts multiply what they have places for; moe-expert-parallel makes its moves all_to_alls"
