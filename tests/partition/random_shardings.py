"""Random annotations for a program's values: any divisible choice of axes, whole or in part, in any order.

On request any choice at all, for arguments and results, or partial annotations of any value.
"""

from __future__ import annotations

import random
from itertools import pairwise
from typing import Any

from passes import _mlir
from passes.partition.prime_axes import prime_factors
from passes.program.entry import Value, arguments, find_entry, results
from passes.program.read import Program
from passes.sharding.mesh import Axis, Mesh, Sharding, axis_to_attr, mesh_to_attr, sharding_to_attr


def annotate(program: Program, mesh: Mesh, seed: int, indivisible: bool = False) -> list[str]:
    """Adds ``mesh`` and a random sharding to most arguments; returns the shardings as text.

    If ``indivisible``, axes need not divide dimensions, and results are annotated too.
    """
    add_mesh(program, mesh)
    if not indivisible:
        return annotate_arguments(program, mesh, seed)
    function, choose = find_entry(program), random.Random(seed)
    signature = {"arg_attrs": arguments(function), "res_attrs": results(function)}
    return [text for key, values in signature.items() for text in _write(program, key, values, mesh, choose, True)]


def add_mesh(program: Program, mesh: Mesh) -> None:
    """Adds ``mesh`` under the name ``mesh``."""
    ir, context = _mlir.ir, _mlir.context()
    point = ir.InsertionPoint.at_block_begin(program.module.body)
    attributes = {"sym_name": ir.StringAttr.get("mesh", context), "mesh": mesh_to_attr(mesh)}
    ir.Operation.create("sdy.mesh", attributes=attributes, loc=ir.Location.unknown(context), ip=point)


def annotate_arguments(program: Program, mesh: Mesh, seed: int) -> list[str]:
    """As `annotate`, for a program that has ``mesh`` already, under the name ``mesh``."""
    values = arguments(find_entry(program))
    return _write(program, "arg_attrs", values, mesh, random.Random(seed), False)


def _write(
    program: Program, key: str, values: list[Value], mesh: Mesh, choose: random.Random, indivisible: bool
) -> list[str]:
    ir, context, found, written = _mlir.ir, _mlir.context(), [], []
    for value in values:
        shape = ir.RankedTensorType(value.type).shape
        sharding = Sharding(mesh, _dims(list(shape), mesh, choose, indivisible))
        closed = tuple(choose.random() < 0.7 for _ in shape)
        stated = choose.random() < 0.85
        # Donations and the like stay.
        attributes = {name: attr for name, attr in value.attributes.items() if name != "sdy.sharding"}
        if stated:
            attributes["sdy.sharding"] = sharding_to_attr("mesh", sharding, closed)
        written.append(ir.DictAttr.get(attributes, context=context))
        found.append(sharding.spec() if stated else "?")
    find_entry(program).attributes[key] = ir.ArrayAttr.get(written, context=context)
    return found


def annotate_anything(program: Program, mesh: Mesh, seed: int) -> None:
    """Adds ``mesh`` and partial shardings, some with priorities, to arguments, results and values in between.

    How many of each is random too: some programs get one annotation, some nearly as many as they have values.
    """
    add_mesh(program, mesh)
    annotate_values(program, mesh, seed)


def annotate_values(program: Program, mesh: Mesh, seed: int) -> None:
    """As `annotate_anything`, for a program that has ``mesh`` already, under the name ``mesh``."""
    choose = random.Random(seed)
    function = find_entry(program)
    density = choose.choice((0.1, 0.4, 0.9))
    _annotate_signature(function, "arg_attrs", arguments(function), mesh, choose, density)
    _annotate_signature(function, "res_attrs", results(function), mesh, choose, density * choose.choice((0, 0, 1)))
    if choose.random() < 0.6:
        _constrain(function, mesh, choose, density)


def _annotate_signature(
    function: Any, key: str, values: list[Value], mesh: Mesh, choose: random.Random, density: float
) -> None:
    ir, context = _mlir.ir, _mlir.context()
    written = []
    for value in values:
        kept = {name: attr for name, attr in value.attributes.items() if name != "sdy.sharding"}
        if _may_lie(value.type) and choose.random() < density:
            kept["sdy.sharding"] = _random_attr(value.type, mesh, choose)
        written.append(ir.DictAttr.get(kept, context=context))
    function.attributes[key] = ir.ArrayAttr.get(written, context=context)


# Constraints on every op of a large function would leave propagation nothing to do.
_MOST_CONSTRAINTS = 12


def _constrain(function: Any, mesh: Mesh, choose: random.Random, density: float) -> None:
    """Constrains values that ops of the function's own block make."""
    operations = [op.operation for op in function.regions[0].blocks[0].operations]
    candidates = [
        (value, following) for op, following in pairwise(operations) for value in op.results if _may_lie(value.type)
    ]
    count = min(len(candidates), 1 + int(density * choose.random() * _MOST_CONSTRAINTS))
    for value, following in choose.sample(candidates, count):
        constraint = _mlir.ir.Operation.create(
            "sdy.sharding_constraint", results=[value.type], operands=[value], loc=following.location,
            attributes={"sharding": _random_attr(value.type, mesh, choose)}, ip=_mlir.ir.InsertionPoint(following),
        )
        value.replace_all_uses_except(constraint.results[0], [constraint])


def _may_lie(type: Any) -> bool:
    return isinstance(type, _mlir.ir.RankedTensorType) and type.has_static_shape


def _random_attr(type: Any, mesh: Mesh, choose: random.Random) -> Any:
    sdy, context = _mlir.sdy, _mlir.context()
    dims = []
    for axes in _dims(list(type.shape), mesh, choose, False):
        closed = choose.random() < 0.6
        # Shardy has no priority for a dimension that is closed and whole.
        priority = choose.randrange(3) if (axes or not closed) and choose.random() < 0.3 else None
        listed = [axis_to_attr(axis, mesh) for axis in axes]
        dims.append(sdy.DimensionShardingAttr.get(listed, is_closed=closed, priority=priority, context=context))
    return sdy.TensorShardingAttr.get("mesh", dims, context=context)


def _dims(shape: list[int], mesh: Mesh, choose: random.Random, indivisible: bool) -> tuple[tuple[Axis, ...], ...]:
    parts = [part for name, size in mesh.axes for part in _parts(name, size, choose)]
    choose.shuffle(parts)
    dims: list[tuple[Axis, ...]] = [() for _ in shape]
    for part in parts:
        fitting = [d for d, size in enumerate(shape) if size and (indivisible or size % part.size == 0)]
        if fitting and choose.random() < 0.75:
            dim = choose.choice(fitting)
            shape[dim] //= 1 if indivisible else part.size
            # Shardy wants neighbouring parts of one axis joined; keep it to one part of an axis in a dimension.
            if any(a.name == part.name for a in dims[dim]):
                shape[dim] *= 1 if indivisible else part.size
            else:
                dims[dim] = (*dims[dim], part)
    return tuple(dims)


def _parts(name: str, size: int, choose: random.Random) -> list[Axis]:
    """The whole axis, or at times its two halves."""
    factors = prime_factors(size)
    if len(factors) < 2 or choose.random() < 0.7:
        return [Axis(name, 1, size)]
    first = factors[0]
    return [Axis(name, 1, first), Axis(name, first, size // first)]
