"""Every tensor of a program with how it lies on the devices: what `shlo show` lists and `shlo diff` compares."""

from __future__ import annotations

import fnmatch
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from passes import _mlir
from passes.errors import Where
from passes.program.entry import arguments, find_entry, functions, is_declaration, results, symbol_name
from passes.program.read import Program
from passes.program.types import byte_size
from passes.program.value_names import ValueNames
from passes.sharding.divisibility import explain_indivisible
from passes.sharding.mesh import Mesh, Sharding, meshes, sharding_from_attr
from passes.sharding.signature import SHARDING

# Ops whose regions hold ops of the program; other regions say how two elements combine.
_WITH_BODY = frozenset({
    "func.func", "stablehlo.while", "stablehlo.case", "stablehlo.if", "sdy.manual_computation", "sdy.named_computation",
})
# Ops that hold the sharding of their one result under another name.
_RESHARDS = frozenset({"sdy.reshard", "sdy.sharding_constraint"})


@dataclass(frozen=True)
class Tensor:
    """A ranked tensor of static shape.

    Attributes:
      kind: ``argument`` or ``result`` of the entry function, or ``value`` for what an op makes.
      name: As the front end calls an argument or result; as the text calls a value (``%12``).
      value: As the text calls it, arguments too; empty for results.
      op: The op that makes it; empty for arguments and results.
      label: The name its location carries (``jit(f)/dot_general``); may be empty.
      where: Its place, where known.
      function: The function it is in.
      dtype: MLIR's element type.
      shape: Global, in elements.
      sharding: How it lies; ``None`` if it is replicated without saying so.
      global_bytes, local_bytes: Bytes of the whole, and on each device.
      divides: Whether its axes divide its dimensions; if not, the local shape is the global one.
    """

    kind: str
    name: str
    value: str
    op: str
    label: str
    where: Where | None
    function: str
    dtype: str
    shape: tuple[int, ...]
    sharding: Sharding | None
    global_bytes: int
    local_bytes: int
    divides: bool = True

    @property
    def local_shape(self) -> tuple[int, ...]:
        """The shape one device holds."""
        return self.sharding.local_shape(self.shape) if self.sharding is not None and self.divides else self.shape

    @property
    def spec(self) -> str:
        """Its PartitionSpec."""
        return self.sharding.spec() if self.sharding is not None else f"P({', '.join(['None'] * len(self.shape))})"

    def matches(self, pattern: str) -> bool:
        """Whether its name, op, location's name or place matches the glob; without wildcards it must be equal.

        Brackets are plain characters, for they occur in the names of arguments.
        """
        escaped = pattern.replace("[", "[[]")
        texts = (self.name, self.value, self.op, self.label, str(self.where or ""))
        return any(fnmatch.fnmatchcase(text, escaped) for text in texts if text)

    def to_json(self) -> dict[str, Any]:
        """Its fields for ``--json``."""
        return {
            "kind": self.kind, "name": self.name, "value": self.value, "op": self.op, "label": self.label,
            "where": str(self.where or ""), "function": self.function, "dtype": self.dtype,
            "global_shape": list(self.shape), "local_shape": list(self.local_shape), "spec": self.spec,
            "global_bytes": self.global_bytes, "bytes_per_device": self.local_bytes, "divides": self.divides,
        }


@dataclass(frozen=True)
class _Reader:
    """Turns values into tensors; remembers what follows from a type and a sharding, of which there are few."""

    program: Program
    named: dict[str, Mesh]
    known: dict[tuple[Any, Any], tuple[Any, ...] | None]

    def tensor(
        self, kind: str, names: tuple[str, str], op: str, location: Any, function: str, type: Any, attribute: Any
    ) -> Tensor | None:
        """The tensor called ``names`` (name and value), or ``None`` for what is no ranked tensor of static shape."""
        key = (type, attribute)
        if key not in self.known:
            self.known[key] = self._measure(type, attribute)
        facts = self.known[key]
        if facts is None:
            return None
        where = self.program.in_file(_mlir.where_of(location)) if location is not None else None
        return Tensor(kind, *names, op, _mlir.name_of(location), where, function, *facts)

    def _measure(self, type: Any, attribute: Any) -> tuple[Any, ...] | None:
        if not isinstance(type, _mlir.ir.RankedTensorType) or not type.has_static_shape:
            return None
        sharding = sharding_from_attr(attribute, self.named) if attribute is not None else None
        if sharding is not None and len(sharding.dims) != type.rank:
            sharding = None
        divides = sharding is None or explain_indivisible(type, sharding) is None
        size = byte_size(type)
        shards = math.prod(map(sharding.factor, range(type.rank))) if sharding is not None and divides else 1
        return str(type.element_type), tuple(type.shape), sharding, size, size // shards, divides


def signature(program: Program, entry: str | None = None) -> list[Tensor]:
    """The arguments and then the results of the entry function (the one named ``entry``, if given)."""
    reader, names = _Reader(program, meshes(program.module), {}), ValueNames(program)
    function = find_entry(program, entry)
    block = function.regions[0].blocks[0]
    inside = symbol_name(function)
    found = []
    for value, argument in zip(arguments(function), block.arguments, strict=True):
        called = (value.name, names.of_argument(argument))
        sharding = value.attributes.get(SHARDING)
        found.append(reader.tensor("argument", called, "", argument.location, inside, value.type, sharding))
    for value in results(function):
        sharding = value.attributes.get(SHARDING)
        found.append(reader.tensor("result", (value.name, ""), "", None, inside, value.type, sharding))
    return [t for t in found if t is not None]


def intermediates(program: Program) -> list[Tensor]:
    """What every op of every function makes, in order of the text."""
    reader = _Reader(program, meshes(program.module), {})
    names = ValueNames(program)
    found = []
    for function in functions(program.module):
        if is_declaration(function):
            continue
        inside = symbol_name(function)
        for op in _operations(function):
            if not len(op.results):
                continue
            for name, value, sharding in zip(names.of_results(op), op.results, _shardings(op), strict=True):
                tensor = reader.tensor("value", (name, name), op.name, op.location, inside, value.type, sharding)
                if tensor is not None:
                    found.append(tensor)
    return found


def _operations(op: Any) -> Iterator[Any]:
    """The ops in the body of ``op``, and in the bodies of those that have one."""
    for region in op.regions:
        for block in region.blocks:
            for view in block.operations:
                inner = view.operation
                yield inner
                if inner.name in _WITH_BODY:
                    yield from _operations(inner)


def _shardings(op: Any) -> list[Any]:
    attributes = op.attributes
    if SHARDING in attributes:
        return list(_mlir.sdy.TensorShardingPerValueAttr(attributes[SHARDING]).shardings)
    if op.name in _RESHARDS:
        return [attributes["sharding"]]
    return [None] * len(op.results)
