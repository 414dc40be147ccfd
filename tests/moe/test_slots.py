"""Layers that copy weights for each slot become sparse, with equal results; what cannot be shown to be one stays."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from passes.execute.executor import Executor
from passes.moe.copies import copies_per_token, copy_of
from passes.partition.partition import partition
from passes.pipeline import runner
from passes.program.read import Program, parse
from passes.program.walk import named
from passes.program.write import to_text
from tests.doubled import doubled
from tests.moe.layer_programs import distance, on_mesh, per_device, sparsified
from tests.moe.rounding import IN_DOUBLE, furthest_result

Array = np.ndarray[Any, Any]

# As Hugging Face's models have it, by way of torchax: 8 tokens, 2 of 8 experts; gate and up stacked.
TOKENS_8 = """
func.func @main(%x: tensor<8x4xf32>, %up: tensor<8x12x4xf32>, %down: tensor<8x4x6xf32>, %weights: tensor<8x2xf32>,
                %indices: tensor<8x2xi32>) -> tensor<8x4xf32> {
  %zero = stablehlo.constant dense<0.0> : tensor<f32>
  %0 = stablehlo.broadcast_in_dim %x, dims = [0, 2] : (tensor<8x4xf32>) -> tensor<8x2x4xf32>
  %1 = stablehlo.reshape %0 : (tensor<8x2x4xf32>) -> tensor<16x4xf32>
  %2 = stablehlo.reshape %indices : (tensor<8x2xi32>) -> tensor<16xi32>
  %none = stablehlo.constant dense<0> : tensor<16xi32>
  %all = stablehlo.constant dense<8> : tensor<16xi32>
  %3 = stablehlo.compare LT, %2, %none, SIGNED : (tensor<16xi32>, tensor<16xi32>) -> tensor<16xi1>
  %4 = stablehlo.add %2, %all : tensor<16xi32>
  %5 = stablehlo.select %3, %4, %2 : tensor<16xi1>, tensor<16xi32>
  %6 = stablehlo.broadcast_in_dim %5, dims = [0] : (tensor<16xi32>) -> tensor<16x1xi32>
  %7 = "stablehlo.gather"(%up, %6) <{dimension_numbers = #stablehlo.gather<offset_dims = [1, 2], collapsed_slice_dims =
    [0], start_index_map = [0], index_vector_dim = 1>, slice_sizes = array<i64: 1, 12, 4>}>
    : (tensor<8x12x4xf32>, tensor<16x1xi32>) -> tensor<16x12x4xf32>
  %8 = stablehlo.broadcast_in_dim %1, dims = [0, 1] : (tensor<16x4xf32>) -> tensor<16x4x1xf32>
  %9 = stablehlo.dot_general %7, %8, batching_dims = [0] x [0], contracting_dims = [2] x [1], precision =
    [DEFAULT, DEFAULT] : (tensor<16x12x4xf32>, tensor<16x4x1xf32>) -> tensor<16x12x1xf32>
  %10 = stablehlo.reshape %9 : (tensor<16x12x1xf32>) -> tensor<16x12xf32>
  %11 = stablehlo.slice %10 [0:16, 0:6] : (tensor<16x12xf32>) -> tensor<16x6xf32>
  %12 = stablehlo.slice %10 [0:16, 6:12] : (tensor<16x12xf32>) -> tensor<16x6xf32>
  %13 = stablehlo.logistic %11 : tensor<16x6xf32>
  %14 = stablehlo.multiply %13, %12 : tensor<16x6xf32>
  %15 = "stablehlo.gather"(%down, %6) <{dimension_numbers = #stablehlo.gather<offset_dims = [1, 2],
    collapsed_slice_dims = [0], start_index_map = [0], index_vector_dim = 1>, slice_sizes = array<i64: 1, 4, 6>}>
    : (tensor<8x4x6xf32>, tensor<16x1xi32>) -> tensor<16x4x6xf32>
  %16 = stablehlo.broadcast_in_dim %14, dims = [0, 1] : (tensor<16x6xf32>) -> tensor<16x6x1xf32>
  %17 = stablehlo.dot_general %15, %16, batching_dims = [0] x [0], contracting_dims = [2] x [1]
    : (tensor<16x4x6xf32>, tensor<16x6x1xf32>) -> tensor<16x4x1xf32>
  %18 = stablehlo.reshape %17 : (tensor<16x4x1xf32>) -> tensor<8x2x4xf32>
  %19 = stablehlo.broadcast_in_dim %weights, dims = [0, 1] : (tensor<8x2xf32>) -> tensor<8x2x4xf32>
  %20 = stablehlo.multiply %18, %19 : tensor<8x2x4xf32>
  %21 = stablehlo.reduce(%20 init: %zero) applies stablehlo.add across dimensions = [1]
    : (tensor<8x2x4xf32>, tensor<f32>) -> tensor<8x4xf32>
  return %21 : tensor<8x4xf32>
}
"""
EXPERTS = np.array([[0, 3], [7, 1], [2, 2], [-1, 4], [5, 6], [11, -9], [1, 0], [6, -8]], np.int32)


def whole_numbers(text: str, indices: Array = EXPERTS) -> list[Array]:
    """Small whole numbers for every argument: all sums are exact."""
    rng, shapes = np.random.default_rng(5), re.findall(r"%\w+: tensor<([\dx]+)x[fi]32>", text)
    sizes = [tuple(int(n) for n in shape.split("x")) for shape in shapes]
    return [*(rng.integers(-3, 4, size).astype(np.float32) for size in sizes[:-1]), indices.reshape(sizes[-1])]


def exact(text: str) -> str:
    """The program without what rounds."""
    return text.replace("stablehlo.logistic", "stablehlo.negate").replace("stablehlo.tanh", "stablehlo.negate")


def check(text: str, values: list[Array], counts: dict[str, int]) -> Program:
    """Made sparse and run: equal bit for bit if nothing rounds. Returns what it became, without dead ops."""
    run = Executor("interpreter")
    program, _, counted = sparsified(exact(text))
    assert counted == counts
    want, got = run.run_global(parse(exact(text), "m"), values), run.run_global(program, values)
    assert all(a.any() for a in want)
    assert all(np.array_equal(a, b) for a, b in zip(want, got, strict=True))
    program, _, _ = sparsified(text)
    runner.run(program, "builtin.module(dead-ops)")
    want, got = run.run_global(parse(text, "m"), values), run.run_global(program, values)
    assert all(np.allclose(a, b, rtol=1e-5, atol=1e-5) for a, b in zip(want, got, strict=True))
    return program


def entry(program: Program) -> str:
    """The entry function's text."""
    text = to_text(program.module)
    return text[: text.index("func.func private")]


def test_slots_of_tokens() -> None:
    """Two slots are one token's; numbers from the end, twice the same, and beyond the experts, as a gather has them."""
    program = check(TOKENS_8, whole_numbers(TOKENS_8), {"layers": 1, "products": 2})
    text = entry(program)
    assert "dot_general" not in text and "stablehlo.gather" not in text
    assert "num_experts_per_tok = 2" in text and "tensor<1x8x1x4xf32>" in text
    assert text.count("composite") == 2 * 4  # each names its op and has attributes


def test_only_rounding_differs() -> None:
    """In 32 bits sums may round in another order; in 64 bits nothing is left of that."""
    assert furthest_result(parse(TOKENS_8, "m"), sparsified(TOKENS_8)[0]) < 1e-6
    in_double = doubled(TOKENS_8)
    assert furthest_result(parse(in_double, "m"), sparsified(in_double)[0]) < IN_DOUBLE


def test_on_devices() -> None:
    """Weights that were copied whole are split: an expert a device, with NaN in all that is undefined."""
    values = whole_numbers(TOKENS_8)
    (want,) = Executor("interpreter").run_global(parse(TOKENS_8, "m"), values)
    for mesh in ('"rows"=2, "columns"=4', '"x"=8', '"rows"=1, "columns"=2'):
        spread = on_mesh(TOKENS_8, mesh, {})
        runner.run(spread, "builtin.module(moe-sparsify,moe-expert-parallel{poison=true},dead-ops)")
        report = partition(spread)
        assert not report.replicated and not report.flat
        devices = report.side_table.mesh.device_count
        assert report.side_table.arguments[1].local_shape == (8 // devices, 12, 4)
        named_values = {str(i): v for i, v in enumerate(values)}
        assert distance(per_device(spread, report, named_values), want) < 2e-6


SLOTS_10 = """
func.func @main(%x: tensor<10x4xf32>, %w: tensor<3x4x6xf32>, %v: tensor<3x6x4xf32>, %i: tensor<10xi32>)
    -> tensor<10x4xf32> {
  %3 = stablehlo.broadcast_in_dim %i, dims = [0] : (tensor<10xi32>) -> tensor<10x1xi32>
  %4 = "stablehlo.gather"(%w, %3) <{dimension_numbers = #stablehlo.gather<offset_dims = [1, 2], collapsed_slice_dims =
    [0], start_index_map = [0], index_vector_dim = 1>, slice_sizes = array<i64: 1, 4, 6>}>
    : (tensor<3x4x6xf32>, tensor<10x1xi32>) -> tensor<10x4x6xf32>
  %5 = stablehlo.dot_general %x, %4, batching_dims = [0] x [0], contracting_dims = [1] x [1]
    : (tensor<10x4xf32>, tensor<10x4x6xf32>) -> tensor<10x6xf32>
  %6 = "stablehlo.gather"(%v, %3) <{dimension_numbers = #stablehlo.gather<offset_dims = [1, 2], collapsed_slice_dims =
    [0], start_index_map = [0], index_vector_dim = 1>, slice_sizes = array<i64: 1, 6, 4>}>
    : (tensor<3x6x4xf32>, tensor<10x1xi32>) -> tensor<10x6x4xf32>
  %7 = stablehlo.dot_general %6, %5, batching_dims = [0] x [0], contracting_dims = [1] x [1]
    : (tensor<10x6x4xf32>, tensor<10x6xf32>) -> tensor<10x4xf32>
  return %7 : tensor<10x4xf32>
}
"""
SOME = np.array([2, 0, 1, 1, 2, -1, 3, 0, 0, 2], np.int32)


def test_slots_that_copy_nothing_are_tokens() -> None:
    program = check(SLOTS_10, whole_numbers(SLOTS_10, SOME), {"layers": 1, "products": 2})
    assert "num_experts_per_tok = 1" in entry(program)


# GPT-OSS as it is published: slots are two dimensions, tokens not copied, vectors of the experts added.
TWO_DIMENSIONS = """
func.func @main(%x: tensor<TxFx4xf32>, %w: tensor<3x4x6xf32>, %b: tensor<3x6xf32>, %v: tensor<3x6x4xf32>,
                %s: tensor<6xf32>, %i: tensor<TxKxi32>) -> tensor<TxKx4xf32> {
  %i1 = stablehlo.reshape %i : (tensor<TxKxi32>) -> tensor<TxKx1xi32>
  %0 = "stablehlo.gather"(%w, %i1) <{dimension_numbers = #stablehlo.gather<offset_dims = [2, 3], collapsed_slice_dims =
    [0], start_index_map = [0], index_vector_dim = 2>, slice_sizes = array<i64: 1, 4, 6>}>
    : (tensor<3x4x6xf32>, tensor<TxKx1xi32>) -> tensor<TxKx4x6xf32>
  %1 = "stablehlo.gather"(%b, %i1) <{dimension_numbers = #stablehlo.gather<offset_dims = [2], collapsed_slice_dims =
    [0], start_index_map = [0], index_vector_dim = 2>, slice_sizes = array<i64: 1, 6>}>
    : (tensor<3x6xf32>, tensor<TxKx1xi32>) -> tensor<TxKx6xf32>
  %2 = stablehlo.reshape %x : (tensor<TxFx4xf32>) -> tensor<Tx4xf32>
  %3 = stablehlo.dot_general %2, %0, batching_dims = [0] x [0], contracting_dims = [1] x [2]
    : (tensor<Tx4xf32>, tensor<TxKx4x6xf32>) -> tensor<TxKx6xf32>
  %4 = stablehlo.add %3, %1 : tensor<TxKx6xf32>
  %two = stablehlo.constant dense<2.0> : tensor<TxKx6xf32>
  %5 = stablehlo.minimum %4, %two : tensor<TxKx6xf32>
  %6 = stablehlo.broadcast_in_dim %s, dims = [2] : (tensor<6xf32>) -> tensor<TxKx6xf32>
  %7 = stablehlo.multiply %5, %6 : tensor<TxKx6xf32>
  %8 = stablehlo.transpose %7, dims = [2, 0, 1] : (tensor<TxKx6xf32>) -> tensor<6xTxKxf32>
  %low = stablehlo.constant dense<-9.0> : tensor<f32>
  %high = stablehlo.constant dense<9.0> : tensor<f32>
  %9 = stablehlo.clamp %low, %8, %high : (tensor<f32>, tensor<6xTxKxf32>, tensor<f32>) -> tensor<6xTxKxf32>
  %10 = "stablehlo.gather"(%v, %i) <{dimension_numbers = #stablehlo.gather<offset_dims = [2, 3], collapsed_slice_dims =
    [0], start_index_map = [0], index_vector_dim = 2>, slice_sizes = array<i64: 1, 6, 4>}>
    : (tensor<3x6x4xf32>, tensor<TxKxi32>) -> tensor<TxKx6x4xf32>
  %11 = stablehlo.dot_general %9, %10, batching_dims = [1, 2] x [0, 1], contracting_dims = [0] x [2]
    : (tensor<6xTxKxf32>, tensor<TxKx6x4xf32>) -> tensor<TxKx4xf32>
  return %11 : tensor<TxKx4xf32>
}
"""


def two_dimensions(tokens: int, chosen: int) -> str:
    sizes = {"TxFx4": f"{tokens}x1x4", "TxK": f"{tokens}x{chosen}", "Tx4": f"{tokens}x4"}
    text = TWO_DIMENSIONS
    for name, size in sizes.items():
        text = text.replace(name, size)
    return text


@pytest.mark.parametrize(("tokens", "chosen"), [(5, 2), (1, 2), (5, 1), (128, 3)])
def test_slots_of_two_dimensions(tokens: int, chosen: int) -> None:
    """A token at a time, as in decoding, has no dimension to be known by."""
    text = two_dimensions(tokens, chosen)
    indices = np.arange(tokens * chosen, dtype=np.int32) * 2 % 5 - 1
    program = check(text, whole_numbers(text, indices), {"layers": 1, "products": 2})
    assert f"num_experts_per_tok = {chosen}" in entry(program)
    assert "gather" not in entry(program) and "dot_general" not in entry(program)


def test_what_is_read_in_between_is_combined_as_well() -> None:
    text = TOKENS_8.replace("return %21", "%22 = stablehlo.negate %12 : tensor<16x6xf32>\n  return %21, %22, %13")
    text = text.replace("-> tensor<8x4xf32> {", "-> (tensor<8x4xf32>, tensor<16x6xf32>, tensor<16x6xf32>) {")
    text = text.replace(": tensor<8x4xf32>\n}", ": tensor<8x4xf32>, tensor<16x6xf32>, tensor<16x6xf32>\n}")
    program = check(text, whole_numbers(text), {"layers": 1, "products": 2})
    assert entry(program).count("all_to_all_combine") == 2 * 3


def test_what_depends_on_the_slot_is_computed_for_slots() -> None:
    """Weights before the second product: the first is for tokens, the second for slots that are tokens with one."""
    text = TOKENS_8.replace("%14 = stablehlo.multiply %13, %12 : tensor<16x6xf32>", """\
%a = stablehlo.multiply %13, %12 : tensor<16x6xf32>
  %b = stablehlo.reshape %weights : (tensor<8x2xf32>) -> tensor<16xf32>
  %c = stablehlo.broadcast_in_dim %b, dims = [0] : (tensor<16xf32>) -> tensor<16x6xf32>
  %14 = stablehlo.multiply %a, %c : tensor<16x6xf32>""")
    program = check(text, whole_numbers(text), {"layers": 1, "products": 2})
    assert [entry(program).count(f"num_experts_per_tok = {k}") for k in (1, 2)] == [1, 1]


LEFT = {
    "a precision": ([("[DEFAULT, DEFAULT]", "[HIGHEST, HIGHEST]")],
                    "a product states a precision, which a sparse product cannot"),
    "several rows": ([("%8 = stablehlo.broadcast_in_dim %1, dims = [0, 1] : (tensor<16x4xf32>) -> tensor<16x4x1xf32>",
                       "%8 = stablehlo.broadcast_in_dim %1, dims = [0, 1] : (tensor<16x4xf32>) -> tensor<16x4x3xf32>"),
                      ("tensor<16x4x1xf32>) -> tensor<16x12x1xf32>", "tensor<16x4x3xf32>) -> tensor<16x12x3xf32>"),
                      ("%10 = stablehlo.reshape %9 : (tensor<16x12x1xf32>)",
                       "%z = stablehlo.slice %9 [0:16, 0:12, 1:2] : (tensor<16x12x3xf32>) -> tensor<16x12x1xf32>\n"
                       "  %10 = stablehlo.reshape %z : (tensor<16x12x1xf32>)")],
                     "a slot multiplies more than one row with its copy"),
}


@pytest.mark.parametrize("case", LEFT)
def test_left_with_the_reason(case: str) -> None:
    changes, reason = LEFT[case]
    text = TOKENS_8
    for old, new in changes:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    program, found, counts = sparsified(text)
    assert counts == {"left": 1}
    assert found[0].reason == reason
    assert str(found[0]).endswith(f"mixture of experts by copies of weights (16 slots, 8 experts) left: {reason}")
    assert to_text(program.module) == to_text(parse(text, "m").module)


def test_other_gathers_are_not() -> None:
    """An embedding's rows, multiplied with one matrix for all."""
    text = """
func.func @main(%w: tensor<3x4x6xf32>, %i: tensor<10x1xi32>, %m: tensor<6x6xf32>) -> tensor<10x4x6xf32> {
  %0 = "stablehlo.gather"(%w, %i) <{dimension_numbers = #stablehlo.gather<offset_dims = [1, 2], collapsed_slice_dims =
    [0], start_index_map = [0], index_vector_dim = 1>, slice_sizes = array<i64: 1, 4, 6>}>
    : (tensor<3x4x6xf32>, tensor<10x1xi32>) -> tensor<10x4x6xf32>
  %1 = stablehlo.dot_general %0, %m, contracting_dims = [2] x [0]
    : (tensor<10x4x6xf32>, tensor<6x6xf32>) -> tensor<10x4x6xf32>
  return %1 : tensor<10x4x6xf32>
}
"""
    program, found, counts = sparsified(text)
    assert not found and not counts
    assert to_text(program.module) == to_text(parse(text, "m").module)


def test_how_often_a_row_is_repeated() -> None:
    text = TOKENS_8.replace("tensor<8x2x4xf32>\n  %1 =", "tensor<8x2x4xf32>\n  %none_of_it = stablehlo.negate %0 : "
                            "tensor<8x2x4xf32>\n  %1 =")
    module = parse(text, "m").module
    copy = copy_of(named(module, frozenset({"stablehlo.gather"}))[0])
    assert copy is not None and copy.slots == {"t0": 16} and copy.experts == 8
    copied, other = named(module, frozenset({"stablehlo.reshape"}))[:2]
    assert copies_per_token(copied.results[0], ("t0", ""), copy.slots) == 2
    assert copies_per_token(other.results[0], ("t0",), copy.slots) == 1


def test_a_second_run_finds_nothing() -> None:
    program, _, _ = sparsified(TOKENS_8)
    runner.run(program, "builtin.module(dead-ops)")
    before = to_text(program.module)
    _, found, counts = sparsified(before)
    assert not found and not counts
