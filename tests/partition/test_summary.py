"""What the summary of a partitioning says: local shapes, planned moves and their reasons, work done more than once."""

from __future__ import annotations

from passes.partition.partition import partition
from passes.partition.report import Report
from passes.program.read import parse

HEAD = 'sdy.mesh @mesh = <["x"=4, "y"=2]>\n'
T = "tensor<8x8xf32>"


def report_on(arguments: str, *body: str, result: str = "") -> Report:
    lines = "\n".join(body)
    program = parse(f"{HEAD}func.func @main({arguments}) -> ({T} {result}) {{\n{lines}\n}}", "here.mlir")
    return partition(program)


def split(dims: str) -> str:
    return f"{{sdy.sharding = #sdy.sharding<@mesh, [{dims}]>}}"


DOT = f"%0 = stablehlo.dot_general %a, %b, contracting_dims = [1] x [0] : ({T}, {T}) -> {T}"


def test_sums_and_moves_name_the_op_they_are_for() -> None:
    columns, rows, whole = '{}, {"x"}', '{"x"}, {}', "{}, {}"
    report = report_on(f"%a: {T} {split(columns)}, %b: {T} {split(rows)}", DOT, f"return %0 : {T}")
    assert [str(r) for r in report.reshards] == ["1 x all_reduce of dot_general, over x, first at here.mlir:3:6"]
    report = report_on(
        f"%a: {T} {split(rows)}", f"%0 = stablehlo.tanh %a : {T}", f"return %0 : {T}", result=split(whole)
    )
    assert [str(r) for r in report.reshards] == ["1 x all_gather for return, from P('x', None) to P(None, None), "
                                                 "first at here.mlir:3:6"]


def test_equal_local_shapes_share_a_line() -> None:
    rows = split('{"x"}, {}')
    report = report_on(f"%a: {T} {rows}, %b: {T} {rows}", f"%0 = stablehlo.add %a, %b : {T}", f"return %0 : {T}")
    assert "     2 arguments  f32[2x8]             of f32[8x8] in P('x', None)" in report.lines()


def test_work_that_devices_share_and_work_they_repeat() -> None:
    whole = 2 * 8 * 8 * 8
    rows = '{"x"}, {}'
    report = report_on(f"%a: {T} {split(rows)}, %b: {T}", DOT, f"return %0 : {T}")
    # Along y every device does the same.
    assert (report.work.whole, report.work.device, report.work.replicated) == (whole, whole // 4, 0.5)
    everything = '{"x"}, {"y"}'
    columns = '{}, {"y"}'
    report = report_on(f"%a: {T} {split(rows)}, %b: {T} {split(columns)}", DOT, f"return %0 : {T}",
                       result=split(everything))
    assert report.work.replicated == 0
    assert "each device does 128 of 1,024 FLOPs in matrix products and convolutions; 0.0% of the work" in \
           report.lines()[-1]


def test_work_in_a_function_counts_for_each_call_and_convolutions_by_their_kernel() -> None:
    program = parse(f"""{HEAD}
func.func private @twice(%a: {T}) -> {T} {{
  %0 = stablehlo.dot_general %a, %a, contracting_dims = [1] x [0] : ({T}, {T}) -> {T}
  return %0 : {T}
}}
func.func @main(%a: {T}, %i: tensor<8x6x6x3xf32> {split('{"x"}, {}, {}, {}')}, %k: tensor<3x3x3x5xf32>)
    -> ({T}, tensor<8x4x4x5xf32>) {{
  %0 = call @twice(%a) : ({T}) -> {T}
  %1 = call @twice(%0) : ({T}) -> {T}
  %2 = stablehlo.convolution(%i, %k) dim_numbers = [b, 0, 1, f]x[0, 1, i, o]->[b, 0, 1, f], window = {{}}
    {{batch_group_count = 1 : i64, feature_group_count = 1 : i64}}
    : (tensor<8x6x6x3xf32>, tensor<3x3x3x5xf32>) -> tensor<8x4x4x5xf32>
  return %1, %2 : {T}, tensor<8x4x4x5xf32>
}}""")
    dots, convolution = 2 * 2 * 8 * 8 * 8, 2 * 8 * 4 * 4 * 5 * 27
    work = partition(program).work
    assert (work.whole, work.device) == (dots + convolution, dots + convolution // 4)


def test_sums_in_a_function_are_those_of_the_op_in_it() -> None:
    columns, rows = (split(dims) for dims in ('{}, {"x"}', '{"x"}, {}'))
    program = parse(f"""{HEAD}
func.func private @product(%a: {T}, %b: {T}) -> {T} {{
  %0 = stablehlo.dot_general %a, %b, contracting_dims = [1] x [0] : ({T}, {T}) -> {T}
  return %0 : {T}
}}
func.func @main(%a: {T} {columns}, %b: {T} {rows}, %c: {T} {rows}) -> {T} {{
  %0 = call @product(%a, %b) : ({T}, {T}) -> {T}
  %1 = call @product(%0, %c) : ({T}, {T}) -> {T}
  return %1 : {T}
}}""")
    found = partition(program).reshards
    assert {r.op for r in found} == {"dot_general"}
    assert ("all_reduce", 2) in [(r.kind, r.count) for r in found]
