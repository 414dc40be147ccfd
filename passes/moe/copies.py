"""Recognises products with a copy of its expert's weights for each slot: gather(weights, indices), then a batched dot.

  out[s] = x[s] @ weights[indices[s]]

The slots s may be several dimensions. The weights' number of an expert is what a gather makes of it: numbers beyond the
experts are moved to the nearest one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from passes import _mlir
from passes.moe.roles import (
    NONE,
    Dot,
    Roles,
    behind,
    dot_of,
    is_splat,
    owner,
    through_broadcast,
    through_reshape,
    through_transpose,
    tokens,
)
from passes.program.attributes import integers
from passes.program.types import shape_of


@dataclass(frozen=True)
class Copy:
    """A gather of whole rows of ``table`` [E,...], by numbers of experts.

    Attributes:
      roles: Of the result's dimensions: those of slots are tokens' ("t0", ...), others the number of the table's.
      key: Equal for gathers with the same slots by the same numbers from tables of as many experts.
    """

    op: Any
    table: Any
    roles: Roles
    key: Any

    @property
    def experts(self) -> int:
        """E."""
        return shape_of(self.table)[0]

    @property
    def numbers(self) -> Any:
        """The numbers of experts, as many as there are slots."""
        return self.op.operands[1]

    @property
    def slots(self) -> dict[str, int]:
        """The sizes of the dimensions of slots by their roles; such of size 1 have none."""
        sizes = shape_of(self.op.results[0])
        return {role: size for role, size in zip(self.roles, sizes, strict=True) if role.startswith("t") and size > 1}


def copy_of(gather: Any) -> Copy | None:
    """The copy that ``gather`` is, if it takes rows of a table of vectors or matrices by one number each."""
    numbers = _mlir.stablehlo.GatherDimensionNumbers(gather.attributes["dimension_numbers"])
    table, starts = gather.operands[0], gather.operands[1]
    sizes, indices = shape_of(table), shape_of(starts)
    if list(numbers.start_index_map) != [0] or list(numbers.collapsed_slice_dims) != [0]:
        return None
    if list(numbers.operand_batching_dims) or len(sizes) not in (2, 3) or numbers.index_vector_dim < len(indices) - 1:
        return None
    if integers(gather, "slice_sizes") != [1, *sizes[1:]]:
        return None
    offsets, names, own = list(numbers.offset_dims), iter(tokens(len(indices))), iter(range(1, len(sizes)))
    rank = gather.results[0].type.rank
    roles = tuple(str(next(own)) if d in offsets else next(names) for d in range(rank))
    slots = [size for size, role in zip(shape_of(gather.results[0]), roles, strict=True) if role.startswith("t")]
    return Copy(gather, table, roles, (*_origin(starts, sizes[0]), sizes[0], tuple(slots)))


def _origin(starts: Any, experts: int) -> tuple[Any, bool]:
    """What ``starts`` are made of, and whether negative numbers count from the end, as in Python."""
    value = _same_elements(starts)
    op = owner(value)
    if op is None or op.name != "stablehlo.select":
        return value, False
    is_negative, moved, given = (owner(op.operands[0]), owner(op.operands[1]), op.operands[2])
    if is_negative is None or moved is None or is_negative.name != "stablehlo.compare" or moved.name != "stablehlo.add":
        return value, False
    direction = _mlir.stablehlo.ComparisonDirectionAttr(is_negative.attributes["comparison_direction"]).value
    wraps = (
        direction == "LT" and is_negative.operands[0] == moved.operands[0] == given
        and is_splat(is_negative.operands[1], 0) and is_splat(moved.operands[1], experts)
    )
    return (_same_elements(given), True) if wraps else (value, False)


def _same_elements(value: Any) -> Any:
    """What ``value`` is a reshape of."""
    while (op := owner(value)) is not None:
        if op.name == "stablehlo.broadcast_in_dim":
            dims = integers(op, "broadcast_dimensions")
            if dims != sorted(dims) or math.prod(shape_of(value)) != math.prod(shape_of(op.operands[0])):
                break
        elif op.name != "stablehlo.reshape":
            break
        value = op.operands[0]
    return value


@dataclass(frozen=True)
class Product:
    """A dot with copies of weights.

    Attributes:
      side: Which operand has the copies.
      inner: The dimension of the table that is contracted; `columns` is the other one.
      input_roles: Of the other operand: the slots that it has.
      roles: Of the result.
      reason: Why there is no sparse product for it, or nothing.
    """

    dot: Dot
    side: int
    copy: Copy
    inner: int
    input_roles: Roles
    roles: Roles
    reason: str

    @property
    def columns(self) -> int:
        """The dimension of the table that is the result's."""
        return 3 - self.inner

    @property
    def input(self) -> Any:
        """The operand that is multiplied with the copies."""
        return self.dot.op.operands[1 - self.side]


def product_of(op: Any, copies: dict[Any, Copy]) -> Product | None:
    """The product with one of ``copies`` (by their results) that the ``dot_general`` ``op`` is, if it is one."""
    dot = dot_of(op)
    for side in (0, 1):
        sizes = shape_of(op.operands[side])
        found = behind(op.operands[side], tuple(str(d) if size != 1 else NONE for d, size in enumerate(sizes)))
        copy = copies.get(found.value)
        if copy is None or copy.table.type.rank != 3:
            continue
        roles = [NONE] * len(sizes)
        for role, number in zip(copy.roles, found.roles, strict=True):
            if number:
                roles[int(number)] = role
        if {role for role in roles if role} == {*copy.slots, "1", "2"}:
            return _product(dot, side, copy, tuple(roles))
    return None


def _product(dot: Dot, side: int, copy: Copy, roles: Roles) -> Product | None:
    """`product_of`, the operand number ``side`` being copies whose dimensions have ``roles``."""
    contracted = [roles[d] for d in dot.contract[side]]
    batched = {roles[d] for d in dot.batch[side]} - {NONE}
    if len(contracted) != 1 or contracted[0] not in ("1", "2") or not dot.batch[side] or not batched <= set(copy.slots):
        return None
    inputs = [NONE] * dot.op.operands[1 - side].type.rank
    for own, other in zip(dot.batch[side], dot.batch[1 - side], strict=True):
        inputs[other] = roles[own]
    sources = [NONE if (d := pair[side]) is None else roles[d] for pair in dot.sources()]
    results = tuple(role if role in copy.slots else NONE for role in sources)
    return Product(dot, side, copy, int(contracted[0]), tuple(inputs), results, _unfit(dot, side, batched, copy))


def _unfit(dot: Dot, side: int, batched: set[str], copy: Copy) -> str:
    """Why there is no sparse product for a dot with copies, or nothing."""
    op = dot.op
    if len({v.type.element_type for v in (*op.operands, *op.results)}) > 1:
        return "a product has results of another element type than its operands"
    if "precision_config" in op.attributes and "HIGH" in str(op.attributes["precision_config"]):
        return "a product states a precision, which a sparse product cannot"
    if any(shape_of(op.operands[1 - side])[d] > 1 for d in dot.free(1 - side)):
        return "a slot multiplies more than one row with its copy"
    if set(list(copy.slots)[: len(batched)]) != batched:
        return "what is multiplied has the slots of a token, but not its token"
    return ""


def copies_per_token(value: Any, roles: Roles, slots: dict[str, int]) -> int:
    """How many slots in a row have the same of ``value``, as far as broadcasts say."""
    while (op := owner(value)) is not None:
        if op.name == "stablehlo.broadcast_in_dim":
            roles = through_broadcast(op, roles)
            if (kept := [role for role in slots if role in roles]) != list(slots):
                missing = [role for role in slots if role not in kept]
                return math.prod(slots[role] for role in missing) if [*kept, *missing] == list(slots) else 1
        elif op.name == "stablehlo.transpose":
            roles = through_transpose(op, roles)
        elif op.name != "stablehlo.reshape":
            break
        elif (before := through_reshape(op, roles)) is not None:
            roles = before
        else:
            return _joined_copies(op, roles.index(next(iter(slots)))) if len(slots) == 1 else 1
        value = op.operands[0]
    return 1


def _joined_copies(reshape: Any, dim: int) -> int:
    """How often a broadcast repeated each row, before ``reshape`` made a row's copies part of its dimension ``dim``."""
    before, after = shape_of(reshape.operands[0]), shape_of(reshape.results[0])
    op = owner(reshape.operands[0])
    starts = [i for i in range(len(before)) if math.prod(before[:i]) == math.prod(after[:dim])]
    if op is None or op.name != "stablehlo.broadcast_in_dim" or not starts:
        return 1
    (first, last), small = (starts[-1], starts[-1]), shape_of(op.operands[0])
    while last < len(before) and math.prod(before[first:last]) < after[dim]:
        last += 1
    own = {d for i, d in enumerate(integers(op, "broadcast_dimensions")) if small[i] == before[d]}
    count = 1
    for d in reversed(range(first, last)):
        if d in own:
            break
        count *= before[d]
    return count if math.prod(before[first:last]) == after[dim] else 1
