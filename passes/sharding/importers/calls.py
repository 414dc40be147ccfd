"""Custom calls that annotate a value -> the ops of ``sdy`` that say the same."""

from __future__ import annotations

from typing import Any

from passes import _mlir
from passes.errors import UserError
from passes.pipeline.base import Counters
from passes.program.entry import Value, symbol_name
from passes.program.types import i64_attr
from passes.sharding.importers.annotations import Annotations, quoting
from passes.sharding.importers.frontend import DIRECTION, FRONTEND, GROUP_ID, Split
from passes.sharding.importers.hlo_sharding import HloSharding, Malformed
from passes.sharding.importers.scan import target_of, title_of
from passes.sharding.signature import SHARDING

# Name of a function -> its results.
Results = dict[str, list[Value]]


class Calls:
    """Replaces annotating custom calls.

    Attributes:
      manual: What GSPMD's ``@Sharding`` said of values, where it said that they are manual.
    """

    def __init__(self, annotations: Annotations, counters: Counters) -> None:
        self.manual: dict[Any, HloSharding] = {}
        self._annotations = annotations
        self._counters = counters

    def constraint(self, op: Any) -> None:
        """``@Sharding``, ``@tt.sharding_constraint`` -> ``sdy.sharding_constraint``.

        One that says only ``manual`` stands inside a manual computation, which says so itself; one that says nothing
        stays.
        """
        if not _is_of_one_value(op):
            raise_one_value(op)
        split, hlo = self._annotations.take(op)
        if SHARDING not in op.attributes and not hlo and not split.texts:
            return
        sharding = self._annotations.of_call(op, split, hlo)
        if hlo and hlo[0].group is not None:
            group(op.operands[0], hlo[0].group, op)
            self._counters.add("sharding-groups")
        value = op.operands[0]
        if sharding is None:
            self._replace(op, value, "an annotation that nothing is left of")
        else:
            value = self._constrain(op, sharding, split)
        if hlo and hlo[0].is_manual:
            self.manual[value] = hlo[0]

    def _constrain(self, op: Any, sharding: Any, split: Split) -> Any:
        attributes = {"sharding": sharding} | ({} if split.rest is None else {FRONTEND: split.rest})
        value = _create("sdy.sharding_constraint", op, attributes)
        self._replace(op, value, "turned into sdy.sharding_constraint")
        self._counters.add("constraints")
        return value

    def result_sharding(self, op: Any, results: Results) -> None:
        """``@xla.sdy.FuncResultSharding`` -> the sharding of the results that its value is returned as.

        Other uses, left where a function was inlined, see a constraint whose dimensions are open, as in XLA.
        """
        if not _is_of_one_value(op):
            raise_one_value(op)
        split, hlo = self._annotations.take(op)
        sharding = self._annotations.of_call(op, split, hlo)
        if sharding is None:
            return
        elsewhere = False
        for use in op.results[0].uses:
            owner = use.owner.operation
            if owner.name == "func.return":
                results[symbol_name(owner.parent)][use.operand_number].attributes[SHARDING] = sharding
            else:
                elsewhere = True
        if elsewhere:
            self._constrain(op, _opened(sharding), split)
        else:
            self._replace(op, op.operands[0], "moved to the function's result")
            self._counters.add("result-shardings")

    def group(self, op: Any) -> None:
        """``@xla.sdy.ShardingGroup`` -> ``sdy.sharding_group``."""
        split, _ = self._annotations.take(op)
        text = split.texts.get(GROUP_ID, "")
        with quoting(GROUP_ID, text, op.location, title_of(op)):
            if len(op.operands) != 1 or any(next(result.uses, None) is not None for result in op.results):
                raise Malformed("expected one operand and no result that is used")
            group(op.operands[0], self._annotations.frontend.integer(GROUP_ID, text), op)
        self._counters.removed(op, "turned into sdy.sharding_group")
        op.erase()
        self._counters.add("sharding-groups")

    def barrier(self, op: Any) -> None:
        """``@xla.sdy.PropagationBarrier`` -> ``sdy.propagation_barrier``."""
        if not _is_of_one_value(op):
            raise_one_value(op)
        split, _ = self._annotations.take(op)
        text = split.texts.get(DIRECTION, "")
        with quoting(DIRECTION, text, op.location, title_of(op)):
            direction = self._annotations.frontend.integer(DIRECTION, text)
            if not 0 <= direction <= _LAST_DIRECTION:
                raise Malformed(f"expected 0 (none), 1 (forward), 2 (backward) or {_LAST_DIRECTION} (both)")
        i32 = _mlir.ir.IntegerType.get_signless(32, _mlir.context())
        attributes = {"allowed_direction": _mlir.ir.IntegerAttr.get(i32, direction)}
        self._replace(op, _create("sdy.propagation_barrier", op, attributes), "turned into sdy.propagation_barrier")
        self._counters.add("barriers")

    def _replace(self, op: Any, value: Any, why: str) -> None:
        self._counters.removed(op, why)
        op.results[0].replace_all_uses_with(value)
        op.erase()


_LAST_DIRECTION = 3


def group(value: Any, number: int, before: Any) -> Any:
    """Puts ``value`` into a sharding group by an op, returned, that stands before the op ``before``."""
    return _mlir.ir.Operation.create(
        "sdy.sharding_group",
        operands=[value],
        attributes={"group_id": i64_attr(number)},
        loc=before.location,
        ip=_mlir.ir.InsertionPoint(before),
    )


def _create(name: str, op: Any, attributes: dict[str, Any]) -> Any:
    """The result of an op ``name`` on the operand of ``op``, in its place."""
    made = _mlir.ir.Operation.create(
        name,
        results=[op.results[0].type],
        operands=[op.operands[0]],
        attributes=attributes,
        loc=op.location,
        ip=_mlir.ir.InsertionPoint(op),
    )
    return made.results[0]


def _is_of_one_value(op: Any) -> bool:
    return len(op.operands) == 1 and len(op.results) == 1 and op.operands[0].type == op.results[0].type


def raise_one_value(op: Any) -> None:
    """Raises the error for an annotating call of another form than operand -> the same value."""
    raise UserError(
        f"expected @{target_of(op)} to return its only operand, not ({', '.join(str(o.type) for o in op.operands)}) -> "
        f"({', '.join(str(r.type) for r in op.results)})",
        _mlir.where_of(op.location),
    )


def _opened(sharding: Any) -> Any:
    """``sharding`` with open dimensions."""
    sdy, context = _mlir.sdy, _mlir.context()
    attr = sdy.TensorShardingAttr(sharding)
    dims = [
        sdy.DimensionShardingAttr.get(d.axes, is_closed=False, priority=d.priority, context=context)
        for d in map(sdy.DimensionShardingAttr, attr.dimension_shardings)
    ]
    return sdy.TensorShardingAttr.get(
        attr.mesh_or_ref, dims, attr.replicated_axes, attr.unreduced_axes, context=context
    )
