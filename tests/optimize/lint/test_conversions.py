"""Conversions that lose something, and arguments wider than their use."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from passes.errors import Where


def chain(*types: str, between: str = "") -> str:
    """A program that converts its argument through ``types``; ``between`` is an op on the second one."""
    lines, value = [], "%a"
    for i, (source, target) in enumerate(pairwise(types)):
        if i == 1 and between:
            lines.append(f"%op = stablehlo.{between} {value} : tensor<4x{source}>")
            value = "%op"
        lines.append(f"%{i} = stablehlo.convert {value} : (tensor<4x{source}>) -> tensor<4x{target}>")
        value = f"%{i}"
    body = "\n  ".join(lines)
    return f"""\
func.func @main(%a: tensor<4x{types[0]}>) -> tensor<4x{types[-1]}> {{
  {body}
  return {value} : tensor<4x{types[-1]}>
}}
"""


@pytest.mark.parametrize(("types", "loss"), [
    (("f32", "bf16", "f32"), "f32 -> bf16 (line 2) -> f32 keeps 8 significant bits"),
    (("f32", "f16", "f64"), "f32 -> f16 (line 2) -> f64 keeps 11 significant bits"),
    (("bf16", "f16", "f32"), "bf16 -> f16 (line 2) -> f32 has the range of f16"),
    (("i64", "i32", "i64"), "i64 -> i32 (line 2) -> i64 wraps what i32 does not hold"),
    (("i32", "ui8", "i32"), "i32 -> ui8 (line 2) -> i32 wraps what ui8 does not hold"),
    (("f32", "i32", "f32"), "f32 -> i32 (line 2) -> f32 rounds to whole numbers"),
    (("i32", "f32", "i32"), "i32 -> f32 (line 2) -> i32 rounds integers above 2^24"),
])  # fmt: skip
def test_a_chain_that_loses_is_reported_at_its_end(lint: Any, types: tuple[str, ...], loss: str) -> None:
    [finding] = lint("lossy-convert", chain(*types))
    assert (finding.where, finding.message) == (Where("in.mlir", 3, 8), loss)
    assert finding.todo == f"keep the {types[0]} value, or stay in {types[1]} if that is meant"


@pytest.mark.parametrize("types", [
    ("f32", "f64", "f32"), ("bf16", "f32", "bf16"), ("i32", "i64", "i32"), ("i32", "f64", "i32"), ("i16", "f32", "i16"),
    ("f32", "bf16"), ("f32", "bf16", "f16"), ("f32", "f16", "bf16"), ("f32", "bf16", "i32"), ("i64", "i32", "f32"),
    ("i32", "i1", "i32"), ("f32", "i1", "f32"), ("f64", "f32", "bf16"), ("i64", "i32", "i16"),
])  # fmt: skip
def test_a_chain_that_loses_nothing_or_stays_narrow_is_not(lint: Any, types: tuple[str, ...]) -> None:
    assert lint("lossy-convert", chain(*types)) == []


@pytest.mark.parametrize("op", ["negate", "abs", "reverse"])
def test_what_moves_or_negates_in_between_hides_nothing(lint: Any, op: str) -> None:
    text = chain("f32", "bf16", "f32", between=op)
    if op == "reverse":
        text = text.replace("%0 : tensor<4xbf16>", "%0, dims = [0] : tensor<4xbf16>")
    assert [f.message for f in lint("lossy-convert", text)] == ["f32 -> bf16 (line 2) -> f32 keeps 8 significant bits"]


def test_what_computes_in_between_is_no_chain_but_an_island(lint: Any) -> None:
    text = chain("f32", "bf16", "f32", between="tanh")
    assert lint("lossy-convert", text) == []
    [finding] = lint("narrow-island", text)
    assert finding.where == Where("in.mlir", 4, 8)
    assert finding.message.startswith("the elementwise ops before this convert run in bf16, but their inputs are f32")
    assert finding.todo == "compute them in f32: they round to 8 bits for nothing"


ISLANDS = {
    "a constant is of any type": ("""
  %n = stablehlo.convert %a : (tensor<4xf32>) -> tensor<4xbf16>
  %c = stablehlo.constant dense<2.0> : tensor<bf16>
  %d = stablehlo.broadcast_in_dim %c, dims = [] : (tensor<bf16>) -> tensor<4xbf16>
  %0 = stablehlo.multiply %n, %d : tensor<4xbf16>
  %r = stablehlo.convert %0 : (tensor<4xbf16>) -> tensor<4xf32>""", 1),
    "two inputs": ("""
  %n = stablehlo.convert %a : (tensor<4xf32>) -> tensor<4xbf16>
  %m = stablehlo.convert %b : (tensor<4xf32>) -> tensor<4xbf16>
  %0 = stablehlo.add %n, %m : tensor<4xbf16>
  %1 = stablehlo.tanh %0 : tensor<4xbf16>
  %r = stablehlo.convert %1 : (tensor<4xbf16>) -> tensor<4xf32>""", 1),
    "an input that is narrow from the start": ("""
  %n = stablehlo.convert %a : (tensor<4xf32>) -> tensor<4xbf16>
  %0 = stablehlo.add %n, %h : tensor<4xbf16>
  %r = stablehlo.convert %0 : (tensor<4xbf16>) -> tensor<4xf32>""", 0),
    "a dot in between, which gains from short inputs": ("""
  %n = stablehlo.convert %a : (tensor<4xf32>) -> tensor<4xbf16>
  %0 = stablehlo.dot_general %n, %n, contracting_dims = [] x [] : (tensor<4xbf16>, tensor<4xbf16>) -> tensor<4x4xbf16>
  %1 = stablehlo.tanh %0 : tensor<4x4xbf16>
  %r = stablehlo.convert %1 : (tensor<4x4xbf16>) -> tensor<4x4xf32>""", 0),
    "nothing computed": ("""
  %n = stablehlo.convert %a : (tensor<4xf32>) -> tensor<4xbf16>
  %r = stablehlo.convert %n : (tensor<4xbf16>) -> tensor<4xf32>""", 0),
    "constants only": ("""
  %c = stablehlo.constant dense<2.0> : tensor<4xbf16>
  %0 = stablehlo.add %c, %c : tensor<4xbf16>
  %r = stablehlo.convert %0 : (tensor<4xbf16>) -> tensor<4xf32>""", 0),
    "not back to the type it came from": ("""
  %n = stablehlo.convert %a : (tensor<4xf32>) -> tensor<4xbf16>
  %0 = stablehlo.tanh %n : tensor<4xbf16>
  %r = stablehlo.convert %0 : (tensor<4xbf16>) -> tensor<4xf64>""", 0),
    "a wide island loses nothing": ("""
  %n = stablehlo.convert %h : (tensor<4xbf16>) -> tensor<4xf32>
  %0 = stablehlo.tanh %n : tensor<4xf32>
  %r = stablehlo.convert %0 : (tensor<4xf32>) -> tensor<4xbf16>""", 0),
}  # fmt: skip


@pytest.mark.parametrize("name", ISLANDS)
def test_islands(lint: Any, name: str) -> None:
    body, count = ISLANDS[name]
    text = f"func.func @main(%a: tensor<4xf32>, %b: tensor<4xf32>, %h: tensor<4xbf16>) {{{body}\n  return\n}}\n"
    assert len(lint("narrow-island", text)) == count


def test_an_argument_only_used_narrower_could_be_stored_so(lint: Any) -> None:
    text = """\
func.func @main(%w: tensor<8x4xf32> loc("params.w"("t.py":3:4)), %x: tensor<8xf32>) -> tensor<8x4xbf16> {
  %0 = stablehlo.convert %w : (tensor<8x4xf32>) -> tensor<8x4xbf16>
  %1 = stablehlo.convert %w : (tensor<8x4xf32>) -> tensor<8x4xbf16>
  %2 = stablehlo.add %0, %1 : tensor<8x4xbf16>
  return %2 : tensor<8x4xbf16>
}
"""
    [finding] = lint("narrow-argument", text)
    assert finding.where == Where("t.py", 3, 4)
    assert finding.message == "argument 0 'params.w' (tensor<8x4xf32>) is only used as bf16"
    assert finding.todo == "store it in that type, which takes 64 bytes less"


@pytest.mark.parametrize("body", [
    "%0 = stablehlo.convert %w : (tensor<4xf32>) -> tensor<4xbf16>\n  %1 = stablehlo.abs %w : tensor<4xf32>",
    "%0 = stablehlo.convert %w : (tensor<4xf32>) -> tensor<4xbf16>\n"
    "  %1 = stablehlo.convert %w : (tensor<4xf32>) -> tensor<4xf16>",
    "%0 = stablehlo.convert %w : (tensor<4xf32>) -> tensor<4xf64>",
    "%0 = stablehlo.convert %w : (tensor<4xf32>) -> tensor<4xi32>",
    "",
])  # fmt: skip
def test_arguments_that_are_needed_as_they_are(lint: Any, body: str) -> None:
    assert lint("narrow-argument", f"func.func @main(%w: tensor<4xf32>) {{\n  {body}\n  return\n}}\n") == []


def test_only_the_entry_is_asked_about_its_arguments(lint: Any) -> None:
    text = """\
func.func @main(%w: tensor<4xf32>) -> tensor<4xbf16> {
  %0 = call @f(%w) : (tensor<4xf32>) -> tensor<4xbf16>
  return %0 : tensor<4xbf16>
}
func.func private @f(%w: tensor<4xf32>) -> tensor<4xbf16> {
  %0 = stablehlo.convert %w : (tensor<4xf32>) -> tensor<4xbf16>
  return %0 : tensor<4xbf16>
}
"""
    assert lint("narrow-argument", text) == []


def test_sizes_that_are_not_known_are_left_alone(lint: Any) -> None:
    text = """\
func.func @main(%w: tensor<?xf32>) -> tensor<?xbf16> {
  %0 = stablehlo.convert %w : (tensor<?xf32>) -> tensor<?xbf16>
  return %0 : tensor<?xbf16>
}
"""
    assert lint("narrow-argument", text) == []
