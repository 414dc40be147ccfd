"""Turns layers that copy the weights of its expert for each slot into sparse ones.

Hugging Face's models, and many written by hand, gather the matrices of S = T*K experts for T tokens, and multiply each
with a row of its own:

  y[s] = f(x[s], weights[indices[s]]),   x[s] = token s / K

It becomes: dispatch the T tokens, f with sparse products for [T,E], combine to [T*K]; S copies of matrices are never
made, and weights can be split over devices. Nothing else of the program changes: what is read outside, the slots'
results above all, is what a combine returns. If slots are not seen to be copies of a token's row, each is a token that
selects one expert.

Equal, whatever the numbers: what is selected is computed as it was, and what is not selected is read by nobody.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from passes import _mlir
from passes.moe.chain import Chain, Layer
from passes.moe.composites import Decompositions
from passes.moe.copies import Copy, Product, copies_per_token, copy_of, product_of
from passes.moe.maker import Maker
from passes.moe.roles import (
    ELEMENTWISE,
    NONE,
    Roles,
    behind,
    owner,
    reducing,
    splat_of,
    through_broadcast,
    through_reshape,
    through_transpose,
)
from passes.pipeline.base import Counters
from passes.program.attributes import integers
from passes.program.types import shape_of
from passes.program.walk import named

_DOT = "stablehlo.dot_general"


def slots(module: Any, decompositions: Decompositions, counters: Counters) -> list[Layer]:
    """Rewrites the layers of ``module`` in place; says which it found."""
    copies = {copy.op.results[0]: copy
              for op in named(module, frozenset({"stablehlo.gather"})) if (copy := copy_of(op)) is not None}
    groups: dict[Any, list[Product]] = {}
    for op in named(module, frozenset({_DOT})) if copies else []:
        if (product := product_of(op, copies)) is not None:
            groups.setdefault(product.copy.key, []).append(product)
    found = []
    for key, products in groups.items():
        own = {value: copy for value, copy in copies.items() if copy.key == key}
        layer = _layer(products, own, decompositions, counters)
        counters.add("left" if layer.reason else "layers")
        found.append(layer)
    for copy in copies.values():
        if not any(True for _ in copy.op.results[0].uses) and copy.key in groups:
            counters.removed(copy.op, "no copies of weights are used any more")
            copy.op.erase()
    return found


def _layer(
    products: list[Product], copies: dict[Any, Copy], decompositions: Decompositions, counters: Counters
) -> Layer:
    """What became of the products with ``copies`` by the same numbers, ``products`` in their order."""
    copy = products[0].copy
    where, count = _mlir.where_of(copy.op.location), math.prod(copy.slots.values())
    reason = next((p.reason for p in products if p.reason), "") or _apart(products)
    what = f"mixture of experts by copies of weights ({count} slots, {copy.experts} experts)"
    if reason:
        return Layer(where, what, reason)
    chosen = 0
    while products:
        region = _Region(copies, products)
        region.grow()
        taken = products
        if region.is_twisted():
            return Layer(where, what, "a value is used with its slots along different dimensions")
        if len(region.repeats) > 1:
            # What depends on tokens alone is computed for tokens, what depends on more for each slot.
            most = max(region.repeats)
            taken = [p for p in products if region.needs[p.dot.op.results[0]] <= {most}] or products
            if taken != products:
                region = _Region(copies, taken)
                region.grow()
        repeat = min(region.repeats, default=1) if len(region.repeats) < 2 else 1
        chosen = chosen or repeat
        _Rewriting(region, repeat, decompositions, counters).run()
        products = [p for p in products if not any(p is other for other in taken)]
    what = f"mixture of experts by copies of weights ({count // chosen} tokens, {chosen} of {copy.experts} experts)"
    return Layer(where, what)


def _apart(products: list[Product]) -> str:
    block = products[0].dot.op.block
    return "" if all(p.dot.op.block == block for p in products) else "its products stand in several blocks"


# -- what stands between products --------------------------------------------------------------------------------------

_Operands = list[tuple[Any, Roles]]


def _same(op: Any, roles: Roles) -> _Operands | None:
    return [(v, roles if v.type.rank else ()) for v in op.operands]


def _broadcast(op: Any, roles: Roles) -> _Operands | None:
    return [(op.operands[0], through_broadcast(op, roles))]


def _transpose(op: Any, roles: Roles) -> _Operands | None:
    return [(op.operands[0], through_transpose(op, roles))]


def _reshape(op: Any, roles: Roles) -> _Operands | None:
    before = through_reshape(op, roles)
    return None if before is None else [(op.operands[0], before)]


def _slice(op: Any, roles: Roles) -> _Operands | None:
    sizes = zip(roles, shape_of(op.operands[0]), shape_of(op.results[0]), strict=True)
    return None if any(role and before != after for role, before, after in sizes) else [(op.operands[0], roles)]


def _pad(op: Any, roles: Roles) -> _Operands | None:
    edges = zip(roles, *(integers(op, key) for key in ("edge_padding_low", "edge_padding_high", "interior_padding")),
                strict=True)
    is_whole = not any(role and any(padding) for role, *padding in edges)
    return [(op.operands[0], roles), (op.operands[1], ())] if is_whole else None


def _reduce(op: Any, roles: Roles) -> _Operands | None:
    dim = reducing(op, "stablehlo.add")
    return None if dim is None else [(op.operands[0], (*roles[:dim], NONE, *roles[dim:])), (op.operands[1], ())]


# The operands and their roles, from the result's; nothing if slots do not stay dimensions of their own.
_BEFORE: dict[str, Callable[[Any, Roles], _Operands | None]] = {
    "stablehlo.broadcast_in_dim": _broadcast, "stablehlo.transpose": _transpose, "stablehlo.reshape": _reshape,
    "stablehlo.slice": _slice, "stablehlo.pad": _pad, "stablehlo.reduce": _reduce,
    **dict.fromkeys(ELEMENTWISE, _same),
}


@dataclass
class _Region:
    """What is computed from some products to others of the same copies, and the products.

    Attributes:
      copies: The copies by their values.
      products: In the order of the block.
      inside: What each value inside is computed from; in the order of the block.
      roles: Of the values inside and of what they are computed from.
      needs: For each value inside, of how many slots in a row its inputs are the same.
    """

    copies: dict[Any, Copy]
    products: list[Product]
    inside: dict[Any, _Operands] = field(default_factory=dict)
    roles: dict[Any, Roles] = field(default_factory=dict)
    needs: dict[Any, set[int]] = field(default_factory=dict)

    @functools.cached_property
    def slots(self) -> dict[str, int]:
        """The sizes of dimensions of slots."""
        return self.products[0].copy.slots

    @functools.cached_property
    def by_result(self) -> dict[Any, Product]:
        """The products by their values."""
        return {p.dot.op.results[0]: p for p in self.products}

    @property
    def repeats(self) -> set[int]:
        """All of `needs`."""
        return set().union(*self.needs.values())

    def has_slots(self, roles: Roles) -> bool:
        """Whether a value is one for each slot."""
        return set(self.slots) <= set(roles)

    def grow(self) -> None:
        """Finds what is inside: what is computed from a product and leads to one."""
        seen: dict[Any, _Operands] = {}
        pending = [(p.dot.op.results[0], p.roles) for p in self.products]
        while pending:
            value, roles = pending.pop()
            if value in seen or (operands := self._operands(value, roles)) is None:
                continue
            seen[value], self.roles[value] = operands, roles
            pending += operands
        for value in sorted(seen, key=functools.cmp_to_key(_in_order)):
            operands = seen[value]
            if self._is_source(value) or any(v in self.inside for v, _ in operands):
                self.inside[value] = operands
                self.needs[value] = set().union(*(self._needs(value, v, roles) for v, roles in operands))

    def is_twisted(self) -> bool:
        """Whether a value inside is used with its slots along other dimensions than it was found with."""
        every = (pair for operands in self.inside.values() for pair in operands)
        return any(value in self.inside and self.roles[value] != roles for value, roles in every)

    def _is_source(self, value: Any) -> bool:
        return value in self.by_result or value in self.copies

    def _operands(self, value: Any, roles: Roles) -> _Operands | None:
        """What ``value`` is computed from, if it may be inside."""
        if value in self.by_result:
            return [(self.by_result[value].input, self.by_result[value].input_roles)]
        if value in self.copies:
            copy = self.copies[value]
            fits = all(a == b for a, b in zip(roles, copy.roles, strict=True) if b in self.slots)
            return [] if copy.table.type.rank == 2 and fits else None
        op, first = owner(value), self.products[0].dot.op
        if op is None or not self.has_slots(roles) or op.block != first.block or op.is_before_in_block(first):
            return None
        rule = _BEFORE.get(op.name)
        return rule(op, roles) if rule is not None and len(op.results) == 1 else None

    def _needs(self, user: Any, value: Any, roles: Roles) -> set[int]:
        """Of how many slots in a row ``value``, an operand of ``user``, is the same; nothing if it does not matter."""
        if value in self.inside:
            return self.needs[value]
        missing = [role for role in self.slots if role not in roles]
        if user in self.by_result:
            count = math.prod(self.slots[role] for role in missing)
            return {count if missing else copies_per_token(value, roles, self.slots)}
        if missing or splat_of(value) is not None or self.shared(value, roles) is not None:
            return set()
        return {copies_per_token(value, roles, self.slots)}

    def shared(self, value: Any, roles: Roles) -> tuple[Any, Roles] | None:
        """What ``value`` is a copy of for each slot, its dimensions with the numbers of those of ``value`` they are."""
        sizes = shape_of(value)
        numbers = tuple(role or (str(d) if sizes[d] > 1 else NONE) for d, role in enumerate(roles))
        found = behind(value, numbers)
        return None if set(self.slots) & set(found.roles) else (found.value, found.roles)


def _in_order(one: Any, other: Any) -> int:
    a, b = one.owner.operation, other.owner.operation
    return 0 if a == b else -1 if a.is_before_in_block(b) else 1


# -- rewriting ---------------------------------------------------------------------------------------------------------


@dataclass
class _Rewriting:
    """One region on its way to a sparse layer; ``repeat`` slots in a row are one token's.

    What was computed for each slot becomes [T,E,...]: behind the two all other dimensions in their order.
    """

    region: _Region
    repeat: int
    decompositions: Decompositions
    counters: Counters
    new: dict[Any, Any] = field(default_factory=dict)
    dispatched: dict[Any, Any] = field(default_factory=dict)

    def run(self) -> None:
        """Rewrites the region."""
        region = self.region
        count, copy = math.prod(region.slots.values()), region.products[0].copy
        self.chain = Chain(self.decompositions, count // self.repeat, self.repeat, copy.experts)
        make = self._maker(region.products[0].dot.op)
        self.mapping = self.chain.mapping(make)
        # A gather moves numbers beyond the table to its ends.
        kind = copy.numbers.type.element_type
        ends = [make.full((), kind, number) for number in (0, copy.experts - 1)]
        numbers = make.op("clamp", [ends[0], copy.numbers, ends[1]], shape_of(copy.numbers), kind)
        self.indices, self.metadata = self.chain.indices(make, numbers)
        self.mask: Any = None
        exported = {}
        for value in region.inside:
            make = self._maker(owner(value))
            self.new[value] = self._made(make, value, owner(value))
            if value not in region.copies and any(self._is_outside(use.owner.operation) for use in value.uses):
                exported[value] = self._by_slots(make, value)
        # Copies go, or not, when it is known that nothing else uses them.
        ops = {value: owner(value) for value in region.inside if value not in region.copies}
        for value, op in reversed(ops.items()):
            if value in exported:
                value.replace_all_uses_with(exported[value])
            self.counters.removed(op, "turned into a sparse product" if value in region.by_result
                                  else "computed for the experts of each token instead")
            op.erase()
        self.counters.add("products", len(region.products))

    def _is_outside(self, user: Any) -> bool:
        return not len(user.results) or user.results[0] not in self.region.inside

    def _maker(self, op: Any) -> Maker:
        return Maker(_mlir.ir.InsertionPoint(op), op.location)

    def _own(self, roles: Roles) -> list[int]:
        """The dimensions that are not slots."""
        return [d for d, role in enumerate(roles) if role not in self.region.slots]

    def _shape(self, value: Any, roles: Roles) -> tuple[int, ...]:
        """The shape of what becomes of ``value``."""
        sizes = shape_of(value)
        return (self.chain.tokens, self.chain.experts, *(sizes[d] for d in self._own(roles)))

    def _made(self, make: Maker, value: Any, op: Any) -> Any:
        """What becomes of ``value``."""
        region, roles = self.region, self.region.roles[value]
        if value in region.by_result:
            return self._product(make, region.by_result[value], self._shape(value, roles))
        if value in region.copies:
            copy = region.copies[value]
            vector = 2 + self._own(roles).index(copy.roles.index("1"))
            return make.broadcast(copy.table, self._shape(value, roles), (1, vector))
        rule = _MADE.get(op.name, _Rewriting._elementwise)
        return rule(self, make, value, op)

    def _product(self, make: Maker, product: Product, shape: tuple[int, ...]) -> Any:
        matrices = make.transpose(product.copy.table, [0, product.inner, product.columns])
        x, tokens = product.input, self.chain.tokens
        size = shape_of(matrices)[1]
        if x not in self.new and x not in self.dispatched:
            rows = make.reshape(self._rows(make, x, product.input_roles), (tokens, size))
            self.dispatched[x], self.metadata = self.chain.dispatch(make, rows, self.indices, self.mapping)
        if self.mask is None:
            self.mask = make.convert(self.chain.hot(make, self.metadata), x.type.element_type)
        if x in self.new:
            rows = make.reshape(self.new[x], (tokens, self.chain.experts, size))
            return make.reshape(self.chain.second(make, rows, matrices, self.mask), shape)
        return make.reshape(self.chain.first(make, self.dispatched[x], matrices, self.mask), shape)

    def _rows(self, make: Maker, value: Any, roles: Roles) -> Any:
        """[T,...]: ``value``, which is the same for all slots of a token, or has none."""
        slots, own = [role for role in self.region.slots if role in roles], self._own(roles)
        sizes = [shape_of(value)[d] for d in own]
        rows = make.transpose(value, [*(roles.index(role) for role in slots), *own])
        if len(slots) == len(self.region.slots) and self.repeat > 1:
            apart = make.reshape(rows, (self.chain.tokens, self.repeat, *sizes))
            rows = make.first(apart, 1)
        return make.reshape(rows, (self.chain.tokens, *sizes))

    def _operand(self, make: Maker, value: Any, roles: Roles) -> Any:
        """What becomes of an operand with the roles of a value inside."""
        if value in self.new:
            return self.new[value]
        shape, own = self._shape(value, roles), self._own(roles)
        if (splat := splat_of(value)) is not None:
            return make.splat(shape, value.type.element_type, splat)
        shared = self.region.shared(value, roles)
        if shared is None:
            rows = self._rows(make, value, roles)
            return make.broadcast(rows, shape, (0, *range(2, len(shape))))
        kept = [d for d, role in enumerate(shared[1]) if role]
        numbers = [own.index(int(shared[1][d])) for d in kept]
        small = make.reshape(shared[0], [shape_of(shared[0])[d] for d in kept])
        ordered = make.transpose(small, sorted(range(len(kept)), key=lambda i: numbers[i]))
        return make.broadcast(ordered, shape, [2 + n for n in sorted(numbers)])

    def _elementwise(self, make: Maker, value: Any, op: Any) -> Any:
        operands = [self._operand(make, v, roles) if v.type.rank else v for v, roles in self.region.inside[value]]
        kept = {key: op.attributes[key] for key in op.attributes if key != "sdy.sharding"}
        shape = self._shape(value, self.region.roles[value])
        return make.op(op.name.removeprefix("stablehlo."), operands, shape, value.type.element_type, **kept)

    def _moved(self, value: Any) -> tuple[Any, list[int], list[int]]:
        """What became of the first operand of ``value``, and the dimensions that are not slots, before and after."""
        (operand, roles), *_ = self.region.inside[value]
        return self.new[operand], self._own(roles), self._own(self.region.roles[value])

    def _broadcast(self, make: Maker, value: Any, op: Any) -> Any:
        x, before, after = self._moved(value)
        dims = integers(op, "broadcast_dimensions")
        shape = self._shape(value, self.region.roles[value])
        return make.broadcast(x, shape, [0, 1, *(2 + after.index(dims[d]) for d in before)])

    def _transpose(self, make: Maker, value: Any, op: Any) -> Any:
        x, before, after = self._moved(value)
        order = integers(op, "permutation")
        return make.transpose(x, [0, 1, *(2 + before.index(order[d]) for d in after)])

    def _reshape(self, make: Maker, value: Any, op: Any) -> Any:
        return make.reshape(self._moved(value)[0], self._shape(value, self.region.roles[value]))

    def _slice(self, make: Maker, value: Any, op: Any) -> Any:
        x, own, _ = self._moved(value)
        whole = {"start_indices": (0, 0), "limit_indices": shape_of(x)[:2], "strides": (1, 1)}
        numbers = {key: make.ints([*two, *(integers(op, key)[d] for d in own)]) for key, two in whole.items()}
        return make.op("slice", [x], self._shape(value, self.region.roles[value]), value.type.element_type, **numbers)

    def _pad(self, make: Maker, value: Any, op: Any) -> Any:
        x, own, _ = self._moved(value)
        keys = ("edge_padding_low", "edge_padding_high", "interior_padding")
        numbers = {key: make.ints([0, 0, *(integers(op, key)[d] for d in own)]) for key in keys}
        shape = self._shape(value, self.region.roles[value])
        return make.op("pad", [x, op.operands[1]], shape, value.type.element_type, **numbers)

    def _reduce(self, make: Maker, value: Any, op: Any) -> Any:
        x, before, _ = self._moved(value)
        return make.reduce("add", x, 2 + before.index(integers(op, "dimensions")[0]))

    def _by_slots(self, make: Maker, value: Any) -> Any:
        """``value`` as it was, from the slots that a combine returns."""
        roles, tokens, experts = self.region.roles[value], self.chain.tokens, self.chain.experts
        x, own, slots = self.new[value], self._own(roles), self.region.slots
        sizes = [shape_of(value)[d] for d in own]
        size = math.prod(sizes)
        y = make.transpose(make.reshape(x, (tokens, experts, size)), (1, 0, 2))
        found = make.transpose(self.chain.combine(make, y, self.metadata, self.mapping), (1, 0, 2))
        apart = make.reshape(found, (*slots.values(), *sizes))
        order = [*slots, *own]
        return make.transpose(apart, [order.index(role if role in slots else d) for d, role in enumerate(roles)])


_MADE: dict[str, Callable[[_Rewriting, Maker, Any, Any], Any]] = {
    "stablehlo.broadcast_in_dim": _Rewriting._broadcast, "stablehlo.transpose": _Rewriting._transpose,
    "stablehlo.reshape": _Rewriting._reshape, "stablehlo.slice": _Rewriting._slice, "stablehlo.pad": _Rewriting._pad,
    "stablehlo.reduce": _Rewriting._reduce,
}
