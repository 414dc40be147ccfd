"""Reads, writes and choices along a split dimension: executed, compared bit by bit, and what they send.

Dimension 0 of the first argument is split over every axis of the mesh; other cases split everything at random.
"""

from __future__ import annotations

import re
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from passes import _mlir
from passes.execute.compare import BIT_EQUAL
from passes.execute.inputs import make
from passes.execute.verify import verify
from passes.partition.partition import partition
from passes.partition.report import Report
from passes.program import read
from passes.program.entry import arguments, find_entry
from passes.program.read import Program
from passes.sharding.annotate import annotate as annotate_by_rules
from passes.sharding.mesh import Mesh, Sharding, mesh_to_attr, sharding_to_attr
from passes.sharding.rules_file import load
from tests.partition.indexed_programs import CHOSEN, INDEXED, gather, together
from tests.partition.random_shardings import annotate
from tests.test_examples import EXAMPLES

INPUTS = Path(__file__).parent / "inputs"
MESHES = (
    Mesh((("x", 2),)),
    Mesh((("x", 2), ("y", 2))),
    Mesh((("x", 2), ("y", 4))),
    Mesh((("x", 3), ("y", 2))),
    Mesh((("x", 2), ("y", 2), ("z", 2)), (7, 6, 5, 4, 3, 2, 1, 0)),
)
FAMILIES = {
    **{op: [text for name, text in INDEXED.items() if name.split()[0] == op]
       for op in ("gather", "scatter", "dynamic_slice", "dynamic_update_slice")},
    "reduce": list(CHOSEN.values()),
}
on_meshes = pytest.mark.parametrize("mesh", MESHES, ids=lambda m: "x".join(str(s) for _, s in m.axes))


def split(text: str, mesh: Mesh, axes: dict[str, str] | None = None) -> tuple[Program, Report]:
    """The partitioned program: of the arguments in ``axes``, dimension 0 is split over the axes it names.

    By default ``a`` of every program is split over all axes.
    """
    program = read.parse(text)
    ir, context = _mlir.ir, _mlir.context()
    point = ir.InsertionPoint.at_block_begin(program.module.body)
    attributes = {"sym_name": ir.StringAttr.get("mesh", context), "mesh": mesh_to_attr(mesh)}
    ir.Operation.create("sdy.mesh", attributes=attributes, loc=ir.Location.unknown(context), ip=point)
    function, written = find_entry(program), []
    chosen = axes if axes is not None else {"a": "".join(name for name, _ in mesh.axes)}
    for value, name in zip(arguments(function), re.findall(r"%(?:p\d+_)?(\w+): ", text), strict=False):
        rank = ir.RankedTensorType(value.type).rank
        dims = tuple(tuple(map(mesh.axis, chosen.get(name, ""))) if d == 0 else () for d in range(rank))
        sharding = sharding_to_attr("mesh", Sharding(mesh, dims))
        written.append(ir.DictAttr.get({"sdy.sharding": sharding}, context=context))
    function.attributes["arg_attrs"] = ir.ArrayAttr.get(written, context=context)
    return program, partition(program)


def sent(report: Report) -> dict[str, int]:
    """Kind of collective -> bytes."""
    found: dict[str, int] = {}
    for t in report.traffic:
        found[t.kind] = found.get(t.kind, 0) + t.bytes
    return found


def extreme(original: Program, path: Path) -> str:
    """A file of inputs: NaN, infinities, -0.0 and extremes in the data, indices in range, out of it and far out.

    No subnormal numbers: XLA's CPU backend takes them for zeros in any addition, that of all_reduce too.
    """
    arrays, random = {}, np.random.default_rng(1)
    for index, array in enumerate(make(original, "special").arrays):
        if array.dtype.kind in "iu":
            info = np.iinfo(array.dtype)
            near = random.integers(max(info.min, -30), 54, array.shape).astype(array.dtype)
            far = random.choice(np.array([info.min, info.min + 1, info.max - 1, info.max], array.dtype), array.shape)
            array = np.where(random.random(array.shape) < 0.7, near, far)
        elif array.dtype.kind != "b":
            with np.errstate(invalid="ignore"):
                tiny = np.abs(array.astype(np.float64)) < ml_dtypes.finfo(array.dtype).smallest_normal
            array = np.where(tiny, np.array(-0.0, array.dtype), array)
        # numpy has no name for the types of ml_dtypes.
        arrays[str(index)] = array if array.dtype.isbuiltin == 1 else array.view(f"V{array.itemsize}")
    np.savez(path, **arrays)
    return str(path)


@on_meshes
@pytest.mark.parametrize("family", FAMILIES)
def test_split_over_all_axes(family: str, mesh: Mesh, tmp_path: Path) -> None:
    text = together(FAMILIES[family])
    original = read.parse(text)
    program, report = split(text, mesh)
    assert not report.replicated
    inputs = ["exact"] if family == "reduce" else ["exact", extreme(original, tmp_path / "extreme.npz")]
    for given in inputs:
        found = verify(original, program, report.side_table, inputs=given, level=BIT_EQUAL)
        assert found.ok, found.lines()


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("family", FAMILIES)
def test_split_at_random(family: str, seed: int) -> None:
    text = together(FAMILIES[family])
    original, program = read.parse(text), read.parse(text)
    shardings = annotate(program, MESHES[2 + seed], seed)
    report = partition(program)
    assert not report.replicated
    found = verify(original, program, report.side_table, inputs="exact", level=BIT_EQUAL)
    assert found.ok, (shardings, found.lines())


# -- what is sent ------------------------------------------------------------------------------------------------------

MESH = MESHES[2]
# An element is 4 bytes, 24 x 8 of them over x=2 and y=4.
SHARD, TABLE = 24 * 8 * 4 // 8, 24 * 8 * 4


@pytest.mark.parametrize(
    ("name", "axes", "expected"),
    [
        # 4 x 6 rows of 8 are as large as the table: 2 * 7/8 of it against 7 shards, which is half.
        ("gather rows f32", {"a": "xy"}, {"all_gather": SHARD}),
        ("gather elements", {"a": "xy"}, {"all_reduce": 12 * 4}),
        # Windows of rows reach over shards.
        ("gather windows of rows", {"a": "xy"}, {"all_gather": SHARD}),
        ("gather rows f8E4M3FN", {"a": "xy"}, {"all_gather": SHARD // 4}),
        ("dynamic_slice of 1", {"a": "xy"}, {"all_reduce": 6 * 4}),
        ("dynamic_slice of 17", {"a": "xy"}, {"all_gather": SHARD}),
        ("dynamic_update_slice of 5", {"a": "xy"}, {}),
        ("dynamic_update_slice of both", {"a": "xy"}, {}),
        # The update is gathered, never what it goes into.
        ("dynamic_update_slice of 2", {"a": "y", "u": "x"}, {"all_gather": 8 * 4}),
        ("scatter set", {"a": "xy"}, {}),
        ("scatter maximum", {"a": "xy"}, {}),
        # 12 updates of 8 and their indices in two halves, against all_reduce of 24 of 8.
        ("scatter add", {"u": "x", "i": "x"}, {"all_gather": 6 * 8 * 4 + 6 * 4}),
        ("argmax", {"a": "xy"}, {"all_gather": 2 * 8 * 4}),
        ("argmax, i32", {"a": "xy"}, {"all_gather": 2 * 8 * 4}),
        ("argmax, initial values", {"a": "xy"}, {"all_gather": SHARD}),
        ("sum and maximum", {"a": "xy", "b": "xy"}, {"all_reduce": 2 * 8 * 4}),
        ("add over 0, initial value", {"a": "xy"}, {"all_reduce": 8 * 4}),
        ("no choice", {"a": "xy"}, {"all_gather": SHARD}),
    ],
)
def test_what_is_sent(name: str, axes: dict[str, str], expected: dict[str, int]) -> None:
    _, report = split((INDEXED | CHOSEN)[name], MESH, axes)
    assert not report.replicated
    assert sent(report) == expected


@pytest.mark.parametrize(
    ("axes", "expected"),
    [
        # 64 rows of 8, 2 tokens: the tokens are gathered, and their rows summed where they are wanted.
        ({"a": "x", "i": "x"}, {"all_gather": 4, "reduce_scatter": 2 * 8 * 4}),
        ({"a": "y", "i": "x"}, {"all_reduce": 8 * 4}),
        ({"i": "x"}, {}),
    ],
)
def test_a_table_split_over_the_axis_of_the_tokens(axes: dict[str, str], expected: dict[str, int]) -> None:
    numbers = "offset_dims = [1], collapsed_slice_dims = [0], start_index_map = [0], index_vector_dim = 1"
    text = gather("64x8xf32", "2x1xi32", "2x8xf32", numbers, "1, 8")
    program, report = split(text, MESHES[1], axes)
    assert sent(report) == expected
    assert verify(read.parse(text), program, report.side_table, inputs="exact", level=BIT_EQUAL).ok


_WINDOW_SPLIT = """
sdy.mesh @mesh = <["x"=2, "y"=2]>
func.func @main(%a: tensor<ROWSx8xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"x"}, {}]>}, %i: tensor<2x1xi32>)
    -> (tensor<2x8xf32> {sdy.sharding = #sdy.sharding<@mesh, [{}, {"x"}]>}) {
  %0 = "stablehlo.gather"(%a, %i) <{dimension_numbers = #stablehlo.gather<offset_dims = [1],
      collapsed_slice_dims = [0], start_index_map = [0], index_vector_dim = 1>, slice_sizes = array<i64: 1, 8>}>
      : (tensor<ROWSx8xf32>, tensor<2x1xi32>) -> tensor<2x8xf32>
  return %0 : tensor<2x8xf32>
}"""


@pytest.mark.parametrize(("rows", "expected"), [(64, {"reduce_scatter": 2 * 8 * 4}), (2, {"all_to_all": 8 * 4})])
def test_a_table_whose_rows_are_wanted_split(rows: int, expected: dict[str, int]) -> None:
    text = _WINDOW_SPLIT.replace("ROWS", str(rows))
    program = read.parse(text)
    report = partition(program)
    assert sent(report) == expected
    assert verify(read.parse(text), program, report.side_table, inputs="exact", level=BIT_EQUAL).ok


def test_writing_to_a_dimension_split_over_the_axis_of_the_updates() -> None:
    text = INDEXED["scatter add"]
    program, report = split(text, MESHES[1], {"a": "x", "i": "x", "u": "x"})
    assert sent(report) == {"all_gather": 6 * 8 * 4 + 6 * 4}
    assert verify(read.parse(text), program, report.side_table, inputs="exact", level=BIT_EQUAL).ok


_STACK = """
func.func @main(%w: tensor<8x16x16xf32>, %x: tensor<4x16xf32>) -> tensor<4x16xf32> {
  %zero = stablehlo.constant dense<0> : tensor<i32>
  %one = stablehlo.constant dense<1> : tensor<i32>
  %end = stablehlo.constant dense<8> : tensor<i32>
  %0:3 = stablehlo.while(%n = %zero, %v = %w, %y = %x) : tensor<i32>, tensor<8x16x16xf32>, tensor<4x16xf32>
  cond {
    %more = stablehlo.compare LT, %n, %end : (tensor<i32>, tensor<i32>) -> tensor<i1>
    stablehlo.return %more : tensor<i1>
  } do {
    %s = stablehlo.dynamic_slice %v, %n, %zero, %zero, sizes = [1, 16, 16]
        : (tensor<8x16x16xf32>, tensor<i32>, tensor<i32>, tensor<i32>) -> tensor<1x16x16xf32>
    %l = stablehlo.reshape %s : (tensor<1x16x16xf32>) -> tensor<16x16xf32>
    %z = stablehlo.dot_general %y, %l, contracting_dims = [1] x [0]
        : (tensor<4x16xf32>, tensor<16x16xf32>) -> tensor<4x16xf32>
    %m = stablehlo.add %n, %one : tensor<i32>
    stablehlo.return %m, %v, %z : tensor<i32>, tensor<8x16x16xf32>, tensor<4x16xf32>
  }
  return %0#2 : tensor<4x16xf32>
}"""


def test_a_loop_over_layers_fetches_one_at_a_time() -> None:
    program, report = split(_STACK, MESHES[1], {"w": "xy"})
    assert sent(report) == {"all_reduce": 16 * 16 * 4}
    assert verify(read.parse(_STACK), program, report.side_table, inputs="exact").ok


def test_a_decoding_step_moves_nothing_of_its_cache() -> None:
    path = INPUTS / "decode_step.mlir"
    original, program = read.read(path), read.read(path)
    report = partition(program)
    assert not report.replicated
    assert verify(original, program, report.side_table).ok
    # Choices of 4 sequences; rows, heads' maxima, sums and weighted values of 4 sequences.
    assert sent(report) == {"all_gather": 2 * 4 * 4, "all_reduce": 4 * (32 + 4 + 4 + 32) * 4}
    shard = 4 * 32 * 4 * 8 * 4
    assert sum(sent(report).values()) < shard / 10


@pytest.mark.parametrize(
    ("rules", "model"), [("vocabulary", "forward"), ("vocabulary", "train_step"), ("tied", "train_step_tied")]
)
def test_a_split_vocabulary_is_not_gathered(rules: str, model: str) -> None:
    path = EXAMPLES / "lm_head" / f"{model}.mlir"
    program = read.read(path)
    annotate_by_rules(program, load(str(EXAMPLES / "lm_head" / f"{rules}.toml")))
    report = partition(program)
    assert not report.replicated
    assert set(sent(report)) == {"all_reduce"}
