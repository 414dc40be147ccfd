"""Functions in per-device programs: kept, one for each way its callers are planned, never at the price of more data."""

from __future__ import annotations

import re

import pytest

from passes.execute.executor import Executor
from passes.execute.verify import verify
from passes.partition.partition import partition
from passes.partition.report import Report
from passes.partition.summary import collectives, volume
from passes.program.read import parse
from passes.program.write import to_text
from passes.sharding.annotate import annotate
from passes.sharding.rules_file import load
from tests.test_examples import EXAMPLES

MESH = 'sdy.mesh @mesh = <["x"=4, "y"=2]>\n'
SPLIT = '{sdy.sharding = #sdy.sharding<@mesh, [{"x"}, {}]>}'
T = "tensor<8x8xf32>"
LAYER = f"""
func.func private @layer(%x: {T}, %w: {T}, %v: {T}) -> {T} attributes {{no_inline}} {{
  %0 = stablehlo.dot_general %x, %w, contracting_dims = [1] x [0] : ({T}, {T}) -> {T}
  %1 = func.call @shape(%0) : ({T}) -> {T}
  %2 = stablehlo.dot_general %1, %v, contracting_dims = [1] x [0] : ({T}, {T}) -> {T}
  return %2 : {T}
}}
func.func private @shape(%x: {T}) -> {T} {{
  %0 = stablehlo.tanh %x : {T}
  return %0 : {T}
}}
"""


def check(body: str, **options: bool) -> tuple[str, Report]:
    """The per-device program, proven to compute what ``body`` does on XLA and unrolled, and the report."""
    program = parse(MESH + body, "here.mlir")
    report = partition(program, **options)  # type: ignore[arg-type]
    for executor in ("xla", "interpreter"):
        found = verify(parse(MESH + body), program, report.side_table, executor=Executor(executor))
        assert found.ok, "\n".join(found.lines())
    text = to_text(program.module)
    assert "shlo." not in text
    assert "optimization_barrier" not in text
    return text, report


def functions(text: str) -> list[str]:
    return re.findall(r"func\.func private @(\w+)", text)


def calls(text: str) -> list[str]:
    return re.findall(r"call @(\w+)", text)


def layers(count: int, split: int) -> str:
    """A chain of ``count`` layers, the weights of the first ``split`` of which are in parts."""
    columns, rows = (f'{{sdy.sharding = #sdy.sharding<@mesh, [{dims}]>}}' for dims in ('{}, {"y"}', '{"y"}, {}'))
    weights = [f"%w{i}: {T} {columns if i < split else ''}, %v{i}: {T} {rows if i < split else ''}"
               for i in range(count)]
    ops = [f"%{i + 1} = call @layer(%{i or 'x'}, %w{i}, %v{i}) : ({T}, {T}, {T}) -> {T}" for i in range(count)]
    body = "\n".join([*ops, f"return %{count} : {T}"])
    return f"func.func @main(%x: {T} {SPLIT}, {', '.join(weights)}) -> {T} {{\n{body}\n}}"


def test_equal_layers_are_one_function_and_its_collectives_count_for_each_call() -> None:
    text, report = check(LAYER + layers(6, 6))
    assert functions(text) == ["shape", "layer"]
    assert calls(text) == ["layer"] * 6 + ["shape"]
    assert "attributes {no_inline}" in text
    assert text.count("stablehlo.all_reduce") == 1
    assert [(t.kind, t.axes, t.count, t.bytes) for t in report.traffic] == [("all_reduce", ("y",), 6, 6 * 64)]


def test_layers_that_are_planned_otherwise_are_functions_of_their_own() -> None:
    text, _ = check(LAYER + layers(5, 3))
    assert functions(text) == ["shape", "layer", "shape_1", "layer_1"]
    assert calls(text) == ["layer"] * 3 + ["layer_1"] * 2 + ["shape", "shape_1"]


def test_inlined_on_request_and_with_a_trace() -> None:
    text, report = check(LAYER + layers(2, 2), keep_functions=False)
    assert not functions(text)
    assert [t.count for t in report.traffic] == [2]
    program = parse(MESH + LAYER + layers(2, 2))
    partition(program, trace=True)
    assert not functions(to_text(program.module))


def test_in_a_loop_with_a_device_number_in_it() -> None:
    text, _ = check(f"""
func.func private @shifted(%a: {T}, %i: tensor<i32>) -> ({T}, tensor<i32>) {{
  %one = stablehlo.constant dense<1> : tensor<i32>
  %v = stablehlo.iota dim = 0 : {T}
  %0 = stablehlo.add %a, %v : {T}
  %1 = stablehlo.add %i, %one : tensor<i32>
  return %0, %1 : {T}, tensor<i32>
}}
func.func @main(%a: {T} {SPLIT}) -> ({T} {SPLIT}) {{
  %zero = stablehlo.constant dense<0> : tensor<i32>
  %two = stablehlo.constant dense<2> : tensor<i32>
  %0:2 = stablehlo.while(%i = %zero, %x = %a) : tensor<i32>, {T}
  cond {{
    %1 = stablehlo.compare LT, %i, %two : (tensor<i32>, tensor<i32>) -> tensor<i1>
    stablehlo.return %1 : tensor<i1>
  }} do {{
    %1:2 = func.call @shifted(%x, %i) : ({T}, tensor<i32>) -> ({T}, tensor<i32>)
    stablehlo.return %1#1, %1#0 : tensor<i32>, {T}
  }}
  return %0#1 : {T}
}}""")
    assert functions(text) == ["shifted"]
    assert text.index("@shifted(%arg0") < text.index("stablehlo.partition_id")


SUMS = f"""
func.func private @product(%x: {T}, %w: {T}) -> {T} {{
  %0 = stablehlo.dot_general %x, %w, contracting_dims = [1] x [0] : ({T}, {T}) -> {T}
  return %0 : {T}
}}
func.func private @doubled(%x: {T}) -> {T} {{
  %0 = stablehlo.add %x, %x : {T}
  return %0 : {T}
}}
func.func @main(%x: {T} {{sdy.sharding = #sdy.sharding<@mesh, [{{}}, {{"x"}}]>}},
                %w: {T} {{sdy.sharding = #sdy.sharding<@mesh, [{{"x"}}, {{}}]>}},
                %v: {T} {{sdy.sharding = #sdy.sharding<@mesh, [{{"x"}}, {{}}]>}}) -> {T} {{
  %0 = call @product(%x, %w) : ({T}, {T}) -> {T}
  %1 = call @product(%x, %v) : ({T}, {T}) -> {T}
  %2 = stablehlo.add %0, %1 : {T}
  %3 = call @doubled(%2) : ({T}) -> {T}
  return %3 : {T}
}}
"""


def test_functions_whose_sums_meet_outside_are_inlined_others_are_not() -> None:
    text, report = check(SUMS)
    assert functions(text) == ["doubled"]
    assert [(t.kind, t.count) for t in report.traffic] == [("all_reduce", 1)]


NEGATED = SUMS.replace("stablehlo.add %x, %x", "stablehlo.negate %x").replace(
    "%2 = stablehlo.add %0, %1", f"%4 = call @doubled(%0) : ({T}) -> {T}\n  %2 = stablehlo.add %4, %1"
)


def test_functions_through_which_sums_pass_are_inlined_if_these_meet_then() -> None:
    text, report = check(NEGATED)
    assert not functions(text)
    assert [(t.kind, t.count) for t in report.traffic] == [("all_reduce", 1)]


def test_functions_through_which_sums_pass_are_kept_where_nothing_meets() -> None:
    text, report = check(NEGATED.replace("stablehlo.negate %x", "stablehlo.tanh %x"))
    assert functions(text) == ["product", "doubled"]
    assert [(t.kind, t.count) for t in report.traffic] == [("all_reduce", 2)]


def test_what_has_an_effect_is_inlined() -> None:
    program = parse(MESH + f"""
func.func private @told(%x: {T}) -> {T} {{
  %1 = stablehlo.custom_call @tell(%x) {{has_side_effect = true}} : ({T}) -> {T}
  %0 = stablehlo.tanh %x : {T}
  return %0 : {T}
}}
func.func @main(%x: {T} {SPLIT}) -> {T} {{
  %0 = call @told(%x) : ({T}) -> {T}
  return %0 : {T}
}}""")
    partition(program)
    text = to_text(program.module)
    assert not functions(text)
    assert text.count("@tell") == 1


@pytest.mark.parametrize("plan", ["decoder/megatron", "gpt/megatron_fsdp", "scan_layers/layers"])
def test_examples_keep_functions_and_move_no_more(plan: str) -> None:
    rules = EXAMPLES / f"{plan}.toml"
    source = rules.parent / "forward.mlir"

    def partitioned(keep: bool) -> str:
        program = parse(source.read_text(), str(source))
        annotate(program, load(str(rules)))
        partition(program, keep_functions=keep)
        volumes.append(volume(collectives(program.module)))
        return to_text(program.module)

    volumes: list[tuple[float, int]] = []
    kept, inlined = partitioned(True), partitioned(False)
    assert functions(kept)
    assert not functions(inlined)
    assert volumes[0] == volumes[1]
