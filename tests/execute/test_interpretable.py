"""The interpreter runs what it can be brought to run as XLA does, and refuses the rest by name."""

from __future__ import annotations

import numpy as np
import pytest

from passes.errors import NativeFailure, UserError
from passes.execute import inputs
from passes.execute.arrays import same_bits
from passes.execute.compare import CLOSE, compare
from passes.execute.executor import Executor
from passes.program.read import Program, parse

INTERPRETER = Executor("interpreter")
SQUARE = "tensor<4x4xf32>"


def unary(body: str, type: str = SQUARE, result: str = SQUARE) -> Program:
    text = f"func.func @main(%a: {type}) -> {result} {{\n{body}\nreturn %r : {result} }}"
    return parse('sdy.mesh @mesh = <["x"=2]>\n' + text)


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("stablehlo.cholesky", f"%r = stablehlo.cholesky %a, lower = true : {SQUARE}"),
        ("stablehlo.custom_call @mine", f"%r = stablehlo.custom_call @mine(%a) : ({SQUARE}) -> {SQUARE}"),
        ("stablehlo.rng", f"""%z = stablehlo.constant dense<0.0> : tensor<f32>
          %n = stablehlo.constant dense<4> : tensor<2xi64>
          %r = stablehlo.rng %z, %z, %n, distribution = NORMAL
            : (tensor<f32>, tensor<f32>, tensor<2xi64>) -> {SQUARE}"""),
    ],
)
def test_what_it_does_not_know_is_refused_by_name(name: str, body: str) -> None:
    with pytest.raises(UserError, match=f"cannot run {name}") as caught:
        INTERPRETER.run_global(unary(body), [np.zeros((4, 4), np.float32)])
    assert not isinstance(caught.value, NativeFailure)


def test_a_function_that_is_not_called_may_hold_what_it_does_not_know() -> None:
    program = parse(f"""func.func private @unused(%a: {SQUARE}) -> {SQUARE} {{
      %r = stablehlo.cholesky %a, lower = true : {SQUARE}
      return %r : {SQUARE}
    }}
    func.func @main(%a: {SQUARE}) -> {SQUARE} {{ return %a : {SQUARE} }}""")
    given = inputs.make(program).arrays
    assert same_bits(INTERPRETER.run_global(program, given)[0], given[0])


@pytest.mark.parametrize(
    "body",
    [
        f'%r = sdy.sharding_constraint %a <@mesh, [{{"x"}}, {{}}]> : {SQUARE}',
        f'%r = stablehlo.custom_call @Sharding(%a) {{mhlo.sharding = "{{replicated}}"}} : ({SQUARE}) -> {SQUARE}',
    ],
)
def test_annotations_change_nothing(body: str) -> None:
    given = np.arange(16, dtype=np.float32).reshape(4, 4)
    assert same_bits(INTERPRETER.run_global(unary(body), [given])[0], given)


def test_a_scatter_leaves_alone_what_it_takes() -> None:
    program = parse("""func.func @main(%a: tensor<4xf32>, %i: tensor<2x1xi32>, %u: tensor<2xf32>)
        -> (tensor<4xf32>, tensor<4xf32>, tensor<4xf32>) {
      %0 = stablehlo.negate %a : tensor<4xf32>
      %1 = "stablehlo.scatter"(%0, %i, %u) <{scatter_dimension_numbers = #stablehlo.scatter<
          inserted_window_dims = [0], scatter_dims_to_operand_dims = [0], index_vector_dim = 1>}> ({
        ^bb0(%x: tensor<f32>, %y: tensor<f32>):
          stablehlo.return %y : tensor<f32>
      }) : (tensor<4xf32>, tensor<2x1xi32>, tensor<2xf32>) -> tensor<4xf32>
      %2 = stablehlo.negate %0 : tensor<4xf32>
      return %0, %1, %2 : tensor<4xf32>, tensor<4xf32>, tensor<4xf32>
    }""")
    taken = np.arange(4, dtype=np.float32)
    found = INTERPRETER.run_global(program, [taken, np.array([[1], [3]], np.int32), np.array([7, 9], np.float32)])
    np.testing.assert_array_equal(found, [-taken, [0, 7, -2, 9], taken])


@pytest.mark.parametrize(
    ("kind", "taken", "made"),
    [
        ("FFT", "4x8xcomplex<f32>", "4x8xcomplex<f32>"), ("IFFT", "4x8xcomplex<f64>", "4x8xcomplex<f64>"),
        ("RFFT", "4x8xf32", "4x5xcomplex<f32>"), ("IRFFT", "4x5xcomplex<f32>", "4x8xf32"),
    ],
)
def test_fourier_transforms(kind: str, taken: str, made: str) -> None:
    types = f"(tensor<{taken}>) -> tensor<{made}>"
    body = f"%r = stablehlo.fft %a, type = {kind}, length = [8] : {types}"
    agree(unary(body, f"tensor<{taken}>", f"tensor<{made}>"))


def test_an_inverse_transform_of_odd_length_is_refused_since_it_is_wrong() -> None:
    types = "(tensor<2x4xcomplex<f64>>) -> tensor<2x7xf64>"
    body = f"%r = stablehlo.fft %a, type = IRFFT, length = [7] : {types}"
    with pytest.raises(UserError, match=r"stablehlo\.fft of type IRFFT and odd length"):
        agree(unary(body, "tensor<2x4xcomplex<f64>>", "tensor<2x7xf64>"))


def test_deprecated_ops_and_other_dialects() -> None:
    agree(unary(f"%r = stablehlo.dot %a, %a : ({SQUARE}, {SQUARE}) -> {SQUARE}"))
    agree(unary(f"%r = chlo.erf %a : {SQUARE} -> {SQUARE}"))


def agree(program: Program) -> None:
    given = inputs.make(program).arrays
    (one,), (other,) = (engine.run_global(program, given) for engine in (Executor(), INTERPRETER))
    assert compare("r", one, other, CLOSE).ok
