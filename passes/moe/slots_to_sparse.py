"""Rewrites a region of slots that was found: its values are computed for the experts of each token instead."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from passes import _mlir
from passes.moe.chain import Chain
from passes.moe.composites import Decompositions
from passes.moe.copies import Product
from passes.moe.maker import Maker
from passes.moe.roles import Roles, owner, splat_of
from passes.moe.slot_region import Region
from passes.pipeline.base import Counters
from passes.program.attributes import integers
from passes.program.types import shape_of


@dataclass
class Rewriting:
    """One region on its way to a sparse layer; ``repeat`` slots in a row are one token's.

    What was computed for each slot becomes [T,E,...]: behind the two all other dimensions in their order.
    """

    region: Region
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
        rule = _MADE.get(op.name, Rewriting._elementwise)
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


_MADE: dict[str, Callable[[Rewriting, Maker, Any, Any], Any]] = {
    "stablehlo.broadcast_in_dim": Rewriting._broadcast, "stablehlo.transpose": Rewriting._transpose,
    "stablehlo.reshape": Rewriting._reshape, "stablehlo.slice": Rewriting._slice, "stablehlo.pad": Rewriting._pad,
    "stablehlo.reduce": Rewriting._reduce,
}
