"""Which values are in memory, and what ops read and write there."""

from __future__ import annotations

from passes.cost.fusion import fuse
from passes.cost.graph import Graph, read_graph
from passes.program import read

KB = 1024


def _graph(body: str, arguments: str = "%a: tensor<16x16xf32>", result: str = "tensor<16x16xf32>") -> Graph:
    return read_graph(read.parse(f"func.func @main({arguments}) -> {result} {{\n{body}\n}}"))


def _traffic(graph: Graph) -> list[tuple[str, int, int]]:
    fusion = fuse(graph, graph.entry)
    rows = zip(graph.entry.nodes, fusion.read, fusion.written, strict=True)
    return [(node.name.removeprefix("stablehlo."), read, written) for node, read, written in rows if read or written]


def test_elementwise_ops_are_one_loop() -> None:
    graph = _graph("""
  %0 = stablehlo.negate %a : tensor<16x16xf32>
  %1 = stablehlo.exponential %0 : tensor<16x16xf32>
  %2 = stablehlo.add %1, %a : tensor<16x16xf32>
  return %2 : tensor<16x16xf32>""")
    assert _traffic(graph) == [("add", KB, KB)]


def test_a_dot_reads_and_writes_buffers() -> None:
    graph = _graph("""
  %0 = stablehlo.negate %a : tensor<16x16xf32>
  %1 = stablehlo.dot %0, %a : (tensor<16x16xf32>, tensor<16x16xf32>) -> tensor<16x16xf32>
  return %1 : tensor<16x16xf32>""")
    assert _traffic(graph) == [("negate", KB, KB), ("dot", 2 * KB, KB)]


def test_what_is_costly_is_computed_once_and_what_is_cheap_again() -> None:
    for op, expected in (("negate", []), ("exponential", [("exponential", KB, KB)])):
        graph = _graph(f"""
  %0 = stablehlo.{op} %a : tensor<16x16xf32>
  %c = stablehlo.constant dense<0.0> : tensor<f32>
  %1 = stablehlo.reduce(%0 init: %c) applies stablehlo.add across dimensions = [0]
      : (tensor<16x16xf32>, tensor<f32>) -> tensor<16xf32>
  %2 = stablehlo.reduce(%0 init: %c) applies stablehlo.maximum across dimensions = [1]
      : (tensor<16x16xf32>, tensor<f32>) -> tensor<16xf32>
  return %1, %2 : tensor<16xf32>, tensor<16xf32>""", result="(tensor<16xf32>, tensor<16xf32>)")
        assert [row for row in _traffic(graph) if row[0] != "reduce"] == expected


def test_a_slice_reads_its_part_and_an_update_writes_its_own() -> None:
    graph = _graph("""
  %0 = stablehlo.slice %a [0:4, 0:16] : (tensor<16x16xf32>) -> tensor<4x16xf32>
  %1 = stablehlo.negate %0 : tensor<4x16xf32>
  %i = stablehlo.constant dense<0> : tensor<i32>
  %2 = stablehlo.dynamic_update_slice %a, %1, %i, %i
      : (tensor<16x16xf32>, tensor<4x16xf32>, tensor<i32>, tensor<i32>) -> tensor<16x16xf32>
  return %2 : tensor<16x16xf32>""")
    # Where the slice comes from is the buffer that is updated, so nothing but the indices is read beside it.
    [(name, read, written)] = _traffic(graph)
    assert (name, written) == ("dynamic_update_slice", 4 * 16 * 4)
    assert read <= 8


def test_a_reshape_is_no_work() -> None:
    graph = _graph("""
  %0 = stablehlo.dot %a, %a : (tensor<16x16xf32>, tensor<16x16xf32>) -> tensor<16x16xf32>
  %1 = stablehlo.reshape %0 : (tensor<16x16xf32>) -> tensor<256xf32>
  return %1 : tensor<256xf32>""", result="tensor<256xf32>")
    assert _traffic(graph) == [("dot", KB, KB)]
