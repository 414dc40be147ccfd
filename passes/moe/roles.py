"""Which dimensions of a value are experts and which are tokens, followed from a value back to what it is made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from passes import _mlir
from passes.program.attributes import integers
from passes.program.types import shape_of

# For each dimension: "e" (experts), "t0", "t1", ... (tokens, of a batch and of a sequence, say), "k" (slots of a
# token), or nothing.
Roles = tuple[str, ...]
NONE = ""


def tokens(count: int) -> Roles:
    """The roles of ``count`` token dimensions."""
    return tuple(f"t{i}" for i in range(count))


def owner(value: Any) -> Any:
    """The op that makes ``value``; ``None`` for an argument of a block."""
    return None if isinstance(value.owner, _mlir.ir.Block) else value.owner.operation


def through_broadcast(op: Any, roles: Roles) -> Roles:
    """The roles of the operand of a ``broadcast_in_dim``: a dimension that is stretched has none."""
    small, large = shape_of(op.operands[0]), shape_of(op.results[0])
    dims = integers(op, "broadcast_dimensions")
    return tuple(roles[d] if small[i] == large[d] else NONE for i, d in enumerate(dims))


def through_transpose(op: Any, roles: Roles) -> Roles:
    """The roles of the operand of a ``transpose``."""
    found = [NONE] * len(roles)
    for i, d in enumerate(integers(op, "permutation")):
        found[d] = roles[i]
    return tuple(found)


def through_reshape(op: Any, roles: Roles) -> Roles | None:
    """The roles of the operand of a ``reshape``, if dimensions that have one stay dimensions of their own."""
    return reshaped(shape_of(op.results[0]), shape_of(op.operands[0]), roles)


def reshaped(given: Sequence[int], wanted: Sequence[int], roles: Roles) -> Roles | None:
    """``roles`` of dimensions of sizes ``given`` in the shape ``wanted``, if those that have one stay of their own."""
    found = [NONE] * len(wanted)
    starts = {_product(wanted[:i]): i for i in range(len(wanted) - 1, -1, -1) if wanted[i] != 1}
    for d, role in enumerate(roles):
        if not role:
            continue
        # One dimension of size 1 is as good as another.
        single = (i for i, size in enumerate(wanted) if size == 1 and not found[i])
        i = starts.get(_product(given[:d])) if given[d] != 1 else next(single, None)
        if i is None or wanted[i] != given[d]:
            return None
        found[i] = role
    return tuple(found)


def _product(sizes: Sequence[int]) -> int:
    result = 1
    for size in sizes:
        result *= size
    return result


@dataclass(frozen=True)
class Found:
    """A value that others are copies of, and the roles of its dimensions."""

    value: Any
    roles: Roles


def behind(value: Any, roles: Roles, *, converts: bool = False) -> Found:
    """What ``value`` is a copy of: broadcast, transposed, reshaped or, with ``converts``, converted."""
    while (op := owner(value)) is not None:
        if op.name == "stablehlo.broadcast_in_dim":
            roles = through_broadcast(op, roles)
        elif op.name == "stablehlo.transpose":
            roles = through_transpose(op, roles)
        elif op.name == "stablehlo.reshape" and (before := through_reshape(op, roles)) is not None:
            roles = before
        elif not (converts and op.name == "stablehlo.convert"):
            break
        value = op.operands[0]
    return Found(value, roles)


def is_zero(value: Any) -> bool:
    """Whether ``value`` is zero everywhere, for certain."""
    return is_splat(value, 0)


def is_splat(value: Any, number: int) -> bool:
    """Whether ``value`` is ``number`` everywhere, for certain."""
    splat = splat_of(behind(value, (NONE,) * value.type.rank).value)
    return hasattr(splat, "value") and splat.value == number


def splat_of(value: Any) -> Any:
    """The element that all of ``value``, a constant, are; ``None`` for others."""
    op = owner(value)
    if op is None or op.name != "stablehlo.constant":
        return None
    dense = op.attributes["value"]
    return dense.get_splat_value() if isinstance(dense, _mlir.ir.DenseElementsAttr) and dense.is_splat else None


def reduces_with(op: Any, kind: str) -> bool:
    """Whether a ``reduce`` reduces one operand with ``kind`` alone, from zero."""
    if op.name != "stablehlo.reduce" or len(op.results) != 1 or not is_zero(op.operands[1]):
        return False
    return [view.operation.name for view in op.regions[0].blocks[0]] == [kind, "stablehlo.return"]


def reducing(op: Any, kind: str) -> int | None:
    """The only dimension that a ``reduce`` of one operand reduces with ``kind`` alone, from zero; else ``None``."""
    if not reduces_with(op, kind):
        return None
    dims = integers(op, "dimensions")
    return dims[0] if len(dims) == 1 else None


@dataclass(frozen=True)
class Dot:
    """A ``dot_general`` with its dimension numbers: batching and contracting ones of either side, and the free ones."""

    op: Any
    batch: tuple[list[int], list[int]]
    contract: tuple[list[int], list[int]]

    def free(self, side: int) -> list[int]:
        """The dimensions of one operand that are neither batching nor contracting."""
        taken = {*self.batch[side], *self.contract[side]}
        return [d for d in range(self.op.operands[side].type.rank) if d not in taken]

    def sources(self) -> list[tuple[int | None, int | None]]:
        """For each dimension of the result the dimension of the left and of the right operand that it is."""
        both: list[tuple[int | None, int | None]] = [*zip(*self.batch, strict=True)]
        return [*both, *((d, None) for d in self.free(0)), *((None, d) for d in self.free(1))]

    def operand_roles(self, roles: Roles) -> tuple[Roles, Roles]:
        """The roles of the operands' dimensions, from those of the result's."""
        sides = [[NONE] * self.op.operands[side].type.rank for side in (0, 1)]
        for role, dims in zip(roles, self.sources(), strict=True):
            for side, d in enumerate(dims):
                if d is not None:
                    sides[side][d] = role
        return tuple(sides[0]), tuple(sides[1])


def dot_of(op: Any) -> Dot:
    """The dimension numbers of a ``dot_general``."""
    numbers = _mlir.stablehlo.DotDimensionNumbers(op.attributes["dot_dimension_numbers"])
    return Dot(
        op, (list(numbers.lhs_batching_dimensions), list(numbers.rhs_batching_dimensions)),
        (list(numbers.lhs_contracting_dimensions), list(numbers.rhs_contracting_dimensions)),
    )


# Each element of the result from the elements at its place.
_NAMES = (
    "abs add and atan2 cbrt ceil clamp compare convert cosine divide exponential exponential_minus_one floor log "
    "log_plus_one logistic maximum minimum multiply negate not or power remainder round_nearest_afz round_nearest_even "
    "rsqrt select sign sine sqrt subtract tan tanh"
)
ELEMENTWISE = frozenset(f"stablehlo.{name}" for name in _NAMES.split())
