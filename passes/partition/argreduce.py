"""Reductions over split dimensions: with an op that collectives have, of several values at once, or by choice (argmax).

Where the region combines each of its values by an op of its own (sum, or sum and maximum side by side), every device
reduces its part and collectives with these ops complete the results; an initial value that is not neutral enters on one
device. Where the region chooses one of the values it gets, every device chooses in its part, the choices are gathered
in the order of the shards, and every device chooses among them with the same region:

  reduce(x, i) over d   ->   reduce(all_gather(reduce(x, i) over d), ...) over the shards
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from passes import _mlir
from passes.partition import planned
from passes.partition.building import Builder
from passes.partition.trace import MARKS, fetches_for, number_of
from passes.program.types import shape_of
from passes.sharding.reducers import NEUTRAL, chooses, constant_value, reducers

if TYPE_CHECKING:
    from passes.partition.localize import Localizer
    from passes.partition.shardings import Axes


def reduce_problem(localizer: Localizer, op: Any) -> str:
    """Why a planned reduction over a split dimension cannot be lowered."""
    if not localizer.verdict(op).reduced or _kinds(op) is not None:
        return ""
    if not chooses(op):
        return "no collective does what its region does"
    dims, dimensions = localizer.shardings.dims(op.operands[0]), _dimensions(op)
    if any(dims[d] for d in dimensions if d != first_reduced(op)):
        return "its region chooses among elements whose order over the devices is another"
    return ""


def reduce_lower(localizer: Localizer, op: Any) -> None:
    """reduce: the same op on local types; see the module's docstring for what follows."""
    reduced = localizer.verdict(op).reduced
    if not reduced:
        localizer.in_place(op)
        return
    kinds = _kinds(op)
    if kinds is None:
        _choose_among_shards(localizer, op)
        return
    for index, (value, kind) in enumerate(zip(op.results, kinds, strict=True)):
        position = len(kinds) + index
        initial = op.operands[position]
        if NEUTRAL[kind] is not None and constant_value(initial) != NEUTRAL[kind]:
            op.operands[position] = only_first(localizer, op, initial, reduced, kind)
        localizer.partial[value] = kind
    localizer.in_place(op)


def only_first(localizer: Localizer, op: Any, value: Any, axes: Axes, kind: str) -> Any:
    """``value`` on the first device along ``axes``, the neutral element of ``kind`` on the others."""
    build = Builder(localizer.emit, op)
    chosen = build.select(build.is_first(axes), value, build.neutral(value.type, kind))
    localizer.shardings.record(chosen, localizer.shardings.attr(value))
    return chosen


def first_reduced(op: Any) -> int:
    """The first dimension that a reduction goes over: along it, the elements of a shard follow those of the last."""
    shape, dimensions = shape_of(op.operands[0]), _dimensions(op)
    return min((d for d in dimensions if shape[d] > 1), default=dimensions[0])


def _choose_among_shards(localizer: Localizer, op: Any) -> None:
    ir, (dimension,) = _mlir.ir, [d for d in _dimensions(op) if localizer.shardings.dims(op.operands[0])[d]]
    axes = localizer.shardings.dims(op.operands[0])[dimension]
    build, point, count = Builder(localizer.emit, op), ir.InsertionPoint(op), len(op.results)
    own = op.clone(ip=point).operation
    for key in MARKS:
        if key in own.attributes:
            del own.attributes[key]
    localizer.in_place(op)
    for index, (mine, whole) in enumerate(zip(own.results, op.results, strict=True)):
        mine.set_type(whole.type)
        row = build.reshape(mine, [1, *shape_of(mine)])
        rest: list[Axes] = [()] * (len(shape_of(row)) - 1)
        gathered = localizer.emit.gather(row, [axes, *rest], point, op.location)
        fetches_for(gathered, number_of(op))
        op.operands[index] = gathered
        localizer.partial[whole] = planned.COMPLETE
    assert len(op.operands) == 2 * count
    op.attributes["dimensions"] = ir.DenseI64ArrayAttr.get([0], _mlir.context())


def _kinds(op: Any) -> list[str] | None:
    """The op that combines partial results, for each result; ``None`` where no collective has it."""
    kinds = reducers(op)
    return kinds if kinds is not None and planned.COMBINERS.issuperset(kinds) else None


def _dimensions(op: Any) -> list[int]:
    return list(_mlir.ir.DenseI64ArrayAttr(op.attributes["dimensions"]))
