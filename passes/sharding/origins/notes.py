"""What Shardy noted while it propagated: at which step which axis went by which op from where to where.

  step-3 = [{"x" = operand-0 -> [result-0]}]
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from passes import _mlir
from passes.program.walk import operations
from passes.sharding.flow import Flow, Output, Tensor, neighbours, tensor_of
from passes.sharding.keep_edges import EDGES
from passes.sharding.mesh import Axis
from passes.sharding.op_rules import RULE
from passes.sharding.origins.layouts import Layouts
from passes.sharding.sharding_rule import Rule, decode

# The op that puts a tensor into a sharding group.
GROUP = "sdy.sharding_group"

_NOTE = re.compile(
    r'step-(?P<step>\d+) = \[|"(?P<axis>(?:[^"\\]|\\.)*)"(?::\((?P<pre>\d+)\)(?P<size>\d+))? = '
    r"(?P<kind>operand|result)-(?P<index>\d+) -> \[(?P<targets>[^\]]*)\]"
)
_TARGET = re.compile(r"(operand|result)-(\d+)")

# Round (there are two, see `propagate`) and step in it.
Time = tuple[int, int]
START: Time = (-1, -1)
END: Time = (1 << 30, 0)
# For hops whose time was not noted.
FIRST: Time = (-1, 0)
LAST: Time = (1 << 29, 0)


def when(time: Time) -> str:
    """A time in words; the second round is what priorities left undone."""
    if time in (FIRST, LAST):
        return "at first" if time == FIRST else "at last"
    round, step = time
    return f"step {step}" if not round else f"step {step} of round {round + 1}"


@dataclass(frozen=True)
class Note:
    """At ``time``, ``axis`` went from tensor ``source`` to ``target`` by op ``op``.

    Both are ``(kind, index)``: operand or result, and which.
    """

    time: Time
    axis: Axis
    op: Any
    source: tuple[str, int]
    target: tuple[str, int]


@dataclass
class Notes:
    """Finds the notes about a tensor in a propagated module."""

    layouts: Layouts
    flow: Flow = field(default_factory=Flow)
    _known: dict[Any, tuple[Note, ...]] = field(default_factory=dict)

    def arrivals(self, tensor: Tensor) -> Iterator[Note]:
        """The notes whose target is ``tensor``."""
        seen = set()
        for op in neighbours(tensor):
            if op in seen:
                continue
            seen.add(op)
            for note in self._at(op):
                if self.at(op, note.target) == tensor:
                    yield note

    def _at(self, op: Any) -> tuple[Note, ...]:
        """What was noted at ``op``."""
        if op not in self._known:
            attributes = op.attributes
            self._known[op] = tuple(self._parse(attributes[EDGES], op)) if EDGES in attributes else ()
        return self._known[op]

    def of_results(self, function: Any) -> tuple[Note, ...]:
        """What was noted about the results of ``function``."""
        if function not in self._known:
            kept = [a[EDGES] for a in self.layouts.signature(function, "res_attrs") if EDGES in a]
            output = Output(function, 0)
            self._known[function] = tuple(note for attribute in kept for note in self._parse(attribute, output))
        return self._known[function]

    def _parse(self, kept: Any, op: Any) -> Iterator[Note]:
        for round, text in enumerate(_mlir.ir.ArrayAttr(kept)):
            step = 0
            for found in _NOTE.finditer(_mlir.ir.StringAttr(text).value):
                if found["step"] is not None:
                    step = int(found["step"])
                    continue
                source = (found["kind"], int(found["index"]))
                targets = [(kind, int(index)) for kind, index in _TARGET.findall(found["targets"])]
                axis = self._axis(found, op, targets[0])
                yield from (Note((round, step), axis, op, source, target) for target in targets)

    def _axis(self, found: re.Match[str], op: Any, target: tuple[str, int]) -> Axis:
        """The axis of a note, whole or a part; of meshes that share its name, of the mesh ``target`` lies on."""
        name = found["axis"]
        if found["pre"]:
            return Axis(name, int(found["pre"]), int(found["size"]))
        wholes = {mesh.axis(name) for mesh in self.layouts.meshes.values() if name in mesh.sizes}
        if len(wholes) == 1:
            return next(iter(wholes))
        return self.layouts.mesh_of(self.layouts.sharding(self.at(op, target))).axis(name)

    def at(self, op: Any, place: tuple[str, int]) -> Tensor:
        """Operand or result ``place`` of ``op``, or member of the sharding group it is about."""
        kind, index = place
        if isinstance(op, Output):
            return op if kind == "result" else self.flow.returned(op)
        if kind == "member":
            return self.members(op)[index]
        return self.flow.operand(op, index) if kind == "operand" else tensor_of(op.results[index])

    def rule(self, op: Any) -> Rule | None:
        """The sharding rule of ``op``, if it has one."""
        if isinstance(op, Output) or RULE not in op.attributes:
            return None
        return decode(op.attributes[RULE])[0]

    def members(self, group: Any) -> list[Tensor]:
        """The tensors of a sharding group, from any of its ops."""
        return self._groups[_mlir.ir.IntegerAttr(group.attributes["group_id"]).value]

    @cached_property
    def _groups(self) -> dict[int, list[Tensor]]:
        found: dict[int, list[Tensor]] = {}
        for op in operations(self.layouts.program.module):
            if op.name == GROUP:
                members = found.setdefault(_mlir.ir.IntegerAttr(op.attributes["group_id"]).value, [])
                members.append(tensor_of(op.operands[0]))
        return found
