"""Dimensions and the axes that do not divide them: refused where a user asked for it, taken off anywhere else.

Propagation carries an axis wherever factors lead; a dimension of 6 may end up on an axis of 4. No local type exists for
that, so the axis goes (the dimension is replicated over it) and the report says where.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from passes import _mlir
from passes.errors import Where
from passes.program.entry import functions, is_declaration, is_private, symbol_name, value_types
from passes.program.read import Program
from passes.program.walk import each
from passes.sharding.mesh import Mesh, Sharding, axis_from_attr, meshes, sharding_from_attr
from passes.sharding.signature import SHARDING, by_attribute, shardings, write

# Ops that carry the sharding of their one result as a property.
_RESHARDS = frozenset({"sdy.reshard", "sdy.sharding_constraint"})

# All that say how values lie in another way than most ops.
_OTHERS = _RESHARDS | {"sdy.manual_computation", "func.func"}

# One dimension of a sharding: its number and the axes that went.
_Cut = tuple[int, tuple[str, ...]]


@dataclass(frozen=True)
class Dropped:
    """Axes that were taken off one dimension of one value.

    Attributes:
      value: What the value is: the op's name, or which argument or result of which function.
      where: Its place in the program's source, where known.
      shape: The value's global shape.
      dim: The dimension, from 0.
      axes: The axes taken off, as users write them.
    """

    value: str
    where: Where | None
    shape: tuple[int, ...]
    dim: int
    axes: tuple[str, ...]

    def __str__(self) -> str:
        shape = "x".join(map(str, self.shape))
        axes = " and ".join(f"'{a}'" for a in self.axes)
        return f"{self.value} ({shape}): dimension {self.dim} of {self.shape[self.dim]} does not divide by {axes}"


def grouped(dropped: Iterable[Dropped]) -> list[str]:
    """``dropped`` in a line for each size and axes, with how many values it is about and where the first is made."""
    found: dict[tuple[int, tuple[str, ...]], list[Dropped]] = {}
    for one in dropped:
        found.setdefault((one.shape[one.dim], one.axes), []).append(one)
    lines = []
    for members in found.values():
        first = members[0]
        more = f", and the same in {len(members) - 1} more" if len(members) > 1 else ""
        lines.append(f"{first}{f' at {first.where}' if first.where else ''}{more}")
    return lines


@dataclass(frozen=True)
class Indivisible:
    """Where shardings that do not divide their tensor are allowed.

    Attributes:
      signature: In arguments and results.
      inside: In what users constrain inside of the program.
      advice: What to say where they are not, behind the nearest choices.
    """

    signature: bool = False
    inside: bool = False
    advice: str = ""


NOWHERE = Indivisible()


def explain_indivisible(type: Any, sharding: Sharding) -> str | None:
    """Why a tensor of ``type`` cannot lie as ``sharding`` says; ``None`` if it can.

    The text goes behind the tensor's name. It names the first dimension that does not divide, its size and axes, and
    the nearest choices that would.
    """
    for dim, axes in enumerate(sharding.dims):
        shards = sharding.factor(dim)
        if shards == 1:
            continue
        if type.is_dynamic_dim(dim):
            return f"has shape {shape_text(type)}: dimension {dim} has no static size; refine the shapes first"
        size = type.shape[dim]
        if size % shards:
            named = " x ".join(f"'{a.text(sharding.mesh)}' of size {a.size}" for a in axes)
            over = f"axis {named}" if len(axes) == 1 else f"the {shards} shards of axes {named}"
            return (
                f"has shape {shape_text(type)}: dimension {dim} of {size} does not divide by {over}; "
                f"{_nearest_choices(size, shards)}"
            )
    return None


def shape_text(type: Any) -> str:
    """A ranked tensor type's shape as users read it: ``64x128``, ``?x4``, ``()`` for a scalar."""
    return "x".join("?" if type.is_dynamic_dim(d) else str(s) for d, s in enumerate(type.shape)) or "()"


def _nearest_choices(size: int, shards: int) -> str:
    below, above = size // shards * shards, -(-size // shards) * shards
    sizes = f"{below} or {above}" if below else str(above)
    fewer = next(n for n in range(min(shards, size), 0, -1) if size % n == 0)
    more = next((n for n in range(shards + 1, min(size, 2 * shards) + 1) if size % n == 0), None)
    counts = f"{fewer} or {more}" if more else str(fewer)
    return f"a size of {sizes} would do, or {counts} shards"


def check_signatures(program: Program, allowed: Indivisible = NOWHERE) -> None:
    """Checks that arguments and results of public functions have static shapes that their shardings divide.

    Raises:
      UserError: one has not.
    """
    known, fine = meshes(program.module), set()
    for function in functions(program.module):
        if is_private(function) or is_declaration(function):
            continue
        types = value_types(function)
        for key, given in shardings(function).items():
            for index, said in enumerate(zip(types[key], given, strict=True)):
                if said in fine:
                    continue
                if (problem := _problem(*said, known, allowed)) is not None:
                    noun = "argument" if key == "arg_attrs" else "result"
                    name = by_attribute(function)[key][index].name
                    raise program.error(f"{noun} {index} '{name}' of @{symbol_name(function)} {problem}", function)
                fine.add(said)


def _problem(type: Any, sharding: Any, known: dict[str, Mesh], allowed: Indivisible) -> str | None:
    if not isinstance(type, _mlir.ir.RankedTensorType):
        return None
    if not type.has_static_shape:
        return f"has the dynamic shape {shape_text(type)}; make it static first (--stablehlo-refine-arguments)"
    if sharding is None or allowed.signature:
        return None
    found = explain_indivisible(type, sharding_from_attr(sharding, known))
    return f"{found}{allowed.advice}" if found is not None else None


# Ops, each with the shardings that it states for its results, if any.
Sharded = list[tuple[Any, Any]]


def indivisible(program: Program) -> Sharded:
    """The ops of ``program`` with shardings that do not divide their tensors, from which `drop_indivisible` drops."""
    cutter, found = _Cutter(meshes(program.module)), []
    for op, given in _with_shardings(program.module):
        if op.name == "func.func":
            types = {} if is_declaration(op) else value_types(op)
            on_signature = shardings(op) if types else {}
            said = [pair for key, on_side in on_signature.items() for pair in zip(on_side, types[key], strict=True)]
        elif op.name in _RESHARDS:
            said = [(op.attributes["sharding"], op.results[0].type)]
        elif op.name == "sdy.manual_computation":
            inner = (op.attributes[key] for key in ("in_shardings", "out_shardings"))
            lists = [_mlir.sdy.TensorShardingPerValueAttr(attr).shardings for attr in inner]
            types_of = ([v.type for v in op.operands], op.results.types)
            said = [pair for sides in zip(lists, types_of, strict=True) for pair in zip(*sides, strict=True)]
        else:
            said = []
        key = None if given is None else (given, *op.results.types)
        if key is not None and key not in cutter.clean:
            said += zip(_mlir.sdy.TensorShardingPerValueAttr(given).shardings, op.results.types, strict=True)
        if not said:
            continue
        if any(sharding is not None and cutter.cut(sharding, type)[1] for sharding, type in said):
            found.append((op, given))
        elif key is not None:
            cutter.clean.add(key)
    return found


def drop_indivisible(program: Program, among: Sharded | None = None) -> list[Dropped]:
    """Takes axes off every dimension of every value in ``program`` that they do not divide, and says which.

    Of several axes on a dimension those stay, from the major one on, whose product still divides. What happens to a
    value depends on its type and sharding alone, so values that must agree (loop carries, call operands) still agree.

    Args:
      among: What `indivisible` finds, if that is known.
    """
    cutter = _Cutter(meshes(program.module))
    dropped: list[Dropped] = []
    for op, given in _with_shardings(program.module) if among is None else among:
        if given is not None:
            if (given, *(types := op.results.types)) not in cutter.clean:
                dropped += _drop_in_list(program, op, SHARDING, types, cutter)
        elif op.name in _RESHARDS:
            new, cuts = cutter.cut(op.attributes["sharding"], op.results[0].type)
            if cuts:
                op.attributes["sharding"] = new
                dropped += _reports(op.name, program.where(op), op.results[0].type, cuts)
        elif op.name == "sdy.manual_computation":
            # Manual axes come first in a dimension and divide it, so what goes is what goes inside, too.
            dropped += _drop_in_list(program, op, "in_shardings", [v.type for v in op.operands], cutter)
            dropped += _drop_in_list(program, op, "out_shardings", op.results.types, cutter)
        elif op.name == "func.func":
            dropped += _drop_on_signature(program, op, cutter)
    return dropped


def _with_shardings(module: Any) -> Iterator[tuple[Any, Any]]:
    """The ops with shardings of their results and these, and with ``None`` those that have others, in pre-order."""
    for op in each(module):
        given = op.attributes.get(SHARDING)
        if given is not None or op.name in _OTHERS:
            yield op, given


class _Cutter:
    """Cuts shardings down to what divides; remembers, because a program has few different ones."""

    def __init__(self, named: dict[str, Mesh]) -> None:
        self._named = named
        self._known: dict[tuple[Any, Any], tuple[Any, tuple[_Cut, ...]]] = {}
        # What is on an op's values as a whole, if nothing is to be cut there.
        self.clean: set[tuple[Any, ...]] = set()

    def cut(self, sharding: Any, type: Any) -> tuple[Any, tuple[_Cut, ...]]:
        """``sharding`` (``#sdy.sharding``) as it fits a tensor of ``type``, and what was taken off."""
        key = (sharding, type)
        if key not in self._known:
            self._known[key] = self._cut(sharding, tuple(type.shape) if hasattr(type, "shape") else ())
        return self._known[key]

    def _cut(self, sharding: Any, shape: tuple[int, ...]) -> tuple[Any, tuple[_Cut, ...]]:
        sdy, context = _mlir.sdy, _mlir.context()
        attr = sdy.TensorShardingAttr(sharding)
        mesh = sharding_from_attr(sharding, self._named).mesh
        dims, cuts = [], []
        for d, (dimension, size) in enumerate(zip(attr.dimension_shardings, shape, strict=False)):
            old = sdy.DimensionShardingAttr(dimension)
            kept, gone, shards = [], [], 1
            for reference in old.axes:
                axis = axis_from_attr(reference, mesh)
                if size % (shards * axis.size) == 0:
                    shards *= axis.size
                    kept.append(reference)
                else:
                    gone.append(axis.text(mesh))
            dims.append(
                sdy.DimensionShardingAttr.get(
                    kept, is_closed=old.is_closed, context=context,
                    # A dimension that is closed and whole may have none.
                    priority=old.priority if kept or not old.is_closed else None,
                )
            )
            if gone:
                cuts.append((d, tuple(gone)))
        if not cuts:
            return sharding, ()
        new = sdy.TensorShardingAttr.get(
            attr.mesh_or_ref, dims, list(attr.replicated_axes), list(attr.unreduced_axes), context=context
        )
        return new, tuple(cuts)


def _drop_in_list(program: Program, op: Any, name: str, types: list[Any], cutter: _Cutter) -> Iterator[Dropped]:
    """Takes axes off the shardings that ``op`` lists in its attribute ``name`` for values of ``types``."""
    attributes = op.attributes
    given = attributes[name]
    key = (given, *types)
    shardings = list(_mlir.sdy.TensorShardingPerValueAttr(given).shardings)
    found = [cutter.cut(s, t) for s, t in zip(shardings, types, strict=True)]
    if not any(cuts for _, cuts in found):
        cutter.clean.add(key)
        return
    attributes[name] = _mlir.sdy.TensorShardingPerValueAttr.get([new for new, _ in found], context=_mlir.context())
    for (_, cuts), type in zip(found, types, strict=True):
        yield from _reports(op.name, program.where(op), type, cuts)


def _drop_on_signature(program: Program, function: Any, cutter: _Cutter) -> Iterator[Dropped]:
    if is_declaration(function):
        return
    where, title = program.where(function), f"@{symbol_name(function)}"
    types = value_types(function)
    for key, given in shardings(function).items():
        said = zip(given, types[key], strict=True)
        if not any(sharding is not None and cutter.cut(sharding, type)[1] for sharding, type in said):
            continue
        values = by_attribute(function)[key]
        for value in values:
            if SHARDING in value.attributes:
                value.attributes[SHARDING], cuts = cutter.cut(value.attributes[SHARDING], value.type)
                yield from _reports(f"'{value.name}' of {title}", where, value.type, cuts)
        write(function, key, values)


def _reports(value: str, where: Where | None, type: Any, cuts: tuple[_Cut, ...]) -> Iterator[Dropped]:
    return (Dropped(value, where, tuple(type.shape), dim, axes) for dim, axes in cuts)
