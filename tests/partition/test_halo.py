"""Dimensions that stay split though elements move along them: what is fetched, and that the bits are right."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest

from passes.execute.compare import BIT_EQUAL
from passes.execute.verify import verify
from passes.partition.halo import Need, exchange
from passes.partition.partition import partition
from passes.partition.report import Report
from passes.program import read
from passes.program.read import Program
from passes.program.walk import operations
from tests.partition import shifted_programs as programs

# Mesh, axes that split the dimension, shards.
MESHES = {
    "2": ('["x"=2]', '{"x"}', 2),
    "2x2": ('["x"=2, "y"=2]', '{"y", "x"}', 4),
    "2x4": ('["x"=2, "y"=4]', '{"y"}', 4),
    "3x2": ('["x"=3, "y"=2]', '{"x", "y"}', 6),
    "2x2x2": ('["x"=2, "y"=2, "z"=2], device_ids=[7, 6, 5, 4, 3, 2, 1, 0]', '{"z", "x", "y"}', 8),
}
on_meshes = pytest.mark.parametrize(("mesh", "axes", "shards"), MESHES.values(), ids=MESHES)


def partitioned(text: str, inputs: str = "exact") -> tuple[Program, Report]:
    """Partitions ``text``, executes both programs and compares every bit."""
    original, program = read.parse(text), read.parse(text)
    report = partition(program)
    assert not report.replicated, report.replicated
    found = verify(original, program, report.side_table, inputs=inputs, level=BIT_EQUAL)
    assert found.ok, (found.lines(), text)
    return program, report


def collectives(report: Report) -> set[str]:
    return {t.kind for t in report.traffic}


def moved(report: Report, kind: str) -> int:
    return sum(t.bytes for t in report.traffic if t.kind == kind)


# -- the exchange itself -----------------------------------------------------------------------------------------------


def meets(size: int, count: int, need: Need, cyclic: bool) -> None:
    """Checks that the strips of the exchange hold whatever the shards need."""
    plan, total = exchange(size, count, need, cyclic), size * count
    for shard in range(count):
        held = {
            (shard + s.distance) * size + s.first + i
            for s in plan.strips for i in range(s.size)
        }
        wanted = range(need.first(shard), need.first(shard) + need.length)
        assert plan.gathered or {e for e in wanted if cyclic or 0 <= e < total} <= held
        if plan.joined:
            assert sorted(held) == list(range(min(held), max(held) + 1))
    assert plan.moved <= (count - 1) * size or cyclic


@pytest.mark.parametrize("cyclic", [False, True])
def test_strips_hold_what_is_needed(cyclic: bool) -> None:
    for size, count, step, start, length in itertools.product((3, 4), (2, 5), (1, 3, 4, 9), (-7, 0, 5), (1, 4, 11)):
        meets(size, count, Need(size if cyclic else step, start, length), cyclic)


def test_neighbours_send_what_is_asked_for_and_no_more() -> None:
    plan = exchange(100, 4, Need(100, -1, 103))
    assert [(s.distance, s.first, s.size) for s in plan.strips] == [(-1, 99, 1), (0, 0, 100), (1, 0, 2)]
    assert (plan.joined, plan.gathered, plan.moved) == (True, False, 3)


def test_what_is_in_place_does_not_move() -> None:
    assert exchange(6, 2, Need(4, 2, 4)).moved == 0


def test_a_window_over_everything_is_gathered() -> None:
    assert exchange(4, 4, Need(4, -15, 19)).gathered
    assert not exchange(4, 4, Need(4, -8, 12)).gathered


# -- ops, executed -----------------------------------------------------------------------------------------------------


@on_meshes
@pytest.mark.parametrize("make", [programs.slices, programs.pads, programs.windows], ids=lambda m: m.__name__)
def test_random_settings(make: Callable[..., list[tuple[str, str]]], mesh: str, axes: str, shards: int) -> None:
    text = programs.function("tensor<24x2xf32>", make(24, shards, 8, shards), f"{axes}, {{}}", mesh)
    _, report = partitioned(text)
    assert collectives(report) == {"collective_permute"}


@on_meshes
def test_what_is_not_read_does_not_leak(mesh: str, axes: str, shards: int) -> None:
    """NaN, infinities and negative zeros, next to shard boundaries too."""
    made = programs.slices(24, shards, 6, 1) + programs.pads(24, shards, 6, 2)
    partitioned(programs.function("tensor<24x2xf32>", made, f"{axes}, {{}}", mesh), inputs="special")


@on_meshes
def test_convolutions_of_random_settings(mesh: str, axes: str, shards: int) -> None:
    lines = programs.convolutions(24, shards, 8, shards)
    text = programs.function("tensor<24x1x2xf32>", lines, f"{axes}, {{}}, {{}}", mesh, programs.KERNELS)
    _, report = partitioned(text)
    assert collectives(report) == {"collective_permute"}


def test_a_halo_moves_less_than_the_shards_a_gather_would_bring() -> None:
    mesh, axes, shards = MESHES["2x2x2"]
    line = """stablehlo.convolution(%a, %k3) dim_numbers = [0, b, f]x[0, i, o]->[0, b, f], window = {pad = [[1, 1]]}
      {batch_group_count = 1 : i64, feature_group_count = 1 : i64}
      : (tensor<64x1x2xf32>, tensor<3x2x3xf32>) -> tensor<64x1x3xf32>"""
    text = programs.function(
        "tensor<64x1x2xf32>", [(line, "tensor<64x1x3xf32>")], f"{axes}, {{}}, {{}}", mesh, programs.KERNELS
    )
    _, report = partitioned(text)
    row = 2 * 4
    assert sum(t.bytes for t in report.traffic) == 2 * row
    assert 2 * row < (shards - 1) * 64 // shards * row
    assert report.fetched == {"strips": 1}


def _of_half_as_many(lines: list[tuple[str, str]], shards: int) -> list[tuple[str, str]]:
    """Those whose results divide by a part of ``shards`` only."""
    return [line for line in lines if int(line[1].removeprefix("tensor<").partition("x")[0]) % shards]


@pytest.mark.parametrize("make", [programs.slices, programs.pads, programs.windows], ids=lambda m: m.__name__)
@pytest.mark.parametrize(("mesh", "axes", "shards"), [MESHES["2x2"], MESHES["2x4"], MESHES["2x2x2"]])
def test_results_that_only_a_part_of_the_axes_divides(
    make: Callable[..., list[tuple[str, str]]], mesh: str, axes: str, shards: int
) -> None:
    """The operand is gathered along the others, and the rest is strips."""
    lines = _of_half_as_many(make(24, shards // 2, 16, shards), shards)
    assert len(lines) > 3
    _, report = partitioned(programs.function("tensor<24x2xf32>", lines, f"{axes}, {{}}", mesh))
    gathers = [t for t in report.traffic if t.kind == "all_gather"]
    assert {t.group_size for t in gathers} == {2} and moved(report, "collective_permute")


# Rows shrink from 8 to 2 and grow to 4 again; the axes of the mesh are one of 4, which users cannot name by halves.
SHRINKING = """
sdy.mesh @mesh = <["x"=4]>
func.func @main(
  %a: tensor<8x1x2xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"x"}, {}, {}]>},
  %k: tensor<3x2x2xf32>
) -> tensor<4x1x2xf32> {
  %0 = stablehlo.convolution(%a, %k) dim_numbers = [0, b, f]x[0, i, o]->[0, b, f],
    window = {stride = [2], pad = [[0, 1]]} {batch_group_count = 1 : i64, feature_group_count = 1 : i64}
    : (tensor<8x1x2xf32>, tensor<3x2x2xf32>) -> tensor<4x1x2xf32>
  %1 = stablehlo.convolution(%0, %k) dim_numbers = [0, b, f]x[0, i, o]->[0, b, f],
    window = {stride = [2], pad = [[0, 1]]} {batch_group_count = 1 : i64, feature_group_count = 1 : i64,
      sdy.sharding = #sdy.sharding_per_value<[<@mesh, [{"x"}, {}, {}]>]>}
    : (tensor<4x1x2xf32>, tensor<3x2x2xf32>) -> tensor<2x1x2xf32>
  %2 = stablehlo.convolution(%1, %k) dim_numbers = [0, b, f]x[0, i, o]->[0, b, f],
    window = {pad = [[1, 1]]} {batch_group_count = 1 : i64, feature_group_count = 1 : i64,
      sdy.sharding = #sdy.sharding_per_value<[<@mesh, [{"x"}, {}, {}]>]>}
    : (tensor<2x1x2xf32>, tensor<3x2x2xf32>) -> tensor<2x1x2xf32>
  %3 = stablehlo.convolution(%2, %k) dim_numbers = [0, b, f]x[0, i, o]->[0, b, f],
    window = {pad = [[2, 1]], lhs_dilate = [2]} {batch_group_count = 1 : i64, feature_group_count = 1 : i64,
      sdy.sharding = #sdy.sharding_per_value<[<@mesh, [{"x"}, {}, {}]>]>}
    : (tensor<2x1x2xf32>, tensor<3x2x2xf32>) -> tensor<4x1x2xf32>
  return %3 : tensor<4x1x2xf32>
}"""


def test_rows_that_shrink_below_the_number_of_devices() -> None:
    """A window of 3 over 2 rows is no kernel's gradient, and what only pairs can split is gathered in pairs."""
    _, report = partitioned(SHRINKING)
    assert [choice.padded for choice in report.padding] == [2]
    assert all("leave a device no more to do" in choice.reason for choice in report.padding)
    # A row in pairs for %1, one between pairs for %2.
    row = 2 * 4
    assert {(t.axes, t.count, t.bytes) for t in report.traffic if t.kind == "all_gather"} == {
        (("x:(2)2",), 1, row), (("x:(1)2",), 1, row),
    }
    assert moved(report, "collective_permute") == 3 * row


@on_meshes
def test_rolls_and_shifts(mesh: str, axes: str, shards: int) -> None:
    """The pieces do not divide, but what they are joined to does."""
    lines = programs.rolls(24, 10, shards)
    _, report = partitioned(programs.function("tensor<24x2xf32>", lines, f"{axes}, {{}}", mesh), inputs="special")
    assert collectives(report) == {"collective_permute"}
    assert not report.propagation.dropped


ROLL = """
sdy.mesh @mesh = <["x"=4]>
func.func @main(%a: tensor<16xf32> {sdy.sharding = #sdy.sharding<@mesh, [{AXES}]>}) -> tensor<16xf32> {
  %0 = stablehlo.slice %a [13:16] : (tensor<16xf32>) -> tensor<3xf32>
  %1 = stablehlo.slice %a [0:13] : (tensor<16xf32>) -> tensor<13xf32>
  %2 = stablehlo.concatenate %0, %1, dim = 0 : (tensor<3xf32>, tensor<13xf32>) -> tensor<16xf32>
  return %2 : tensor<16xf32>
}"""


def test_a_roll_is_one_permute_of_what_crosses() -> None:
    program, report = partitioned(ROLL.replace("AXES", '"x"'))
    assert [(t.kind, t.count, t.bytes) for t in report.traffic] == [("collective_permute", 1, 3 * 4)]
    assert [op.name.removeprefix("stablehlo.") for op in operations(program.module)][2:-1] == [
        "slice", "collective_permute", "slice", "concatenate",
    ]


def test_a_roll_of_a_whole_dimension_makes_no_copies() -> None:
    program, report = partitioned(ROLL.replace("AXES", ""))
    assert not report.traffic
    assert [op.name.removeprefix("stablehlo.") for op in operations(program.module)][2:-1] == [
        "slice", "slice", "concatenate",
    ]


@on_meshes
def test_running_reductions_exchange_totals(mesh: str, axes: str, shards: int) -> None:
    _, report = partitioned(programs.function("tensor<24x2xf32>", programs.running(24), f"{axes}, {{}}", mesh))
    assert collectives(report) == {"all_gather"}
    # A row of two for each of nine reductions along the dimension.
    assert moved(report, "all_gather") == 9 * 2 * 4


@on_meshes
def test_select_and_scatter(mesh: str, axes: str, shards: int) -> None:
    lines = programs.scattered(24, shards)
    assert lines
    _, report = partitioned(programs.function("tensor<24x2xf32>", lines, f"{axes}, {{}}", mesh))
    assert collectives(report) <= {"collective_permute"}


CONVOLUTIONS = """
  %0 = stablehlo.convolution(%a, %k) dim_numbers = [b, 0, 1, f]x[0, 1, i, o]->[b, 0, 1, f],
    window = {pad = [[1, 1], [0, 2]]}
    {batch_group_count = 1 : i64, feature_group_count = 1 : i64}
    : (tensor<2x8x8x4xf32>, tensor<3x3x4x4xf32>) -> tensor<2x8x8x4xf32>
  %1 = stablehlo.convolution(%a, %g) dim_numbers = [f, 0, 1, b]x[i, 0, 1, o]->[0, 1, b, f],
    window = {pad = [[1, 1], [0, 2]]}
    {batch_group_count = 1 : i64, feature_group_count = 1 : i64}
    : (tensor<2x8x8x4xf32>, tensor<2x8x8x4xf32>) -> tensor<3x3x4x4xf32>
  %2 = stablehlo.convolution(%a, %h) dim_numbers = [f, 0, 1, b]x[i, 0, 1, o]->[0, 1, b, f],
    window = {pad = [[0, 0], [0, 0]], rhs_dilate = [2, 2]} {batch_group_count = 1 : i64, feature_group_count = 1 : i64}
    : (tensor<2x8x8x4xf32>, tensor<2x4x4x4xf32>) -> tensor<2x2x4x4xf32>
  %3 = stablehlo.convolution(%a, %d) dim_numbers = [b, 0, 1, f]x[0, 1, i, o]->[b, 0, 1, f],
    window = {pad = [[1, 1], [1, 1]]}
    {batch_group_count = 1 : i64, feature_group_count = 4 : i64}
    : (tensor<2x8x8x4xf32>, tensor<3x3x1x4xf32>) -> tensor<2x8x8x4xf32>
  %4 = stablehlo.convolution(%a, %g) dim_numbers = [f, 0, 1, b]x[i, 0, 1, o]->[0, 1, b, f],
    window = {pad = [[1, 1], [1, 1]]}
    {batch_group_count = 4 : i64, feature_group_count = 1 : i64}
    : (tensor<2x8x8x4xf32>, tensor<2x8x8x4xf32>) -> tensor<3x3x1x4xf32>
"""
SPATIAL = [
    ('["x"=2]', '{"x"}', "{}"),
    ('["x"=2, "y"=2]', '{"x"}', '{"y"}'),
    ('["x"=2, "y"=4]', '{"y"}', '{"x"}'),
    ('["x"=2, "y"=2, "z"=2], device_ids=[7, 6, 5, 4, 3, 2, 1, 0]', "{}", '{"z", "x"}'),
]


@pytest.mark.parametrize(("mesh", "rows", "columns"), SPATIAL)
def test_images_split_over_rows_and_columns(mesh: str, rows: str, columns: str) -> None:
    """Convolutions and kernel gradients, grouped and not; corners of a halo come from diagonal neighbours."""
    lies = f"{{sdy.sharding = #sdy.sharding<@mesh, [{{}}, {rows}, {columns}, {{}}]>}}"
    arguments = (
        f"%a: tensor<2x8x8x4xf32> {lies}, %g: tensor<2x8x8x4xf32> {lies}, %h: tensor<2x4x4x4xf32> {lies}, "
        "%k: tensor<3x3x4x4xf32>, %d: tensor<3x3x1x4xf32>"
    )
    types = ", ".join(f"tensor<{s}xf32>" for s in ("2x8x8x4", "3x3x4x4", "2x2x4x4", "2x8x8x4", "3x3x1x4"))
    text = f"sdy.mesh @mesh = <{mesh}>\nfunc.func @main({arguments}) -> ({types}) {{{CONVOLUTIONS}"
    _, report = partitioned(f"{text}  return %0, %1, %2, %3, %4 : {types}\n}}")
    assert "collective_permute" in collectives(report)
    assert moved(report, "all_gather") == 0


JOINED = """
  %0 = stablehlo.concatenate %a, %b, dim = 0 : (tensor<24x2xf32>, tensor<24x2xf32>) -> tensor<48x2xf32>
  %1 = stablehlo.concatenate %b, %c, %a, dim = 0
    : (tensor<24x2xf32>, tensor<48x2xf32>, tensor<24x2xf32>) -> tensor<96x2xf32>
  %2 = stablehlo.reverse %a, dims = [0] : tensor<24x2xf32>
  %3 = stablehlo.reverse %a, dims = [1, 0] : tensor<24x2xf32>
  %4 = stablehlo.concatenate %a, dim = 0 : (tensor<24x2xf32>) -> tensor<24x2xf32>
"""


@on_meshes
def test_concatenate_and_reverse(mesh: str, axes: str, shards: int) -> None:
    sharding = f"{{sdy.sharding = #sdy.sharding<@mesh, [{axes}, {{}}]>}}"
    arguments = ", ".join(f"%{n}: tensor<{size}x2xf32> {sharding}" for n, size in (("a", 24), ("b", 24), ("c", 48)))
    types = "tensor<48x2xf32>, tensor<96x2xf32>, tensor<24x2xf32>, tensor<24x2xf32>, tensor<24x2xf32>"
    text = f"sdy.mesh @mesh = <{mesh}>\nfunc.func @main({arguments}) -> ({types}) {{{JOINED}"
    _, report = partitioned(f"{text}  return %0, %1, %2, %3, %4 : {types}\n}}")
    assert "collective_permute" in collectives(report)
    assert moved(report, "all_gather") <= 8 * (24 + 24 + 48)
