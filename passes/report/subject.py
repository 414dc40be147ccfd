"""What a report is about: the program of one device with its costs, and for each of its ops where it comes from.

An annotated program is partitioned with its trace. What ends partitioning (equal ops become one, collectives fewer)
would lose the trace, so every op carries it in its location meanwhile: the figures are those of `shlo cost`, and each
op still knows the value of the program as it was read that it holds.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from passes import _mlir
from passes.cost.device import Device
from passes.cost.estimate import estimate
from passes.cost.graph import Body, Graph, read_graph
from passes.cost.program_cost import ProgramCost, devices_of, flops_alone, inline, is_global, legalize
from passes.partition.improve import improvements
from passes.partition.partition import partition
from passes.partition.reasons import Reason, reasons
from passes.partition.report import Report
from passes.partition.side_table import SideTable
from passes.partition.summary import COLLECTIVES
from passes.partition.trace import Held, held, number_of, remove_marks
from passes.pipeline import runner
from passes.pipeline.collection import uncollected
from passes.program import read, write
from passes.program.read import Program
from passes.program.value_names import ValueNames
from passes.program.walk import operations
from passes.sharding.explain import Explainer
from passes.sharding.mesh import Mesh
from passes.sharding.origins.marks import MARK, mark_of
from passes.sharding.propagate import PropagateOptions
from passes.sharding.wording import Teller

# In place of the number of an op, for arguments of the entry function.
ARGUMENT = -1
_TAG = "shlo.source "


@dataclass(frozen=True)
class Source:
    """What an op of the per-device program comes from.

    Attributes:
      location: Where it is in the program as it was read.
      values: For each result, the number of the op (`marks.MARK`) and which of its results it holds a part of, if that
        is known; `ARGUMENT` and which argument, for what moves one.
      specs: For each result how it lies; empty where that is not known.
      reason: The number of the planned collective that it is, or was made from.
      names: Of a program that was not partitioned here, which has no ``values``: how it calls the results.
    """

    location: Any
    values: tuple[tuple[int, int] | None, ...] = ()
    specs: tuple[str, ...] = ()
    reason: int | None = None
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Subject:
    """A program to report on.

    Attributes:
      cost: The program of one device and what it costs.
      table: How arguments and results lie; ``None`` for a program of one device, or if that is not known.
      sources: Where each op comes from, by the id of its node.
      reasons: Why there are collectives, by number from 1, as planned.
      teller: Has the words for why tensors lie as they do.
      explainer: Knows which tensors the arguments and results are.
      entry: Its entry function; ``None`` finds it.
    """

    cost: ProgramCost
    table: SideTable | None
    sources: dict[int, Source] = field(default_factory=dict)
    reasons: list[Reason] = field(default_factory=list)
    teller: Teller | None = None
    explainer: Explainer | None = None
    entry: str | None = None

    @property
    def mesh(self) -> Mesh | None:
        """The mesh, if there is one."""
        return self.table.mesh if self.table is not None else None

    @property
    def graph(self) -> Graph:
        """The program of one device."""
        return self.cost.estimate.graph


@dataclass(frozen=True)
class Settings:
    """How to cost and partition.

    Attributes:
      device, topology, unknown_runs: See `program_cost.cost`.
      entry: The entry function; ``None`` finds it.
      propagation: How to propagate.
    """

    device: Device
    topology: str | None = None
    unknown_runs: int = 1
    entry: str | None = None
    propagation: PropagateOptions | None = None


def subject(
    program: Program, settings: Settings, explainer: Explainer | None = None, table: SideTable | None = None
) -> Subject:
    """Makes a subject of ``program``, which is used up.

    Args:
      program: A per-device program, an annotated one, or one for one device.
      settings: How.
      explainer: Of an annotated program, made before it was annotated.
      table: How the arguments of a per-device program lie, if that is known.

    Raises:
      UserError: the program cannot be partitioned, or a tensor has a dynamic shape.
    """
    with uncollected():
        return _subject(program, settings, explainer, table)


def _subject(program: Program, settings: Settings, explainer: Explainer | None, table: SideTable | None) -> Subject:
    count = devices_of(program.module)
    if is_global(program):
        return _partitioned(program, settings, explainer or Explainer(program, settings.entry))
    tags = _tag_names(program)
    legalize(program)
    inline(program)
    graph = read_graph(program, settings.entry, settings.unknown_runs)
    sources = _untag(graph, tags)
    found = estimate(graph, settings.device, settings.topology, settings.entry)
    cost = ProgramCost(program, settings.device, found, count, found.flops if count == 1 else None, None)
    return Subject(cost, table, sources, entry=settings.entry)


def _partitioned(program: Program, settings: Settings, explainer: Explainer) -> Subject:
    whole = flops_alone(program, settings.entry, settings.unknown_runs)
    local = read.parse(write.to_bytecode(program.module), program.source)
    report = partition(local, settings.entry, trace=True, options=settings.propagation)
    why = reasons(local, report)
    tags = _tag(local, report)
    runner.run(local, f"builtin.module({','.join(own.to_text() for own in improvements())})")
    legalize(local)
    inline(local)
    graph = read_graph(local, None, settings.unknown_runs)
    sources = _untag(graph, tags)
    found = estimate(graph, settings.device, settings.topology)
    cost = ProgramCost(local, settings.device, found, report.side_table.mesh.device_count, whole, report)
    teller = explainer.teller(settings.propagation)
    return Subject(cost, report.side_table, sources, why, teller, explainer)


# -- where ops come from -----------------------------------------------------------------------------------------------


def _tag(program: Program, report: Report) -> list[Source]:
    """Moves what is known of each op of a traced program into its location; the marks are gone afterwards."""
    marks = _marks(report)
    found: list[Source] = []
    # Shardings are the same objects where they are the same.
    known: dict[int, str] = {}
    planned = 0
    for op in operations(program.module):
        if not len(op.results):
            continue
        number = None
        if op.name in COLLECTIVES:
            planned += 1
            number = planned
        results = held(op, report.side_table.mesh)
        values = tuple(_value(h, marks) for h in results)
        for h in results:
            if h is not None and id(h.sharding) not in known:
                known[id(h.sharding)] = h.sharding.spec()
        specs = tuple([known[id(h.sharding)] if h is not None else "" for h in results])
        _put_tag(op, Source(op.location, values, specs, number), found)
    remove_marks(program.module)
    for op in operations(program.module):
        if MARK in op.attributes:
            del op.attributes[MARK]
    return found


def _tag_names(program: Program) -> list[Source]:
    """Keeps the names of values, which change where calls are inlined."""
    names = ValueNames(program)
    found: list[Source] = []
    for op in operations(program.module):
        if len(op.results):
            _put_tag(op, Source(op.location, names=tuple(names.of_results(op))), found)
    return found


def _put_tag(op: Any, source: Source, found: list[Source]) -> None:
    op.location = _mlir.ir.Location.name(f"{_TAG}{len(found)}", op.location, context=_mlir.context())
    found.append(source)


def _value(result: Held | None, marks: dict[int | None, int]) -> tuple[int, int] | None:
    if result is None:
        return None
    if result.number is None:
        return ARGUMENT, result.result
    return (marks[result.number], result.result) if result.number in marks else None


def _marks(report: Report) -> dict[int | None, int]:
    """Number of an op of the planned program -> its number in the program as it was read."""
    assert report.numbered is not None
    module = read.parse(report.numbered).module
    found: dict[int | None, int] = {}
    for op in operations(module):
        mark = mark_of(op)
        if mark is not None:
            found[number_of(op)] = mark
    return found


def _untag(graph: Graph, tags: list[Source]) -> dict[int, Source]:
    """Gives ops their locations back; what was found of each that is in the graph, by the id of its node.

    An op cannot be the key: its hash changes with its location.
    """
    found = {}
    stack: list[Body] = [graph.entry, *graph.functions.values()]
    while stack:
        for node in stack.pop().nodes:
            stack += node.bodies
            if (source := _tagged(node.op, tags)) is not None:
                found[id(node)] = source
    for op in operations(graph.program.module):
        if (source := _tagged(op, tags)) is not None:
            op.location = source.location
    return found


def _tagged(op: Any, tags: list[Source]) -> Source | None:
    name = _mlir.name_of(op.location)
    return tags[int(name.removeprefix(_TAG))] if name.startswith(_TAG) else None
