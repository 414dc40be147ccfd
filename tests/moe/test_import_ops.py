"""Custom calls @tt.* become composites and come back word for word; what is wrong with one is told in a sentence."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from passes.errors import UserError
from passes.execute.executor import Executor
from passes.moe.export_ops import ExportOps
from passes.moe.import_ops import ImportOps
from passes.moe.ops import OPS, Call
from passes.pipeline.base import Counters, Pass
from passes.program.read import parse
from tests.moe.calls import custom_call, good, types


def through(text: str, *passes: Pass) -> str:
    module = parse(text, "m.mlir").module
    for own in passes:
        counters = Counters(own.statistics, explain=True)
        own.run(module.operation, counters)
        assert module.operation.verify()
        assert sum(counters.values()) == 1
        assert counters.removals
    return str(module)


@pytest.mark.parametrize("tuple", [False, True])
@pytest.mark.parametrize("name", OPS)
def test_round_trip(name: str, tuple: bool) -> None:
    more = 'api_version = 4 : i32, backend_config = {a = 1 : i32}, has_side_effect = false, '
    text = custom_call(good(name), tuple, more)
    inside = through(text, ImportOps())
    assert f'stablehlo.composite "shlo.moe.{name}"' in inside
    assert "custom_call" not in inside and "tuple<" not in inside
    assert through(text, ImportOps(), ExportOps()) == str(parse(text, "m").module)


def test_only_what_was_said_is_said_again() -> None:
    """Defaults stay unsaid, spellings and strangers among the attributes stay as they were."""
    call = good("all_to_all_combine")
    text = custom_call(call).replace('num_devices = "2"', 'num_devices = "02", other = "x"')
    text = text.replace(', output_shard_dim = "1"', "")
    assert "output_shard_dim" not in text
    assert "output_shard_dim" not in through(text, ImportOps()).split("decomposition")[0]
    assert through(text, ImportOps(), ExportOps()) == str(parse(text, "m").module)


@pytest.mark.parametrize("dim", [1, 2])
def test_output_shard_dim_is_carried(dim: int) -> None:
    call = good("all_to_all_combine", output_shard_dim=dim)
    if dim == 2:
        call = replace(call, operands=types("6x1x32x5xf32", "1x8x4x3xi32", "1x1x6x2xi32"),
                       results=types("3x1x16x5xf32"))
    assert f"output_shard_dim = {dim} : i64" in through(custom_call(call), ImportOps())
    assert f'output_shard_dim = "{dim}"' in through(custom_call(call), ImportOps(), ExportOps())


def test_a_composite_of_ours_is_exported() -> None:
    """Truth values are spelled as Python spells them, which is what the front end writes."""
    call = good("sparse_matmul")
    module = parse(through(custom_call(call), ImportOps()), "m").module
    for op in module.body.operations:
        for inner in op.regions[0].blocks[0].operations:
            if inner.operation.name == "stablehlo.composite":
                del inner.operation.attributes["shlo.moe.call"]
    text = through(str(module), ExportOps())
    assert 'is_input_a_sparse = "False", is_input_b_sparse = "True", nnz = "0"' in text
    assert "func.func private" not in text


def test_other_calls_stay() -> None:
    text = """func.func @main(%a: tensor<4xf32>) -> tensor<4xf32> {
  %0 = stablehlo.custom_call @tt.mark_argument(%a) : (tensor<4xf32>) -> tensor<4xf32>
  %1 = stablehlo.custom_call @sparse_matmul(%0) : (tensor<4xf32>) -> tensor<4xf32>
  return %1 : tensor<4xf32>
}"""
    module = parse(text, "m").module
    ImportOps().run(module.operation, Counters(ImportOps.statistics))
    assert str(module) == str(parse(text, "m").module)


REFUSED = {
    "missing": (custom_call(good("all_to_all_combine")).replace('num_experts_per_tok = "3", ', ""),
                "all_to_all_combine: attribute num_experts_per_tok is missing"),
    "number": (custom_call(good("all_to_all_combine")).replace('output_shard_dim = "1"', 'output_shard_dim = "seq"'),
               "all_to_all_combine: attribute output_shard_dim is a whole number, not 'seq'"),
    "truth": (custom_call(good("sparse_matmul")).replace('"True"', '"maybe"'),
              "sparse_matmul: attribute is_input_b_sparse is true or false, not 'maybe'"),
    "string": (custom_call(good("sparse_matmul")).replace('nnz = "0"', "nnz = 0"),
               "sparse_matmul: attribute nnz = 0 : i64 must be a string"),
    "rule": (custom_call(good("sparse_matmul", nnz=-3)), "sparse_matmul: nnz is -3 and must be 0 or more"),
    "share": (
        custom_call(replace(good("all_to_all_combine"), operands=types("3x8x4x5xf32", "1x8x4x3xi32", "1x1x6x2xi32"))),
        "all_to_all_combine: it is about 3 of 6 experts, as on one of several devices, and the module is no per-device "
        "program (mhlo.num_partitions)"),
    "devices": (
        f"module attributes {{mhlo.num_partitions = 4 : i32}} {{{custom_call(good('all_to_all_dispatch'))}}}",
        "all_to_all_dispatch: mapping has 2 devices and the program 4; they must be equal"),
    "ring": (
        "module attributes {mhlo.num_partitions = 2 : i32} {"
        + custom_call(replace(good("all_to_all_combine"),
                              operands=types("1x8x4x5xf32", "1x8x4x3xi32", "1x1x6x2xi32"))) + "}",
        "all_to_all_combine: y is about 1 of 6 experts: neither a share of all 2 devices nor of a ring of 2"),
    "tuple": (
        """func.func @main(%a: tensor<3x4x1x5xf32>, %b: tensor<3x4x1x2xi32>, %c: tensor<1x1x6x2xi32>)
    -> tuple<tensor<1x6x4x5xf32>, tensor<1x6x4x2xi32>> {
  %0 = stablehlo.custom_call @tt.all_to_all_dispatch(%a, %b, %c) {mhlo.frontend_attributes = {num_devices = "2",
    cluster_axis = "0"}} : (tensor<3x4x1x5xf32>, tensor<3x4x1x2xi32>, tensor<1x1x6x2xi32>)
    -> tuple<tensor<1x6x4x5xf32>, tensor<1x6x4x2xi32>>
  return %0 : tuple<tensor<1x6x4x5xf32>, tensor<1x6x4x2xi32>>
}""", "all_to_all_dispatch: the tuple it returns is used as a whole; take its elements with get_tuple_element"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case: str) -> None:
    text, message = REFUSED[case]
    module = parse(text, "m.mlir").module
    with pytest.raises(UserError) as found:
        ImportOps().run(module.operation, Counters(ImportOps.statistics))
    assert found.value.message == message
    assert found.value.where is not None and found.value.where.line


def test_a_composite_with_a_stranger_among_its_attributes() -> None:
    text = through(custom_call(good("sparse_matmul")), ImportOps()).replace("{is_input", "{axis = 1 : i64, is_input", 1)
    module = parse(text, "m.mlir").module
    with pytest.raises(UserError, match="it has no attribute axis; its attributes: is_input_a_sparse, "):
        ExportOps().run(module.operation, Counters(ExportOps.statistics))


def test_an_imported_call_runs() -> None:
    """Both programs mean the same: the composite computes what the op is defined to."""
    call = Call(OPS["sparse_matmul"], {"is_input_a_sparse": True, "is_input_b_sparse": True, "nnz": 0},
                types("1x2x3x4xf32", "1x2x4x5xf32", "1x1x1x2xf32"), types("1x2x3x5xf32"))
    program = parse(through(custom_call(call), ImportOps()), "m")
    rng = np.random.default_rng(0)
    a, b = (rng.integers(-4, 4, t.shape).astype(np.float32) for t in call.operands[:2])
    (found,) = Executor("interpreter").run_global(program, [a, b, np.array([[[[0, 7]]]], np.float32)])
    assert np.array_equal(found[0, 1], a[0, 1] @ b[0, 1])
    assert not found[0, 0].any()
