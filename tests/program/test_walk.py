"""Walks: every op in pre-order, those of some names by a native walk."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from passes.optimize.normal_form import COMMUTED
from passes.program.purity import REGIONLESS
from passes.program.read import parse
from passes.program.walk import each, named, operations

T = "tensor<f32>"
# Loops in a loop's condition and body, a function without a body, an op with a region that is no loop.
NESTED = f"""
func.func private @outside({T}) -> {T}
func.func @main(%x: {T}, %v: tensor<4xf32>) -> {T} {{
  %0 = stablehlo.while(%a = %x) : {T} cond {{
    %1 = stablehlo.while(%b = %a) : {T} cond {{
      %c = stablehlo.constant dense<true> : tensor<i1>
      stablehlo.return %c : tensor<i1>
    }} do {{
      %2 = stablehlo.add %b, %b : {T}
      stablehlo.return %2 : {T}
    }}
    %3 = stablehlo.compare LT, %1, %x : ({T}, {T}) -> tensor<i1>
    stablehlo.return %3 : tensor<i1>
  }} do {{
    %4 = stablehlo.reduce(%v init: %a) applies stablehlo.add across dimensions = [0] : (tensor<4xf32>, {T}) -> {T}
    %5 = func.call @outside(%4) : ({T}) -> {T}
    stablehlo.return %5 : {T}
  }}
  %6 = stablehlo.add %0, %x : {T}
  return %6 : {T}
}}
"""


def same(found: Iterable[Any], expected: Iterable[Any]) -> bool:
    return all(a == b for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize("names", [
    {"stablehlo.while"}, {"stablehlo.return"}, {"func.func", "func.call", "stablehlo.add"}, {"builtin.module"},
    {"stablehlo.while", "stablehlo.reduce", "stablehlo.add", "stablehlo.return"}, {"stablehlo.constant"},
    {"builtin.module", "func.func", "stablehlo.while", "stablehlo.reduce"}, {"stablehlo.tan"}, set(),
], ids=lambda names: "+".join(sorted(names)) or "none")
def test_named_are_all_of_these_names_in_pre_order(names: set[str]) -> None:
    module = parse(NESTED).module
    every = operations(module)
    assert same(named(module, names), [op for op in every if op.name in names])
    for root in every:
        assert same(named(root, names), [op for op in operations(root) if op.name in names])


def test_operations_are_in_pre_order_and_include_the_root() -> None:
    module = parse(NESTED).module
    found = [op.name.rpartition(".")[2] for op in operations(module)]
    inner = ["while", "constant", "return", "add", "return", "compare", "return"]
    outer = ["reduce", "add", "return", "call", "return", "add", "return"]
    assert found == ["module", "func", "func", "while", *inner, *outer]
    assert same(each(module), operations(module))


@pytest.mark.parametrize("without", [REGIONLESS, COMMUTED, frozenset({"stablehlo.while", "func.func"})])
def test_what_is_left_out_is_still_looked_into(without: frozenset[str]) -> None:
    module = parse(NESTED).module
    assert same(operations(module, without), [op for op in operations(module) if op.name not in without])
