"""Some of the layers of ``benchmarks/moe_layers.py``: each model, each mesh, each number of tokens, each form."""

from __future__ import annotations

import re

import pytest

from passes.moe.layers import module
from passes.partition.partition import partition
from passes.pipeline import runner
from tests.moe.layer_programs import CLOSE, SMALL, distance, inputs, on_mesh, per_device, whole
from tests.moe.mesh_cases import FORMS, MESHES, TOKENS, MeshCase, every_case, furthest

SOME = every_case()[:288:26]


@pytest.mark.parametrize("case", SOME, ids=str)
def test_dense_sparse_and_all_devices_agree(case: MeshCase) -> None:
    assert furthest(case) < CLOSE


@pytest.mark.parametrize("case", SOME[::4], ids=str)
def test_so_they_do_on_another_engine(case: MeshCase) -> None:
    assert furthest(case, "xla") < CLOSE


def test_there_is_a_case_for_every_layer_on_every_mesh() -> None:
    cases = every_case()
    assert len({(c.model, c.mesh, c.tokens) for c in cases}) == len(SMALL) * len(MESHES) * len(TOKENS) == 288
    assert len(cases) == len(set(cases)) and {c.form for c in cases} == set(FORMS)
    assert {c.tokens for c in SOME} == set(TOKENS) and len({c.model for c in SOME}) > 5
    assert len({c.mesh for c in SOME}) > 4 and {c.form for c in SOME} == set(FORMS)


# What a layer must not read, as its text has it: blocks that no token selected; rows that select no expert of a device.
UNDEFINED = {
    "blocks": (r'(%\d+) = stablehlo\.composite "shlo\.moe\.sparse_matmul".*is_input_a_sparse = true.*-> (tensor<\S+>)',
               "%t0 = stablehlo.reduce({0} init: %z) applies stablehlo.add across dimensions = [1, 2] : "
               "({1}, tensor<f32>) -> {2}"),
    "rows": (r'(%\d+), %\d+ = stablehlo\.composite "shlo\.moe\.all_to_all_dispatch".*-> \((tensor<\S+>),',
             "%t0 = stablehlo.reshape {0} : ({1}) -> {2}"),
}


@pytest.mark.parametrize("what", UNDEFINED)
def test_reading_what_is_undefined_shows(what: str) -> None:
    """A layer that multiplies it with zero is right wherever kernels leave zeros, and found out by the NaN."""
    case = MeshCase("mixtral-8x7b", "2x4, rings are rows", 32, "sparse")
    c, (mesh, options, _) = SMALL[case.model], MESHES[case.mesh]
    pattern, line = UNDEFINED[what]
    text, given = module("sparse", c, case.shape), inputs(c, case.tokens)
    (value, type), out = re.findall(pattern, text)[0], "tensor<32x8xf32>"
    lines = [
        "%z = stablehlo.constant dense<0.0> : tensor<f32>", line.format(value, type, out),
        f"%t1 = stablehlo.constant dense<0.0> : {out}", f"%t2 = stablehlo.multiply %t0, %t1 : {out}",
    ]
    text = re.sub(r"  return (%\d+) :", lambda found: "\n".join(
        [*lines, f"%t3 = stablehlo.add {found[1]}, %t2 : {out}", "return %t3 :"]), text, count=1)
    want = whole("sparse", c, case.shape, given)
    for poison, is_right in (("false", True), ("true", False)):
        program = on_mesh(text, mesh, {})
        runner.run(program, f"builtin.module(moe-expert-parallel{{poison={poison} {options}}})")
        found = per_device(program, partition(program), given)
        assert (distance(found, want) < CLOSE) is is_right
