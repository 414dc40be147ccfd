"""Sparse layers on meshes: every device's program, with NaN in all that is undefined, is the dense reference."""

from __future__ import annotations

import numpy as np
import pytest

from passes.errors import UserError
from passes.execute.verify import cut
from passes.moe.layer_reference import layer
from passes.moe.layers import Shape, module
from passes.moe.ops import OPS, Call
from passes.partition.partition import partition
from passes.pipeline import runner
from passes.program.read import parse
from passes.program.write import to_text
from tests.moe.calls import custom_call, good, types
from tests.moe.layer_programs import CLOSE, RUN, SMALL, distance, inputs, on_mesh, per_device, spread

# mesh, options, tokens; decode, prefill of 32 and 128, ragged.
CASES = {
    "gpt-oss-20b": ('"rows"=1, "columns"=2', "ring=columns", Shape(1, multiple=2)),
    "glm-4.5": ('"rows"=4, "columns"=2', "ring=rows", Shape(30, multiple=4, reduction_size=4)),
    "deepseek-v3": ('"rows"=2, "columns"=4', "ring=rows", Shape(13, multiple=2)),
    "kimi-k2": ('"rows"=2, "columns"=4', "ring=columns", Shape(32, multiple=4, reduction_size=2)),
    "mixtral-8x7b": ('"x"=8', "", Shape(128, multiple=8, reduction_size=16)),
    "qwen2-57b-a14b": ('"rows"=2, "columns"=4', "experts=columns,rows ring=rows", Shape(8)),
    "olmoe-1b-7b": ('"data"=2, "x"=4', "experts=x data=data", Shape(32, multiple=8)),
}


@pytest.mark.parametrize("name", CASES)
def test_every_device_computes_its_part(name: str) -> None:
    mesh, options, shape = CASES[name]
    c = SMALL[name]
    given = inputs(c, shape.tokens)
    program, report = spread(c, shape, mesh, options)
    text = to_text(program.module)
    assert not report.replicated and not report.flat
    assert "0x7FC00000" in text
    for op in ("all_to_all_dispatch", "all_to_all_combine"):
        assert text.count(f'stablehlo.composite "shlo.moe.{op}"') == 1
    assert 'stablehlo.composite "shlo.moe.sparse_matmul"' in text
    assert '"stablehlo.reduce_scatter"' in text
    # The experts are split, and nobody gathers them.
    table = {entry.name: entry for entry in report.side_table.arguments}
    weights = table["gate_up" if "gate_up" in table else "w1"]
    parts = report.side_table.mesh.device_count // (2 if "data" in mesh else 1)
    assert weights.local_shape[0] == c.experts // parts
    assert distance(per_device(program, report, given), layer(c, given["x"], given)) < CLOSE


def test_weights_that_come_in_split_along_the_axis_of_the_experts() -> None:
    """Split by rows and columns over the axis that the experts go over: they move, the products do not."""
    c, shape = SMALL["mixtral-8x7b"], Shape(8)
    given = inputs(c, shape.tokens)
    split = {"w1": '{}, {"x"}, {}', "w3": '{}, {}, {"x"}', "w2": '{}, {"x"}, {}'}
    program, report = spread(c, shape, '"x"=4', "", split)
    assert {t.kind for t in report.traffic} == {"all_gather", "all_to_all", "reduce_scatter"}
    assert distance(per_device(program, report, given), layer(c, given["x"], given)) < CLOSE


def test_tensor_parallel_experts() -> None:
    """The other axis splits the columns of each expert, then its rows; the sum comes behind the product."""
    c, shape = SMALL["mixtral-8x7b"], Shape(32, multiple=4, reduction_size=2)
    given = inputs(c, shape.tokens)
    program, report = spread(c, shape, '"x"=4, "tp"=2', "experts=x", {"w2": '{?}, {"tp"}, {?}'})
    shapes = {entry.name: entry.local_shape for entry in report.side_table.arguments}
    assert shapes["w1"] == (4, 8, 6) and shapes["w2"] == (4, 6, 8)
    assert ("all_reduce", ("tp",), 1) in [(t.kind, t.axes, t.count) for t in report.traffic]
    assert not report.flat and not report.replicated
    assert distance(per_device(program, report, given), layer(c, given["x"], given)) < CLOSE


def test_several_layers_are_counted_one_by_one() -> None:
    """Equal layers share their decompositions; each of them moves its own bytes."""
    c, shape = SMALL["mixtral-8x7b"], Shape(16)
    text = module("sparse", c, shape, layers=2)
    program = on_mesh(text, MESH, {})
    runner.run(program, "builtin.module(moe-expert-parallel{poison=true})")
    report = partition(program)
    counts = {(t.kind, t.axes): t.count for t in report.traffic}
    ring = ("columns",)
    assert counts == {("all_gather", ring): 4, ("reduce_scatter", ring): 2, ("all_reduce", ("rows",)): 2}
    given = {"x": inputs(c, 16, 1)["x"]}
    given |= {f"{n}.{name}": v for n in (0, 1) for name, v in inputs(c, 16, n).items() if name != "x"}
    (want,) = RUN.run_global(parse(text, "whole.mlir"), list(given.values()))
    assert distance(per_device(program, report, given), want) < CLOSE


def test_the_front_ends_calls_come_out_and_go_in_again() -> None:
    """A per-device program in the front end's spelling, imported with its types of one device, computes the same."""
    c, shape = SMALL["kimi-k2"], Shape(8, reduction_size=2)
    given = inputs(c, shape.tokens)
    program, report = spread(c, shape, '"rows"=2, "columns"=4', "ring=columns")
    runner.run(program, "builtin.module(moe-export-ops)")
    text = to_text(program.module)
    assert "stablehlo.composite" not in text and "func.func private" not in text
    for said in ('cluster_axis = "1"', 'num_devices = "4"', 'output_shard_dim = "1"', "@tt.moe_expert_token_remap"):
        assert said in text
    again = parse(text, "again.mlir")
    runner.run(again, "builtin.module(moe-import-ops)")
    assert distance(per_device(again, report, given), layer(c, given["x"], given)) < CLOSE


def test_without_the_pass_what_moves_tokens_is_whole() -> None:
    """An imported program may be partitioned as it is: split products by their rules, everything else gathered."""
    c, shape = SMALL["mixtral-8x7b"], Shape(16)
    given = inputs(c, shape.tokens)
    program = on_mesh(module("sparse", c, shape), '"a"=4, "b"=2', {"w1": '{"b"}, {}, {}', "x": '{"a"}, {}'})
    runner.run(program, "builtin.module(moe-export-ops,moe-import-ops)")
    report = partition(program)
    text = to_text(program.module)
    assert text.count('stablehlo.composite "shlo.moe.') == 5 and not report.flat
    assert "tensor<1x8x8x12xf32>" in text
    assert distance(per_device(program, report, given), layer(c, given["x"], given)) < CLOSE


def test_calls_that_repeat_their_tokens() -> None:
    """num_devices = 4 in the whole program: its tokens are whole, its result four times as many."""
    call = good("all_to_all_dispatch", num_devices=4, cluster_axis=1)
    text = custom_call(call).replace("1x1x6x2xi32", "1x1x8x8xi32").replace("1x6x4x", "1x12x4x")
    program, whole = on_mesh(text, '"rows"=2, "columns"=4', {}), parse(text, "w.mlir")
    runner.run(program, "builtin.module(moe-import-ops,moe-expert-parallel)")
    runner.run(whole, "builtin.module(moe-import-ops)")
    report = partition(program)
    c = SMALL["olmoe-1b-7b"]
    x = inputs(c, 12)["x"][:, :5].reshape(3, 4, 1, 5)
    mapping = np.eye(8, dtype=np.int32)[None, None]
    chosen = (np.arange(24, dtype=np.int32) % 8).reshape(3, 4, 1, 2)
    values = [x, chosen, mapping]
    want = RUN.run_global(whole, values)
    parts = [cut(v, e.sharding) for v, e in zip(values, report.side_table.arguments, strict=True)]
    found = RUN.run_per_device(program, parts, 8)
    for d in range(8):
        # Device d owns expert d; other rows are zero.
        mine = (want[1] == d).any(-1, keepdims=True)
        assert np.array_equal(found[0][d], np.where(mine, want[0], 0))
        assert np.array_equal(found[1][d], want[1])
    assert 'num_devices = "4"' in to_text(program.module)


MESH = '"rows"=2, "columns"=4'
TEXT = module("sparse", SMALL["mixtral-8x7b"].small(experts=6), Shape(8))
ROUND = module("sparse", SMALL["mixtral-8x7b"], Shape(10))
CHUNKS = custom_call(Call(OPS["moe_expert_token_remap"], {"reduction_size": 4},
                          types("1x14x1x6xf32", "1x1x6x1xi32", "1x14x1x2xi32"), types("1x14x1x6xf32", "1x1x4x6xf32")))
REPEATED = custom_call(good("all_to_all_dispatch"))
REFUSED = {
    "experts": (TEXT, MESH, "",
                "all_to_all_dispatch: 6 experts do not divide by the 8 devices along rows=2, columns=4; they divide by "
                "1, 2, 3, 6"),
    "tokens": (ROUND, MESH, "", "all_to_all_dispatch: dimension 0 of x has size 10, which does not divide by the 4 "
                                "devices along columns; pad it to 12"),
    "chunks": (CHUNKS, '"data"=2, "x"=2', "experts=x data=data",
               "moe_expert_token_remap: the 7 tokens of a device do not divide by reduction_size = 4"),
    "axis": (TEXT, MESH, "experts=z", "the mesh has no axis 'z'; its axes: rows, columns"),
    "ring": (TEXT, MESH, "experts=rows ring=columns", "ring 'columns' is none of the axes of the experts (rows)"),
    "data": (TEXT, MESH, "experts=rows data=rows",
             "the experts need an axis of their own: give experts=AXES that are not in data"),
    "third axis": (ROUND, '"a"=1, "b"=1, "c"=2', "", "all_to_all_dispatch: ring 'c' is axis 2 of the mesh; rings run "
                                                     "along the first or second axis"),
    "repeats": (REPEATED, MESH, "", "all_to_all_dispatch: 6 experts do not divide by the 8 devices along rows=2, "
                                    "columns=4; they divide by 1, 2, 3, 6"),
    "other ring": (REPEATED, '"rows"=1, "columns"=3', "",
                   "all_to_all_dispatch: num_devices is 2 and the ring along 'columns' has 3 devices"),
    "other axis": (REPEATED, '"rows"=3, "columns"=2', "",
                   "all_to_all_dispatch: cluster_axis is 0 and ring 'columns' is axis 1 of the mesh"),
    "devices": (REPEATED, '"rows"=2, "columns"=3', "ring=rows",
                "all_to_all_dispatch: mapping has 2 devices and the mesh 6"),
    "repeated data": (REPEATED, '"x"=2, "data"=2', "experts=x data=data",
                      "all_to_all_dispatch: its tokens are repeated for num_devices = 2 devices and cannot be split "
                      "over data axes as well"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case: str) -> None:
    text, mesh, options, message = REFUSED[case]
    program = on_mesh(text, mesh, {})
    with pytest.raises(UserError) as found:
        runner.run(program, f"builtin.module(moe-import-ops,moe-expert-parallel{{{options}}})")
    assert found.value.message == message


def test_a_module_without_a_mesh_is_refused() -> None:
    program = parse(ROUND, "m.mlir")
    with pytest.raises(UserError, match="moe-expert-parallel needs a program with one mesh, or mesh=; it has 0"):
        runner.run(program, "builtin.module(moe-expert-parallel)")


def test_the_options_can_give_a_mesh() -> None:
    text = module("sparse", SMALL["mixtral-8x7b"], Shape(8))
    given, other = parse(text, "m.mlir"), on_mesh(text, MESH, {})
    runner.run(given, "builtin.module(moe-expert-parallel{mesh=rows=2,columns=4})")
    runner.run(other, "builtin.module(moe-expert-parallel)")
    assert to_text(given.module) == to_text(other.module)


@pytest.mark.parametrize("mesh", ["rows", "rows=0", "rows=x", "=2", "a=2,a=2"])
def test_what_is_no_mesh_is_refused(mesh: str) -> None:
    program = parse(ROUND, "m.mlir")
    with pytest.raises(UserError, match=f"mesh={mesh} is no list of axes with their sizes, as in rows=2,columns=4"):
        runner.run(program, f"builtin.module(moe-expert-parallel{{mesh={mesh}}})")


def test_what_has_no_such_layer_stays() -> None:
    text = "func.func @main(%a: tensor<4xf32>) -> tensor<4xf32> {\n  return %a : tensor<4xf32>\n}"
    program = parse(text, "m.mlir")
    runner.run(program, "builtin.module(moe-expert-parallel)")
    assert to_text(program.module) == to_text(parse(text, "m").module)


def test_running_it_again_changes_nothing() -> None:
    program = on_mesh(module("sparse", SMALL["mixtral-8x7b"], Shape(8)), MESH, {})
    runner.run(program, "builtin.module(moe-expert-parallel)")
    before = to_text(program.module)
    runner.run(program, "builtin.module(moe-expert-parallel)")
    assert to_text(program.module) == before
