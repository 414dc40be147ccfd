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

import math
from typing import Any

from passes import _mlir
from passes.moe.chain import Layer
from passes.moe.composites import Decompositions
from passes.moe.copies import Copy, Product, copy_of, product_of
from passes.moe.slot_region import Region
from passes.moe.slots_to_sparse import Rewriting
from passes.pipeline.base import Counters
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
        region = Region(copies, products)
        region.grow()
        taken = products
        if region.is_twisted():
            return Layer(where, what, "a value is used with its slots along different dimensions")
        if len(region.repeats) > 1:
            # What depends on tokens alone is computed for tokens, what depends on more for each slot.
            most = max(region.repeats)
            taken = [p for p in products if region.needs[p.dot.op.results[0]] <= {most}] or products
            if taken != products:
                region = Region(copies, taken)
                region.grow()
        repeat = min(region.repeats, default=1) if len(region.repeats) < 2 else 1
        chosen = chosen or repeat
        Rewriting(region, repeat, decompositions, counters).run()
        products = [p for p in products if not any(p is other for other in taken)]
    what = f"mixture of experts by copies of weights ({count // chosen} tokens, {chosen} of {copy.experts} experts)"
    return Layer(where, what)


def _apart(products: list[Product]) -> str:
    block = products[0].dot.op.block
    return "" if all(p.dot.op.block == block for p in products) else "its products stand in several blocks"
