"""Says in words why a tensor lies as it does: the chain of each axis back to an annotation, and what it did not take.

  dimension 0 of 8 is split over 'x':
    given   argument 0 'a', dimension 0                                         rules.toml:4:1
    step 0  %0 (add), dimension 0        add: operand 0 -> result 0, factor i   model.mlir:10:8
    step 1  %1#1 (while), dimension 0    while: carried value 1                 model.mlir:11:10
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from passes import _mlir
from passes.errors import Where
from passes.program.entry import Value
from passes.program.read import Program
from passes.sharding.divisibility import explain_indivisible, shape_text
from passes.sharding.flow import Output, Tensor
from passes.sharding.mesh import Axis, Mesh, sharding_from_attr
from passes.sharding.origins.chains import Chain, Step
from passes.sharding.origins.conflicts import Conflict, conflicts
from passes.sharding.origins.marks import mark_of
from passes.sharding.origins.notes import when
from passes.sharding.origins.record import Origins

# Conflicts that are printed before the rest is counted only, and steps of a chain, half of them from either end.
_CONFLICTS, _STEPS = 8, 40

# One line of a chain: when, what, how, where.
_Row = tuple[str, str, str, str]


def callee(op: Any) -> str:
    """The function a named computation is a call of."""
    return str(_mlir.ir.StringAttr(op.attributes["name"]).value)


@dataclass(frozen=True)
class Teller:
    """Finds the words for tensors, ops and steps; ``full`` prints chains of any length whole."""

    program: Program
    origins: Origins
    names: list[list[str]]
    signature: dict[str, list[Value]]
    given_at: dict[tuple[str, int], Where]
    full: bool = False

    def explain(self, tensor: Tensor, title: str) -> list[str]:
        """What ``tensor`` is, a chain for each axis, and what it did not take."""
        type, attribute = self._type(tensor), self.origins.layouts.sharding(tensor)
        what = f"{title}{self.tensor(tensor)}"
        if not isinstance(type, _mlir.ir.RankedTensorType):
            return [f"{what} is no tensor"]
        described = f"{what}: {type.element_type}[{shape_text(type) if type.rank else ''}]"
        if attribute is None or not any(axes for axes, _ in self.origins.layouts.dims(tensor)):
            lines = [f"{described} is whole on every device: no axis reached it", *self._given_whole(tensor)]
        else:
            sharding = sharding_from_attr(attribute, self.origins.layouts.meshes)
            lines = [f"{described} {sharding.spec()}"]
            for dim, (axes, _) in enumerate(self.origins.layouts.dims(tensor)):
                for axis in axes:
                    lines += ["", *self._chain(self.origins.chains.chain(tensor, axis, dim), type, sharding.mesh)]
            if (problem := explain_indivisible(type, sharding)) is not None:
                lines += ["", f"It {problem}. `shlo shard` takes the axis off again."]
        missed = self._conflicts(tensor, type)
        return [*lines, *(["", *missed] if missed else [])]

    def _given_whole(self, tensor: Tensor) -> list[str]:
        closed = [d for d in range(len(self.origins.layouts.dims(tensor))) if self.origins.layouts.is_closed(tensor, d)]
        if not closed:
            return []
        dims = f"dimension{'s' if len(closed) > 1 else ''} {', '.join(map(str, closed))}"
        return [f"It was annotated as whole: {dims} closed{self._behind(self._given_where(tensor))}."]

    # -- chains ----------------------------------------------------------------------------------------------------

    def _chain(self, chain: Chain, type: Any, mesh: Mesh) -> list[str]:
        rows: list[_Row] = [self._root_row(chain)]
        steps = chain.steps
        if len(steps) > _STEPS and not self.full:
            kept = _STEPS // 2
            rows += [self._row(step) for step in steps[:kept]]
            rows.append(("...", f"{len(steps) - 2 * kept} steps more", "--full shows them", ""))
            steps = steps[-kept:]
        rows += [self._row(step) for step in steps]
        head = f"dimension {chain.dim} of {type.shape[chain.dim]} is split over '{chain.axis.text(mesh)}':"
        return [head, *_aligned(rows)]

    def _root_row(self, chain: Chain) -> _Row:
        what = f"{self.tensor(chain.root)}, dimension {chain.root_dim}"
        if not chain.complete:
            return "from", what, "how it came there was not noted", self._where(chain.root)
        how = f"priority {chain.priority}" if chain.priority else ""
        return "given", what, how, self._given_where(chain.root)

    def _row(self, step: Step) -> _Row:
        target = self.tensor(self.origins.notes.at(step.op, step.target))
        return when(step.time), f"{target}, dimension {step.dim}", self._how(step), self._place(step.op)

    def _how(self, step: Step) -> str:
        if isinstance(step.op, Output):
            return "returned" if step.target[0] == "result" else "from the result back to what is returned"
        if step.op.name == "sdy.sharding_group":
            return "sharding group: its members follow each other"
        if step.rule is None or step.factor is None:
            return self._flow(step.op)
        places = f"{_place_text(step.source)} -> {_place_text(step.target)}"
        return f"{_short(step.op.name)}: {places}, factor {_factor(step.factor)} of {_notation(step.rule)}"

    def _flow(self, edge: Any) -> str:
        """What a data-flow edge stands for."""
        value = edge.operands[0]
        owner = value.owner
        if isinstance(owner, _mlir.ir.Block):
            return f"argument {value.arg_number} of {self._body(owner.owner.operation)}"
        op = owner.operation
        if op.name == "stablehlo.while":
            return f"while: carried value {value.result_number}"
        if op.name in ("sdy.named_computation", "sdy.manual_computation"):
            return f"result {value.result_number} of {self._body(op)}"
        return f"{_short(op.name)}: result {value.result_number}"

    @staticmethod
    def _body(op: Any) -> str:
        return f"the call of @{callee(op)}" if op.name == "sdy.named_computation" else "the manual computation"

    # -- what was not taken ----------------------------------------------------------------------------------------

    def _conflicts(self, tensor: Tensor, type: Any) -> list[str]:
        found = conflicts(self.origins.chains, tensor)
        if not found:
            return []
        lines = ["not taken:"]
        for conflict in found[:_CONFLICTS]:
            lines += self._conflict(tensor, type, conflict)
        if len(found) > _CONFLICTS:
            lines.append(f"  and {len(found) - _CONFLICTS} more")
        return lines

    def _conflict(self, tensor: Tensor, type: Any, conflict: Conflict) -> list[str]:
        mesh = self._mesh(conflict.other)
        axes = _axes(conflict.missed, mesh)
        root = conflict.chain
        return [
            f"  {axes} on dimension {conflict.dim}, which {self.tensor(conflict.other)} has on dimension "
            f"{conflict.other_dim}, {self._since(root)}",
            f"    at {_short(conflict.op.name)}{self._behind(self._place(conflict.op))}, factor "
            f"{_factor(conflict.factor)} of {_notation(conflict.rule)}",
            f"    because {self._reason(tensor, type, conflict)}",
        ]

    def _since(self, chain: Chain) -> str:
        if not chain.steps:
            return "given"
        return f"from {self.tensor(chain.root)} since {when(chain.time)}"

    def _reason(self, tensor: Tensor, type: Any, conflict: Conflict) -> str:
        """Why ``tensor`` has not the axes that its neighbour has."""
        origins, dim, missed = self.origins, conflict.dim, conflict.missed[0]
        name = missed.text(self._mesh(conflict.other))
        dims = [axes for axes, _ in origins.layouts.dims(tensor)]
        own = origins.chains.chain(tensor, dims[dim][0], dim) if dim < len(dims) and dims[dim] else None
        if origins.layouts.is_closed(tensor, dim):
            what = "as whole" if own is None else f"as '{self._axis_text(own)}' alone"
            return f"the dimension was annotated {what}{self._behind(self._given_where(tensor))}"
        if own is not None and own.priority != conflict.chain.priority:
            return (
                f"'{self._axis_text(own)}' has priority {own.priority} and '{name}' priority "
                f"{conflict.chain.priority}; the lower number goes first"
            )
        for other_dim, axes in enumerate(dims):
            if other_dim != dim and (same := next((a for a in axes if a.name == missed.name), None)) is not None:
                since = self._since(origins.chains.chain(tensor, same, other_dim))
                return f"'{name}' splits its dimension {other_dim}, {since}"
        if own is not None:
            order = "was there first" if own.time < conflict.chain.time else "is there"
            return f"'{self._axis_text(own)}' {order}, {self._since(own)}"
        shards = _size(conflict.missed)
        if type.shape[dim] % shards:
            return f"its {type.shape[dim]} elements do not divide by {shards}"
        return f"at this op another dimension or tensor also wants '{name}', and Shardy gives it to neither"

    def _axis_text(self, chain: Chain) -> str:
        return chain.axis.text(self._mesh(chain.root))

    # -- words -----------------------------------------------------------------------------------------------------

    def tensor(self, tensor: Tensor) -> str:
        """A tensor as the user knows it."""
        if isinstance(tensor, Output):
            return self.place("result", tensor.index, 0)
        owner = tensor.owner
        if isinstance(owner, _mlir.ir.Block):
            return self.place("argument", tensor.arg_number, 0)
        op = owner.operation
        index = tensor.result_number
        if op.name == "sdy.data_flow_edge":
            value = op.operands[0]
            if isinstance(value.owner, _mlir.ir.Block):
                return f"argument {value.arg_number} of {self._body(value.owner.owner.operation)}"
            op, index = value.owner.operation, value.result_number
        number = mark_of(op)
        if number is None:
            return f"a {_short(op.name)} that propagation inserted"
        kind = f"call @{callee(op)}" if op.name == "sdy.named_computation" else _short(op.name)
        return f"{self.place('value', index, number)} ({kind})"

    def place(self, kind: str, index: int, number: int) -> str:
        """A value of the program as it was read."""
        if kind == "value":
            return self.names[number][index]
        if kind == "body":
            return f"argument {index} of a manual computation"
        name = self.signature[kind][index].name
        return f"{kind} {index} '{name}'"

    def _where(self, tensor: Tensor) -> str:
        if isinstance(tensor, Output):
            return ""
        return self._located(tensor.location)

    def _given_where(self, tensor: Tensor) -> str:
        """Where ``tensor`` was annotated: in the rules file, at a constraint that was put on it, or at itself."""
        if isinstance(tensor, Output):
            return str(self.given_at.get(("result", tensor.index), ""))
        owner = tensor.owner
        if isinstance(owner, _mlir.ir.Block):
            return str(self.given_at.get(("argument", tensor.arg_number)) or self._where(tensor))
        if mark_of(owner.operation) not in self.origins.annotated:
            for use in tensor.uses:
                if use.owner.name == "sdy.sharding_constraint":
                    return f"constraint at {self._place(use.owner.operation)}"
        return self._where(tensor)

    def _place(self, op: Any) -> str:
        if isinstance(op, Output):
            return ""
        return self._located(op.location)

    def _located(self, location: Any) -> str:
        """A place in a file, or else the name the location carries."""
        return str(self.program.in_file(_mlir.where_of(location)) or _mlir.name_of(location))

    @staticmethod
    def _behind(where: str) -> str:
        return f" ({where})" if where else ""

    def _type(self, tensor: Tensor) -> Any:
        return self.signature["result"][tensor.index].type if isinstance(tensor, Output) else tensor.type

    def _mesh(self, tensor: Tensor) -> Mesh:
        return self.origins.layouts.mesh_of(self.origins.layouts.sharding(tensor))


def _aligned(rows: Sequence[_Row]) -> list[str]:
    widths = [max(len(row[i]) for row in rows) for i in range(3)]
    padded = ([*(cell.ljust(w) for cell, w in zip(row, widths, strict=False)), row[3]] for row in rows)
    return [f"  {'  '.join(cells)}".rstrip() for cells in padded]


def _short(name: str) -> str:
    return name.removeprefix("stablehlo.")


def _place_text(place: tuple[str, int]) -> str:
    return f"{place[0]} {place[1]}"


def _axes(axes: Iterable[Axis], mesh: Mesh) -> str:
    return ", ".join(f"'{axis.text(mesh)}'" for axis in axes)


def _size(axes: Iterable[Axis]) -> int:
    size = 1
    for axis in axes:
        size *= axis.size
    return size


def _factor(factor: int) -> str:
    """Shardy's name of a factor: i, j, ... z, then z_1, z_2, ..."""
    letters = ord("z") - ord("i") + 1
    return chr(ord("i") + factor) if factor < letters else f"z_{factor - letters + 1}"


def _notation(rule: Any) -> str:
    """A rule's mappings as Shardy writes them: ``([i, k], [k, j])->([i, j])``."""

    def side(mappings: Any) -> str:
        return ", ".join(f"[{', '.join(''.join(map(_factor, dim)) for dim in mapping)}]" for mapping in mappings)

    return f"({side(rule.operands)})->({side(rule.results)})"
