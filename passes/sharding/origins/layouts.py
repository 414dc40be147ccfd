"""How the tensors of a propagated module lie, and how they were given to lie."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from passes import _mlir
from passes.program.entry import value_attributes
from passes.program.read import Program
from passes.sharding.flow import Output, Tensor
from passes.sharding.mesh import Axis, Mesh, axes_from_attr, meshes
from passes.sharding.origins.marks import ALONE, GIVEN
from passes.sharding.signature import SHARDING

# For each dimension of a tensor the axes it is split over and their priority.
Dims = list[tuple[tuple[Axis, ...], int]]


@dataclass
class Layouts:
    """Reads shardings off a module that was propagated with notes, and keeps what it decoded."""

    program: Program
    _signatures: dict[tuple[Any, str], list[dict[str, Any]]] = field(default_factory=dict)
    _decoded: dict[Any, Dims] = field(default_factory=dict)

    @cached_property
    def meshes(self) -> dict[str, Mesh]:
        """The module's meshes by name."""
        return meshes(self.program.module)

    def sharding(self, tensor: Tensor, *, given: bool = False) -> Any:
        """The ``#sdy.sharding`` of ``tensor``, before propagation if ``given``; ``None`` if it has none."""
        if isinstance(tensor, Output):
            return self.signature(tensor.function, "res_attrs")[tensor.index].get(GIVEN if given else SHARDING)
        owner = tensor.owner
        if isinstance(owner, _mlir.ir.Block):
            parent = owner.owner.operation
            if parent.name != "func.func":
                return None
            return self.signature(parent, "arg_attrs")[tensor.arg_number].get(GIVEN if given else SHARDING)
        attributes = owner.operation.attributes
        key = GIVEN if given else "sharding" if owner.name in ALONE else SHARDING
        if key not in attributes:
            return None
        found = attributes[key]
        if _mlir.sdy.TensorShardingAttr.isinstance(found):
            return found
        per_value = _mlir.sdy.TensorShardingPerValueAttr(found).shardings
        return per_value[tensor.result_number]

    def dims(self, tensor: Tensor, *, given: bool = False) -> Dims:
        """For each dimension of ``tensor`` the axes it is split over and their priority; empty without a sharding."""
        attribute = self.sharding(tensor, given=given)
        if attribute is None:
            return []
        if attribute not in self._decoded:
            self._decoded[attribute] = self._decode(attribute)
        found = self._decoded[attribute]
        manual_axes = self._manual(tensor, attribute)
        if manual_axes is None:
            return found
        return [
            ((*manual, *(axis for axis in axes if axis not in manual)), priority)
            for (axes, priority), manual in zip(found, manual_axes, strict=True)
        ]

    def _decode(self, attribute: Any) -> Dims:
        sdy, mesh = _mlir.sdy, self.mesh_of(attribute)
        dimensions = [sdy.DimensionShardingAttr(d) for d in sdy.TensorShardingAttr(attribute).dimension_shardings]
        return [(axes_from_attr(d, mesh), d.priority or 0) for d in dimensions]

    def _manual(self, tensor: Tensor, attribute: Any) -> list[tuple[Axis, ...]] | None:
        """The manual axes on each dimension of an argument of a manual computation; ``None`` for any other tensor.

        Its edge has the other axes only, for that is what is left inside; what flows in has both.
        """
        if isinstance(tensor, Output) or isinstance(tensor.owner, _mlir.ir.Block):
            return None
        edge = tensor.owner.operation
        if edge.name != "sdy.data_flow_edge" or not isinstance(edge.operands[0].owner, _mlir.ir.Block):
            return None
        body = edge.operands[0].owner.owner.operation
        if body.name != "sdy.manual_computation":
            return None
        mesh = self.mesh_of(attribute)
        sdy = _mlir.sdy
        given = sdy.TensorShardingPerValueAttr(body.attributes["in_shardings"]).shardings[edge.operands[0].arg_number]
        manual = set(sdy.ManualAxesAttr(body.attributes["manual_axes"]))
        dimensions = sdy.TensorShardingAttr(given).dimension_shardings
        return [tuple(a for a in axes_from_attr(d, mesh) if a.name in manual) for d in dimensions]

    def mesh_of(self, attribute: Any) -> Mesh:
        """The mesh of a ``#sdy.sharding``."""
        return self.meshes[_mlir.ir.FlatSymbolRefAttr(_mlir.sdy.TensorShardingAttr(attribute).mesh_or_ref).value]

    def is_closed(self, tensor: Tensor, dim: int) -> bool:
        """Whether dimension ``dim`` was given closed, so that nothing may be added to it."""
        attribute = self.sharding(tensor, given=True)
        if attribute is None:
            return False
        dimensions = _mlir.sdy.TensorShardingAttr(attribute).dimension_shardings
        return dim < len(dimensions) and bool(_mlir.sdy.DimensionShardingAttr(dimensions[dim]).is_closed)

    def signature(self, function: Any, key: str) -> list[dict[str, Any]]:
        """The attributes of a function's arguments (``arg_attrs``) or results (``res_attrs``)."""
        if (function, key) not in self._signatures:
            block = function.regions[0].blocks[0]
            count = len(block.arguments)
            if key == "res_attrs":
                type = _mlir.ir.FunctionType(_mlir.ir.TypeAttr(function.attributes["function_type"]).value)
                count = len(type.results)
            self._signatures[function, key] = value_attributes(function, key, count)
        return self._signatures[function, key]
