"""What a rules file says about one tensor, as an ``sdy.sharding``."""

from __future__ import annotations

import functools
from typing import Any

from passes import _mlir
from passes.sharding.divisibility import explain_indivisible, shape_text
from passes.sharding.mesh import Mesh, Sharding
from passes.sharding.rules import DimRule, Layout


@functools.lru_cache(maxsize=4096)
def sharding(layout: Layout, mesh: Mesh, rank: int) -> Sharding:
    """Where a tensor of ``rank`` dimensions lies."""
    return Sharding(mesh, tuple(tuple(mesh.axis(a) for a in dim.axes) for dim in _dims(layout, rank)))


def misfit(layout: Layout, mesh: Mesh, type: Any, indivisible: bool = False) -> str | None:
    """Why a tensor of ``type`` cannot lie as ``layout`` says, to go behind its name; ``None`` if it can.

    ``indivisible`` allows dimensions that their axes do not divide.
    """
    if not isinstance(type, _mlir.ir.RankedTensorType):
        return "is no tensor with a known rank; it cannot be sharded"
    if len(layout.dims) > type.rank or (len(layout.dims) < type.rank and not layout.may_be_short):
        rank = f"{type.rank} dimension{'' if type.rank == 1 else 's'}"
        return f"has shape {shape_text(type)}, that is {rank}, but dims has {len(layout.dims)}"
    return None if indivisible else explain_indivisible(type, sharding(layout, mesh, type.rank))


def to_attr(layout: Layout, mesh: Mesh, mesh_name: str, rank: int) -> Any:
    """``#sdy.sharding<@mesh_name, ...>`` of a tensor of ``rank`` dimensions."""
    sdy, context = _mlir.sdy, _mlir.context()
    dims = [
        sdy.DimensionShardingAttr.get(_axes(dim.axes), not dim.is_open, dim.priority, context=context)
        for dim in _dims(layout, rank)
    ]
    # Shardy wants these in the order of the mesh.
    replicated, unreduced = (_axes(a for a in mesh.sizes if a in of) for of in (layout.replicated, layout.unreduced))
    return sdy.TensorShardingAttr.get(mesh_name, dims, replicated, unreduced, context=context)


def _dims(layout: Layout, rank: int) -> tuple[DimRule, ...]:
    return (*layout.dims, *[DimRule()] * (rank - len(layout.dims)))


def _axes(axes: Any) -> list[Any]:
    return [_mlir.sdy.AxisRefAttr.get(axis, context=_mlir.context()) for axis in axes]
