"""Recognises mixtures of experts that multiply no more than they have to, or one expert at a time: found and left.

  places   a scatter moves tokens to places of experts, [E,C,H]; a product for each expert follows
  groups   `chlo.ragged_dot`: rows sorted by expert, each multiplied with one matrix
  loops    one expert after the other, in a loop or written out: its matrix is cut out of a table, and its number is
           compared with those that tokens selected
"""

from __future__ import annotations

from typing import Any

from passes import _mlir
from passes.moe.chain import Layer
from passes.moe.roles import NONE, behind, dot_of, owner, splat_of
from passes.program.attributes import integers
from passes.program.types import shape_of
from passes.program.walk import named

PLACES = "its experts multiply what they have places for; a scatter moves tokens there"
GROUPS = "its products are grouped: each row is multiplied with the matrix of its expert alone"
LOOP = "it computes one expert at a time, each for all tokens; there is no product of all experts to make sparse"


def others(module: Any) -> list[Layer]:
    """The layers of ``module`` that have one of these forms."""
    return [*_places(module), *_groups(module), *_loops(module)]


def _places(module: Any) -> list[Layer]:
    found: dict[Any, Layer] = {}
    scatters = bool(named(module, frozenset({"stablehlo.scatter"})))
    for op in named(module, frozenset({"stablehlo.dot_general"})) if scatters else []:
        dot = dot_of(op)
        for side in (0, 1):
            value = op.operands[side]
            made = owner(value)
            if made is None or made.name != "stablehlo.scatter" or value.type.rank != 3 or value in found:
                continue
            numbers = _mlir.stablehlo.ScatterDimensionNumbers(made.attributes["scatter_dimension_numbers"])
            placed = list(numbers.scattered_dims_to_operand_dims)
            window = [d for d in range(3) if d not in placed]
            if len(dot.batch[side]) != 1 or dot.contract[side] != window or dot.batch[side][0] not in placed:
                continue
            (expert,) = dot.batch[side]
            (place,) = set(placed) - {expert}
            experts, places = (shape_of(value)[d] for d in (expert, place))
            what = f"mixture of {experts} experts with {places} places each"
            found[value] = Layer(_mlir.where_of(made.location), what, PLACES)
    return list(found.values())


def _groups(module: Any) -> list[Layer]:
    found: dict[Any, Layer] = {}
    for op in named(module, frozenset({"chlo.ragged_dot"})):
        sizes = op.operands[2]
        what = f"mixture of {shape_of(sizes)[-1]} experts by ragged dots"
        found.setdefault(sizes, Layer(_mlir.where_of(op.location), what, GROUPS))
    return list(found.values())


def _loops(module: Any) -> list[Layer]:
    """Tables that are cut at the number of an expert, where that number is compared for equality in the same block."""
    cuts = named(module, frozenset({"stablehlo.dynamic_slice", "stablehlo.slice"}))
    if not cuts:
        return []
    turns = {(op.block, number) for op in named(module, frozenset({"stablehlo.compare"}))
             for number in _compared(op)}
    experts: dict[Any, dict[Any, Any]] = {}
    for op in cuts:
        number = _cut(op)
        if number is not None and (op.block, number) in turns:
            experts.setdefault((op.block, shape_of(op.operands[0])[0]), {}).setdefault(number, op)
    return [
        Layer(_mlir.where_of(next(iter(numbers.values())).location), f"loop over {count} experts", LOOP)
        for (_, count), numbers in experts.items()
        # A loop has one number, which changes; written out there is every one.
        if not all(isinstance(n, int) for n in numbers) or set(numbers) == set(range(count))
    ]


def _cut(op: Any) -> Any:
    """At which row the matrix or vector ``op`` is cut out of its table: a constant or a value; or nothing."""
    sizes, own = shape_of(op.operands[0]), shape_of(op.results[0])
    if len(sizes) != 3 or own != [1, *sizes[1:]] or sizes[0] < 2:
        return None
    if op.name == "stablehlo.slice":
        return integers(op, "start_indices")[0]
    return _number(op.operands[1])


def _number(value: Any) -> Any:
    """The constant, or the value that ``value`` is a copy of; a number from the end is one from the start."""
    while True:
        value = behind(value, (NONE,) * value.type.rank, converts=True).value
        if (splat := splat_of(value)) is not None:
            return splat.value if hasattr(splat, "value") else splat
        op = owner(value)
        if op is not None and op.name == "stablehlo.select":
            value = op.operands[2]
        elif op is not None and op.name == "stablehlo.dynamic_slice" and value.type.rank == 1:
            # A scan counts along a list of the numbers.
            value = op.operands[1]
        else:
            return value


def _compared(op: Any) -> list[Any]:
    """The numbers that ``op`` compares others with for equality."""
    if _mlir.stablehlo.ComparisonDirectionAttr(op.attributes["comparison_direction"]).value != "EQ":
        return []
    return [_number(v) for v in op.operands]
