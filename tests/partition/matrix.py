"""The partition matrix: every program, each dimension of each argument and result split, on every mesh.

A cell states one sharding, of one dimension, and leaves the rest to propagation: the first axis, the last one, or all
of them on that dimension, whether it divides or not: what does not is padded, as `--pad-arguments` has it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from passes import _mlir
from passes.execute.report import Report as Verified
from passes.partition.pad_dimensions import Padding
from passes.partition.partition import partition
from passes.partition.report import Report
from passes.program import read
from passes.program.entry import Value, arguments, find_entry, results
from passes.program.read import Program
from passes.sharding.mesh import Axis, Mesh, Sharding, sharding_to_attr
from tests.partition.random_shardings import add_mesh
from tests.partition.variant_programs import ALL_PROGRAMS

MESHES: dict[str, Mesh] = {
    "2": Mesh((("x", 2),)),
    "2x2": Mesh((("x", 2), ("y", 2))),
    "2x4": Mesh((("x", 2), ("y", 4))),
    "3x2": Mesh((("x", 3), ("y", 2))),
    "2x2x2": Mesh((("x", 2), ("y", 2), ("z", 2))),
}


@dataclass(frozen=True)
class Cell:
    """One cell; ``side`` is ``argument`` or ``result``, ``axes`` are those that dimension ``dim`` of value ``index``
    is to be split over."""

    program: str
    side: str
    index: int
    dim: int
    size: int
    mesh: str
    axes: tuple[str, ...]

    @property
    def name(self) -> str:
        return f"{self.program}/{self.side} {self.index} dim {self.dim}/{self.mesh} over {','.join(self.axes)}"

    @property
    def divides(self) -> bool:
        """Whether the axes divide the dimension."""
        return self.size % _count(MESHES[self.mesh], self.axes) == 0


def cells(program: str) -> Iterator[Cell]:
    """All cells of a program."""
    parsed = read.parse(ALL_PROGRAMS[program], program)
    function = find_entry(parsed)
    values = {
        side: [(v.index, tuple(v.type.shape)) for v in listed(function)]
        for side, listed in (("argument", arguments), ("result", results))
    }
    for mesh_name, mesh in MESHES.items():
        names = tuple(mesh.sizes)
        choices = dict.fromkeys([names[:1], names[-1:], names])
        for side, listed in values.items():
            for index, shape in listed:
                for dim, size in enumerate(shape):
                    for axes in choices:
                        yield Cell(program, side, index, dim, size, mesh_name, axes)


def partitioned(cell: Cell) -> tuple[Program, Report]:
    """The per-device program of ``cell``. Raises as `partition`."""
    program = read.parse(ALL_PROGRAMS[cell.program], cell.program)
    mesh = MESHES[cell.mesh]
    add_mesh(program, mesh)
    function = find_entry(program)
    values, key = (arguments, "arg_attrs") if cell.side == "argument" else (results, "res_attrs")
    _state(function, key, values(function), cell, mesh)
    return program, partition(program, padding=Padding(arguments=True))


def only_zeros_differ(report: Verified) -> bool:
    """Whether all that differs is the sign of zeros: XLA's product of a single row adds no zero to a negative one."""
    return all(result.figures.ulp == 0 for result in report.results)


def _state(function: object, key: str, values: list[Value], cell: Cell, mesh: Mesh) -> None:
    ir, context = _mlir.ir, _mlir.context()
    axes = tuple(Axis(name, 1, mesh.sizes[name]) for name in cell.axes)
    written = []
    for value in values:
        dims = tuple(axes if d == cell.dim else () for d in range(len(value.type.shape)))
        stated = {"sdy.sharding": sharding_to_attr("mesh", Sharding(mesh, dims))} if value.index == cell.index else {}
        written.append(ir.DictAttr.get(stated, context=context))
    function.attributes[key] = ir.ArrayAttr.get(written, context=context)  # type: ignore[attr-defined]


def _count(mesh: Mesh, axes: tuple[str, ...]) -> int:
    count = 1
    for name in axes:
        count *= mesh.sizes[name]
    return count
