"""What the page shows, as JSON: columns of numbers, with every text in one list that they point into.

  {"strings": ["add", ...], "ops": {"name": [0, ...], "seconds": [1.2e-6, ...]}, ...}
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from passes.cost import tables
from passes.cost.program_cost import ProgramCost
from passes.partition.reasons import Reason
from passes.partition.reasons import Source as Origin
from passes.pipeline.collection import uncollected
from passes.report.difference import Difference
from passes.report.program_rows import OpRow, Rows, TensorRow, rows
from passes.report.subject import Subject
from passes.sharding.answers import NotTaken

# Rows of a table by place.
_PLACES = 400


@dataclass
class _Texts:
    """Texts by number; each is kept once."""

    found: dict[str, int] = field(default_factory=dict)

    def __call__(self, text: str) -> int:
        return self.found.setdefault(text, len(self.found))


def page_data(
    subject: Subject, title: str, others: dict[str, ProgramCost], difference: Difference | None = None
) -> dict[str, Any]:
    """Everything on the page.

    Args:
      subject: The program the page is about.
      title: What it is called.
      others: Programs and plans to compare it with, by title.
      difference: What became of the program on the way, if that is to be shown.
    """
    with uncollected():
        texts = _Texts()
        program = rows(subject)
        data = {
            "title": title,
            "source": subject.cost.program.source,
        "devices": subject.cost.devices,
            "device": {
                "title": subject.cost.device.title, "source": subject.cost.device.source,
                "memory": subject.cost.device.memory,
            },
            "mesh": _mesh(subject),
            "totals": _totals({title: subject.cost}),
            "remarks": _remarks(subject),
            "comparison": _totals({title: subject.cost, **others}) if others else None,
            "signature": _signature(subject),
            "tensors": _columns(program.tensors, _TENSOR, texts),
            "ops": _columns(program.ops, _OP, texts),
            "memory": _memory(subject, program),
            "time": _time(subject),
            "collectives": [_reason(reason) for reason in subject.reasons],
            "chains": _chains(program, texts),
            "conflicts": _columns(program.conflicts, _CONFLICT, texts),
            "difference": difference.to_json() if difference is not None else None,
        }
    return data | {"strings": list(texts.found)}


def _mesh(subject: Subject) -> dict[str, Any] | None:
    mesh = subject.mesh
    return None if mesh is None else {"axes": [list(axis) for axis in mesh.axes], "devices": list(mesh.devices)}


def _totals(costs: dict[str, ProgramCost]) -> dict[str, Any]:
    return {
        "titles": list(costs),
        "rows": [
            [total.title, total.unit, [total.of(cost) for cost in costs.values()]] for total in tables.TOTALS
        ],
    }


def _remarks(subject: Subject) -> list[str]:
    """What a reader has to know about the figures."""
    estimate, report = subject.cost.estimate, subject.cost.partitioning
    found = []
    if unknown := len(estimate.graph.unknown_loops):
        found.append(f"{unknown} loops do not say how often they run; each is counted as if asked to run --loop-runs")
    if report is not None:
        found += [f"replicated around {r.op} at {r.where or 'no location'}: {r.reason}" for r in report.replicated]
        found += [f"not split: {dropped}" for dropped in report.propagation.dropped]
        found += map(str, report.padding)
        found += [f"donation dropped: {n}, whose result has another local type" for n in report.unaliased]
        found += [str(flat) for flat in report.flat]
    return found


def _signature(subject: Subject) -> list[list[Any]]:
    """The type as a whole of each argument and result; of results (which are no tensors of ops) everything else too."""
    if subject.table is None:
        return []
    sizes = [subject.graph.bytes[v] for v in subject.graph.entry.returned]
    whole = [[_type(e.dtype, e.global_shape)] for e in subject.table.arguments]
    return whole + [
        [_type(e.dtype, e.global_shape), e.name, _type(e.dtype, e.local_shape), e.sharding.spec(), size]
        for e, size in zip(subject.table.results, sizes, strict=True)
    ]


def _type(dtype: str, shape: Sequence[int]) -> str:
    return f"{dtype}[{'x'.join(map(str, shape))}]"


# -- columns -----------------------------------------------------------------------------------------------------------

_TENSOR: dict[str, Callable[[TensorRow], Any]] = {
    "name": lambda t: t.name, "type": lambda t: t.type, "spec": lambda t: t.spec, "bytes": lambda t: t.bytes,
    "op": lambda t: t.op, "chains": lambda t: t.chains, "missed": lambda t: list(t.missed),
}
_CONFLICT: dict[str, Callable[[NotTaken], Any]] = {
    "axes": lambda c: ", ".join(c.axes), "dimension": lambda c: c.dimension, "other": lambda c: c.neighbour,
    "other_dimension": lambda c: c.neighbour_dimension, "since": lambda c: c.since, "op": lambda c: c.op,
    "where": lambda c: c.where, "rule": lambda c: f"factor {c.factor} of {c.rule}", "because": lambda c: c.because,
}
_OP: dict[str, Callable[[OpRow], Any]] = {
    "name": lambda o: o.name, "label": lambda o: o.label, "where": lambda o: o.where, "parent": lambda o: o.parent,
    "function": lambda o: o.function, "reads": lambda o: o.reads, "first": lambda o: o.first,
    "count": lambda o: o.count, "reason": lambda o: o.reason,
    "runs": lambda o: o.cost.runs if o.cost else 0,
    "flops": lambda o: o.cost.flops if o.cost else 0,
    "traffic": lambda o: o.cost.traffic if o.cost else 0,
    "sent": lambda o: round(o.cost.sent) if o.cost else 0,
    # Nanoseconds to three digits behind the point.
    "time": lambda o: round(o.cost.seconds * 1e9, 3) if o.cost else 0,
}


def _columns(found: Iterable[Any], columns: dict[str, Callable[[Any], Any]], texts: _Texts) -> dict[str, list[Any]]:
    found = list(found)
    made = {name: [column(row) for row in found] for name, column in columns.items()}
    for name, column in made.items():
        if any(isinstance(cell, str) for cell in column[:1]):
            made[name] = [texts(cell) for cell in column]
        elif name == "chains":
            made[name] = [[[dim, texts(axis), link] for dim, axis, link in cell] for cell in column]
    return made


def _chains(program: Rows, texts: _Texts) -> dict[str, list[int]] | None:
    """The links of all chains: what came before, and the words."""
    if program.chains is None:
        return None
    links = program.chains.links
    return {
        "parent": program.chains.parents,
        "when": [texts(link.when) for link in links],
        "tensor": [texts(link.tensor) for link in links],
        "dimension": [link.dimension for link in links],
        "how": [texts(link.how) for link in links],
        "where": [texts(link.where) for link in links],
    }


# -- figures -----------------------------------------------------------------------------------------------------------


def _memory(subject: Subject, program: Rows) -> dict[str, Any]:
    memory = subject.cost.estimate.memory
    known = program.tensor_of
    return {
        "peak": memory.peak, "arguments": memory.arguments, "results": memory.results, "constants": memory.constants,
        "ops": program.timeline,
        "bytes": memory.timeline,
        "lifetimes": [[known.get(value, -1), first, last] for value, first, last in memory.lifetimes],
        "held": [[known.get(held.value, -1), held.bytes] for held in memory.held],
    }


def _time(subject: Subject) -> dict[str, Any]:
    estimate = subject.cost.estimate
    return {
        "by_op": _rows(tables.by_op(estimate.ops)),
        "by_place": _rows(tables.by_place(estimate.ops, subject.cost.program)[:_PLACES]),
        "by_collective": _rows(tables.collectives(estimate.ops)),
    }


def _rows(found: Iterable[tables.Row]) -> list[list[Any]]:
    return [[r.name, r.ops, r.runs, r.flops, r.traffic, round(r.sent), r.seconds] for r in found]


def _reason(reason: Reason) -> list[Any]:
    """Kind, axes, devices of a group, bytes, what moves, from, to, for what, and the operands of what is summed."""
    before = "summands" if reason.reduced else reason.before.spec() if reason.before is not None else ""
    return [
        reason.kind, ",".join(reason.axes), reason.group, reason.bytes, origin_text(reason.value), before,
        reason.after.spec() if reason.after is not None else "", origin_text(reason.needed_by), list(reason.summands),
    ]


def origin_text(origin: Origin | None) -> str:
    """An op, argument or result of the program as it was read, in words; empty if it is not known."""
    if origin is None:
        return ""
    if origin.op in ("argument", "result"):
        return f"{origin.op} {origin.index}"
    place = " ".join(part for part in (str(origin.where or ""), origin.label) if part)
    return f"{origin.op.removeprefix('stablehlo.')}{f' at {place}' if place else ''}"
