"""Writes a plan on a program: the shardings of its arguments and results."""

from __future__ import annotations

from typing import Any

from passes import _mlir
from passes.autoshard.model import Layout, Model, Plan
from passes.program import entry
from passes.program.read import Program
from passes.sharding.mesh import Mesh, Sharding, mesh_to_attr, sharding_to_attr
from passes.sharding.signature import SHARDING

MESH = "mesh"


def signature_layouts(model: Model, plan: Plan) -> tuple[list[Layout], list[Layout]]:
    """How arguments and results of the entry function lie under ``plan``."""
    body = model.dimensions.graph.entry
    classes = model.class_of
    return (
        [model.layout(classes[v], plan) for v in body.arguments],
        [model.layout(classes[v], plan) for v in body.returned],
    )


def apply(program: Program, model: Model, plan: Plan, entry_name: str | None = None) -> None:
    """Annotates ``program``, which has no mesh yet and the signature of the model's program."""
    ir, context = _mlir.ir, _mlir.context()
    with ir.InsertionPoint.at_block_begin(program.module.body), ir.Location.unknown(context):
        ir.Operation.create("sdy.mesh", attributes={
            "sym_name": ir.StringAttr.get(MESH, context), "mesh": mesh_to_attr(model.mesh),
        })
    function = entry.find_entry(program, entry_name)
    arguments, results = signature_layouts(model, plan)
    _write(function, "arg_attrs", entry.arguments(function), arguments, model.mesh)
    _write(function, "res_attrs", entry.results(function), results, model.mesh)


def _write(function: Any, key: str, values: list[entry.Value], layouts: list[Layout], mesh: Mesh) -> None:
    ir, context = _mlir.ir, _mlir.context()
    attributes = []
    for value, layout in zip(values, layouts, strict=True):
        dims = tuple(tuple(mesh.axis(mesh.axes[a][0]) for a in axes) for axes in layout)
        kept = value.attributes | {SHARDING: sharding_to_attr(MESH, Sharding(mesh, dims))}
        attributes.append(ir.DictAttr.get(kept, context=context))
    if attributes:
        function.attributes[key] = ir.ArrayAttr.get(attributes, context=context)
