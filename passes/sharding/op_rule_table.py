"""Per-operation knowledge about sharding rules: where Shardy's rule promises more than a shard-local run keeps.

`POLICIES` corrects rules Shardy wrote, `EXACT` lists operations whose rule needs no correction, `MISSING` makes rules
Shardy has not, `WITHOUT_RULE` lists operations that need none. Operations in none of the four keep Shardy's rule, but
its permutation factors (dimensions whose elements move between shards: slice, reverse, windows) need replication.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from passes import _mlir
from passes.program.attributes import integers
from passes.sharding.reducers import NEUTRAL, chooses, combines_across_shards, reducer, reducers, selection
from passes.sharding.sharding_rule import Mapping, Rule, elementwise, factors_at, replicated
from passes.sharding.windows import of_convolution, of_reduction


@dataclass(frozen=True)
class Support:
    """What the lowering to per-device programs can do beyond running the same operation on local types.

    Attributes:
      gather_from_shards: A gather whose collapsed (indexed) dimension is sharded: offset, mask and sum over the axis.
      scatter_into_shards: A scatter whose indexed operand dimension is sharded: offset and mask.
      slice_from_shards: A dynamic_slice that takes part of a sharded dimension: as such a gather.
      update_into_shards: A dynamic_update_slice of part of a sharded dimension: as such a scatter.
      complete_by_region: Reductions and scatters whose region needs the gathered partial results (argmax), or whose
        initial values may count once only.
    """

    gather_from_shards: bool = False
    scatter_into_shards: bool = False
    slice_from_shards: bool = False
    update_into_shards: bool = False
    complete_by_region: bool = False


Policy = Callable[[Any, Rule, Support], Rule]


def _move(op: Any, rule: Rule, support: Support) -> Rule:
    return rule.replicating(rule.permutation)


def _all(op: Any, rule: Rule, support: Support) -> Rule:
    return rule.replicating(range(len(rule.sizes)))


def _reduce(op: Any, rule: Rule, support: Support) -> Rule:
    # Operands are the inputs followed by one initial value each.
    if not rule.reduction or combines_across_shards(op, op.operands[len(op.operands) // 2]):
        return rule
    if support.complete_by_region:
        kinds = reducers(op)
        if kinds is not None and NEUTRAL.keys() >= set(kinds):
            return rule
        if chooses(op):
            # Elements of a later dimension would be chosen among in another order.
            dimensions = [d for d in integers(op, "dimensions") if _shape(op.operands[0])[d] > 1]
            return rule.replicating(factors_at(sorted(dimensions)[1:], rule.operands[0]))
    return rule.replicating(rule.reduction)


def _pad(op: Any, rule: Rule, support: Support) -> Rule:
    amounts = (integers(op, name) for name in ("edge_padding_low", "edge_padding_high", "interior_padding"))
    padded = [d for d, values in enumerate(zip(*amounts, strict=True)) if any(values)]
    return rule.replicating(factors_at(padded, *rule.operands, *rule.results))


def _window(op: Any, rule: Rule, support: Support) -> Rule:
    """A dimension with a window of one, unit strides, no dilation and no padding passes through untouched."""
    moved = (d for d, window in enumerate(of_reduction(op)) if not window.moves_nothing)
    return rule.replicating(factors_at(moved, *rule.operands, *rule.results))


def _convolution(op: Any, rule: Rule, support: Support) -> Rule:
    """Spatial dimensions: a window of one passes through, a window as large as its input is a plain contraction."""
    image = _shape(op.operands[0])
    need: frozenset[int] = frozenset()
    inside: frozenset[int] = frozenset()
    for spatial in of_convolution(op):
        factors = factors_at([spatial.image], rule.operands[0]) | factors_at([spatial.kernel], rule.operands[1])
        factors |= factors_at([spatial.result], rule.results[0])
        window = spatial.window
        unpadded = (window.low, window.high, window.base) == (0, 0, 1)
        contraction = unpadded and image[spatial.image] == window.size and window.dilation == 1 and not window.reversal
        if window.moves_nothing or contraction:
            inside |= factors
        else:
            need |= factors
    corrected = rule.replicating(need)
    return corrected.passing(inside)


def _dynamic_update_slice(op: Any, rule: Rule, support: Support) -> Rule:
    """Only dimensions the update covers in full pass through; Shardy lets the operand's others do so too."""
    operand, update = rule.operands[:2]
    partial = [d for d, factors in enumerate(operand) if factors != update[d]]
    if support.update_into_shards:
        return rule.replicating(factors_at(partial, update))
    return rule.replicating(factors_at(partial, operand, update, rule.results[0]))


def _dynamic_slice(op: Any, rule: Rule, support: Support) -> Rule:
    """A dimension taken in part: summed over its shards where the lowering can, and then whole in the result."""
    if not support.slice_from_shards or selection(_element(op.operands[0])) is None:
        return _move(op, rule, support)
    whole, taken = _shape(op.operands[0]), _shape(op.results[0])
    sizes, result = list(rule.sizes), list(rule.results[0])
    partial = [d for d, size in enumerate(whole) if size != taken[d]]
    for d in partial:
        result[d] = (len(sizes),)
        sizes.append(taken[d])
    summed = factors_at(partial, rule.operands[0])
    return Rule(
        tuple(sizes), rule.operands, (tuple(result),),
        reduction=rule.reduction | summed,
        need_replication=(rule.need_replication - summed) | factors_at(partial, tuple(result)),
        permutation=rule.permutation - summed,
        blocked=rule.blocked,
    )


def _gather(op: Any, rule: Rule, support: Support) -> Rule:
    numbers = _mlir.stablehlo.GatherDimensionNumbers(op.attributes["dimension_numbers"])
    if support.gather_from_shards and selection(_element(op.operands[0])) is not None:
        unindexed = set(numbers.collapsed_slice_dims) - set(numbers.start_index_map)
        return rule.replicating(factors_at(unindexed, rule.operands[0]))
    return rule.replicating(rule.reduction | factors_at(numbers.collapsed_slice_dims, rule.operands[0]))


def _scatter(op: Any, rule: Rule, support: Support) -> Rule:
    """Updates may be sharded over scattered rows if partial results combine; without support, in an add to zeros."""
    numbers = _mlir.stablehlo.ScatterDimensionNumbers(op.attributes["scatter_dimension_numbers"])
    inputs = len(op.operands) // 2
    operand, update = rule.operands[0], rule.operands[inputs + 1]
    outside = {*numbers.inserted_window_dims, *numbers.input_batching_dims}
    windows = [d for d in range(len(operand)) if d not in outside]
    indexed = set(numbers.scattered_dims_to_operand_dims) if support.scatter_into_shards else set()
    need = factors_at(set(numbers.inserted_window_dims) - indexed, operand)
    for d, u in zip(windows, numbers.update_window_dims, strict=True):
        if operand[d] != update[u]:
            need |= factors_at([d], operand) | factors_at([u], update)
    combines = reducer(op) in NEUTRAL if support.complete_by_region else combines_across_shards(op, op.operands[0])
    if rule.reduction and not combines:
        need |= rule.reduction
    return rule.replicating(need)


def _reshape(op: Any, rule: Rule, support: Support) -> Rule:
    """A factor that only one side has is lost in the reshape: 2x3 to 3x2 has no dimension in common."""
    either = _present(rule.operands[0]) ^ _present(rule.results[0])
    return rule.replicating(f for f in either if rule.sizes[f] > 1)


POLICIES: dict[str, Policy] = {
    "stablehlo.convolution": _convolution,
    "stablehlo.dynamic_slice": _dynamic_slice,
    "stablehlo.dynamic_update_slice": _dynamic_update_slice,
    "stablehlo.gather": _gather,
    "stablehlo.pad": _pad,
    "stablehlo.reduce": _reduce,
    "stablehlo.reduce_window": _window,
    "stablehlo.reshape": _reshape,
    # Every device would draw the same bits.
    "stablehlo.rng_bit_generator": _all,
    "stablehlo.scatter": _scatter,
    "stablehlo.select_and_scatter": _window,
}
DEFAULT_POLICY: Policy = _move

# Shardy's rule holds as it is: elementwise operations, and those that map whole dimensions to whole dimensions. They
# make up most of a program, and are passed over by name.
_EXACT = (
    "abs add and atan2 broadcast_in_dim cbrt ceil clamp compare complex convert cosine count_leading_zeros divide "
    "dot_general exponential exponential_minus_one floor imag is_finite log log_plus_one logistic maximum minimum "
    "multiply negate not or popcnt power real reduce_precision remainder round_nearest_afz round_nearest_even rsqrt "
    "select shift_left shift_right_arithmetic shift_right_logical sign sine sqrt subtract tan tanh transpose xor"
)
EXACT = frozenset(f"stablehlo.{name}" for name in _EXACT.split())


def unknown(op: Any) -> Rule:
    """The rule of an operation about which nothing is known."""
    return replicated(map(_shape, op.operands), map(_shape, op.results))


def _elementwise(op: Any) -> Rule | None:
    shapes = {_shape(v) for v in (*op.operands, *op.results)}
    return elementwise(shapes.pop(), len(op.operands), len(op.results)) if len(shapes) == 1 else None


def _broadcast(op: Any) -> Rule:
    shape, rank = _shape(op.results[0]), len(_shape(op.operands[0]))
    mapping = tuple((d,) for d in range(len(shape)))
    return Rule(shape, (mapping[len(shape) - rank :],), (mapping,))


def _batch_norm(op: Any) -> Rule:
    """Features are independent of each other; statistics are over all other dimensions."""
    shape = _shape(op.operands[0])
    feature = _mlir.ir.IntegerAttr(op.attributes["feature_index"]).value
    full = tuple((d,) for d in range(len(shape)))

    def mapping(value: Any) -> Mapping:
        return full if _shape(value) == shape and len(shape) > 1 else ((feature,),)

    others = frozenset(range(len(shape))) - {feature}
    return Rule(
        shape, tuple(map(mapping, op.operands)), tuple(map(mapping, op.results)), need_replication=others
    )


def _last_dimension_selected(op: Any) -> Rule:
    """Rows are independent; along the last dimension the whole row is needed, and the result has another size."""
    shape = _shape(op.operands[0])
    mapping = tuple((d,) for d in range(len(shape)))
    last = frozenset({len(shape) - 1})
    return Rule(shape, (mapping,), (mapping,) * len(op.results), need_replication=last, blocked=last)


_CHLO_ELEMENTWISE = (
    "_asin_acos_kernel acos acosh asin asinh atan atanh bessel_i1e conj constant_like cosh digamma erf erf_inv erfc "
    "is_inf is_neg_inf is_pos_inf lgamma next_after polygamma sinh square tan zeta "
    "broadcast_add broadcast_and broadcast_atan2 broadcast_compare broadcast_complex broadcast_divide "
    "broadcast_maximum broadcast_minimum broadcast_multiply broadcast_next_after broadcast_or broadcast_polygamma "
    "broadcast_power broadcast_remainder broadcast_select broadcast_shift_left broadcast_shift_right_arithmetic "
    "broadcast_shift_right_logical broadcast_subtract broadcast_xor broadcast_zeta"
)

# Rules Shardy has not. An entry may return None for the default: replicated, and reported.
MISSING: dict[str, Callable[[Any], Rule | None]] = {
    **{f"chlo.{name}": _elementwise for name in _CHLO_ELEMENTWISE.split()},
    "chlo.top_k": _last_dimension_selected,
    "stablehlo.batch_norm_grad": _batch_norm,
    "stablehlo.batch_norm_training": _batch_norm,
    "stablehlo.broadcast": _broadcast,
    "stablehlo.map": _elementwise,
    # Nothing to report about these two: they are replicated for good.
    "stablehlo.get_dimension_size": unknown,
    "stablehlo.rng": unknown,
}

# No operand and any part of the result computed in place; control flow and calls, whose values Shardy ties together
# itself; terminators and what is no computation.
WITHOUT_RULE = frozenset(
    {
        "arith.constant",
        "builtin.module",
        "func.call",
        "func.func",
        "func.return",
        "stablehlo.case",
        "stablehlo.constant",
        "stablehlo.create_token",
        "stablehlo.if",
        "stablehlo.iota",
        "stablehlo.optimization_barrier",
        "stablehlo.partition_id",
        "stablehlo.replica_id",
        "stablehlo.return",
        "stablehlo.while",
        "chlo.constant",
        "sdy.constant",
        "sdy.data_flow_edge",
        "sdy.func_data_flow_edge",
        "sdy.manual_computation",
        "sdy.mesh",
        "sdy.named_computation",
        "sdy.propagation_barrier",
        "sdy.reshard",
        "sdy.return",
        "sdy.sharding_constraint",
        "sdy.sharding_group",
        "sdy.all_gather",
        "sdy.all_reduce",
        "sdy.all_slice",
        "sdy.all_to_all",
        "sdy.collective_permute",
        "sdy.reduce_scatter",
        "sdy.replicated_to_unreduced",
        "sdy.sharded_to_unreduced",
    }
)


def _present(mapping: Mapping) -> frozenset[int]:
    return frozenset(f for factors in mapping for f in factors)


def _shape(value: Any) -> tuple[int, ...]:
    return tuple(value.type.shape)


def _element(value: Any) -> Any:
    return _mlir.ir.RankedTensorType(value.type).element_type
