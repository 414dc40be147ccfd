"""Which calls inline replaces, that the program computes the same, and that nothing is copied that can be moved."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from passes import _mlir
from passes.errors import UserError
from passes.optimize.inline import Inline
from passes.pipeline.base import Counters
from passes.program.walk import operations

Optimize = Callable[..., Any]

T = "tensor<4xf32>"

PROGRAM = f"""
func.func @main(%a: {T}, %i: tensor<i32>) -> ({T}, {T}) {{
  %0:2 = call @swap(%a, %a) : ({T}, {T}) -> ({T}, {T})
  %1 = call @layer(%0#0) : ({T}) -> {T}
  %2 = call @layer(%1) : ({T}) -> {T}
  %3 = "stablehlo.case"(%i) ({{
    %4 = func.call @once(%2) : ({T}) -> {T}
    stablehlo.return %4 : {T}
  }}, {{
    %4 = func.call @one(%2) : ({T}) -> {T}
    stablehlo.return %4 : {T}
  }}) : (tensor<i32>) -> {T}
  return %3, %0#1 : {T}, {T}
}}
func.func private @swap(%x: {T}, %y: {T}) -> ({T}, {T}) {{ return %y, %x : {T}, {T} }}
func.func private @one(%x: {T}) -> {T} {{ %0 = stablehlo.sine %x : {T} return %0 : {T} }}
func.func private @layer(%x: {T}) -> {T} {{
  %0 = call @one(%x) : ({T}) -> {T} %1 = stablehlo.negate %0 : {T} return %1 : {T} }}
func.func private @once(%x: {T}) -> {T} {{
  %0 = stablehlo.cosine %x : {T} %1 = stablehlo.subtract %0, %x : {T} return %1 : {T} }}
"""
COUNTERS = {
    "never": {},
    "trivial": {"inlined": 3, "removed-functions": 2},
    "once": {"inlined": 4, "removed-functions": 3},
    "all": {"inlined": 6, "removed-functions": 4},
}


@pytest.mark.parametrize("mode", Inline.options()[0].words)
def test_modes(optimize: Optimize, evaluate: Any, mode: str) -> None:
    result = optimize(Inline(mode), PROGRAM)
    assert result.counters == COUNTERS[mode]
    before = _mlir.ir.Module.parse(PROGRAM, _mlir.context())
    for index in range(2):
        inputs = [np.array([0.5, -0.0, np.nan, 3.0], np.float32), np.array(index, np.int32)]
        assert evaluate(result.module, inputs) == evaluate(before, inputs)


def test_an_unknown_mode() -> None:
    with pytest.raises(UserError, match=r"option 'mode' of pass 'inline' takes one of never, .*, not 'sometimes'"):
        Inline.from_options({"mode": "sometimes"})


def test_as_native_inline_does(optimize: Optimize) -> None:
    native = _mlir.ir.Module.parse(PROGRAM, _mlir.context())
    _mlir.passmanager.PassManager.parse("builtin.module(inline{default-pipeline=})", _mlir.context()).run(
        native.operation)
    assert optimize(Inline(), PROGRAM).text == str(native)


def counters(text: str) -> dict[str, int]:
    """What one run counts: a call that is kept is counted again in a second one."""
    module = _mlir.ir.Module.parse(text, _mlir.context())
    before = str(module)
    found = Counters(Inline.statistics)
    Inline().run(module.operation, found)
    assert module.operation.verify()
    assert str(module) == before
    return {name: count for name, count in found.items() if count}


def main(call: str, function: str) -> str:
    return f"func.func @main(%a: {T}) -> {T} {{ {call} return %0 : {T} }}\n{function}"


CALL = f"%0 = call @f(%a) : ({T}) -> {T}"
FUNCTION = f"func.func private @f(%x: {T}) -> {T} ATTRIBUTES {{ return %x : {T} }}"

KEPT = {
    "recursion": (main(CALL, FUNCTION.replace("ATTRIBUTES", "").replace(
        "return %x", f"%0 = call @f(%x) : ({T}) -> {T} return %0")), {"kept-recursive": 2}),
    "a function that asks": (
        main(CALL, FUNCTION.replace("ATTRIBUTES", "attributes {no_inline}")), {"kept-by-request": 1}),
    "a function that says something": (
        main(CALL, FUNCTION.replace("ATTRIBUTES", 'attributes {mhlo.frontend_attributes = {a = "b"}}')),
        {"kept-for-attributes": 1}),
    "a call that asks XLA": (main(
        CALL.replace("(%a)", '(%a) {mhlo.frontend_attributes = {inlineable = "false"}}'),
        FUNCTION.replace("ATTRIBUTES", "")), {"kept-by-request": 1}),
    "a call that says something": (main(
        CALL.replace("(%a)", '(%a) {mhlo.frontend_attributes = {a = "b"}}'),
        FUNCTION.replace("ATTRIBUTES", "")), {"kept-for-attributes": 1}),
    "an argument that says something": (main(
        CALL, FUNCTION.replace("ATTRIBUTES", "").replace(f"%x: {T}", f'%x: {T} {{my.note = "a"}}')),
        {"kept-for-attributes": 1}),
}


@pytest.mark.parametrize("case", KEPT)
def test_kept(case: str) -> None:
    text, expected = KEPT[case]
    assert counters(text) == expected


def test_inside_an_op_that_is_not_known() -> None:
    text = f"""func.func @main(%a: {T}, %w: !shape.witness) -> {T} {{
      %0 = "shape.assuming"(%w) ({{
        %1 = func.call @f(%a) : ({T}) -> {T}
        "shape.assuming_yield"(%1) : ({T}) -> ()
      }}) : (!shape.witness) -> {T}
      return %0 : {T} }} {FUNCTION.replace("ATTRIBUTES", "")}"""
    assert counters(text) == {"kept-inside": 1}


def test_calls_of_calls_of_calls(optimize: Optimize) -> None:
    depth = 12
    functions = [f"func.func private @f0(%x: {T}) -> {T} {{ %0 = stablehlo.sine %x : {T} return %0 : {T} }}"]
    functions += [f"""func.func private @f{i}(%x: {T}) -> {T} {{
        %0 = call @f{i - 1}(%x) : ({T}) -> {T} %1 = call @f{i - 1}(%0) : ({T}) -> {T} return %1 : {T} }}"""
        for i in range(1, depth + 1)]
    text = main(CALL.replace("@f", f"@f{depth}"), "\n".join(functions))
    assert optimize(Inline("once"), text).counters == {"inlined": 3, "removed-functions": 2}
    result = optimize(Inline(), text)
    assert result.count("stablehlo.sine") == 2**depth
    # Every function is written out twice in the next one, and no more often.
    assert result.counters == {"inlined": 2 * depth + 1, "removed-functions": depth + 1}


def test_a_function_called_once_is_moved() -> None:
    module = _mlir.ir.Module.parse(main(CALL, FUNCTION.replace("ATTRIBUTES", "").replace(
        "return %x", f"%0 = stablehlo.sine %x : {T} return %0")), _mlir.context())
    sine = next(op for op in operations(module.operation) if op.name == "stablehlo.sine").operation
    Inline("once").run(module.operation, Counters(Inline.statistics))
    assert sine.parent.attributes["sym_name"] == _mlir.ir.StringAttr.get("main", _mlir.context())


def test_what_goes_is_explained() -> None:
    module = _mlir.ir.Module.parse(main(CALL, FUNCTION.replace("ATTRIBUTES", "")), _mlir.context())
    found = Counters(Inline.statistics, explain=True)
    Inline().run(module.operation, found)
    assert found.removals is not None
    assert [(removal.op, removal.why) for removal in found.removals] == [
        ("func.func", "all calls of it are inlined"), ("func.call", "replaced by the body of the function")]
