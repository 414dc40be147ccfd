"""Large constants and dead arguments."""

from __future__ import annotations

from typing import Any

import pytest

from passes.errors import Where


def constant(value: str, type: str) -> str:
    return f"func.func @main() -> {type} {{\n  %0 = stablehlo.constant {value} : {type}\n  return %0 : {type}\n}}\n"


@pytest.mark.parametrize(("value", "type", "size"), [
    ("dense<[1.0, 2.0, 3.0, 4.0]>", "tensor<4xf32>", 16),
    ("dense<[(1.0, 2.0), (3.0, 4.0)]>", "tensor<2xcomplex<f32>>", 16),
    ("dense<[[1, 2], [3, 4], [5, 6], [7, 8]]>", "tensor<4x2xi16>", 16),
])  # fmt: skip
def test_a_constant_from_the_threshold_on(lint: Any, value: str, type: str, size: int) -> None:
    [finding] = lint("large-constant", constant(value, type), constant_bytes=size)
    assert finding.where == Where("in.mlir", 2, 8)
    assert finding.message == f"a constant of {size} bytes ({type}) is part of the program"
    assert lint("large-constant", constant(value, type), constant_bytes=size + 1) == []


@pytest.mark.parametrize(("value", "type"), [
    ("dense<1.0>", "tensor<4096xf32>"), ("dense<(1.0, 2.0)>", "tensor<4096xcomplex<f32>>"),
])  # fmt: skip
def test_a_splat_is_small(lint: Any, value: str, type: str) -> None:
    assert lint("large-constant", constant(value, type), constant_bytes=16) == []


def test_the_threshold_is_a_megabyte(lint: Any) -> None:
    for count, found in ((1 << 20, 1), ((1 << 20) - 1, 0)):
        digits = "01" + "00" * (count - 1)
        assert len(lint("large-constant", constant(f'dense<"0x{digits}">', f"tensor<{count}xi8>"))) == found


DEAD = """\
func.func @main(%a: tensor<4xf32>, %b: tensor<4xf32> loc("params.b"), %c: tensor<4xf32>, %d: tensor<4xf32>,
                %e: tensor<4xf32>, %f: tensor<4xf32>) -> tensor<4xf32> {
  %0 = call @drop(%a, %c) : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  %1 = call @loop(%d) : (tensor<4xf32>) -> tensor<4xf32>
  %2 = call @outside(%e) : (tensor<4xf32>) -> tensor<4xf32>
  return %f : tensor<4xf32>
}
func.func private @drop(%a: tensor<4xf32>, %unused: tensor<4xf32>) -> tensor<4xf32> {
  %0 = stablehlo.abs %a : tensor<4xf32>
  return %0 : tensor<4xf32>
}
func.func private @loop(%a: tensor<4xf32>) -> tensor<4xf32> {
  %0 = call @loop(%a) : (tensor<4xf32>) -> tensor<4xf32>
  return %0 : tensor<4xf32>
}
func.func private @outside(tensor<4xf32>) -> tensor<4xf32>
"""


def test_arguments_nothing_reads_also_through_calls(lint: Any) -> None:
    found = lint("dead-argument", DEAD)
    assert [f.message for f in found] == [
        "argument 1 'params.b' (tensor<4xf32>) is never used", "argument 2 'arg2' (tensor<4xf32>) is never used"]
    # The first one's location is a name and no place.
    assert [f.where for f in found] == [Where("in.mlir"), Where("in.mlir", 1, 71)]


def test_only_the_entry_has_arguments_that_callers_cannot_see(lint: Any) -> None:
    assert len(lint("dead-argument", DEAD.replace("@main", "@other"))) == 2
    private = "func.func private @main(%a: tensor<4xf32>) {\n  return\n}\n"
    assert len(lint("dead-argument", private)) == 1
    two = "func.func @f(%a: tensor<4xf32>) {\n  return\n}\nfunc.func @g() {\n  return\n}\n"
    assert lint("dead-argument", two) == []
