"""Random annotations for a program's arguments: any divisible choice of axes, whole or in part, in any order.

On request any choice at all, for arguments and results.
"""

from __future__ import annotations

import random

from passes import _mlir
from passes.partition.prime_axes import prime_factors
from passes.program.entry import Value, arguments, find_entry, results
from passes.program.read import Program
from passes.sharding.mesh import Axis, Mesh, Sharding, mesh_to_attr, sharding_to_attr


def annotate(program: Program, mesh: Mesh, seed: int, indivisible: bool = False) -> list[str]:
    """Adds ``mesh`` and a random sharding to most arguments; returns the shardings as text.

    If ``indivisible``, axes need not divide dimensions, and results are annotated too.
    """
    ir, context = _mlir.ir, _mlir.context()
    point = ir.InsertionPoint.at_block_begin(program.module.body)
    attributes = {"sym_name": ir.StringAttr.get("mesh", context), "mesh": mesh_to_attr(mesh)}
    ir.Operation.create("sdy.mesh", attributes=attributes, loc=ir.Location.unknown(context), ip=point)
    if not indivisible:
        return annotate_arguments(program, mesh, seed)
    function, choose = find_entry(program), random.Random(seed)
    signature = {"arg_attrs": arguments(function), "res_attrs": results(function)}
    return [text for key, values in signature.items() for text in _write(program, key, values, mesh, choose, True)]


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
        attributes = {"sdy.sharding": sharding_to_attr("mesh", sharding, closed)} if stated else {}
        written.append(ir.DictAttr.get(attributes, context=context))
        found.append(sharding.spec() if stated else "?")
    find_entry(program).attributes[key] = ir.ArrayAttr.get(written, context=context)
    return found


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
