"""The ops and tensors of a per-device program as columns of plain data, which the page and the graphs are made from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from passes import _mlir
from passes.cost.graph import Body, Node
from passes.cost.tables import Row
from passes.program.entry import arguments, find_entry
from passes.report.chains import Chains
from passes.report.subject import ARGUMENT, Source, Subject
from passes.sharding.answers import NotTaken
from passes.sharding.flow import Tensor, tensor_of
from passes.sharding.origins.conflicts import all_conflicts

# Whose blocks have the op's operands as arguments, first to first.
_TAKES_OPERANDS = frozenset({"stablehlo.while", "sdy.manual_computation", "sdy.named_computation"})


@dataclass(frozen=True, slots=True)
class TensorRow:
    """An argument of the entry function or a result of an op.

    Attributes:
      name: As the program that was read calls it; may be empty.
      type: On the device: ``f32[8x16]``.
      spec: How it lies; empty if that is not known.
      bytes: On the device.
      op: The position of the op that makes it; -1 for an argument.
      chains: For each axis: dimension, axis, position of the last link (`chains.Chains`).
      missed: What it might have got from others and did not, as positions in `Rows.conflicts`.
    """

    name: str
    type: str
    spec: str
    bytes: int
    op: int
    chains: list[tuple[int, str, int]]
    missed: Sequence[int] = ()


@dataclass(frozen=True, slots=True)
class OpRow:
    """An op of the text.

    Attributes:
      name: Without the dialect, if that is StableHLO.
      label: The name its location carries.
      where: Its place in a file.
      parent: The position of the op it is inside of; -1 at the top of a function.
      function: The function it is in; empty for the entry function.
      cost: What all its runs cost; ``None`` if nothing.
      reads: The tensors it reads.
      first, count: Its results among the tensors.
      callee: The function it calls.
      reason: The number of the planned collective that it is or was made from; 0 for none.
    """

    name: str
    label: str
    where: str
    parent: int
    function: str
    cost: Row | None
    reads: tuple[int, ...]
    first: int
    count: int
    callee: str
    reason: int


@dataclass
class Rows:
    """A program as rows.

    Attributes:
      tensors: The arguments, then what ops make.
      ops: In order of the text, ops inside others behind them.
      tensor_of: Value of the graph -> tensor.
      timeline: The ops of the entry function, as positions in ``ops``.
      chains: Why tensors lie as they do; ``None`` if that is not known.
      conflicts: What tensors did not take.
    """

    tensors: list[TensorRow] = field(default_factory=list)
    ops: list[OpRow] = field(default_factory=list)
    tensor_of: dict[int, int] = field(default_factory=dict)
    timeline: list[int] = field(default_factory=list)
    chains: Chains | None = None
    conflicts: list[NotTaken] = field(default_factory=list)


def rows(subject: Subject) -> Rows:
    """The rows of ``subject``."""
    reader = _Reader(subject)
    reader.arguments()
    graph = subject.graph
    reader.body(graph.entry, -1, "")
    for name, body in graph.functions.items():
        reader.body(body, -1, name)
    return reader.rows


class _Reader:
    def __init__(self, subject: Subject) -> None:
        self._subject, self._graph = subject, subject.graph
        self.rows = Rows(chains=Chains(subject.teller) if subject.teller is not None else None)
        self._costs: dict[int, Row] = {}
        for cost in subject.cost.estimate.ops:
            self._costs.setdefault(id(cost.node), Row("")).add(cost)
        self._places: dict[Any, tuple[str, str]] = {}
        self._chains: dict[tuple[int, int], list[tuple[int, str, int]]] = {}
        teller, explainer = subject.teller, subject.explainer
        self._arguments: list[Tensor] = []
        self._conflicts = all_conflicts(teller.origins.chains) if teller is not None else {}
        self._missed: dict[Tensor, range] = {}
        if teller is not None and explainer is not None:
            self._arguments = explainer.of_signature(teller.origins, "argument")

    def arguments(self) -> None:
        """The arguments of the entry function, as tensors."""
        subject, graph = self._subject, self._graph
        table = subject.table.arguments if subject.table is not None else None
        function = find_entry(subject.cost.program, None if subject.cost.partitioning else subject.entry)
        for position, (value, known) in enumerate(zip(graph.entry.arguments, arguments(function), strict=True)):
            name = table[position].name if table is not None else known.name
            spec = table[position].sharding.spec() if table is not None else ""
            source = (ARGUMENT, position)
            ends, missed = self._chains_of(source), self._missed_by(source)
            self._add(value, TensorRow(name, self._type(value), spec, graph.bytes[value], -1, ends, missed))

    def body(self, body: Body, parent: int, function: str) -> None:
        """The ops of a block and of the blocks inside them."""
        top = parent == -1 and not function
        for node in body.nodes:
            position = len(self.rows.ops)
            if top:
                self.rows.timeline.append(position)
            self._op(node, position, parent, function)
            for inner in node.bodies:
                if node.name in _TAKES_OPERANDS:
                    # An argument of a loop is what the loop carries, which its results are.
                    outside = node.results if node.name == "stablehlo.while" else node.operands
                    known = self.rows.tensor_of
                    known.update({v: known[o] for v, o in zip(inner.arguments, outside, strict=True) if o in known})
                self.body(inner, position, function)

    def _op(self, node: Node, position: int, parent: int, function: str) -> None:
        source = self._subject.sources.get(id(node))
        first, known = len(self.rows.tensors), self.rows.tensor_of
        if node.callee:
            callee = self._graph.functions[node.callee]
            known.update({v: known[o] for v, o in zip(callee.arguments, node.operands, strict=True) if o in known})
        names = self._names(node, source)
        for index, value in enumerate(node.results):
            held = source.values[index] if source is not None and source.values else None
            self._add(value, TensorRow(
                names[index], self._type(value), source.specs[index] if source is not None and source.specs else "",
                self._graph.bytes[value], position, self._chains_of(held) if held is not None else [],
                self._missed_by(held) if held is not None else (),
            ))
        label, where = self._place(node.op.location)
        reads = tuple(dict.fromkeys(known[v] for v in node.operands if v in known))
        self.rows.ops.append(OpRow(
            node.name.removeprefix("stablehlo."), label, where, parent, function, self._costs.get(id(node)), reads,
            first, len(node.results), node.callee, (source.reason or 0) if source is not None else 0,
        ))

    def _add(self, value: int, row: TensorRow) -> None:
        self.rows.tensor_of[value] = len(self.rows.tensors)
        self.rows.tensors.append(row)

    def _type(self, value: int) -> str:
        graph = self._graph
        return f"{graph.elements[value]}[{'x'.join(map(str, graph.shapes[value]))}]" if graph.elements[value] else ""

    def _names(self, node: Node, source: Source | None) -> list[str]:
        if source is None or len(node.results) > max(len(source.names), len(source.values)):
            return [""] * len(node.results)
        return list(source.names) or [self._name(value) for value in source.values]

    def _name(self, value: tuple[int, int] | None) -> str:
        teller = self._subject.teller
        if value is None or teller is None:
            return ""
        number, result = value
        if number == ARGUMENT:
            return teller.signature["argument"][result].name
        return teller.names[number][result]

    def _chains_of(self, value: tuple[int, int]) -> list[tuple[int, str, int]]:
        if self.rows.chains is None:
            return []
        if value not in self._chains:
            tensor = self._tensor(value)
            self._chains[value] = self.rows.chains.of(tensor) if tensor is not None else []
        return self._chains[value]

    def _missed_by(self, value: tuple[int, int]) -> Sequence[int]:
        tensor = self._tensor(value) if self._conflicts else None
        if tensor is None or tensor not in self._conflicts:
            return ()
        if tensor not in self._missed:
            assert self._subject.teller is not None
            first = len(self.rows.conflicts)
            found = [self._subject.teller.not_taken(tensor, conflict) for conflict in self._conflicts[tensor]]
            self.rows.conflicts += found
            self._missed[tensor] = range(first, first + len(found))
        return self._missed[tensor]

    def _tensor(self, value: tuple[int, int]) -> Tensor | None:
        """A value of the program as it was read, in the propagated program."""
        number, result = value
        if number == ARGUMENT:
            return self._arguments[result]
        assert self._subject.teller is not None
        copies = self._subject.teller.origins.copies.get(number)
        return tensor_of(copies[0].results[result]) if copies else None

    def _place(self, location: Any) -> tuple[str, str]:
        if location not in self._places:
            program = self._subject.cost.program
            where = str(program.in_file(_mlir.where_of(location)) or "")
            self._places[location] = (_mlir.name_of(location), where)
        return self._places[location]
