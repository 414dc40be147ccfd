"""Inputs: reproducible, of the asked kind, and in range where the program uses them as indices, bounds or variances."""

from __future__ import annotations

from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from passes.errors import UserError
from passes.execute import inputs
from passes.execute.ranges import Domain, argument_domains
from passes.program.read import Program, parse

GATHER = """
  %r = "stablehlo.gather"(%table, %i) <{dimension_numbers = #stablehlo.gather<offset_dims = [1],
      collapsed_slice_dims = [0], start_index_map = [0], index_vector_dim = 1>,
      slice_sizes = array<i64: 1, 4>}> : (tensor<10x4xf32>, tensor<3x1xi32>) -> tensor<3x4xf32>"""


def domains(text: str) -> list[Domain | None]:
    return argument_domains(parse(text))


def test_an_index_of_a_gather_stays_in_the_table_through_everything_that_hands_it_on() -> None:
    found = domains(f"""
      func.func @main(%table: tensor<10x4xf32>, %tokens: tensor<3xi32>) -> tensor<3x4xf32> {{
        %zero = stablehlo.constant dense<0> : tensor<3xi32>
        %size = stablehlo.constant dense<10> : tensor<3xi32>
        %below = stablehlo.compare LT, %tokens, %zero : (tensor<3xi32>, tensor<3xi32>) -> tensor<3xi1>
        %wrapped = stablehlo.add %tokens, %size : tensor<3xi32>
        %chosen = stablehlo.select %below, %wrapped, %tokens : tensor<3xi1>, tensor<3xi32>
        %i = stablehlo.broadcast_in_dim %chosen, dims = [0] : (tensor<3xi32>) -> tensor<3x1xi32>
        {GATHER}
        return %r : tensor<3x4xf32>
      }}""")
    assert found == [None, Domain(0, 9)]


def test_an_index_that_passes_through_a_private_function_and_comes_back() -> None:
    found = domains(f"""
      func.func private @clip(%x: tensor<3xi32>) -> tensor<3xi32> {{
        %y = stablehlo.negate %x : tensor<3xi32>
        return %x : tensor<3xi32>
      }}
      func.func private @take(%table: tensor<10x4xf32>, %j: tensor<3xi32>) -> tensor<3x4xf32> {{
        %i = stablehlo.reshape %j : (tensor<3xi32>) -> tensor<3x1xi32>
        {GATHER}
        return %r : tensor<3x4xf32>
      }}
      func.func @main(%table: tensor<10x4xf32>, %tokens: tensor<3xi32>) -> tensor<3x4xf32> {{
        %c = func.call @clip(%tokens) : (tensor<3xi32>) -> tensor<3xi32>
        %r = func.call @take(%table, %c) : (tensor<10x4xf32>, tensor<3xi32>) -> tensor<3x4xf32>
        return %r : tensor<3x4xf32>
      }}""")
    assert found == [None, Domain(0, 9)]


def test_a_loop_that_an_argument_bounds_is_short_and_its_carried_index_in_range() -> None:
    found = domains("""
      func.func @main(%x: tensor<8xf32>, %n: tensor<i32>, %start: tensor<i32>) -> tensor<2xf32> {
        %zero = stablehlo.constant dense<0> : tensor<i32>
        %init = stablehlo.constant dense<0.0> : tensor<2xf32>
        %r:4 = stablehlo.while(%i = %zero, %limit = %n, %at = %start, %sum = %init)
            : tensor<i32>, tensor<i32>, tensor<i32>, tensor<2xf32>
        cond {
          %c = stablehlo.compare LT, %i, %limit : (tensor<i32>, tensor<i32>) -> tensor<i1>
          stablehlo.return %c : tensor<i1>
        } do {
          %one = stablehlo.constant dense<1> : tensor<i32>
          %j = stablehlo.add %i, %one : tensor<i32>
          %part = stablehlo.dynamic_slice %x, %at, sizes = [2] : (tensor<8xf32>, tensor<i32>) -> tensor<2xf32>
          %more = stablehlo.add %sum, %part : tensor<2xf32>
          stablehlo.return %j, %limit, %at, %more : tensor<i32>, tensor<i32>, tensor<i32>, tensor<2xf32>
        }
        return %r#3 : tensor<2xf32>
      }""")
    assert found == [None, Domain(0, 3), Domain(0, 6)]


def test_scatter_update_branch_shift_divisor_one_hot_and_variance() -> None:
    found = domains("""
      func.func @main(%x: tensor<10x4xf32>, %at: tensor<2x1xi64>, %u: tensor<2x4xf32>, %branch: tensor<i32>,
                      %shift: tensor<i8>, %by: tensor<i32>, %label: tensor<5xi32>, %var: tensor<4xf32>,
                      %row: tensor<i32>, %patch: tensor<3x4xf32>)
          -> (tensor<10x4xf32>, tensor<i32>, tensor<i8>, tensor<i32>, tensor<5x7xi1>, tensor<4xf32>, tensor<10x4xf32>) {
        %s = "stablehlo.scatter"(%x, %at, %u) <{scatter_dimension_numbers = #stablehlo.scatter<
            update_window_dims = [1], inserted_window_dims = [0], scatter_dims_to_operand_dims = [0],
            index_vector_dim = 1>}> ({
          ^bb0(%a: tensor<f32>, %b: tensor<f32>):
            %c = stablehlo.add %a, %b : tensor<f32>
            stablehlo.return %c : tensor<f32>
        }) : (tensor<10x4xf32>, tensor<2x1xi64>, tensor<2x4xf32>) -> tensor<10x4xf32>
        %b = "stablehlo.case"(%branch) ({
          stablehlo.return %by : tensor<i32>
        }, {
          %z = stablehlo.negate %by : tensor<i32>
          stablehlo.return %z : tensor<i32>
        }) : (tensor<i32>) -> tensor<i32>
        %one = stablehlo.constant dense<1> : tensor<i8>
        %h = stablehlo.shift_left %one, %shift : tensor<i8>
        %k = stablehlo.constant dense<100> : tensor<i32>
        %d = stablehlo.divide %k, %by : tensor<i32>
        %classes = stablehlo.iota dim = 1 : tensor<5x7xi32>
        %labels = stablehlo.broadcast_in_dim %label, dims = [0] : (tensor<5xi32>) -> tensor<5x7xi32>
        %hot = stablehlo.compare EQ, %labels, %classes : (tensor<5x7xi32>, tensor<5x7xi32>) -> tensor<5x7xi1>
        %eps = stablehlo.constant dense<1.0e-5> : tensor<4xf32>
        %v = stablehlo.add %var, %eps : tensor<4xf32>
        %q = stablehlo.rsqrt %v : tensor<4xf32>
        %zero = stablehlo.constant dense<0> : tensor<i32>
        %w = stablehlo.dynamic_update_slice %x, %patch, %row, %zero
            : (tensor<10x4xf32>, tensor<3x4xf32>, tensor<i32>, tensor<i32>) -> tensor<10x4xf32>
        return %s, %b, %h, %d, %hot, %q, %w
          : tensor<10x4xf32>, tensor<i32>, tensor<i8>, tensor<i32>, tensor<5x7xi1>, tensor<4xf32>, tensor<10x4xf32>
      }""")
    assert found == [
        None, Domain(0, 9), None, Domain(0, 1), Domain(0, 7), Domain(1, None), Domain(0, 6), Domain(0, None),
        Domain(0, 7), None,
    ]


def test_what_a_root_is_taken_of_is_not_negative_but_what_is_squared_may_be() -> None:
    found = domains("""
      func.func @main(%x: tensor<4x8xf32>, %v: tensor<4x8xf32>) -> (tensor<4xf32>, tensor<4xf32>) {
        %zero = stablehlo.constant dense<0.0> : tensor<f32>
        %decay = stablehlo.constant dense<0.9> : tensor<4xf32>
        %xx = stablehlo.multiply %x, %x : tensor<4x8xf32>
        %s = stablehlo.reduce(%xx init: %zero) applies stablehlo.add across dimensions = [1]
          : (tensor<4x8xf32>, tensor<f32>) -> tensor<4xf32>
        %norm = stablehlo.rsqrt %s : tensor<4xf32>
        %w = stablehlo.reduce(%v init: %zero) applies stablehlo.add across dimensions = [1]
          : (tensor<4x8xf32>, tensor<f32>) -> tensor<4xf32>
        %d = stablehlo.multiply %w, %decay : tensor<4xf32>
        %root = stablehlo.sqrt %d : tensor<4xf32>
        return %norm, %root : tensor<4xf32>, tensor<4xf32>
      }""")
    assert found == [None, Domain(0, None)]


@pytest.mark.parametrize("element", ["f32", "bf16"])
def test_a_fractional_or_unknown_power_wants_no_negative_base(element: str) -> None:
    type = f"tensor<4x{element}>"
    found = domains(f"""
      func.func @main(%a: {type}, %b: {type}, %c: {type}, %e: {type}) -> ({type}, {type}, {type}) {{
        %half = stablehlo.constant dense<-0.5> : tensor<{element}>
        %halves = stablehlo.broadcast_in_dim %half, dims = [] : (tensor<{element}>) -> {type}
        %three = stablehlo.constant dense<3.0> : {type}
        %x = stablehlo.power %a, %halves : {type}
        %y = stablehlo.power %b, %three : {type}
        %z = stablehlo.power %c, %e : {type}
        return %x, %y, %z : {type}, {type}, {type}
      }}""")
    assert found == [Domain(0, None), None, Domain(0, None), None]


def test_a_composite_s_argument_is_followed_into_its_decomposition() -> None:
    found = domains(f"""
      func.func private @take(%table: tensor<10x4xf32>, %i: tensor<3x1xi32>) -> tensor<3x4xf32> {{
        {GATHER}
        return %r : tensor<3x4xf32>
      }}
      func.func @main(%table: tensor<10x4xf32>, %i: tensor<3x1xi32>) -> tensor<3x4xf32> {{
        %r = stablehlo.composite "stablehlo.gather" %table, %i {{decomposition = @take}}
          : (tensor<10x4xf32>, tensor<3x1xi32>) -> tensor<3x4xf32>
        return %r : tensor<3x4xf32>
      }}""")
    assert found == [None, Domain(0, 9)]


def identity(type: str) -> Program:
    return parse(f"func.func @main(%a: {type}, %b: {type}) -> {type} {{ return %a : {type} }}")


@pytest.mark.parametrize("kind", inputs.KINDS)
@pytest.mark.parametrize("element", ["f32", "bf16", "f8E4M3FN", "i1", "i4", "ui8", "i32", "ui64", "complex<f32>"])
def test_every_kind_of_every_type_is_reproducible_and_of_its_type(kind: str, element: str) -> None:
    program = identity(f"tensor<5x7x{element}>")
    first, again, other = (inputs.make(program, kind, seed).arrays for seed in (1, 1, 2))
    assert first[0].shape == (5, 7)
    assert all(a.tobytes() == b.tobytes() for a, b in zip(first, again, strict=True))
    assert first[0].tobytes() != other[0].tobytes()
    assert first[0].tobytes() != first[1].tobytes()


def test_exact_inputs_are_small_integers() -> None:
    for element, largest in (("f32", 3), ("bf16", 1)):
        (array, _) = inputs.make(identity(f"tensor<100x{element}>"), "exact").arrays
        values = array.astype(np.float64)
        np.testing.assert_array_equal(values, np.round(values))
        assert np.abs(values).max() == largest


def test_special_inputs_hold_every_special_value() -> None:
    (array, _) = inputs.make(identity("tensor<20x20xbf16>"), "special").arrays
    info = ml_dtypes.finfo(ml_dtypes.bfloat16)
    values = array.astype(np.float64)
    assert np.isnan(values).any() and (values == np.inf).any() and (values == -np.inf).any()
    assert (np.signbit(values) & (values == 0)).any()
    assert (values == float(info.smallest_subnormal)).any() and (values == float(info.max)).any()
    (array, _) = inputs.make(identity("tensor<20xi32>"), "special").arrays
    assert array.min() == np.iinfo(np.int32).min and array.max() == np.iinfo(np.int32).max


def lookup() -> Program:
    return parse(f"""func.func @main(%table: tensor<10x4xf32>, %i: tensor<3x1xi32>) -> tensor<3x4xf32> {{
        {GATHER}
        return %r : tensor<3x4xf32>
      }}""")


def test_out_of_range_goes_beyond_both_ends() -> None:
    drawn = np.concatenate([inputs.make(lookup(), "out-of-range", seed).arrays[1] for seed in range(30)])
    assert -10 <= drawn.min() < 0 and 9 < drawn.max() <= 19
    drawn = np.concatenate([inputs.make(lookup(), "normal", seed).arrays[1] for seed in range(30)])
    assert drawn.min() == 0 and drawn.max() == 9


def test_an_argument_keeps_its_values_when_others_come() -> None:
    one = parse("func.func @main(%a: tensor<3xf32>) -> tensor<3xf32> { return %a : tensor<3xf32> }")
    np.testing.assert_array_equal(inputs.make(one).arrays[0], inputs.make(identity("tensor<3xf32>")).arrays[0])


def test_npz_by_name_position_and_for_types_numpy_does_not_know(tmp_path: Path) -> None:
    program = identity("tensor<3xbf16>")
    first, second = np.arange(3).astype(ml_dtypes.bfloat16), np.ones(3, ml_dtypes.bfloat16)
    for keys in (("arg0", "arg1"), ("0", "1")):
        np.savez(tmp_path / "x.npz", **dict(zip(keys, (first, second), strict=True)))  # type: ignore[arg-type]
        found = inputs.make(program, str(tmp_path / "x.npz"))
        np.testing.assert_array_equal(found.arrays, [first, second])
        assert found.description == f"inputs from {tmp_path / 'x.npz'}"


def test_npy_is_the_only_argument(tmp_path: Path) -> None:
    program = parse("func.func @main(%a: tensor<3xf32>) -> tensor<3xf32> { return %a : tensor<3xf32> }")
    np.save(tmp_path / "x.npy", np.arange(3, dtype=np.float32))
    np.testing.assert_array_equal(inputs.make(program, str(tmp_path / "x.npy")).arrays[0], [0, 1, 2])


def test_files_that_do_not_fit(tmp_path: Path) -> None:
    program = identity("tensor<3xf32>")

    def fails(path: str, message: str) -> None:
        with pytest.raises(UserError, match=message):
            inputs.make(program, path)

    fails("sideways", "no kind of inputs; choose normal, uniform")
    fails(str(tmp_path / "missing.npz"), "no such file")
    (tmp_path / "junk.npz").write_bytes(b"junk")
    fails(str(tmp_path / "junk.npz"), "damaged or unsupported")
    np.savez(tmp_path / "one.npz", arg0=np.zeros(3, np.float32))
    fails(str(tmp_path / "one.npz"), "no array for argument 1: none of arg1, 1, arr_1 is among arg0")
    (tmp_path / "cut.npz").write_bytes((tmp_path / "one.npz").read_bytes()[:-30])
    fails(str(tmp_path / "cut.npz"), "damaged or unsupported")
    np.savez(tmp_path / "wide.npz", arg0=np.zeros(3), arg1=np.zeros(3))
    fails(str(tmp_path / "wide.npz"), r"argument 0 \(arg0\) is tensor<3xf32>; the file has float64 of shape \[3\]")
    np.save(tmp_path / "object.npy", np.array([{}], object), allow_pickle=True)
    fails(str(tmp_path / "object.npy"), "damaged or unsupported numpy file")
