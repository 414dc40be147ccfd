"""Which values of a program the user has given a sharding: these are kept, and the rest is chosen around them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from passes import _mlir
from passes.cost.graph import Body, Graph
from passes.errors import UserError
from passes.program import entry
from passes.program.read import Program
from passes.sharding.mesh import Mesh, axes_from_attr, meshes
from passes.sharding.signature import SHARDING

_CONSTRAINT = "sdy.sharding_constraint"


@dataclass(frozen=True)
class Given:
    """What is given about one value.

    Attributes:
      axes: For each dimension the axes that split it, by their positions in the mesh.
      open: For each dimension whether more may.
    """

    axes: tuple[tuple[int, ...], ...]
    open: tuple[bool, ...]

    @property
    def closed(self) -> bool:
        """Whether nothing is left to choose."""
        return not any(self.open)


def the_mesh(program: Program, wanted: Mesh | None) -> Mesh:
    """The mesh to choose for: ``wanted``, or the one with axes that ``program`` has.

    Raises:
      UserError: there is none, there are several, or the two differ.
    """
    # Those without axes, which JAX writes beside the real one, say nothing but "replicated" or "on one device".
    own = {mesh for mesh in meshes(program.module).values() if mesh.axes}
    if len(own) > 1:
        raise program.error("the program has several meshes; autoshard needs one")
    if wanted is None and not own:
        raise UserError("the program has no mesh: give it one with --mesh data=2,model=4")
    if wanted is not None and own and own != {wanted}:
        [mesh] = own
        raise program.error(f"the program is annotated for the mesh {mesh_text(mesh)}, not for {mesh_text(wanted)}")
    return wanted if wanted is not None else own.pop()


def mesh_text(mesh: Mesh) -> str:
    """A mesh as ``--mesh`` takes it."""
    return ",".join(f"{name}={size}" for name, size in mesh.axes)


def given(graph: Graph, function: Any, mesh: Mesh) -> dict[int, Given]:
    """Value -> what is given about it, of arguments and results of ``function`` and of constraints.

    Raises:
      UserError: a sharding splits over a part of an axis.
    """
    found: dict[int, Given] = {}
    for numbers, values in (
        (graph.entry.arguments, entry.arguments(function)), (graph.entry.returned, entry.results(function)),
    ):
        for number, value in zip(numbers, values, strict=True):
            if SHARDING in value.attributes:
                found.setdefault(number, _read(graph.program, value.attributes[SHARDING], mesh, f"'{value.name}'"))
    _read_constraints(graph, graph.entry, mesh, found)
    return found


def _read_constraints(graph: Graph, body: Body, mesh: Mesh, found: dict[int, Given]) -> None:
    for node in body.nodes:
        for inner in node.bodies:
            _read_constraints(graph, inner, mesh, found)
        if node.name == _CONSTRAINT:
            found[node.results[0]] = _read(graph.program, node.op.attributes["sharding"], mesh, "a constraint")


def _read(program: Program, attribute: Any, mesh: Mesh, title: str) -> Given:
    position = {name: i for i, (name, _) in enumerate(mesh.axes)}
    axes, is_open = [], []
    for dimension in _mlir.sdy.TensorShardingAttr(attribute).dimension_shardings:
        split = axes_from_attr(dimension, mesh)
        if any(axis != mesh.axis(axis.name) for axis in split):
            raise program.error(f"{title} is split over a part of an axis, around which autoshard cannot choose")
        axes.append(tuple(position[axis.name] for axis in split))
        is_open.append(not _mlir.sdy.DimensionShardingAttr(dimension).is_closed)
    return Given(tuple(axes), tuple(is_open))
