"""Takes a few elements of a split dimension from the device that has them, where that is fewer bytes than to gather it.

A slice whose result cannot be split as its operand is (the last token of a sequence) becomes a dynamic_slice at
constant indices, whose lowering (`indexed`) lets each device yield what it holds, and sums that up:

  %0 = stablehlo.slice %x [0:4, 63:64] : (tensor<4x64xf32>) -> tensor<4x1xf32>                // %x: [{}, {"x"}]
  %0 = stablehlo.dynamic_slice %x, %c0, %c63, sizes = [4, 1] : (...) -> tensor<4x1xf32>
"""

from __future__ import annotations

from typing import Any

from passes import _mlir
from passes.partition.shardings import ShardingMap
from passes.program.attributes import integers
from passes.program.types import byte_size, shape_of, tensor_type
from passes.program.walk import named
from passes.sharding.mesh import Mesh
from passes.sharding.op_rules import RULE
from passes.sharding.reducers import selection

_SLICE, _JOINED = "stablehlo.slice", "stablehlo.concatenate"
# What only slices have; everything else, shardings and numbers too, goes to the op that takes its place.
_KEYS = ("start_indices", "limit_indices", "strides")


def rewrite_picks(function: Any, mesh: Mesh, meshes: dict[str, Mesh]) -> None:
    """Rewrites such slices of a propagated ``function``, in place."""
    taken = [op for op in named(function, frozenset({_SLICE})) if _is_pick(op)]
    if not taken:
        return
    shardings = ShardingMap(mesh, meshes)
    shardings.read_around(taken)
    for op in taken:
        if _is_cheaper_summed(op, shardings):
            _rewrite(op)


def _is_pick(op: Any) -> bool:
    """Whether a dynamic_slice does the same; what is sliced from joined copies may be a shift of one of them."""
    if RULE in op.attributes:
        # The user's is for a slice.
        return False
    owner = op.operands[0].owner
    joined = not isinstance(owner, _mlir.ir.Block) and owner.operation.name == _JOINED
    element = _mlir.ir.RankedTensorType(op.operands[0].type).element_type
    return set(integers(op, "strides")) == {1} and not joined and selection(element) is not None


def _is_cheaper_summed(op: Any, shardings: ShardingMap) -> bool:
    """Whether the sum of all results moves less than the shards, of dimensions that are whole in the result."""
    operand, result = op.operands[0], op.results[0]
    before, after = shardings.dims(operand), shardings.dims(result)
    cut = [d for d, (a, b) in enumerate(zip(shape_of(operand), shape_of(result), strict=True)) if a != b and before[d]]
    if not cut or any(after[d] for d in cut):
        return False
    devices = 1
    for axis in (axis for d in cut for axis in before[d]):
        devices *= axis.size
    return 2 * byte_size(result.type) < byte_size(operand.type) - byte_size(operand.type) // devices


def _rewrite(op: Any) -> None:
    ir, context = _mlir.ir, _mlir.context()
    point, scalar = ir.InsertionPoint(op), tensor_type([], "i64")
    i64 = scalar.element_type
    starts = [
        ir.Operation.create(
            "stablehlo.constant", [scalar], loc=op.location, ip=point,
            attributes={"value": ir.DenseElementsAttr.get_splat(scalar, ir.IntegerAttr.get(i64, start))},
        ).results[0]
        for start in integers(op, "start_indices")
    ]
    kept = {key: op.attributes[key] for key in op.attributes if key not in _KEYS}
    sizes = ir.DenseI64ArrayAttr.get(shape_of(op.results[0]), context)
    new = ir.Operation.create(
        "stablehlo.dynamic_slice", [op.results[0].type], [op.operands[0], *starts], {**kept, "slice_sizes": sizes},
        loc=op.location, ip=point,
    )
    op.results[0].replace_all_uses_with(new.results[0])
    op.erase()
