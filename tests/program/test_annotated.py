"""What counts as a program that says how it is to be sharded."""

from __future__ import annotations

import pytest

from passes import _mlir
from passes.program.annotated import is_annotated

T = "tensor<4xf32>"


def program(body: str = "", argument: str = "", more: str = "") -> str:
    return f"func.func @main(%a: {T} {argument}) -> {T} {{ {body}\nreturn %a : {T} }}\n{more}"


ANNOTATED = {
    "a mesh": program(more='sdy.mesh @mesh = <["x"=2]>'),
    "meshes as text": f'module attributes {{mhlo.frontend_attributes = {{xla.sdy.meshes = "{{}}"}}}} {{{program()}}}',
    "shardings of parameters": f'module attributes {{mhlo.spmd_parameters_shardings = ["x"]}} {{{program()}}}',
    "an argument": program(argument='{mhlo.sharding = "{replicated}"}'),
    "an argument, as text": program(argument='{mhlo.frontend_attributes = {xla.sdy.sharding = "x"}}'),
    "an op": program(f'%0 = stablehlo.tanh %a {{mhlo.sharding = "{{replicated}}"}} : {T}'),
    "a custom call": program(f"%0 = stablehlo.custom_call @Sharding(%a) : ({T}) -> {T}"),
    "a sharding group": program(f"sdy.sharding_group %a group_id=0 : {T}"),
}
PLAIN = {
    "nothing": program(f"%0 = stablehlo.tanh %a : {T}"),
    "a mesh without axes": program(
        f"%0 = sdy.sharding_constraint %a <@mesh, [{{}}]> : {T}", more="sdy.mesh @mesh = <[]>"),
    "other attributes": program(f'%0 = stablehlo.tanh %a {{mhlo.frontend_attributes = {{x = "y"}}}} : {T}',
                                argument="{tf.aliasing_output = 0 : i32}"),
    "other custom calls": program(f"%0 = stablehlo.custom_call @f(%a) : ({T}) -> {T}"),
}


@pytest.mark.parametrize("case", [*ANNOTATED, *PLAIN])
def test_is_annotated(case: str) -> None:
    module = _mlir.ir.Module.parse((ANNOTATED | PLAIN)[case], _mlir.context())
    assert is_annotated(module.operation) == (case in ANNOTATED)
