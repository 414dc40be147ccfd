"""What ties unrelated values together goes before propagation, exactly, and copies that turn out alike become one."""

from __future__ import annotations

import numpy as np
import pytest

from passes.execute.verify import verify
from passes.program.read import Program, parse
from passes.program.walk import operations
from passes.program.write import to_text
from passes.sharding.decouple import decouple
from passes.sharding.propagate import PropagateOptions, propagate
from tests.optimize.conftest import evaluate

MESH = 'sdy.mesh @mesh = <["x"=4, "y"=2]>\n'
XLA = PropagateOptions(reshards=False)


def sharded(body: str) -> tuple[Program, str]:
    program = parse(MESH + body)
    propagate(program, XLA)
    return program, to_text(program.module)


def check(body: str) -> str:
    program, text = sharded(body)
    report = verify(parse(MESH + body), program, xla_partition=True)
    assert report.ok, "\n".join(report.lines())
    return text


# Each reads what is computed from constants alone, in shardings %a and %b decide.
READERS = """
func.func @main(%a: tensor<8x8xf32> {{sdy.sharding = #sdy.sharding<@mesh, [{{"x"}}, {{}}]>}},
                %b: tensor<8x8xf32> {{sdy.sharding = #sdy.sharding<@mesh, [{{"{axis}"}}, {{}}]>}})
    -> (tensor<8x8xf32>, tensor<8x8xf32>) {{
{value}
  %1 = stablehlo.add %a, %0 : tensor<8x8xf32>
  %2 = stablehlo.add %b, %0 : tensor<8x8xf32>
  return %1, %2 : tensor<8x8xf32>, tensor<8x8xf32>
}}"""
VALUES = {
    "iota": "  %0 = stablehlo.iota dim = 0 : tensor<8x8xf32>",
    "broadcast_in_dim": """
  %c = stablehlo.constant dense<[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]> : tensor<8xf32>
  %0 = stablehlo.broadcast_in_dim %c, dims = [0] : (tensor<8xf32>) -> tensor<8x8xf32>""",
    "multiply": """
  %i = stablehlo.iota dim = 1 : tensor<8x8xf32>
  %s = stablehlo.constant dense<0.5> : tensor<f32>
  %c = stablehlo.broadcast_in_dim %s, dims = [] : (tensor<f32>) -> tensor<8x8xf32>
  %n = stablehlo.negate %i : tensor<8x8xf32>
  %0 = stablehlo.multiply %n, %c : tensor<8x8xf32>""",
    "constant": "  %0 = arith.constant dense<0.5> : tensor<8x8xf32>",
}


@pytest.mark.parametrize("kind", VALUES)
def test_readers_in_two_shardings_have_a_copy_each(kind: str) -> None:
    text = check(READERS.format(value=VALUES[kind], axis="y"))
    assert text.count(f"stablehlo.{kind} ") == 2
    assert '[{"x"}, {}]>, ' not in text
    for axis in "xy":
        assert f'stablehlo.{kind} ' in text
        assert any(f"stablehlo.{kind} " in line and f'[{{"{axis}"}}, {{}}]' in line for line in text.splitlines())


@pytest.mark.parametrize("kind", VALUES)
def test_readers_in_one_sharding_share_one(kind: str) -> None:
    text = check(READERS.format(value=VALUES[kind], axis="x"))
    assert text.count(f"stablehlo.{kind} ") == 1


def test_nothing_changes_without_shardings_but_what_is_rewritten() -> None:
    for value in VALUES.values():
        body = READERS.format(value=value, axis="x").replace('"x"', "")
        bare = body.replace(" {sdy.sharding = #sdy.sharding<@mesh, [{}, {}]>}", "")
        before = to_text(parse(MESH + bare).module).replace("arith.constant", "stablehlo.constant")
        assert sharded(bare)[1] == before


def test_draws_of_random_numbers_are_not_merged() -> None:
    _, text = sharded("""
func.func @main(%a: tensor<8xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"x"}]>}) -> (tensor<8xf32>, tensor<8xf32>) {
  %z = stablehlo.constant dense<0.0> : tensor<f32>
  %o = stablehlo.constant dense<1.0> : tensor<f32>
  %s = stablehlo.constant dense<8> : tensor<1xi64>
  %0 = stablehlo.rng %z, %o, %s, distribution = UNIFORM : (tensor<f32>, tensor<f32>, tensor<1xi64>) -> tensor<8xf32> loc("r")
  %1 = stablehlo.rng %z, %o, %s, distribution = UNIFORM : (tensor<f32>, tensor<f32>, tensor<1xi64>) -> tensor<8xf32> loc("r")
  return %0, %1 : tensor<8xf32>, tensor<8xf32>
}""")  # noqa: E501
    assert text.count("stablehlo.rng ") == 2


# Heads repeated as PyTorch's exports do it; the reshape is written once for each copy or once.
REPEATED = """
func.func @main(%a: tensor<4x2x4x8xf32> {{sdy.sharding = #sdy.sharding<@mesh, [{{"x"}}, {{"y"}}, {{}}, {{}}]>}})
    -> tensor<4x6x4x8xf32> {{
  %0 = stablehlo.reshape %a : (tensor<4x2x4x8xf32>) -> tensor<4x2x1x4x8xf32>
  %1 = stablehlo.reshape %a : (tensor<4x2x4x8xf32>) -> tensor<4x2x1x4x8xf32>
  %2 = stablehlo.concatenate %0, {again}, %0, dim = 2
    : (tensor<4x2x1x4x8xf32>, tensor<4x2x1x4x8xf32>, tensor<4x2x1x4x8xf32>) -> tensor<4x2x3x4x8xf32>
  %3 = stablehlo.reshape %2 : (tensor<4x2x3x4x8xf32>) -> tensor<4x6x4x8xf32>
  return %3 : tensor<4x6x4x8xf32>
}}"""


@pytest.mark.parametrize("again", ["%0", "%1"])
def test_repeated_heads_are_a_broadcast(again: str) -> None:
    text = check(REPEATED.format(again=again))
    assert "stablehlo.concatenate" not in text
    assert "stablehlo.broadcast_in_dim %0, dims = [0, 1, 2, 3, 4]" in text


def test_a_joined_dimension_can_be_sharded() -> None:
    text = check("""
func.func @main(%a: tensor<3x1x8xf32>, %b: tensor<3x4x8xf32> {sdy.sharding = #sdy.sharding<@mesh, [{}, {"x"}, {}]>})
    -> tensor<3x4x8xf32> {
  %0 = stablehlo.concatenate %a, %a, %a, %a, dim = 1
    : (tensor<3x1x8xf32>, tensor<3x1x8xf32>, tensor<3x1x8xf32>, tensor<3x1x8xf32>) -> tensor<3x4x8xf32>
  %1 = stablehlo.add %0, %b : tensor<3x4x8xf32>
  return %1 : tensor<3x4x8xf32>
}""")
    (line,) = (line for line in text.splitlines() if "broadcast_in_dim" in line)
    assert '[{}, {"x"}, {}]' in line


@pytest.mark.parametrize(
    "operands",
    [
        "%a, %b : (tensor<1x8xf32>, tensor<1x8xf32>) -> tensor<2x8xf32>",
        "%a : (tensor<1x8xf32>) -> tensor<1x8xf32>",
        "%c, %c : (tensor<2x8xf32>, tensor<2x8xf32>) -> tensor<4x8xf32>",
        "%r, %s : (tensor<1x8xf32>, tensor<1x8xf32>) -> tensor<2x8xf32>",
    ],
)
def test_other_concatenations_stay(operands: str) -> None:
    values, _, types = operands.partition(" : ")
    program = parse(MESH + f"""
func.func @main(%a: tensor<1x8xf32>, %b: tensor<1x8xf32>, %c: tensor<2x8xf32>) {{
  %r = stablehlo.reshape %a : (tensor<1x8xf32>) -> tensor<1x8xf32>
  %s = stablehlo.reshape %b : (tensor<1x8xf32>) -> tensor<1x8xf32>
  %0 = stablehlo.concatenate {values}, dim = 0 : {types}
  return
}}""")
    before = to_text(program.module)
    decouple(operations(program.module))
    assert to_text(program.module) == before


@pytest.mark.parametrize(
    ("operand", "dims"),
    [("8xf32", ""), ("8xf32", "{broadcast_dimensions = array<i64: 1>}"), ("1x8xf32", ""), ("f32", "")],
)
def test_what_chlo_broadcasts_is_sharded(operand: str, dims: str) -> None:
    text = check(f"""
func.func @main(%a: tensor<8x8xf32> {{sdy.sharding = #sdy.sharding<@mesh, [{{"x"}}, {{}}]>}}, %b: tensor<{operand}>)
    -> (tensor<8x8xf32>, tensor<8x8xi1>) {{
  %0 = chlo.broadcast_subtract %a, %b {dims} : (tensor<8x8xf32>, tensor<{operand}>) -> tensor<8x8xf32>
  %1 = chlo.broadcast_compare %b, %a {dims[:-1] + ", " if dims else "{"}
    comparison_direction = #chlo<comparison_direction LT>}} : (tensor<{operand}>, tensor<8x8xf32>) -> tensor<8x8xi1>
  return %0, %1 : tensor<8x8xf32>, tensor<8x8xi1>
}}""")
    assert "stablehlo.broadcast_in_dim" in text
    for op in ("chlo.broadcast_subtract", "chlo.broadcast_compare"):
        (line,) = (line for line in text.splitlines() if op in line)
        assert '[{"x"}, {}]' in line


FLOATS = np.array([1.5, -2.5, np.nan, np.inf, -0.0, 0.0, 7.0, -3.0], np.float32)
OTHERS = np.array([-1.5, -2.5, 1.0, np.nan, 0.25, -0.25, 2.0, 8.0], np.float32)
INTEGERS = np.array([0, -1, 2**31 - 1, -(2**31), 5, -7, 3, 100], np.int32)




@pytest.mark.parametrize(
    ("op", "expected"),
    [
        ("arith.addf %a, %b : tensor<8xf32>", FLOATS + OTHERS),
        ("arith.subf %a, %b : tensor<8xf32>", FLOATS - OTHERS),
        ("arith.mulf %a, %a : tensor<8xf32>", FLOATS * FLOATS),
        ("arith.negf %a : tensor<8xf32>", -FLOATS),
        ("arith.maximumf %a, %b : tensor<8xf32>", np.maximum(FLOATS, OTHERS)),
        ("arith.addi %i, %i : tensor<8xi32>", INTEGERS + INTEGERS),
        ("arith.xori %i, %i : tensor<8xi32>", INTEGERS ^ INTEGERS),
        ("arith.minsi %i, %j : tensor<8xi32>", np.minimum(INTEGERS, INTEGERS[::-1])),
        ("arith.cmpf olt, %a, %b : tensor<8xf32>", FLOATS < OTHERS),
        ("arith.cmpf une, %a, %b : tensor<8xf32>", FLOATS != OTHERS),
        ("arith.cmpi sge, %i, %j : tensor<8xi32>", np.greater_equal(INTEGERS, INTEGERS[::-1])),
        ("arith.sitofp %i : tensor<8xi32> to tensor<8xf32>", INTEGERS.astype(np.float32)),
        ("arith.extsi %i : tensor<8xi32> to tensor<8xi64>", INTEGERS.astype(np.int64)),
        ("arith.select %p, %a, %b : tensor<8xi1>, tensor<8xf32>", np.where(INTEGERS > 0, FLOATS, OTHERS)),
    ],
)
def test_arith_computes_what_it_did(op: str, expected: np.ndarray) -> None:  # type: ignore[type-arg]
    result = op.split(" to ")[-1].split(", ")[-1] if " to " in op or "select" in op else op.split(" : ")[-1]
    result = "tensor<8xi1>" if "cmp" in op else result
    program = parse(f"""
func.func @main(%a: tensor<8xf32>, %b: tensor<8xf32>, %i: tensor<8xi32>, %j: tensor<8xi32>, %p: tensor<8xi1>)
    -> {result} {{
  %0 = {op}
  return %0 : {result}
}}""")
    decouple(operations(program.module))
    assert "arith" not in to_text(program.module)
    (found,) = evaluate(program.module, [FLOATS, OTHERS, INTEGERS, INTEGERS[::-1].copy(), INTEGERS > 0])
    assert found == expected.tobytes()


@pytest.mark.parametrize(
    "op",
    [
        "arith.cmpf ult, %a, %a : tensor<8xf32>",
        "arith.addi %p, %p : tensor<8xi1>",
        "arith.extsi %p : tensor<8xi1> to tensor<8xi32>",
        "arith.trunci %i : tensor<8xi32> to tensor<8xi1>",
        "arith.cmpi slt, %p, %p : tensor<8xi1>",
        "arith.maxnumf %a, %a : tensor<8xf32>",
        "arith.constant dense<(1.0, 2.0)> : tensor<8xcomplex<f32>>",
    ],
)
def test_arith_that_means_something_else_stays(op: str) -> None:
    text = f"func.func @main(%a: tensor<8xf32>, %i: tensor<8xi32>, %p: tensor<8xi1>) {{\n  %0 = {op}\n  return\n}}"
    program = parse(text)
    decouple(operations(program.module))
    assert op.split()[0] in to_text(program.module)
    assert program.module.operation.verify()
