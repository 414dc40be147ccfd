"""What does not divide: refused on the signature, taken off inside."""

from __future__ import annotations

import pytest

from passes.errors import UserError, Where
from passes.program.read import parse
from passes.program.write import to_text
from passes.sharding.divisibility import Dropped, check_signatures, drop_indivisible, grouped, indivisible

MESH = 'sdy.mesh @mesh = <["x"=4, "y"=2, "z"=3]>\n'


def test_the_major_axes_that_divide_stay() -> None:
    program = parse(MESH + """
func.func private @f(%a: tensor<6x8xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"x", "y"}, {"z"}]>})
    -> (tensor<6x8xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"y", "z"}, {"x"}]>}) {
  %0 = stablehlo.abs %a {sdy.sharding = #sdy.sharding_per_value<[<@mesh, [{"z", "x", "y"}, {}]>]>} : tensor<6x8xf32>
  %1 = sdy.reshard %0 <@mesh, [{"x"}, {"y"}]> : tensor<6x8xf32>
  %2 = stablehlo.abs %1 {sdy.sharding = #sdy.sharding_per_value<[<@mesh, [{"y"}, {"x"}]>]>} : tensor<6x8xf32>
  return %2 : tensor<6x8xf32>
}""")
    dropped = drop_indivisible(program)
    assert [(d.value, d.dim, d.axes) for d in dropped] == [
        ("'arg0' of @f", 0, ("x",)),
        ("'arg0' of @f", 1, ("z",)),
        ("stablehlo.abs", 0, ("x",)),
        ("sdy.reshard", 0, ("x",)),
    ]
    text = to_text(program.module)
    assert '%arg0: tensor<6x8xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"y"}, {}]>}' in text
    assert '#sdy.sharding_per_value<[<@mesh, [{"z", "y"}, {}]>]>' in text
    assert 'sdy.reshard %0 <@mesh, [{}, {"y"}]>' in text
    assert str(dropped[0]) == "'arg0' of @f (6x8): dimension 0 of 6 does not divide by 'x'"
    assert dropped[2].where is not None
    assert drop_indivisible(program) == []


def test_only_the_results_that_need_it_change() -> None:
    program = parse(MESH + """
func.func @main(%a: tensor<8x6xf32>) {
  %0:2 = "stablehlo.optimization_barrier"(%a, %a) {sdy.sharding = #sdy.sharding_per_value<[
    <@mesh, [{"x", ?}, {}]>, <@mesh, [{"y"}, {"x", ?}p1], replicated={"z"}>]>}
    : (tensor<8x6xf32>, tensor<8x6xf32>) -> (tensor<8x6xf32>, tensor<8x6xf32>)
  return
}""")
    (dropped,) = drop_indivisible(program)
    assert (dropped.dim, dropped.axes) == (1, ("x",))
    assert '[<@mesh, [{"x", ?}, {}]>, <@mesh, [{"y"}, {?}p1], replicated={"z"}>]' in to_text(program.module)


def test_a_part_of_an_axis_is_taken_off_by_itself() -> None:
    program = parse(MESH + """
func.func @main(%a: tensor<6xf32>) {
  %0 = stablehlo.abs %a {sdy.sharding = #sdy.sharding_per_value<[<@mesh, [{"x":(1)2, "y"}]>]>} : tensor<6xf32>
  return
}""")
    (dropped,) = drop_indivisible(program)
    assert dropped.axes == ("y",)
    assert '[{"x":(1)2}]' in to_text(program.module)


@pytest.mark.parametrize(
    ("signature", "message"),
    [
        (
            '%a: tensor<6xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"x"}]>}',
            "argument 0 'arg0' of @main has shape 6: dimension 0 of 6 does not divide by axis 'x' of size 4; "
            "a size of 4 or 8 would do, or 3 or 6 shards",
        ),
        ("%a: tensor<?xf32>", "argument 0 'arg0' of @main has the dynamic shape ?; make it static first"),
    ],
)
def test_a_public_signature_has_to_divide(signature: str, message: str) -> None:
    program = parse(MESH + f"func.func @main({signature}) {{ return }}", "m.mlir")
    with pytest.raises(UserError) as caught:
        check_signatures(program)
    assert caught.value.message.startswith(message)
    assert caught.value.where is not None
    assert (caught.value.where.file, caught.value.where.line) == ("m.mlir", 2)
    private = parse(MESH + f"func.func private @f({signature}) {{ return }}")
    check_signatures(private)


def test_free_axes_of_a_manual_computation_go_inside_and_outside() -> None:
    program = parse(MESH + """
func.func @main(%a: tensor<12x8xf32>) -> tensor<12x8xf32> {
  %0 = sdy.manual_computation(%a) in_shardings=[<@mesh, [{"x", "y"}, {}]>] out_shardings=[<@mesh, [{"x", "z"}, {}]>]
      manual_axes={"x"} (%b: tensor<3x8xf32>) {
    %1 = stablehlo.abs %b {sdy.sharding = #sdy.sharding_per_value<[<@mesh, [{"y"}, {}]>]>} : tensor<3x8xf32>
    sdy.return %1 : tensor<3x8xf32>
  } : (tensor<12x8xf32>) -> tensor<12x8xf32>
  return %0 : tensor<12x8xf32>
}""")
    assert [(d.value, d.shape, d.axes) for d in drop_indivisible(program)] == [
        ("sdy.manual_computation", (12, 8), ("y",)),
        ("stablehlo.abs", (3, 8), ("y",)),
    ]
    text = to_text(program.module)
    assert 'in_shardings=[<@mesh, [{"x"}, {}]>] out_shardings=[<@mesh, [{"x", "z"}, {}]>]' in text


def test_what_does_not_divide_is_all_that_anything_is_dropped_from() -> None:
    text = MESH + """
func.func @main(%a: tensor<6x8xf32> {sdy.sharding = #sdy.sharding<@mesh, [{}, {"x"}]>}) -> tensor<6x8xf32> {
  %0 = stablehlo.abs %a {sdy.sharding = #sdy.sharding_per_value<[<@mesh, [{}, {"x"}]>]>} : tensor<6x8xf32>
  %1 = stablehlo.sine %0 {sdy.sharding = #sdy.sharding_per_value<[<@mesh, [{"x"}, {}]>]>} : tensor<6x8xf32>
  %2 = stablehlo.sine %0 {sdy.sharding = #sdy.sharding_per_value<[<@mesh, [{"x"}, {}]>]>} : tensor<6x8xf32>
  %3 = sdy.reshard %1 <@mesh, [{"x"}, {"y"}]> : tensor<6x8xf32>
  %4 = sdy.reshard %2 <@mesh, [{"y"}, {"x"}]> : tensor<6x8xf32>
  %5 = sdy.manual_computation(%4) in_shardings=[<@mesh, [{}, {"x"}]>] out_shardings=[<@mesh, [{"x"}, {}]>]
      manual_axes={} (%b: tensor<6x8xf32>) {
    sdy.return %b : tensor<6x8xf32>
  } : (tensor<6x8xf32>) -> tensor<6x8xf32>
  return %3 : tensor<6x8xf32>
}
func.func private @f(%a: tensor<6xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"x"}]>}) {
  return
}"""
    program, other = parse(text), parse(text)
    uneven = indivisible(program)
    assert [op.name for op, _ in uneven] == [
        "stablehlo.sine", "stablehlo.sine", "sdy.reshard", "sdy.manual_computation", "func.func",
    ]
    assert drop_indivisible(program, uneven) == drop_indivisible(other)
    assert to_text(program.module) == to_text(other.module)
    assert indivisible(program) == []


def test_equal_reasons_share_a_line() -> None:
    place = Where("here.mlir", 3, 6)
    dropped = [
        Dropped("stablehlo.add", place, (8, 2), 1, ("x",)),
        Dropped("stablehlo.abs", None, (4, 2), 1, ("x",)),
        Dropped("stablehlo.abs", None, (4, 2), 1, ("y",)),
    ]
    assert grouped(dropped) == [
        "stablehlo.add (8x2): dimension 1 of 2 does not divide by 'x' at here.mlir:3:6, and the same in 1 more",
        "stablehlo.abs (4x2): dimension 1 of 2 does not divide by 'y'",
    ]
