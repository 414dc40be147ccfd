"""Ragged dots spelled as dense ones become sparse; forms that multiply no more than needed are reported and left."""

from __future__ import annotations

import numpy as np
import pytest

from passes.errors import UserError
from passes.execute.executor import Executor
from passes.moe.others import GROUPS, LOOP, PLACES
from passes.partition.partition import partition
from passes.pipeline import runner
from passes.program.read import parse
from passes.program.write import to_text
from tests.moe.layer_programs import distance, on_mesh, per_device, sparsified

# As JAX 0.10 writes lax.ragged_dot for a CPU: 12 rows, 4 experts; twice, with the same groups.
RAGGED = """
func.func @main(%x: tensor<12x6xf32>, %w: tensor<4x6x5xf32>, %v: tensor<4x5x6xf32>, %sizes: tensor<4xi32>)
    -> tensor<12x6xf32> {
  %none = stablehlo.constant dense<0> : tensor<i32>
  %zero = stablehlo.constant dense<0.0> : tensor<f32>
  %0 = "stablehlo.reduce_window"(%sizes, %none) <{padding = dense<[[3, 0]]> : tensor<1x2xi64>, window_dimensions =
    array<i64: 4>, window_strides = array<i64: 1>}> ({
  ^bb0(%a: tensor<i32>, %b: tensor<i32>):
    %sum = stablehlo.add %a, %b : tensor<i32>
    stablehlo.return %sum : tensor<i32>
  }) : (tensor<4xi32>, tensor<i32>) -> tensor<4xi32>
  %1 = stablehlo.reshape %none : (tensor<i32>) -> tensor<1xi32>
  %2 = stablehlo.slice %0 [0:3] : (tensor<4xi32>) -> tensor<3xi32>
  %3 = stablehlo.concatenate %1, %2, dim = 0 : (tensor<1xi32>, tensor<3xi32>) -> tensor<4xi32>
  %4 = stablehlo.iota dim = 1 : tensor<4x12x6xi32>
  %5 = stablehlo.broadcast_in_dim %3, dims = [0] : (tensor<4xi32>) -> tensor<4x12x6xi32>
  %6 = stablehlo.broadcast_in_dim %0, dims = [0] : (tensor<4xi32>) -> tensor<4x12x6xi32>
  %7 = stablehlo.compare LE, %5, %4 : (tensor<4x12x6xi32>, tensor<4x12x6xi32>) -> tensor<4x12x6xi1>
  %8 = stablehlo.compare LT, %4, %6 : (tensor<4x12x6xi32>, tensor<4x12x6xi32>) -> tensor<4x12x6xi1>
  %9 = stablehlo.and %7, %8 : tensor<4x12x6xi1>
  %10 = stablehlo.broadcast_in_dim %x, dims = [1, 2] : (tensor<12x6xf32>) -> tensor<4x12x6xf32>
  %11 = stablehlo.broadcast_in_dim %zero, dims = [] : (tensor<f32>) -> tensor<4x12x6xf32>
  %12 = stablehlo.select %9, %10, %11 : tensor<4x12x6xi1>, tensor<4x12x6xf32>
  %13 = stablehlo.dot_general %12, %w, contracting_dims = [2, 0] x [1, 0]
    : (tensor<4x12x6xf32>, tensor<4x6x5xf32>) -> tensor<12x5xf32>
  %14 = stablehlo.negate %13 : tensor<12x5xf32>
  %15 = stablehlo.slice %9 [0:4, 0:12, 0:5] : (tensor<4x12x6xi1>) -> tensor<4x12x5xi1>
  %16 = stablehlo.iota dim = 1 : tensor<4x12x5xi32>
  %17 = stablehlo.broadcast_in_dim %3, dims = [0] : (tensor<4xi32>) -> tensor<4x12x5xi32>
  %18 = stablehlo.broadcast_in_dim %0, dims = [0] : (tensor<4xi32>) -> tensor<4x12x5xi32>
  %19 = stablehlo.compare LE, %17, %16 : (tensor<4x12x5xi32>, tensor<4x12x5xi32>) -> tensor<4x12x5xi1>
  %20 = stablehlo.compare LT, %16, %18 : (tensor<4x12x5xi32>, tensor<4x12x5xi32>) -> tensor<4x12x5xi1>
  %21 = stablehlo.and %19, %20 : tensor<4x12x5xi1>
  %22 = stablehlo.broadcast_in_dim %14, dims = [1, 2] : (tensor<12x5xf32>) -> tensor<4x12x5xf32>
  %23 = stablehlo.broadcast_in_dim %zero, dims = [] : (tensor<f32>) -> tensor<4x12x5xf32>
  %24 = stablehlo.select %21, %22, %23 : tensor<4x12x5xi1>, tensor<4x12x5xf32>
  %25 = stablehlo.dot_general %v, %24, contracting_dims = [0, 1] x [0, 2]
    : (tensor<4x5x6xf32>, tensor<4x12x5xf32>) -> tensor<6x12xf32>
  %26 = stablehlo.transpose %25, dims = [1, 0] : (tensor<6x12xf32>) -> tensor<12x6xf32>
  return %26 : tensor<12x6xf32>
}
"""


def values(sizes: list[int]) -> list[np.ndarray]:
    """Whole numbers, so that sums are exact, and the sizes of groups."""
    rng = np.random.default_rng(4)
    given = [rng.integers(-3, 4, shape).astype(np.float32) for shape in ((12, 6), (4, 6, 5), (4, 5, 6))]
    return [*given, np.array(sizes, np.int32)]


@pytest.mark.parametrize("sizes", [[3, 0, 7, 2], [0, 0, 0, 12], [1, 2, 3, 4], [5, 5, 5, 5]])
def test_groups_become_masks(sizes: list[int]) -> None:
    """Empty groups, rows that are in none, and groups that want more rows than there are."""
    program, found, counts = sparsified(RAGGED)
    assert counts == {"layers": 1, "products": 2}
    assert str(found[0]).endswith("mixture of 4 experts by groups of 12 sorted rows made sparse")
    runner.run(program, "builtin.module(dead-ops)")
    assert "dot_general" not in to_text(program.module).split("func.func private")[0]
    run = Executor("interpreter")
    (want,), (got,) = run.run_global(parse(RAGGED, "m"), values(sizes)), run.run_global(program, values(sizes))
    assert want.any() and np.array_equal(got, want)


def test_on_devices() -> None:
    """Matrices that were multiplied whole are split by experts, with NaN in the products of other rows."""
    (want,) = Executor("interpreter").run_global(parse(RAGGED, "m"), values([3, 0, 7, 2]))
    program = on_mesh(RAGGED, '"x"=4', {})
    runner.run(program, "builtin.module(moe-sparsify,moe-expert-parallel{poison=true},dead-ops)")
    report = partition(program)
    assert report.side_table.arguments[1].local_shape == (1, 6, 5)
    given = {str(i): v for i, v in enumerate(values([3, 0, 7, 2]))}
    assert distance(per_device(program, report, given), want) == 0


def test_experts_that_do_not_divide_are_refused() -> None:
    program = on_mesh(RAGGED, '"x"=3', {})
    with pytest.raises(UserError) as found:
        runner.run(program, "builtin.module(moe-sparsify,moe-expert-parallel)")
    assert found.value.message == ("sparse_matmul: 4 experts do not divide by the 3 devices along x=3; they divide by "
                                   "1, 2, 4")


NOT_GROUPS = {
    "a mask along what is contracted": ("%4 = stablehlo.iota dim = 1", "%4 = stablehlo.iota dim = 2"),
    "a mask that is given": ("%9 = stablehlo.and %7, %8 : tensor<4x12x6xi1>", "%9 = stablehlo.compare LT, %m, %6 : "
                             "(tensor<4x12x6xi32>, tensor<4x12x6xi32>) -> tensor<4x12x6xi1>"),
    "ones elsewhere": ("%11 = stablehlo.broadcast_in_dim %zero", "%one = stablehlo.constant dense<1.0> : tensor<f32>\n"
                       "  %11 = stablehlo.broadcast_in_dim %one"),
    "rows of their own for each expert": ("%10 = stablehlo.broadcast_in_dim %x, dims = [1, 2] : (tensor<12x6xf32>) -> "
                                          "tensor<4x12x6xf32>", "%10 = stablehlo.convert %y : tensor<4x12x6xf32>"),
}


@pytest.mark.parametrize("case", NOT_GROUPS)
def test_what_is_no_group_stays(case: str) -> None:
    old, new = NOT_GROUPS[case]
    assert RAGGED.count(old) == 1
    text = RAGGED.replace(old, new).replace("%x:", "%m: tensor<4x12x6xi32>, %y: tensor<4x12x6xf32>, %x:")
    program, _, counts = sparsified(text)
    assert counts == {"layers": 1, "products": 1}
    assert to_text(program.module).split("func.func private")[0].count("dot_general") == 1


# -- found and left ----------------------------------------------------------------------------------------------------

ROUTED = """
func.func @main(%x: tensor<6x4xf32>, %w: tensor<3x4x5xf32>, %i: tensor<6xi32>) -> tensor<{result}xf32> {{
{body}
}}
"""
CHLO = ROUTED.format(result="6x5", body="""
  %sizes = stablehlo.constant dense<2> : tensor<3xi32>
  %0 = "chlo.ragged_dot"(%x, %w, %sizes) <{ragged_dot_dimension_numbers = #chlo.ragged_dot<lhs_contracting_dimensions =
    [1], rhs_contracting_dimensions = [1], lhs_ragged_dimensions = [0], rhs_group_dimensions = [0]>}>
    : (tensor<6x4xf32>, tensor<3x4x5xf32>, tensor<3xi32>) -> tensor<6x5xf32>
  return %0 : tensor<6x5xf32>""")
SCATTER = ROUTED.format(result="3x2x5", body="""
  %zero = stablehlo.constant dense<0.0> : tensor<3x2x4xf32>
  %0 = stablehlo.reshape %i : (tensor<6xi32>) -> tensor<6x1xi32>
  %1 = stablehlo.concatenate %0, %0, dim = 1 : (tensor<6x1xi32>, tensor<6x1xi32>) -> tensor<6x2xi32>
  %2 = "stablehlo.scatter"(%zero, %1, %x) <{scatter_dimension_numbers = #stablehlo.scatter<update_window_dims = [1],
    inserted_window_dims = [0, 1], scatter_dims_to_operand_dims = [0, 1], index_vector_dim = 1>}> ({
  ^bb0(%a: tensor<f32>, %b: tensor<f32>):
    stablehlo.return %b : tensor<f32>
  }) : (tensor<3x2x4xf32>, tensor<6x2xi32>, tensor<6x4xf32>) -> tensor<3x2x4xf32>
  %3 = stablehlo.dot_general %2, %w, batching_dims = [0] x [0], contracting_dims = [2] x [1]
    : (tensor<3x2x4xf32>, tensor<3x4x5xf32>) -> tensor<3x2x5xf32>
  return %3 : tensor<3x2x5xf32>""")
TURN = """
  %c{e} = stablehlo.constant dense<{e}> : tensor<6xi32>
  %k{e} = stablehlo.compare EQ, %i, %c{e} : (tensor<6xi32>, tensor<6xi32>) -> tensor<6xi1>
  %s{e} = stablehlo.slice %w [{e}:{f}, 0:4, 0:5] : (tensor<3x4x5xf32>) -> tensor<1x4x5xf32>
  %m{e} = stablehlo.reshape %s{e} : (tensor<1x4x5xf32>) -> tensor<4x5xf32>
  %d{e} = stablehlo.dot_general %x, %m{e}, contracting_dims = [1] x [0]
    : (tensor<6x4xf32>, tensor<4x5xf32>) -> tensor<6x5xf32>
  %b{e} = stablehlo.broadcast_in_dim %k{e}, dims = [0] : (tensor<6xi1>) -> tensor<6x5xi1>
  %r{e} = stablehlo.select %b{e}, %d{e}, %{before} : tensor<6x5xi1>, tensor<6x5xf32>"""
START = "\n  %z = stablehlo.constant dense<0.0> : tensor<6x5xf32>"
UNROLLED = ROUTED.format(result="6x5", body=START + "".join(
    TURN.format(e=e, f=e + 1, before=f"r{e - 1}" if e else "z") for e in range(3)) + "\n  return %r2 : tensor<6x5xf32>")
WHILE = ROUTED.format(result="6x5", body=START + """
  %first = stablehlo.constant dense<0> : tensor<i32>
  %last = stablehlo.constant dense<3> : tensor<i32>
  %one = stablehlo.constant dense<1> : tensor<i32>
  %0:2 = stablehlo.while(%e = %first, %sum = %z) : tensor<i32>, tensor<6x5xf32>
  cond {
    %more = stablehlo.compare LT, %e, %last : (tensor<i32>, tensor<i32>) -> tensor<i1>
    stablehlo.return %more : tensor<i1>
  } do {
    %1 = stablehlo.compare LT, %e, %first : (tensor<i32>, tensor<i32>) -> tensor<i1>
    %2 = stablehlo.add %e, %last : tensor<i32>
    %3 = stablehlo.select %1, %2, %e : tensor<i1>, tensor<i32>
    %4 = stablehlo.dynamic_slice %w, %3, %first, %first, sizes = [1, 4, 5]
      : (tensor<3x4x5xf32>, tensor<i32>, tensor<i32>, tensor<i32>) -> tensor<1x4x5xf32>
    %5 = stablehlo.reshape %4 : (tensor<1x4x5xf32>) -> tensor<4x5xf32>
    %6 = stablehlo.dot_general %x, %5, contracting_dims = [1] x [0]
      : (tensor<6x4xf32>, tensor<4x5xf32>) -> tensor<6x5xf32>
    %7 = stablehlo.broadcast_in_dim %e, dims = [] : (tensor<i32>) -> tensor<6xi32>
    %8 = stablehlo.compare EQ, %i, %7 : (tensor<6xi32>, tensor<6xi32>) -> tensor<6xi1>
    %9 = stablehlo.broadcast_in_dim %8, dims = [0] : (tensor<6xi1>) -> tensor<6x5xi1>
    %10 = stablehlo.select %9, %6, %sum : tensor<6x5xi1>, tensor<6x5xf32>
    %11 = stablehlo.add %e, %one : tensor<i32>
    stablehlo.return %11, %10 : tensor<i32>, tensor<6x5xf32>
  }
  return %0#1 : tensor<6x5xf32>""")
FORMS = {
    "chlo.ragged_dot": (CHLO, "mixture of 3 experts by ragged dots", GROUPS),
    "a scatter to places": (SCATTER, "mixture of 3 experts with 2 places each", PLACES),
    "written out": (UNROLLED, "loop over 3 experts", LOOP),
    "a loop": (WHILE, "loop over 3 experts", LOOP),
}


@pytest.mark.parametrize("form", FORMS)
def test_other_forms_are_reported(form: str) -> None:
    text, what, reason = FORMS[form]
    program, found, counts = sparsified(text)
    assert counts == {"left": 1}
    assert str(found[0]).endswith(f"{what} left: {reason}")
    assert to_text(program.module) == to_text(parse(text, "m").module)


NOT_EXPERTS = {
    "a loop over layers": (WHILE, "compare EQ, %i, %7", "compare LT, %i, %7"),
    "matrices of one table": (UNROLLED, "compare EQ, %i, %c1", "compare LT, %i, %c1"),
    "a matrix per place": (SCATTER, "batching_dims = [0] x [0], contracting_dims = [2] x [1]",
                           "contracting_dims = [2] x [1]"),
}


@pytest.mark.parametrize("case", NOT_EXPERTS)
def test_what_looks_like_them_is_not(case: str) -> None:
    text, old, new = NOT_EXPERTS[case]
    text = text.replace(old, new)
    if case == "a matrix per place":
        text = text.replace("tensor<3x2x5xf32>", "tensor<3x2x3x5xf32>")
    _, found, counts = sparsified(text)
    assert not found and not counts
