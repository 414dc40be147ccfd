"""Chains: every axis of every tensor leads back to an annotation, each hop is one that can have happened, and the
annotations are those that Shardy names itself."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from passes.pipeline import runner
from passes.program.entry import arguments, find_entry, results
from passes.program.read import parse, read
from passes.program.walk import operations
from passes.sharding.annotate import annotate
from passes.sharding.explain import Explainer
from passes.sharding.flow import Output, tensor_of
from passes.sharding.origins.chains import Chain
from passes.sharding.origins.marks import mark_of
from passes.sharding.origins.record import Origins, record
from passes.sharding.propagate import PropagateOptions, propagate
from passes.sharding.rules_file import load
from passes.sharding.tensors import intermediates
from passes.sharding.tuples import ELEMENT, TUPLE, leaves
from tests.sharding.test_branches import NESTED
from tests.sharding.test_tuples import INSIDE

EXAMPLES = Path(__file__).parents[2] / "examples"
PROGRAMS = [
    ("decoder/train_step.mlir", "decoder/megatron.toml"),
    ("decoder/train_step.mlir", "decoder/fsdp.toml"),
    ("scan_layers/train_step.mlir", "scan_layers/megatron_fsdp.toml"),
    ("moe/forward.mlir", "moe/expert_all.toml"),
    ("gpt/forward.mlir", "gpt/megatron_fsdp.toml"),
]


def recorded(file: str, rules: str) -> Origins:
    program = read(str(EXAMPLES / file))
    annotate(program, load(str(EXAMPLES / rules)))
    return record(program)


def all_chains(origins: Origins) -> list[Chain]:
    tensors = []
    for op in operations(origins.program.module):
        tensors += [tensor_of(value) for value in op.results]
        if op.name == "func.func":
            tensors += list(op.regions[0].blocks[0].arguments)
            tensors += [Output(op, value.index) for value in results(op)]
    return [chain for tensor in dict.fromkeys(tensors) for chain in origins.chains.all(tensor)]


def check_hops(origins: Origins, chain: Chain) -> None:
    """Each hop starts at a tensor that has the axis there, later than the one before, along one factor."""
    at, dim, time = chain.root, chain.root_dim, (-1, -1)
    for step in chain.steps:
        assert origins.notes.at(step.op, step.source) == at
        assert step.source_dim == dim
        assert step.time > time or step.op.name == "sdy.sharding_group"
        assert chain.axis.name in {axis.name for axis in origins.layouts.dims(at)[dim][0]}
        if step.rule is not None:
            sides = {"operand": step.rule.operands, "result": step.rule.results}
            assert step.factor in sides[step.source[0]][step.source[1]][step.source_dim]
            assert step.factor in sides[step.target[0]][step.target[1]][step.dim]
        at, dim, time = origins.notes.at(step.op, step.target), step.dim, step.time
    assert dim == chain.dim
    assert chain.axis in origins.layouts.dims(at)[dim][0]


@pytest.mark.parametrize(("file", "rules"), PROGRAMS)
def test_every_chain_ends_at_an_annotation(file: str, rules: str) -> None:
    origins = recorded(file, rules)
    chains = all_chains(origins)
    assert len(chains) > 50
    for chain in chains:
        assert chain.complete
        assert any(a.name == chain.axis.name for a in origins.layouts.dims(chain.root, given=True)[chain.root_dim][0])
        check_hops(origins, chain)
    assert max(len(chain.steps) for chain in chains) > 8


@pytest.mark.parametrize(("file", "rules"), PROGRAMS[:2])
def test_roots_are_the_origins_shardy_names(file: str, rules: str) -> None:
    """Shardy notes the origin of each axis by another way than its edges."""
    origins = recorded(file, rules)
    function = find_entry(origins.program)
    block = function.regions[0].blocks[0]
    ours = {
        (index, chain.axis.name): str(chain.root.arg_number)
        for index, argument in enumerate(block.arguments)
        for chain in origins.chains.all(argument)
        if not isinstance(chain.root, Output)
    }
    other = read(str(EXAMPLES / file))
    annotate(other, load(str(EXAMPLES / rules)))
    runner.run(other, "builtin.module(sdy-import-pipeline,sdy-aggressive-propagate{debug-sharding-origins=true})")
    compared = 0
    for value in arguments(find_entry(other)):
        text = str(value.attributes.get("sdy.sharding_origins", ""))
        for axis, origin in re.findall(r'(\w+) = "(?:input: (\d+)|self)"', text):
            assert ours[value.index, axis] == (origin or str(value.index))
            compared += 1
    assert compared > 15


GROUP = """sdy.mesh @mesh = <["x"=2, "y"=2]>
func.func @main(%a: tensor<8x4xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"x"}, {}]>}, %b: tensor<8x4xf32>) -> tensor<8x4xf32> {
  %0 = stablehlo.abs %a : tensor<8x4xf32>
  sdy.sharding_group %0 group_id=3 : tensor<8x4xf32>
  %1 = stablehlo.negate %b : tensor<8x4xf32>
  sdy.sharding_group %1 group_id=3 : tensor<8x4xf32>
  %2 = stablehlo.sine %1 : tensor<8x4xf32>
  return %2 : tensor<8x4xf32>
}"""  # noqa: E501


def _results_of(origins: Origins, name: str) -> list[Any]:
    return [tensor_of(op.results[0]) for op in operations(origins.program.module) if op.name == name]


def test_members_of_a_group_follow_each_other() -> None:
    origins = record(parse(GROUP))
    (sine,) = _results_of(origins, "stablehlo.sine")
    (chain,) = origins.chains.all(sine)
    assert chain.complete
    assert chain.root.arg_number == 0
    assert [step.op.name for step in chain.steps] == ["stablehlo.abs", "sdy.sharding_group", "stablehlo.sine"]


TWO_MESHES = """sdy.mesh @empty = <[]>
sdy.mesh @wide = <["x"=4]>
sdy.mesh @mesh = <["x"=2, "y"=2]>
func.func @main(%a: tensor<8x4xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"x"}, {}]>}) -> tensor<8x4xf32> {
  %0 = stablehlo.abs %a : tensor<8x4xf32>
  %1 = stablehlo.sine %0 : tensor<8x4xf32>
  return %1 : tensor<8x4xf32>
}"""


def test_axes_of_one_name_on_several_meshes() -> None:
    origins = record(parse(TWO_MESHES))
    (sine,) = _results_of(origins, "stablehlo.sine")
    (chain,) = origins.chains.all(sine)
    assert (chain.complete, chain.axis.size, len(chain.steps)) == (True, 2, 2)


MANUAL = """sdy.mesh @mesh = <["a"=2, "b"=2]>
func.func @main(%arg0: tensor<32x32xf32>) -> tensor<32x32xf32> {
  %0 = stablehlo.negate %arg0 : tensor<32x32xf32>
  %1 = sdy.manual_computation(%0) in_shardings=[<@mesh, [{"a", ?}, {"b", ?}]>] out_shardings=[<@mesh, [{"a", ?}, {?}]>]
      manual_axes={"a"} (%arg1: tensor<16x32xf32>) {
    %2 = stablehlo.abs %arg1 : tensor<16x32xf32>
    sdy.return %2 : tensor<16x32xf32>
  } : (tensor<32x32xf32>) -> tensor<32x32xf32>
  %3 = stablehlo.sine %1 : tensor<32x32xf32>
  return %3 : tensor<32x32xf32>
}"""


def test_manual_axes_come_from_the_manual_computation() -> None:
    origins = record(parse(MANUAL))
    for name, expected in (("negate", ["a", "b"]), ("abs", ["b"]), ("sine", ["a", "b"])):
        (tensor,) = _results_of(origins, f"stablehlo.{name}")
        chains = origins.chains.all(tensor)
        assert [chain.axis.name for chain in chains] == expected
        assert all(chain.complete and chain.root.owner.name == "sdy.data_flow_edge" for chain in chains)


AGREE = {
    **{f"{file} {rules}": (EXAMPLES / file, EXAMPLES / rules) for file, rules in PROGRAMS},
    "composites": (Path(__file__).parent / "inputs" / "composites.mlir", None),
    "branches": (NESTED, None),
    "tuples": (INSIDE, None),
}


@pytest.mark.parametrize("name", AGREE)
def test_explain_says_what_shard_writes(name: str) -> None:
    """Of every value of the entry function, composites, calls, branches and what came out of tuples included."""
    source, rules = AGREE[name]
    asked, sharded = (read(str(source)) if isinstance(source, Path) else parse(source) for _ in range(2))
    explainer = Explainer(asked)
    for op in operations(find_entry(asked)):
        if op.name not in (TUPLE, ELEMENT) and len(op.results):
            for index in range(sum(len(leaves(result.type)) for result in op.results)):
                explainer.ask_source(op.name, index, mark_of(op))
    if rules is not None:
        explainer.annotated(annotate(asked, load(str(rules))))
        annotate(sharded, load(str(rules)))
    propagate(sharded, PropagateOptions(reshards=False))
    inside = (t for t in intermediates(sharded) if t.function == "main" and not t.op.startswith("sdy."))
    wanted = Counter((f"{t.dtype}[{'x'.join(map(str, t.shape))}]", t.spec) for t in inside)
    told = Counter(
        (copy.type, copy.spec or f"P({', '.join(['None'] * rank_of(copy.type))})")
        for copies in explainer.answer() for copy in copies if copy.type
    )
    # What is computed from constants alone has a copy for each reader, and is merged where that turned out needless.
    assert not wanted - told
    assert set(told) == set(wanted)


def rank_of(type: str) -> int:
    shape = type.partition("[")[2].rstrip("]")
    return shape.count("x") + 1 if shape else 0
