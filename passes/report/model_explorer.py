"""The program as graphs for Model Explorer, and what each op costs as node data beside them.

One graph for each function, one node for each op and argument, inside the groups that the names of its place make. Node
data has numbers (bytes, time, FLOPs, bytes sent) that colour the graph, and texts (sharding, origin).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from passes.pipeline.collection import uncollected
from passes.program.entry import find_entry, symbol_name
from passes.report.data import origin_text
from passes.report.program_rows import OpRow, Rows, rows
from passes.report.subject import Subject

_GRADIENT = [{"stop": 0, "bgColor": "#fff7ec"}, {"stop": 0.5, "bgColor": "#fdbb84"}, {"stop": 1, "bgColor": "#d7301f"}]
_MOST_ATTRIBUTES = 40


def files(subject: Subject, path: Path) -> dict[str, str]:
    """File name -> content: the graphs at ``path``, and beside it one file for each kind of node data."""
    with uncollected():
        program = rows(subject)
        entry = None if subject.cost.partitioning else subject.entry
        main = symbol_name(find_entry(subject.cost.program, entry))
        functions = ("", *subject.graph.functions)
        found: dict[str, Any] = {str(path): [_graph(subject, program, name, main) for name in functions]}
        for name, data in _node_data(subject, program, main).items():
            found[str(path.with_suffix(f".{name}.json"))] = data
    return {name: json.dumps(data, ensure_ascii=False, separators=(",", ":")) for name, data in found.items()}


def _graph(subject: Subject, program: Rows, function: str, main: str) -> dict[str, Any]:
    nodes: list[dict[str, Any]] = [] if function else [
        {
            "id": _argument(number), "label": tensor.name or f"argument {number}", "namespace": "arguments",
            "attrs": _attributes({"type": tensor.type, "sharding": tensor.spec, "bytes": f"{tensor.bytes:,}"}),
            "outputsMetadata": [_output(program, number, 0)],
        }
        for number, tensor in enumerate(program.tensors) if tensor.op < 0
    ]
    nodes += [
        _node(subject, program, position, op) for position, op in enumerate(program.ops) if op.function == function
    ]
    return {"id": function or main, "nodes": nodes}


def _node(subject: Subject, program: Rows, position: int, op: OpRow) -> dict[str, Any]:
    cost = op.cost
    return {
        "id": f"op{position}",
        "label": op.name,
        "namespace": "/".join(namespace(program, op)),
        "subgraphIds": [op.callee] if op.callee else [],
        "attrs": _attributes({
            "value": program.tensors[op.first].name if op.count else "",
            "place": op.label, "at": op.where, "origin": _origin(subject, program, op),
            "runs": f"{cost.runs:,}" if cost else "", "FLOPs": f"{cost.flops:,}" if cost else "",
            "bytes from and to memory": f"{cost.traffic:,}" if cost else "",
            "bytes sent": f"{cost.sent:,.0f}" if cost else "", "seconds": f"{cost.seconds:.3g}" if cost else "",
        }),
        "incomingEdges": [
            _edge(program, tensor, number) for number, tensor in enumerate(op.reads)
            if _function(program, tensor) == op.function
        ],
        "outputsMetadata": [
            _output(program, op.first + number, number) for number in range(min(op.count, _MOST_ATTRIBUTES))
        ],
    }


def _function(program: Rows, tensor: int) -> str:
    """The function whose graph has the node that makes ``tensor``."""
    maker = program.tensors[tensor].op
    return program.ops[maker].function if maker >= 0 else ""


def _edge(program: Rows, tensor: int, number: int) -> dict[str, str]:
    maker = program.tensors[tensor].op
    source = _argument(tensor) if maker < 0 else f"op{maker}"
    output = 0 if maker < 0 else tensor - program.ops[maker].first
    return {"sourceNodeId": source, "sourceNodeOutputId": str(output), "targetNodeInputId": str(number)}


def _output(program: Rows, tensor: int, number: int) -> dict[str, Any]:
    row = program.tensors[tensor]
    return {"id": str(number), "attrs": _attributes({
        "tensor_name": row.name, "tensor_shape": row.type, "sharding": row.spec, "bytes": f"{row.bytes:,}",
    })}


def _argument(number: int) -> str:
    return f"argument{number}"


def _attributes(found: dict[str, str]) -> list[dict[str, str]]:
    return [{"key": key, "value": value} for key, value in found.items() if value]


def namespace(program: Rows, op: OpRow) -> list[str]:
    """The groups that ``op`` is in: the names of its place but the last, or else the ops it is inside of."""
    if op.label:
        return path_of(op.label)[:-1]
    outer: list[str] = []
    at = op.parent
    while at >= 0:
        outer.insert(0, f"{program.ops[at].name} {at}")
        at = program.ops[at].parent
    return outer


def path_of(label: str) -> list[str]:
    """The parts of a name like ``jit(f)/layer/dot``; slashes inside brackets are part of a name."""
    parts, depth = [""], 0
    for character in label:
        depth += (character in "([") - (character in ")]" and depth > 0)
        if character == "/" and not depth:
            parts.append("")
        else:
            parts[-1] += character
    return [part for part in parts if part]


def _origin(subject: Subject, program: Rows, op: OpRow) -> str:
    """Why a collective is there, or which values of the program as it was read an op stands for."""
    if op.reason:
        reason = subject.reasons[op.reason - 1]
        needed = f" for {origin_text(reason.needed_by)}" if reason.needed_by is not None else ""
        return f"{origin_text(reason.value)}{needed}"
    return program.tensors[op.first].name if op.count else ""


def _node_data(subject: Subject, program: Rows, main: str) -> dict[str, dict[str, Any]]:
    def numbers(of: Callable[[OpRow], float]) -> dict[str, Any]:
        return _by_graph(program, main, lambda op: {"value": of(op)} if of(op) else None, {"gradient": _GRADIENT})

    def texts(of: Callable[[OpRow], str]) -> dict[str, Any]:
        return _by_graph(program, main, lambda op: {"value": of(op)} if of(op) else None, {})

    def made(op: OpRow) -> range:
        return range(op.first, op.first + op.count)

    return {
        "bytes": numbers(lambda op: sum(program.tensors[t].bytes for t in made(op))),
        "seconds": numbers(lambda op: op.cost.seconds if op.cost else 0.0),
        "flops": numbers(lambda op: op.cost.flops if op.cost else 0),
        "sent": numbers(lambda op: op.cost.sent if op.cost else 0.0),
        "sharding": texts(lambda op: program.tensors[op.first].spec if op.count else ""),
        "origin": texts(lambda op: _origin(subject, program, op)),
    }


def _by_graph(
    program: Rows, main: str, of: Callable[[OpRow], dict[str, Any] | None], settings: dict[str, Any]
) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for position, op in enumerate(program.ops):
        value = of(op)
        if value is not None:
            found.setdefault(op.function or main, {"results": {}, **settings})["results"][f"op{position}"] = value
    return found
