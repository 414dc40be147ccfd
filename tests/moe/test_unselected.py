"""Train steps: what a gradient reads of an expert where no token selected it, and what may not read it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from passes.execute.executor import Executor
from passes.execute.verify import assemble, cut, verify
from passes.moe.composites import Decompositions, moe_composites, op_of, read
from passes.moe.ops import SPARSE_MATMUL
from passes.moe.sparsify import Sparsify
from passes.partition.partition import partition
from passes.pipeline import runner
from passes.program.read import parse
from passes.program.write import to_text
from tests.doubled import doubled
from tests.moe.layer_programs import CLOSE, RUN, distance, on_mesh, sparsified
from tests.moe.rounding import IN_DOUBLE, furthest_result

EXAMPLE = Path(__file__).parents[2] / "examples/moe/train_step.mlir"


def inlined(text: str) -> str:
    program = parse(text, "m.mlir")
    runner.run(program, "builtin.module(inline)")
    return to_text(program.module)


def test_a_train_step() -> None:
    """Three products forward, the one that leads back to the hidden values; its input is none of the parameters."""
    text = inlined(EXAMPLE.read_text())
    program, found, counts = sparsified(text)
    assert counts == {"layers": 1, "products": 4, "closed": 4}
    assert "(128 tokens, 2 of 8 experts) made sparse" in str(found[0])
    report = verify(parse(text, "m"), program, inputs="exact")
    assert report.ok and all(result.figures.bit_equal for result in report.results)
    in_double = doubled(text)
    assert furthest_result(parse(in_double, "m"), sparsified(in_double)[0]) < IN_DOUBLE


@pytest.mark.parametrize(("axes", "options"), [('"rows"=2, "columns"=4', "ring=columns"),
                                               ('"data"=2, "x"=4', "experts=x data=data")])
def test_a_train_step_on_devices(axes: str, options: str) -> None:
    """With NaN wherever a kernel may leave something undefined: what was closed is read by nobody."""
    text = inlined(EXAMPLE.read_text())
    rng = np.random.default_rng(3)
    shapes = ((8, 128, 64), (8, 64, 128), (8, 64, 128), (64, 8), (8, 16, 64), (8, 16, 64))
    given = [rng.standard_normal(shape).astype(np.float32) * 0.3 for shape in shapes]
    want = RUN.run_global(parse(text, "m"), given)
    program = on_mesh(text.replace("module @jit_train_step attributes {mhlo.num_partitions = 1 : i32, "
                                   "mhlo.num_replicas = 1 : i32} {", "").rstrip().removesuffix("}"), axes, {})
    runner.run(program, f"builtin.module(moe-sparsify,moe-expert-parallel{{poison=true {options}}},dead-ops)")
    report = partition(program)
    table = report.side_table
    parts = [cut(v, entry.sharding) for v, entry in zip(given, table.arguments, strict=True)]
    found = RUN.run_per_device(program, parts, 8)
    for shards, entry, whole in zip(found, table.results, want, strict=True):
        assert distance(assemble(shards, entry.sharding, entry.global_shape), whole) < CLOSE, entry.name


# -- what reads it -----------------------------------------------------------------------------------------------------

ZERO = "%zero = stablehlo.constant dense<0.0> : tensor<f32>\n"


def reading(*lines: str, type: str) -> str:
    """The example of the pass, whose experts compute %8 [5,3,6] and whose matrix is %6, with a second result."""
    body = "\n  ".join(lines)
    text = Sparsify.before.replace("-> tensor<5x6xf32> {", f"-> (tensor<5x6xf32>, {type}) {{")
    return text.replace("  return %11 : tensor<5x6xf32>", f"  {body}\n  return %11, %r : tensor<5x6xf32>, {type}")


SUM = ("(tensor<5x3x6xf32>, tensor<f32>) -> tensor<3x6xf32>")
OVER_TOKENS = f"%r = stablehlo.reduce(%g init: %zero) applies stablehlo.add across dimensions = [0] : {SUM}"
HALF = "%h = stablehlo.constant dense<0.5> : tensor<5x3x6xf32>"

# The lines, the type of the second result, and how many values are closed.
READ = {
    "times the matrix": (["%g = stablehlo.multiply %8, %9 : tensor<5x3x6xf32>", OVER_TOKENS],
                         "tensor<3x6xf32>", 1),
    "negated, added up of such": ([
        "%a = stablehlo.multiply %7, %9 : tensor<5x3x6xf32>", "%b = stablehlo.negate %10 : tensor<5x3x6xf32>",
        "%g = stablehlo.subtract %a, %b : tensor<5x3x6xf32>", OVER_TOKENS], "tensor<3x6xf32>", 1),
    "selected by the one-hot": ([
        "%k = stablehlo.slice %2 [0:5, 0:1, 0:3] : (tensor<5x2x3xi1>) -> tensor<5x1x3xi1>",
        "%l = stablehlo.reshape %k : (tensor<5x1x3xi1>) -> tensor<5x3xi1>",
        "%m = stablehlo.broadcast_in_dim %l, dims = [0, 1] : (tensor<5x3xi1>) -> tensor<5x3x6xi1>",
        "%z = stablehlo.constant dense<0.0> : tensor<5x3x6xf32>",
        "%g = stablehlo.select %m, %8, %z : tensor<5x3x6xi1>, tensor<5x3x6xf32>", OVER_TOKENS], "tensor<3x6xf32>", 1),
    "selected by what it computes": ([
        HALF, "%k = stablehlo.compare GT, %8, %h : (tensor<5x3x6xf32>, tensor<5x3x6xf32>) -> tensor<5x3x6xi1>",
        "%z = stablehlo.constant dense<0.0> : tensor<5x3x6xf32>",
        "%g = stablehlo.select %k, %10, %z : tensor<5x3x6xi1>, tensor<5x3x6xf32>", OVER_TOKENS], "tensor<3x6xf32>", 1),
    "a dot with the matrix over tokens": ([
        "%r = stablehlo.dot_general %8, %6, batching_dims = [1] x [1], contracting_dims = [0] x [0] : "
        "(tensor<5x3x6xf32>, tensor<5x3xf32>) -> tensor<3x6xf32>"], "tensor<3x6xf32>", 1),
    "columns added up, then by the one-hot": ([
        "%s = stablehlo.reduce(%8 init: %zero) applies stablehlo.add across dimensions = [2] : "
        "(tensor<5x3x6xf32>, tensor<f32>) -> tensor<5x3xf32>",
        "%r = stablehlo.dot_general %s, %3, batching_dims = [0] x [0], contracting_dims = [1] x [2] : "
        "(tensor<5x3xf32>, tensor<5x2x3xf32>) -> tensor<5x2xf32>"], "tensor<5x2xf32>", 1),
    "padded and joined": ([
        "%p = stablehlo.pad %10, %zero, low = [0, 0, 1], high = [0, 0, 0], interior = [0, 0, 0] : "
        "(tensor<5x3x6xf32>, tensor<f32>) -> tensor<5x3x7xf32>",
        "%q = stablehlo.concatenate %p, %10, dim = 2 : (tensor<5x3x7xf32>, tensor<5x3x6xf32>) -> tensor<5x3x13xf32>",
        "%r = stablehlo.reduce(%q init: %zero) applies stablehlo.add across dimensions = [0] : "
        "(tensor<5x3x13xf32>, tensor<f32>) -> tensor<3x13xf32>"], "tensor<3x13xf32>", 1),
    "it goes out whole": ([
        "%r = stablehlo.multiply %8, %9 : tensor<5x3x6xf32>"], "tensor<5x3x6xf32>", 1),
}


@pytest.mark.parametrize("case", READ)
def test_what_is_zero_may_be_read(case: str) -> None:
    lines, type, closed = READ[case]
    text = reading(*lines, type=type)
    program, found, counts = sparsified(text)
    assert counts == {"layers": 1, "products": 1, "closed": closed}, found
    _same(text, program)
    # And undefined blocks are read by none of it.
    decompositions = Decompositions(program.module.operation, poisoned=True)
    for product in (op for op in moe_composites(program.module.operation) if op_of(op) is SPARSE_MATMUL):
        product.attributes["decomposition"] = decompositions.reference(read(product))
    assert "0x7FC00000" in to_text(program.module)
    _same(text, program)


def _same(text: str, program: object) -> None:
    rng = np.random.default_rng(1)
    given = [rng.standard_normal(shape).astype(np.float32) for shape in ((5, 4), (3, 4, 6), (5, 2))]
    given.append(np.array([[0, 2], [1, 1], [2, 0], [3, 1], [-1, 2]], np.int32))
    run = Executor(isolated=False)
    want, got = run.run_global(parse(text, "m"), given), run.run_global(program, given)
    for one, other in zip(want, got, strict=True):
        assert one.any() and distance(other, one) < CLOSE


READ_BY = "what its experts compute is also used by a stablehlo.{}, as in a gradient"
UNREADABLE = {
    "added up over tokens": (["%g = stablehlo.negate %8 : tensor<5x3x6xf32>", OVER_TOKENS], "tensor<3x6xf32>",
                             READ_BY.format("reduce")),
    "something added to zero": ([HALF, "%a = stablehlo.multiply %8, %9 : tensor<5x3x6xf32>",
                                 "%g = stablehlo.add %a, %h : tensor<5x3x6xf32>", OVER_TOKENS], "tensor<3x6xf32>",
                                READ_BY.format("reduce")),
    "the cosine of zero": (["%g = stablehlo.cosine %10 : tensor<5x3x6xf32>", OVER_TOKENS], "tensor<3x6xf32>",
                           READ_BY.format("reduce")),
    "the other side of a select": ([
        HALF, "%k = stablehlo.compare NE, %9, %h : (tensor<5x3x6xf32>, tensor<5x3x6xf32>) -> tensor<5x3x6xi1>",
        "%g = stablehlo.select %k, %10, %8 : tensor<5x3x6xi1>, tensor<5x3x6xf32>", OVER_TOKENS], "tensor<3x6xf32>",
        READ_BY.format("reduce")),
    "selected by what it computes, and not zero": ([
        HALF, "%k = stablehlo.compare GT, %8, %h : (tensor<5x3x6xf32>, tensor<5x3x6xf32>) -> tensor<5x3x6xi1>",
        "%z = stablehlo.constant dense<0.0> : tensor<5x3x6xf32>",
        "%g = stablehlo.select %k, %8, %z : tensor<5x3x6xi1>, tensor<5x3x6xf32>", OVER_TOKENS], "tensor<3x6xf32>",
        READ_BY.format("reduce")),
    "divided by the matrix": (["%g = stablehlo.divide %8, %9 : tensor<5x3x6xf32>", OVER_TOKENS], "tensor<3x6xf32>",
                              READ_BY.format("reduce")),
    "padded with ones": ([
        "%one = stablehlo.constant dense<1.0> : tensor<f32>",
        "%p = stablehlo.pad %10, %one, low = [0, 0, 1], high = [0, 0, 0], interior = [0, 0, 0] : "
        "(tensor<5x3x6xf32>, tensor<f32>) -> tensor<5x3x7xf32>",
        "%r = stablehlo.reduce(%p init: %zero) applies stablehlo.add across dimensions = [0] : "
        "(tensor<5x3x7xf32>, tensor<f32>) -> tensor<3x7xf32>"], "tensor<3x7xf32>", READ_BY.format("reduce")),
    "a dot with the matrix of another token": ([
        "%r = stablehlo.dot_general %8, %6, contracting_dims = [0] x [0] : "
        "(tensor<5x3x6xf32>, tensor<5x3xf32>) -> tensor<3x6x3xf32>"], "tensor<3x6x3xf32>",
        READ_BY.format("dot_general")),
    "the largest of a row": ([
        "%i = stablehlo.constant dense<0xFF800000> : tensor<f32>",
        "%s = stablehlo.reduce(%10 init: %i) applies stablehlo.maximum across dimensions = [2] : "
        "(tensor<5x3x6xf32>, tensor<f32>) -> tensor<5x3xf32>",
        "%r = stablehlo.reduce(%s init: %zero) applies stablehlo.add across dimensions = [0] : "
        "(tensor<5x3xf32>, tensor<f32>) -> tensor<3xf32>"], "tensor<3xf32>", READ_BY.format("reduce")),
    "along other dimensions": ([
        "%t = stablehlo.slice %8 [0:3, 0:3, 0:6] : (tensor<5x3x6xf32>) -> tensor<3x3x6xf32>",
        "%r = stablehlo.transpose %t, dims = [1, 0, 2] : (tensor<3x3x6xf32>) -> tensor<3x3x6xf32>"],
        "tensor<3x3x6xf32>", READ_BY.format("slice")),
}


@pytest.mark.parametrize("case", UNREADABLE)
def test_what_is_not_zero_is_not(case: str) -> None:
    lines, type, reason = UNREADABLE[case]
    text = reading(*lines, type=type)
    program, found, counts = sparsified(text)
    assert counts == {"left": 1} and [layer.reason for layer in found] == [reason]
    assert to_text(program.module) == to_text(parse(text, "m").module)


def test_experts_and_tokens_changed_over() -> None:
    """As many tokens as experts: a value and its transpose look alike and are not."""
    lines = ["%t = stablehlo.transpose %8, dims = [1, 0, 2] : (tensor<3x3x6xf32>) -> tensor<3x3x6xf32>",
             "%r = stablehlo.multiply %8, %t : tensor<3x3x6xf32>"]
    text = reading(*lines, type="tensor<3x3x6xf32>").replace("tensor<5x", "tensor<3x")
    _, found, counts = sparsified(text)
    assert counts == {"left": 1}
    assert found[0].reason == "a value is used with its experts or tokens along different dimensions"


def test_the_gradient_by_the_input_is_sparse_too() -> None:
    """A dot that contracts experts and columns at once becomes a sparse product and a sum of what was selected."""
    lines = ["%e = stablehlo.multiply %9, %8 : tensor<5x3x6xf32>",
             "%r = stablehlo.dot_general %e, %w, contracting_dims = [1, 2] x [0, 2] : "
             "(tensor<5x3x6xf32>, tensor<3x4x6xf32>) -> tensor<5x4xf32>"]
    text = reading(*lines, type="tensor<5x4xf32>")
    program, _, counts = sparsified(text)
    assert counts == {"layers": 1, "products": 2}
    runner.run(program, "builtin.module(dead-ops)")
    entry = to_text(program.module).split("func.func private")[0]
    assert "dot_general" not in entry and entry.count('"shlo.moe.sparse_matmul"') == 2
    _same(text, program)
