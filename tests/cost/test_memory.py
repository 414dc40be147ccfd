"""The peak of memory of small programs, worked out by hand, and of train steps beside XLA's buffers."""

from __future__ import annotations

from pathlib import Path

import pytest

from passes.cost.graph import read_graph
from passes.cost.memory import Memory, memory
from passes.execute import prepare, xla_analysis
from passes.partition.partition import partition
from passes.program import read
from passes.program.entry import find_entry
from passes.sharding.annotate import annotate
from passes.sharding.rules_file import load

EXAMPLES = Path(__file__).parents[2] / "examples"
KB = 1024


def _memory(text: str) -> Memory:
    program = read.parse(text)
    return memory(read_graph(program), find_entry(program))


CHAIN = """func.func @main(%a: tensor<16x16xf32> {attribute}) -> tensor<16x16xf32> {{
  %0 = stablehlo.dot %a, %a : (tensor<16x16xf32>, tensor<16x16xf32>) -> tensor<16x16xf32>
  %1 = stablehlo.dot %0, %a : (tensor<16x16xf32>, tensor<16x16xf32>) -> tensor<16x16xf32>
  %2 = stablehlo.dot %1, %a : (tensor<16x16xf32>, tensor<16x16xf32>) -> tensor<16x16xf32>
  return %2 : tensor<16x16xf32>
}}"""


def test_a_value_goes_after_its_last_reader() -> None:
    found = _memory(CHAIN.format(attribute=""))
    # The argument, and the operand and result of one dot.
    assert (found.peak, found.arguments, found.results, found.temporaries) == (3 * KB, KB, KB, KB)
    assert found.timeline == [2 * KB, 3 * KB, 3 * KB]
    assert [node.name for node in found.at] == ["stablehlo.dot"]
    assert sum(h.bytes for h in found.held) == found.peak


def test_a_donated_argument_makes_room_for_a_result() -> None:
    for attribute in ("{tf.aliasing_output = 0 : i32}", "{jax.buffer_donor = true}"):
        found = _memory(CHAIN.format(attribute=attribute))
        assert (found.peak, found.results, found.timeline) == (3 * KB, 0, [2 * KB, 3 * KB, 2 * KB])


def test_elementwise_results_take_the_place_of_what_they_read_last() -> None:
    found = _memory("""func.func @main(%a: tensor<16x16xf32>) -> tensor<16x16xf32> {
  %0 = stablehlo.dot %a, %a : (tensor<16x16xf32>, tensor<16x16xf32>) -> tensor<16x16xf32>
  %1 = stablehlo.exponential %0 : tensor<16x16xf32>
  %2 = stablehlo.divide %1, %a : tensor<16x16xf32>
  return %2 : tensor<16x16xf32>
}""")
    assert found.peak == 2 * KB


SMALLER_RESULT = """func.func @main(%a: tensor<16x16xf32>, %b: tensor<16x8xf32>) -> tensor<16x8xf32> {
  %0 = stablehlo.dot %a, %a : (tensor<16x16xf32>, tensor<16x16xf32>) -> tensor<16x16xf32>
  %1 = stablehlo.dot %0, %b : (tensor<16x16xf32>, tensor<16x8xf32>) -> tensor<16x8xf32>
  %2 = stablehlo.dot %a, %1 : (tensor<16x16xf32>, tensor<16x8xf32>) -> tensor<16x8xf32>
  %3 = stablehlo.dot %a, %2 : (tensor<16x16xf32>, tensor<16x8xf32>) -> tensor<16x8xf32>
  return %3 : tensor<16x8xf32>
}"""


def test_a_result_has_its_place_from_the_start_and_a_value_of_its_size_may_be_there_before() -> None:
    found = _memory(SMALLER_RESULT)
    base = found.arguments + found.results
    assert base == 2 * KB
    # %0 does not fit; %1 is where %3 will be, %2 is not, for it is read when %3 is made.
    assert [size - base for size in found.timeline] == [KB, KB, KB // 2, KB // 2]
    assert found.temporaries == KB


GATHER = """module attributes {{mhlo.num_partitions = 4 : i32}} {{
  func.func @main(%a: tensor<{shape}xf32>) -> tensor<256xf32> {{
    %0 = "stablehlo.all_gather"(%a) <{{
      all_gather_dim = {dim} : i64, replica_groups = dense<[[0, 1, 2, 3]]> : tensor<1x4xi64>,
      channel_handle = #stablehlo.channel_handle<handle = 1, type = 1>, use_global_device_ids
    }}> : (tensor<{shape}xf32>) -> tensor<16x16xf32>
    %1 = stablehlo.dot %0, %0 : (tensor<16x16xf32>, tensor<16x16xf32>) -> tensor<16x16xf32>
    %2 = stablehlo.reshape %1 : (tensor<16x16xf32>) -> tensor<256xf32>
    return %2 : tensor<256xf32>
  }}
}}"""


@pytest.mark.parametrize(("shape", "dim", "copies"), [("4x16", 0, 0), ("16x4", 1, 1)])
def test_a_gather_along_an_inner_dimension_takes_a_copy(shape: str, dim: int, copies: int) -> None:
    found = _memory(GATHER.format(shape=shape, dim=dim))
    base = found.arguments + found.results
    # The reshaped dot is the result, so that what is gathered cannot be there while the dot runs.
    assert (found.arguments, found.results) == (KB // 4, KB)
    assert [size - base for size in found.timeline] == [(1 + copies) * KB, KB, 0]
    assert sum(held.bytes for held in found.held) == found.peak


LOOP = """func.func @main(%a: tensor<16x16xf32>) -> tensor<16x16xf32> {
  %zero = stablehlo.constant dense<0> : tensor<i32>
  %one = stablehlo.constant dense<1> : tensor<i32>
  %end = stablehlo.constant dense<8> : tensor<i32>
  %s = stablehlo.dot %a, %a : (tensor<16x16xf32>, tensor<16x16xf32>) -> tensor<16x16xf32>
  %0:3 = stablehlo.while(%i = %zero, %x = %s, %w = %a) : tensor<i32>, tensor<16x16xf32>, tensor<16x16xf32>
  cond {
    %more = stablehlo.compare LT, %i, %end : (tensor<i32>, tensor<i32>) -> tensor<i1>
    stablehlo.return %more : tensor<i1>
  } do {
    %y = stablehlo.dot %x, %w : (tensor<16x16xf32>, tensor<16x16xf32>) -> tensor<16x16xf32>
    %z = stablehlo.dot %y, %w : (tensor<16x16xf32>, tensor<16x16xf32>) -> tensor<16x16xf32>
    %j = stablehlo.add %i, %one : tensor<i32>
    stablehlo.return %j, %z, %w : tensor<i32>, tensor<16x16xf32>, tensor<16x16xf32>
  }
  return %0#1 : tensor<16x16xf32>
}"""


def test_a_loop_holds_its_carries_once_and_what_its_body_makes() -> None:
    found = _memory(LOOP)
    # %a, the carry %x, and %y with %z; what the loop returns takes the place of %x, %w that of %a.
    assert 4 * KB <= found.peak < 4 * KB + 64
    assert [node.name for node in found.at] == ["stablehlo.while", "stablehlo.dot"]


PLANS = ["decoder/megatron", "decoder/fsdp", "decoder/dp", "moe/expert", "scan_layers/megatron"]


@pytest.mark.parametrize("plan", PLANS)
def test_train_step_on_eight_devices_is_near_xla(plan: str) -> None:
    rules = EXAMPLES / f"{plan}.toml"
    program = read.read(str(rules.parent / "train_step.mlir"))
    annotate(program, load(str(rules)))
    devices = partition(program).side_table.mesh.device_count
    ours = memory(read_graph(program), find_entry(program))
    theirs = xla_analysis.buffers(prepare.per_device_code(program, as_written=True), "per-device", devices)
    assert ours.arguments == theirs.arguments
    assert 0.65 < ours.peak / theirs.peak < 1.35


@pytest.mark.parametrize(("example", "plan"), [
    ("decoder", "megatron"), ("decoder", "fsdp"), ("scan_layers", "megatron"), ("moe", "expert"),
])
def test_lifetimes_add_up_to_the_timeline(example: str, plan: str) -> None:
    program = read.read(str(EXAMPLES / example / "train_step.mlir"))
    annotate(program, load(str(EXAMPLES / example / f"{plan}.toml")))
    partition(program)
    graph = read_graph(program)
    found = memory(graph, find_entry(program))
    counted = [found.arguments] * len(found.timeline)
    for value, first, last in found.lifetimes:
        for position in range(first, last + 1):
            counted[position] += graph.bytes[value]
    assert counted == found.timeline
    assert sum(held.bytes for held in found.held) == found.peak == max(found.timeline)
