"""Finds the tensors a user asks about, by value, name or place, and explains them (`wording`)."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import Any

from passes import _mlir
from passes.errors import UserError, Where
from passes.program.entry import Value, arguments, find_entry, functions, is_declaration, results, symbol_name
from passes.program.read import Program
from passes.program.types import i64_attr
from passes.program.value_names import ValueNames, find_value
from passes.program.walk import operations
from passes.sharding.annotate import AnnotateReport
from passes.sharding.answers import Answer
from passes.sharding.flow import Output, Tensor, tensor_of
from passes.sharding.origins.marks import MARK, mark_of, put_marks
from passes.sharding.origins.record import Origins, record
from passes.sharding.propagate import PropagateOptions
from passes.sharding.tuples import NAMES as MAKES_TUPLES
from passes.sharding.tuples import leaves, paths, sources
from passes.sharding.wording import Teller, callee

# What is printed of one kind before the rest is counted only.
_COPIES, _LISTED = 8, 12


@dataclass(frozen=True)
class _Place:
    """A value of the program as it was read: result ``index`` of op number ``op``, or what a function's block holds.

    ``kind`` is ``value`` (then ``op`` counts), ``body`` (argument ``index`` of the region of op number ``op``),
    ``argument`` or ``result`` of ``function``.
    """

    kind: str
    index: int
    op: int = 0
    function: str = ""


class Explainer:
    """Explains tensors of one program, as they are called in the program at the time when this is made.

    Afterwards tensors are asked for, the program may be annotated, and `answer` propagates over it; its module is then
    used up.

    Raises:
      UserError: there is no entry function.
    """

    def __init__(self, program: Program, entry: str | None = None) -> None:
        function = find_entry(program, entry)
        self._entry, self._wanted_entry = symbol_name(function), entry
        self._signature = {"argument": _elements(arguments(function)), "result": _elements(results(function))}
        names = ValueNames(program)
        ops = operations(program.module)
        self._names = [_element_names(op, names.of_results(op)) for op in ops]
        self._ops = ops
        self._annotated = put_marks(program.module)
        self._program = program
        self._places: list[_Place] = []
        self._function = function
        self._given_at: dict[tuple[str, int], Where] = {}

    def annotated(self, report: AnnotateReport) -> None:
        """Remembers which lines of the rules file said what; to be called right after `annotate`."""
        for kind, found in (("argument", report.arguments), ("result", report.results)):
            self._given_at |= {(kind, a.index): a.where for a in found if a.where is not None}
        for constraint, where in report.constraints:
            number, value = len(self._names), constraint.operands[0].owner.operation
            constraint.attributes[MARK] = i64_attr(number)
            known = mark_of(value)
            name = self._names[known][constraint.operands[0].result_number] if known is not None else ""
            self._names.append([f"the constraint on {name} ({value.name.removeprefix('stablehlo.')})"])
            if where is not None:
                self._given_at["constraint", number] = where

    # -- which tensors ---------------------------------------------------------------------------------------------

    def ask_value(self, text: str) -> None:
        """Asks about the value called ``text`` (`value_names.find_value`)."""
        for value, leaf in sources(find_value(self._program, text, self._function)):
            self._places.append(self._place_of(value, leaf))

    def ask_named(self, kind: str, text: str) -> None:
        """Asks about the argument or result (``kind``) that is called ``text`` or has that position.

        Raises:
          UserError: there is none; the closest names are given.
        """
        values: list[Value] = self._signature[kind]
        found = [v.index for v in values if v.name == text]
        if not found and text.isdecimal() and int(text) < len(values):
            found = [int(text)]
        if not found and kind == "argument" and text.startswith("%"):
            self.ask_value(text)
            return
        if not found:
            names = list(dict.fromkeys(v.name for v in values))
            close = difflib.get_close_matches(text, names, n=_LISTED, cutoff=0.5) or names[:_LISTED]
            more = f" (of {len(names)})" if len(names) > len(close) else ""
            raise UserError(f"there is no {kind} '{text}'; there are {', '.join(close) or 'none'}{more}")
        self._places += [_Place(kind, index, function=self._entry) for index in found]

    def ask_location(self, text: str) -> None:
        """Asks about every value made at ``text``: ``file:line[:column]``, ``:line``, or the name of a location.

        Raises:
          UserError: no op is there; close ones are given.
        """

        known: dict[str, None] = {}
        asked = len(self._places)
        for op in self._ops:
            if not len(op.results):
                continue
            where = self._program.where(op)
            texts = [str(where), f"{where.file}:{where.line}", f":{where.line}"] if where is not None else []
            if label := _mlir.name_of(op.location):
                texts.append(label)
            if text in texts:
                self._places += [self._place_of(v, leaf) for r in op.results for v, leaf in sources(r)]
            known.update(dict.fromkeys(t for t in texts if not t.startswith(":")))
        if len(self._places) == asked:
            close = difflib.get_close_matches(text, known, n=3, cutoff=0.5)
            hint = f"; close are {', '.join(close)}" if close else ""
            raise UserError(f"no op of the program is at '{text}'{hint}")

    def ask_source(self, op: str, index: int, number: int | None) -> None:
        """Asks about result ``index`` of op ``number``, or about an ``argument`` or ``result`` of the program."""
        if op in ("argument", "result"):
            self._places.append(_Place(op, index, function=self._entry))
        elif number is not None:
            self._places.append(_Place("value", index, number))

    def describe(self, op: str, index: int, number: int | None) -> str:
        """What `ask_source` asks about, as the user knows it."""
        if op in ("argument", "result"):
            return f"{op} {index} '{self._signature[op][index].name}'"
        short = op.removeprefix("stablehlo.")
        return f"{self._names[number][index]} ({short})" if number is not None else short

    def _place_of(self, value: Any, leaf: int) -> _Place:
        """The place of element ``leaf`` of a value that stays when tuples are dissolved."""
        owner = value.owner
        if not isinstance(owner, _mlir.ir.Block):
            op = owner.operation
            return _Place("value", _flat(op.results, value.result_number) + leaf, _number(op))
        parent = owner.owner.operation
        if parent.name == "func.func":
            index = _flat(owner.arguments, value.arg_number) + leaf
            return _Place("argument", index, function=symbol_name(parent))
        if parent.name == "stablehlo.while":
            return _Place("value", value.arg_number, _number(parent))
        if parent.name == "sdy.manual_computation":
            return _Place("body", value.arg_number, _number(parent))
        raise UserError(f"the argument of a region of {parent.name} is no tensor of the program that could be sharded")

    # -- answers ---------------------------------------------------------------------------------------------------

    def answer(self, options: PropagateOptions | None = None) -> list[list[Answer]]:
        """Propagates, and answers what was asked about in turn, with one answer for each copy.

        Raises:
          UserError: see `propagate.propagate`.
        """
        teller = self.teller(options)
        origins, found = teller.origins, list[list[Answer]]()
        for place in dict.fromkeys(self._places):
            tensors = list(dict.fromkeys(_tensors(origins, place, self._entry)))
            copies = [teller.explain(t, (n, len(tensors))) for n, t in enumerate(tensors, start=1)]
            never = Answer(teller.place(place.kind, place.index, place.op), notes=("is never computed",))
            found.append(copies or [never])
        return found

    def teller(self, options: PropagateOptions | None = None) -> Teller:
        """Propagates; what has the words for every tensor then.

        Raises:
          UserError: see `propagate.propagate`.
        """
        origins = record(self._program, options, self._wanted_entry, annotated=self._annotated)
        return Teller(self._program, origins, self._names, self._signature, self._given_at)

    def of_signature(self, origins: Origins, kind: str) -> list[Tensor]:
        """The arguments or results (``kind``) of the entry function once `teller` has propagated."""
        places = (_Place(kind, index, function=self._entry) for index in range(len(self._signature[kind])))
        return [tensor for place in places for tensor in _tensors(origins, place, self._entry)]


def lines(answers: list[list[Answer]], *, full: bool = False) -> list[str]:
    """The answers as text; ``full`` prints long chains whole."""
    found: list[str] = []
    for copies in answers:
        for copy in copies[:_COPIES]:
            found += [*([""] if found else []), *copy.lines(full=full)]
        if len(copies) > _COPIES:
            found.append(f"and {len(copies) - _COPIES} more copies")
    return found


def _number(op: Any) -> int:
    number = mark_of(op)
    assert number is not None, "every op that has a value has a mark"
    return number


def _flat(values: Any, index: int) -> int:
    """The position of the first element of value ``index`` once tuples are dissolved."""
    return sum(len(leaves(values[i].type)) for i in range(index))


def _elements(values: list[Value]) -> list[Value]:
    """Arguments or results as they are once tuples are dissolved."""
    if not any(len(leaves(value.type)) != 1 or paths(value.type) != [""] for value in values):
        return values
    elements = [(v, path, leaf) for v in values for path, leaf in zip(paths(v.type), leaves(v.type), strict=True)]
    return [Value(i, f"{v.name}{path}", leaf, v.attributes) for i, (v, path, leaf) in enumerate(elements)]


def _element_names(op: Any, names: list[str]) -> list[str]:
    """The names of the results of ``op`` once tuples are dissolved."""
    if op.name not in MAKES_TUPLES:
        return names
    return [f"{name}{path}" for name, result in zip(names, op.results, strict=True) for path in paths(result.type)]


def _tensors(origins: Origins, place: _Place, entry: str) -> list[Tensor]:
    """What ``place`` became: several if its function is called several times, or a constant got a copy for each use."""
    if place.kind == "value":
        return [tensor_of(op.results[place.index]) for op in origins.copies.get(place.op, [])]
    if place.kind == "body":
        blocks = (op.regions[0].blocks[0] for op in origins.copies.get(place.op, []))
        return [tensor_of(block.arguments[place.index]) for block in blocks]
    defined = {symbol_name(f): f for f in functions(origins.program.module) if not is_declaration(f)}
    if place.function in defined or place.function == entry:
        # The entry function alone is left as a function, and may go by another name.
        function = defined.get(place.function) or find_entry(origins.program)
        if place.kind == "result":
            return [Output(function, place.index)]
        return [function.regions[0].blocks[0].arguments[place.index]]
    calls = [op for ops in origins.copies.values() for op in ops if op.name == "sdy.named_computation"]
    return [tensor_of(op.regions[0].blocks[0].arguments[place.index]) for op in calls if callee(op) == place.function]
