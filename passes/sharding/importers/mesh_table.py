"""The meshes of a module, and those that foreign spellings add to them."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from passes import _mlir
from passes.program.entry import symbol_name
from passes.sharding.importers.hlo_sharding import Tiled
from passes.sharding.importers.tile_assignment import axes_on, recover
from passes.sharding.mesh import Dims, Mesh, mesh_from_attr, mesh_to_attr

_NAME = "mesh"
_ON_DEVICE = "maximal_mesh_{}"
_EMPTY = "empty_mesh"
# The axis of a mesh that stands for nothing but a number of devices.
_ONLY_AXIS = "_axis_0"


class MeshTable:
    """Mesh name -> mesh, in the order of the module.

    Attributes:
      named: All of them.
      added: How many were added.
    """

    def __init__(self, module: Any) -> None:
        block = module.regions[0].blocks[0]
        top = [view.operation for view in block]
        self.named = {symbol_name(op): mesh_from_attr(op.attributes["mesh"]) for op in top if op.name == "sdy.mesh"}
        self.added = 0
        self._taken = {symbol_name(op) for op in top if "sym_name" in op.attributes}
        self._place = _mlir.ir.InsertionPoint.at_block_begin(block)
        self._devices = _partitions(module)
        self._expressed: dict[Tiled, tuple[str, Dims] | None] = {}

    def name_of(self, mesh: Mesh, wanted: Iterable[str] | None = None) -> str:
        """The name of ``mesh``, which the module gets if it has no equal one; ``wanted`` are names to try first."""
        for name, known in self.named.items():
            if known == mesh:
                return name
        name = next(n for n in itertools.chain(wanted or (), _fresh(_NAME)) if n not in self._taken)
        self.define(name, mesh)
        return name

    def define(self, name: str, mesh: Mesh) -> None:
        """Adds ``mesh`` to the module as ``@name``, which must be free."""
        ir, context = _mlir.ir, _mlir.context()
        ir.Operation.create(
            "sdy.mesh",
            attributes={"sym_name": ir.StringAttr.get(name, context), "mesh": mesh_to_attr(mesh)},
            loc=ir.Location.unknown(context),
            ip=self._place,
        )
        self.named[name] = mesh
        self.added += 1
        self._taken.add(name)

    def is_taken(self, name: str) -> bool:
        """Whether a symbol of the module has that name."""
        return name in self._taken

    def express(self, assignments: Iterable[Tiled]) -> None:
        """Finds for each tile assignment a mesh and the axes on it; meshes are recovered for those that need one."""
        left = []
        for tiles in dict.fromkeys(assignments):
            if self._express(tiles) is None:
                left.append(tiles)
        for mesh in recover(left):
            self.name_of(mesh)
        for tiles in left:
            self._express(tiles)

    def _express(self, tiles: Tiled) -> tuple[str, Dims] | None:
        for name, mesh in self.named.items():
            dims = axes_on(mesh, tiles)
            if dims is not None:
                self._expressed[tiles] = name, dims
                return name, dims
        return None

    def expressed(self, tiles: Tiled) -> tuple[str, Dims]:
        """The mesh and the axes of each dimension of an assignment that `express` was given."""
        found = self._expressed[tiles]
        assert found is not None
        return found

    def default(self) -> str:
        """The mesh for tensors of which is said that they are whole: the first of the most devices there is."""
        largest = max(self.named.values(), key=lambda mesh: mesh.device_count if mesh.axes else 0, default=None)
        if largest is not None and largest.device_count > 1:
            return self.name_of(largest)
        if self._devices > 1:
            return self.name_of(Mesh(((_ONLY_AXIS, self._devices),)))
        return self.name_of(Mesh(()), _fresh(_EMPTY))

    def on_device(self, device: int) -> str:
        """The mesh of ``device`` alone."""
        return self.name_of(Mesh((), (device,)), _fresh(_ON_DEVICE.format(device)))


def normal(mesh: Mesh) -> Mesh:
    """``mesh`` without device ids that say what is so without them."""
    return replace(mesh, device_ids=()) if mesh.axes and mesh.devices == tuple(range(mesh.device_count)) else mesh


def _fresh(name: str) -> Iterator[str]:
    yield name
    for number in itertools.count():
        yield f"{name}_{number}"


def _partitions(module: Any) -> int:
    attributes = module.attributes
    key = "mhlo.num_partitions"
    return int(_mlir.ir.IntegerAttr(attributes[key]).value) if key in attributes else 1
