"""The lowering table: what becomes of each op when its operands and results are split.

The default row is the same op on local types, once its plan was checked against its sharding rule. Ops whose
attributes speak of sizes, that make values out of nothing, or that hold blocks have rows of their own. A guard looks at
the planned op, on global types, and says why it cannot be lowered; the plan then replicates around it, as it does for
an op without a row.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from passes import _mlir
from passes.partition import argreduce, composites, constants, indexed, manual, planned, shifts, windows
from passes.partition.outline import BEGIN, END
from passes.partition.shardings import MANUAL
from passes.partition.summary import COLLECTIVES
from passes.partition.trace import stand_for
from passes.program.attributes import integers, set_integers
from passes.program.types import shape_of
from passes.sharding.reducers import NEUTRAL, reducer

if TYPE_CHECKING:
    from passes.partition.localize import Localizer

Lowering = Callable[["Localizer", Any], None]
Guard = Callable[["Localizer", Any], str]


def same(localizer: Localizer, op: Any) -> None:
    """The same op on local types; what it reduces over split dimensions is noted for the collective that follows."""
    if op in localizer.summing:
        for value in op.results:
            localizer.partial[value] = _SUM if not op.regions else str(reducer(op))
    localizer.in_place(op)


def no_objection(localizer: Localizer, op: Any) -> str:
    """The guard of ops whose sharding rule says it all."""
    reduced = localizer.verdict(op).reduced
    if reduced and op.regions and reducer(op) not in planned.COMBINERS:
        return "no collective does what its region does"
    return _reduced_at_once(localizer, op) if reduced else ""


@dataclass(frozen=True)
class Row:
    """How one op is lowered.

    Attributes:
      note: What happens, in a sentence for the reference page.
      lower: Rewrites the op in place, or replaces it.
      guard: Why the planned op cannot be lowered, or the empty string.
      creates: Whether the op makes dimensions of its own, which may be split though no operand has them.
      checked: Whether the op is checked against its sharding rule; control flow and collectives have none.
      needs_users_rule: Whether only a rule that the user gave says how the op may be split.
    """

    note: str = "The same op on local types; dimensions it cannot compute in parts are whole, sums are completed."
    lower: Lowering = same
    guard: Guard = no_objection
    creates: bool = False
    checked: bool = True
    needs_users_rule: bool = False


_SUM = "stablehlo.add"


def _reduced_at_once(localizer: Localizer, op: Any) -> str:
    """A partial result may have one use only: the collectives that complete it."""
    for result in op.results:
        axes = {axis.name for axis in localizer.verdict(op).reduced}
        value = result
        while axes:
            users = [use.owner.operation for use in value.uses]
            if not users:
                break
            if len(users) > 1 or users[0].name not in planned.REDUCES:
                return f"its partial result over {', '.join(sorted(axes))} is used before it is reduced"
            axes -= set(planned.reduced_axes(users[0]))
            value = users[0].results[0]
    return ""


# -- ops whose attributes speak of sizes -------------------------------------------------------------------------------


def broadcast_lower(localizer: Localizer, op: Any) -> None:
    """broadcast: the sizes of the dimensions it makes are the local ones."""
    localizer.in_place(op)
    set_integers(op, "broadcast_sizes", shape_of(op.results[0])[: len(integers(op, "broadcast_sizes"))])


def scatter_lower(localizer: Localizer, op: Any) -> None:
    """scatter: with split updates every device combines its own, and the operand enters on one device only."""
    kind = reducer(op)
    reduced = localizer.verdict(op).reduced
    if reduced and NEUTRAL[str(kind)] is not None:
        for i in range(len(op.results)):
            op.operands[i] = argreduce.only_first(localizer, op, op.operands[i], reduced, str(kind))
    indexed.count_from_shard(localizer, op)
    for value in op.results if reduced else ():
        localizer.partial[value] = str(kind)
    localizer.in_place(op)


def also(problem: Guard) -> Guard:
    """A guard: ``problem`` finds none, and what the op leaves partial is reduced at once."""

    def guard(localizer: Localizer, op: Any) -> str:
        return problem(localizer, op) or _reduced_at_once(localizer, op)

    return guard


def scatter_guard(localizer: Localizer, op: Any) -> str:
    """scatter: partial results are combined by the op's own region, and an index counts each split dimension."""
    return no_objection(localizer, op) or indexed.scatter_problem(localizer, op)


# -- ops with a dimension that must be whole ---------------------------------------------------------------------------


def whole(listed: Callable[[Any], list[int]], what: str) -> Guard:
    """A guard: the dimensions ``listed`` for an op are not split in any operand."""

    def guard(localizer: Localizer, op: Any) -> str:
        for dim in listed(op):
            for value in op.operands:
                dims = localizer.shardings.dims(value)
                if dim < len(dims) and dims[dim]:
                    return f"dimension {dim} is split and {what}"
        return ""

    return guard


def _dimension(op: Any) -> list[int]:
    return [_mlir.ir.IntegerAttr(op.attributes["dimension"]).value]


# -- ops about which only the user knows ------------------------------------------------------------------------------


def custom_call_lower(localizer: Localizer, op: Any) -> None:
    """custom_call: the same call on local types; one that takes or gives nothing has no rule, and is whole."""
    if not _is_whole(op):
        same(localizer, op)
        return
    localizer.match_operands(op, [None] * len(op.operands))
    for value in op.results:
        if (attr := localizer.shardings.attr(value)) is not None:
            _cut(localizer, value, attr)


def _cut(localizer: Localizer, value: Any, attr: Any) -> None:
    """Lets each device read its part of ``value``, which all of them have made whole."""
    op, shardings = value.owner.operation, localizer.shardings
    uses = [(use.owner.operation, use.operand_number) for use in value.uses]
    dims = shardings.dims(value)
    shardings.forget(value)
    part = localizer.emit.slice(value, dims, _mlir.ir.InsertionPoint.after(op), op.location)
    shardings.record(part, attr)
    if localizer.traced:
        stand_for(part, value)
    for user, number in uses:
        user.operands[number] = part


def _is_whole(op: Any) -> bool:
    return not len(op.operands) or not len(op.results)


def custom_call_guard(localizer: Localizer, op: Any) -> str:
    """custom_call: it runs on local types if that is all it takes."""
    if _is_whole(op):
        return ""
    if problem := localizer.verdict(op).problem:
        return problem
    called = op.attributes.get("called_computations", ())
    if len(called) and any(localizer.shardings.attr(v) for v in (*op.operands, *op.results)):
        return "it calls functions, which are for whole tensors"
    return no_objection(localizer, op)


def composite_guard(localizer: Localizer, op: Any) -> str:
    """composite: see `composites`."""
    return no_objection(localizer, op) or composites.guard(localizer, op)


# -- ops that see which device runs them -------------------------------------------------------------------------------


def rng_lower(localizer: Localizer, op: Any) -> None:
    """rng: every device would draw its own numbers; those of the first device count."""
    manual = {axis.name for axis in localizer.emit.manual}
    mesh = localizer.shardings.mesh
    axes = tuple(mesh.axis(name) for name, size in mesh.axes if size > 1 and name not in manual)
    if not axes:
        return
    point = _mlir.ir.InsertionPoint(op)
    first = argreduce.only_first(localizer, op, op.clone(ip=point).results[0], axes, _SUM)
    localizer.replace(op, localizer.emit.all_reduce(first, axes, _SUM, point, op.location), None)


def replica_id_lower(localizer: Localizer, op: Any) -> None:
    """replica_id: a global program is one replica, and so is the per-device program."""
    type, point = op.results[0].type, _mlir.ir.InsertionPoint(op)
    zero = {"value": constants.neutral(type)}
    localizer.replace(op, localizer.emit.create("stablehlo.constant", [], type, zero, point, op.location), None)


# -- control flow ------------------------------------------------------------------------------------------------------


def while_lower(localizer: Localizer, op: Any) -> None:
    """while: operands, block arguments, what the body returns and results all lie as the results are planned to."""
    attrs = [localizer.shardings.attr(v) for v in op.results]
    localizer.match_operands(op, attrs)
    condition, body = (region.blocks[0] for region in op.regions)
    for value in (*condition.arguments, *body.arguments):
        localizer.localize_value(value)
    localizer.block(condition, [None])
    localizer.block(body, attrs)
    localizer.in_place(op)


def branches_lower(localizer: Localizer, op: Any) -> None:
    """case, if: every branch returns its values as the results are planned to lie; the predicate is replicated."""
    attrs = [localizer.shardings.attr(v) for v in op.results]
    localizer.match_operands(op, [None])
    for region in op.regions:
        localizer.block(region.blocks[0], attrs)
    localizer.in_place(op)


def barrier_lower(localizer: Localizer, op: Any) -> None:
    """optimization_barrier: results lie as the operands do, position by position."""
    localizer.match_operands(op, [localizer.shardings.attr(v) for v in op.results])
    attributes = op.attributes
    if BEGIN in attributes:
        localizer.emit.enter(attributes[BEGIN])
    elif END in attributes:
        localizer.emit.leave(attributes[END])
    localizer.in_place(op)


# -- helpers -----------------------------------------------------------------------------------------------------------


def _nothing(localizer: Localizer, op: Any) -> str:
    return ""


def _free(lower: Lowering, note: str) -> Row:
    """A row for an op that has no sharding rule to be checked against."""
    return Row(note, lower, _nothing, checked=False)


def _keep(localizer: Localizer, op: Any) -> None:
    """Nothing to do; the operands of terminators were moved by the op they end."""


_DEFAULT = (
    "abs add and atan2 bitcast_convert cbrt ceil clamp compare complex convert cosine count_leading_zeros divide "
    "exponential exponential_minus_one floor imag is_finite log log_plus_one logistic maximum minimum multiply negate "
    "not or popcnt power real reduce_precision remainder round_nearest_afz round_nearest_even rsqrt select shift_left "
    "shift_right_arithmetic shift_right_logical sign sine sqrt subtract tan tanh xor "
    "batch_norm_grad batch_norm_inference batch_norm_training cholesky dot dot_general fft map reshape transpose "
    "triangular_solve"
)

_BRANCHES = _free(branches_lower, "Every branch returns its values in one sharding; the predicate is replicated.")
_TERMINATOR = _free(_keep, "Returns values in the sharding the enclosing function or op was planned to have.")

ROWS: dict[str, Row] = {
    **{f"stablehlo.{name}": Row() for name in _DEFAULT.split()},
    "stablehlo.broadcast": Row(
        "The sizes of the dimensions it makes become local; these may be split.", broadcast_lower, creates=True
    ),
    "stablehlo.broadcast_in_dim": Row(
        "The same op on local types; dimensions it makes may be split.", creates=True
    ),
    "stablehlo.case": _BRANCHES,
    "stablehlo.composite": Row(
        "With a rule of the user's the same composite, its decomposition made for local shapes, if that needs nothing "
        "from other devices but the sums at its end; without one it is flattened first.",
        composites.lower,
        composite_guard,
        needs_users_rule=True,
    ),
    "stablehlo.concatenate": Row(
        "Of a split dimension that it joins along, each device fetches what lies in its part.",
        shifts.concatenate_lower,
        shifts.uneven,
    ),
    "stablehlo.constant": _free(
        constants.constant_lower,
        "A splat shrinks; a constant whose shards are equal becomes its first block; any other is cut by device.",
    ),
    "stablehlo.convolution": Row(
        "Along a split spatial dimension each device fetches what its windows read; where the kernel is split too (its "
        "gradient), the results are summed. With groups neither features nor a grouped batch may be split.",
        windows.convolution_lower,
        also(windows.convolution_guard),
    ),
    "stablehlo.custom_call": Row(
        "With a rule of the user's the same call on local types, sums over its reduction factors completed; without "
        "one it runs on whole tensors, on every device.",
        custom_call_lower,
        custom_call_guard,
        checked=False,
        needs_users_rule=True,
    ),
    "stablehlo.dynamic_slice": Row(
        "Slice sizes become local. Of a split dimension that is taken in part each device yields what it holds, at "
        "global indices clamped first, and the results are summed; or it is gathered, if that is fewer bytes.",
        indexed.dynamic_slice_lower,
        also(indexed.slice_problem),
    ),
    "stablehlo.dynamic_update_slice": Row(
        "In a split dimension each device writes what falls into its shard, at global indices clamped first.",
        indexed.dynamic_update_slice_lower,
    ),
    "stablehlo.gather": Row(
        "Batching dimensions and operand dimensions that slices take whole may be split. In a split dimension that is "
        "indexed each device looks up what it holds, and the results are summed; or the operand is gathered, if that "
        "is fewer bytes.",
        indexed.gather_lower,
        also(indexed.gather_problem),
    ),
    "stablehlo.if": _BRANCHES,
    "stablehlo.iota": _free(constants.iota_lower, "A local iota, plus this device's offset along a split dimension."),
    "stablehlo.optimization_barrier": _free(barrier_lower, "Results lie as the operands do, position by position."),
    "stablehlo.pad": Row(
        "Of a split dimension each device fetches what lies in its part of the result; padding between elements is "
        "put in locally, if shards begin alike.",
        shifts.pad_lower,
        shifts.pad_guard,
    ),
    "stablehlo.reduce": Row(
        "Each device reduces its part, an initial value that is not neutral enters on the first, and collectives with "
        "the region's ops complete the results. A region that chooses one of its values (argmax) chooses again among "
        "the gathered choices, in shard order; any other needs the reduced dimension whole.",
        argreduce.reduce_lower,
        also(argreduce.reduce_problem),
    ),
    "stablehlo.reduce_window": Row(
        "Along a split dimension each device fetches what its windows read, with the initial value around the whole; "
        "running sums, products and extremes are completed by the totals of the other shards.",
        windows.reduce_window_lower,
        windows.reduce_window_guard,
    ),
    "stablehlo.replica_id": _free(replica_id_lower, "Zero, for there is one replica, in which partitions are devices."),
    "stablehlo.reverse": Row(
        "Shards of a split dimension change places with those at the other end; each is reversed.",
        shifts.reverse_lower,
        shifts.uneven,
    ),
    "stablehlo.rng": Row(
        "Drawn whole by every device; the numbers of the first one count and are sent to all.", rng_lower
    ),
    "stablehlo.rng_bit_generator": Row("Whole: every device draws the same bits."),
    "stablehlo.scatter": Row(
        "Batching, window and indexed dimensions may be split; each device writes the rows it holds. With split "
        "updates every device combines its own, an operand that would count several times enters on the first device "
        "only, and the op's own reduction completes the results; or the updates are gathered, if that is fewer bytes.",
        scatter_lower,
        scatter_guard,
    ),
    "stablehlo.select_and_scatter": Row(
        "Along a split dimension, if windows need no padding and are added up from zero, each device computes all "
        "windows that reach into its part.",
        windows.select_and_scatter_lower,
        windows.select_and_scatter_guard,
    ),
    "stablehlo.slice": Row(
        "Of a split dimension each device fetches the span that its part of the result is taken from. If the result is "
        "to be whole and small, it becomes a dynamic_slice, and each device yields what it holds.",
        shifts.slice_lower,
        shifts.uneven,
    ),
    "stablehlo.sort": Row("The sorted dimension is whole.", guard=whole(_dimension, "sorted")),
    "stablehlo.while": _free(
        while_lower, "Operands, block arguments, returned values and results of one carry lie alike."
    ),
    "func.return": _TERMINATOR,
    "sdy.return": _TERMINATOR,
    "stablehlo.return": _TERMINATOR,
    MANUAL: _free(
        manual.lower,
        "Operands and results lie as in_shardings and out_shardings say; the body, lowered along the axes that are not "
        "manual, takes its place.",
    ),
    **dict.fromkeys(
        sorted(COLLECTIVES),
        Row(
            "In a manual computation: stays, its groups name devices along manual axes, its channel becomes unique; "
            "dimensions it joins or cuts are whole along other axes. Refused elsewhere.",
            manual.collective_lower,
        ),
    ),
    "stablehlo.partition_id": _free(_keep, "Where all axes are manual: stays. Refused elsewhere."),
    **{name: _free(lower, (lower.__doc__ or "").partition(": ")[2]) for name, lower in planned.LOWERINGS.items()},
}

_TOKENS = "It has no tensors; tokens order what every device does for itself."
_STATIC = "Its sizes are operands. With static types it runs replicated, on gathered operands; without, it is refused."
_DEPRECATED = "Deprecated. It runs replicated, on gathered operands."
_HOST = "Refused: the host would have to know which part each device takes or gives."
_QUANTIZED = "The bindings have no quantized types and do not read it."

# The ops of StableHLO without a row, and why.
WITHOUT_ROW: dict[str, str] = {
    "stablehlo.after_all": _TOKENS,
    "stablehlo.async_done": "Refused: it speaks of a function that runs beside the program.",
    "stablehlo.async_start": "Refused: it speaks of a function that runs beside the program.",
    "stablehlo.create_token": _TOKENS,
    "stablehlo.cross-replica-sum": "Refused: it sums over replicas, of which there is one.",
    "stablehlo.dynamic_broadcast_in_dim": _STATIC,
    "stablehlo.dynamic_conv": _STATIC,
    "stablehlo.dynamic_gather": _STATIC,
    "stablehlo.dynamic_iota": _STATIC,
    "stablehlo.dynamic_pad": _STATIC,
    "stablehlo.dynamic_reshape": _STATIC,
    "stablehlo.einsum": _DEPRECATED,
    "stablehlo.get_dimension_size": "It runs replicated; of a static type it is a constant.",
    "stablehlo.get_tuple_element": "Tuples are dissolved before anything is planned.",
    "stablehlo.infeed": _HOST,
    "stablehlo.outfeed": _HOST,
    "stablehlo.real_dynamic_slice": _STATIC,
    "stablehlo.recv": _HOST,
    "stablehlo.send": _HOST,
    "stablehlo.set_dimension_size": "Refused: its result has no static shape.",
    "stablehlo.torch_index_select": _DEPRECATED,
    "stablehlo.tuple": "Tuples are dissolved before anything is planned.",
    "stablehlo.unary_einsum": _DEPRECATED,
    "stablehlo.uniform_dequantize": _QUANTIZED,
    "stablehlo.uniform_quantize": _QUANTIZED,
}
