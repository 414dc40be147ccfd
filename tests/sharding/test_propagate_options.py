"""What the options of propagation change, and what no option may: annotations that users closed."""

from __future__ import annotations

from pathlib import Path

import pytest

from passes.program.entry import arguments, find_entry, results
from passes.program.read import Program, parse, read
from passes.program.walk import operations
from passes.sharding.annotate import annotate
from passes.sharding.mesh import meshes, sharding_from_attr
from passes.sharding.propagate import STRATEGIES, PropagateOptions, propagate
from passes.sharding.rules_file import load
from passes.sharding.rules_file import parse as parse_rules
from passes.sharding.signature import SHARDING

EXAMPLES = Path(__file__).parents[2] / "examples"

SPLIT = """sdy.mesh @mesh = <["c"=8]>
func.func @main(%a: tensor<16xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"c"}]>}) -> tensor<4x4xf32> {
  %0 = stablehlo.reshape %a : (tensor<16xf32>) -> tensor<4x4xf32>
  return %0 : tensor<4x4xf32>
}"""

# The result hands "x" back to %a, unless %b, which has it on a dimension that %a has not, stops it.
PRODUCT = """sdy.mesh @mesh = <["x"=2]>
func.func @main(%a: tensor<8x8xf32>, %b: tensor<8x8xf32> {sdy.sharding = #sdy.sharding<@mesh, [{}, {"x"}]>})
    -> (tensor<8x8xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"x"}, {}]>}) {
  %0 = stablehlo.dot_general %a, %b, contracting_dims = [1] x [0]
    : (tensor<8x8xf32>, tensor<8x8xf32>) -> tensor<8x8xf32>
  return %0 : tensor<8x8xf32>
}"""


def signature(program: Program) -> list[str]:
    """The PartitionSpec of each argument and result; empty for one without a sharding."""
    function, named = find_entry(program), meshes(program.module)
    found = [v.attributes.get(SHARDING) for v in (*arguments(function), *results(function))]
    return [sharding_from_attr(s, named).spec() if s is not None else "" for s in found]


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("conservative", [False, True])
@pytest.mark.parametrize(
    ("file", "rules"),
    [("decoder/forward.mlir", "decoder/megatron.toml"), ("scan_layers/train_step.mlir", "scan_layers/layers.toml"),
     ("moe/forward.mlir", "moe/expert.toml")],
)
def test_what_users_closed_never_changes(file: str, rules: str, conservative: bool, strategy: str) -> None:
    program = read(str(EXAMPLES / file))
    annotate(program, load(str(EXAMPLES / rules)))
    before = signature(program)
    propagate(program, PropagateOptions(conservative=conservative, strategy=strategy))
    after = signature(program)
    assert sum(map(bool, before)) > 3
    assert [b for b in before if b] == [a for a, b in zip(after, before, strict=True) if b]


def test_closed_intermediates_do_not_change() -> None:
    text = SPLIT.replace("stablehlo.reshape %a :", "stablehlo.reshape %a {sdy.sharding = "
                         "#sdy.sharding_per_value<[<@mesh, [{}, {}]>]>} :")
    program = parse(text)
    propagate(program)
    (reshape,) = [op for op in operations(program.module) if op.name == "stablehlo.reshape"]
    assert str(reshape.attributes[SHARDING]) == "#sdy.sharding_per_value<[<@mesh, [{}, {}]>]>"


def test_conservative_splits_no_axis() -> None:
    free, careful = parse(SPLIT), parse(SPLIT)
    propagate(free)
    propagate(careful, PropagateOptions(conservative=True))
    assert signature(free) == ["P('c')", "P('c:(1)4', 'c:(4)2')"]
    assert signature(careful) == ["P('c')", "P(None, None)"]


def test_basic_stops_where_aggressive_goes_on() -> None:
    first = {}
    for strategy in STRATEGIES:
        program = parse(PRODUCT)
        propagate(program, PropagateOptions(strategy=strategy))
        first[strategy] = signature(program)[0]
    assert first == {
        "aggressive": "P('x', None)", "basic": "P(None, None)", "basic-then-aggressive": "P('x', None)",
    }


def test_results_may_be_given() -> None:
    program = read(str(EXAMPLES / "decoder" / "forward.mlir"))
    rules = 'mesh = { data = 2, model = 4 }\n[[results]]\nindex = 0\ndims = ["", "data", "model"]\n'
    annotate(program, parse_rules(rules))
    propagate(program)
    found = signature(program)
    assert found[-1] == "P(None, 'data', 'model')"
    assert any("data" in spec or "model" in spec for spec in found[:-1])
