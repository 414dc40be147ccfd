"""Model Explorer reads the export: into its own types, and in its own page."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dacite
import pytest
from model_explorer import graph_builder, node_data_builder

from passes.program import read
from passes.program.write import write_output
from passes.report.model_explorer import files, path_of
from passes.report.subject import Subject, subject
from tests.report.conftest import V5E

NUMBERS, TEXTS = ("bytes", "seconds", "flops", "sent"), ("sharding", "origin")
STRICT = dacite.Config(strict=True)


@pytest.fixture(scope="module")
def exported(decoder: Subject, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("graphs") / "decoder.json"
    for name, text in files(decoder, path).items():
        write_output(name, text)
    return path


def _graphs(path: Path) -> list[graph_builder.Graph]:
    return [dacite.from_dict(graph_builder.Graph, graph, STRICT) for graph in json.loads(path.read_text())]


def test_graphs_are_of_its_types_and_edges_end_at_nodes(exported: Path) -> None:
    [graph] = _graphs(exported)
    nodes = {node.id: node for node in graph.nodes}
    assert graph.id == "main" and len(nodes) == len(graph.nodes)
    edges = [(edge, node) for node in graph.nodes for edge in node.incomingEdges]
    assert len(edges) > len(nodes)
    for edge, _ in edges:
        outputs = {output.id for output in nodes[edge.sourceNodeId].outputsMetadata}
        assert edge.sourceNodeOutputId in outputs
    dots = [node for node in graph.nodes if node.label == "dot_general"]
    assert all(node.namespace.startswith("jit(train_step)") for node in dots)
    told = {pair.key for node in dots for pair in node.attrs}
    assert {"value", "place", "FLOPs", "seconds"} <= told


@pytest.mark.parametrize("kind", [*NUMBERS, *TEXTS])
def test_node_data_is_of_its_types_and_about_nodes(exported: Path, kind: str) -> None:
    [graph] = _graphs(exported)
    [(name, data)] = json.loads(exported.with_suffix(f".{kind}.json").read_text()).items()
    # Its page takes texts as values; its Python types name numbers only.
    config = dacite.Config(strict=True, check_types=kind in NUMBERS)
    found = dacite.from_dict(node_data_builder.GraphNodeData, data, config)
    assert name == graph.id and found.results
    assert set(found.results) <= {node.id for node in graph.nodes}
    assert all(isinstance(result.value, str if kind in TEXTS else (int, float)) for result in found.results.values())


def test_sums_of_node_data_are_the_totals(exported: Path, decoder: Subject) -> None:
    estimate = decoder.cost.estimate
    totals = {"seconds": estimate.seconds, "flops": estimate.flops, "sent": estimate.sent}
    for kind, total in totals.items():
        results = json.loads(exported.with_suffix(f".{kind}.json").read_text())["main"]["results"]
        assert sum(result["value"] for result in results.values()) == pytest.approx(total)


def test_composites_lead_to_the_graphs_they_are_made_of(tmp_path: Path) -> None:
    program = read.parse("""
      func.func @main(%a: tensor<4xf32>) -> tensor<4xf32> {
        %0 = stablehlo.composite "my.twice" %a {decomposition = @twice} : (tensor<4xf32>) -> tensor<4xf32>
        return %0 : tensor<4xf32>
      }
      func.func private @twice(%a: tensor<4xf32>) -> tensor<4xf32> {
        %0 = stablehlo.add %a, %a : tensor<4xf32>
        return %0 : tensor<4xf32>
      }""")
    path = tmp_path / "g.json"
    path.write_text(files(subject(program, V5E), path)[str(path)])
    main, twice = _graphs(path)
    assert [graph.id for graph in (main, twice)] == ["main", "twice"]
    assert [node.subgraphIds for node in main.nodes] == [[], ["twice"]]
    # What a function gets from outside is no edge inside of it.
    assert [(node.label, node.incomingEdges) for node in twice.nodes] == [("add", [])]


@pytest.mark.parametrize(("label", "parts"), [
    ("jit(f)/layer/dot", ["jit(f)", "layer", "dot"]), ("transpose(jvp(a/b))/x", ["transpose(jvp(a/b))", "x"]),
    ("x)/y", ["x)", "y"]), ("//a", ["a"]),
])
def test_paths_are_cut_outside_of_brackets(label: str, parts: list[str]) -> None:
    assert path_of(label) == parts


@contextmanager
def _serving(path: Path) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "model_explorer", str(path), "--no_open_in_browser", "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            until = time.monotonic() + 120
            while True:
                try:
                    urllib.request.urlopen(f"http://localhost:{port}/").close()
                    break
                except OSError:
                    assert time.monotonic() < until and server.poll() is None, "Model Explorer did not start"
                    time.sleep(0.2)
            yield f"http://localhost:{port}/"
        finally:
            server.terminate()


def test_its_own_page_opens_the_graph_with_the_data(tab: Callable[..., Any], exported: Path) -> None:
    data = [str(exported.with_suffix(f".{kind}.json")) for kind in (*NUMBERS, *TEXTS)]
    asked = {"models": [{"url": str(exported)}], "nodeData": data, "nodeDataTargets": [""] * len(data)}
    [graph] = _graphs(exported)
    with _serving(exported) as server, tab() as shown:
        shown.page.goto(f"{server}?data={urllib.parse.quote(json.dumps(asked))}")
        shown.page.wait_for_selector(f"text={len(graph.nodes)} nodes", timeout=120_000)
        shown.page.wait_for_selector("text=Aggregated stats", timeout=120_000)
        told = shown.text("body")
        assert all(Path(name).name in told for name in data)
        assert "op node count" in told
        # It looks for a newer version of itself on the network, which is not what is tested.
        assert [error for error in shown.errors if "GL Driver" not in error and "ERR_" not in error] == []
