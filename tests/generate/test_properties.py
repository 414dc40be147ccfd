"""Generated programs: all kinds of ops come up, a seed is a program, and the properties hold for the first seeds."""

from __future__ import annotations

import random
import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from passes.program.read import parse
from tests.generate import elementwise
from tests.generate.builder import Builder, Unit, Value
from tests.generate.program import Generated, seeded
from tests.generate.properties import Broken, optimizes, partitions, round_trips, same_results
from tests.generate.strategies import programs, programs_on_meshes

SETTINGS = settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
OTHER_OPS = (
    "all_gather", "all_reduce", "all_to_all", "bitcast_convert", "broadcast_in_dim", "case", "clamp",
    "collective_broadcast", "collective_permute", "compare", "complex", "composite", "concatenate", "constant",
    "convert", "convolution", "dot_general", "dynamic_slice", "dynamic_update_slice", "gather", "if", "imag", "iota",
    "is_finite", "map", "optimization_barrier", "pad", "real", "reduce", "reduce_precision", "reduce_scatter",
    "reduce_window", "remainder", "reshape", "reverse", "scatter", "select", "select_and_scatter", "slice", "sort",
    "transpose", "while",
)


def test_all_ops_come_up_and_all_programs_are_valid() -> None:
    found = set()
    for seed in range(400):
        text = seeded(seed, on_mesh=seed % 4 < 2).text
        parse(text)
        found |= set(re.findall(r"stablehlo\.(\w+)|(func\.call|sdy\.manual_computation|sharding_rule)", text))
    names = {name for pair in found for name in pair}
    wanted = {*elementwise.BINARY, *elementwise.UNARY, *OTHER_OPS, "func.call", "sdy.manual_computation",
              "sharding_rule"}
    assert not wanted - names


def test_a_seed_is_a_program() -> None:
    assert seeded(7, on_mesh=True) == seeded(7, on_mesh=True)
    assert seeded(7).text != seeded(8).text


def test_floats_of_exact_programs_stay_integers_that_nothing_rounds() -> None:
    """Computed in double precision they are the same."""
    from passes.execute.inputs import make
    from tests.generate.properties import INTERPRETER

    for seed in range(0, 60, 2):
        text = seeded(seed).text
        if "f64" in text or "bf16" in text or "0x" in text:
            continue
        narrow, wide = parse(text), parse(text.replace("f32", "f64"))
        inputs = make(narrow, "exact", seed).arrays
        more = [array.astype("f8") if array.dtype == "f4" else array for array in inputs]
        for one, other in zip(INTERPRETER.run_global(narrow, inputs), INTERPRETER.run_global(wide, more), strict=True):
            assert one.tolist() == other.tolist()


def test_exact_programs_clamp_to_integers() -> None:
    build = Builder(random.Random(0), Unit(exact=True))
    tamed = build.tame(Value("%a", (4,), "bf16", 3.0), 64 / 72)
    assert tamed.bound == 0
    assert "dense<0.0>" in build.text() and "0.88" not in build.text()


@pytest.mark.parametrize("seed", range(12))
def test_optimize_seeds(seed: int) -> None:
    generated = seeded(seed)
    round_trips(generated.text)
    optimizes(generated, seed)


@pytest.mark.parametrize("seed", range(12))
def test_partition_seeds(seed: int) -> None:
    partitions(seeded(seed, exact=True, on_mesh=True), seed)


@SETTINGS
@given(generated=programs_on_meshes(8), seed=st.integers(0, 99))
def test_partition_shrinks(generated: Generated, seed: int) -> None:
    partitions(generated, seed)


@SETTINGS
@given(generated=programs(exact=True, ops=10), seed=st.integers(0, 99))
def test_optimize_shrinks(generated: Generated, seed: int) -> None:
    optimizes(generated, seed)


def test_a_changed_result_is_noticed() -> None:
    from passes.execute.inputs import make

    text = """module {
    func.func @main(%a: tensor<4xf32>) -> tensor<4xf32> {
      %0 = call @f(%a) : (tensor<4xf32>) -> tensor<4xf32> return %0 : tensor<4xf32> }
    func.func private @f(%a: tensor<4xf32>) -> tensor<4xf32> {
      %0 = stablehlo.abs %a : tensor<4xf32> return %0 : tensor<4xf32> }
    }"""
    inputs = make(parse(text), "exact", 0).arrays
    same_results(text, inputs, {"nothing": text})
    with pytest.raises(Broken, match="negating changed result 0"):
        same_results(text, inputs, {"nothing": text, "negating": text.replace("abs", "negate")})
