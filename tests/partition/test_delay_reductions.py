"""Sums over devices that meet: how many are left, that every bit of every device stays, and what stays as it is."""

from __future__ import annotations

import pytest

from passes.execute.compare import BIT_EQUAL
from passes.execute.verify import verify
from passes.partition.improve import Communication
from passes.partition.partition import partition
from passes.program import read
from passes.sharding.annotate import annotate
from passes.sharding.rules_file import load
from tests.partition.collective_programs import COLUMNS, all_reduce, changed_and_executed, reduce_scatter
from tests.test_examples import EXAMPLES

T, N, S, M = "tensor<4x8xf32>", "tensor<4x8xi32>", "tensor<1x8xf32>", "tensor<8x4xf32>"


def program(*body: str, returned: str = "%r", types: str = T, arguments: str = T) -> str:
    lines = "\n".join(body)
    named = ", ".join(f"%{name}: {arguments}" for name in "xyzt")
    return f"func.func @main({named}) -> ({types}) {{\n{lines}\nreturn {returned} : {types}\n}}"


AX, AY, AZ = (f"%a{name} = {all_reduce(f'%{name}', T)}" for name in "xyz")
HALF = "%h = stablehlo.constant dense<5.0e-01> : tensor<f32>"
HALVES = f"{HALF}\n%hs = stablehlo.broadcast_in_dim %h, dims = [] : (tensor<f32>) -> {T}"

# Program -> how many reductions it has after.
MEET = {
    "a sum": (program(AX, AY, f"%r = stablehlo.add %ax, %ay : {T}"), 1),
    "a chain around something else": (
        program(
            AX, f"%0 = stablehlo.add %t, %ax : {T}", AY, f"%1 = stablehlo.add %0, %ay : {T}",
            AZ, f"%r = stablehlo.subtract %1, %az : {T}",
        ),
        1,
    ),
    "differences": (
        program(
            AX, AY, AZ, f"%0 = stablehlo.subtract %t, %ax : {T}", f"%1 = stablehlo.negate %ay : {T}",
            f"%2 = stablehlo.subtract %1, %0 : {T}", f"%r = stablehlo.subtract %2, %az : {T}",
        ),
        1,
    ),
    "moved": (
        program(
            AX, AY, f"%0 = stablehlo.transpose %ax, dims = [1, 0] : ({T}) -> {M}",
            f"%1 = stablehlo.reshape %ay : ({T}) -> {M}", f"%r = stablehlo.add %0, %1 : {M}", types=M,
        ),
        1,
    ),
    "scaled": (
        program(
            HALVES, AX, AY, f"%0 = stablehlo.multiply %hs, %ax : {T}", f"%1 = stablehlo.add %0, %t : {T}",
            f"%2 = stablehlo.divide %1, %hs : {T}", f"%r = stablehlo.add %2, %ay : {T}",
        ),
        1,
    ),
    "two groups": (
        program(
            AX, AY, f"%az = {all_reduce('%z', T, COLUMNS)}", f"%at = {all_reduce('%t', T, COLUMNS)}",
            f"%0 = stablehlo.add %ax, %az : {T}", f"%1 = stablehlo.add %at, %ay : {T}",
            f"%r = stablehlo.add %0, %1 : {T}",
        ),
        2,
    ),
    "two sums": (
        program(
            AX, AY, AZ, f"%at = {all_reduce('%t', T)}", f"%0 = stablehlo.add %ax, %az : {T}",
            f"%1 = stablehlo.add %at, %ay : {T}", returned="%0, %1", types=f"{T}, {T}",
        ),
        2,
    ),
    "a sum that is used twice": (
        program(
            AX, AY, AZ, f"%0 = stablehlo.add %ax, %ay : {T}", f"%1 = stablehlo.multiply %0, %0 : {T}",
            f"%r = stablehlo.add %1, %az : {T}",
        ),
        2,
    ),
    "scattered sums": (
        program(
            f"%ax = {reduce_scatter('%x', T, S)}", f"%ay = {reduce_scatter('%y', T, S)}",
            f"%r = stablehlo.subtract %ax, %ay : {S}", types=S,
        ),
        1,
    ),
    "integers": (
        program(
            *(f"%a{n} = {all_reduce(f'%{n}', N)}" for n in "xy"), f"%r = stablehlo.subtract %ax, %ay : {N}",
            types=N, arguments=N,
        ),
        1,
    ),
    "in a branch": (
        program(
            "%i = stablehlo.constant dense<0> : tensor<i32>",
            '%r = "stablehlo.case"(%i) ({', AX, AY, f"%0 = stablehlo.add %ax, %ay : {T}",
            f"stablehlo.return %0 : {T}", f"}}, {{ stablehlo.return %t : {T} }}) : (tensor<i32>) -> {T}",
        ),
        1,
    ),
}


@pytest.mark.parametrize("executor", ["xla", "interpreter"])
@pytest.mark.parametrize("case", MEET)
def test_sums_that_meet_are_reduced_once(case: str, executor: str) -> None:
    text, count = MEET[case]
    before, after = changed_and_executed(text, "delay-reductions", executor)
    assert len(after) == count < len(before)


STAY = {
    "a reduced sum that is used by itself too": program(
        AX, AY, f"%r = stablehlo.add %ax, %ay : {T}", returned="%r, %ax", types=f"{T}, {T}"
    ),
    "twice the same": program(AX, f"%r = stablehlo.add %ax, %ax : {T}"),
    "different groups": program(
        AX, f"%ay = {all_reduce('%y', T, COLUMNS)}", f"%r = stablehlo.add %ax, %ay : {T}"
    ),
    "a maximum": program(
        AX, f"%ay = {all_reduce('%y', T, body='maximum')}", f"%r = stablehlo.add %ax, %ay : {T}"
    ),
    "the maximum of sums": program(AX, AY, f"%r = stablehlo.maximum %ax, %ay : {T}"),
    "a product of sums": program(AX, AY, f"%r = stablehlo.multiply %ax, %ay : {T}"),
    "a factor that differs between devices": program(
        AX, AY, f"%0 = stablehlo.multiply %ax, %t : {T}", f"%r = stablehlo.add %0, %ay : {T}"
    ),
    "a constant over a sum": program(
        HALVES, AX, AY, f"%0 = stablehlo.divide %hs, %ax : {T}", f"%r = stablehlo.add %0, %ay : {T}"
    ),
    "quotients of integers": program(
        f"%two = stablehlo.constant dense<2> : {N}", *(f"%a{n} = {all_reduce(f'%{n}', N)}" for n in "xy"),
        f"%0 = stablehlo.divide %ax, %two : {N}", f"%r = stablehlo.add %0, %ay : {N}", types=N, arguments=N,
    ),
    "a sum used twice on the way": program(
        AX, AY, f"%0 = stablehlo.add %ax, %t : {T}", f"%r = stablehlo.add %0, %ay : {T}",
        returned="%r, %0", types=f"{T}, {T}",
    ),
    "a scattered sum that is moved": program(
        *(f"%a{n} = {reduce_scatter(f'%{n}', T, S)}" for n in "xy"),
        *(f"%m{n} = stablehlo.reshape %a{n} : ({S}) -> tensor<8xf32>" for n in "xy"),
        "%r = stablehlo.add %mx, %my : tensor<8xf32>", types="tensor<8xf32>",
    ),
    "a sum outside of a loop that uses it": program(
        AX, "%i = stablehlo.constant dense<0> : tensor<i32>",
        '%r = "stablehlo.case"(%i) ({', AY, f"%0 = stablehlo.add %ax, %ay : {T}", f"stablehlo.return %0 : {T}",
        f"}}, {{ stablehlo.return %t : {T} }}) : (tensor<i32>) -> {T}",
    ),
    "notes on an op": program(
        AX, AY, f"%0 = stablehlo.add %ax, %t {{mhlo.frontend_attributes = {{a = \"b\"}}}} : {T}",
        f"%r = stablehlo.add %0, %ay : {T}",
    ),
}


@pytest.mark.parametrize("case", STAY)
def test_what_stays(case: str) -> None:
    before, after = changed_and_executed(STAY[case], "delay-reductions")
    assert before == after


def test_floats_stay_in_order_on_request() -> None:
    pipeline = "delay-reductions{reorder-floats=false}"
    before, after = changed_and_executed(MEET["a sum"][0], pipeline)
    assert len(before) == len(after) == 2
    assert len(changed_and_executed(MEET["integers"][0], pipeline)[1]) == 1


PLANS = ["decoder/megatron", "gpt/megatron_fsdp", "scan_layers/megatron"]


@pytest.mark.parametrize("plan", PLANS)
def test_train_steps_reduce_less(plan: str) -> None:
    """Never more bytes in any kind of collective, and fewer over the axis whose sums meet in the backward pass."""
    path = EXAMPLES / plan.split("/")[0] / "train_step.mlir"
    totals = []
    for reorder in (False, True):
        per_device = read.read(str(path))
        annotate(per_device, load(str(EXAMPLES / f"{plan}.toml")))
        report = partition(per_device, communication=Communication(reorder_sums=reorder))
        totals.append({(t.kind, t.axes): (t.count, t.bytes) for t in report.traffic})
    kept, reordered = totals
    assert set(reordered) <= set(kept)
    assert all(reordered.get(key, (0, 0)) <= kept[key] for key in kept)
    key = ("all_reduce", ("model",))
    assert reordered[key][0] < kept[key][0]
    assert reordered[key][1] < kept[key][1]


ANNOTATED = """
sdy.mesh @mesh = <["x"=8]>
func.func @main(
    %a: tensor<4x8xf32> {sdy.sharding = #sdy.sharding<@mesh, [{}, {"x"}]>},
    %b: tensor<8x4xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"x"}, {}]>},
    %c: tensor<4x16xf32> {sdy.sharding = #sdy.sharding<@mesh, [{}, {"x"}]>},
    %d: tensor<16x4xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"x"}, {}]>},
    %t: tensor<4x4xf32>) -> tensor<4x4xf32> {
  %0 = stablehlo.dot_general %a, %b, contracting_dims = [1] x [0]
    : (tensor<4x8xf32>, tensor<8x4xf32>) -> tensor<4x4xf32>
  %1 = stablehlo.dot_general %c, %d, contracting_dims = [1] x [0]
    : (tensor<4x16xf32>, tensor<16x4xf32>) -> tensor<4x4xf32>
  %2 = stablehlo.add %t, %0 : tensor<4x4xf32>
  %3 = stablehlo.add %2, %1 : tensor<4x4xf32>
  return %3 : tensor<4x4xf32>
}
"""


def test_partition_says_so_and_traces_what_was_planned() -> None:
    original, changed, traced = (read.parse(ANNOTATED) for _ in range(3))
    report = partition(changed)
    assert [(t.kind, t.count) for t in report.traffic] == [("all_reduce", 1)]
    assert report.changes == {"delay-reductions.delayed": 2, "delay-reductions.made": 1}
    assert "2 sums over devices are added up first and reduced by 1" in "\n".join(report.lines())
    found = verify(original, changed, report.side_table, inputs="exact", level=BIT_EQUAL)
    assert found.ok, found.lines()
    assert [(t.kind, t.count) for t in partition(traced, trace=True).traffic] == [("all_reduce", 2)]
