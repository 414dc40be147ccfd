"""Rewrites a dense layer that was found: its products become sparse ones, its sum over experts a combine."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

from passes import _mlir
from passes.moe.chain import Chain
from passes.moe.composites import Decompositions
from passes.moe.cone import Cone
from passes.moe.dense import Dense
from passes.moe.maker import Maker
from passes.moe.products import Product
from passes.moe.roles import NONE, Roles, owner
from passes.moe.unselected import Exit, Unselected
from passes.pipeline.base import Counters
from passes.program.types import shape_of


@dataclass(frozen=True)
class Rewriting:
    """One dense layer on its way to a sparse one; ``pending`` are ops, by their results, that may go on the way."""

    dense: Dense
    decompositions: Decompositions
    counters: Counters
    pending: dict[Any, Any]

    def run(self) -> str:
        """Rewrites the layer, or says why not."""
        dense = self.dense
        cone = Cone(dense.spread.tokens)
        if sorted(dense.roles) != sorted((NONE, "e", *cone.tokens)):
            return "its experts do not compute one vector for each token"
        reason = cone.grow(dense.summands, dense.roles)
        if reason:
            return reason
        readers = Unselected(dense.anchor, cone.tokens, {p.dot.op.results[0]: p for p in cone.products})
        reason = self._too_late(cone.products) or readers.follow(dense.spread.hot, dense.spread.hot_roles)
        if not reason:
            self._rewrite(readers)
        return reason

    def _too_late(self, products: list[Product]) -> str:
        """Every product stands behind the indices in one block, so that these can be its mask."""
        block, indices = self.dense.anchor.block, owner(self.dense.spread.indices)
        for product in products:
            op = product.dot.op
            if op.block != block:
                return "a product stands in another block than the sum over experts"
            if indices is not None and (indices.block != block or not indices.is_before_in_block(op)):
                return "a product stands before it is known which experts are selected"
        return ""

    @functools.cached_property
    def chain(self) -> Chain:
        """Makes the ops of this layer."""
        return Chain(self.decompositions, self.dense.tokens, self.dense.chosen, self.dense.experts)

    def _rewrite(self, readers: Unselected) -> None:
        """Replaces the products by sparse ones, the dispatch and the mask before the first."""
        chain = self.chain
        products = sorted([*readers.products.values(), *readers.summed], key=functools.cmp_to_key(_in_order))
        make = self._maker(products[0].dot.op)
        mapping = chain.mapping(make)
        indices, metadata = chain.indices(make, self.dense.spread.indices)
        dispatched: dict[Any, Any] = {}
        selected = mask = None
        for product in products:
            op = product.dot.op
            make, key = self._maker(op), (product.input, product.input_roles)
            if product.is_first and key not in dispatched:
                rows = self._rows(make, product, ())
                dispatched[key], metadata = chain.dispatch(make, rows, indices, mapping)
            if selected is None:
                selected = chain.hot(make, metadata)
                mask = make.convert(selected, product.input.type.element_type)
            made = self._product(make, product, dispatched.get(key), selected, mask)
            op.results[0].replace_all_uses_with(made)
            self.counters.add("products")
            self.counters.removed(op, "turned into a sparse product")
            self.pending.pop(op.results[0], None)
            op.erase()
        self._close(readers.exits, selected)
        self._combine(metadata, mapping)

    def _maker(self, op: Any) -> Maker:
        return Maker(_mlir.ir.InsertionPoint(op), op.location)

    def _rows(self, make: Maker, product: Product, between: tuple[int, ...]) -> Any:
        """The input with tokens first, made one dimension, then experts if it has any, then what is contracted."""
        roles = product.input_roles
        own = [roles.index(role) for role in (*self.dense.spread.tokens, *("e" for _ in between))]
        (inner,) = set(range(len(roles))) - set(own)
        rows = make.transpose(product.input, [*own, inner])
        return make.reshape(rows, (self.dense.tokens, *between, shape_of(rows)[-1]))

    def _product(self, make: Maker, product: Product, dispatched: Any, selected: Any, mask: Any) -> Any:
        """What stands for ``product``, in its shape: a sparse one of ``dispatched`` tokens, or of experts' inputs."""
        experts, tokens = self.dense.experts, self.dense.spread.tokens
        weights = product.dot.op.operands[1 - product.side]
        matrices = make.transpose(weights, [product.expert, product.inner, product.columns])
        if product.is_first:
            found = self.chain.first(make, dispatched, matrices, mask)
        else:
            found = self.chain.second(make, self._rows(make, product, (experts,)), matrices, mask)
        order: Roles = (*tokens, "e", NONE)
        if product.is_summed:
            found = make.reduce("add", self._zeroed(make, found, ("t", "e", NONE), selected), 1)
            order = (*tokens, NONE)
        between = () if product.is_summed else (experts,)
        apart = make.reshape(found, (*self.dense.token_sizes, *between, shape_of(found)[-1]))
        return make.transpose(apart, [order.index(role) for role in product.roles])

    def _zeroed(self, make: Maker, value: Any, roles: Roles, selected: Any) -> Any:
        """``value`` where ``selected``, whose dimensions are the roles of tokens and experts; else zero."""
        names = [role for role in roles if role and role != "e"]
        apart = make.reshape(selected, (*(shape_of(value)[roles.index(r)] for r in sorted(names)), self.dense.experts))
        kept = [role for role in roles if role]
        ordered = make.transpose(apart, [(*sorted(names), "e").index(role) for role in kept])
        where = make.broadcast(ordered, shape_of(value), [d for d, role in enumerate(roles) if role])
        zero = make.full(shape_of(value), value.type.element_type, 0)
        return make.op("select", [where, value, zero], shape_of(value), value.type.element_type)

    def _close(self, exits: list[Exit], selected: Any) -> None:
        """Makes zero what goes out."""
        made: dict[Any, Any] = {}
        for found in exits:
            value = found.user.operands[found.number]
            if value not in made:
                point = _mlir.ir.InsertionPoint.after(value.owner.operation)
                make = Maker(point, value.owner.operation.location)
                made[value] = self._zeroed(make, value, found.roles, selected)
                self.counters.add("closed")
            found.user.operands[found.number] = made[value]

    def _combine(self, metadata: Any, mapping: Any) -> None:
        """Replaces the sum over experts by one over the slots of each token."""
        dense = self.dense
        make, roles = self._maker(dense.anchor), dense.roles
        names = dense.spread.tokens
        y = make.transpose(dense.summands, [roles.index(role) for role in ("e", *names, NONE)])
        size, chosen, tokens = shape_of(y)[-1], dense.chosen, dense.tokens
        slots = self.chain.combine(make, make.reshape(y, (dense.experts, tokens, size)), metadata, mapping)
        weights = make.reshape(make.convert(dense.spread.weights, y.type.element_type), (tokens, chosen))
        weights = make.transpose(weights, [1, 0])
        total = make.reduce("add", make.binary("multiply", slots, make.broadcast(weights, shape_of(slots), (0, 1))), 0)
        apart = make.reshape(total, (*dense.token_sizes, size))
        order = [(*names, NONE).index(roles[d]) for d in dense.kept]
        dense.anchor.results[0].replace_all_uses_with(make.transpose(apart, order))
        self.counters.removed(dense.anchor, "turned into a sum over the selected experts")
        dense.anchor.erase()


def _in_order(one: Product, other: Product) -> int:
    return -1 if one.dot.op.is_before_in_block(other.dot.op) else 1
