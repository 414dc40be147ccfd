"""The slots of an op: what stands and falls with one of its results, and how an op loses some of them.

A *slot* of a ``while`` is one carried value (operand, block arguments, yielded value, result); a slot of a ``case`` or
``if`` is one result with what each branch yields for it; a slot of a ``reduce``, ``reduce_window``, ``scatter`` or
``sort`` of several arrays is one of them with its initial value or updates, its block arguments and its result.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from passes import _mlir
from passes.program.walk import terminator

# (slot, number of slots) -> the positions that belong to the slot.
Positions = Callable[[int, int], tuple[int, ...]]


def _none(slot: int, count: int) -> tuple[int, ...]:
    return ()


def _same(slot: int, count: int) -> tuple[int, ...]:
    return (slot,)


def _two_groups(slot: int, count: int) -> tuple[int, ...]:
    return slot, count + slot


def _around_indices(slot: int, count: int) -> tuple[int, ...]:
    return slot, count + 1 + slot


def _neighbours(slot: int, count: int) -> tuple[int, ...]:
    return 2 * slot, 2 * slot + 1


@dataclass(frozen=True)
class SlotRule:
    """Where the slots of an op are.

    Attributes:
      operands: The operands of a slot; the others are needed whenever any slot is.
      arguments: The block arguments of a slot, in every region.
      yielding: Index of the first region whose terminator yields the slots, as all later ones do; what earlier ones
        yield is needed whenever any slot is.
      statistic: What ``dead-ops`` counts dropped slots as.
      attributes: The op's own attributes, none of which counts its slots.
      control_flow: The op can do without any slot.
    """

    operands: Positions
    arguments: Positions
    yielding: int
    statistic: str
    attributes: frozenset[str] = frozenset()
    control_flow: bool = False


def _payload(operands: Positions, arguments: Positions, yielding: int, attributes: str) -> SlotRule:
    return SlotRule(operands, arguments, yielding, "removed-payloads", frozenset(attributes.split()))


SLOTTED = {
    "stablehlo.while": SlotRule(_same, _same, 1, "removed-carries", control_flow=True),
    "stablehlo.case": SlotRule(_none, _none, 0, "removed-results", control_flow=True),
    "stablehlo.if": SlotRule(_none, _none, 0, "removed-results", control_flow=True),
    "stablehlo.reduce": _payload(_two_groups, _two_groups, 0, "dimensions"),
    "stablehlo.reduce_window": _payload(
        _two_groups, _two_groups, 0, "window_dimensions window_strides base_dilations window_dilations padding"
    ),
    "stablehlo.scatter": _payload(
        _around_indices, _two_groups, 0, "scatter_dimension_numbers indices_are_sorted unique_indices"
    ),
    # The comparator decides the order of all arrays, so it makes live whatever it looks at.
    "stablehlo.sort": _payload(_same, _neighbours, 1, "dimension is_stable"),
}


def slot_rule(op: Any) -> SlotRule | None:
    """The slots of ``op``; ``None`` if it has none or carries an attribute that might count its results."""
    rule = SLOTTED.get(op.name)
    if rule is None or not (rule.control_flow or len(op.results) > 1):
        return None
    known = all(key == "sdy.sharding" or key in rule.attributes for key in op.attributes)
    return rule if known else None


def drop_slots(op: Any, kept: list[int], sweep: Callable[[Any], None], release: Callable[[Any], None]) -> None:
    """Replaces ``op`` by one with the ``kept`` slots only.

    ``sweep(region)`` is called for each region once its terminator yields the kept slots; it removes what that leaves
    unused. ``release(value)`` is called before a dead value goes and removes what may still refer to it.
    """
    rule = slot_rule(op)
    assert rule is not None
    count = len(op.results)
    dropped = set(range(count)).difference(kept)
    operands = {position for slot in dropped for position in rule.operands(slot, count)}
    arguments = {position for slot in dropped for position in rule.arguments(slot, count)}
    new = _mlir.ir.Operation.create(
        op.name,
        results=[op.results[i].type for i in kept],
        operands=[value for position, value in enumerate(op.operands) if position not in operands],
        attributes=_kept_attributes(op, kept),
        regions=len(op.regions),
        loc=op.location,
        ip=_mlir.ir.InsertionPoint(op),
    )
    for index, region in enumerate(new.regions):
        op.regions[index].blocks[0].append_to(region)
        if index >= rule.yielding:
            keep_operands(terminator(region.blocks[0]), kept)
        sweep(region)
        erase_arguments(region.blocks[0], arguments, release)
    replace_results(op, new, kept, release)


def keep_operands(op: Any, kept: list[int]) -> None:
    """Replaces ``op``, a terminator, by one with the ``kept`` operands only."""
    _mlir.ir.Operation.create(
        op.name, operands=[op.operands[i] for i in kept], loc=op.location, ip=_mlir.ir.InsertionPoint(op)
    )
    op.erase()


def erase_arguments(block: Any, positions: set[int], release: Callable[[Any], None]) -> None:
    """Erases the arguments of ``block`` at ``positions``, which only annotations use any more."""
    for position in sorted(positions, reverse=True):
        release(block.arguments[position])
        _check_unused(block.arguments[position])
        block.erase_argument(position)


def replace_results(op: Any, new: Any, kept: list[int], release: Callable[[Any], None]) -> None:
    """Erases ``op``; its ``kept`` results are the results of ``new``, and only annotations use the others."""
    for index in set(range(len(op.results))).difference(kept):
        release(op.results[index])
        _check_unused(op.results[index])
    for position, index in enumerate(kept):
        op.results[index].replace_all_uses_with(new.results[position])
    op.erase()


def _check_unused(value: Any) -> None:
    """Erasing what is still used corrupts memory without a word; better to stop on a wrong liveness."""
    if next(value.uses, None) is not None:
        raise AssertionError(f"a value is taken for dead but used: {value.type}")


def _kept_attributes(op: Any, kept: list[int]) -> dict[str, Any]:
    attributes = {key: op.attributes[key] for key in op.attributes}
    if "sdy.sharding" in attributes:
        sharding = kept_shardings(attributes.pop("sdy.sharding"), kept)
        if sharding is not None:
            attributes["sdy.sharding"] = sharding
    return attributes


def kept_shardings(per_value: Any, kept: list[int]) -> Any | None:
    """The shardings of the ``kept`` results out of those of all; ``None`` if none are kept."""
    shardings = list(_mlir.sdy.TensorShardingPerValueAttr(per_value).shardings)
    if not kept:
        return None
    return _mlir.sdy.TensorShardingPerValueAttr.get([shardings[i] for i in kept], context=per_value.context)
