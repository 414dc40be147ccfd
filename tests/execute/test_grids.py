"""Inputs ``exact`` adapt to the program: its sums of them round nowhere, however long they are and in whatever type."""

from __future__ import annotations

import numpy as np
import pytest

from passes.execute import inputs
from passes.execute.arrays import TensorType, same_bits, tensor_type
from passes.execute.exactness import rounds_nowhere
from passes.execute.executor import Executor
from passes.execute.grids import Grid, grids
from passes.program.entry import arguments, find_entry
from passes.program.read import Program, parse


def chosen(program: Program) -> list[Grid]:
    types = [t for v in arguments(find_entry(program)) if (t := tensor_type(v.type)) is not None]
    return grids(program, types, [None] * len(types))


def dot(left: str, right: str, result: str, element: str, over: str = "[1] x [0]", name: str = "r") -> str:
    types = f"(tensor<{left}x{element}>, tensor<{right}x{element}>) -> tensor<{result}x{element}>"
    return f"%{name} = stablehlo.dot_general %x, %w, contracting_dims = {over} : {types}"


def layer(rows: int, width: int, element: str) -> Program:
    x, w = f"tensor<{rows}x{width}x{element}>", f"tensor<{width}x{width}x{element}>"
    return parse(f"""func.func @main(%x: {x}, %w: {w}) -> {x} {{
      {dot(f"{rows}x{width}", f"{width}x{width}", f"{rows}x{width}", element)}
      return %r : {x}
    }}""")


@pytest.mark.parametrize(
    ("element", "width", "expected"),
    [
        ("f32", 64, [Grid(3), Grid(3)]), ("f32", 1024, [Grid(3), Grid(1)]), ("f64", 1024, [Grid(3), Grid(3)]),
        ("f16", 32, [Grid(1), Grid(1)]), ("f16", 256, [Grid(1), Grid(1, 6)]), ("bf16", 256, [Grid(1), Grid(1, 16)]),
    ],
)
def test_a_dot_is_thinned_as_far_as_its_type_and_length_ask(element: str, width: int, expected: list[Grid]) -> None:
    assert chosen(layer(8, width, element)) == expected


@pytest.mark.parametrize("element", ["f32", "f16", "bf16", "f8E5M2"])
@pytest.mark.parametrize("width", [8, 320])
def test_a_dot_of_any_length_is_exact(element: str, width: int) -> None:
    program = layer(6, width, element)
    given = inputs.make(program, "exact", 3).arrays
    assert rounds_nowhere(program, given)
    # Not by being nothing: most results depend on what was drawn.
    wide = [array.astype(np.float64) for array in given]
    assert (wide[0] @ wide[1] != 0).mean() > 0.4


# What thins one argument asks for it by different ways.
_CHAIN = """func.func @main(%x: tensor<4x96xbf16>, %w: tensor<96x96xbf16>) -> tensor<4x96xbf16> {
  %a = stablehlo.dot_general %x, %w, contracting_dims = [1] x [0]
    : (tensor<4x96xbf16>, tensor<96x96xbf16>) -> tensor<4x96xbf16>
  %b = stablehlo.dot_general %a, %w, contracting_dims = [1] x [1]
    : (tensor<4x96xbf16>, tensor<96x96xbf16>) -> tensor<4x96xbf16>
  %r = stablehlo.dot_general %b, %w, contracting_dims = [1] x [0]
    : (tensor<4x96xbf16>, tensor<96x96xbf16>) -> tensor<4x96xbf16>
  return %r : tensor<4x96xbf16>
}"""
_MOVED = """func.func @main(%x: tensor<4x96xbf16>, %w: tensor<2x24x96xbf16>) -> tensor<4x48xbf16> {
  %t = stablehlo.transpose %w, dims = [2, 0, 1] : (tensor<2x24x96xbf16>) -> tensor<96x2x24xbf16>
  %m = stablehlo.reshape %t : (tensor<96x2x24xbf16>) -> tensor<96x48xbf16>
  %n = stablehlo.negate %m : tensor<96x48xbf16>
  %r = stablehlo.dot_general %x, %n, contracting_dims = [1] x [0]
    : (tensor<4x96xbf16>, tensor<96x48xbf16>) -> tensor<4x48xbf16>
  return %r : tensor<4x48xbf16>
}"""
_CALLED = """func.func private @layer(%x: tensor<4x96xbf16>, %w: tensor<96x96xbf16>) -> tensor<4x96xbf16> {
  %r = stablehlo.dot_general %x, %w, contracting_dims = [1] x [0]
    : (tensor<4x96xbf16>, tensor<96x96xbf16>) -> tensor<4x96xbf16>
  return %r : tensor<4x96xbf16>
}
func.func @main(%x: tensor<4x96xbf16>, %w: tensor<2x96x96xbf16>) -> tensor<4x96xbf16> {
  %0 = stablehlo.slice %w [0:1, 0:96, 0:96] : (tensor<2x96x96xbf16>) -> tensor<1x96x96xbf16>
  %1 = stablehlo.reshape %0 : (tensor<1x96x96xbf16>) -> tensor<96x96xbf16>
  %2 = func.call @layer(%x, %1) : (tensor<4x96xbf16>, tensor<96x96xbf16>) -> tensor<4x96xbf16>
  %3 = stablehlo.slice %w [1:2, 0:96, 0:96] : (tensor<2x96x96xbf16>) -> tensor<1x96x96xbf16>
  %4 = stablehlo.reshape %3 : (tensor<1x96x96xbf16>) -> tensor<96x96xbf16>
  %5 = func.call @layer(%2, %4) : (tensor<4x96xbf16>, tensor<96x96xbf16>) -> tensor<4x96xbf16>
  %zero = stablehlo.constant dense<0.0> : tensor<4x96xbf16>
  %r = stablehlo.maximum %5, %zero : tensor<4x96xbf16>
  return %r : tensor<4x96xbf16>
}"""
_CONVOLUTION = """func.func @main(%x: tensor<2x8x8x32xbf16>, %w: tensor<3x3x32x16xbf16>) -> tensor<2x8x8x16xbf16> {
  %r = stablehlo.convolution(%x, %w) dim_numbers = [b, 0, 1, f]x[0, 1, i, o]->[b, 0, 1, f],
      window = {pad = [[1, 1], [1, 1]]} {batch_group_count = 1 : i64, feature_group_count = 1 : i64}
    : (tensor<2x8x8x32xbf16>, tensor<3x3x32x16xbf16>) -> tensor<2x8x8x16xbf16>
  return %r : tensor<2x8x8x16xbf16>
}"""
_REDUCED = """func.func @main(%x: tensor<30x70x20xf16>) -> tensor<20xf16> {
  %zero = stablehlo.constant dense<0.0> : tensor<f16>
  %r = stablehlo.reduce(%x init: %zero) applies stablehlo.add across dimensions = [0, 1]
    : (tensor<30x70x20xf16>, tensor<f16>) -> tensor<20xf16>
  return %r : tensor<20xf16>
}"""


@pytest.mark.parametrize(
    "text", [_CHAIN, _MOVED, _CALLED, _CONVOLUTION, _REDUCED],
    ids=["chain", "moved", "called", "convolution", "reduced"],
)
def test_sums_of_arguments_that_come_a_long_way_are_exact(text: str) -> None:
    program = parse(text)
    given = inputs.make(program, "exact").arrays
    assert rounds_nowhere(program, given)
    assert not rounds_nowhere(program, [np.full_like(x, 3) for x in given])
    one, other = (Executor(engine).run_global(program, given) for engine in ("xla", "interpreter"))
    assert all(map(same_bits, one, other))
    assert (one[0].astype(np.float64) != 0).any()


def test_a_loop_over_layers_keeps_what_it_carries_small() -> None:
    program = parse("""func.func @main(%x: tensor<4x96xbf16>, %w: tensor<20x96x96xbf16>) -> tensor<4x96xbf16> {
      %zero = stablehlo.constant dense<0> : tensor<i32>
      %r:3 = stablehlo.while(%i = %zero, %h = %x, %all = %w)
          : tensor<i32>, tensor<4x96xbf16>, tensor<20x96x96xbf16>
      cond {
        %n = stablehlo.constant dense<20> : tensor<i32>
        %c = stablehlo.compare LT, %i, %n : (tensor<i32>, tensor<i32>) -> tensor<i1>
        stablehlo.return %c : tensor<i1>
      } do {
        %o = stablehlo.constant dense<0> : tensor<i32>
        %k = stablehlo.constant dense<1> : tensor<i32>
        %s = stablehlo.dynamic_slice %all, %i, %o, %o, sizes = [1, 96, 96]
          : (tensor<20x96x96xbf16>, tensor<i32>, tensor<i32>, tensor<i32>) -> tensor<1x96x96xbf16>
        %m = stablehlo.reshape %s : (tensor<1x96x96xbf16>) -> tensor<96x96xbf16>
        %d = stablehlo.dot_general %h, %m, contracting_dims = [1] x [0]
          : (tensor<4x96xbf16>, tensor<96x96xbf16>) -> tensor<4x96xbf16>
        %j = stablehlo.add %i, %k : tensor<i32>
        stablehlo.return %j, %d, %all : tensor<i32>, tensor<4x96xbf16>, tensor<20x96x96xbf16>
      }
      return %r#1 : tensor<4x96xbf16>
    }""")
    assert chosen(program)[1] == Grid(1, 96)
    given = inputs.make(program, "exact").arrays
    one, other = (Executor(engine).run_global(program, given) for engine in ("xla", "interpreter"))
    assert same_bits(one[0], other[0])
    assert 0 < np.abs(one[0].astype(np.float64)).max() <= 16


def test_nothing_is_thinned_in_vain_or_for_values_that_are_no_integers() -> None:
    behind = parse("""func.func @main(%x: tensor<4x512xbf16>, %w: tensor<512x4xbf16>) -> tensor<4x4xbf16> {
      %e = stablehlo.exponential %x : tensor<4x512xbf16>
      %r = stablehlo.dot_general %e, %w, contracting_dims = [1] x [0]
        : (tensor<4x512xbf16>, tensor<512x4xbf16>) -> tensor<4x4xbf16>
      return %r : tensor<4x4xbf16>
    }""")
    assert chosen(behind) == [Grid(1), Grid(1)]
    large = parse("""func.func @main(%w: tensor<512x4xbf16>) -> tensor<4x4xbf16> {
      %x = stablehlo.constant dense<1024.0> : tensor<4x512xbf16>
      %r = stablehlo.dot_general %x, %w, contracting_dims = [1] x [0]
        : (tensor<4x512xbf16>, tensor<512x4xbf16>) -> tensor<4x4xbf16>
      return %r : tensor<4x4xbf16>
    }""")
    assert chosen(large) == [Grid(1)]


def test_functions_that_call_themselves_end_the_walk() -> None:
    program = parse("""func.func private @f(%x: tensor<4xf32>) -> tensor<4xf32> {
      %r = func.call @f(%x) : (tensor<4xf32>) -> tensor<4xf32>
      return %r : tensor<4xf32>
    }
    func.func @main(%x: tensor<4xf32>) -> tensor<4xf32> {
      %r = func.call @f(%x) : (tensor<4xf32>) -> tensor<4xf32>
      return %r : tensor<4xf32>
    }""")
    assert chosen(program) == [Grid(3)]
    assert not rounds_nowhere(program, [np.ones(4, np.float32)])


@pytest.mark.parametrize("one_in", [2, 5, 12])
def test_thinned_elements_lie_evenly_along_every_dimension(one_in: int) -> None:
    array = Grid(1, one_in).draw(TensorType((12, 12, 10), "f32"), np.random.default_rng(0))
    for dim, size in enumerate(array.shape):
        assert np.count_nonzero(array, axis=dim).max() <= -(-size // one_in)
    assert np.count_nonzero(array) == pytest.approx(array.size / one_in, rel=0.15)
