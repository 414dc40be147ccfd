"""Which dimensions of known programs have one colour."""

from __future__ import annotations

from passes.autoshard.dimensions import Dimensions, analyse
from passes.cost.graph import read_graph
from passes.partition.plan import SUPPORT
from passes.program import read
from passes.program.entry import find_entry
from passes.sharding.op_rules import populate

MLP = """
func.func @main(%x: tensor<8x16xf32> loc("x"), %up: tensor<16x32xf32> loc("up"), %down: tensor<32x16xf32> loc("down"))
    -> tensor<8x16xf32> {
  %0 = stablehlo.dot %x, %up : (tensor<8x16xf32>, tensor<16x32xf32>) -> tensor<8x32xf32>
  %1 = stablehlo.tanh %0 : tensor<8x32xf32>
  %2 = stablehlo.dot %1, %down : (tensor<8x32xf32>, tensor<32x16xf32>) -> tensor<8x16xf32>
  return %2 : tensor<8x16xf32>
}"""

ATTENTION = """
func.func @main(%x: tensor<2x8x16xf32>, %wq: tensor<16x4xf32>, %wk: tensor<16x4xf32>, %wo: tensor<4x16xf32>)
    -> tensor<2x8x16xf32> {
  %q = stablehlo.dot_general %x, %wq, contracting_dims = [2] x [0]
    : (tensor<2x8x16xf32>, tensor<16x4xf32>) -> tensor<2x8x4xf32>
  %k = stablehlo.dot_general %x, %wk, contracting_dims = [2] x [0]
    : (tensor<2x8x16xf32>, tensor<16x4xf32>) -> tensor<2x8x4xf32>
  %scores = stablehlo.dot_general %k, %q, batching_dims = [0] x [0], contracting_dims = [2] x [2]
    : (tensor<2x8x4xf32>, tensor<2x8x4xf32>) -> tensor<2x8x8xf32>
  %out = stablehlo.dot_general %scores, %k, batching_dims = [0] x [0], contracting_dims = [1] x [1]
    : (tensor<2x8x8xf32>, tensor<2x8x4xf32>) -> tensor<2x8x4xf32>
  %y = stablehlo.dot_general %out, %wo, contracting_dims = [2] x [0]
    : (tensor<2x8x4xf32>, tensor<4x16xf32>) -> tensor<2x8x16xf32>
  %sum = stablehlo.add %x, %y : tensor<2x8x16xf32>
  return %sum : tensor<2x8x16xf32>
}"""

LOOP = """
func.func @main(%x: tensor<8x16xf32>, %w: tensor<16x16xf32>) -> tensor<8x16xf32> {
  %c0 = stablehlo.constant dense<0> : tensor<i32>
  %c1 = stablehlo.constant dense<1> : tensor<i32>
  %c9 = stablehlo.constant dense<9> : tensor<i32>
  %0:3 = stablehlo.while(%i = %c0, %a = %x, %b = %w) : tensor<i32>, tensor<8x16xf32>, tensor<16x16xf32> cond {
    %p = stablehlo.compare LT, %i, %c9 : (tensor<i32>, tensor<i32>) -> tensor<i1>
    stablehlo.return %p : tensor<i1>
  } do {
    %t = stablehlo.tanh %a : tensor<8x16xf32>
    %j = stablehlo.add %i, %c1 : tensor<i32>
    stablehlo.return %j, %t, %b : tensor<i32>, tensor<8x16xf32>, tensor<16x16xf32>
  }
  %1 = stablehlo.dot %0#1, %0#2 : (tensor<8x16xf32>, tensor<16x16xf32>) -> tensor<8x16xf32>
  return %1 : tensor<8x16xf32>
}"""

LAYERS = """
func.func @main(%x: tensor<8x16xf32> loc("x"),
    %u0: tensor<16x32xf32> loc("layers[0].up"), %d0: tensor<32x16xf32> loc("layers[0].down"),
    %u1: tensor<16x32xf32> loc("layers[1].up"), %d1: tensor<32x16xf32> loc("layers[1].down"),
    %head: tensor<16x32xf32> loc("head")) -> tensor<8x32xf32> {
  %0 = stablehlo.dot %x, %u0 : (tensor<8x16xf32>, tensor<16x32xf32>) -> tensor<8x32xf32>
  %1 = stablehlo.dot %0, %d0 : (tensor<8x32xf32>, tensor<32x16xf32>) -> tensor<8x16xf32>
  %2 = stablehlo.dot %1, %u1 : (tensor<8x16xf32>, tensor<16x32xf32>) -> tensor<8x32xf32>
  %3 = stablehlo.dot %2, %d1 : (tensor<8x32xf32>, tensor<32x16xf32>) -> tensor<8x16xf32>
  %4 = stablehlo.dot %3, %head : (tensor<8x16xf32>, tensor<16x32xf32>) -> tensor<8x32xf32>
  return %4 : tensor<8x32xf32>
}"""

MASKED = """
func.func @main(%x: tensor<8x8xf32>) -> tensor<8x8xf32> {
  %0 = stablehlo.iota dim = 0 : tensor<8x8xi32>
  %1 = stablehlo.iota dim = 1 : tensor<8x8xi32>
  %2 = stablehlo.compare GE, %0, %1 : (tensor<8x8xi32>, tensor<8x8xi32>) -> tensor<8x8xi1>
  %3 = stablehlo.constant dense<0.0> : tensor<8x8xf32>
  %4 = stablehlo.select %2, %x, %3 : tensor<8x8xi1>, tensor<8x8xf32>
  return %4 : tensor<8x8xf32>
}"""


def _dimensions(text: str) -> Dimensions:
    program = read.parse(text)
    populate(program, SUPPORT)
    return analyse(read_graph(program), find_entry(program))


def _arguments(found: Dimensions) -> list[tuple[int, ...]]:
    return [found.colours[v] for v in found.graph.entry.arguments]


def _values(found: Dimensions, op: str) -> list[int]:
    return [v for node in found.graph.entry.nodes if node.name == f"stablehlo.{op}" for v in node.results]


def test_contracted_dimensions_and_what_passes_through_have_one_colour() -> None:
    found = _dimensions(MLP)
    x, up, down = _arguments(found)
    batch, model = x
    assert up == (model, up[1]) and down[0] == up[1]
    hidden = up[1]
    assert len({batch, model, hidden, down[1]}) == 4
    assert found.colours[found.graph.entry.returned[0]] == (batch, down[1])
    assert [found.sizes[c] for c in (batch, model, hidden)] == [8, 16, 32]
    assert found.titles[hidden] == ["up.1", "down.0"] or found.titles[hidden] == ["down.0", "up.1"]


def test_attention_is_cut_where_scores_have_two_sequences_and_nowhere_else() -> None:
    found = _dimensions(ATTENTION)
    batch, sequence, features = _arguments(found)[0]
    q, k, scores, _, y = (found.colours[v] for v in _values(found, "dot_general"))
    assert q[:2] == k[:2] == (batch, sequence)
    assert y == found.colours[found.graph.entry.returned[0]] == (batch, sequence, features)
    assert scores[0] == batch
    assert (scores[1] == sequence) != (scores[2] == sequence)


def test_no_value_and_no_op_has_a_colour_twice() -> None:
    for text in (MLP, ATTENTION, LOOP, LAYERS, MASKED):
        found = _dimensions(text)
        assert all(len(set(colours)) == len(colours) for colours in found.colours)
        for use in found.uses:
            split = [c for c in use.factors if c >= 0]
            assert len(set(split)) == len(split)


def test_what_a_loop_carries_lies_alike_at_every_turn() -> None:
    found = _dimensions(LOOP)
    x, w = _arguments(found)
    [loop] = [node for node in found.graph.entry.nodes if node.name == "stablehlo.while"]
    body = loop.bodies[1]
    for position, colours in ((1, x), (2, w)):
        carried = (loop.operands, loop.results, body.arguments, body.returned)
        assert [found.colours[values[position]] for values in carried] == [colours] * 4
    assert x[1] == w[0]
    assert {use.times for use in found.uses if use.node.name == "stablehlo.tanh"} == {9}


def test_layers_have_the_same_colours_and_what_stands_alone_its_own() -> None:
    found = _dimensions(LAYERS)
    _, up, down, next_up, next_down, head = _arguments(found)
    assert (up[1], down[0]) == (next_up[1], next_down[0])
    assert up[1] == down[0]
    assert head[1] != up[1]
    assert found.titles[up[1]] == ["layers[*].up.1", "layers[*].down.0"]


def test_what_comes_from_constants_alone_is_free() -> None:
    found = _dimensions(MASKED)
    free = {v for name in ("iota", "compare", "constant") for v in _values(found, name)}
    assert found.free == free
    [select] = _values(found, "select")
    assert found.colours[select] == _arguments(found)[0]


def test_the_same_program_has_the_same_colours() -> None:
    one, other = _dimensions(LAYERS), _dimensions(LAYERS)
    assert (one.colours, one.sizes, one.titles) == (other.colours, other.sizes, other.titles)
