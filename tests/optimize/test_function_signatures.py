"""What function-signatures moves out of signatures, and that the program still computes the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from passes import _mlir
from passes.optimize.function_signatures import FunctionSignatures

Optimize = Callable[..., Any]

T = "tensor<4xf32>"
INPUTS = [np.array([0.5, -0.0, np.nan, 3.0], np.float32), np.ones(4, np.float32)]


def main(body: str, result: str, functions: str) -> str:
    return f"func.func @main(%a: {T}, %b: {T}) -> {T} {{\n{body}\nreturn {result} : {T}\n}}\n{functions}"


SUBTRACT = f"func.func private @f(%x: {T}, %y: {T}) -> {T} {{ %0 = stablehlo.subtract %x, %y : {T} return %0 : {T} }}"
ONE, TWO = (f"stablehlo.constant dense<{value}> : {T}" for value in ("1.0", "2.0"))

CASES = {
    "one constant at every call": (main(f"""
        %0 = {TWO} %1 = {TWO}
        %2 = call @f(%a, %0) : ({T}, {T}) -> {T}
        %3 = call @f(%2, %1) : ({T}, {T}) -> {T}""", "%3", SUBTRACT), {"constant-arguments": 1}),
    "all arguments": (main(f"""
        %0 = {TWO} %1 = {ONE} %2 = call @f(%1, %0) : ({T}, {T}) -> {T}""", "%2", SUBTRACT), {"constant-arguments": 2}),
    "two constants": (main(f"""
        %0 = {TWO} %1 = {ONE}
        %2 = call @f(%a, %0) : ({T}, {T}) -> {T}
        %3 = call @f(%2, %1) : ({T}, {T}) -> {T}""", "%3", SUBTRACT), {}),
    "one value twice": (main(f"""
        %2 = call @f(%a, %a) : ({T}, {T}) -> {T}
        %3 = call @f(%2, %2) : ({T}, {T}) -> {T}""", "%3", SUBTRACT), {"duplicate-arguments": 1}),
    "one value twice at one call only": (main(f"""
        %2 = call @f(%a, %b) : ({T}, {T}) -> {T}
        %3 = call @f(%2, %2) : ({T}, {T}) -> {T}""", "%3", SUBTRACT), {}),
    "an argument that is returned, swapped": (main(f"""
        %0:2 = call @f(%a, %b) : ({T}, {T}) -> ({T}, {T})
        %1:2 = call @f(%0#0, %0#1) : ({T}, {T}) -> ({T}, {T})
        %2 = stablehlo.subtract %1#0, %b : {T}""", "%2", f"""
        func.func private @f(%x: {T}, %y: {T}) -> ({T}, {T}) {{ return %y, %x : {T}, {T} }}"""),
        {"forwarded-results": 2}),
    "a constant that is returned, and then passed on": (main(f"""
        %0 = call @g() : () -> {T}
        %1 = call @f(%a, %0) : ({T}, {T}) -> {T}""", "%1", f"""
        func.func private @g() -> {T} {{ %0 = {TWO} return %0 : {T} }} {SUBTRACT}"""),
        {"forwarded-results": 1, "constant-arguments": 1}),
    "a call for its effect": (main(f"""
        %0 = call @f(%a, %b) : ({T}, {T}) -> {T}""", "%0", f"""
        func.func private @f(%x: {T}, %y: {T}) -> {T} {{
          %0 = stablehlo.custom_call @io(%x) {{has_side_effect = true}} : ({T}) -> {T} return %y : {T} }}"""),
        {"forwarded-results": 1}),
    "complex numbers, which the bindings cannot compare": (main(f"""
        %0 = stablehlo.constant dense<(1.0, 2.0)> : tensor<4xcomplex<f32>>
        %1 = call @f(%a, %0) : ({T}, tensor<4xcomplex<f32>>) -> {T}""", "%1", f"""
        func.func private @f(%x: {T}, %y: tensor<4xcomplex<f32>>) -> {T} {{
          %0 = stablehlo.real %y : (tensor<4xcomplex<f32>>) -> {T}
          %1 = stablehlo.add %0, %x : {T} return %1 : {T} }}"""), {}),
}


@pytest.mark.parametrize("case", CASES)
def test_cases(optimize: Optimize, evaluate: Any, case: str) -> None:
    text, counters = CASES[case]
    result = optimize(FunctionSignatures(), text)
    assert result.counters == counters
    if "@io" not in text:
        assert evaluate(result.module, INPUTS) == evaluate(_mlir.ir.Module.parse(text, _mlir.context()), INPUTS)


RECURSIVE = f"""
func.func private @f(%n: tensor<i32>, %x: {T}, %k: {T}) -> ({T}, {T}) {{
  %z = stablehlo.constant dense<0> : tensor<i32>
  %p = stablehlo.compare LE, %n, %z : (tensor<i32>, tensor<i32>) -> tensor<i1>
  %0 = "stablehlo.if"(%p) ({{
    stablehlo.return %x : {T}
  }}, {{
    %1 = stablehlo.constant dense<-1> : tensor<i32>
    %2 = stablehlo.add %n, %1 : tensor<i32>
    %3 = stablehlo.subtract %x, %k : {T}
    %4:2 = func.call @f(%2, %3, %k) : (tensor<i32>, {T}, {T}) -> ({T}, {T})
    %5 = stablehlo.multiply %4#0, %4#1 : {T}
    stablehlo.return %5 : {T}
  }}) : (tensor<i1>) -> {T}
  return %0, %k : {T}, {T}
}}
"""


def test_an_argument_that_a_function_passes_to_itself(optimize: Optimize, evaluate: Any) -> None:
    text = main(f"""
        %n = stablehlo.constant dense<2> : tensor<i32>
        %k = {TWO}
        %0:2 = call @f(%n, %a, %k) : (tensor<i32>, {T}, {T}) -> ({T}, {T})
        %1 = stablehlo.add %0#0, %0#1 : {T}""", "%1", RECURSIVE)
    result = optimize(FunctionSignatures(), text)
    assert result.counters == {"constant-arguments": 1, "forwarded-results": 1}
    assert evaluate(result.module, INPUTS) == evaluate(_mlir.ir.Module.parse(text, _mlir.context()), INPUTS)


def test_a_constant_with_a_sharding_stays(optimize: Optimize) -> None:
    text = main(f"""
        %0 = stablehlo.constant {{sdy.sharding = #sdy.sharding_per_value<[<@mesh, [{{"x"}}]>]>}} dense<2.0> : {T}
        %1 = call @f(%a, %0) : ({T}, {T}) -> {T}""", "%1", SUBTRACT + 'sdy.mesh @mesh = <["x"=2]>')
    assert optimize(FunctionSignatures(), text).counters == {}
