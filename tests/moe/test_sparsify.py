"""Dense layers become sparse, with equal results; what is no such layer, or cannot be shown to be one, stays."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from passes.execute.executor import Executor
from passes.execute.verify import verify
from passes.moe.layer_reference import layer
from passes.moe.layers import Form, Functions, LayerWriter, Shape, module, parameters
from passes.moe.sparsify import Sparsify, sparsify
from passes.moe.writer import Writer
from passes.partition.partition import partition
from passes.pipeline import runner
from passes.pipeline.base import Counters
from passes.program.read import parse
from passes.program.write import to_text
from tests.moe.layer_programs import CLOSE, RUN, SMALL, distance, inputs, on_mesh, per_device, sparsified


@pytest.mark.parametrize("name", ["gpt-oss-20b", "glm-4.5", "deepseek-v3", "kimi-k2", "mixtral-8x7b",
                                  "qwen2-57b-a14b", "olmoe-1b-7b"])
def test_the_dense_layer_of_each_model(name: str) -> None:
    """Separate, interleaved and stacked weights, biases, shared experts; then on 8 devices, with NaN planted."""
    c, tokens = SMALL[name], 16
    given = inputs(c, tokens)
    text = module("dense", c, Shape(tokens))
    program, found, counts = sparsified(text)
    products = 3 if c.weights == "separate" else 2
    assert counts == {"layers": 1, "products": products}
    assert [str(item).split("experts) ")[1] for item in found] == ["made sparse"]
    runner.run(program, "builtin.module(dead-ops)")
    left = to_text(program.module)
    entry = left[: left.index("func.func private")]
    # The router, and what shared experts have.
    assert entry.count("dot_general") == 1 + 3 * bool(c.shared) + c.shared_gate
    want = layer(c, given["x"], given)
    (got,) = RUN.run_global(program, list(given.values()))
    assert distance(got, want) < CLOSE

    spread = on_mesh(text, '"rows"=2, "columns"=4', {})
    runner.run(spread, "builtin.module(moe-sparsify,moe-expert-parallel{poison=true},dead-ops)")
    report = partition(spread)
    assert not report.replicated and not report.flat
    assert distance(per_device(spread, report, given), want) < CLOSE


# -- how front ends spell it -------------------------------------------------------------------------------------------

EXAMPLE = Sparsify.before
SHAPES = ((5, 4), (3, 4, 6), (5, 2))


def example_inputs(seed: int = 0) -> list[np.ndarray]:
    """Whole numbers: every sum of the example is exact but for tanh."""
    rng = np.random.default_rng(seed)
    x, w, weights = (rng.integers(-2, 3, shape).astype(np.float32) for shape in SHAPES)
    # An expert named twice, and numbers of no expert.
    indices = np.array([[0, 2], [1, 1], [2, 0], [3, 1], [-1, 2]], np.int32)
    return [x, w, weights, indices]


SPELLINGS = {
    "as it is": [],
    "indices on the right": [("compare EQ, %1, %0", "compare EQ, %0, %1")],
    "weights first": [("multiply %3, %4", "multiply %4, %3"), ("multiply %8, %9", "multiply %9, %8")],
    "select": [("%5 = stablehlo.multiply %3, %4 : tensor<5x2x3xf32>",
                "%z = stablehlo.constant dense<0.0> : tensor<5x2x3xf32>\n"
                "  %5 = stablehlo.select %2, %4, %z : tensor<5x2x3xi1>, tensor<5x2x3xf32>")],
    "iota of one dimension": [("%0 = stablehlo.iota dim = 2 : tensor<5x2x3xi32>",
                               "%i = stablehlo.iota dim = 0 : tensor<3xi32>\n  %0 = stablehlo.broadcast_in_dim %i, "
                               "dims = [2] : (tensor<3xi32>) -> tensor<5x2x3xi32>")],
    "numbers as floats": [("%0 = stablehlo.iota dim = 2 : tensor<5x2x3xi32>",
                           "%0 = stablehlo.iota dim = 2 : tensor<5x2x3xf32>"),
                          ("%2 = stablehlo.compare EQ, %1, %0 : (tensor<5x2x3xi32>, tensor<5x2x3xi32>)",
                           "%f = stablehlo.convert %1 : (tensor<5x2x3xi32>) -> tensor<5x2x3xf32>\n  %2 = "
                           "stablehlo.compare EQ, %f, %0 : (tensor<5x2x3xf32>, tensor<5x2x3xf32>)")],
    "dot for the matrix": [(
        "%4 = stablehlo.broadcast_in_dim %weights, dims = [0, 1] : (tensor<5x2xf32>) -> tensor<5x2x3xf32>\n"
        "  %5 = stablehlo.multiply %3, %4 : tensor<5x2x3xf32>\n"
        "  %6 = stablehlo.reduce(%5 init: %zero) applies stablehlo.add across dimensions = [1]\n"
        "    : (tensor<5x2x3xf32>, tensor<f32>) -> tensor<5x3xf32>",
        "%6 = stablehlo.dot_general %weights, %3, batching_dims = [0] x [0], contracting_dims = [1] x [1] : "
        "(tensor<5x2xf32>, tensor<5x2x3xf32>) -> tensor<5x3xf32>")],
    "dot for the sum": [(
        "%9 = stablehlo.broadcast_in_dim %6, dims = [0, 1] : (tensor<5x3xf32>) -> tensor<5x3x6xf32>\n"
        "  %10 = stablehlo.multiply %8, %9 : tensor<5x3x6xf32>\n"
        "  %11 = stablehlo.reduce(%10 init: %zero) applies stablehlo.add across dimensions = [1]\n"
        "    : (tensor<5x3x6xf32>, tensor<f32>) -> tensor<5x6xf32>",
        "%11 = stablehlo.dot_general %8, %6, batching_dims = [0] x [0], contracting_dims = [1] x [1] : "
        "(tensor<5x3x6xf32>, tensor<5x3xf32>) -> tensor<5x6xf32>")],
    "experts first": [
        ("%7 = stablehlo.dot_general %x, %w, contracting_dims = [1] x [1]\n"
         "    : (tensor<5x4xf32>, tensor<3x4x6xf32>) -> tensor<5x3x6xf32>",
         "%7 = stablehlo.dot_general %w, %x, contracting_dims = [1] x [1] : (tensor<3x4x6xf32>, tensor<5x4xf32>) -> "
         "tensor<3x6x5xf32>"),
        ("%8 = stablehlo.tanh %7 : tensor<5x3x6xf32>", "%8 = stablehlo.tanh %7 : tensor<3x6x5xf32>"),
        ("%9 = stablehlo.broadcast_in_dim %6, dims = [0, 1] : (tensor<5x3xf32>) -> tensor<5x3x6xf32>\n"
         "  %10 = stablehlo.multiply %8, %9 : tensor<5x3x6xf32>\n"
         "  %11 = stablehlo.reduce(%10 init: %zero) applies stablehlo.add across dimensions = [1]\n"
         "    : (tensor<5x3x6xf32>, tensor<f32>) -> tensor<5x6xf32>",
         "%t = stablehlo.transpose %6, dims = [1, 0] : (tensor<5x3xf32>) -> tensor<3x5xf32>\n"
         "  %u = stablehlo.reshape %t : (tensor<3x5xf32>) -> tensor<3x1x5xf32>\n"
         "  %9 = stablehlo.broadcast_in_dim %u, dims = [0, 1, 2] : (tensor<3x1x5xf32>) -> tensor<3x6x5xf32>\n"
         "  %10 = stablehlo.multiply %8, %9 : tensor<3x6x5xf32>\n"
         "  %s = stablehlo.reduce(%10 init: %zero) applies stablehlo.add across dimensions = [0] : "
         "(tensor<3x6x5xf32>, tensor<f32>) -> tensor<6x5xf32>\n"
         "  %11 = stablehlo.transpose %s, dims = [1, 0] : (tensor<6x5xf32>) -> tensor<5x6xf32>")],
    "tokens repeated for each expert": [
        ("%7 = stablehlo.dot_general %x, %w, contracting_dims = [1] x [1]\n"
         "    : (tensor<5x4xf32>, tensor<3x4x6xf32>) -> tensor<5x3x6xf32>",
         "%b = stablehlo.broadcast_in_dim %x, dims = [1, 2] : (tensor<5x4xf32>) -> tensor<3x5x4xf32>\n"
         "  %d = stablehlo.dot_general %b, %w, batching_dims = [0] x [0], contracting_dims = [2] x [1] : "
         "(tensor<3x5x4xf32>, tensor<3x4x6xf32>) -> tensor<3x5x6xf32>\n"
         "  %7 = stablehlo.transpose %d, dims = [1, 0, 2] : (tensor<3x5x6xf32>) -> tensor<5x3x6xf32>")],
}


def replaced(text: str, pairs: list[tuple[str, str]]) -> str:
    for old, new in pairs:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_spellings(spelling: str) -> None:
    text = replaced(EXAMPLE, SPELLINGS[spelling])
    program, _, counts = sparsified(text)
    assert counts == {"layers": 1, "products": 1}
    values = example_inputs()
    run = Executor("interpreter")
    (want,), (got,) = run.run_global(parse(text, "m"), values), run.run_global(program, values)
    assert want.any() and np.allclose(got, want, rtol=1e-6, atol=1e-6)
    # Without tanh every number is whole and every sum exact.
    plain = re.sub(r"stablehlo\.tanh", "stablehlo.negate", text)
    program, _, _ = sparsified(plain)
    (want,), (got,) = run.run_global(parse(plain, "m"), values), run.run_global(program, values)
    assert np.array_equal(got, want)


def test_batch_and_sequence() -> None:
    """JAX's einsum "bsh,ehf->ebsf" and back; the layer has two dimensions of tokens."""
    text = inlined((Path(__file__).parents[2] / "examples/moe/forward.mlir").read_text())
    program, found, counts = sparsified(text)
    assert counts == {"layers": 1, "products": 3}
    assert "(128 tokens, 2 of 8 experts) made sparse" in str(found[0])
    report = verify(parse(text, "m"), program, inputs="exact")
    assert report.ok and all(result.figures.bit_equal for result in report.results)
    assert verify(parse(text, "m"), program).ok


def inlined(text: str) -> str:
    program = parse(text, "m.mlir")
    runner.run(program, "builtin.module(inline)")
    return to_text(program.module)


def test_a_second_run_finds_nothing() -> None:
    program, _, _ = sparsified(EXAMPLE)
    before = to_text(program.module)
    counters = Counters(Sparsify.statistics)
    assert sparsify(program.module.operation, counters) == []
    assert not any(counters.values()) and to_text(program.module) == before


LEFT = {
    "a call": ([("%8 = stablehlo.tanh %7", "%8 = func.call @f(%7)"),
                (": tensor<5x3x6xf32>\n  %9", ": (tensor<5x3x6xf32>) -> tensor<5x3x6xf32>\n  %9")],
               "func.call stands between its products and their sum; run inline before"),
    "tokens reversed": ([("%8 = stablehlo.tanh %7", "%8 = stablehlo.reverse %7, dims = [0]")],
                        "stablehlo.reverse stands between its products and their sum"),
    "used elsewhere": ([("return %11", "%e = stablehlo.slice %8 [0:5, 0:1, 0:6] : (tensor<5x3x6xf32>) -> "
                         "tensor<5x1x6xf32>\n  %g = stablehlo.reshape %e : (tensor<5x1x6xf32>) -> tensor<5x6xf32>\n"
                         "  %h = stablehlo.add %11, %g : tensor<5x6xf32>\n  return %h")],
                       "what its experts compute is also used by a stablehlo.slice, as in a gradient"),
    "no product": ([("%w: tensor<3x4x6xf32>", "%w: tensor<5x3x6xf32>"),
                    ("%7 = stablehlo.dot_general %x, %w, contracting_dims = [1] x [1]\n    : (tensor<5x4xf32>, "
                     "tensor<3x4x6xf32>) -> tensor<5x3x6xf32>", "%7 = stablehlo.abs %w : tensor<5x3x6xf32>")],
                   "what its experts compute is an argument"),
    "a precision": ([("contracting_dims = [1] x [1]\n",
                      "contracting_dims = [1] x [1], precision = [HIGHEST, HIGHEST]\n")],
                    "a product states a precision, which a sparse product cannot"),
    "a gathered sum": ([("%8 = stablehlo.tanh %7 : tensor<5x3x6xf32>",
                         "%j = stablehlo.reshape %7 : (tensor<5x3x6xf32>) -> tensor<15x6xf32>\n"
                         "  %8 = stablehlo.reshape %j : (tensor<15x6xf32>) -> tensor<5x3x6xf32>")],
                       "a reshape joins or cuts experts or tokens"),
}


@pytest.mark.parametrize("case", LEFT)
def test_left_with_the_reason(case: str) -> None:
    changes, reason = LEFT[case]
    text = replaced(EXAMPLE, changes)
    if "@f" in text:
        text += ("func.func private @f(%a: tensor<5x3x6xf32>) -> tensor<5x3x6xf32> {\n"
                 "  %0 = stablehlo.tanh %a : tensor<5x3x6xf32>\n  return %0 : tensor<5x3x6xf32>\n}\n")
    program, found, counts = sparsified(text)
    assert counts == {"left": 1}
    assert found[0].reason == reason
    assert re.fullmatch(r"-:\d+:\d+: dense mixture of experts \(5 tokens, 2 of 3 experts\) left: .*", str(found[0]))
    assert to_text(program.module) == to_text(parse(text, "m").module)


OTHERS = {
    "not equal": [("compare EQ", "compare NE")],
    "an offset": [("%2 = stablehlo.compare EQ, %1, %0", "%o = stablehlo.add %0, %0 : tensor<5x2x3xi32>\n"
                   "  %2 = stablehlo.compare EQ, %1, %o")],
    "something for every expert": [("%9 = stablehlo.broadcast_in_dim %6",
                                    "%a = stablehlo.tanh %6 : tensor<5x3xf32>\n  %9 = stablehlo.broadcast_in_dim %a")],
    "the largest weight": [("applies stablehlo.add across dimensions = [1]\n    : (tensor<5x2x3xf32>",
                            "applies stablehlo.maximum across dimensions = [1]\n    : (tensor<5x2x3xf32>")],
    "counted along slots": [("%0 = stablehlo.iota dim = 2", "%0 = stablehlo.iota dim = 1")],
    "a sum that starts at one": [("init: %zero) applies stablehlo.add across dimensions = [1]\n    : (tensor<5x3x6",
                                  "init: %one) applies stablehlo.add across dimensions = [1]\n    : (tensor<5x3x6"),
                                 ("%zero = ", "%one = stablehlo.constant dense<1.0> : tensor<f32>\n  %zero = ")],
    "weights by expert": [("%weights: tensor<5x2xf32>", "%weights: tensor<2x3xf32>"),
                          ("%weights, dims = [0, 1] : (tensor<5x2xf32>)",
                           "%weights, dims = [1, 2] : (tensor<2x3xf32>)")],
}


@pytest.mark.parametrize("case", OTHERS)
def test_other_sums_are_not_touched(case: str) -> None:
    text = replaced(EXAMPLE, OTHERS[case])
    program, found, counts = sparsified(text)
    assert not found and not counts
    assert to_text(program.module) == to_text(parse(text, "m").module)


def test_layers_one_after_the_other() -> None:
    text = module("dense", SMALL["qwen3-30b-a3b"], Shape(8), layers=2)
    program, found, counts = sparsified(text)
    assert counts == {"layers": 2, "products": 6} and len(found) == 2
    c = SMALL["qwen3-30b-a3b"]
    first, second = inputs(c, 8, 1), inputs(c, 8, 2)
    del second["x"]
    values = [*first.values(), *second.values()]
    (want,), (got,) = RUN.run_global(parse(text, "m"), values), RUN.run_global(program, values)
    assert distance(got, want) < CLOSE


@pytest.mark.parametrize("name", ["gpt-oss-20b", "glm-4.5", "kimi-k2"])
def test_one_token(name: str) -> None:
    """Decoding: the dimension of tokens is one of several of size 1."""
    c = SMALL[name]
    given = inputs(c, 1)
    program, _, counts = sparsified(module("dense", c, Shape(1)))
    assert counts == {"layers": 1, "products": 3 if c.weights == "separate" else 2}
    (got,) = RUN.run_global(program, list(given.values()))
    assert distance(got, layer(c, given["x"], given)) < CLOSE


@pytest.mark.parametrize(("form", "before", "after"), [("dense", (6, 0), (3, 0)), ("sparse", (6, 2), (3, 1))])
def test_routers_and_masks_computed_twice_are_merged(form: Form, before: object, after: object) -> None:
    """`cse`, which ``shlo opt -O`` begins with, makes one layer of two, group-limited router and dispatch included."""
    c, shape, functions = SMALL["deepseek-v3"], Shape(16), Functions()
    w = Writer("main", public=True)
    x = w.argument((16, c.hidden), "f32", "x")
    given = {name: w.argument(size, "f32", name) for name, size in parameters(c).items()}
    layers = [LayerWriter(w, c, shape, given, functions).write(form, x) for _ in range(2)]
    text = "\n".join([w.finish([w.binary("add", *layers)]), *functions.texts.values()])
    program = parse(text, "m.mlir")
    assert (text.count("chlo.top_k"), text.count('composite "shlo.moe.all_to_all_dispatch"')) == before
    runner.run(program, "builtin.module(cse,dead-ops)")
    text = to_text(program.module)
    assert (text.count("chlo.top_k"), text.count('composite "shlo.moe.all_to_all_dispatch"')) == after
