"""How a sharded program lies on its devices, as numbers and as a table for the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from passes import _mlir
from passes.program.entry import Value, arguments, find_entry, results
from passes.program.read import Program
from passes.program.types import byte_size
from passes.program.walk import operations
from passes.sharding.divisibility import explain_indivisible, shape_text
from passes.sharding.mesh import Mesh, Sharding, meshes, sharding_from_attr
from passes.sharding.signature import SHARDING


@dataclass(frozen=True)
class Row:
    """One argument or result; sizes in bytes, ``local_bytes`` on each device."""

    name: str
    type: str
    spec: str
    global_bytes: int
    local_bytes: int


@dataclass(frozen=True)
class Summary:
    """The signature of the entry function, and how many of the program's tensors are sharded.

    ``tensors`` counts operation results of rank 1 and more.
    """

    meshes: dict[str, Mesh]
    arguments: tuple[Row, ...]
    results: tuple[Row, ...]
    tensors: int
    sharded: int

    def lines(self) -> list[str]:
        """A table of arguments and results, then the totals."""
        lines = [f"mesh @{name}: {_mesh(mesh)}" for name, mesh in self.meshes.items()]
        for title, rows in (("arguments", self.arguments), ("results", self.results)):
            if rows:
                lines += _table(title, rows)
        return [*lines, f"{self.sharded} of {self.tensors} tensors inside are sharded"]


def summarize(program: Program, entry: str | None = None) -> Summary:
    """Summarizes the entry function (the one named ``entry``, if given) and all operations of ``program``."""
    named = meshes(program.module)
    function = find_entry(program, entry)
    tensors, sharded = _count(program, named)
    return Summary(
        named,
        tuple(_row(v, named) for v in arguments(function)),
        tuple(_row(v, named) for v in results(function)),
        tensors,
        sharded,
    )


def _row(value: Value, named: dict[str, Mesh]) -> Row:
    type = value.type
    if not isinstance(type, _mlir.ir.RankedTensorType) or not type.has_static_shape:
        return Row(value.name, str(type), "", 0, 0)
    size = byte_size(type)
    text = f"{type.element_type}[{shape_text(type) if type.rank else ''}]"
    if SHARDING not in value.attributes:
        return Row(value.name, text, f"P({', '.join(['None'] * type.rank)})", size, size)
    sharding = sharding_from_attr(value.attributes[SHARDING], named)
    fits = explain_indivisible(type, sharding) is None
    return Row(value.name, text, sharding.spec(), size, size // _shards(sharding) if fits else size)


def _shards(sharding: Sharding) -> int:
    shards = 1
    for dim in range(len(sharding.dims)):
        shards *= sharding.factor(dim)
    return shards


def _count(program: Program, named: dict[str, Mesh]) -> tuple[int, int]:
    ranked = _mlir.ir.RankedTensorType
    known: dict[Any, list[bool]] = {}
    tensors = sharded = 0
    for op in operations(program.module):
        tensors += sum(isinstance(r.type, ranked) and r.type.rank > 0 for r in op.results)
        if SHARDING in op.attributes:
            attribute = op.attributes[SHARDING]
            if attribute not in known:
                parts = _mlir.sdy.TensorShardingPerValueAttr(attribute).shardings
                known[attribute] = [not sharding_from_attr(s, named).is_replicated for s in parts]
            sharded += sum(known[attribute])
    return tensors, sharded


def _mesh(mesh: Mesh) -> str:
    return f"{', '.join(f'{name}={size}' for name, size in mesh.axes)} ({mesh.device_count} devices)"


def _table(title: str, rows: Sequence[Row]) -> list[str]:
    cells = [(title, "type", "sharding", "bytes per device")]
    cells += [(r.name, r.type, r.spec, f"{r.local_bytes:,}") for r in rows]
    cells += [("total", "", "", f"{sum(r.local_bytes for r in rows):,} of {sum(r.global_bytes for r in rows):,}")]
    widths = [max(len(row[i]) for row in cells) for i in range(3)]
    return ["  ".join([*(c.ljust(w) for c, w in zip(row[:3], widths, strict=True)), row[3]]).rstrip() for row in cells]
