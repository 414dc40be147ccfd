"""Finds the words for why a tensor lies as it does: the chain of each axis, and what it did not take (`answers`)."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from passes import _mlir
from passes.errors import Where
from passes.program.entry import Value
from passes.program.read import Program
from passes.sharding.answers import Answer, Link, NotTaken, Way
from passes.sharding.composites import name_of_composite
from passes.sharding.divisibility import explain_indivisible, shape_text
from passes.sharding.flow import Output, Tensor
from passes.sharding.mesh import Axis, Mesh, sharding_from_attr
from passes.sharding.origins.chains import Chain, Step
from passes.sharding.origins.conflicts import Conflict, conflicts
from passes.sharding.origins.marks import mark_of
from passes.sharding.origins.notes import when
from passes.sharding.origins.record import Origins


def callee(op: Any) -> str:
    """The function a named computation is a call of."""
    return str(_mlir.ir.StringAttr(op.attributes["name"]).value)


@dataclass(frozen=True)
class Teller:
    """Finds the words for tensors, ops and steps.

    Attributes:
      names: For each op of the program as it was read, by number, the names of its results.
      signature: Its arguments and results.
      given_at: Where arguments, results and constraints (kind and index) were stated: lines of a rules file.
    """

    program: Program
    origins: Origins
    names: list[list[str]]
    signature: dict[str, list[Value]]
    given_at: dict[tuple[str, int], Where]

    def explain(self, tensor: Tensor, copy: tuple[int, int] = (1, 1)) -> Answer:
        """What ``tensor`` is, a chain for each axis, and what it did not take."""
        type, attribute, layouts = self._type(tensor), self.origins.layouts.sharding(tensor), self.origins.layouts
        what = self.tensor(tensor)
        if not isinstance(type, _mlir.ir.RankedTensorType):
            return Answer(what, copy=copy, notes=("is no tensor",))
        described = f"{type.element_type}[{shape_text(type) if type.rank else ''}]"
        not_taken = tuple(self.not_taken(tensor, c) for c in conflicts(self.origins.chains, tensor))
        if attribute is None or not any(axes for axes, _ in layouts.dims(tensor)):
            return Answer(what, described, None, copy, self._given_whole(tensor), (), not_taken)
        sharding = sharding_from_attr(attribute, layouts.meshes)
        problem = explain_indivisible(type, sharding)
        notes = (f"It {problem}. `shlo shard` takes the axis off again.",) if problem is not None else ()
        ways = tuple(self._way(chain, type, sharding.mesh) for chain in self.origins.chains.all(tensor))
        return Answer(what, described, sharding.spec(), copy, notes, ways, not_taken)

    def _given_whole(self, tensor: Tensor) -> tuple[str, ...]:
        layouts = self.origins.layouts
        closed = [d for d in range(len(layouts.dims(tensor))) if layouts.is_closed(tensor, d)]
        if not closed:
            return ()
        dims = f"dimension{'s' if len(closed) > 1 else ''} {', '.join(map(str, closed))}"
        return (f"It was annotated as whole: {dims} closed{_behind(self._given_where(tensor))}.",)

    # -- chains ----------------------------------------------------------------------------------------------------

    def _way(self, chain: Chain, type: Any, mesh: Mesh) -> Way:
        links = (self.root(chain), *map(self.link, chain.steps))
        return Way(chain.dim, type.shape[chain.dim], chain.axis.text(mesh), chain.complete, links)

    def root(self, chain: Chain) -> Link:
        """Where ``chain`` starts."""
        what = self.tensor(chain.root)
        if not chain.complete:
            return Link("from", what, chain.root_dim, "how it came there was not noted", self._where(chain.root))
        how = f"priority {chain.priority}" if chain.priority else ""
        return Link("given", what, chain.root_dim, how, self._given_where(chain.root))

    def link(self, step: Step) -> Link:
        """One step of a chain."""
        target = self.tensor(self.origins.notes.at(step.op, step.target))
        return Link(when(step.time), target, step.dim, self._how(step), self._place(step.op))

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
            return f"argument {value.arg_number} of {_body(owner.owner.operation)}"
        op = owner.operation
        if op.name == "stablehlo.while":
            return f"while: carried value {value.result_number}"
        if op.name in ("sdy.named_computation", "sdy.manual_computation"):
            return f"result {value.result_number} of {_body(op)}"
        return f"{_short(op.name)}: result {value.result_number}"

    # -- what was not taken ----------------------------------------------------------------------------------------

    def not_taken(self, tensor: Tensor, conflict: Conflict) -> NotTaken:
        """What ``tensor`` might have got and did not."""
        mesh = self._mesh(conflict.other)
        return NotTaken(
            tuple(axis.text(mesh) for axis in conflict.missed), conflict.dim, self.tensor(conflict.other),
            conflict.other_dim, self._since(conflict.chain), _short(conflict.op.name), self._place(conflict.op),
            _factor(conflict.factor), _notation(conflict.rule), self._reason(tensor, self._type(tensor), conflict),
        )

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
            return f"the dimension was annotated {what}{_behind(self._given_where(tensor))}"
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
                return f"argument {value.arg_number} of {_body(value.owner.owner.operation)}"
            op, index = value.owner.operation, value.result_number
        number = mark_of(op)
        if number is None:
            return f"a {_short(op.name)} that propagation inserted"
        if ("constraint", number) in self.given_at:
            return self.place("value", index, number)
        return f"{self.place('value', index, number)} ({_kind(op)})"

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
        number = mark_of(owner.operation)
        if number is not None and ("constraint", number) in self.given_at:
            return str(self.given_at["constraint", number])
        if number not in self.origins.annotated:
            for use in tensor.uses:
                if use.owner.name == "sdy.sharding_constraint":
                    return f"constraint at {self._constrained_where(use.owner.operation)}"
        return self._where(tensor)

    def _constrained_where(self, constraint: Any) -> str:
        number = mark_of(constraint)
        given = self.given_at.get(("constraint", number)) if number is not None else None
        return str(given or self._place(constraint))

    def _place(self, op: Any) -> str:
        if isinstance(op, Output):
            return ""
        return self._located(op.location)

    def _located(self, location: Any) -> str:
        """A place in a file, or else the name the location carries."""
        return str(self.program.in_file(_mlir.where_of(location)) or _mlir.name_of(location))

    def _type(self, tensor: Tensor) -> Any:
        return self.signature["result"][tensor.index].type if isinstance(tensor, Output) else tensor.type

    def _mesh(self, tensor: Tensor) -> Mesh:
        return self.origins.layouts.mesh_of(self.origins.layouts.sharding(tensor))


def _behind(where: str) -> str:
    return f" ({where})" if where else ""


def _kind(op: Any) -> str:
    """What ``op`` is, in brackets behind its name; a composite propagates as a call."""
    if op.name != "sdy.named_computation":
        return _short(op.name)
    composite = name_of_composite(op)
    return f"call @{callee(op)}" if composite is None else f'composite "{composite}"'


def _body(op: Any) -> str:
    """How arguments and results of ``op`` are said to be those of it."""
    if op.name != "sdy.named_computation":
        return "the manual computation"
    composite = name_of_composite(op)
    return f"the call of @{callee(op)}" if composite is None else f'composite "{composite}"'


def _short(name: str) -> str:
    return name.removeprefix("stablehlo.")


def _place_text(place: tuple[str, int]) -> str:
    return f"{place[0]} {place[1]}"


def _size(axes: Iterable[Axis]) -> int:
    size = 1
    for axis in axes:
        size *= axis.size
    return size


def _factor(factor: int) -> str:
    """Shardy's name of a factor: i, j, ... z, then z_1, z_2, ..."""
    letters = ord("z") - ord("i") + 1
    return chr(ord("i") + factor) if factor < letters else f"z_{factor - letters + 1}"


@functools.cache
def _notation(rule: Any) -> str:
    """A rule's mappings as Shardy writes them: ``([i, k], [k, j])->([i, j])``."""

    def side(mappings: Any) -> str:
        return ", ".join(f"[{', '.join(''.join(map(_factor, dim)) for dim in mapping)}]" for mapping in mappings)

    return f"({side(rule.operands)})->({side(rule.results)})"
