"""The ops of one sparse layer as they are put into a program: dispatch, mask, products, combine.

For T tokens that choose K of E experts each; what experts compute is [T,E,N] here, whatever shape an op wants.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from passes.errors import Where
from passes.moe.composites import Decompositions, create
from passes.moe.maker import Maker
from passes.moe.ops import (
    COMBINE,
    DISPATCH,
    SPARSE_MATMUL,
    Call,
    Op,
    Type,
    combined_shape,
    dispatched_shape,
    product_shape,
)
from passes.program.types import shape_of


@dataclass(frozen=True)
class Layer:
    """A layer that was found: where its sum over experts (or the copy of its weights) stands, and why it was left."""

    where: Where | None
    what: str
    reason: str = ""

    def __str__(self) -> str:
        fate = f"left: {self.reason}" if self.reason else "made sparse"
        return f"{self.where or 'note'}: {self.what} {fate}"


@dataclass(frozen=True)
class Chain:
    """Makes the ops of a layer of ``tokens`` tokens, ``chosen`` of ``experts`` experts for each."""

    decompositions: Decompositions
    tokens: int
    chosen: int
    experts: int

    def mapping(self, make: Maker) -> Any:
        """One device that has all experts."""
        return make.full((1, 1, self.experts, 1), "i32", 1)

    def indices(self, make: Maker, numbers: Any) -> tuple[Any, Any]:
        """``numbers`` of experts as a dispatch takes them [T,1,1,K], and as what it would return [1,T,1,K]."""
        given = make.reshape(make.convert(numbers, "i32"), (self.tokens, 1, 1, self.chosen))
        return given, make.reshape(given, (1, self.tokens, 1, self.chosen))

    def dispatch(self, make: Maker, rows: Any, indices: Any, mapping: Any) -> tuple[Any, Any]:
        """``rows`` [T,H] as a first product takes them, [1,T,1,H], and the numbers of their experts, [1,T,1,K]."""
        x = make.reshape(rows, (self.tokens, 1, 1, shape_of(rows)[-1]))
        shapes = [dispatched_shape(tuple(shape_of(v)), 1, shape_of(v)[3]) for v in (x, indices)]
        found = self._composite(make, DISPATCH, [x, indices, mapping], shapes, {"num_devices": 1, "cluster_axis": 0})
        return found[0], found[1]

    def hot(self, make: Maker, metadata: Any) -> Any:
        """[T,E]: whether a token selected an expert."""
        grid = (self.tokens, self.chosen, self.experts)
        numbers = make.broadcast(make.reshape(metadata, (self.tokens, self.chosen)), grid, (0, 1))
        return make.reduce("or", make.equal(numbers, make.iota(grid, 2)), 1)

    def first(self, make: Maker, dispatched: Any, matrices: Any, mask: Any) -> Any:
        """[T,E,N]: the tokens times ``matrices`` [E,K,N] of the experts that they selected."""
        masks = make.reshape(mask, (1, self.tokens, 1, self.experts))
        return self._product(make, dispatched, matrices, masks, is_second=False)

    def second(self, make: Maker, rows: Any, matrices: Any, mask: Any) -> Any:
        """[T,E,N]: ``rows`` [T,E,K] of each expert times its matrix of ``matrices`` [E,K,N]."""
        a = make.reshape(rows, (self.tokens, self.experts, 1, shape_of(rows)[-1]))
        masks = make.reshape(mask, (1, 1, self.tokens, self.experts))
        return self._product(make, a, matrices, masks, is_second=True)

    def _product(self, make: Maker, a: Any, matrices: Any, masks: Any, *, is_second: bool) -> Any:
        b = make.reshape(matrices, (1, *shape_of(matrices)))
        shape = product_shape(tuple(shape_of(a)), tuple(shape_of(b)), is_second)
        attributes = {"is_input_a_sparse": is_second, "is_input_b_sparse": not is_second, "nnz": 0}
        (found,) = self._composite(make, SPARSE_MATMUL, [a, b, masks], [shape], attributes)
        return make.reshape(found, (self.tokens, self.experts, shape[-1]))

    def combine(self, make: Maker, y: Any, metadata: Any, mapping: Any) -> Any:
        """[K,T,N]: what the selected experts computed, of ``y`` [E,T,N]."""
        size = shape_of(y)[-1]
        y = make.reshape(y, (self.experts, self.tokens, 1, size))
        attributes = {"num_devices": 1, "cluster_axis": 0, "num_experts_per_tok": self.chosen, "output_shard_dim": 1}
        shape = combined_shape(tuple(shape_of(y)), self.chosen, 1, 1)
        (combined,) = self._composite(make, COMBINE, [y, metadata, mapping], [shape], attributes)
        return make.reshape(combined, (self.chosen, self.tokens, size))

    def _composite(
        self, make: Maker, op: Op, operands: list[Any], shapes: list[tuple[int, ...]], attributes: dict[str, int | bool]
    ) -> list[Any]:
        types = [Type(tuple(shape_of(v)), str(v.type.element_type)) for v in operands]
        # Results hold what the operands at their places do.
        results = [Type(shape, types[i].element) for i, shape in enumerate(shapes)]
        call = Call(op, attributes, tuple(types), tuple(results))
        return list(create(call, operands, self.decompositions, make.point, make.location).results)
